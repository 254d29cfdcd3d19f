//! Commits and refs under `refs/cloop/`. Never touches another ref.

use super::git::Repository;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;

/// The only namespace written here; the user's branches, tags and stash are out of reach by construction.
const NAMESPACE: &str = "refs/cloop/";

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
