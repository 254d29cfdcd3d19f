//! The module's promises, on real repositories.

mod dependencies;
mod discovery;
mod hostile;
mod landing;
mod objects;
mod properties;
mod shapes;
mod snapshots;
mod worktrees;

use super::testing::{Fixture, contents, git_in, try_git_in};
use super::*;
use crate::change::{Change, FileChange, FileMode, FileVersion, MemoryTree, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

const ODD_NAMES: [&str; 9] = [
    "with space.txt",
    "quo\"te's.txt",
    "new\nline.txt",
    "-dash",
    "--stdin",
    "ünïcödé/文件.txt",
    "tab\there",
    "back\\slash",
    ":(glob)*",
];

fn change(files: &[(&str, Option<FileVersion>, Option<FileVersion>)]) -> Change {
    let files = files.iter().map(|(path, old, new)| FileChange {
        path: (*path).to_owned(),
        old: old.clone(),
        new: new.clone(),
    });
    Change::new(files.collect())
}

#[expect(clippy::unnecessary_wraps, reason = "goes where a version may be missing")]
fn text(content: &str) -> Option<FileVersion> {
    Some(FileVersion::regular(content))
}

#[expect(clippy::unnecessary_wraps, reason = "goes where a version may be missing")]
fn executable(content: &str) -> Option<FileVersion> {
    Some(FileVersion { mode: FileMode::Executable, content: content.into() })
}

#[expect(clippy::unnecessary_wraps, reason = "goes where a version may be missing")]
fn link(target: &str) -> Option<FileVersion> {
    Some(FileVersion { mode: FileMode::Symlink, content: target.into() })
}

fn kinds(changed: &[ChangedPath]) -> Vec<(&str, ChangedKind)> {
    changed.iter().map(|one| (one.path.as_str(), one.kind)).collect()
}

/// What nobody but the user may write: HEAD, index, branches, tags, stash, logs, settings, hooks.
fn users(fixture: &Fixture) -> BTreeMap<std::path::PathBuf, (u32, Vec<u8>)> {
    contents(&fixture.root.join(".git"), &["objects", "refs/cloop", "worktrees"])
}

fn done(written: Written) -> Vec<String> {
    match written {
        Written::Done(paths) => paths,
        Written::Blocked(paths) => panic!("blocked by {paths:?}"),
    }
}
