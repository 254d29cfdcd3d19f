//! What a session of a host is told of the loop in its folder, unasked: fast, and silent where there is nothing.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::Session;
use super::holding::latest;
use crate::error::Failure;
use crate::report::{LoopStatus, StatusReport, shorten, status_report};
pub use crate::store::Told;
use crate::store::{FACE_DIR, Store};

/// Most characters of a goal in a line.
const GOAL_SHOWN: usize = 80;

/// The newest loop, in a line.
#[derive(Debug, Clone)]
pub struct News {
    /// One sentence for a person.
    pub line: String,
    /// Whether the loop has ended, or its worker died.
    pub ended: bool,
    /// Whether it waits for something.
    pub paused: bool,
    /// Tells this end from any other, also of the same loop.
    pub mark: String,
    store: Store,
}

impl News {
    /// Returns what the hosts have been told of this work tree.
    pub fn told(&self) -> Told {
        self.store.told()
    }

    /// Keeps what they have been told. A store that cannot be written only leads to a line told twice.
    pub fn tell(&self, told: &Told) {
        let _ = self.store.write_told(told);
    }
}

/// Returns the news of the work tree around this folder; `None` without a loop, or where it cannot be read.
///
/// No git is started and nothing is put in order: this runs at every turn of a session.
pub fn news(dir: &Path) -> Option<News> {
    let (_, git_dir) = work_tree(dir)?;
    let store = Store::new(&git_dir);
    let (run, state) = latest(&store).ok()??;
    let alive = store.holder().ok()?.is_some_and(|holder| holder.run_id == run.id);
    let report = status_report(&state, alive, Timestamp::now());
    // Not the time of the last change: putting a dead worker's things in order changes that.
    let mark = format!(
        "{} {:?} {} {}",
        run.id,
        report.status,
        report.budget.iterations.used,
        report.ended_at.map(|at| at.to_string()).unwrap_or_default()
    );
    let ended = matches!(report.status, LoopStatus::Finished | LoopStatus::Interrupted);
    let paused = report.status == LoopStatus::Paused;
    Some(News { line: line(&report), ended, paused, mark, store })
}

/// Returns the file that changes with the newest loop of the work tree around this folder, whether or not it is there
/// yet; `None` outside of one.
///
/// It is the log, which is only ever appended to: Claude Code loses a file out of sight that is replaced by another
/// twice in a moment, as the state is, and never hears of its changes again.
pub fn watched(dir: &Path) -> Option<PathBuf> {
    work_tree(dir).map(|(root, _)| root.join(FACE_DIR).join("progress.log"))
}

/// Keeps arguments that were typed in a host's session, and returns the id that a start names them by; `None` outside
/// of a work tree.
pub fn keep_typed(dir: &Path, arguments: &serde_json::Value) -> Option<String> {
    let (_, git_dir) = work_tree(dir)?;
    Store::new(&git_dir).keep_typed(arguments.to_string().as_bytes()).ok()
}

/// Returns the arguments kept under an id.
///
/// Returns a usage error if there are none.
pub fn typed<T: DeserializeOwned>(session: &Session, id: &str) -> anyhow::Result<T> {
    let repository = session.repository()?;
    let kept = session.store(&repository).typed(id)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    kept.ok_or_else(|| {
        Failure::usage(format!("no typed arguments are kept under {id}"), "give the goal and the options themselves")
            .into()
    })
}

fn line(report: &StatusReport) -> String {
    let goal = shorten(&report.goal.split_whitespace().collect::<Vec<_>>().join(" "), GOAL_SHOWN);
    match report.status {
        LoopStatus::Finished => {
            let reason = report.stop_reason.map_or("ended", crate::engine::StopReason::name);
            format!("CodexLoop: the loop ended, {reason} (goal: {goal}). See /cloop:result.")
        }
        LoopStatus::Interrupted => {
            format!("CodexLoop: the loop's worker died (goal: {goal}). Go on with `loop-companion resume`.")
        }
        _ => {
            let gauge = &report.budget.iterations;
            let max = gauge.max.map(|max| format!(" of {max}")).unwrap_or_default();
            let state = if report.status == LoopStatus::Paused { "waits" } else { "runs" };
            format!("CodexLoop: a loop {state}, iteration {}{max} (goal: {goal}). See /cloop:status.", gauge.used)
        }
    }
}

/// Returns root and git folder of the work tree around a folder, by the files alone.
pub(super) fn work_tree(dir: &Path) -> Option<(PathBuf, PathBuf)> {
    let dir = dir.canonicalize().ok()?;
    dir.ancestors().find_map(|root| {
        let git = root.join(".git");
        if git.is_dir() {
            return Some((root.to_owned(), git));
        }
        // A linked work tree or a submodule: a file that names the folder.
        let text = std::fs::read_to_string(&git).ok()?;
        let named = root.join(text.strip_prefix("gitdir:")?.trim());
        named.is_dir().then(|| (root.to_owned(), named))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_git_folder_is_found_from_below_and_through_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("main/.git/worktrees/two")).unwrap();
        std::fs::create_dir_all(root.join("main/a/b")).unwrap();
        std::fs::create_dir_all(root.join("two")).unwrap();
        std::fs::write(root.join("two/.git"), "gitdir: ../main/.git/worktrees/two\n").unwrap();
        assert_eq!(work_tree(&root.join("main/a/b")), Some((root.join("main"), root.join("main/.git"))));
        let (found, git) = work_tree(&root.join("two")).unwrap();
        assert_eq!((found, git.canonicalize().unwrap()), (root.join("two"), root.join("main/.git/worktrees/two")));
        assert!(news(&root.join("main")).is_none());
    }
}
