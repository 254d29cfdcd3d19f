//! Tests of the whole way from a patch to a change.

mod cases;
mod damage;
mod history;
mod rules;
mod typed;

use super::{Limits, Rebuilt, Refusal, rebuild};
use crate::change::{FileVersion, MemoryTree};

/// Returns a tree of regular files.
fn tree(files: &[(&str, &str)]) -> MemoryTree {
    MemoryTree::new(files.iter().map(|(path, text)| ((*path).to_owned(), FileVersion::regular(*text))))
}

/// Rebuilds with the default limits.
fn run(patch: &str, files: &[(&str, &str)]) -> Result<Rebuilt, Refusal> {
    rebuild(patch, &tree(files), &Limits::default())
}
