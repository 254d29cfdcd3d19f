//! Further work trees of a run, and trials in several of them at once.
//!
//! They are made when they are first needed, brought to their tree before each use, and removed with the run's own
//! work tree. Threads only run checks; events are appended by the loop's thread, in the candidates' order.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Runtime;
use super::candidates::{finish_trial, tree_to_try};
use super::place::CLONE_BUDGET;
use super::signals::StopSignal;
use crate::checks::{CheckRun, Receipts};
use crate::engine::compare::{Excused, all_hold, compare};
use crate::engine::event::{Event, Trial, TrialOutcome};
use crate::process::Exit;
use crate::store::Run;
use crate::workspace::{Workspace, Worktree, clone_dependencies, further_worktree};

/// What the checks of one round of trials have in common.
struct Bench<'a> {
    run: &'a Run,
    iteration: u32,
    logs: PathBuf,
    commands: Vec<(String, String)>,
    before: Receipts,
    check_dir: &'a str,
    /// Longest run time of one check.
    limit: Duration,
    /// Whether it is the time budget that makes it so short.
    cut_short: bool,
    pytest_addopts: Option<&'a str>,
    stop: &'a StopSignal,
}

/// One candidate of a round.
struct Entry {
    id: String,
    tree: String,
    excused: Excused,
}

/// What a candidate showed while others ran beside it.
struct Shown {
    trial: Trial,
    /// Whether every check held.
    holds: bool,
}

impl Shown {
    /// Says whether others running beside it may be what made it look bad, so that it has to be tried alone.
    ///
    /// A break always is tried again. Mere lack of progress is left at that where another candidate of the round
    /// holds in full, since then nothing hangs on it.
    fn is_doubtful(&self, another_holds: bool) -> bool {
        match self.trial.outcome {
            _ if self.holds => false,
            TrialOutcome::Worse | TrialOutcome::Vacuous | TrialOutcome::SpecialCased => true,
            TrialOutcome::Better | TrialOutcome::Neutral | TrialOutcome::NoProgress => !another_holds,
        }
    }
}

impl Runtime<'_> {
    /// Tries candidates at the same time. What fails in company is tried again alone before it counts.
    pub(super) fn try_together(&mut self, ids: &[String]) -> anyhow::Result<()> {
        let head = self.state.head_tree.clone();
        if let Some(stop) = self.tree_changed(|runtime| runtime.expect_tree(&head))? {
            return stop;
        }
        let room = 1 + self.fill_pool(ids.len().saturating_sub(1));
        let ids = &ids[..room.min(ids.len())];
        if let [id] = ids {
            return self.try_candidate(id);
        }
        let mut entries = Vec::new();
        for id in ids {
            let candidate = self.candidate(id)?;
            let excused = self.excused_for(&candidate);
            entries.push(Entry { id: id.clone(), tree: tree_to_try(&candidate)?, excused });
            self.emit(Event::TrialStarted { id: id.clone() })?;
        }
        self.observer.activity(&self.state, &format!("trying {} candidates at once", ids.len()));
        let shown = self.show_together(&entries)?;
        self.workspace().reset_to(&head)?;
        let another_holds = shown.iter().flatten().any(|shown| shown.holds);
        for (entry, shown) in entries.iter().zip(shown) {
            // Told to stop: what was not measured is tried when the loop goes on.
            let Some(shown) = shown else { continue };
            if shown.is_doubtful(another_holds) {
                if self.stop.requested() {
                    return Ok(());
                }
                self.try_alone(&entry.id, Some(&shown.trial.receipts))?;
                if self.state.stop.is_some() {
                    return Ok(());
                }
            } else {
                let mut trial = shown.trial;
                if let Some(stop) = self.tree_changed(|runtime| runtime.expect_tree(&head))? {
                    return stop;
                }
                if !self.with_other_inputs(&entry.tree, &mut trial)? {
                    return Ok(());
                }
                self.emit(Event::ProposalTried { trial: Box::new(trial) })?;
            }
        }
        Ok(())
    }

    /// Runs each candidate's checks in a work tree of its own, all at once. `None` for one that was told to stop.
    fn show_together(&self, entries: &[Entry]) -> anyhow::Result<Vec<Option<Shown>>> {
        let iteration = self.iteration_index();
        let logs = self.run.folder(iteration, "checks")?;
        let mut commands: Vec<(String, String)> = Vec::new();
        if let Some(trial) = &self.state.plan.checks.trial {
            commands.push(("trial".into(), trial.clone()));
        }
        commands.extend(self.state.plan.checks.commands());
        let limit = self.state.plan.checks.timeout_ms.min(self.time_left_ms().max(1));
        let bench = Bench {
            run: &self.run,
            iteration,
            logs,
            commands,
            before: self.state.head_receipts.clone(),
            check_dir: &self.state.plan.check_dir,
            limit: Duration::from_millis(limit),
            cut_short: limit < self.state.plan.checks.timeout_ms,
            pytest_addopts: self.pytest_addopts.as_deref(),
            stop: &self.stop,
        };
        let folders = std::iter::once(self.workspace()).chain(self.pool.iter().map(Worktree::workspace));
        std::thread::scope(|scope| {
            let bench = &bench;
            let running: Vec<_> =
                entries.iter().zip(folders).map(|(entry, folder)| scope.spawn(|| bench.show(entry, folder))).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a trial's thread panicked"))))
                .collect()
        })
    }

    /// Makes further work trees until there are `wanted`, and returns how many there are. Where one cannot be had (no
    /// room, dependencies too large to clone), there are fewer, and less is done at the same time.
    pub(super) fn fill_pool(&mut self, wanted: usize) -> usize {
        while self.pool.len() < wanted {
            let number = u32::try_from(self.pool.len()).unwrap_or(u32::MAX).saturating_add(2);
            match self.further(number) {
                Ok(Some(worktree)) => self.pool.push(worktree),
                Ok(None) => break,
                Err(error) => {
                    self.observer.activity(&self.state, &format!("no further work tree: {error:#}"));
                    break;
                }
            }
        }
        self.pool.len().min(wanted)
    }

    fn further(&mut self, number: u32) -> anyhow::Result<Option<Worktree>> {
        let name = further_worktree(&self.state.started.run_id, number);
        let commit = self.state.head_commit.clone();
        self.observer.activity(&self.state, &format!("making work tree {number}"));
        let worktree = Worktree::create(&self.repository, &commit, &self.cache, &name)?;
        let prepared = self.furnish(&worktree, number);
        match prepared {
            Ok(true) => Ok(Some(worktree)),
            Ok(false) => worktree.remove().map(|()| None),
            Err(error) => {
                worktree.remove()?;
                Err(error)
            }
        }
    }

    /// Clones the dependencies into a further work tree and sets it up. Returns whether it can be used.
    fn furnish(&mut self, worktree: &Worktree, number: u32) -> anyhow::Result<bool> {
        let report = clone_dependencies(&self.repository, worktree.path(), CLONE_BUDGET)?;
        if report.too_costly.is_some() {
            return Ok(false);
        }
        if let Some(command) = self.state.plan.method.setup_command.clone() {
            let dir = self.check_dir(worktree.workspace());
            self.set_up(&command, &dir, &format!("setup-{number}.log"))?;
        }
        Ok(true)
    }
}

impl Bench<'_> {
    /// Brings the folder to the candidate's tree and runs every check there.
    fn show(&self, entry: &Entry, folder: &Workspace) -> anyhow::Result<Option<Shown>> {
        let started = Instant::now();
        folder.reset_to(&entry.tree)?;
        let mut receipts = Receipts::new();
        for (name, command) in &self.commands {
            let label = format!("trial-{}-together", entry.id);
            let dir = join(folder.dir(), self.check_dir);
            let check = CheckRun {
                name,
                command,
                dir: &dir,
                tree: &entry.tree,
                limit: self.limit,
                log: self.logs.join(format!("{label}-{name}.log")),
                pytest_addopts: self.pytest_addopts,
            };
            let mut receipt = check.run(&mut self.stop.watch())?;
            // Ended by the budget and not by its own limit, it says nothing against the candidate.
            let by_budget = receipt.exit == Exit::TimedOut && self.cut_short;
            if receipt.exit == Exit::Stopped || by_budget {
                return Ok(None);
            }
            let changed = folder.changed_since(&entry.tree)?;
            folder.restore_paths(&changed, &entry.tree)?;
            receipt.wrote = changed.into_iter().map(|changed| changed.path).collect();
            let json = serde_json::to_vec_pretty(&receipt).context("write a receipt")?;
            self.run.write(self.iteration, &format!("checks/{label}-{name}.json"), &json)?;
            receipts.push(receipt);
        }
        // In the baseline's order: the trial command's receipt comes last.
        if receipts.first().is_some_and(|receipt| receipt.check == "trial") {
            receipts.rotate_left(1);
        }
        let comparison = compare(&self.before, &receipts, &entry.excused);
        let holds = all_hold(&receipts, &entry.excused) && comparison.outcome.acceptable();
        let mut trial = finish_trial(
            &entry.id,
            &entry.tree,
            comparison,
            receipts,
            &self.before,
            &entry.excused,
            std::collections::BTreeSet::new(),
        );
        trial.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Shown { trial, holds }))
    }
}

fn join(root: &Path, below: &str) -> PathBuf {
    if below.is_empty() { root.to_owned() } else { root.join(below) }
}
