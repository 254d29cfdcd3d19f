//! Commits and refs under `refs/cloop/`. Never touches another ref.

use super::git::{OWN_EMAIL, OWN_NAME, Repository};
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;

/// The only namespace written here; the user's branches, tags and stash are out of reach by construction.
const NAMESPACE: &str = "refs/cloop/";

/// Where the user's branches are.
const BRANCHES: &str = "refs/heads/";

/// Who a commit is by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub email: String,
}

/// Returns the beginning of the names of all refs of a run.
pub fn run_refs(run_id: &str) -> String {
    format!("{NAMESPACE}{run_id}/")
}

/// Returns the ref of the tree a run started from; the first ref of every run, with the goal's hash in its message.
pub fn seed_ref(run_id: &str) -> String {
    format!("{NAMESPACE}{run_id}/seed")
}

/// Returns the ref of the state an iteration accepted.
pub fn iteration_ref(run_id: &str, iteration: u32) -> String {
    format!("{NAMESPACE}{run_id}/{iteration}")
}

/// Returns the beginning of the names of the refs of a run's candidates that are not decided about yet.
pub fn candidate_refs(run_id: &str) -> String {
    format!("{NAMESPACE}{run_id}/candidates/")
}

/// Returns the ref that keeps a candidate's tree until its iteration ends.
pub fn candidate_ref(run_id: &str, iteration: u32, id: &str) -> String {
    format!("{NAMESPACE}{run_id}/candidates/{iteration}-{id}")
}

/// Returns the ref under which a run keeps a copy of what it found in the user's work tree.
pub fn kept_ref(run_id: &str, name: &str) -> String {
    format!("{NAMESPACE}{run_id}/kept/{name}")
}

/// What a ref must be at for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedRef<'a> {
    /// Anything, also absent.
    Any,
    /// The ref must not exist.
    Missing,
    /// The ref must be at this commit.
    At(&'a str),
}

/// A ref and what it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Full name.
    pub name: String,
    /// The object's id.
    pub commit: String,
}

impl Repository {
    /// Writes a commit under the fixed identity and returns its id. The message is stored as given.
    pub fn commit(&self, tree: &str, parents: &[&str], message: &str) -> Result<String> {
        let mut args = vec!["commit-tree", "--no-gpg-sign", tree];
        for parent in parents {
            args.extend(["-p", parent]);
        }
        let id = self.on_objects(&self.private_dir().join("no-index"), &args, message.as_bytes().to_vec())?;
        Ok(String::from_utf8_lossy(&id).trim().to_owned())
    }

    /// Writes a commit as somebody else: the user, for a branch they asked for. Times are seconds since 1970.
    pub fn commit_as(
        &self,
        tree: &str,
        parent: &str,
        message: &str,
        identity: &Identity,
        authored: i64,
        committed: i64,
    ) -> Result<String> {
        let Identity { name, email } = identity;
        let text = format!(
            "tree {tree}\nparent {parent}\nauthor {name} <{email}> {authored} +0000\ncommitter {name} <{email}> \
             {committed} +0000\n\n{message}"
        );
        let args = ["hash-object", "-t", "commit", "-w", "--stdin"];
        let id = self.on_objects(&self.private_dir().join("no-index"), &args, text.into_bytes())?;
        Ok(String::from_utf8_lossy(&id).trim().to_owned())
    }

    /// Returns who the user's git configuration says they are, or the product's own identity where it does not say.
    pub fn identity(&self) -> Result<Identity> {
        let read = |key: &str| -> Result<Option<String>> {
            let ended = self.try_real(self.root(), &["config", "--get", key].map(OsStr::new), Vec::new())?;
            let text = String::from_utf8_lossy(&ended.stdout).into_owned();
            // What a commit's header cannot hold.
            let text: String = text.trim().chars().filter(|c| !c.is_control() && !['<', '>'].contains(c)).collect();
            Ok(Some(text).filter(|text| ended.exit.success() && !text.is_empty()))
        };
        Ok(match (read("user.name")?, read("user.email")?) {
            (Some(name), Some(email)) => Identity { name, email },
            _ => Identity { name: OWN_NAME.to_owned(), email: OWN_EMAIL.to_owned() },
        })
    }

    /// Says whether a branch can have this name.
    pub fn is_branch_name(&self, name: &str) -> Result<bool> {
        if name.starts_with('-') || name == "HEAD" {
            return Ok(false);
        }
        let full = format!("{BRANCHES}{name}");
        let args = ["check-ref-format", &full].map(OsStr::new);
        Ok(self.try_real(self.root(), &args, Vec::new())?.exit.success())
    }

    /// Makes a branch, because the user asked for exactly this one. The only ref of the user's that is ever written.
    ///
    /// Returns whether it was made: a branch of that name, or one that stands in its way, is left alone.
    pub fn create_branch(&self, name: &str, commit: &str) -> Result<bool> {
        let full = format!("{BRANCHES}{name}");
        let null = self.null_id();
        let args = ["update-ref", "--no-deref", "-m", "loop-companion result --branch", &full, commit, &null];
        let ended = self.try_real(self.root(), &args.map(OsStr::new), Vec::new())?;
        Ok(ended.exit.success())
    }

    /// Returns the id of the commit that a name (a branch, `HEAD`, an id) stands for now.
    pub fn resolve(&self, name: &str) -> Result<String> {
        let name = format!("{name}^{{commit}}");
        let args = ["rev-parse", "--verify", "-q", "--end-of-options", &name].map(OsStr::new);
        let id = self.real(&args, Vec::new())?;
        Ok(String::from_utf8_lossy(&id).trim().to_owned())
    }

    /// Sets a ref under `refs/cloop/`.
    ///
    /// Returns an error if the name is outside it or the ref is not at what is expected.
    pub fn set_ref(&self, name: &str, commit: &str, expected: ExpectedRef<'_>) -> Result<()> {
        ensure!(name.starts_with(NAMESPACE), "ref {name} is not under {NAMESPACE}");
        let null = self.null_id();
        let mut args = vec!["update-ref", "--no-deref", name, commit];
        match expected {
            ExpectedRef::Any => {}
            ExpectedRef::Missing => args.push(&null),
            ExpectedRef::At(id) => args.push(id),
        }
        let args: Vec<&OsStr> = args.into_iter().map(OsStr::new).collect();
        self.real(&args, Vec::new()).with_context(|| format!("set {name}"))?;
        Ok(())
    }

    /// Returns the message of the commit that a ref points at, or `None` where there is no such ref.
    pub fn commit_message(&self, name: &str) -> Result<Option<String>> {
        let Some(reference) = self.list_refs(name)?.into_iter().find(|reference| reference.name == name) else {
            return Ok(None);
        };
        let args = ["cat-file", "commit", &reference.commit];
        let text = self.on_objects(&self.private_dir().join("no-index"), &args, Vec::new())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(text.split_once("\n\n").map(|(_, message)| message.to_owned()))
    }

    /// Returns the tree of a commit.
    pub fn tree_of(&self, commit: &str) -> Result<String> {
        let object = format!("{commit}^{{tree}}");
        let args = ["rev-parse", "--verify", "--end-of-options", &object];
        let id = self.on_objects(&self.private_dir().join("no-index"), &args, Vec::new())?;
        Ok(String::from_utf8_lossy(&id).trim().to_owned())
    }

    /// Deletes a ref under `refs/cloop/`; an absent one is no error.
    pub fn delete_ref(&self, name: &str) -> Result<()> {
        ensure!(name.starts_with(NAMESPACE), "ref {name} is not under {NAMESPACE}");
        let args = ["update-ref", "--no-deref", "-d", name].map(OsStr::new);
        self.real(&args, Vec::new()).with_context(|| format!("delete {name}"))?;
        Ok(())
    }

    /// Returns the refs whose names start with `prefix` at a `/`, sorted by name.
    pub fn list_refs(&self, prefix: &str) -> Result<Vec<Reference>> {
        let args = ["for-each-ref", "--format=%(objectname) %(refname)", "--", prefix].map(OsStr::new);
        let text = String::from_utf8(self.real(&args, Vec::new())?).context("ref name is not UTF-8")?;
        let refs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(refs.map(|(commit, name)| Reference { name: name.to_owned(), commit: commit.to_owned() }).collect())
    }
}
