//! Bringing an accepted tree into the user's work tree. Writes nothing while that tree is not what it started as,
//! and never commits or stages.

use super::folder::{ChangedPath, Workspace, Written};
use anyhow::Result;

/// Whether the user's work tree is still the one the loop started from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Fits,
    /// It is not; these paths differ.
    Changed(Vec<ChangedPath>),
}

/// How a landing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// The result is in the work tree; the paths that were written or removed by this call.
    Written(Vec<String>),
    /// Nothing was written: these paths are no longer as at the start.
    TreeChanged(Vec<String>),
}

/// Says whether the folder still equals the seed tree.
pub fn fits(workspace: &Workspace, seed_tree: &str) -> Result<Fit> {
    let changed = workspace.changed_since(seed_tree)?;
    Ok(if changed.is_empty() { Fit::Fits } else { Fit::Changed(changed) })
}

/// Writes the result into the folder, uncommitted, if the folder equals the seed tree. A call cut short is finished
/// by calling again: paths already at the result count as fitting.
pub fn land(workspace: &Workspace, seed_tree: &str, result_tree: &str) -> Result<Landed> {
    let ours = workspace.landing_state(seed_tree, result_tree)?;
    let foreign: Vec<String> = match fits(workspace, seed_tree)? {
        Fit::Fits => Vec::new(),
        Fit::Changed(changed) => {
            // Our own temporary files of a killed write are swept by the write.
            let known = |path: &str| ours.contains_key(path) || super::files::is_temporary(path);
            changed.into_iter().map(|one| one.path).filter(|path| !known(path)).collect()
        }
    };
    if !foreign.is_empty() {
        return Ok(Landed::TreeChanged(foreign));
    }
    Ok(match workspace.materialise(seed_tree, result_tree)? {
        Written::Done(paths) => Landed::Written(paths),
        Written::Blocked(paths) => Landed::TreeChanged(paths),
    })
}

/// Takes a whole or half-done landing back. Paths that hold neither version are left alone, and then nothing is
/// written.
pub fn undo(workspace: &Workspace, seed_tree: &str, result_tree: &str) -> Result<Landed> {
    Ok(match workspace.materialise(result_tree, seed_tree)? {
        Written::Done(paths) => Landed::Written(paths),
        Written::Blocked(paths) => Landed::TreeChanged(paths),
    })
}
