//! The status of a loop as one typed document: `status --json` and `.loop/loop-state.json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SCHEMA_VERSION, typed_duration};
use crate::answers::{OpenIssue, Scores, Verdict};
use crate::checks::{Receipt, Receipts};
use crate::engine::event::{Baseline, FailureClass, PlaceKind, Prepared, Tokens, Trial};
use crate::engine::state::{FailureCount, Rejected, State, rejected};
use crate::engine::{Effect, STALL_WINDOW, StopReason, decide, remedy};
use crate::patch::HunkMatch;
use crate::plan::{CallKind, Money, ProofLevel};

/// Whether a loop lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoopStatus {
    /// There is no loop in this work tree.
    None,
    /// A worker runs it.
    Running,
    /// A worker waits, for the user or for a known reset.
    Paused,
    /// It ended; `stopReason` says why.
    Finished,
    /// Its worker died; `resume` goes on.
    Interrupted,
}

/// A used amount and its limit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Gauge {
    pub used: u64,
    /// Null for no limit.
    pub max: Option<u64>,
}

/// Tokens used and their limit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenGauge {
    pub input: u64,
    pub cached_input: u64,
    pub output: u64,
    pub reasoning: u64,
    /// Whether part of it is an estimate.
    pub estimated: bool,
    /// Limit of input plus output; null for none.
    pub max: Option<u64>,
}

/// The budget, used and allowed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetReport {
    pub iterations: Gauge,
    pub time_ms: Gauge,
    pub calls: Gauge,
    pub tokens: TokenGauge,
    /// Money; null where no price is configured.
    pub cost: Option<CostGauge>,
}

/// Money used and its limit, in the currency of the configured prices.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CostGauge {
    #[schemars(with = "f64")]
    pub used: Money,
    /// Null for no limit.
    #[schemars(with = "Option<f64>")]
    pub max: Option<Money>,
    /// Whether part of it rests on an estimate of tokens.
    pub estimated: bool,
}

/// Returns what a loop has cost, or `None` where no price is configured.
pub(super) fn cost_gauge(state: &State) -> Option<CostGauge> {
    let priced = !state.plan.codex.prices.is_empty();
    priced.then_some(CostGauge {
        used: state.used.cost,
        max: state.plan.budget.max_cost,
        estimated: state.used.tokens.estimated,
    })
}

/// How the loop nears its goal, a value per iteration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Convergence {
    /// The evaluator's distance from the goal; null where a round had no evaluation.
    pub distance: Vec<Option<f64>>,
    /// Failing ids after each round, the seed's first.
    pub failing: Vec<u32>,
    /// Rounds without progress, newest first.
    pub stalled_for: u32,
    /// How many end the loop.
    pub window: u32,
}

/// What the loop waits for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingReport {
    pub cause: FailureClass,
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// When the limit ends by Codex's own word; null where the loop only leaves it some time.
    #[schemars(with = "Option<String>")]
    pub reset: Option<Timestamp>,
    /// What Codex said.
    pub message: String,
    /// What the time budget still holds, in milliseconds; waiting counts.
    pub time_left_ms: u64,
}

/// Failed calls of one class.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureReport {
    pub class: FailureClass,
    pub count: u32,
    /// What happened, in words.
    pub title: String,
    /// What the loop does about it.
    pub remedy: String,
    /// What Codex said the last time, cut short.
    pub last: String,
    #[schemars(with = "String")]
    pub last_at: Timestamp,
}

fn failure_report(count: &FailureCount) -> FailureReport {
    FailureReport {
        class: count.class,
        count: count.count,
        title: count.class.title().to_owned(),
        remedy: remedy(count.class).to_owned(),
        last: count.last.chars().take(FAILURE_CHARS).collect(),
        last_at: count.last_at,
    }
}

/// Longest word of Codex's kept in the status, in characters; the call's folder has the whole.
const FAILURE_CHARS: usize = 600;

/// The user's commands.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ChecksReport {
    pub test: Option<String>,
    pub lint: Option<String>,
    #[serde(rename = "type")]
    pub type_check: Option<String>,
    pub accept: Vec<String>,
}

/// What the checks said of the seed tree.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineReport {
    pub receipts: BTreeMap<String, Receipt>,
    pub flaky: Vec<String>,
    pub known_red: Vec<String>,
    pub check_writes: Vec<String>,
    pub duration_ms: u64,
}

/// The proof of a met goal.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProofReport {
    pub level: ProofLevel,
    pub reason: String,
    pub receipts: Receipts,
    pub seed_receipts: Receipts,
    pub partial: Vec<String>,
    /// Changes to tests or check configuration that the plan permits.
    pub permitted: Vec<String>,
}

/// How the hunks of the winner were found.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MatchReport {
    pub id: String,
    pub hunks: Vec<HunkMatch>,
}

/// One iteration.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IterationReport {
    pub index: u32,
    /// Whether it only closes the loop: an evaluation and a proof after the last round of the budget.
    pub closing: bool,
    pub verdict: Option<Verdict>,
    pub distance: Option<f64>,
    /// Why a goal-met claim did not hold, or null.
    pub refuted_claim: Option<String>,
    pub proposals: u32,
    pub winner: Option<String>,
    pub accepted: bool,
    /// The judge's scores; empty where no ranking was needed.
    pub scores: Vec<Scores>,
    /// Receipts of the accepted candidate by check.
    pub receipts: BTreeMap<String, Receipt>,
    pub trials: Vec<Trial>,
    pub rejected: Vec<Rejected>,
    #[serde(rename = "match")]
    pub matched: Vec<MatchReport>,
    /// Steps given up, with why.
    pub given_up: Vec<String>,
    pub duration_ms: u64,
    pub calls: u32,
    pub tokens: Tokens,
}

/// The process that runs the loop.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReport {
    pub pid: Option<u32>,
    pub alive: bool,
    pub log: Option<String>,
}

/// What went wrong inside the program.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReport {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// The whole status.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    pub schema_version: u32,
    pub run_id: String,
    pub goal: String,
    pub goal_hash: String,
    pub plan_hash: String,
    pub acceptance_criteria: Vec<String>,
    pub status: LoopStatus,
    pub stop_reason: Option<StopReason>,
    /// One sentence: what happened. While the loop runs: what it does.
    pub stop_message: Option<String>,
    pub resumable: bool,
    /// Commands to type next.
    pub next: Vec<String>,
    pub error: Option<ErrorReport>,
    pub step: Option<String>,
    pub waiting: Option<WaitingReport>,
    /// Calls of Codex that failed, by class; the class says what the loop did about it.
    pub failures: Vec<FailureReport>,
    pub seed_tree: String,
    pub head_tree: String,
    /// `worktree` or `in-place`; null before the baseline has decided it.
    #[serde(rename = "where")]
    pub place: Option<PlaceKind>,
    /// Why it works there.
    pub where_reason: Option<String>,
    pub dry_run: bool,
    /// Null for Codex's own default.
    pub model: Option<String>,
    pub effort: String,
    pub checks: ChecksReport,
    pub baseline: Option<BaselineReport>,
    pub proof: Option<ProofReport>,
    /// Whether the result is in the user's work tree, or why not.
    pub landing: Option<LandingReport>,
    pub open_issues: Vec<OpenIssue>,
    pub budget: BudgetReport,
    pub convergence: Convergence,
    pub iterations: Vec<IterationReport>,
    pub worker: WorkerReport,
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<Timestamp>,
}

/// What became of the result.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LandingReport {
    pub landed: bool,
    pub reason: String,
}

fn by_check(receipts: &[Receipt]) -> BTreeMap<String, Receipt> {
    receipts.iter().map(|receipt| (receipt.check.clone(), receipt.clone())).collect()
}

/// Returns the name of the step the loop is at, or `None` where it is over.
pub fn step_of(state: &State) -> Option<&'static str> {
    Some(match decide(state, state.updated_at)? {
        Effect::TakeBaseline => "baseline",
        Effect::Ask { kind, .. } | Effect::TakeAnswer { kind } | Effect::GiveUp { kind, .. } => match kind {
            CallKind::Evaluate | CallKind::SecondEvaluation => "evaluate",
            CallKind::Suggest => "suggest",
            CallKind::Rank => "rank",
            CallKind::Repair => "apply",
        },
        Effect::AskAgents { .. } | Effect::TakeAgents => "suggest",
        Effect::Wait { .. } => "wait",
        Effect::Prepare { .. } => "apply",
        Effect::Try { .. } | Effect::TryTogether { .. } => "validate",
        Effect::Prove => "proof",
        Effect::Accept { .. } | Effect::StartIteration { .. } | Effect::FinishIteration { .. } => "record",
        Effect::Stop { .. } | Effect::Finish => "end",
        Effect::Land => "land",
    })
}

/// Returns the status document of a loop. `alive` says whether a worker holds the lock for it.
pub fn status_report(state: &State, alive: bool, now: Timestamp) -> StatusReport {
    let status = match (state.finished, alive) {
        (true, _) => LoopStatus::Finished,
        (false, true) if state.waiting.is_some() => LoopStatus::Paused,
        (false, true) => LoopStatus::Running,
        (false, false) => LoopStatus::Interrupted,
    };
    let over = status == LoopStatus::Finished;
    let stop_reason = state.stop.as_ref().and_then(|stop| stop.reason);
    let resumable = match status {
        LoopStatus::Interrupted => true,
        LoopStatus::Finished => stop_reason.is_some_and(StopReason::resumable),
        _ => false,
    };
    let tokens = state.used.tokens;
    let budget = &state.plan.budget;
    let time_now = if alive { now } else { state.updated_at };
    // Counted as trials count: what may stay red is no failure of the loop's.
    let seed_failing = crate::checks::failing(state.seed_receipts()).difference(&state.excused().ids()).count() as u32;
    let mut failing = vec![];
    if state.baseline.is_some() {
        failing.push(seed_failing);
    }
    let mut last = seed_failing;
    for iteration in &state.iterations {
        if iteration.accepted
            && let Some(trial) =
                iteration.winner.as_ref().and_then(|id| iteration.candidate(id)).and_then(|it| it.trial.as_ref())
        {
            last = trial.failing_after;
        }
        failing.push(last);
    }
    StatusReport {
        schema_version: SCHEMA_VERSION,
        run_id: state.started.run_id.clone(),
        goal: state.plan.goal.clone(),
        goal_hash: state.started.goal_hash.clone(),
        plan_hash: state.started.plan_hash.clone(),
        acceptance_criteria: state.plan.acceptance_criteria.clone(),
        status,
        stop_reason,
        stop_message: stop_message(state, status),
        resumable,
        next: next_commands(state, status),
        error: state.stop.as_ref().filter(|stop| stop.reason == Some(StopReason::Error)).map(|stop| ErrorReport {
            code: "error".into(),
            message: stop.message.clone(),
            hint: stop.hint.clone(),
        }),
        step: if over { None } else { step_of(state).map(str::to_owned) },
        waiting: state.waiting.as_ref().map(|waiting| WaitingReport {
            cause: waiting.cause,
            until: waiting.until,
            reset: state.attempt.failures.last().and_then(|(_, failure)| failure.reset),
            message: waiting.message.clone(),
            time_left_ms: budget.max_time_ms.saturating_sub(state.time_used_ms(time_now)),
        }),
        failures: state.failures.iter().map(failure_report).collect(),
        seed_tree: state.started.seed_tree.clone(),
        head_tree: state.head_tree.clone(),
        place: state.baseline.as_ref().map(|baseline| baseline.place.kind),
        where_reason: state.baseline.as_ref().and_then(|baseline| baseline.place.reason.clone()),
        dry_run: state.dry_run,
        model: state.plan.codex.model.clone(),
        effort: state.plan.codex.effort(CallKind::Evaluate).to_owned(),
        checks: ChecksReport {
            test: state.plan.checks.test.clone(),
            lint: state.plan.checks.lint.clone(),
            type_check: state.plan.checks.type_check.clone(),
            accept: state.plan.checks.accept.clone(),
        },
        baseline: state.baseline.as_ref().map(|baseline| baseline_report(baseline, state)),
        proof: proof_report(state),
        landing: state.landing.as_ref().and_then(|landing| {
            Some(LandingReport { landed: landing.landed?, reason: landing.reason.clone().unwrap_or_default() })
        }),
        open_issues: state.open_issues.clone(),
        budget: BudgetReport {
            iterations: Gauge { used: u64::from(state.used.iterations), max: Some(u64::from(budget.max_iterations)) },
            time_ms: Gauge { used: state.time_used_ms(time_now), max: Some(budget.max_time_ms) },
            calls: Gauge { used: u64::from(state.used.calls), max: Some(u64::from(budget.max_calls)) },
            tokens: TokenGauge {
                input: tokens.input,
                cached_input: tokens.cached_input,
                output: tokens.output,
                reasoning: tokens.reasoning,
                estimated: tokens.estimated,
                max: budget.max_tokens,
            },
            cost: cost_gauge(state),
        },
        convergence: Convergence {
            distance: state
                .iterations
                .iter()
                .map(|iteration| iteration.evaluation.as_ref().map(|evaluation| evaluation.distance_from_goal))
                .collect(),
            failing,
            stalled_for: state.stalled_for(),
            window: STALL_WINDOW,
        },
        iterations: state.iterations.iter().map(|iteration| iteration_report(iteration, time_now)).collect(),
        worker: WorkerReport {
            pid: state.worker.as_ref().filter(|_| alive).map(|worker| worker.pid),
            alive,
            log: state.worker.as_ref().and_then(|worker| worker.log.clone()),
        },
        started_at: state.started_at,
        updated_at: state.updated_at,
        ended_at: state.ended_at,
    }
}

fn baseline_report(baseline: &Baseline, state: &State) -> BaselineReport {
    BaselineReport {
        receipts: by_check(&baseline.receipts),
        flaky: baseline.flaky.union(&state.flaky).cloned().collect(),
        known_red: baseline.known_red.iter().cloned().collect(),
        check_writes: baseline.check_writes.iter().cloned().collect(),
        duration_ms: baseline.duration_ms,
    }
}

fn proof_report(state: &State) -> Option<ProofReport> {
    let met =
        matches!(state.stop.as_ref().and_then(|stop| stop.reason), Some(StopReason::GoalMet | StopReason::AlreadyMet));
    let proof = state.proof.as_ref().filter(|proof| met && proof.holds)?;
    Some(ProofReport {
        level: proof.level?,
        // The loop ended with the goal met, so the evaluation that had to agree has agreed.
        reason: proof.reason.replace(crate::engine::TO_BE_AGREED, "and a second evaluation agrees"),
        receipts: proof.receipts.clone(),
        seed_receipts: proof.seed_receipts.clone(),
        partial: proof.partial.clone(),
        permitted: proof.permitted.clone(),
    })
}

fn iteration_report(iteration: &crate::engine::state::Iteration, now: Timestamp) -> IterationReport {
    let winner = iteration.winner.as_ref().and_then(|id| iteration.candidate(id));
    let matched = iteration
        .candidates
        .iter()
        .flatten()
        .filter_map(|candidate| match &candidate.prepared {
            Some(Prepared::Ready { matches, .. }) => {
                Some(MatchReport { id: candidate.proposed.id.clone(), hunks: matches.clone() })
            }
            _ => None,
        })
        .collect();
    let end = iteration.ended_at.unwrap_or(now);
    IterationReport {
        index: iteration.index,
        closing: iteration.closing,
        verdict: iteration.evaluation.as_ref().map(|evaluation| evaluation.verdict),
        distance: iteration.evaluation.as_ref().map(|evaluation| evaluation.distance_from_goal),
        refuted_claim: iteration.refuted_claim.clone(),
        proposals: iteration.candidates.as_ref().map_or(0, |candidates| candidates.len() as u32),
        winner: iteration.winner.clone(),
        accepted: iteration.accepted,
        scores: iteration.ranking.as_ref().map(|ranking| ranking.scores.clone()).unwrap_or_default(),
        receipts: winner
            .and_then(|winner| winner.trial.as_ref())
            .map(|trial| by_check(&trial.receipts))
            .unwrap_or_default(),
        trials: iteration.candidates.iter().flatten().filter_map(|candidate| candidate.trial.clone()).collect(),
        rejected: rejected(iteration),
        matched,
        given_up: iteration
            .given_up
            .iter()
            .map(|given_up| format!("{}: {}", given_up.kind.name(), given_up.reason))
            .collect(),
        duration_ms: crate::engine::state::millis_between(iteration.started_at, end),
        calls: iteration.calls,
        tokens: iteration.tokens,
    }
}

fn stop_message(state: &State, status: LoopStatus) -> Option<String> {
    if let Some(stop) = &state.stop {
        // One sentence: what happened, and what to do.
        return Some(match &stop.hint {
            Some(hint) => format!("{}; {hint}.", stop.message.trim_end_matches('.')),
            None => stop.message.clone(),
        });
    }
    (status == LoopStatus::Interrupted).then(|| {
        let step = step_of(state).unwrap_or("start");
        let place = match state.current() {
            Some(iteration) => format!("in iteration {}, at the {step} step", iteration.index),
            None => format!("at the {step} step"),
        };
        format!("The worker died {place}; `resume` goes on from the last finished step.")
    })
}

fn next_commands(state: &State, status: LoopStatus) -> Vec<String> {
    let command = |rest: &str| format!("loop-companion {rest}");
    let budget = &state.plan.budget;
    match status {
        LoopStatus::None => vec![],
        LoopStatus::Running | LoopStatus::Paused => vec![command("status --follow"), command("stop")],
        LoopStatus::Interrupted => vec![command("resume")],
        LoopStatus::Finished => {
            let mut next = vec![command("result")];
            let landed = state.landing.as_ref().and_then(|landing| landing.landed) == Some(true);
            if state.has_changes() && !landed {
                next.push(command("result --apply"));
            }
            match state.stop.as_ref().and_then(|stop| stop.reason) {
                Some(StopReason::BudgetIterations) => next.push(command("iterate -n 5")),
                Some(reason @ (StopReason::BudgetTime | StopReason::ChecksTooSlow)) => {
                    let least = state.baseline.as_ref().and_then(|baseline| baseline.unusable.as_ref()?.least_ms);
                    let least = least.filter(|_| reason == StopReason::ChecksTooSlow).unwrap_or(0);
                    let time = typed_duration(least.max(budget.max_time_ms.saturating_mul(2)));
                    next.push(command(&format!("resume --max-time {time}")));
                }
                Some(StopReason::BudgetCalls) => {
                    let calls = budget.max_calls.saturating_mul(2).max(budget.max_calls.saturating_add(20));
                    next.push(command(&format!("resume --max-calls {calls}")));
                }
                Some(StopReason::BudgetTokens) => {
                    let tokens = state.used.tokens.total().max(budget.max_tokens.unwrap_or(0)).saturating_mul(2);
                    next.push(command(&format!("resume --max-tokens {tokens}")));
                }
                Some(StopReason::BudgetCost) => {
                    let codex = &state.plan.codex;
                    if codex.price(codex.model.as_deref()).is_none() {
                        next.push(command("model"));
                    } else {
                        let used = state.used.cost.max(budget.max_cost.unwrap_or(state.used.cost));
                        let cost = Money { micros: used.micros.saturating_mul(2) };
                        next.push(command(&format!("resume --max-cost {cost}")));
                    }
                }
                Some(StopReason::TreeChanged) => {
                    next.push(command("resume --adopt"));
                    next.push(command("resume --discard"));
                }
                Some(reason) if reason.resumable() => next.push(command("resume")),
                _ => {}
            }
            next
        }
    }
}
