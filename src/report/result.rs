//! What a loop brought: the changed files, the proof, and why each proposal lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SCHEMA_VERSION;
use super::status::{CostGauge, LoopStatus, ProofReport, StatusReport, cost_gauge};
use crate::engine::StopReason;
use crate::engine::event::{Prepared, Trial};
use crate::engine::ranking::total;
use crate::engine::state::{State, rejected};
use crate::guards::{Code, Finding};

/// A file the loop changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedFile {
    pub path: String,
    /// `added`, `deleted` or `modified`.
    pub change: String,
    /// Null for binary files.
    pub added: Option<u32>,
    pub removed: Option<u32>,
}

/// A proposal and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProposalReport {
    pub iteration: u32,
    pub id: String,
    pub approach: String,
    pub accepted: bool,
    /// Why it lost, or null for an accepted one.
    pub code: Option<Code>,
    pub reason: Option<String>,
    pub files_touched: Vec<String>,
    pub modifies_tests: bool,
    /// Findings that did not refuse it but that a reader should know.
    pub flags: Vec<Finding>,
    pub trial: Option<Trial>,
    /// What the rubric makes of the judge's scores, from 0 to 1; null where it was not ranked.
    pub score: Option<f64>,
    /// How loosely its hunks were found, for example `exact` or `fuzz1`.
    pub matches: Vec<String>,
}

/// The whole result.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultReport {
    pub schema_version: u32,
    pub run_id: String,
    pub goal: String,
    pub status: LoopStatus,
    pub stop_reason: Option<StopReason>,
    pub stop_message: Option<String>,
    pub proof: Option<ProofReport>,
    pub seed_tree: String,
    pub head_tree: String,
    /// Ref of the best state, or null where nothing was accepted.
    pub head_ref: Option<String>,
    pub changed: Vec<ChangedFile>,
    /// Whether the result is in the user's work tree.
    pub landed: bool,
    pub landing_reason: Option<String>,
    pub proposals: Vec<ProposalReport>,
    /// Money; null where no price is configured.
    pub cost: Option<CostGauge>,
    pub next: Vec<String>,
}

/// Returns what to type after the result: the change itself where there is one, never the result once more.
fn after_result(state: &State, next: &[String]) -> Vec<String> {
    let patch = state.has_changes().then(|| "loop-companion result --patch".to_owned());
    patch.into_iter().chain(next.iter().filter(|command| *command != "loop-companion result").cloned()).collect()
}

/// Returns the result document. `changed` are the files between the seed and the best state, which only git knows;
/// `only` keeps one iteration's proposals.
pub fn result_report(
    state: &State,
    status: &StatusReport,
    changed: Vec<ChangedFile>,
    only: Option<u32>,
) -> ResultReport {
    let proposals = state
        .iterations
        .iter()
        .filter(|iteration| only.is_none_or(|index| index == iteration.index))
        .flat_map(|iteration| {
            let lost = rejected(iteration);
            iteration.candidates.iter().flatten().map(move |candidate| {
                let id = &candidate.proposed.id;
                let why = lost.iter().find(|rejected| rejected.id == *id);
                let (files_touched, modifies_tests, flags, matches) = match &candidate.prepared {
                    Some(Prepared::Ready { files_touched, modifies_tests, flags, matches, .. }) => (
                        files_touched.clone(),
                        *modifies_tests,
                        flags.clone(),
                        matches.iter().map(|hunk| hunk.how.to_string()).collect(),
                    ),
                    Some(Prepared::Refused { findings, .. }) => (vec![], false, findings.clone(), vec![]),
                    None => (vec![], false, vec![], vec![]),
                };
                ProposalReport {
                    iteration: iteration.index,
                    id: id.clone(),
                    approach: candidate.proposed.approach.clone(),
                    accepted: iteration.accepted && iteration.winner.as_ref() == Some(id),
                    code: why.map(|why| why.code),
                    reason: why.map(|why| why.reason.clone()),
                    files_touched,
                    modifies_tests,
                    flags,
                    trial: candidate.trial.clone(),
                    score: iteration
                        .ranking
                        .as_ref()
                        .and_then(|ranking| ranking.scores.iter().find(|scores| scores.id == *id))
                        .map(|scores| (total(scores) * 1e4).round() / 1e4),
                    matches,
                }
            })
        })
        .collect();
    let last_accepted = state.iterations.iter().rev().find(|iteration| iteration.accepted);
    ResultReport {
        schema_version: SCHEMA_VERSION,
        run_id: state.started.run_id.clone(),
        goal: state.plan.goal.clone(),
        status: status.status,
        stop_reason: status.stop_reason,
        stop_message: status.stop_message.clone(),
        proof: status.proof.clone(),
        seed_tree: state.started.seed_tree.clone(),
        head_tree: state.head_tree.clone(),
        head_ref: last_accepted
            .map(|iteration| crate::workspace::iteration_ref(&state.started.run_id, iteration.index)),
        changed,
        landed: state.landing.as_ref().and_then(|landing| landing.landed).unwrap_or(false),
        landing_reason: state.landing.as_ref().and_then(|landing| landing.reason.clone()),
        proposals,
        cost: cost_gauge(state),
        next: after_result(state, &status.next),
    }
}
