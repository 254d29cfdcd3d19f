//! The loop without a process: a simulator answers every effect with events, and the rules are read off where it ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::compare::tests::receipt;
use super::event::{
    Baseline, CallEnd, CallFailure, Event, FailureClass, Place, PlaceKind, Prepared, Proof, Proposed, Ranked, Record,
    Started, Tokens, Trial, TrialOutcome, Worker,
};
use super::state::State;
use super::{Effect, StopReason, decide};
use crate::answers::{Evaluation, Level, OpenIssue, Ranking, Severity, Verdict, Winner};
use crate::guards::Code;
use crate::plan::{
    Budget, CallKind, Checks, CodexSettings, Limits, Method, Plan, ProofLevel, Propose, TrialOrder, Where,
};

fn plan() -> Plan {
    Plan {
        goal: "goal".into(),
        acceptance_criteria: vec!["`t` exits 0".into()],
        measurable: true,
        root: "/r".into(),
        check_dir: String::new(),
        checks: Checks { test: Some("t".into()), timeout_ms: 1000, ..Checks::default() },
        budget: Budget {
            max_iterations: 20,
            max_time_ms: 3_600_000,
            max_calls: 200,
            max_tokens: None,
            max_cost: None,
            codex_timeout_ms: 60_000,
        },
        method: Method {
            nproposals: 3,
            propose: Propose::Diff,
            trial: TrialOrder::Auto,
            place: Where::Auto,
            setup_command: None,
            jobs: 1,
            max_patch_lines: 100,
        },
        limits: Limits::default(),
        codex: CodexSettings::default(),
        dry_run: false,
    }
}

fn evaluation(verdict: Verdict) -> Evaluation {
    Evaluation {
        verdict,
        distance_from_goal: if verdict == Verdict::GoalMet { 0.0 } else { 0.5 },
        open_issues: Vec::new(),
        passing_tests: None,
        failing_tests: None,
        type_errors: None,
        lint_errors: None,
        completion_claim: verdict == Verdict::GoalMet,
        rationale: "because".into(),
    }
}

/// How one proposal fares.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Refused(Code),
    /// Tried, with this outcome and this many tests failing afterwards.
    Tried(TrialOutcome, u32),
}

/// Plays the world: what Codex answers and what the checks show, each list's last entry repeating.
struct World {
    state: State,
    records: Vec<Record>,
    now: Timestamp,
    /// Failing tests at the start.
    failing: u32,
    evaluations: VecDeque<Evaluation>,
    second: Evaluation,
    rounds: VecDeque<Vec<Fate>>,
    failures: VecDeque<Option<FailureClass>>,
    /// Draws failures and tokens, where there is a storm.
    dice: Option<Dice>,
    asked: Vec<CallKind>,
    proven: bool,
    step: SignedDuration,
}

/// SplitMix64, as the storms of the integration tests draw.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Three of ten calls fail, in a way that may pass.
    fn failure(&mut self, now: Timestamp) -> Option<CallFailure> {
        use FailureClass::{
            BadAnswer, ContextTooLong, Killed, Network, Overloaded, RateLimit, Refused, TimedOut, Unknown, UsageWindow,
        };
        let classes = [
            BadAnswer,
            ContextTooLong,
            Killed,
            Network,
            Overloaded,
            RateLimit,
            Refused,
            TimedOut,
            Unknown,
            UsageWindow,
        ];
        (self.draw(10) < 3).then(|| {
            let class = classes[self.draw(classes.len() as u64) as usize];
            let mut failure = CallFailure::new(class, "it failed");
            if matches!(class, RateLimit | UsageWindow) {
                let wait = SignedDuration::from_secs(self.draw(120).cast_signed());
                failure.reset = Some(now.saturating_add(wait).unwrap());
            }
            failure
        })
    }
}

fn next<T: Clone>(queue: &mut VecDeque<T>) -> Option<T> {
    if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() }
}

fn receipts(failing: u32) -> Vec<crate::checks::Receipt> {
    const NAMES: [&str; 10] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"];
    let (failed, passed) = NAMES.split_at(failing as usize);
    vec![receipt(passed, failed)]
}

impl World {
    fn new(plan: Plan, failing: u32) -> Self {
        let started = Started {
            format: 1,
            run_id: "run".into(),
            goal_hash: plan.goal_hash(),
            plan_hash: plan.hash(),
            plan,
            seed_tree: "seed".into(),
            seed_commit: "c0".into(),
            head: "c0".into(),
            version: "0".into(),
            codex_version: "0".into(),
        };
        let record = Record { seq: 1, at: Timestamp::UNIX_EPOCH, event: Event::Started(Box::new(started)) };
        let state = State::begin(&record).unwrap();
        let mut world = Self {
            state,
            records: vec![record],
            now: Timestamp::UNIX_EPOCH,
            failing,
            evaluations: VecDeque::from([evaluation(Verdict::InProgress)]),
            second: evaluation(Verdict::GoalMet),
            rounds: VecDeque::from([vec![Fate::Tried(TrialOutcome::NoProgress, failing)]]),
            failures: VecDeque::from([None]),
            dice: None,
            asked: Vec::new(),
            proven: true,
            step: SignedDuration::from_secs(1),
        };
        world.emit(Event::WorkerStarted(Worker { pid: 1, start_time: None, log: None }));
        world
    }

    fn emit(&mut self, event: Event) {
        self.now = self.now.saturating_add(self.step).unwrap();
        let record = Record { seq: self.records.len() as u64 + 1, at: self.now, event };
        self.state.apply(&record);
        self.records.push(record);
    }

    /// What a call comes to.
    fn come_to(&mut self) -> (Tokens, CallEnd) {
        let (failure, tokens) = match &mut self.dice {
            Some(dice) => {
                let failure = dice.failure(self.now);
                let tokens = Tokens {
                    input: dice.draw(20_000),
                    cached_input: dice.draw(5_000),
                    output: dice.draw(3_000),
                    reasoning: 0,
                    estimated: failure.is_some(),
                };
                (failure, tokens)
            }
            None => (
                next(&mut self.failures).flatten().map(|class| CallFailure::new(class, "it failed")),
                Tokens { input: 100, output: 10, ..Tokens::default() },
            ),
        };
        let end = match failure {
            None => CallEnd::Answered { answer_file: "a".into() },
            Some(failure) => CallEnd::Failed { failure, answer_file: None },
        };
        (tokens, end)
    }

    fn perform(&mut self, effect: Effect) {
        let index = self.state.iterations.last().map_or(0, |iteration| iteration.index);
        match effect {
            Effect::TakeBaseline => {
                let baseline = Baseline {
                    place: Place { kind: PlaceKind::Worktree, path: "/w".into(), reason: None },
                    receipts: receipts(self.failing),
                    flaky: BTreeSet::new(),
                    known_red: BTreeSet::new(),
                    check_writes: BTreeSet::new(),
                    duration_ms: 10,
                    unusable: None,
                };
                self.emit(Event::BaselineTaken { baseline: Box::new(baseline) });
            }
            Effect::StartIteration { index, closing } => self.emit(Event::IterationStarted { index, closing }),
            Effect::Ask { kind, repair, .. } => {
                self.asked.push(kind);
                let call = self.state.used.calls + 1;
                let (model, effort) = (None, "high".to_owned());
                self.emit(Event::CallStarted { call, kind, repair, prompt_chars: 4, model, effort });
                let (tokens, end) = self.come_to();
                self.emit(Event::CallFinished { call, duration_ms: 1, tokens, end });
            }
            Effect::TakeAnswer { kind } => self.answer(kind, index),
            Effect::GiveUp { kind, reason, class } => self.emit(Event::StepGivenUp { kind, reason, class }),
            Effect::Wait { cause, until, message } => {
                self.emit(Event::WaitStarted { cause, until, message });
                self.now = self.now.max(until);
                self.emit(Event::WaitFinished);
            }
            Effect::Prepare { id } => {
                let prepared = match self.fate(&id) {
                    Fate::Refused(code) => {
                        Prepared::Refused { code, reason: "refused".into(), fingerprint: None, findings: vec![] }
                    }
                    Fate::Tried(..) => Prepared::Ready {
                        tree: format!("tree-{id}"),
                        diff_file: "d".into(),
                        files_touched: vec![],
                        modifies_tests: false,
                        added: 1,
                        removed: 1,
                        matches: vec![],
                        flags: vec![],
                        permitted: vec![],
                        fingerprint: id.clone(),
                    },
                };
                self.emit(Event::ProposalPrepared { id, prepared: Box::new(prepared) });
            }
            Effect::Try { id } => {
                self.emit(Event::TrialStarted { id: id.clone() });
                let Fate::Tried(outcome, after) = self.fate(&id) else { panic!("{id} was refused and is tried") };
                let before = crate::checks::failing(&self.state.head_receipts).len() as u32;
                let trial = Trial {
                    id: id.clone(),
                    outcome,
                    reason: "measured".into(),
                    receipts: receipts(after),
                    failing_before: before,
                    failing_after: after,
                    newly_passing: vec![],
                    newly_failing: vec![],
                    accepts_turned_green: 0,
                    flaky: BTreeSet::new(),
                    state_id: id,
                    duration_ms: 1,
                };
                self.emit(Event::ProposalTried { trial: Box::new(trial) });
            }
            Effect::AskAgents { slots, .. } => {
                let first = self.state.used.calls + 1;
                for (call, slot) in (first..).zip(slots) {
                    let (model, effort) = (None, "high".to_owned());
                    self.emit(Event::AgentStarted { call, slot, prompt_chars: 4, model, effort });
                }
                for call in first..=self.state.used.calls {
                    let (tokens, end) = self.come_to();
                    self.emit(Event::AgentFinished { call, duration_ms: 1, tokens, end });
                }
            }
            Effect::TakeAgents => {
                let round = (index as usize - 1).min(self.rounds.len() - 1);
                let count = self.rounds[round].len();
                let proposals = (0..count).map(|place| proposed(&format!("r{}-{place}", index - 1))).collect();
                self.emit(Event::AgentsProposed { proposals });
            }
            Effect::TryTogether { ids } => {
                for id in ids {
                    self.perform(Effect::Try { id });
                }
            }
            Effect::Accept { id } => {
                let tree = format!("tree-{id}");
                self.emit(Event::Accepted { id, tree, commit: "c".into() });
            }
            Effect::Prove => {
                let tree = self.state.head_tree.clone();
                let receipts = self.state.head_receipts.clone();
                let failing = crate::checks::failing(&receipts).len();
                let holds = failing == 0 && self.proven;
                let proof = Proof {
                    tree,
                    holds,
                    level: (holds && self.failing > 0).then_some(ProofLevel::Measured),
                    reason: "shown".into(),
                    receipts,
                    seed_receipts: vec![],
                    partial: vec![],
                    permitted: vec![],
                };
                self.emit(Event::ProofFinished { proof: Box::new(proof) });
            }
            Effect::FinishIteration { index } => self.emit(Event::IterationFinished { index }),
            Effect::Stop { reason, message, hint } => self.emit(Event::Stopped { reason, message, hint }),
            Effect::Land => self.emit(Event::LandingFinished { landed: true, reason: "landed".into() }),
            Effect::Finish => self.emit(Event::Finished),
        }
    }

    /// What becomes of `rN-M`, proposal M of round N.
    fn fate(&self, id: &str) -> Fate {
        let (_, rest) = id.split_once('r').unwrap();
        let (round, place) = rest.split_once('-').unwrap();
        let round: usize = round.parse().unwrap();
        let fates = self.rounds.get(round).or_else(|| self.rounds.back()).unwrap();
        fates[place.parse::<usize>().unwrap()]
    }

    fn answer(&mut self, kind: CallKind, index: u32) {
        match kind {
            CallKind::Evaluate => {
                let evaluation = next(&mut self.evaluations).unwrap();
                self.emit(Event::Evaluated { evaluation });
            }
            CallKind::SecondEvaluation => self.emit(Event::SecondEvaluated { evaluation: self.second.clone() }),
            CallKind::Suggest => {
                let round = (index as usize - 1).min(self.rounds.len() - 1);
                let proposals =
                    (0..self.rounds[round].len()).map(|place| proposed(&format!("r{}-{place}", index - 1))).collect();
                self.emit(Event::Suggested { proposals });
            }
            CallKind::Repair => self.emit(Event::PatchesMended { proposals: vec![] }),
            CallKind::Rank => {
                let ranking = Ranking {
                    scores: vec![],
                    winner: Winner { id: String::new(), justification: String::new(), confidence: 0.5 },
                    rejections: vec![],
                    tiebreaker: None,
                };
                self.emit(Event::ProposalRanked { ranked: Ranked { ranking } });
            }
        }
    }

    /// Runs to the end and returns why it ended.
    fn run(&mut self) -> Option<StopReason> {
        for _ in 0..5000 {
            match decide(&self.state, self.now) {
                None => return self.state.stop.as_ref().and_then(|stop| stop.reason),
                Some(effect) => self.perform(effect),
            }
        }
        panic!("the loop does not end: {:?}", self.state.iterations.last());
    }
}

fn proposed(id: &str) -> Proposed {
    Proposed {
        id: id.into(),
        approach: "a".into(),
        justification: "j".into(),
        estimated_risk: Level::Low,
        estimated_impact: Level::Low,
        test_change_justification: None,
        review_notes: String::new(),
        patch_file: "p".into(),
    }
}

const BETTER: TrialOutcome = TrialOutcome::Better;

#[test]
fn a_measured_goal_ends_in_the_round_that_reached_it() {
    let mut world = World::new(plan(), 2);
    world.rounds = VecDeque::from([vec![Fate::Tried(BETTER, 1)], vec![Fate::Tried(BETTER, 0)]]);
    assert_eq!(world.run(), Some(StopReason::GoalMet));
    assert_eq!((world.state.used.iterations, world.state.trees.len()), (2, 3));
    assert_eq!(world.asked, [CallKind::Evaluate, CallKind::Suggest, CallKind::Evaluate, CallKind::Suggest]);
}

#[test]
fn criteria_in_words_need_the_evaluators_claim_before_the_proof_counts() {
    let mut world = World::new(Plan { measurable: false, ..plan() }, 1);
    world.rounds = VecDeque::from([vec![Fate::Tried(BETTER, 0)]]);
    world.evaluations = VecDeque::from([evaluation(Verdict::InProgress), evaluation(Verdict::GoalMet)]);
    assert_eq!(world.run(), Some(StopReason::GoalMet));
    assert_eq!(world.asked, [CallKind::Evaluate, CallKind::Suggest, CallKind::Evaluate]);
}

#[test]
fn the_last_round_of_the_budget_gets_a_closing_evaluation() {
    let mut plan = Plan { measurable: false, ..plan() };
    plan.budget.max_iterations = 1;
    let mut world = World::new(plan, 1);
    world.rounds = VecDeque::from([vec![Fate::Tried(BETTER, 0)]]);
    world.evaluations = VecDeque::from([evaluation(Verdict::InProgress), evaluation(Verdict::GoalMet)]);
    assert_eq!(world.run(), Some(StopReason::GoalMet));
    assert_eq!(world.state.used.iterations, 1);
    assert!(world.state.iterations[1].closing);
}

#[test]
fn a_claim_on_failing_checks_is_refuted_and_the_loop_goes_on_to_suggest() {
    let mut world = World::new(plan(), 1);
    world.evaluations = VecDeque::from([evaluation(Verdict::GoalMet)]);
    assert_eq!(world.run(), Some(StopReason::Converged));
    assert!(world.state.iterations.iter().all(|iteration| iteration.refuted_claim.is_some()));
    assert!(world.asked.contains(&CallKind::Suggest));
}

#[test]
fn green_checks_that_never_showed_the_goal_need_a_second_evaluation() {
    let mut world = World::new(plan(), 0);
    world.evaluations = VecDeque::from([evaluation(Verdict::GoalMet)]);
    assert_eq!(world.run(), Some(StopReason::AlreadyMet));
    assert_eq!(world.asked, [CallKind::Evaluate, CallKind::SecondEvaluation]);
    assert_eq!(world.state.proof.as_ref().unwrap().level, Some(ProofLevel::Reviewed));

    let mut doubted = World::new(plan(), 0);
    doubted.evaluations = VecDeque::from([evaluation(Verdict::GoalMet)]);
    doubted.second = evaluation(Verdict::InProgress);
    assert_eq!(doubted.run(), Some(StopReason::Converged));
}

#[test]
fn a_second_evaluation_with_an_open_issue_of_weight_does_not_agree() {
    let mut second = evaluation(Verdict::GoalMet);
    second.open_issues.push(OpenIssue {
        id: "criterion-1".into(),
        severity: Severity::Medium,
        summary: "missing".into(),
        file: None,
        line_start: None,
        line_end: None,
        recommendation: "add it".into(),
    });
    let mut world = World::new(plan(), 0);
    world.evaluations = VecDeque::from([evaluation(Verdict::GoalMet)]);
    world.second = second;
    assert_ne!(world.run(), Some(StopReason::AlreadyMet));
}

#[test]
fn three_rounds_without_progress_converge_and_two_without_a_usable_patch_stop() {
    let mut stuck = World::new(plan(), 2);
    assert_eq!(stuck.run(), Some(StopReason::Converged));
    assert_eq!(stuck.state.used.iterations, 3);
    let mut refused = World::new(plan(), 2);
    refused.rounds = VecDeque::from([vec![Fate::Refused(Code::WeakensTest), Fate::Refused(Code::Duplicate)]]);
    assert_eq!(refused.run(), Some(StopReason::NoUsableProposals));
    assert_eq!(refused.state.used.iterations, 2);
    let mut empty = World::new(plan(), 2);
    empty.rounds = VecDeque::from([vec![]]);
    assert_eq!(empty.run(), Some(StopReason::NoUsableProposals));
}

#[test]
fn what_does_not_apply_goes_back_to_the_model_once() {
    let mut world = World::new(plan(), 2);
    world.rounds = VecDeque::from([vec![Fate::Refused(Code::DoesNotApply)]]);
    world.run();
    let repairs = world.asked.iter().filter(|kind| **kind == CallKind::Repair).count();
    assert_eq!((repairs, world.state.used.iterations), (2, 2));
}

#[test]
fn blocked_once_goes_on_and_twice_running_stops() {
    let mut world = World::new(plan(), 2);
    world.evaluations = VecDeque::from([evaluation(Verdict::Blocked)]);
    assert_eq!(world.run(), Some(StopReason::Blocked));
    assert_eq!(world.asked, [CallKind::Evaluate, CallKind::Suggest, CallKind::Evaluate]);
}

#[test]
fn one_survivor_needs_no_judge_and_two_do() {
    let mut one = World::new(plan(), 1);
    one.rounds = VecDeque::from([vec![Fate::Tried(TrialOutcome::Worse, 3), Fate::Tried(BETTER, 0)]]);
    assert_eq!(one.run(), Some(StopReason::GoalMet));
    assert!(!one.asked.contains(&CallKind::Rank));
    let mut two = World::new(plan(), 1);
    two.rounds = VecDeque::from([vec![Fate::Tried(BETTER, 0), Fate::Tried(BETTER, 0)]]);
    assert_eq!(two.run(), Some(StopReason::GoalMet));
    assert!(two.asked.contains(&CallKind::Rank));
}

#[test]
fn ranked_first_a_failed_favourite_costs_a_trial_and_not_the_round() {
    let mut plan = plan();
    plan.method.trial = TrialOrder::AfterRank;
    let mut world = World::new(plan, 1);
    world.rounds = VecDeque::from([vec![Fate::Tried(TrialOutcome::Worse, 3), Fate::Tried(BETTER, 0)]]);
    assert_eq!(world.run(), Some(StopReason::GoalMet));
    assert_eq!(world.state.used.iterations, 1);
    assert!(world.asked.contains(&CallKind::Rank));
}

#[test]
fn every_budget_stops_with_its_own_reason() {
    let ended = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        let mut world = World::new(plan, 9);
        let progress = |n: u32| vec![Fate::Tried(BETTER, 8 - n.min(7))];
        world.rounds = (0..30).map(progress).collect();
        (world.run(), world.state.used.clone())
    };
    let (reason, used) = ended(&|plan| plan.budget.max_iterations = 2);
    assert_eq!((reason, used.iterations), (Some(StopReason::BudgetIterations), 2));
    let (reason, used) = ended(&|plan| plan.budget.max_calls = 3);
    assert_eq!((reason, used.calls), (Some(StopReason::BudgetCalls), 3));
    let (reason, used) = ended(&|plan| plan.budget.max_tokens = Some(500));
    assert_eq!(reason, Some(StopReason::BudgetTokens));
    assert!(used.tokens.total() < 500 + 110);
    let (reason, used) = ended(&|plan| plan.budget.max_time_ms = 20_000);
    assert_eq!(reason, Some(StopReason::BudgetTime));
    assert!(used.time_ms <= 25_000, "{used:?}");
}

#[test]
fn infrastructure_failures_never_count_as_rounds_without_progress() {
    let mut world = World::new(plan(), 2);
    world.failures = VecDeque::from([Some(FailureClass::Refused)]);
    assert_eq!(world.run(), Some(StopReason::CodexUnavailable));
    assert_eq!(world.state.stalled_for(), 0);
}

#[test]
fn failures_of_the_account_stop_at_once_and_passing_ones_are_waited_out() {
    for class in [FailureClass::SignIn, FailureClass::Quota, FailureClass::Config] {
        let mut world = World::new(plan(), 2);
        world.failures = VecDeque::from([Some(class)]);
        assert_eq!((world.run(), world.asked.len()), (Some(StopReason::CodexUnavailable), 1), "{class:?}");
    }
    let mut world = World::new(plan(), 1);
    world.rounds = VecDeque::from([vec![Fate::Tried(BETTER, 0)]]);
    let busy = Some(FailureClass::Overloaded);
    world.failures = VecDeque::from([busy, busy, None]);
    assert_eq!(world.run(), Some(StopReason::GoalMet));
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        Just(Fate::Refused(Code::DoesNotApply)),
        Just(Fate::Refused(Code::SkipsTest)),
        (0u32..10).prop_map(|after| Fate::Tried(TrialOutcome::Better, after)),
        (0u32..10).prop_map(|after| Fate::Tried(TrialOutcome::Worse, after)),
        Just(Fate::Tried(TrialOutcome::Neutral, 3)),
        Just(Fate::Tried(TrialOutcome::NoProgress, 3)),
        Just(Fate::Tried(TrialOutcome::Vacuous, 0)),
        Just(Fate::Tried(TrialOutcome::SpecialCased, 0)),
    ];
    prop::collection::vec(fate, 0..4)
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::GoalMet), Just(Verdict::InProgress), Just(Verdict::Blocked)]
}

fn failures() -> impl Strategy<Value = Option<FailureClass>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(FailureClass::BadAnswer)),
        1 => Just(Some(FailureClass::Overloaded)),
        1 => Just(Some(FailureClass::TimedOut)),
        1 => Just(Some(FailureClass::ContextTooLong)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_loop_ends_within_its_budgets_and_only_proof_makes_a_goal_met(
        failing in 0u32..6,
        rounds in prop::collection::vec(fates(), 1..6),
        verdict in prop::collection::vec(verdicts(), 1..6),
        failed in prop::collection::vec(failures(), 1..12),
        proven in any::<bool>(),
        measurable in any::<bool>(),
        before in any::<bool>(),
        max_iterations in 1u32..8,
        max_calls in 1u32..30,
    ) {
        let mut plan = Plan { measurable, ..plan() };
        plan.budget.max_iterations = max_iterations;
        plan.budget.max_calls = max_calls;
        plan.method.trial = if before { TrialOrder::BeforeRank } else { TrialOrder::AfterRank };
        let mut world = World::new(plan, failing);
        world.rounds = rounds.into();
        world.evaluations = verdict.into_iter().map(evaluation).collect();
        world.failures = failed.into();
        world.proven = proven;
        let reason = world.run();
        prop_assert!(reason.is_some());
        let used = &world.state.used;
        prop_assert!(used.iterations <= max_iterations && used.calls <= max_calls, "{used:?}");
        if matches!(reason, Some(StopReason::GoalMet | StopReason::AlreadyMet)) {
            let proof = world.state.proof.as_ref().unwrap();
            prop_assert!(proof.holds && proof.level.is_some() && proof.tree == world.state.head_tree);
            prop_assert!(crate::checks::failing(&world.state.head_receipts).is_empty());
        }
        for iteration in &world.state.iterations {
            if iteration.accepted {
                let winner = iteration.candidate(iteration.winner.as_ref().unwrap()).unwrap();
                prop_assert!(winner.trial.as_ref().unwrap().outcome.acceptable());
            }
        }
    }

    #[test]
    fn a_journal_cut_anywhere_replays_to_a_state_that_goes_on_to_the_same_end(
        rounds in prop::collection::vec(fates(), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let world = |rounds: &[Vec<Fate>]| {
            let mut world = World::new(plan(), 3);
            world.rounds = rounds.to_vec().into();
            world.step = SignedDuration::ZERO;
            world
        };
        let mut whole = world(&rounds);
        let reason = whole.run();
        let at = cut.index(whole.records.len()) + 1;
        let mut resumed = world(&rounds);
        resumed.records = whole.records[..at].to_vec();
        resumed.state = State::replay(&resumed.records).unwrap();
        prop_assert_eq!(resumed.run(), reason);
        prop_assert_eq!(&resumed.state.head_tree, &whole.state.head_tree);
        prop_assert_eq!(resumed.state.used.iterations, whole.state.used.iterations);
        let folded = State::replay(&whole.records).unwrap();
        prop_assert_eq!(&folded, &whole.state);
        let json = serde_json::to_string(&whole.state).unwrap();
        let read: BTreeMap<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        prop_assert!(!read.is_empty());
    }
}

fn raised(id: &str, summary: &str) -> OpenIssue {
    OpenIssue {
        id: id.into(),
        severity: Severity::High,
        summary: summary.into(),
        file: Some("a.rs".into()),
        line_start: Some(1),
        line_end: None,
        recommendation: "r".into(),
    }
}

#[test]
fn an_issue_set_aside_comes_back_only_with_something_new_to_go_by() {
    let mut world = World::new(plan(), 1);
    let mut evaluate = |content: &str, issues: Vec<OpenIssue>| -> Vec<String> {
        world.emit(Event::IssuesSeen { contents: [("a.rs".to_owned(), content.to_owned())].into() });
        let evaluation = Evaluation { open_issues: issues, ..evaluation(Verdict::InProgress) };
        world.emit(Event::Evaluated { evaluation });
        world.state.open_issues.iter().map(|issue| issue.id.clone()).collect()
    };
    assert_eq!(evaluate("one", vec![raised("leak", "A handle leaks")]), ["leak"]);
    assert!(evaluate("one", vec![]).is_empty());
    assert!(evaluate("one", vec![raised("leak", "It leaks, really")]).is_empty());
    assert!(evaluate("one", vec![raised("other-name", "a handle LEAKS.")]).is_empty());
    assert_eq!(evaluate("one", vec![raised("typo", "A name is wrong")]), ["typo"]);
    assert_eq!(evaluate("two", vec![raised("leak", "It leaks, really")]), ["leak"]);
    // Gone with a change of its file, it was closed and not set aside: raised again, it counts.
    assert!(evaluate("three", vec![]).is_empty());
    assert_eq!(evaluate("three", vec![raised("leak", "It leaks again")]), ["leak"]);
}

#[test]
fn agents_that_fail_beside_others_mean_fewer_proposals_and_a_common_failure_is_the_rounds() {
    let mut method = plan();
    method.method.propose = Propose::Agent;
    let mut world = World::new(method.clone(), 1);
    world.failures = VecDeque::from([None, Some(FailureClass::Unknown), Some(FailureClass::Refused), None]);
    world.rounds = VecDeque::from([vec![Fate::Tried(TrialOutcome::Better, 0)]]);
    world.evaluations = VecDeque::from([evaluation(Verdict::InProgress)]);
    assert_eq!(world.run(), Some(StopReason::GoalMet));
    let mut world = World::new(method, 1);
    world.failures = VecDeque::from([None, Some(FailureClass::SignIn)]);
    assert_eq!(world.run(), Some(StopReason::CodexUnavailable));
    // One call for the evaluation, and one for each agent.
    assert_eq!(world.state.used.calls, 1 + world.state.plan.method.nproposals);
    assert_eq!(State::replay(&world.records).unwrap(), world.state);
}

#[test]
fn as_many_candidates_are_tried_at_once_as_there_are_jobs() {
    let mut method = plan();
    method.method.jobs = 2;
    method.method.trial = TrialOrder::BeforeRank;
    let mut world = World::new(method, 1);
    world.rounds = VecDeque::from([vec![Fate::Tried(TrialOutcome::Better, 0); 3]]);
    let mut together = Vec::new();
    while let Some(effect) = decide(&world.state, world.now) {
        match &effect {
            Effect::TryTogether { ids } => together.push(ids.len()),
            Effect::Try { .. } => together.push(1),
            _ => {}
        }
        world.perform(effect);
    }
    assert_eq!(together, [2, 1]);
}

/// Plays a loop of two good rounds through a storm of this seed.
fn storm(plan: Plan, seed: u64) -> World {
    let mut world = World::new(plan, 2);
    world.rounds = VecDeque::from([vec![Fate::Tried(BETTER, 1); 2], vec![Fate::Tried(BETTER, 0)]]);
    world.evaluations = VecDeque::from([evaluation(Verdict::InProgress)]);
    world.dice = Some(Dice(seed));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_storm_passes_no_budget_by_more_than_the_call_in_flight_and_ends_right_where_the_budget_allows(
        seed in any::<u64>(),
        kind in 0u32..6,
        size in 1u64..40,
        agents in any::<bool>(),
    ) {
        let mut plan = plan();
        let price = crate::plan::Price {
            input: crate::plan::Money { micros: 2_000_000 },
            cached_input: None,
            output: crate::plan::Money { micros: 10_000_000 },
        };
        plan.codex.prices.insert("default".into(), price);
        if agents {
            plan.method.propose = Propose::Agent;
        }
        let budget = &mut plan.budget;
        match kind {
            0 => budget.max_calls = u32::try_from(size).unwrap(),
            1 => budget.max_tokens = Some(size * 5_000),
            2 => budget.max_iterations = 1 + u32::try_from(size).unwrap() % 3,
            3 => budget.max_time_ms = size * 5_000,
            4 => budget.max_cost = Some(crate::plan::Money { micros: size * 20_000 }),
            // No less than what any storm needs.
            _ => budget.max_time_ms = 365 * 86_400_000,
        }
        let ample = kind == 5;
        let mut world = storm(plan, seed);
        let mut reopened = 0;
        let reason = loop {
            let Some(effect) = decide(&world.state, world.now) else {
                let reason = world.state.stop.as_ref().and_then(|stop| stop.reason).unwrap();
                let gave_in = matches!(
                    reason,
                    StopReason::CodexUnavailable | StopReason::RateLimited | StopReason::NoUsableProposals
                );
                if !(gave_in && ample && reopened < 60) {
                    break reason;
                }
                reopened += 1;
                world.emit(Event::WorkerStarted(Worker { pid: 1, start_time: None, log: None }));
                world.emit(Event::Reopened { rounds: None, dry_run: false });
                continue;
            };
            let calls_begin = matches!(effect, Effect::Ask { .. } | Effect::AskAgents { .. });
            if calls_begin {
                let (used, budget) = (&world.state.used, &world.state.plan.budget);
                prop_assert!(used.calls < budget.max_calls, "{used:?}");
                prop_assert!(budget.max_tokens.is_none_or(|max| used.tokens.total() < max), "{used:?}");
                prop_assert!(budget.max_cost.is_none_or(|max| used.cost < max), "{used:?}");
                prop_assert!(world.state.time_used_ms(world.now) <= budget.max_time_ms, "{used:?}");
            }
            world.perform(effect);
            prop_assert!(world.state.used.calls <= world.state.plan.budget.max_calls);
            prop_assert!(world.state.used.iterations <= world.state.plan.budget.max_iterations);
        };
        if ample {
            prop_assert_eq!(reason, StopReason::GoalMet);
        }
        // No wait is begun that the time cannot hold: only the calls and checks under way go past it.
        prop_assert!(world.state.used.time_ms <= world.state.plan.budget.max_time_ms + 15_000);
        let counted: u32 = world.state.failures.iter().map(|failure| failure.count).sum();
        let failed = world.records.iter().filter(|record| matches!(
            &record.event,
            Event::CallFinished { end: CallEnd::Failed { .. }, .. } | Event::AgentFinished { end: CallEnd::Failed { .. }, .. }
        ));
        prop_assert_eq!(counted as usize, failed.count());
        prop_assert_eq!(State::replay(&world.records).unwrap(), world.state);
    }
}

#[test]
fn calls_are_kept_for_the_evaluation_that_alone_can_claim_the_goal() {
    use CallKind::{Evaluate, Rank, Suggest};
    let words = |max_calls| {
        let mut plan = Plan { measurable: false, ..plan() };
        plan.budget.max_calls = max_calls;
        let mut world = World::new(plan, 1);
        world.rounds = VecDeque::from([vec![Fate::Tried(BETTER, 0), Fate::Tried(BETTER, 0)]]);
        world.evaluations = VecDeque::from([evaluation(Verdict::InProgress), evaluation(Verdict::GoalMet)]);
        (world.run(), world.asked)
    };
    assert_eq!(words(2), (Some(StopReason::BudgetCalls), vec![Evaluate]));
    // The judge is done without before the evaluation is.
    assert_eq!(words(3), (Some(StopReason::GoalMet), vec![Evaluate, Suggest, Evaluate]));
    assert_eq!(words(4), (Some(StopReason::GoalMet), vec![Evaluate, Suggest, Rank, Evaluate]));
}

#[test]
fn what_was_measured_better_is_taken_where_a_budget_ends_before_the_ranking() {
    let two = VecDeque::from([vec![Fate::Tried(BETTER, 1), Fate::Tried(BETTER, 0)]]);
    let changes: [fn(&mut Budget); 3] =
        [|budget| budget.max_calls = 2, |budget| budget.max_tokens = Some(220), |budget| budget.max_time_ms = 2_000];
    for (number, change) in changes.into_iter().enumerate() {
        let mut plan = plan();
        plan.method.trial = TrialOrder::BeforeRank;
        change(&mut plan.budget);
        let mut world = World::new(plan, 2);
        world.step = SignedDuration::from_millis(100);
        world.rounds.clone_from(&two);
        assert_eq!(world.run(), Some(StopReason::GoalMet), "{number}: {:?}", world.state.stop);
        let iteration = &world.state.iterations[0];
        assert_eq!(iteration.winner.as_deref(), Some("r0-1"), "the fewest failing tests");
        let said = &iteration.given_up[0];
        assert!(said.kind == CallKind::Rank && said.reason.contains("what was measured decides"), "{said:?}");
        assert!(!world.asked.contains(&CallKind::Rank));
    }
    // An opinion is still wanted where nothing was measured better.
    let mut plan = plan();
    plan.method.trial = TrialOrder::BeforeRank;
    plan.budget.max_calls = 2;
    let mut world = World::new(plan, 0);
    world.rounds = VecDeque::from([vec![Fate::Tried(TrialOutcome::Neutral, 0), Fate::Tried(TrialOutcome::Neutral, 0)]]);
    assert_eq!(world.run(), Some(StopReason::BudgetCalls));
    assert!(world.state.iterations.iter().all(|iteration| !iteration.accepted));
}

#[test]
fn answers_that_cannot_be_used_are_rounds_without_a_usable_patch_and_not_a_codex_out_of_reach() {
    let mut world = World::new(plan(), 2);
    let bad = Some(FailureClass::BadAnswer);
    world.failures = VecDeque::from([None, bad, bad, None, bad]);
    assert_eq!(world.run(), Some(StopReason::NoUsableProposals));
    assert_eq!(world.state.used.iterations, 2);
    assert_eq!(world.state.failures[0].count, 4);
}

#[test]
fn money_is_a_budget_like_any_other_and_needs_a_price() {
    let mut plan = plan();
    plan.budget.max_cost = Some(crate::plan::Money { micros: 500 });
    let mut unpriced = World::new(plan.clone(), 2);
    assert_eq!((unpriced.run(), unpriced.asked.len()), (Some(StopReason::BudgetCost), 0));
    let price = crate::plan::Money { micros: 1_000_000 };
    plan.codex.prices.insert("default".into(), crate::plan::Price { input: price, cached_input: None, output: price });
    let mut world = World::new(plan, 2);
    assert_eq!(world.run(), Some(StopReason::BudgetCost));
    // 110 micros a call: the fifth passes 500, and is the last.
    assert_eq!((world.asked.len(), world.state.used.cost.micros), (5, 550));
}
