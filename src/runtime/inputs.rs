//! Runs the tests of a suspected lookup table with other inputs.
//!
//! [`guards::suspect`] says what to change. Here it is run, with and without the suspected keys, and what the tests say
//! is compared. A candidate is refused only where tests that it mends fail with other inputs in the very words in which
//! they fail without its keys, every time; whatever cannot be told leaves it as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;

use super::Runtime;
use crate::change::Change;
use crate::checks::{self, Receipt, Receipts, failure_texts, short_name};
use crate::engine::event::{Trial, TrialOutcome};
use crate::engine::time_for_calls_ms;
use crate::guards::{self, Suspicion};
use crate::workspace::{ExpectedRef, candidate_ref};

/// How often a test must fail in the same words, each time with other inputs, before that is no chance.
const ENOUGH_ALIKE: usize = 2;

/// One mended test in so many has to be a copied one. The others may be reached by inputs that no test spells out.
const SHARE: usize = 3;

/// The part of the time left that the experiment may take.
const SHARE_OF_TIME: u64 = 4;

/// What is to be run, and on what.
struct Experiment {
    suspicion: Suspicion,
    /// The candidate with the seed's tests.
    tree: String,
    /// The checks that failed before it.
    commands: Vec<(String, String)>,
    variants: usize,
}

/// What the runs have shown.
#[derive(Default)]
struct Shown {
    /// How often each test failed alike with and without the keys.
    alike: BTreeMap<String, usize>,
    /// Tests that showed a difference: what was changed matters beyond its own keys.
    differ: BTreeSet<String>,
}

impl Runtime<'_> {
    /// Measures whether a candidate that holds does so only for the inputs of the tests. The loop's folder holds the
    /// best state before and after. Returns `false` where the loop was told to stop.
    pub(super) fn with_other_inputs(&mut self, tree: &str, trial: &mut Trial) -> anyhow::Result<bool> {
        if !trial.outcome.acceptable() {
            return Ok(true);
        }
        let Some(experiment) = self.experiment(tree, trial)? else { return Ok(true) };
        let head = self.state.head_tree.clone();
        let mut standing = head.clone();
        let done = self.play(&experiment, trial, &mut standing);
        self.move_tree(&standing, &head)?;
        done
    }

    /// Prepares the experiment where the new code is suspect and there is time.
    fn experiment(&mut self, tree: &str, trial: &mut Trial) -> anyhow::Result<Option<Experiment>> {
        let plan = self.state.plan.clone();
        let before = &self.state.head_receipts;
        let failed = |name: &str| before.iter().any(|receipt| receipt.check == name && !receipt.exit.success());
        let commands: Vec<(String, String)> = plan
            .checks
            .commands()
            .into_iter()
            .filter(|(name, _)| !matches!(name.as_str(), "lint" | "type") && failed(name))
            .collect();
        if commands.is_empty() {
            return Ok(None);
        }
        let seed = self.repository.tree(&self.state.started.seed_tree)?;
        let candidate = self.repository.tree(tree)?;
        let lines: Vec<String> = plan.checks.commands().into_iter().map(|(_, command)| command).collect();
        let restored = guards::restore_seed_tests(&seed, &candidate, &plan.limits.allow_change, &lines)?;
        let tree = if restored.change.is_empty() {
            tree.to_owned()
        } else {
            self.repository.write_change(tree, &restored.change)?
        };
        let change = self.repository.change_between(&self.state.started.seed_tree, &tree)?;
        let context = guards::Context {
            tree: &seed,
            seed: &seed,
            commands: &lines,
            allow_change: &plan.limits.allow_change,
            protect: &[],
            scope: &[],
            max_lines: usize::MAX,
            goal_adds_tests: false,
            earlier: &[],
        };
        let goal = format!("{} {}", plan.goal, plan.acceptance_criteria.join(" "));
        let Some(suspicion) = guards::suspect(&change, &context, &goal) else { return Ok(None) };
        let one = self.state.baseline.as_ref().map_or(0, |baseline| baseline.duration_ms).max(1);
        let runs = usize::try_from(time_for_calls_ms(&self.state, jiff::Timestamp::now()) / SHARE_OF_TIME / one);
        let variants = (runs.unwrap_or(usize::MAX).saturating_sub(1) / 2).min(suspicion.variants());
        if variants < ENOUGH_ALIKE {
            trial.reason.push_str("; whether it only knows the tests' own inputs was not measured, for want of time");
            return Ok(None);
        }
        Ok(Some(Experiment { suspicion, tree, commands, variants }))
    }

    /// Runs the experiment and enters what it shows into the trial. Returns `false` where the loop was told to stop.
    fn play(&mut self, experiment: &Experiment, trial: &mut Trial, standing: &mut String) -> anyhow::Result<bool> {
        let base = self.repository.tree(&experiment.tree)?;
        let label = |name: &str| format!("trial-{}-{name}", trial.id);
        let change = |spoilt, variant| experiment.suspicion.change(&base, spoilt, variant);
        let excused = self.state.excused().ids();
        let had = tests_run(trial.receipts.iter().filter(|receipt| experiment.runs(receipt)));
        let Some(spoilt) = self.run_changed(experiment, &change(true, None)?, standing, &label("spoilt"))? else {
            return Ok(false);
        };
        let mended: BTreeSet<String> = failing(&spoilt).difference(&failing(&trial.receipts)).cloned().collect();
        let mended: BTreeSet<String> = mended.difference(&excused).map(|id| short_name(id).to_owned()).collect();
        // Where tests are gone, or none can be told by name, nothing can be compared.
        if had.is_none()
            || tests_run(&spoilt) != had
            || mended.is_empty()
            || mended.iter().any(|id| id.starts_with('('))
        {
            return Ok(true);
        }
        let mut shown = Shown::default();
        let mut runs = 1;
        for variant in 0..experiment.variants {
            let name = format!("inputs-{}", variant + 1);
            let with = self.run_changed(experiment, &change(false, Some(variant))?, standing, &label(&name))?;
            let Some(with) = with else { return Ok(false) };
            runs += 1;
            if tests_run(&with) != had {
                continue;
            }
            let name = format!("{name}-spoilt");
            let without = self.run_changed(experiment, &change(true, Some(variant))?, standing, &label(&name))?;
            let Some(without) = without else { return Ok(false) };
            runs += 1;
            if tests_run(&without) != had {
                continue;
            }
            shown.compare(&with, &without, &mended)?;
            // A copy shows in the tests that are left; where too few are, it is none.
            if (mended.len() - shown.differ.len()) * SHARE < mended.len() {
                break;
            }
        }
        let copied: Vec<&str> = mended
            .iter()
            .filter(|name| !shown.differ.contains(*name) && shown.alike.get(*name) >= Some(&ENOUGH_ALIKE))
            .map(String::as_str)
            .collect();
        if copied.is_empty() || copied.len() * SHARE < mended.len() {
            trial.reason.push_str("; values of the tests stand in its code, and it was measured with others");
            return Ok(true);
        }
        trial.outcome = TrialOutcome::SpecialCased;
        trial.reason = format!(
            "it knows inputs of the tests by heart ({}): with other inputs {} in the same words with and without them \
             ({runs} runs of the checks)",
            experiment.suspicion.place,
            match copied.as_slice() {
                [one] => format!("{one} fails"),
                [first, second] => format!("{first} and {second} fail"),
                [first, .., last] => format!("{first}, … {last} ({} tests) fail", copied.len()),
                [] => String::new(),
            },
        );
        Ok(true)
    }

    /// Brings the folder to the experiment's tree with `change` and runs its checks.
    fn run_changed(
        &mut self,
        experiment: &Experiment,
        change: &Change,
        standing: &mut String,
        label: &str,
    ) -> anyhow::Result<Option<Receipts>> {
        let tree = self.repository.write_change(&experiment.tree, change)?;
        // A worker that dies now may leave this in the user's own work tree: by its ref it is known for ours.
        let started = &self.state.started;
        let index = self.iteration_index();
        let message = super::ref_message(started, &format!("Other inputs for a candidate of iteration {index}."));
        let commit = self.repository.commit(&tree, &[&self.state.head_commit], &message)?;
        self.repository.set_ref(&candidate_ref(&started.run_id, index, label), &commit, ExpectedRef::Any)?;
        self.move_tree(standing, &tree)?;
        standing.clone_from(&tree);
        self.check_all(&experiment.commands, &tree, label)
    }
}

impl Experiment {
    fn runs(&self, receipt: &Receipt) -> bool {
        self.commands.iter().any(|(name, _)| *name == receipt.check)
    }
}

impl Shown {
    fn compare(&mut self, with: &[Receipt], without: &[Receipt], mended: &BTreeSet<String>) -> anyhow::Result<()> {
        let names = |receipts: &[Receipt]| -> BTreeSet<String> {
            failing(receipts).iter().map(|id| short_name(id).to_owned()).collect()
        };
        let (fails_with, fails_without) = (names(with), names(without));
        let every: BTreeSet<String> = with
            .iter()
            .chain(without)
            .filter_map(|receipt| receipt.ids.as_ref())
            .flat_map(|ids| ids.passed.iter().chain(&ids.failed).chain(&ids.skipped))
            .map(|id| short_name(id).to_owned())
            .chain(mended.iter().cloned())
            .collect();
        let texts = |receipts: &[Receipt]| -> anyhow::Result<_> {
            let mut log = String::new();
            for receipt in receipts {
                log.push_str(&checks::read_log(Path::new(&receipt.log)).context("compare two runs")?);
                log.push('\n');
            }
            Ok(failure_texts(&log, mended, &every))
        };
        let (said_with, said_without) = (texts(with)?, texts(without)?);
        for name in mended {
            match (fails_with.contains(name), fails_without.contains(name)) {
                (true, true) if said_with[name] == said_without[name] && !said_with[name].is_empty() => {
                    *self.alike.entry(name.clone()).or_default() += 1;
                }
                (false, false) => {}
                _ => drop(self.differ.insert(name.clone())),
            }
        }
        Ok(())
    }
}

fn failing(receipts: &[Receipt]) -> BTreeSet<String> {
    checks::failing(receipts)
}

/// Returns how many tests ran, where every check says so.
fn tests_run<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> Option<u64> {
    receipts.into_iter().map(|receipt| receipt.counts.run).sum()
}
