//! Where the loop works: runs the checks there, and keeps the folder at the tree the state says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use super::Runtime;
use crate::checks::{CheckRun, Receipts};
use crate::engine::StopReason;
use crate::engine::event::{Event, PlaceKind};
use crate::process::Exit;
use crate::workspace::{
    ChangedKind, ChangedPath, CloneBudget, Workspace, Worktree, Written, candidate_refs, clone_dependencies,
    is_temporary,
};

/// What cloning dependency folders into a work tree of our own may cost where storage cannot be shared. A minute or
/// so of copying; above it, working in place is the better bargain.
pub(super) const CLONE_BUDGET: CloneBudget = CloneBudget { max_bytes: 4 << 30, max_files: 400_000 };

/// The folder the loop works in.
pub enum Place {
    /// A work tree of our own.
    Worktree(Box<Worktree>),
    /// The user's.
    InPlace,
}

/// The tree under an in-place loop was changed by somebody else.
#[derive(Debug)]
pub(super) struct TreeChanged {
    pub(super) paths: Vec<String>,
}

impl TreeChanged {
    pub(super) fn of(changed: &[ChangedPath]) -> Self {
        Self { paths: changed.iter().map(|changed| changed.path.clone()).collect() }
    }
}

impl std::fmt::Display for TreeChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<&str> = self.paths.iter().take(3).map(String::as_str).collect();
        write!(f, "the work tree changed under the loop: {}", shown.join(", "))?;
        if self.paths.len() > 3 {
            write!(f, " and {} more", self.paths.len() - 3)?;
        }
        Ok(())
    }
}

impl std::error::Error for TreeChanged {}

/// What one run of a check wrote while the baseline was taken.
pub(super) struct BaselineRun {
    pub(super) check: String,
    /// Tree of what the folder held then, where it was the user's and something was put back.
    pub(super) copy: Option<String>,
    pub(super) wrote: Vec<ChangedPath>,
}

/// What one full run of the checks gave.
pub(super) struct CheckOutcome {
    pub(super) receipts: Receipts,
    /// Whether the loop was told to stop on the way, or its time was over.
    pub(super) stopped: bool,
}

impl Runtime<'_> {
    /// Returns the folder the loop works in.
    pub(super) fn workspace(&self) -> &Workspace {
        match &self.place {
            Some(Place::Worktree(worktree)) => worktree.workspace(),
            _ => &self.user,
        }
    }

    pub(super) fn in_place(&self) -> bool {
        !matches!(self.place, Some(Place::Worktree(_)))
    }

    /// Returns where commands run in this folder.
    pub(super) fn check_dir(&self, workspace: &Workspace) -> PathBuf {
        if self.state.plan.check_dir.is_empty() {
            workspace.dir().to_owned()
        } else {
            workspace.dir().join(&self.state.plan.check_dir)
        }
    }

    /// Returns the time left in the whole budget, in milliseconds.
    pub(super) fn time_left_ms(&self) -> u64 {
        self.state.plan.budget.max_time_ms.saturating_sub(self.state.time_used_ms(Timestamp::now()))
    }

    /// Runs these checks on the tree the folder holds, and puts back what they write.
    ///
    /// `commands` are names and command lines; `label` names the run in its log files.
    pub(super) fn run_checks(
        &mut self,
        here: bool,
        commands: &[(String, String)],
        tree: &str,
        label: &str,
    ) -> anyhow::Result<CheckOutcome> {
        let logs = self.run.folder(self.iteration_index(), "checks")?;
        let mut receipts = Receipts::new();
        for (name, command) in commands {
            let limit = self.state.plan.checks.timeout_ms.min(self.time_left_ms().max(1));
            self.observer.activity(&self.state, &format!("{name}: {command}"));
            let workspace = if here { self.workspace() } else { &self.user };
            let dir = self.check_dir(workspace);
            let run = CheckRun {
                name,
                command,
                dir: &dir,
                tree,
                limit: Duration::from_millis(limit),
                log: logs.join(format!("{label}-{name}.log")),
                pytest_addopts: self.pytest_addopts.as_deref(),
            };
            let mut receipt = run.run(&mut self.stop.watch())?;
            if receipt.exit == Exit::TimedOut
                && limit < self.state.plan.checks.timeout_ms
                && self.state.baseline.is_some()
            {
                // The budget ended it, not its own limit: that says nothing against what was checked.
                receipt.exit = Exit::Stopped;
            }
            if self.state.baseline.is_none() && receipt.exit == Exit::Stopped && (!here || self.in_place()) {
                // Nothing tells yet what the check wrote from what a person did meanwhile: both stay.
                receipts.push(receipt);
                return Ok(CheckOutcome { receipts, stopped: true });
            }
            receipt.wrote = self.restore(here, tree, name)?;
            let json = serde_json::to_vec_pretty(&receipt).context("write a receipt")?;
            self.write(&format!("checks/{label}-{name}.json"), &json)?;
            let stopped = receipt.exit == Exit::Stopped;
            receipts.push(receipt);
            if stopped {
                return Ok(CheckOutcome { receipts, stopped });
            }
        }
        Ok(CheckOutcome { receipts, stopped: false })
    }

    /// Puts back what a check wrote; returns the paths. In the user's own tree a path that no check wrote at the
    /// baseline may be the user's: then both versions are kept and nothing is put back.
    fn restore(&mut self, here: bool, tree: &str, check: &str) -> anyhow::Result<Vec<String>> {
        let users = !here || self.in_place();
        let baseline = self.state.baseline.is_none();
        let workspace = if here { self.workspace() } else { &self.user };
        let changed = workspace.changed_since(tree)?;
        if changed.is_empty() {
            if baseline {
                self.baseline_runs.push(BaselineRun { check: check.to_owned(), copy: None, wrote: changed });
            }
            return Ok(Vec::new());
        }
        let mut copy = None;
        if users {
            if let Some(baseline) = &self.state.baseline {
                let foreign = foreign_paths(&changed, &baseline.check_writes);
                if !foreign.is_empty() {
                    return Err(TreeChanged { paths: foreign }.into());
                }
            } else {
                // Before the baseline is known nothing tells a check's writes from a person's, so a copy is kept until
                // other runs of the check have shown what it writes.
                let found = workspace.snapshot()?;
                self.keep_tree(&found, &format!("before-restore-{}", self.baseline_runs.len() + 1))?;
                copy = Some(found);
            }
        }
        workspace.restore_paths(&changed, tree)?;
        if baseline {
            self.baseline_runs.push(BaselineRun { check: check.to_owned(), copy, wrote: changed.clone() });
        }
        Ok(changed.into_iter().map(|changed| changed.path).collect())
    }

    /// Gives a person back what they changed in their tree while the baseline ran: what stood there after one run of a
    /// check and after no other run of it. Returns the paths.
    pub(super) fn give_back(&mut self, seed: &str) -> anyhow::Result<Vec<String>> {
        let runs = std::mem::take(&mut self.baseline_runs);
        let mut given = Vec::new();
        for (place, run) in runs.iter().enumerate() {
            let Some(copy) = &run.copy else { continue };
            let others = || runs.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, other)| other);
            if !others().any(|other| other.check == run.check) {
                continue;
            }
            let known = others().filter(|other| other.check == run.check).flat_map(|other| &other.wrote);
            let known = known.map(|changed| changed.path.clone()).collect();
            let theirs: BTreeSet<String> = foreign_paths(&run.wrote, &known).into_iter().collect();
            if theirs.is_empty() {
                continue;
            }
            let now: BTreeSet<String> = self.user.changed_since(seed)?.into_iter().map(|one| one.path).collect();
            // A path that they changed again since holds the newer version.
            let back: Vec<ChangedPath> = run
                .wrote
                .iter()
                .filter(|changed| theirs.contains(&changed.path) && !now.contains(&changed.path))
                .cloned()
                .collect();
            self.user.restore_paths(&back, copy)?;
            given.extend(theirs);
        }
        Ok(given)
    }

    /// Keeps what a folder holds now under a ref of the run.
    pub(super) fn keep_copy(&self, workspace: &Workspace, name: &str) -> anyhow::Result<String> {
        let tree = workspace.snapshot()?;
        self.keep_tree(&tree, name)
    }

    fn keep_tree(&self, tree: &str, name: &str) -> anyhow::Result<String> {
        let started = &self.state.started;
        let message = super::ref_message(started, "The work tree as it was found.");
        let commit = self.repository.commit(tree, &[&started.seed_commit], &message)?;
        let first = crate::workspace::kept_ref(&started.run_id, name);
        let mut reference = first.clone();
        let mut number = 1;
        // No copy takes the place of an earlier one.
        while let Some(taken) = self.repository.list_refs(&reference)?.first() {
            if self.repository.tree_of(&taken.commit)? == tree {
                return Ok(reference);
            }
            number += 1;
            reference = format!("{first}-{number}");
        }
        self.repository.set_ref(&reference, &commit, crate::workspace::ExpectedRef::Missing)?;
        Ok(reference)
    }

    /// Takes a candidate that stands in the user's changed work tree back out of it, and keeps what is then theirs.
    ///
    /// Returns the name of the copy.
    pub(super) fn keep_users_version(&mut self) -> anyhow::Result<String> {
        let head = self.state.head_tree.clone();
        if let Some(standing) = self.standing.take().filter(|standing| *standing != head) {
            self.keep_copy(&self.user, "mixed")?;
            let found = self.user.snapshot_on(&standing)?;
            let own = self.repository.merge_trees(&standing, &head, &found)?;
            let taken_out = match own {
                Some(own) => matches!(self.user.materialise(&found, &own)?, Written::Done(_)),
                None => false,
            };
            if !taken_out {
                // Both changed the same lines: there the file stays as it is, the others go back.
                self.user.put_back_untouched(&standing, &head)?;
            }
        }
        self.user.snapshot_on(&head)?;
        self.keep_copy(&self.user, "found")
    }

    /// Stops because the user's work tree changed under an in-place loop: both versions are kept.
    pub(super) fn stop_for_changed_tree(&mut self, changed: &TreeChanged) -> anyhow::Result<()> {
        let kept = self.keep_users_version()?;
        self.emit(Event::Stopped {
            reason: Some(StopReason::TreeChanged),
            message: format!("Stopped to keep your work: {changed}."),
            hint: Some(format!(
                "your version is kept as {kept}, the loop's in its own refs; `resume --adopt` goes on from yours, \
                 `resume --discard` from the loop's"
            )),
        })
    }

    /// Opens the place again after a restart, and brings it to the best state.
    pub(super) fn open_place(&mut self) -> anyhow::Result<()> {
        let Some(baseline) = &self.state.baseline else { return Ok(()) };
        if self.place.is_some() {
            return Ok(());
        }
        let tree = self.state.head_tree.clone();
        match baseline.place.kind {
            PlaceKind::InPlace => {
                self.place = Some(Place::InPlace);
                self.recover_in_place(&tree)
            }
            PlaceKind::Worktree => {
                let started = self.state.started.clone();
                let opened = Worktree::open(&self.repository, &self.cache, &started.run_id, &tree)?;
                let worktree = if let Some(worktree) = opened {
                    worktree
                } else {
                    let commit = self.state.head_commit.clone();
                    let worktree = Worktree::create(&self.repository, &commit, &self.cache, &started.run_id)?;
                    clone_dependencies(&self.repository, worktree.path(), CLONE_BUDGET)?;
                    worktree
                };
                self.place = Some(Place::Worktree(Box::new(worktree)));
                self.workspace().reset_to(&tree)?;
                Ok(())
            }
        }
    }

    /// Brings the user's tree from wherever a dead worker left it to `tree`: undoes a half-applied candidate,
    /// finishes a half-written step. A tree that holds something else is left alone.
    fn recover_in_place(&mut self, tree: &str) -> anyhow::Result<()> {
        let changed = self.user.changed_since(tree)?;
        // What a write left that was cut short; nobody else gives files such names.
        let (ours, changed): (Vec<_>, Vec<_>) = changed.into_iter().partition(|one| is_temporary(&one.path));
        self.user.restore_paths(&ours, tree)?;
        if changed.is_empty() {
            return Ok(());
        }
        let mut trees: Vec<String> = self.state.trees.iter().rev().cloned().collect();
        if let Some(iteration) = self.state.current() {
            let ready = iteration.ready();
            trees.extend(ready.iter().filter_map(|candidate| candidate.tree().map(str::to_owned)));
            // The one that a dead worker was trying, should the user have changed something besides.
            let tried = ready.iter().rev().find(|candidate| candidate.trial_started && candidate.trial.is_none());
            self.standing = tried.and_then(|candidate| candidate.tree()).map(str::to_owned);
        }
        // What the proof's second run stands on: the best state with the seed's tests.
        let best = self.repository.tree(&self.state.head_tree)?;
        let seed = self.repository.tree(&self.state.started.seed_tree)?;
        let plan = &self.state.plan;
        let lines: Vec<String> = plan.checks.commands().into_iter().map(|(_, command)| command).collect();
        let restored = crate::guards::restore_seed_tests(&seed, &best, &plan.limits.allow_change, &lines)?;
        if !restored.change.is_empty() {
            trees.push(self.repository.write_change(&self.state.head_tree, &restored.change)?);
        }
        // And what a candidate was measured on with other inputs.
        for reference in self.repository.list_refs(&candidate_refs(&self.state.started.run_id))? {
            trees.push(self.repository.tree_of(&reference.commit)?);
        }
        for from in trees {
            if from == tree {
                continue;
            }
            let ours = self.user.landing_state(&from, tree)?;
            let foreign = self.foreign_in_place(tree, |path| ours.contains_key(path))?;
            if foreign.is_empty()
                && let Written::Done(_) = self.user.materialise(&from, tree)?
            {
                let changed = self.user.changed_since(tree)?;
                self.user.restore_paths(&changed, tree)?;
                return Ok(());
            }
        }
        let paths = self.user.changed_since(tree)?.into_iter().map(|changed| changed.path).collect();
        Err(TreeChanged { paths }.into())
    }

    /// Returns the changed paths that are neither ours nor written by checks.
    fn foreign_in_place(&self, tree: &str, ours: impl Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        let known = self.state.baseline.as_ref().map(|baseline| baseline.check_writes.clone()).unwrap_or_default();
        let changed = self.user.changed_since(tree)?;
        Ok(foreign_paths(&changed, &known).into_iter().filter(|path| !ours(path)).collect())
    }

    /// Makes sure the folder holds `tree` before something relies on it. In the user's tree a difference is theirs.
    pub(super) fn expect_tree(&mut self, tree: &str) -> anyhow::Result<()> {
        self.open_place()?;
        if self.in_place() {
            let foreign = self.foreign_in_place(tree, |_| false)?;
            if !foreign.is_empty() {
                return Err(TreeChanged { paths: foreign }.into());
            }
            // What checks are known to write was put back after each run, so this may be a person's after all.
            if !self.user.changed_since(tree)?.is_empty() {
                self.keep_copy(&self.user, &format!("before-event-{}", self.state.seq))?;
            }
        }
        self.workspace().reset_to(tree)?;
        Ok(())
    }

    /// Brings the folder from one tree to another.
    pub(super) fn move_tree(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        if self.in_place() {
            self.standing = Some(from.to_owned());
        }
        match self.workspace().materialise(from, to)? {
            Written::Done(_) => {
                if self.in_place() {
                    self.standing = Some(to.to_owned());
                }
                Ok(())
            }
            Written::Blocked(_) if !self.in_place() => {
                self.workspace().reset_to(to)?;
                Ok(())
            }
            Written::Blocked(paths) => Err(TreeChanged { paths }.into()),
        }
    }

    pub(super) fn drop_worktree(&mut self) -> anyhow::Result<()> {
        if let Some(Place::Worktree(worktree)) = self.place.take() {
            worktree.remove()?;
        }
        Ok(())
    }
}

/// Returns the changed paths that checks are not known to write. A folder that checks fill counts as theirs, and so
/// does a new file whose name differs from that of a known one only by its numbers (`report-1763.xml`).
fn foreign_paths(changed: &[ChangedPath], known: &BTreeSet<String>) -> Vec<String> {
    let folder = |path: &str| Path::new(path).parent().map(Path::to_owned).filter(|parent| parent.as_os_str() != "");
    let folders: BTreeSet<PathBuf> = known.iter().filter_map(|path| folder(path)).collect();
    let names: BTreeSet<String> = known.iter().filter_map(|path| numbered(path)).collect();
    changed
        .iter()
        .filter(|changed| {
            changed.kind != ChangedKind::Added || numbered(&changed.path).is_none_or(|name| !names.contains(&name))
        })
        .map(|changed| changed.path.clone())
        .filter(|path| !known.contains(path))
        .filter(|path| {
            let cache = folder(path).is_some_and(|parent| {
                folders.contains(&parent) && parent.components().any(|part| is_cache_name(part.as_os_str()))
            });
            !cache
        })
        .collect()
}

/// The path with a mark in the place of what counts or tells runs apart in its name: words that hold a digit. `None`
/// where there is no such word.
fn numbered(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut out = String::new();
    for word in name.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        out.push_str(if bare.contains(|c: char| c.is_ascii_digit()) { "#" } else { bare });
        out.push_str(&word[bare.len()..]);
    }
    (out != name).then(|| format!("{folder}/{out}"))
}

/// Folders that runners fill with names of their own choosing.
fn is_cache_name(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("__") || name.starts_with('.') || name.contains("cache") || name == "target" || name == "coverage"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_that_differs_by_its_number_from_one_a_check_wrote_is_the_checks() {
        let known: BTreeSet<String> = ["out/report-17.xml", "plain.txt"].map(str::to_owned).into();
        let foreign = |path: &str, kind| foreign_paths(&[ChangedPath { path: path.into(), kind }], &known);
        let none: Vec<String> = Vec::new();
        assert_eq!(foreign("out/report-8a2.xml", ChangedKind::Added), none);
        assert_eq!(foreign("plain.txt", ChangedKind::Modified), none);
        for path in ["out/report-8.txt", "out/notes-8.xml", "report-8.xml", "out/report.xml", "plain2.txt"] {
            assert_eq!(foreign(path, ChangedKind::Added), [path]);
        }
        // What was there before is nobody's new file.
        assert_eq!(foreign("out/report-8.xml", ChangedKind::Modified), ["out/report-8.xml"]);
    }
}
