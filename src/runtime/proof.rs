//! The proof: every check, fresh, and again with the seed's tests and check configuration.

use super::Runtime;
use crate::checks::{Receipt, Receipts};
use crate::engine::TO_BE_AGREED;
use crate::engine::compare::{Excused, all_hold, compare, measured};
use crate::engine::event::{Event, Proof, TrialOutcome};
use crate::guards;
use crate::plan::ProofLevel;

impl Runtime<'_> {
    /// Attempts the proof on the best state.
    pub(super) fn prove(&mut self) -> anyhow::Result<()> {
        let tree = self.state.head_tree.clone();
        self.emit(Event::ProofStarted { tree: tree.clone() })?;
        let Some(proof) = self.attempt(&tree)? else { return Ok(()) };
        self.emit(Event::ProofFinished { proof: Box::new(proof) })
    }

    /// Returns the proof, or `None` where the loop was told to stop.
    fn attempt(&mut self, tree: &str) -> anyhow::Result<Option<Proof>> {
        let mut excused = self.state.excused();
        let permitted = self.permitted_paths(tree)?;
        excused.tests_may_go = !permitted.is_empty();
        excused.new_failures_welcome = super::candidates::goal_adds_tests(&self.state.plan.goal);
        let mut proof = Proof {
            tree: tree.to_owned(),
            holds: false,
            level: None,
            reason: String::new(),
            receipts: Receipts::new(),
            seed_receipts: Receipts::new(),
            partial: Vec::new(),
            permitted,
        };
        // What the last run of this very tree already refutes needs no further run.
        if let Some(reason) = refutation(&self.state.head_receipts, &excused) {
            proof.reason = reason;
            return Ok(Some(proof));
        }
        let commands = self.state.plan.checks.commands();
        if commands.is_empty() {
            proof.holds = true;
            proof.reason = "there is no check; only a second evaluation can confirm the claim".into();
            return Ok(Some(proof));
        }
        self.expect_tree(tree)?;
        let Some(receipts) = self.check_all(&commands, tree, "proof")? else { return Ok(None) };
        proof.receipts = receipts;
        if let Some(reason) = self.not_proven(&proof.receipts, &excused) {
            proof.reason = reason;
            return Ok(Some(proof));
        }
        let seed = self.repository.tree(&self.state.started.seed_tree)?;
        let current = self.repository.tree(tree)?;
        let lines: Vec<String> = commands.iter().map(|(_, command)| command.clone()).collect();
        let restoration = guards::restore_seed_tests(&seed, &current, &self.state.plan.limits.allow_change, &lines)?;
        proof.partial = restoration.partial;
        if !restoration.change.is_empty() {
            let restored = self.repository.write_change(tree, &restoration.change)?;
            self.move_tree(tree, &restored)?;
            let run = self.check_all(&commands, &restored, "proof-seed");
            self.expect_tree(&restored)?;
            self.move_tree(&restored, tree)?;
            let Some(receipts) = run? else { return Ok(None) };
            proof.seed_receipts = receipts;
            if let Some(reason) = self.not_proven(&proof.seed_receipts, &excused) {
                proof.reason = format!("with the original tests and check configuration: {reason}");
                return Ok(Some(proof));
            }
        }
        let decisive = if proof.seed_receipts.is_empty() { &proof.receipts } else { &proof.seed_receipts };
        let shown = measured(self.state.seed_receipts(), decisive, &excused);
        let needs_measured = self.state.plan.limits.require_proof == Some(ProofLevel::Measured);
        proof.holds = shown || !needs_measured;
        proof.level = shown.then_some(ProofLevel::Measured);
        proof.reason = if shown {
            let seed_failing = crate::checks::failing(self.state.seed_receipts()).difference(&excused.ids()).count();
            let turned = self
                .state
                .seed_receipts()
                .iter()
                .zip(decisive)
                .filter(|(old, new)| !old.exit.success() && new.exit.success())
                .map(|(old, _)| format!("`{}`", old.command))
                .collect::<Vec<_>>();
            if turned.is_empty() {
                format!("tests that failed at the start pass now ({seed_failing} failed then)")
            } else {
                format!(
                    "{} failed at the start and {} now",
                    turned.join(", "),
                    if turned.len() == 1 { "passes" } else { "pass" }
                )
            }
        } else if needs_measured {
            "the checks hold, but nothing that failed at the start was shown to pass, and the plan asks for measured proof"
                .into()
        } else {
            format!("the checks hold; none of them failed at the start, {TO_BE_AGREED}")
        };
        Ok(Some(proof))
    }

    /// Says why these receipts prove nothing, if so: a check does not hold, or tests are gone against the seed.
    fn not_proven(&self, receipts: &[Receipt], excused: &Excused) -> Option<String> {
        if let Some(reason) = refutation(receipts, excused) {
            return Some(reason);
        }
        let comparison = compare(self.state.seed_receipts(), receipts, excused);
        matches!(comparison.outcome, TrialOutcome::Vacuous | TrialOutcome::Worse).then_some(comparison.reason)
    }

    /// Returns the paths changed since the seed that only the plan's permission allows.
    fn permitted_paths(&self, tree: &str) -> anyhow::Result<Vec<String>> {
        let allowed = &self.state.plan.limits.allow_change;
        if allowed.is_empty() {
            return Ok(Vec::new());
        }
        let change = self.repository.change_between(&self.state.started.seed_tree, tree)?;
        Ok(change.files.iter().map(|file| file.path.clone()).filter(|path| guards::is_allowed(path, allowed)).collect())
    }
}

/// Says which checks do not hold, if any.
fn refutation(receipts: &[Receipt], excused: &Excused) -> Option<String> {
    if all_hold(receipts, excused) {
        return None;
    }
    let broken: Vec<String> = receipts
        .iter()
        .filter(|receipt| !receipt.holds(&excused.of(receipt)))
        .map(|receipt| format!("`{}` does not hold ({})", receipt.command, receipt.summary()))
        .collect();
    Some(broken.join("; "))
}
