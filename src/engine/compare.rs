//! Says whether a candidate's receipts are better or worse than those of the state it builds on.

use std::collections::BTreeSet;

use super::event::TrialOutcome;
use crate::checks::Receipt;
use crate::plan::sha256;
use crate::process::Exit;

/// What does not count in a comparison.
#[derive(Debug, Clone, Default)]
pub struct Excused {
    /// Red ids that may stay red.
    pub known_red: BTreeSet<String>,
    /// Ids that count neither way.
    pub flaky: BTreeSet<String>,
    /// Whether tests may be removed or renamed (the plan permits changes to tests and the candidate makes some).
    pub tests_may_go: bool,
    /// Whether new failing tests are welcome (the goal is to add tests that expose a bug).
    pub new_failures_welcome: bool,
}

impl Excused {
    /// Returns the ids that may fail without this check counting as failed. What is red may stay red in a test, a lint
    /// or a type check; an accept command stands for the goal itself.
    pub fn of(&self, receipt: &Receipt) -> BTreeSet<String> {
        if receipt.is_accept() { self.flaky.clone() } else { self.ids() }
    }

    /// Returns every id that may fail without a check counting as failed.
    pub fn ids(&self) -> BTreeSet<String> {
        self.known_red.union(&self.flaky).cloned().collect()
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub outcome: TrialOutcome,
    /// One sentence.
    pub reason: String,
    pub newly_passing: Vec<String>,
    pub newly_failing: Vec<String>,
    /// Accept commands that turned green.
    pub accepts_turned_green: u32,
    /// Checks whose failure alone decided against the candidate: worth running again before it counts.
    pub deciding: Vec<String>,
}

/// Names a few ids and counts the rest.
fn name_some(ids: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = ids.iter().take(SHOWN).map(String::as_str).collect();
    match ids.len() {
        0 => String::new(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}

/// Compares one full run of the checks with another of the same checks, in the same order.
///
/// Worse is: an id that passed fails, fewer ids run, a new lint or type error, or exit 0 turned non-zero. Vacuous is:
/// counts that were known are gone, or no test ran where some did.
pub fn compare(before: &[Receipt], after: &[Receipt], excused: &Excused) -> Comparison {
    let mut worse = Vec::new();
    let mut vacuous = Vec::new();
    let mut deciding = Vec::new();
    let mut newly_passing = BTreeSet::new();
    let mut newly_failing = BTreeSet::new();
    let mut better = Vec::new();
    let mut accepts_turned_green = 0;
    for (old, new) in before.iter().zip(after) {
        let is_accept = old.is_accept();
        let old_failing: BTreeSet<String> = old.failing().difference(&excused.flaky).cloned().collect();
        let new_failing: BTreeSet<String> = new.failing().difference(&excused.flaky).cloned().collect();
        match new.exit {
            Exit::TimedOut => worse.push(format!("`{}` no longer ends within its time limit", new.command)),
            Exit::OutputLimit => worse.push(format!("`{}` floods its output", new.command)),
            Exit::TooManyProcesses => worse.push(format!("`{}` starts processes without end", new.command)),
            Exit::Stopped => worse.push(format!("`{}` was stopped", new.command)),
            Exit::Code { .. } | Exit::Signal { .. } => {}
        }
        // A check that failed as a whole before names nothing that could have passed.
        let whole = format!("({})", old.check);
        let knew_old = old.ids.as_ref().is_some_and(|_| old.ids_complete);
        let mut failed_now: Vec<String> = new_failing
            .iter()
            .filter(|id| !old_failing.contains(*id) && !excused.known_red.contains(*id))
            .filter(|id| {
                let existed = !knew_old || old.ids.as_ref().is_some_and(|ids| ids.passed.contains(*id));
                existed || !excused.new_failures_welcome
            })
            .cloned()
            .collect();
        // Naming single failures where before the whole check failed (a build that works again) is no worsening.
        if old_failing.contains(&whole) && !new_failing.contains(&whole) {
            failed_now.clear();
        }
        let passed_now: Vec<String> = old_failing
            .iter()
            .filter(|id| !new_failing.contains(*id) && !excused.known_red.contains(*id))
            .filter(|id| {
                !new.ids_complete || **id == whole || new.ids.as_ref().is_none_or(|ids| ids.passed.contains(*id))
            })
            .cloned()
            .collect();
        let vacuous_here = match (old.counts.run, new.counts.run) {
            (Some(had), None) if had > 0 && !new_failing.contains(&whole) => {
                Some(format!("`{}` no longer says how many tests ran", new.command))
            }
            (Some(had), Some(0)) if had > 0 => Some(format!("`{}` ran no test, {had} before", new.command)),
            _ => None,
        };
        if let Some(reason) = vacuous_here {
            vacuous.push(reason);
        } else if let (Some(had), Some(has)) = (old.counts.run, new.counts.run)
            && has < had
            && !excused.tests_may_go
        {
            worse.push(format!("`{}` ran {has} tests, {had} before", new.command));
        }
        if let (Some(had), Some(has)) = (old.errors, new.errors)
            && has > had
        {
            worse.push(format!("`{}` reports {has} errors, {had} before", new.command));
        }
        if !failed_now.is_empty() {
            deciding.push(new.check.clone());
            worse.push(if failed_now == [format!("({})", new.check)] {
                format!("`{}` fails now ({})", new.command, new.summary())
            } else {
                format!("fails now: {}", name_some(&failed_now))
            });
        } else if old.exit.success() && !new.exit.success() && !new.holds(&excused.of(new)) {
            worse.push(format!("`{}` exits non-zero now", new.command));
            deciding.push(new.check.clone());
        }
        if !old.exit.success() && new.exit.success() {
            if is_accept {
                accepts_turned_green += 1;
            }
            better.push(format!("`{}` passes now", new.command));
        } else if !passed_now.is_empty() {
            better.push(format!("passes now: {}", name_some(&passed_now)));
        } else if let (Some(had), Some(has)) = (old.errors, new.errors)
            && has < had
        {
            better.push(format!("`{}` reports {has} errors, {had} before", new.command));
        }
        newly_passing.extend(passed_now);
        newly_failing.extend(failed_now);
    }
    // A red test, lint or type check has to get better in every accepted step. An accept command may stay red until
    // the last step of a goal that takes several, so it asks for nothing on the way.
    let has_to_improve = before
        .iter()
        .filter(|receipt| !receipt.is_accept())
        .any(|receipt| !receipt.failing().is_subset(&excused.ids()));
    let still = crate::checks::failing(after).difference(&excused.ids()).count();
    let (outcome, reason) = if !vacuous.is_empty() {
        (TrialOutcome::Vacuous, vacuous.join("; "))
    } else if !worse.is_empty() {
        (TrialOutcome::Worse, worse.join("; "))
    } else if !better.is_empty() {
        (TrialOutcome::Better, better.join("; "))
    } else if has_to_improve {
        (TrialOutcome::NoProgress, format!("nothing that failed passes now; {still} still failing"))
    } else {
        (TrialOutcome::Neutral, "every check gives the same result as before".to_owned())
    };
    Comparison {
        outcome,
        reason,
        newly_passing: newly_passing.into_iter().collect(),
        newly_failing: newly_failing.into_iter().collect(),
        accepts_turned_green,
        deciding,
    }
}

/// Returns the identity of a state: tree, failing ids, and the first error of each as normalised by the readers.
pub fn state_id(tree: &str, receipts: &[Receipt]) -> String {
    let mut text = format!("{tree}\n");
    for id in crate::checks::failing(receipts) {
        text.push_str(&id);
        text.push('\n');
    }
    for receipt in receipts {
        for (id, error) in &receipt.first_errors {
            text.push_str(id);
            text.push(' ');
            text.push_str(&crate::checks::readers::error_fingerprint(error));
            text.push('\n');
        }
    }
    sha256(text)
}

/// Says whether anything that failed in `seed` passes in `now`: what makes a proof a measured one.
pub fn measured(seed: &[Receipt], now: &[Receipt], excused: &Excused) -> bool {
    let excused = Excused { tests_may_go: true, new_failures_welcome: true, ..excused.clone() };
    let comparison = compare(seed, now, &excused);
    !comparison.newly_passing.is_empty()
        || seed.iter().zip(now).any(|(old, new)| !old.exit.success() && new.exit.success())
}

/// Says whether every check holds.
pub fn all_hold(receipts: &[Receipt], excused: &Excused) -> bool {
    receipts.iter().all(|receipt| receipt.holds(&excused.of(receipt)))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checks::Ids;
    use crate::checks::readers::Counts;

    /// A receipt of `test` with these ids; it exits 0 when none fails.
    pub(crate) fn receipt(passed: &[&str], failed: &[&str]) -> Receipt {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        let code = i32::from(!failed.is_empty());
        Receipt {
            check: "test".into(),
            command: "t".into(),
            tree_hash: "tree".into(),
            exit: Exit::Code { code },
            exit_code: Some(code),
            runner: Some("pytest".into()),
            counts: Counts {
                run: Some((passed.len() + failed.len()) as u64),
                passed: Some(passed.len() as u64),
                failed: Some(failed.len() as u64),
                skipped: Some(0),
            },
            ids: Some(Ids { passed: set(passed), failed: set(failed), skipped: BTreeSet::new() }),
            ids_complete: true,
            errors: None,
            first_errors: BTreeMap::new(),
            duration_ms: 1,
            started_at: jiff::Timestamp::UNIX_EPOCH,
            log: String::new(),
            wrote: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A receipt of a check that names nothing.
    pub(crate) fn opaque(check: &str, code: i32) -> Receipt {
        Receipt {
            check: check.into(),
            exit: Exit::Code { code },
            exit_code: Some(code),
            runner: None,
            counts: Counts::default(),
            ids: None,
            ids_complete: false,
            ..receipt(&[], &[])
        }
    }

    fn outcome(before: &[Receipt], after: &[Receipt]) -> TrialOutcome {
        compare(before, after, &Excused::default()).outcome
    }

    #[test]
    fn fewer_failing_ids_are_better_and_the_same_are_no_progress() {
        let before = [receipt(&["a"], &["b", "c"])];
        assert_eq!(outcome(&before, &[receipt(&["a", "b"], &["c"])]), TrialOutcome::Better);
        assert_eq!(outcome(&before, &before), TrialOutcome::NoProgress);
    }

    #[test]
    fn an_id_that_passed_and_fails_is_worse_whatever_else_improved() {
        let before = [receipt(&["a"], &["b", "c"])];
        assert_eq!(outcome(&before, &[receipt(&["b", "c"], &["a"])]), TrialOutcome::Worse);
    }

    #[test]
    fn fewer_tests_run_are_worse_and_none_are_vacuous() {
        let before = [receipt(&["a", "b"], &["c"])];
        assert_eq!(outcome(&before, &[receipt(&["a", "c"], &[])]), TrialOutcome::Worse);
        assert_eq!(outcome(&before, &[receipt(&[], &[])]), TrialOutcome::Vacuous);
        assert_eq!(outcome(&before, &[opaque("test", 0)]), TrialOutcome::Vacuous);
    }

    #[test]
    fn a_failing_id_that_vanishes_does_not_count_as_passing() {
        let before = [receipt(&["a"], &["b"])];
        let mut after = receipt(&["a", "x"], &[]);
        after.exit = Exit::Code { code: 1 };
        assert_eq!(compare(&before, &[after], &Excused::default()).newly_passing, Vec::<String>::new());
    }

    #[test]
    fn green_checks_that_stay_green_are_neutral() {
        assert_eq!(outcome(&[opaque("lint", 0)], &[opaque("lint", 0)]), TrialOutcome::Neutral);
        assert_eq!(outcome(&[opaque("lint", 0)], &[opaque("lint", 1)]), TrialOutcome::Worse);
        assert_eq!(outcome(&[opaque("lint", 1)], &[opaque("lint", 0)]), TrialOutcome::Better);
    }

    #[test]
    fn more_lint_errors_are_worse_and_fewer_better() {
        let lint = |errors| Receipt { errors: Some(errors), ..opaque("lint", 1) };
        assert_eq!(outcome(&[lint(3)], &[lint(4)]), TrialOutcome::Worse);
        assert_eq!(outcome(&[lint(3)], &[lint(2)]), TrialOutcome::Better);
    }

    #[test]
    fn a_build_that_works_again_may_show_failing_tests() {
        assert_eq!(outcome(&[opaque("test", 101)], &[receipt(&["a"], &["b"])]), TrialOutcome::Better);
    }

    #[test]
    fn flaky_ids_count_neither_way() {
        let excused = Excused { flaky: BTreeSet::from(["f".to_owned()]), ..Excused::default() };
        let before = [receipt(&["a", "f"], &["b"])];
        assert_eq!(compare(&before, &[receipt(&["a", "b"], &["f"])], &excused).outcome, TrialOutcome::Better);
        assert_eq!(compare(&before, &[receipt(&["a"], &["b", "f"])], &excused).outcome, TrialOutcome::NoProgress);
        assert!(all_hold(&[receipt(&["a"], &["f"])], &excused));
    }

    #[test]
    fn a_new_failing_test_counts_unless_the_goal_is_to_add_tests() {
        let before = [receipt(&["a"], &[])];
        let after = [receipt(&["a"], &["new"])];
        assert_eq!(outcome(&before, &after), TrialOutcome::Worse);
    }

    #[test]
    fn measured_needs_something_that_failed_on_the_seed() {
        let excused = Excused::default();
        assert!(measured(&[receipt(&[], &["a"])], &[receipt(&["a"], &[])], &excused));
        assert!(!measured(&[receipt(&["a"], &[])], &[receipt(&["a", "b"], &[])], &excused));
        assert!(measured(&[opaque("accept-1", 1)], &[opaque("accept-1", 0)], &excused));
    }

    #[test]
    fn state_ids_tell_trees_and_failures_apart() {
        let a = [receipt(&[], &["a"])];
        assert_eq!(state_id("t", &a), state_id("t", &a));
        assert_ne!(state_id("t", &a), state_id("u", &a));
        assert_ne!(state_id("t", &a), state_id("t", &[receipt(&["a"], &[])]));
    }
}
