//! The baseline: every check before all else, in the user's work tree and in one of our own, and which of the two the
//! loop works in.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::Runtime;
use super::place::{CLONE_BUDGET, Place, TreeChanged};
use crate::checks::{self, Receipt, Receipts};
use crate::engine::StopReason;
use crate::engine::event::{Baseline, Event, Place as PlaceRecord, PlaceKind, Unusable};
use crate::plan::Where;
use crate::process::{self, Exit, FirstSignal, Spec};
use crate::report::typed_duration;
use crate::workspace::{Worktree, clone_dependencies};

/// A second run of the same checks to find flaky ids is cheap below this, in milliseconds, and below a hundredth of
/// the time budget.
const CHEAP_RERUN_MS: u64 = 20_000;

/// Runs of the checks after the baseline that a loop cannot do without: one trial, and the proof, fresh and with the
/// seed's tests.
const LATER_RUNS: u64 = 3;

/// What the least number of Codex calls is taken to need where a budget is named, in milliseconds: two quick ones.
const CALLS_MS: u64 = 20_000;

/// The set-up command did not end well.
#[derive(Debug)]
struct SetUpFailed(String);

impl std::fmt::Display for SetUpFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetUpFailed {}

impl Runtime<'_> {
    /// Makes the place and takes the baseline.
    pub(super) fn take_baseline(&mut self) -> anyhow::Result<()> {
        let wish = self.state.plan.method.place;
        let seed = self.state.started.seed_tree.clone();
        let commands = self.baseline_commands();
        let mut in_place = None;
        self.place = None;
        self.baseline_runs.clear();
        let changed = self.user.changed_since(&seed)?;
        if wish == Where::InPlace && !changed.is_empty() {
            return Err(TreeChanged::of(&changed).into());
        }
        // In a tree that changed since the start the checks would show something else.
        if wish != Where::Worktree && changed.is_empty() {
            let run = self.run_checks(false, &commands, &seed, "baseline-in-place")?;
            if run.stopped {
                return Ok(());
            }
            let to_come = u64::from(wish == Where::Auto);
            if let Some(unusable) = self.unusable(&run.receipts, to_come) {
                return self.finish_baseline(PlaceKind::InPlace, None, run.receipts, None, Some(unusable));
            }
            in_place = Some(run.receipts);
        }
        if wish == Where::InPlace {
            let first = in_place.unwrap_or_default();
            let second = self.rerun_if_cheap(&first, &commands, &seed)?;
            return self.finish_baseline(PlaceKind::InPlace, None, first, second.as_ref(), None);
        }
        let made = match self.make_worktree(wish) {
            Err(error) => match error.downcast::<SetUpFailed>() {
                Ok(SetUpFailed(message)) => {
                    let unusable = Unusable { reason: StopReason::ChecksUnusable, message, least_ms: None };
                    let receipts = in_place.unwrap_or_default();
                    return self.finish_baseline(PlaceKind::Worktree, None, receipts, None, Some(unusable));
                }
                Err(error) => return Err(error),
            },
            Ok(made) => made,
        };
        if let Some(reason) = made {
            let first = in_place.unwrap_or_default();
            let second = self.rerun_if_cheap(&first, &commands, &seed)?;
            return self.finish_baseline(PlaceKind::InPlace, Some(reason), first, second.as_ref(), None);
        }
        let run = self.run_checks(true, &commands, &seed, "baseline")?;
        if run.stopped {
            return Ok(());
        }
        let own = run.receipts;
        if let Some(unusable) = self.unusable(&own, 0) {
            if let Some(first) = in_place.filter(|_| unusable.reason == StopReason::ChecksUnusable) {
                let reason = format!("the checks do not work in a work tree of their own: {}", unusable.message);
                return self.move_in_place(reason, first, &commands, &seed);
            }
            return self.finish_baseline(PlaceKind::Worktree, None, own, None, Some(unusable));
        }
        match in_place {
            None => {
                let second = self.rerun_if_cheap(&own, &commands, &seed)?;
                self.finish_baseline(PlaceKind::Worktree, None, own, second.as_ref(), None)
            }
            Some(first) if same_results(&first, &own) => {
                let second = self.rerun_if_cheap(&own, &commands, &seed)?;
                let second = second.unwrap_or(first);
                self.finish_baseline(PlaceKind::Worktree, None, own, Some(&second), None)
            }
            Some(first) => {
                // Different results: further runs tell whether the place or chance made them so. The one here comes
                // first: to a test that fails every second time, each place would else show a face of its own.
                let place = differing(&first, &own);
                let mut chance = BTreeSet::new();
                for (here, label) in [(true, "baseline-again"), (false, "baseline-in-place-again")] {
                    if place.is_subset(&chance) {
                        break;
                    }
                    let again = self.run_checks(here, &commands, &seed, label)?;
                    if again.stopped {
                        return Ok(());
                    }
                    chance.extend(differing(if here { &own } else { &first }, &again.receipts));
                }
                if !place.is_empty() && place.is_subset(&chance) {
                    return self.finish_baseline(PlaceKind::Worktree, None, own, Some(&first), None);
                }
                let shown: Vec<&str> = place.iter().take(3).map(String::as_str).collect();
                let reason = format!(
                    "the checks give another result in a work tree of their own{}{}",
                    if shown.is_empty() { "" } else { ": " },
                    shown.join(", ")
                );
                self.move_in_place(reason, first, &commands, &seed)
            }
        }
    }

    fn move_in_place(
        &mut self,
        reason: String,
        first: Receipts,
        commands: &[(String, String)],
        seed: &str,
    ) -> anyhow::Result<()> {
        if self.state.plan.method.place == Where::Worktree {
            let unusable = Unusable { reason: StopReason::ChecksUnusable, message: reason, least_ms: None };
            return self.finish_baseline(PlaceKind::Worktree, None, first, None, Some(unusable));
        }
        self.drop_worktree()?;
        let second = self.rerun_if_cheap(&first, commands, seed)?;
        self.finish_baseline(PlaceKind::InPlace, Some(reason), first, second.as_ref(), None)
    }

    /// Returns the commands of the baseline: every check, and the trial command, whose result trials are held against.
    pub(super) fn baseline_commands(&self) -> Vec<(String, String)> {
        let mut commands = self.state.plan.checks.commands();
        if let Some(trial) = &self.state.plan.checks.trial {
            commands.push(("trial".into(), trial.clone()));
        }
        commands
    }

    /// Makes a work tree of our own. Returns why the loop has to work in place instead, if it has to.
    fn make_worktree(&mut self, wish: Where) -> anyhow::Result<Option<String>> {
        let started = self.state.started.clone();
        let made = Worktree::create(&self.repository, &started.seed_commit, &self.cache, &started.run_id);
        let worktree = match made {
            Ok(worktree) => worktree,
            Err(error) if wish == Where::Auto => {
                return Ok(Some(format!("a work tree of its own cannot be made: {error:#}")));
            }
            Err(error) => return Err(error.context("make a work tree (--where worktree)")),
        };
        let report = clone_dependencies(&self.repository, worktree.path(), CLONE_BUDGET)?;
        self.place = Some(Place::Worktree(Box::new(worktree)));
        let hindrance = report.too_costly.or(report.tied_to_original);
        if let Some(reason) = hindrance.filter(|_| wish == Where::Auto) {
            self.drop_worktree()?;
            return Ok(Some(reason));
        }
        if let Some(command) = self.state.plan.method.setup_command.clone() {
            let dir = self.check_dir(self.workspace());
            self.set_up(&command, &dir, "setup.log")?;
            let seed = self.state.started.seed_tree.clone();
            self.workspace().reset_to(&seed)?;
        }
        Ok(None)
    }

    /// Runs the set-up command in a new work tree.
    pub(super) fn set_up(&mut self, command: &str, dir: &Path, log: &str) -> anyhow::Result<()> {
        self.observer.activity(&self.state, &format!("set-up: {command}"));
        let log = self.run.iteration_dir(0)?.join(log);
        let spec = Spec {
            argv: ["/bin/sh", "-c", command].map(std::ffi::OsString::from).to_vec(),
            cwd: dir.to_owned(),
            env: Vec::new(),
            env_remove: Vec::new(),
            stdin: Vec::new(),
            stdout: log.clone(),
            stderr: log.clone(),
            limit: Duration::from_millis(self.time_left_ms().max(1)),
            grace: Duration::from_secs(2),
            first_signal: FirstSignal::Terminate,
            max_output: 256 << 20,
        };
        let finished = process::run(&spec, &mut self.stop.watch())?;
        if !finished.exit.success() && finished.exit != Exit::Stopped {
            let said = checks::log_tail(&log, 400);
            return Err(SetUpFailed(format!("The set-up command `{command}` failed: {}.", said.trim())).into());
        }
        Ok(())
    }

    /// Runs the checks once more where that is cheap, to find ids that change by themselves.
    fn rerun_if_cheap(
        &mut self,
        first: &[Receipt],
        commands: &[(String, String)],
        tree: &str,
    ) -> anyhow::Result<Option<Receipts>> {
        let took: u64 = first.iter().map(|receipt| receipt.duration_ms).sum();
        let runs = &self.baseline_runs;
        // Only another run tells whether it was the check that wrote into the user's tree.
        let unclear = runs
            .iter()
            .any(|run| run.copy.is_some() && runs.iter().filter(|other| other.check == run.check).count() == 1);
        let dear = took > CHEAP_RERUN_MS || took > self.state.plan.budget.max_time_ms / 100;
        if commands.is_empty() || dear && !unclear {
            return Ok(None);
        }
        let run = self.run_checks(true, commands, tree, "baseline-repeat")?;
        Ok(Some(run.receipts).filter(|_| !run.stopped))
    }

    /// Says why no loop can run on these receipts, if so. `to_come` is how often the baseline runs the checks after
    /// this.
    fn unusable(&self, receipts: &[Receipt], to_come: u64) -> Option<Unusable> {
        let left = self.time_left_ms();
        let used = self.state.plan.budget.max_time_ms - left;
        for receipt in receipts {
            match receipt.unusable() {
                // An accept command may name a program that the loop has yet to write.
                Some(_) if receipt.is_accept() && matches!(receipt.exit, Exit::Code { .. }) => {}
                Some(_) if receipt.exit == Exit::TimedOut && left == 0 => {
                    let least = receipt.duration_ms * (1 + to_come + LATER_RUNS) + CALLS_MS;
                    return Some(Unusable {
                        reason: StopReason::ChecksTooSlow,
                        message: format!(
                            "`{}` had not ended after {}, the whole time budget; a loop runs it {} times and more, so the \
                             smallest budget is longer than --max-time {}.",
                            receipt.command,
                            crate::report::duration(receipt.duration_ms),
                            1 + to_come + LATER_RUNS,
                            typed_duration(least)
                        ),
                        least_ms: Some(least.saturating_mul(2)),
                    });
                }
                Some(message) => {
                    let reason = StopReason::ChecksUnusable;
                    return Some(Unusable { reason, message: format!("{message}."), least_ms: None });
                }
                None => {}
            }
        }
        let one: u64 = receipts.iter().map(|receipt| receipt.duration_ms).sum();
        let needed = one.saturating_mul(to_come + LATER_RUNS);
        // Runs differ a little in length, and the work tree takes its time too.
        let least = used + needed + needed / 4 + CALLS_MS;
        (needed > left).then(|| Unusable {
            reason: StopReason::ChecksTooSlow,
            message: format!(
                "One run of the checks takes {}; an iteration and the proof do not fit into the {} left. The smallest \
                 budget that holds them is --max-time {}.",
                crate::report::duration(one),
                crate::report::duration(left),
                typed_duration(least)
            ),
            least_ms: Some(least),
        })
    }

    fn finish_baseline(
        &mut self,
        kind: PlaceKind,
        reason: Option<String>,
        receipts: Receipts,
        other: Option<&Receipts>,
        unusable: Option<Unusable>,
    ) -> anyhow::Result<()> {
        if kind == PlaceKind::InPlace {
            self.drop_worktree()?;
            self.place = Some(Place::InPlace);
        }
        let checks = &self.state.plan.checks;
        let mut flaky: BTreeSet<String> = checks.flaky.iter().cloned().collect();
        let mut check_writes: BTreeSet<String> = writes(&receipts);
        if let Some(other) = other {
            flaky.extend(differing(&receipts, other));
            check_writes.extend(writes(other));
        }
        let known_red = if checks.known_red.iter().any(|id| id == "baseline") {
            let red = receipts.iter().filter(|receipt| !receipt.is_accept()).flat_map(Receipt::failing);
            red.filter(|id| !flaky.contains(id)).collect()
        } else {
            checks.known_red.iter().cloned().collect()
        };
        let duration_ms = receipts.iter().map(|receipt| receipt.duration_ms).sum();
        let seed = self.state.started.seed_tree.clone();
        let theirs = self.give_back(&seed)?;
        check_writes.retain(|path| !theirs.contains(path));
        let path = self.workspace().dir().display().to_string();
        let baseline = Baseline {
            place: PlaceRecord { kind, path, reason },
            receipts,
            flaky,
            known_red,
            check_writes,
            duration_ms,
            unusable,
        };
        self.emit(Event::BaselineTaken { baseline: Box::new(baseline) })?;
        if kind == PlaceKind::InPlace && !theirs.is_empty() {
            return Err(TreeChanged { paths: theirs }.into());
        }
        Ok(())
    }
}

fn writes(receipts: &[Receipt]) -> BTreeSet<String> {
    receipts.iter().flat_map(|receipt| receipt.wrote.iter().cloned()).collect()
}

/// Returns the ids whose result differs between two runs of the same checks.
fn differing(a: &[Receipt], b: &[Receipt]) -> BTreeSet<String> {
    a.iter()
        .zip(b)
        .flat_map(|(a, b)| a.failing().symmetric_difference(&b.failing()).cloned().collect::<Vec<_>>())
        .collect()
}

/// Says whether two runs of the same checks came to the same.
fn same_results(a: &[Receipt], b: &[Receipt]) -> bool {
    differing(a, b).is_empty()
        && a.iter().zip(b).all(|(a, b)| a.exit.success() == b.exit.success() && a.counts.run == b.counts.run)
}
