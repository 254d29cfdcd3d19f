//! Commits and refs under `refs/cloop/`. Never touches another ref.

use super::git::Repository;
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;

/// The only namespace written here; the user's branches, tags and stash are out of reach by construction.
const NAMESPACE: &str = "refs/cloop/";

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
