//! Git and work trees: reads and writes objects, sees what a folder holds, brings trees into folders.
//!
//! Everything that looks at or writes a file of the work tree runs git on a private git directory (see `git`), so
//! no setting, hook or filter of the repository can start a command. Never writes the user's index, HEAD, branches
//! or stash, and never judges a change: that is the guards' work.

mod dependencies;
mod files;
mod folder;
mod git;
mod landing;
mod objects;
mod refs;
mod worktree;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use dependencies::{CloneBudget, CloneMethod, CloneReport, clone_dependencies};
pub(crate) use files::is_temporary;
pub use folder::{ChangedKind, ChangedPath, DirtyPaths, PathState, Workspace, Written};
pub use git::{DiscoverError, Head, Repository, is_full};
pub use landing::{Fit, Landed, fits, land, undo};
pub use objects::{Applies, GitTree};
pub use refs::{
    ExpectedRef, Identity, Reference, candidate_ref, candidate_refs, iteration_ref, kept_ref, run_refs, seed_ref,
};
pub use worktree::{OwnWorktree, Worktree, default_cache_dir, further_worktree};
