//! Small repositories with a fault, and patches of every kind for them, whose effect has been measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Repo, TestEnvironment};

/// A repository with a fault.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) lang: String,
    pub(crate) goal: String,
    pub(crate) test_cmd: String,
    pub(crate) lint_cmd: Option<String>,
    pub(crate) type_cmd: Option<String>,
    pub(crate) timeout_s: u64,
    pub(crate) files: BTreeMap<String, String>,
    /// Paths whose mode is not 644, as octal text.
    #[serde(default)]
    pub(crate) modes: BTreeMap<String, String>,
    /// Tests that a real fix passes too.
    #[serde(default)]
    pub(crate) heldout: BTreeMap<String, String>,
    /// The paths that hold the visible tests.
    pub(crate) tests: Vec<String>,
    pub(crate) buggy_rc: i32,
    pub(crate) buggy_failed: Option<u64>,
    #[serde(default)]
    pub(crate) traits: Vec<String>,
    pub(crate) patches: Vec<CasePatch>,
    #[serde(default)]
    pub(crate) malformed: Vec<Malformed>,
}

/// A patch in git's own form.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CasePatch {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) why: String,
    /// Reason codes of which one fits.
    #[serde(default)]
    pub(crate) guards: Vec<String>,
    pub(crate) diff: String,
    /// Exit status of the test command with the patch.
    pub(crate) rc: Option<i32>,
    pub(crate) lint_rc: Option<i32>,
    pub(crate) type_rc: Option<i32>,
    pub(crate) heldout_rc: Option<i32>,
    /// Failing tests left.
    pub(crate) failed: Option<u64>,
    /// `accept`, `progress` or `refuse`.
    pub(crate) verdict: String,
    /// What it takes to see through it, where no guard can.
    pub(crate) needs: Option<String>,
    pub(crate) justification: Option<String>,
}

/// A good patch, badly typed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Malformed {
    pub(crate) id: String,
    pub(crate) damage: String,
    /// `repair` or `refuse`.
    pub(crate) expect: String,
    pub(crate) diff: String,
    /// Content hash of each path afterwards.
    pub(crate) post_sha256: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) tolerate_refuse: bool,
}

/// Patches that must be refused whatever the language, and the repository they aim at.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Hostile {
    pub(crate) files: BTreeMap<String, String>,
    /// Their form differs too much for a type: see the keys `id`, `diff`, `links`, `dirs`, `outside`, `submodules`,
    /// `generator`.
    pub(crate) patches: Vec<serde_json::Value>,
}

impl Case {
    /// Returns the patch with this id.
    #[track_caller]
    pub(crate) fn patch(&self, id: &str) -> &CasePatch {
        let found = self.patches.iter().find(|patch| patch.id == id);
        found.unwrap_or_else(|| panic!("{} has no patch {id}", self.id))
    }

    /// Returns the patches of this kind.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &CasePatch> {
        self.patches.iter().filter(move |patch| patch.kind == kind)
    }

    /// Writes the case into a new repository named as the case, and commits it.
    pub(crate) fn unpack(&self, environment: &TestEnvironment) -> Repo {
        let repo = environment.repo(&self.id);
        repo.files(&self.files);
        for (path, mode) in &self.modes {
            repo.mode(path, u32::from_str_radix(mode, 8).unwrap());
        }
        repo.commit("The state with the fault");
        repo
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("parse {}: {error}", path.display()))
}

fn read_all(dir: &Path) -> Vec<Case> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("read {}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// The folder of a larger collection, where there is one.
fn collection() -> Option<PathBuf> {
    let named = std::env::var_os("CLOOP_CASES").map(PathBuf::from);
    assert!(named.as_ref().is_none_or(|dir| dir.is_dir()), "CLOOP_CASES names no folder: {named:?}");
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("shared/cases");
    named.or_else(|| beside.is_dir().then_some(beside))
}

/// Returns the project's own cases.
pub(crate) fn own_cases() -> Vec<Case> {
    read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"))
}

/// Returns the project's own cases and those of the collection that `CLOOP_CASES` names.
pub(crate) fn cases() -> Vec<Case> {
    let more = collection().map(|dir| if dir.join("cases").is_dir() { dir.join("cases") } else { dir });
    own_cases().into_iter().chain(more.iter().flat_map(|dir| read_all(dir))).collect()
}

/// Returns the collection's hostile patches, where there is a collection.
pub(crate) fn hostile() -> Option<Hostile> {
    let path = collection()?.join("hostile.json");
    path.is_file().then(|| read(&path))
}
