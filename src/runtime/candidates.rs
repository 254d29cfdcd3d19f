//! Proposals on their way: rebuilt, guarded, tried, accepted.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Context;

use super::Runtime;
use super::place::TreeChanged;
use crate::checks::{self, Receipt, Receipts};
use crate::engine::compare::{Comparison, Excused, compare, state_id};
use crate::engine::event::{Event, Prepared, Trial};
use crate::engine::state::Candidate;
use crate::guards::{self, Code};
use crate::patch::{self, Rebuilt, RefusalCode};
use crate::workspace::{Applies, ExpectedRef, GitTree, candidate_ref, candidate_refs, iteration_ref};

impl Runtime<'_> {
    pub(super) fn candidate(&self, id: &str) -> anyhow::Result<Candidate> {
        self.state
            .current()
            .and_then(|iteration| iteration.candidate(id))
            .cloned()
            .with_context(|| format!("the journal names a proposal `{id}` that it does not have"))
    }

    /// Rebuilds a proposal's patch against the best state and has the guards judge it.
    pub(super) fn prepare(&mut self, id: &str) -> anyhow::Result<()> {
        let candidate = self.candidate(id)?;
        let prepared = self.judge(&candidate)?;
        if matches!(prepared, Prepared::Refused { .. }) {
            self.expect_room()?;
        }
        self.emit(Event::ProposalPrepared { id: id.to_owned(), prepared: Box::new(prepared) })
    }

    /// Rebuilds a patch as it came from the model, or says why that cannot be done.
    fn rebuild(
        &self,
        candidate: &Candidate,
        raw: &str,
        base: &GitTree,
    ) -> anyhow::Result<Result<Rebuilt, (Code, String)>> {
        let limits =
            patch::Limits { max_lines: self.state.plan.method.max_patch_lines as usize, ..patch::Limits::default() };
        let refusal = match patch::rebuild(raw, base, &limits) {
            Ok(rebuilt) => return Ok(Ok(rebuilt)),
            Err(refusal) => refusal,
        };
        let code = match refusal.code {
            RefusalCode::DoesNotApply => Code::DoesNotApply,
            RefusalCode::TooLarge => Code::TooLarge,
            RefusalCode::OutsideRepo => Code::OutsideRepo,
            RefusalCode::ProtectedPath => Code::ProtectedPath,
            RefusalCode::TouchesLoopState => Code::TouchesLoopState,
        };
        let name = format!("proposals/{}.refusal.json", candidate.proposed.id);
        self.write(&name, &serde_json::to_vec_pretty(&refusal).context("write a refusal")?)?;
        Ok(Err((code, refusal.to_string())))
    }

    fn judge(&self, candidate: &Candidate) -> anyhow::Result<Prepared> {
        let index = self.iteration_index();
        let raw = self.run.read(index, &candidate.proposed.patch_file)?;
        let base_id = self.state.head_tree.clone();
        let base = self.repository.tree(&base_id)?;
        let refuse =
            |code: Code, reason: String| Prepared::Refused { code, reason, fingerprint: None, findings: Vec::new() };
        let rebuilt = if candidate.exact {
            match self.repository.apply_diff(&raw, &base_id)? {
                Ok(tree) => Rebuilt { change: self.repository.change_between(&base_id, &tree)?, matches: Vec::new() },
                Err(cause) => return Ok(refuse(Code::DoesNotApply, format!("git does not take the change: {cause}"))),
            }
        } else {
            match self.rebuild(candidate, &String::from_utf8_lossy(&raw), &base)? {
                Ok(rebuilt) => rebuilt,
                Err((code, reason)) => return Ok(refuse(code, reason)),
            }
        };
        let seed = self.repository.tree(&self.state.started.seed_tree)?;
        let plan = &self.state.plan;
        let commands: Vec<String> = plan.checks.commands().into_iter().map(|(_, command)| command).collect();
        let judgement = guards::judge(
            &rebuilt.change,
            &guards::Context {
                tree: &base,
                seed: &seed,
                commands: &commands,
                allow_change: &plan.limits.allow_change,
                protect: &plan.limits.protect,
                scope: &plan.limits.scope,
                max_lines: plan.method.max_patch_lines as usize,
                goal_adds_tests: goal_adds_tests(&plan.goal),
                earlier: &self.state.hopeless_fingerprints(),
            },
        );
        let fingerprint = guards::fingerprint(&rebuilt.change);
        if let Some(first) = judgement.refusals.first() {
            return Ok(Prepared::Refused {
                code: first.code,
                reason: finding_text(first),
                fingerprint: Some(fingerprint),
                findings: judgement.refusals,
            });
        }
        let tree = self.repository.write_change(&base_id, &rebuilt.change)?;
        if tree == base_id {
            return Ok(refuse(Code::DoesNotApply, "the patch changes nothing".into()));
        }
        if let Some(place) = self.state.trees.iter().position(|earlier| *earlier == tree) {
            let what = if place == 0 {
                "the tree the loop started from".to_owned()
            } else {
                format!("accepted state {place}")
            };
            return Ok(refuse(Code::Duplicate, format!("it goes back to {what}")));
        }
        let twin = self
            .state
            .current()
            .into_iter()
            .flat_map(|iteration| iteration.ready())
            .find(|other| other.proposed.id != candidate.proposed.id && other.tree() == Some(tree.as_str()));
        if let Some(twin) = twin {
            return Ok(refuse(Code::Duplicate, format!("it makes the same change as {}", twin.proposed.id)));
        }
        // Until it is accepted nothing else names this tree, and git may collect what nothing names.
        let name = candidate_ref(&self.state.started.run_id, index, &candidate.proposed.id);
        let message = super::ref_message(&self.state.started, &format!("A candidate of iteration {index}."));
        let commit = self.repository.commit(&tree, &[&self.state.head_commit], &message)?;
        self.repository.set_ref(&name, &commit, ExpectedRef::Any)?;
        let diff = self.repository.diff(&base_id, &tree)?;
        if let Applies::No(cause) = self.repository.check_applies(&diff, &base_id)? {
            return Ok(refuse(Code::DoesNotApply, format!("git does not take the rebuilt patch: {cause}")));
        }
        let diff_file = format!("proposals/{}.patch", candidate.proposed.id);
        self.write(&diff_file, &diff)?;
        let (added, removed) = count_lines(&diff);
        Ok(Prepared::Ready {
            tree,
            diff_file,
            files_touched: rebuilt.change.paths().into_iter().map(str::to_owned).collect(),
            modifies_tests: judgement.touches_tests,
            added,
            removed,
            matches: rebuilt.matches,
            flags: judgement.flags,
            permitted: judgement.permitted,
            fingerprint,
        })
    }

    /// Runs the checks on a candidate and compares them with the best state's.
    pub(super) fn try_candidate(&mut self, id: &str) -> anyhow::Result<()> {
        self.try_alone(id, None)
    }

    /// Tries a candidate with nothing else running. `together` is what it showed while others ran beside it: it only
    /// tells which failures come and go.
    pub(super) fn try_alone(&mut self, id: &str, together: Option<&Receipts>) -> anyhow::Result<()> {
        let candidate = self.candidate(id)?;
        let tree = tree_to_try(&candidate)?;
        let head = self.state.head_tree.clone();
        if let Some(stop) = self.tree_changed(|runtime| runtime.expect_tree(&head))? {
            return stop;
        }
        if together.is_none() {
            self.emit(Event::TrialStarted { id: id.to_owned() })?;
        }
        let started = Instant::now();
        self.move_tree(&head, &tree)?;
        self.measure(id, &candidate, &tree, together)?;
        let trial = self.take_measured();
        self.expect_tree(&tree)?;
        self.move_tree(&tree, &head)?;
        let Some(mut trial) = trial else { return Ok(()) };
        if !self.with_other_inputs(&tree, &mut trial)? {
            return Ok(());
        }
        if !trial.outcome.acceptable() {
            self.expect_room()?;
        }
        trial.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.emit(Event::ProposalTried { trial: Box::new(trial) })
    }

    /// Runs the checks on the candidate that stands in the folder and keeps what they show.
    fn measure(
        &mut self,
        id: &str,
        candidate: &Candidate,
        tree: &str,
        together: Option<&Receipts>,
    ) -> anyhow::Result<()> {
        self.measured = None;
        let mut excused = self.excused_for(candidate);
        let before = self.state.head_receipts.clone();
        let label = format!("trial-{id}");
        let trial_command = self.state.plan.checks.trial.clone();
        let mut receipts = Receipts::new();
        if let Some(command) = trial_command {
            // The fast stand-in first: what it shows broken needs no full run.
            let Some(fast) = self.check_all(&[("trial".into(), command)], tree, &label)? else { return Ok(()) };
            let old: Vec<Receipt> = before.iter().filter(|receipt| receipt.check == "trial").cloned().collect();
            let comparison = compare(&old, &fast, &Excused { new_failures_welcome: true, ..excused.clone() });
            if matches!(
                comparison.outcome,
                crate::engine::event::TrialOutcome::Worse | crate::engine::event::TrialOutcome::Vacuous
            ) {
                let trial = finish_trial(id, tree, comparison, fast, &old, &excused, BTreeSet::new());
                self.measured = Some(trial);
                return Ok(());
            }
            receipts = fast;
        }
        let commands = self.state.plan.checks.commands();
        let Some(mut full) = self.check_all(&commands, tree, &label)? else { return Ok(()) };
        // In the baseline's order: the trial command's receipt comes last.
        full.append(&mut receipts);
        let mut comparison = compare(&before, &full, &excused);
        let mut flaky = BTreeSet::new();
        if !comparison.deciding.is_empty() {
            // A failure that decides is run once more; what passes then is chance, and counts for nobody.
            let again: Vec<(String, String)> =
                commands.iter().filter(|(name, _)| comparison.deciding.contains(name)).cloned().collect();
            let seen = together.map(|seen| {
                seen.iter().filter(|receipt| comparison.deciding.contains(&receipt.check)).cloned().collect()
            });
            let second: Receipts = match seen {
                Some(seen) => seen,
                None => match self.check_all(&again, tree, &format!("{label}-again"))? {
                    Some(second) => second,
                    None => return Ok(()),
                },
            };
            for receipt in second {
                let old_failing = comparison.newly_failing.iter().cloned().collect::<BTreeSet<_>>();
                let still = receipt.failing();
                flaky.extend(old_failing.difference(&still).filter(|id| belongs(id, &full, &receipt.check)).cloned());
            }
            if !flaky.is_empty() {
                excused.flaky.extend(flaky.iter().cloned());
                comparison = compare(&before, &full, &excused);
            }
        }
        self.measured = Some(finish_trial(id, tree, comparison, full, &before, &excused, flaky));
        Ok(())
    }

    /// Runs checks in the loop's folder; `None` where the loop was told to stop.
    pub(super) fn check_all(
        &mut self,
        commands: &[(String, String)],
        tree: &str,
        label: &str,
    ) -> anyhow::Result<Option<Receipts>> {
        let run = self.run_checks(true, commands, tree, label)?;
        Ok(Some(run.receipts).filter(|_| !run.stopped))
    }

    fn take_measured(&mut self) -> Option<Trial> {
        self.measured.take()
    }

    /// What does not count for this candidate.
    pub(super) fn excused_for(&self, candidate: &Candidate) -> Excused {
        let mut excused = self.state.excused();
        if let Some(Prepared::Ready { permitted, .. }) = &candidate.prepared {
            excused.tests_may_go = !permitted.is_empty();
        }
        excused.new_failures_welcome = goal_adds_tests(&self.state.plan.goal);
        excused
    }

    /// Does something in the loop's folder. Where that finds the user's tree changed by somebody else, the loop stops
    /// for it, both versions kept, and `Some` is returned.
    pub(super) fn tree_changed(
        &mut self,
        act: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<anyhow::Result<()>>> {
        match act(self) {
            Ok(()) => Ok(None),
            Err(error) => match error.downcast::<TreeChanged>() {
                Ok(changed) => Ok(Some(self.stop_for_changed_tree(&changed))),
                Err(error) => Err(error),
            },
        }
    }

    /// Ends an iteration: its candidates are no longer needed, and then the event.
    pub(super) fn finish_iteration(&mut self, index: u32) -> anyhow::Result<()> {
        self.forget_candidates()?;
        self.emit(Event::IterationFinished { index })
    }

    /// Deletes the refs of candidates.
    pub(super) fn forget_candidates(&self) -> anyhow::Result<()> {
        for reference in self.repository.list_refs(&candidate_refs(&self.state.started.run_id))? {
            self.repository.delete_ref(&reference.name)?;
        }
        Ok(())
    }

    /// Makes a candidate the new best state: commit and ref first, then the event, then the folder.
    pub(super) fn accept(&mut self, id: &str) -> anyhow::Result<()> {
        let candidate = self.candidate(id)?;
        let Some(tree) = candidate.tree().map(str::to_owned) else {
            anyhow::bail!("proposal `{id}` is to be accepted but does not apply");
        };
        let head = self.state.head_tree.clone();
        if let Some(stop) = self.tree_changed(|runtime| runtime.expect_tree(&head))? {
            return stop;
        }
        let index = self.iteration_index();
        let started = self.state.started.clone();
        let message = super::ref_message(&started, &format!("Iteration {index}: {}", candidate.proposed.approach));
        let commit = self.repository.commit(&tree, &[&self.state.head_commit], &message)?;
        self.repository.set_ref(&iteration_ref(&started.run_id, index), &commit, ExpectedRef::Any)?;
        self.emit(Event::Accepted { id: id.to_owned(), tree: tree.clone(), commit })?;
        self.move_tree(&head, &tree)
    }
}

/// Says whether an id failed in this check of the run.
fn belongs(id: &str, receipts: &[Receipt], check: &str) -> bool {
    receipts.iter().any(|receipt| receipt.check == check && receipt.failing().contains(id))
}

/// Returns the tree a candidate stands for, once it applies.
pub(super) fn tree_to_try(candidate: &Candidate) -> anyhow::Result<String> {
    let id = &candidate.proposed.id;
    candidate.tree().map(str::to_owned).with_context(|| format!("proposal `{id}` is to be tried but does not apply"))
}

pub(super) fn finish_trial(
    id: &str,
    tree: &str,
    comparison: Comparison,
    receipts: Receipts,
    before: &[Receipt],
    excused: &Excused,
    flaky: BTreeSet<String>,
) -> Trial {
    let count = |receipts: &[Receipt]| checks::failing(receipts).difference(&excused.ids()).count() as u32;
    Trial {
        id: id.to_owned(),
        outcome: comparison.outcome,
        reason: comparison.reason,
        failing_before: count(before),
        failing_after: count(&receipts),
        newly_passing: comparison.newly_passing,
        newly_failing: comparison.newly_failing,
        accepts_turned_green: comparison.accepts_turned_green,
        flaky,
        state_id: state_id(tree, &receipts),
        receipts,
        duration_ms: 0,
    }
}

fn finding_text(finding: &guards::Finding) -> String {
    // Some findings are about the change as a whole.
    if finding.path.is_empty() {
        return finding.reason.clone();
    }
    match finding.line {
        _ if finding.path.is_empty() => finding.reason.clone(),
        Some(line) => format!("{}:{line}: {}", finding.path, finding.reason),
        None => format!("{}: {}", finding.path, finding.reason),
    }
}

/// Says whether the goal itself is to add tests, so that a new failing test is what was asked for.
pub(super) fn goal_adds_tests(goal: &str) -> bool {
    let goal = goal.to_lowercase();
    let words: Vec<&str> = goal.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let verbs = ["add", "write", "create", "extend", "increase", "improve"];
    let things = ["test", "tests", "coverage", "testcase", "testcases"];
    words.iter().enumerate().any(|(place, word)| {
        verbs.contains(word) && words.iter().skip(place + 1).take(4).any(|later| things.contains(later))
    })
}

/// Counts added and removed lines of an exact diff.
fn count_lines(diff: &[u8]) -> (u32, u32) {
    let mut added = 0;
    let mut removed = 0;
    let mut in_hunk = false;
    for line in diff.split(|byte| *byte == b'\n') {
        if line.starts_with(b"diff --git ") {
            in_hunk = false;
        } else if line.starts_with(b"@@ ") {
            in_hunk = true;
        } else if in_hunk && line.starts_with(b"+") {
            added += 1;
        } else if in_hunk && line.starts_with(b"-") {
            removed += 1;
        }
    }
    (added, removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_asks_for_tests_is_recognised() {
        for goal in ["Add tests for the parser", "write unit tests", "increase test coverage"] {
            assert!(goal_adds_tests(goal), "{goal}");
        }
        for goal in
            ["fix the failing auth tests", "make the tests pass", "add a flag and keep the tests green please do"]
        {
            let expected = goal.starts_with("never");
            assert_eq!(goal_adds_tests(goal), expected, "{goal}");
        }
    }

    #[test]
    fn only_lines_of_hunks_are_counted() {
        let diff = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n+d\n";
        assert_eq!(count_lines(diff), (2, 1));
    }
}
