//! What every front end calls: typed request in, typed answer out. The command line, MCP tools and slash commands are
//! thin faces of these.

mod bringing;
mod codex_check;
mod consent;
mod holding;
mod layers;
mod news;
mod planning;
mod review;
mod running;
mod tidying;
mod viewing;
mod worker;

use std::path::PathBuf;

pub use bringing::{ApplyReport, BranchCommit, BranchReport, apply, branch};
pub use codex_check::{Account, CodexReport};
pub use consent::{TrustReport, confirmed, distrust, trust};
pub use news::{News, Told, keep_typed, news, typed, watched};
pub use planning::{
    DetectReport, Goal, PlanReport, PlanRequest, PreflightReport, PreflightRow, detect, plan, preflight,
};
pub use review::{
    GateReport, ReviewList, ReviewRequest, ReviewRow, ReviewStats, SessionTally, TurnEnd, TurnVerdict, Watch, review,
    review_gate, review_list, review_policy, review_show, review_stats, set_review_gate, turn_begins, turn_ended,
};
pub use running::{Ended, Raise, check_approved, iterate, resume, start, start_approved};
pub use tidying::{PruneReport, StopReport, history, prune, stats, stop};
pub use viewing::{ModelReport, patch, result, set_model, status, status_watch, wait};
pub(crate) use worker::is_worker;
pub use worker::{Action, Launched, launch, work};

use crate::config::Environment;
use crate::error::Failure;
use crate::store::Store;
use crate::workspace::{DiscoverError, Repository};

/// Where and for whom an operation works.
#[derive(Debug, Clone)]
pub struct Session {
    /// The folder named with `-C`: checks run here.
    pub dir: PathBuf,
    pub environment: Environment,
    /// Where this process's messages go, where it is a worker of its own session; `None` in the foreground.
    pub worker_log: Option<PathBuf>,
}

impl Session {
    /// Finds the repository.
    ///
    /// Returns a preflight failure that says what to do if there is none that can be worked in.
    pub fn repository(&self) -> anyhow::Result<Repository> {
        if !self.dir.is_dir() {
            return Err(
                Failure::usage(format!("{} is not a folder", self.dir.display()), "name a folder with -C").into()
            );
        }
        Repository::discover(&self.dir).map_err(|error| match error {
            DiscoverError::Other(other)
                if crate::error::is_disk_full(&other) || crate::workspace::is_full(&std::env::temp_dir()) =>
            {
                Failure::disk_full(&other).into()
            }
            error => discover_failure(&error).into(),
        })
    }

    /// Returns the store of the repository's work tree.
    pub fn store(&self, repository: &Repository) -> Store {
        Store::new(repository.git_dir())
    }
}

fn discover_failure(error: &DiscoverError) -> Failure {
    let name = match error {
        DiscoverError::NoGit => "no-git",
        DiscoverError::GitTooOld { .. } => "git-too-old",
        DiscoverError::NotARepository { .. } => "not-a-repository",
        DiscoverError::UnsafeOwnership { .. } => "unsafe-ownership",
        DiscoverError::Bare => "bare-repository",
        DiscoverError::InsideGitDirectory => "inside-git-directory",
        DiscoverError::ForeignWorkTree { .. } => "foreign-work-tree",
        DiscoverError::NoCommit => "no-commit",
        DiscoverError::Other(_) => "git-failed",
    };
    Failure::preflight(name, error.to_string(), error.hint())
}
