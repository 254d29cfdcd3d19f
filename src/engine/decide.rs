//! What to do next: a pure function of the state and the time.

use jiff::{SignedDuration, Timestamp};

use super::compare::{all_hold, measured};
use super::event::{FailureClass, PlaceKind, Prepared, TrialOutcome};
use super::policy::{Policy, policy};
use super::ranking;
use super::state::{self, Iteration, State, agrees};
use super::stop::StopReason;
use crate::answers::Verdict;
use crate::guards::Code;
use crate::plan::{CallKind, Propose, TrialOrder};

/// Rounds without progress that end a loop.
pub const STALL_WINDOW: u32 = 3;

/// Rounds in a row without a usable patch that end a loop.
const UNUSABLE_WINDOW: usize = 2;

/// How often the same state may come up: once, once more after which the model is told, and then the loop ends.
const SAME_STATE_LIMIT: u32 = 3;

/// Least time a Codex call is worth starting for, in milliseconds.
const LEAST_CALL_MS: u64 = 1000;

/// Something for the runtime to do. Everything it learns comes back as events.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make the place and run every check on the seed tree.
    TakeBaseline,
    StartIteration {
        index: u32,
        closing: bool,
    },
    /// Ask Codex. `shrink` halves the prompt that many times.
    Ask {
        kind: CallKind,
        repair: bool,
        shrink: u32,
    },
    /// Have an agent for each of these places edit a work tree of its own, all at the same time; first take up those
    /// that a dead worker left.
    AskAgents {
        slots: Vec<u32>,
        shrink: u32,
    },
    /// Read what the agents left into proposals.
    TakeAgents,
    /// Read the stored answer into the event it stands for.
    TakeAnswer {
        kind: CallKind,
    },
    GiveUp {
        kind: CallKind,
        reason: String,
        /// What the last call failed for; `None` where none was made.
        class: Option<FailureClass>,
    },
    Wait {
        cause: FailureClass,
        until: Timestamp,
        message: String,
    },
    /// Rebuild this proposal's patch and judge it.
    Prepare {
        id: String,
    },
    /// Run the checks on this candidate.
    Try {
        id: String,
    },
    /// Run the checks on these candidates at the same time, each in a work tree of its own.
    TryTogether {
        ids: Vec<String>,
    },
    /// Make this candidate the new state.
    Accept {
        id: String,
    },
    /// Attempt the proof on the best state.
    Prove,
    FinishIteration {
        index: u32,
    },
    Stop {
        reason: Option<StopReason>,
        message: String,
        hint: Option<String>,
    },
    /// Bring the result into the user's work tree, or say why not; in place, put the user's own tree back.
    Land,
    /// Remove the place and end.
    Finish,
}

fn stop(reason: StopReason, message: impl Into<String>, hint: impl Into<String>) -> Effect {
    let hint = hint.into();
    Effect::Stop { reason: Some(reason), message: message.into(), hint: Some(hint).filter(|hint| !hint.is_empty()) }
}

/// Returns what to do next, or `None` where the loop is over.
pub fn decide(state: &State, now: Timestamp) -> Option<Effect> {
    if state.finished {
        return None;
    }
    if state.stop.is_some() {
        let landed = state.landing.as_ref().is_some_and(|landing| landing.landed.is_some());
        return Some(if landed { Effect::Finish } else { Effect::Land });
    }
    let Some(baseline) = &state.baseline else { return Some(Effect::TakeBaseline) };
    if let Some(unusable) = &baseline.unusable {
        return Some(stop(unusable.reason, unusable.message.clone(), unusable_hint(unusable.reason)));
    }
    Some(match state.current() {
        Some(iteration) => within(state, iteration, now),
        None => between(state, now),
    })
}

fn unusable_hint(reason: StopReason) -> &'static str {
    match reason {
        StopReason::ChecksTooSlow => {
            "raise the time with `resume --max-time D`, or start again with a faster `--test-cmd` or a `--trial-cmd`"
        }
        _ => "`resume` when the command works; to change it, or its time limit (--check-timeout), start again",
    }
}

/// Between two iterations: end, or begin the next.
fn between(state: &State, now: Timestamp) -> Effect {
    let done = state.iterations.len() as u32;
    let rounds = state.rounds().filter(|iteration| iteration.index > state.rounds_before).count() as u32;
    let all_asked_for = state.rounds_asked.is_some_and(|asked| rounds >= asked);
    if state.dry_run && all_asked_for {
        let ready = state.iterations.last().map_or(0, |iteration| iteration.ready().len());
        return Effect::Stop {
            reason: None,
            message: format!(
                "Dry run: {}; nothing was applied.",
                if ready == 1 {
                    "1 usable proposal was made".to_owned()
                } else {
                    format!("{ready} usable proposals were made and ranked")
                }
            ),
            hint: Some("see them with `result`, and start without --dry-run".into()),
        };
    }
    if let Some(over) = budget_over(state, now) {
        return over;
    }
    if let Some(stop) = convergence(state) {
        return stop;
    }
    let used_up = state.used.iterations >= state.plan.budget.max_iterations;
    // A round of its own needs an evaluation and proposals before what is kept for the end.
    let calls_left = state.plan.budget.max_calls.saturating_sub(state.used.calls);
    let last_calls = calls_kept(state) > 0 && calls_left < 2 + calls_kept(state);
    if last_calls && closing_evaluation_pays(state) {
        return Effect::StartIteration { index: done + 1, closing: true };
    }
    if used_up || all_asked_for {
        if closing_evaluation_pays(state) {
            return Effect::StartIteration { index: done + 1, closing: true };
        }
        let what = if used_up {
            match state.used.iterations {
                1 => "The one iteration of the budget is used".to_owned(),
                used => format!("All {used} iterations of the budget are used"),
            }
        } else {
            match rounds {
                1 => "The iteration asked for has run".to_owned(),
                rounds => format!("The {rounds} iterations asked for have run"),
            }
        };
        return stop(
            StopReason::BudgetIterations,
            format!("{what} and the goal is not proven."),
            "look at `result`; go on with `iterate -n N` or `resume --max-iter N`",
        );
    }
    Effect::StartIteration { index: done + 1, closing: false }
}

/// The last iteration of the budget may have reached a goal that only an evaluation can claim.
fn closing_evaluation_pays(state: &State) -> bool {
    state.has_changes()
        && state.iterations.last().is_some_and(|last| last.accepted && !last.closing)
        && all_hold(&state.head_receipts, &state.excused())
        && !state.proof.as_ref().is_some_and(|proof| proof.tree == state.head_tree && !proof.holds)
}

fn convergence(state: &State) -> Option<Effect> {
    let failing = crate::checks::failing(&state.head_receipts).difference(&state.excused().ids()).count();
    let recent: Vec<&Iteration> = state.recent_rounds().rev().take(UNUSABLE_WINDOW).collect();
    if recent.len() == UNUSABLE_WINDOW && recent.iter().all(|iteration| iteration.infrastructure_failed()) {
        return Some(stop(
            StopReason::CodexUnavailable,
            "Codex gave no usable answer to the suggest step twice running.",
            "look at the answers under `result --iteration N`; set another model with `model NAME`, then `resume`",
        ));
    }
    let judged: Vec<&Iteration> = state
        .recent_rounds()
        .rev()
        .filter(|iteration| !iteration.infrastructure_failed())
        .take(UNUSABLE_WINDOW)
        .collect();
    if judged.len() == UNUSABLE_WINDOW && judged.iter().all(|iteration| iteration.ready().is_empty()) {
        return Some(stop(
            StopReason::NoUsableProposals,
            "Two rounds running brought no proposal that applies and passes the guards.",
            "see why each lost with `result`; start again with a clearer goal or --allow-change, or set another model with \
             `model NAME` and `resume`",
        ));
    }
    if state.state_ids.values().any(|times| *times >= SAME_STATE_LIMIT) {
        return Some(stop(
            StopReason::Converged,
            format!("The loop came back to the same state again after the model was told ({failing} still failing)."),
            "see `result`; sharpen the goal and start again, or set another model with `model NAME` and `resume`",
        ));
    }
    let stalled = state.stalled_for();
    (stalled >= STALL_WINDOW).then(|| {
        stop(
            StopReason::Converged,
            format!("{stalled} rounds running made no measured progress ({failing} still failing)."),
            "see `result`; sharpen the goal and start again, or set another model with `model NAME` and `resume`",
        )
    })
}

/// Returns the Codex calls kept back for the end: where only an evaluation can claim the goal, the one that claims it,
/// and where nothing measured can show it, the second one too.
fn calls_kept(state: &State) -> u32 {
    let red = state.seed_receipts().iter().any(|receipt| !receipt.exit.success());
    if state.dry_run || (state.plan.measurable && red) { 0 } else { 1 + u32::from(!red) }
}

/// Returns the stop for a budget that is used up, time for the final proof kept back.
fn budget_over(state: &State, now: Timestamp) -> Option<Effect> {
    let budget = &state.plan.budget;
    if time_for_calls_ms(state, now) < LEAST_CALL_MS {
        return Some(stop(
            StopReason::BudgetTime,
            format!(
                "The time budget of {} is used, but for what the final proof needs.",
                crate::report::duration(budget.max_time_ms)
            ),
            "go on with `resume --max-time D`",
        ));
    }
    if state.used.calls >= budget.max_calls {
        return Some(stop(
            StopReason::BudgetCalls,
            match state.used.calls {
                1 => "The one Codex call of the budget is used.".to_owned(),
                used => format!("All {used} Codex calls of the budget are used."),
            },
            "go on with `resume --max-calls N`",
        ));
    }
    if let Some(max) = budget.max_tokens
        && state.used.tokens.total() >= max
    {
        return Some(stop(
            StopReason::BudgetTokens,
            format!("{} tokens are used of a budget of {max}.", state.used.tokens.total()),
            "go on with `resume --max-tokens N`",
        ));
    }
    if let Some(max) = budget.max_cost {
        if state.used.cost >= max {
            return Some(stop(
                StopReason::BudgetCost,
                format!("{} is spent of a budget of {max}.", state.used.cost),
                "go on with `resume --max-cost N`",
            ));
        }
        let model = state.plan.codex.model.as_deref();
        if state.plan.codex.price(model).is_none() {
            return Some(stop(
                StopReason::BudgetCost,
                format!(
                    "The model {} has no price, so the budget of {max} cannot be kept.",
                    model.unwrap_or("that is Codex's own default")
                ),
                "choose a model with a price with `model`, then `resume`",
            ));
        }
    }
    None
}

/// Returns the time kept back for the final proof: the checks once fresh and once with the seed's tests, in
/// milliseconds.
pub fn proof_reserve_ms(state: &State) -> u64 {
    state.baseline.as_ref().map_or(0, |baseline| baseline.duration_ms.saturating_mul(2))
}

/// Returns the time left for calls and trials, in milliseconds.
pub fn time_for_calls_ms(state: &State, now: Timestamp) -> u64 {
    state.plan.budget.max_time_ms.saturating_sub(state.time_used_ms(now)).saturating_sub(proof_reserve_ms(state))
}

fn met(state: &State, how: &str) -> Effect {
    let receipts = state.proof.as_ref().map_or(&[][..], |proof| &proof.receipts);
    let shown: Vec<String> =
        receipts.iter().map(|receipt| format!("`{}` {}", receipt.command, receipt.summary())).collect();
    let shown = if shown.is_empty() { String::new() } else { format!(": {}", shown.join("; ")) };
    if state.has_changes() {
        stop(
            StopReason::GoalMet,
            format!("The goal is met and proven ({how}){shown}."),
            "see what changed with `result`",
        )
    } else {
        stop(StopReason::AlreadyMet, format!("The goal was met before any change ({how}){shown}."), "")
    }
}

/// Within an iteration.
fn within(state: &State, iteration: &Iteration, now: Timestamp) -> Effect {
    let finish = Effect::FinishIteration { index: iteration.index };
    if iteration.accepted {
        return after_acceptance(state, iteration, now).unwrap_or(finish);
    }
    if iteration.evaluation.is_none() && !iteration.gave_up(CallKind::Evaluate) {
        return ask(state, CallKind::Evaluate, now);
    }
    if let Some(evaluation) = &iteration.evaluation {
        if evaluation.verdict == Verdict::GoalMet && iteration.refuted_claim.is_none() {
            match iteration.proofs.iter().rev().find(|proof| proof.tree == state.head_tree) {
                None => return prove(state, now),
                Some(proof) if proof.holds && proof.level.is_some() => return met(state, "measured"),
                Some(proof) if proof.holds => match &iteration.second_evaluation {
                    None => return ask(state, CallKind::SecondEvaluation, now),
                    Some(second) if agrees(second) => return met(state, "reviewed"),
                    Some(_) => {}
                },
                Some(_) => {}
            }
        }
        let before = state.iterations.iter().rev().find(|earlier| earlier.index < iteration.index);
        let was_blocked = before
            .and_then(|earlier| earlier.evaluation.as_ref())
            .is_some_and(|earlier| earlier.verdict == Verdict::Blocked);
        if evaluation.verdict == Verdict::Blocked && was_blocked {
            return stop(
                StopReason::Blocked,
                format!("The evaluation says twice running that no patch can help: {}", evaluation.rationale),
                "remove what blocks it, then `resume`",
            );
        }
    }
    if iteration.closing {
        return finish;
    }
    let Some(candidates) = &iteration.candidates else {
        return if proposes_by_agents(state, iteration) {
            ask_agents(state, iteration, now)
        } else {
            ask(state, CallKind::Suggest, now)
        };
    };
    if let Some(candidate) = candidates.iter().find(|candidate| candidate.prepared.is_none()) {
        return Effect::Prepare { id: candidate.proposed.id.clone() };
    }
    let can_mend = candidates.iter().any(|candidate| {
        !candidate.mended
            && !candidate.exact
            && matches!(candidate.prepared, Some(Prepared::Refused { code: Code::DoesNotApply, .. }))
    });
    if can_mend && !iteration.mend_asked {
        return ask(state, CallKind::Repair, now);
    }
    choose(state, iteration, now).unwrap_or(finish)
}

/// Tries, ranks and accepts; `None` where the round has nothing to accept.
fn choose(state: &State, iteration: &Iteration, now: Timestamp) -> Option<Effect> {
    let ready = iteration.ready();
    let must_rank = |count: usize| count > 1 && iteration.ranking.is_none() && !iteration.gave_up(CallKind::Rank);
    if state.dry_run {
        return must_rank(ready.len()).then(|| ask(state, CallKind::Rank, now));
    }
    if tries_before_rank(state, ready.len()) {
        let untried: Vec<&str> = ready
            .iter()
            .filter(|candidate| candidate.trial.is_none())
            .map(|candidate| candidate.proposed.id.as_str())
            .collect();
        let held: Vec<String> = survivors(iteration);
        if !untried.is_empty() {
            let together = untried.len().min(trials_at_once(state));
            let effect = try_if_time(state, &untried[..together], now);
            // With no time left for the rest, one that was measured better is not thrown away for them.
            if !(matches!(effect, Effect::Stop { .. }) && any_better(iteration)) {
                return Some(effect);
            }
        }
        if must_rank(held.len()) {
            return Some(rank_tried(state, iteration, now));
        }
        return ordered(iteration, &held).into_iter().next().map(|id| Effect::Accept { id });
    }
    if must_rank(ready.len()) {
        return Some(ask(state, CallKind::Rank, now));
    }
    let ids: Vec<String> = ready.iter().map(|candidate| candidate.proposed.id.clone()).collect();
    // Before any trial the order is the judge's alone: one favourite is tried at a time, so measurements of those
    // already tried must not reshuffle the rest.
    for id in ranking::order(&unmeasured(iteration, &ids)) {
        match iteration.candidate(&id).and_then(|candidate| candidate.trial.as_ref()) {
            None => return Some(try_if_time(state, &[&id], now)),
            Some(trial) if trial.outcome.acceptable() => return Some(Effect::Accept { id }),
            Some(_) => {}
        }
    }
    None
}

/// Has the judge choose among what was tried. Where a budget holds no such call any more and one of them was measured
/// better, the measurements choose: their evidence is not thrown away for want of an opinion.
fn rank_tried(state: &State, iteration: &Iteration, now: Timestamp) -> Effect {
    match ask(state, CallKind::Rank, now) {
        Effect::Stop { reason: Some(reason), .. } if reason.is_budget() && any_better(iteration) => {
            let reason = format!("the budget is used ({}), so what was measured decides", reason.name());
            Effect::GiveUp { kind: CallKind::Rank, reason, class: None }
        }
        effect => effect,
    }
}

/// Says whether a candidate of this round was measured better than what it is based on.
fn any_better(iteration: &Iteration) -> bool {
    let better = |candidate: &&state::Candidate| {
        candidate.trial.as_ref().is_some_and(|trial| trial.outcome == TrialOutcome::Better)
    };
    iteration.ready().iter().any(better)
}

/// Returns how many candidates may be tried at the same time. In the user's own work tree there is room for one.
fn trials_at_once(state: &State) -> usize {
    let own = state.baseline.as_ref().is_some_and(|baseline| baseline.place.kind == PlaceKind::Worktree);
    if own { state.plan.method.jobs.max(1) as usize } else { 1 }
}

fn try_if_time(state: &State, ids: &[&str], now: Timestamp) -> Effect {
    if time_for_calls_ms(state, now) == 0 {
        return stop(
            StopReason::BudgetTime,
            "The time budget is used, but for what the final proof needs; a candidate was not tried.",
            "go on with `resume --max-time D`",
        );
    }
    match ids {
        [id] => Effect::Try { id: (*id).to_owned() },
        _ => Effect::TryTogether { ids: ids.iter().map(|id| (*id).to_owned()).collect() },
    }
}

/// Says whether every candidate is tried before ranking: where asked, or where that costs at most a twentieth of the
/// time budget.
pub fn tries_before_rank(state: &State, candidates: usize) -> bool {
    match state.plan.method.trial {
        TrialOrder::BeforeRank => true,
        TrialOrder::AfterRank => false,
        TrialOrder::Auto => {
            let one = state.baseline.as_ref().map_or(0, |baseline| baseline.duration_ms);
            let rounds = candidates.div_ceil(trials_at_once(state));
            one.saturating_mul(rounds as u64) <= state.plan.budget.max_time_ms / 20
        }
    }
}

/// Returns the ids of the candidates whose trial may be accepted.
pub fn survivors(iteration: &Iteration) -> Vec<String> {
    iteration
        .ready()
        .iter()
        .filter(|candidate| candidate.trial.as_ref().is_some_and(|trial| trial.outcome.acceptable()))
        .map(|candidate| candidate.proposed.id.clone())
        .collect()
}

/// Returns the rubric's own order of all candidates it scored, whatever was measured.
pub fn favourites(iteration: &Iteration) -> Vec<String> {
    let scored: Vec<String> = iteration
        .ranking
        .iter()
        .flat_map(|ranking| &ranking.scores)
        .filter(|scores| iteration.candidate(&scores.id).is_some())
        .map(|scores| scores.id.clone())
        .collect();
    let mut candidates = unmeasured(iteration, &scored);
    for candidate in &mut candidates {
        candidate.flagged = false;
    }
    ranking::order(&candidates)
}

fn unmeasured(iteration: &Iteration, ids: &[String]) -> Vec<ranking::Candidate> {
    let mut candidates = ranking_candidates(iteration, ids);
    for candidate in &mut candidates {
        candidate.failing_after = None;
        candidate.accepts_turned_green = 0;
    }
    candidates
}

fn ordered(iteration: &Iteration, ids: &[String]) -> Vec<String> {
    ranking::order(&ranking_candidates(iteration, ids))
}

fn ranking_candidates(iteration: &Iteration, ids: &[String]) -> Vec<ranking::Candidate> {
    ids.iter()
        .filter_map(|id| iteration.candidate(id))
        .map(|candidate| {
            let scores = iteration
                .ranking
                .as_ref()
                .and_then(|ranking| ranking.scores.iter().find(|scores| scores.id == candidate.proposed.id).cloned());
            let (flagged, loose, size) = match &candidate.prepared {
                Some(Prepared::Ready { flags, matches, added, removed, .. }) => (
                    flags.iter().any(|flag| flag.code == Code::SpecialCasesTests),
                    matches.iter().any(|hunk| hunk.how.is_loose()),
                    added.saturating_add(*removed),
                ),
                _ => (false, false, 0),
            };
            ranking::Candidate {
                id: candidate.proposed.id.clone(),
                scores,
                failing_after: candidate.trial.as_ref().map(|trial| trial.failing_after),
                accepts_turned_green: candidate.trial.as_ref().map_or(0, |trial| trial.accepts_turned_green),
                flagged,
                loose,
                size,
            }
        })
        .collect()
}

/// Attempts the proof, where there is any time at all. Time is kept back for it, but a check may take longer than ever.
fn prove(state: &State, now: Timestamp) -> Effect {
    if state.time_used_ms(now) < state.plan.budget.max_time_ms {
        return Effect::Prove;
    }
    stop(
        StopReason::BudgetTime,
        "The time budget was used up before the proof had ended.",
        "go on with `resume --max-time D`",
    )
}

/// After a candidate became the state: prove at once where measurements alone can.
fn after_acceptance(state: &State, iteration: &Iteration, now: Timestamp) -> Option<Effect> {
    if let Some(proof) = iteration.proofs.iter().rev().find(|proof| proof.tree == state.head_tree) {
        return (proof.holds && proof.level.is_some()).then(|| met(state, "measured"));
    }
    let excused = state.excused();
    let provable = state.plan.measurable
        && all_hold(&state.head_receipts, &excused)
        && measured(state.seed_receipts(), &state.head_receipts, &excused);
    provable.then(|| prove(state, now))
}

/// Says whether this round's proposals are made by agents: where asked, or after a round without a patch that applies.
/// Patches that apply and do not help, or that the guards refuse, are no fault of their form.
fn proposes_by_agents(state: &State, iteration: &Iteration) -> bool {
    match state.plan.method.propose {
        Propose::Agent => true,
        Propose::Diff => false,
        Propose::Auto => {
            let last = state.rounds().rev().find(|earlier| earlier.index < iteration.index);
            last.is_some_and(|last| !last.infrastructure_failed() && nothing_applied(last))
        }
    }
}

/// Says whether a round brought no patch that applies to the tree.
fn nothing_applied(iteration: &Iteration) -> bool {
    iteration.candidates.as_ref().is_some_and(|candidates| {
        candidates
            .iter()
            .all(|candidate| matches!(candidate.prepared, Some(Prepared::Refused { code: Code::DoesNotApply, .. })))
    })
}

/// Sets the round's agents to work, or does what their common failure calls for. One that fails beside others that
/// do not only means a proposal less.
fn ask_agents(state: &State, iteration: &Iteration, now: Timestamp) -> Effect {
    let agents = &iteration.agents;
    let failures = &state.attempt.failures;
    let shrink = failures.iter().filter(|(_, failure)| failure.class == FailureClass::ContextTooLong).count() as u32;
    if agents.iter().any(|agent| agent.end.is_none()) {
        return Effect::AskAgents { slots: Vec::new(), shrink };
    }
    let answered = agents.iter().any(state::Agent::answered);
    let over = budget_over(state, now);
    let open: Vec<u32> = (0..state.plan.method.nproposals)
        .filter(|slot| agents.iter().find(|agent| agent.slot == *slot).is_none_or(state::Agent::was_stopped))
        .collect();
    match over {
        Some(_) if answered => return Effect::TakeAgents,
        Some(over) => return over,
        None => {}
    }
    let room = state.plan.budget.max_calls.saturating_sub(state.used.calls).saturating_sub(calls_kept(state)) as usize;
    if room == 0 && !answered {
        return kept_back(state);
    }
    if !open.is_empty() && room > 0 {
        return Effect::AskAgents { slots: open.into_iter().take(room).collect(), shrink };
    }
    if answered {
        return Effect::TakeAgents;
    }
    let all = (0..state.plan.method.nproposals).take(room).collect();
    after_failures(state, CallKind::Suggest, Effect::AskAgents { slots: all, shrink }, now)
}

/// Asks Codex, or does what the last failure calls for.
fn ask(state: &State, kind: CallKind, now: Timestamp) -> Effect {
    let attempt = &state.attempt;
    if attempt.answer_file.is_some() {
        return Effect::TakeAnswer { kind };
    }
    // What a dead worker's call came to has to be known before anything is decided about the next one.
    if let Some(call) = state.call.as_ref().filter(|call| call.end.is_none()) {
        return Effect::Ask { kind: call.kind, repair: call.repair, shrink: 0 };
    }
    if let Some(over) = budget_over(state, now) {
        return over;
    }
    let into_reserve = state.used.calls.saturating_add(calls_kept(state)) >= state.plan.budget.max_calls;
    match kind {
        CallKind::Suggest if into_reserve => return kept_back(state),
        CallKind::Rank | CallKind::Repair if into_reserve => {
            let reason = "the last calls are kept for the closing evaluation".to_owned();
            return Effect::GiveUp { kind, reason, class: None };
        }
        _ => {}
    }
    let count = |class| attempt.failures.iter().filter(|(_, failure)| failure.class == class).count() as u32;
    let again =
        Effect::Ask { kind, repair: count(FailureClass::BadAnswer) > 0, shrink: count(FailureClass::ContextTooLong) };
    after_failures(state, kind, again, now)
}

/// The stop where all calls but those for the end are used.
fn kept_back(state: &State) -> Effect {
    let kept = calls_kept(state);
    stop(
        StopReason::BudgetCalls,
        format!(
            "{} of {} Codex calls are used; {kept} are kept for a closing evaluation, so none is left for proposals.",
            state.used.calls, state.plan.budget.max_calls
        ),
        "go on with `resume --max-calls N`",
    )
}

/// Does what the last failure of the question calls for: `again` where there is none, or it is worth it.
fn after_failures(state: &State, kind: CallKind, again: Effect, now: Timestamp) -> Effect {
    let attempt = &state.attempt;
    let Some((_, last)) = attempt.failures.last() else { return again };
    match policy(&attempt.failures) {
        Policy::Repair | Policy::Shrink => again,
        Policy::GiveUp => Effect::GiveUp { kind, reason: last.message.clone(), class: Some(last.class) },
        Policy::RetryAt(at) if at <= now || attempt.waited => again,
        Policy::RetryAt(at) => {
            let left = i64::try_from(time_for_calls_ms(state, now)).unwrap_or(i64::MAX);
            let end = now.saturating_add(SignedDuration::from_millis(left)).unwrap_or(now);
            if at >= end {
                give_in(last.class, &format!("{} The wait until {at} is longer than the time budget.", last.message))
            } else {
                Effect::Wait { cause: last.class, until: at, message: last.message.clone() }
            }
        }
        Policy::Stop => give_in(last.class, &last.message),
    }
}

/// Ends the loop for a failure of Codex's, with what to do about it.
fn give_in(class: FailureClass, message: &str) -> Effect {
    let (reason, hint) = match class {
        FailureClass::SignIn => (StopReason::CodexUnavailable, "run `codex login`, then `resume`"),
        FailureClass::Quota => {
            (StopReason::CodexUnavailable, "check the plan and billing of the account, then `resume`")
        }
        FailureClass::UsageWindow => (StopReason::RateLimited, "`resume` when it opens again"),
        FailureClass::RateLimit => (StopReason::RateLimited, "`resume` later"),
        FailureClass::Config => {
            (StopReason::CodexUnavailable, "correct what it says (`codex doctor` helps), then `resume`")
        }
        FailureClass::TooOld => (StopReason::CodexUnavailable, "`npm install -g @openai/codex@latest`, then `resume`"),
        _ => (StopReason::CodexUnavailable, "`resume` when it is back"),
    };
    stop(reason, format!("{}: {}", class.title(), message.trim()), hint)
}
