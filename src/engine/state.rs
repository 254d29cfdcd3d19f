//! The state of a loop: a fold over its events, nothing else.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::compare::Excused;
use super::event::{
    Baseline, CallEnd, CallFailure, Event, FailureClass, Prepared, Proof, Proposed, Record, Started, Tokens, Trial,
    Worker,
};
use super::stop::StopReason;
use crate::answers::{Evaluation, OpenIssue, Ranking, Verdict};
use crate::checks::Receipts;
use crate::guards::Code;
use crate::plan::{CallKind, Money, Plan};

/// A call that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    pub number: u32,
    pub kind: CallKind,
    pub repair: bool,
    pub started_at: Timestamp,
    pub prompt_chars: u64,
    /// `None`: Codex's own default.
    pub model: Option<String>,
    /// `None` while it runs, or where its worker died.
    pub end: Option<CallEnd>,
}

/// A Codex run that edits a work tree of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its place among the round's agents, from 0.
    pub slot: u32,
    pub call: u32,
    pub started_at: Timestamp,
    pub prompt_chars: u64,
    /// `None`: Codex's own default.
    pub model: Option<String>,
    /// `None` while it works, or where its worker died.
    pub end: Option<CallEnd>,
}

impl Agent {
    /// Says whether it came to its end with an answer.
    pub fn answered(&self) -> bool {
        matches!(self.end, Some(CallEnd::Answered { .. }))
    }

    /// Says whether it was cut off by the loop's own end, so that it is worth asking again.
    pub fn was_stopped(&self) -> bool {
        matches!(&self.end, Some(CallEnd::Failed { failure, .. }) if failure.class == FailureClass::Stopped)
    }
}

/// The question the loop is trying to get answered, with what went wrong so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Failures since the last answer, in order, with when each was known.
    pub failures: Vec<(Timestamp, CallFailure)>,
    /// Whether the wait that the last failure asks for is over.
    pub waited: bool,
    /// The answer that failed validation, for the repair call.
    pub bad_answer_file: Option<String>,
    /// A valid answer not yet taken in.
    pub answer_file: Option<String>,
}

/// A proposal on its way through guards and trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    pub proposed: Proposed,
    /// Whether git wrote its patch, so that there is nothing to repair in it.
    pub exact: bool,
    pub prepared: Option<Prepared>,
    /// Whether the patch went back to the model once.
    pub mended: bool,
    pub trial_started: bool,
    pub trial: Option<Trial>,
}

impl Candidate {
    /// Says whether it applies and no guard refuses it.
    pub fn is_ready(&self) -> bool {
        matches!(self.prepared, Some(Prepared::Ready { .. }))
    }

    /// Returns the fingerprint of its change, where it is ready.
    pub fn fingerprint(&self) -> Option<&str> {
        match &self.prepared {
            Some(Prepared::Ready { fingerprint, .. }) => Some(fingerprint),
            _ => None,
        }
    }

    /// Returns the tree with the candidate applied, where it applies.
    pub fn tree(&self) -> Option<&str> {
        match &self.prepared {
            Some(Prepared::Ready { tree, .. }) => Some(tree),
            _ => None,
        }
    }
}

/// A step without a usable answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenUp {
    pub kind: CallKind,
    pub reason: String,
    /// What the last call failed for; `None` where none was made.
    pub class: Option<FailureClass>,
}

/// How often calls failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureCount {
    pub class: FailureClass,
    pub count: u32,
    /// What Codex said the last time.
    pub last: String,
    #[schemars(with = "String")]
    pub last_at: Timestamp,
}

/// One pass through the six steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Iteration {
    pub index: u32,
    /// A closing evaluation after the last iteration of the budget: proves or ends, proposes nothing.
    pub closing: bool,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub evaluation: Option<Evaluation>,
    pub second_evaluation: Option<Evaluation>,
    /// What the goal-met claim came to, where proof refuted it.
    pub refuted_claim: Option<String>,
    pub proofs: Vec<Proof>,
    /// The agents of the suggest step, one for each place.
    pub agents: Vec<Agent>,
    /// `None` until the suggest step is done.
    pub candidates: Option<Vec<Candidate>>,
    /// Whether patches that did not apply were sent back to the model.
    pub mend_asked: bool,
    pub ranking: Option<Ranking>,
    pub winner: Option<String>,
    pub accepted: bool,
    /// Tree at the iteration's end.
    pub tree: String,
    pub given_up: Vec<GivenUp>,
    pub calls: u32,
    pub tokens: Tokens,
    /// Whether something measured got better, or an open issue with a file was closed. `None` while only the next
    /// evaluation can tell.
    pub progress: Option<bool>,
}

impl Iteration {
    /// Returns the candidate with this id.
    pub fn candidate(&self, id: &str) -> Option<&Candidate> {
        self.candidates.iter().flatten().find(|candidate| candidate.proposed.id == id)
    }

    /// Returns the candidates that apply and pass the guards.
    pub fn ready(&self) -> Vec<&Candidate> {
        self.candidates.iter().flatten().filter(|candidate| candidate.is_ready()).collect()
    }

    /// Says whether this kind of call was given up in this iteration.
    pub fn gave_up(&self, kind: CallKind) -> bool {
        self.given_up.iter().any(|given_up| given_up.kind == kind)
    }

    /// Says whether an infrastructure failure kept the round from making proposals: such a round never counts
    /// against the loop. Answers that came and could not be used are the model's own fault, and count.
    pub fn infrastructure_failed(&self) -> bool {
        let suggest = self.given_up.iter().find(|given_up| given_up.kind == CallKind::Suggest);
        suggest.is_some_and(|given_up| given_up.class != Some(FailureClass::BadAnswer))
    }
}

/// An issue that an evaluation set aside although nothing about it had changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettledIssue {
    pub id: String,
    pub file: Option<String>,
    pub summary: String,
    /// What the evaluation that set it aside said.
    pub reason: String,
    /// What it was judged by; something else is new evidence.
    pub mark: String,
}

/// Settled issues that are remembered, the newest.
const SETTLED_KEPT: usize = 50;

/// How far the end of the loop has got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// `None` for a dry run that did what it was asked.
    pub reason: Option<StopReason>,
    pub message: String,
    pub hint: Option<String>,
    pub at: Timestamp,
}

/// Bringing the result into the user's work tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Landing {
    pub from: String,
    pub to: String,
    /// `None` while it is under way.
    pub landed: Option<bool>,
    pub reason: Option<String>,
}

/// What the loop is waiting for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub cause: FailureClass,
    pub until: Timestamp,
    pub message: String,
}

/// The budget as used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    pub iterations: u32,
    /// Wall clock of workers up to the last event, in milliseconds.
    pub time_ms: u64,
    pub calls: u32,
    pub tokens: Tokens,
    /// What the tokens of calls to models with a price cost.
    pub cost: Money,
}

/// The whole state of one loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub started: Started,
    pub started_at: Timestamp,
    pub updated_at: Timestamp,
    /// Number of events folded in.
    pub seq: u64,
    /// The plan with raised budgets and changed models.
    pub plan: Plan,
    pub worker: Option<Worker>,
    /// When the present worker began; `None` where none runs as far as the journal knows.
    pub worker_since: Option<Timestamp>,
    /// Whether rounds only propose and rank.
    pub dry_run: bool,
    /// How many rounds were asked for when the loop was last opened; `None` for as many as the budget holds.
    pub rounds_asked: Option<u32>,
    /// Iterations there were when the loop was last opened.
    pub rounds_before: u32,
    pub baseline: Option<Baseline>,
    /// Tree of the best state so far.
    pub head_tree: String,
    pub head_commit: String,
    /// The user's own version, where their edits were adopted; else the seed is.
    pub own_tree: Option<String>,
    /// Receipts of the best state.
    pub head_receipts: Receipts,
    /// Trees the loop has stood on, oldest first: the seed and every accepted state.
    pub trees: Vec<String>,
    pub iterations: Vec<Iteration>,
    pub attempt: Attempt,
    pub call: Option<Call>,
    pub waiting: Option<Waiting>,
    pub used: Used,
    /// Failed calls by class, in the order in which the classes first came up.
    pub failures: Vec<FailureCount>,
    /// Ids found flaky on the way.
    pub flaky: BTreeSet<String>,
    /// Issues of the latest evaluation.
    pub open_issues: Vec<OpenIssue>,
    /// What each open issue was judged by when it was last raised, by id.
    pub issue_marks: BTreeMap<String, String>,
    /// Digests of the files that issues speak of, as the last evaluation found them.
    pub issue_files: BTreeMap<String, String>,
    /// Issues set aside, which count no more unless there is something new to go by.
    pub settled: Vec<SettledIssue>,
    /// Ids of issues that accepted patches closed.
    pub closed_issues: BTreeSet<String>,
    /// State ids seen, with how often.
    pub state_ids: BTreeMap<String, u32>,
    /// The proof that ended the loop, or the last attempt.
    pub proof: Option<Proof>,
    pub stop: Option<Stop>,
    pub landing: Option<Landing>,
    pub finished: bool,
    pub ended_at: Option<Timestamp>,
}

impl State {
    /// Returns the state after a journal's first event, or `None` where that is not a start.
    pub fn begin(record: &Record) -> Option<Self> {
        let Event::Started(started) = &record.event else { return None };
        let started = (**started).clone();
        Some(Self {
            dry_run: started.plan.dry_run,
            rounds_asked: started.plan.dry_run.then_some(1),
            rounds_before: 0,
            plan: started.plan.clone(),
            head_tree: started.seed_tree.clone(),
            head_commit: started.seed_commit.clone(),
            trees: vec![started.seed_tree.clone()],
            started_at: record.at,
            updated_at: record.at,
            seq: record.seq,
            started,
            worker: None,
            worker_since: None,
            baseline: None,
            own_tree: None,
            head_receipts: Vec::new(),
            iterations: Vec::new(),
            attempt: Attempt::default(),
            call: None,
            waiting: None,
            used: Used::default(),
            failures: Vec::new(),
            flaky: BTreeSet::new(),
            open_issues: Vec::new(),
            issue_marks: BTreeMap::new(),
            issue_files: BTreeMap::new(),
            settled: Vec::new(),
            closed_issues: BTreeSet::new(),
            state_ids: BTreeMap::new(),
            proof: None,
            stop: None,
            landing: None,
            finished: false,
            ended_at: None,
        })
    }

    /// Folds a whole journal, or `None` where it holds no start.
    pub fn replay(records: &[Record]) -> Option<Self> {
        let (first, rest) = records.split_first()?;
        let mut state = Self::begin(first)?;
        for record in rest {
            state.apply(record);
        }
        Some(state)
    }

    /// Returns the iteration under way, if one is.
    pub fn current(&self) -> Option<&Iteration> {
        self.iterations.last().filter(|iteration| iteration.ended_at.is_none())
    }

    /// Returns what does not count when receipts are compared.
    pub fn excused(&self) -> Excused {
        let mut excused = Excused { flaky: self.flaky.clone(), ..Excused::default() };
        if let Some(baseline) = &self.baseline {
            excused.flaky.extend(baseline.flaky.iter().cloned());
            excused.known_red.clone_from(&baseline.known_red);
        }
        excused
    }

    /// Returns the seed's receipts.
    pub fn seed_receipts(&self) -> &[crate::checks::Receipt] {
        self.baseline.as_ref().map_or(&[], |baseline| &baseline.receipts)
    }

    /// Returns the wall clock used by workers at `now`, in milliseconds.
    pub fn time_used_ms(&self, now: Timestamp) -> u64 {
        let running = self.worker_since.map_or(0, |_| millis_between(self.updated_at, now));
        self.used.time_ms.saturating_add(running)
    }

    /// Returns the iterations that count as rounds of the loop (a closing evaluation is none).
    pub fn rounds(&self) -> impl DoubleEndedIterator<Item = &Iteration> {
        self.iterations.iter().filter(|iteration| !iteration.closing)
    }

    /// Returns the tree that is the user's own: the seed, or the seed with the edits they had adopted.
    pub fn users_tree(&self) -> &str {
        self.own_tree.as_deref().unwrap_or(&self.started.seed_tree)
    }

    /// Says whether anything was accepted.
    pub fn has_changes(&self) -> bool {
        self.head_tree != self.started.seed_tree
    }

    fn current_mut(&mut self) -> Option<&mut Iteration> {
        self.iterations.last_mut().filter(|iteration| iteration.ended_at.is_none())
    }

    /// Folds one event in. Events that do not fit the state change nothing: a journal that was cut off or written by
    /// a dying worker stays readable.
    pub fn apply(&mut self, record: &Record) {
        let at = record.at;
        // The time between a worker's death and the next worker's start is nobody's.
        if self.worker_since.is_some() && !matches!(record.event, Event::WorkerStarted(_)) {
            self.used.time_ms = self.used.time_ms.saturating_add(millis_between(self.updated_at, at));
        }
        self.updated_at = at;
        self.seq = record.seq;
        match &record.event {
            Event::WorkerStarted(worker) => {
                self.worker = Some(worker.clone());
                self.worker_since = Some(at);
                self.waiting = None;
            }
            Event::WorkerEnded => self.worker_since = None,
            Event::BudgetRaised { max_iterations, max_time_ms, max_calls, max_tokens, max_cost } => {
                let budget = &mut self.plan.budget;
                budget.max_iterations = max_iterations.unwrap_or(budget.max_iterations);
                budget.max_time_ms = max_time_ms.unwrap_or(budget.max_time_ms);
                budget.max_calls = max_calls.unwrap_or(budget.max_calls);
                budget.max_tokens = max_tokens.or(budget.max_tokens);
                budget.max_cost = max_cost.or(budget.max_cost);
            }
            Event::ModelChanged { model, efforts } => {
                self.plan.codex.model.clone_from(model);
                self.plan.codex.efforts.clone_from(efforts);
            }
            Event::Reopened { rounds, dry_run } => {
                self.dry_run = *dry_run;
                self.rounds_asked = *rounds;
                self.rounds_before = self.iterations.len() as u32;
                if self.baseline.as_ref().is_some_and(|baseline| baseline.unusable.is_some()) {
                    self.baseline = None;
                }
                // A window that ran out starts afresh: the person asked for more rounds knowing that.
                for iteration in &mut self.iterations {
                    iteration.progress = iteration.progress.or(Some(false));
                }
                if self.stop.as_ref().and_then(|stop| stop.reason) == Some(StopReason::Blocked)
                    && let Some(iteration) = self.current_mut()
                {
                    // Somebody has removed what blocked, or believes so; the old word says nothing about that.
                    iteration.evaluation = None;
                }
                self.stop = None;
                self.landing = None;
                self.finished = false;
                self.ended_at = None;
                // Old failures are forgiven; an answer that was paid for is still to be read.
                self.attempt = Attempt { answer_file: self.attempt.answer_file.take(), ..Attempt::default() };
                self.state_ids.clear();
            }
            Event::Adopted { tree, commit, own_tree, receipts } => {
                self.attempt = Attempt::default();
                self.head_tree.clone_from(tree);
                self.head_commit.clone_from(commit);
                self.own_tree = Some(own_tree.clone());
                self.head_receipts.clone_from(receipts);
                self.trees.push(tree.clone());
                if let Some(iteration) = self.current_mut() {
                    iteration.tree.clone_from(tree);
                    if !iteration.accepted {
                        // What was said of the tree before, and proposed for it, does not fit this one.
                        iteration.evaluation = None;
                        iteration.second_evaluation = None;
                        iteration.refuted_claim = None;
                        iteration.ranking = None;
                        iteration.mend_asked = false;
                        iteration.candidates = None;
                    }
                }
            }
            Event::BaselineTaken { baseline } => {
                self.head_receipts.clone_from(&baseline.receipts);
                self.baseline = Some((**baseline).clone());
            }
            Event::IterationStarted { index, closing } => {
                if !closing {
                    self.used.iterations += 1;
                }
                self.attempt = Attempt::default();
                self.iterations.push(Iteration {
                    index: *index,
                    closing: *closing,
                    started_at: at,
                    ended_at: None,
                    evaluation: None,
                    second_evaluation: None,
                    refuted_claim: None,
                    proofs: Vec::new(),
                    agents: Vec::new(),
                    candidates: None,
                    mend_asked: false,
                    ranking: None,
                    winner: None,
                    accepted: false,
                    tree: self.head_tree.clone(),
                    given_up: Vec::new(),
                    calls: 0,
                    tokens: Tokens::default(),
                    progress: None,
                });
            }
            Event::CallStarted { call, kind, repair, prompt_chars, model, .. } => {
                self.used.calls += 1;
                if let Some(iteration) = self.current_mut() {
                    iteration.calls += 1;
                }
                self.call = Some(Call {
                    number: *call,
                    kind: *kind,
                    repair: *repair,
                    started_at: at,
                    prompt_chars: *prompt_chars,
                    model: model.clone(),
                    end: None,
                });
            }
            Event::CallFinished { call, tokens, end, .. } => {
                let model = self.call.as_ref().and_then(|started| started.model.clone());
                self.pay(model.as_deref(), tokens);
                self.count_failure(end);
                if let Some(iteration) = self.current_mut() {
                    iteration.tokens.add(tokens);
                }
                if let Some(started) = self.call.as_mut().filter(|started| started.number == *call) {
                    started.end = Some(end.clone());
                }
                match end {
                    CallEnd::Answered { answer_file } => {
                        self.attempt.answer_file = Some(answer_file.clone());
                    }
                    CallEnd::Failed { failure, answer_file } => {
                        self.attempt.failures.push((at, failure.clone()));
                        self.attempt.waited = false;
                        if answer_file.is_some() {
                            self.attempt.bad_answer_file.clone_from(answer_file);
                        }
                    }
                }
            }
            Event::AgentStarted { call, slot, prompt_chars, model, .. } => {
                self.used.calls += 1;
                if let Some(iteration) = self.current_mut() {
                    iteration.calls += 1;
                    iteration.agents.retain(|agent| agent.slot != *slot);
                    let (slot, call, prompt_chars, model) = (*slot, *call, *prompt_chars, model.clone());
                    iteration.agents.push(Agent { slot, call, started_at: at, prompt_chars, model, end: None });
                }
            }
            Event::AgentFinished { call, tokens, end, .. } => {
                let agents = self.current().map(|iteration| &iteration.agents[..]).unwrap_or_default();
                let model = agents.iter().find(|agent| agent.call == *call).and_then(|agent| agent.model.clone());
                self.pay(model.as_deref(), tokens);
                self.count_failure(end);
                let mut failure = None;
                if let Some(iteration) = self.current_mut() {
                    iteration.tokens.add(tokens);
                    if let Some(agent) = iteration.agents.iter_mut().find(|agent| agent.call == *call) {
                        agent.end = Some(end.clone());
                    }
                    failure = common_failure(&iteration.agents);
                }
                if let Some(failure) = failure {
                    self.attempt.failures.push((at, failure));
                    self.attempt.waited = false;
                }
            }
            Event::AgentsProposed { proposals } => {
                self.attempt = Attempt::default();
                if let Some(iteration) = self.current_mut() {
                    let exact = |proposed| Candidate { exact: true, ..fresh(proposed) };
                    iteration.candidates = Some(proposals.iter().cloned().map(exact).collect());
                }
            }
            Event::WaitStarted { cause, until, message } => {
                self.waiting = Some(Waiting { cause: *cause, until: *until, message: message.clone() });
            }
            Event::WaitFinished => {
                self.waiting = None;
                self.attempt.waited = true;
            }
            Event::StepGivenUp { kind, reason, class } => {
                self.attempt = Attempt::default();
                if let Some(iteration) = self.current_mut() {
                    iteration.given_up.push(GivenUp { kind: *kind, reason: reason.clone(), class: *class });
                    match kind {
                        CallKind::Suggest => iteration.candidates = Some(Vec::new()),
                        CallKind::Repair => iteration.mend_asked = true,
                        CallKind::SecondEvaluation => {
                            iteration.refuted_claim =
                                Some(format!("the claim could not be confirmed: no second evaluation ({reason})"));
                        }
                        CallKind::Evaluate | CallKind::Rank => {}
                    }
                }
            }
            Event::IssuesSeen { contents } => self.issue_files.clone_from(contents),
            Event::Evaluated { evaluation } => {
                self.attempt = Attempt::default();
                self.credit_closed_issues(evaluation);
                self.settle(evaluation);
                if let Some(iteration) = self.current_mut() {
                    iteration.evaluation = Some(evaluation.clone());
                }
            }
            Event::SecondEvaluated { evaluation } => {
                self.attempt = Attempt::default();
                if let Some(iteration) = self.current_mut() {
                    iteration.second_evaluation = Some(evaluation.clone());
                    if !agrees(evaluation) {
                        iteration.refuted_claim =
                            Some(format!("a second evaluation does not agree: {}", evaluation.rationale));
                    }
                }
                if agrees(evaluation) {
                    if let Some(proof) = &mut self.proof {
                        proof.level = proof.level.or(Some(crate::plan::ProofLevel::Reviewed));
                    }
                } else {
                    self.open_issues.clone_from(&evaluation.open_issues);
                }
            }
            Event::Suggested { proposals } => {
                self.attempt = Attempt::default();
                if let Some(iteration) = self.current_mut() {
                    iteration.candidates = Some(proposals.iter().cloned().map(fresh).collect());
                }
            }
            Event::PatchesMended { proposals } => {
                self.attempt = Attempt::default();
                if let Some(iteration) = self.current_mut() {
                    iteration.mend_asked = true;
                    for mended in proposals {
                        for candidate in iteration.candidates.iter_mut().flatten() {
                            if candidate.proposed.id == mended.id {
                                candidate.proposed = mended.clone();
                                candidate.prepared = None;
                                candidate.mended = true;
                            }
                        }
                    }
                }
            }
            Event::ProposalPrepared { id, prepared } => {
                self.with_candidate(id, |candidate| candidate.prepared = Some((**prepared).clone()));
            }
            Event::ProposalRanked { ranked } => {
                self.attempt = Attempt::default();
                if let Some(iteration) = self.current_mut() {
                    iteration.ranking = Some(ranked.ranking.clone());
                }
            }
            Event::TrialStarted { id } => self.with_candidate(id, |candidate| candidate.trial_started = true),
            Event::ProposalTried { trial } => {
                *self.state_ids.entry(trial.state_id.clone()).or_default() += 1;
                self.flaky.extend(trial.flaky.iter().cloned());
                let id = trial.id.clone();
                self.with_candidate(&id, |candidate| candidate.trial = Some((**trial).clone()));
            }
            Event::Started(_) | Event::ProofStarted { .. } => {}
            Event::ProofFinished { proof } => {
                let claimed = self.current().and_then(|iteration| iteration.evaluation.as_ref());
                let claims = claimed.is_some_and(|evaluation| evaluation.verdict == Verdict::GoalMet);
                self.proof = Some((**proof).clone());
                if let Some(iteration) = self.current_mut() {
                    if claims && !proof.holds {
                        iteration.refuted_claim = Some(proof.reason.clone());
                    }
                    iteration.proofs.push((**proof).clone());
                }
            }
            Event::Accepted { id, tree, commit } => {
                self.head_tree.clone_from(tree);
                self.head_commit.clone_from(commit);
                self.trees.push(tree.clone());
                let mut receipts = None;
                if let Some(iteration) = self.current_mut() {
                    iteration.winner = Some(id.clone());
                    iteration.accepted = true;
                    iteration.tree.clone_from(tree);
                    if let Some(trial) = iteration.candidate(id).and_then(|candidate| candidate.trial.as_ref()) {
                        receipts = Some(trial.receipts.clone());
                        let better = trial.failing_after < trial.failing_before || trial.accepts_turned_green > 0;
                        iteration.progress = better.then_some(true);
                    }
                }
                if let Some(receipts) = receipts {
                    self.head_receipts = receipts;
                }
            }
            Event::IterationFinished { .. } => {
                if let Some(iteration) = self.current_mut() {
                    iteration.ended_at = Some(at);
                    if !iteration.accepted {
                        iteration.progress = Some(false);
                    }
                    // What lost is told by its reason and its failing ids; the passing ones are in the files.
                    let winner = iteration.winner.clone();
                    for candidate in iteration.candidates.iter_mut().flatten() {
                        if winner.as_ref() != Some(&candidate.proposed.id)
                            && let Some(trial) = &mut candidate.trial
                        {
                            for receipt in &mut trial.receipts {
                                if let Some(ids) = &mut receipt.ids {
                                    ids.passed.clear();
                                }
                                receipt.ids_complete = false;
                            }
                        }
                    }
                }
            }
            Event::Stopped { reason, message, hint } => {
                self.waiting = None;
                self.stop = Some(Stop { reason: *reason, message: message.clone(), hint: hint.clone(), at });
            }
            Event::LandingStarted { from, to } => {
                self.landing = Some(Landing { from: from.clone(), to: to.clone(), landed: None, reason: None });
            }
            Event::LandingFinished { landed, reason } => {
                let landing = self.landing.get_or_insert_with(|| Landing {
                    from: self.started.seed_tree.clone(),
                    to: self.head_tree.clone(),
                    landed: None,
                    reason: None,
                });
                landing.landed = Some(*landed);
                landing.reason = Some(reason.clone());
            }
            Event::Finished => {
                self.finished = true;
                self.worker_since = None;
                self.ended_at = Some(at);
            }
        }
    }

    /// Books the tokens of a call that has ended.
    fn pay(&mut self, model: Option<&str>, tokens: &Tokens) {
        self.used.tokens.add(tokens);
        if let Some(price) = self.plan.codex.price(model) {
            let cost = price.of(tokens.input, tokens.cached_input, tokens.output);
            self.used.cost.micros = self.used.cost.micros.saturating_add(cost.micros);
        }
    }

    /// Counts a call that failed, unless somebody stopped it.
    fn count_failure(&mut self, end: &CallEnd) {
        let CallEnd::Failed { failure, .. } = end else { return };
        if failure.class == FailureClass::Stopped {
            return;
        }
        let (class, last, last_at) = (failure.class, failure.message.clone(), self.updated_at);
        match self.failures.iter_mut().find(|known| known.class == class) {
            Some(known) => *known = FailureCount { class, count: known.count + 1, last, last_at },
            None => self.failures.push(FailureCount { class, count: 1, last, last_at }),
        }
    }

    /// Returns what an issue is judged by: its file (or the whole tree) and the ids that fail.
    fn mark(&self, issue: &OpenIssue) -> String {
        let place = match &issue.file {
            Some(file) => self.issue_files.get(file).map_or("absent", String::as_str),
            None => &self.head_tree,
        };
        let failing: Vec<String> = crate::checks::failing(&self.head_receipts).into_iter().collect();
        crate::plan::sha256(format!("{place}\0{}", failing.join("\0")))
    }

    /// Takes over an evaluation's issues. One that was open and is gone although nothing about it changed was set
    /// aside; one that was set aside and comes again with nothing new to go by is left out.
    fn settle(&mut self, evaluation: &Evaluation) {
        let listed: BTreeSet<&str> = evaluation.open_issues.iter().map(|issue| issue.id.as_str()).collect();
        for issue in std::mem::take(&mut self.open_issues) {
            let mark = self.mark(&issue);
            if !listed.contains(issue.id.as_str()) && self.issue_marks.get(&issue.id) == Some(&mark) {
                let OpenIssue { id, file, summary, .. } = issue;
                self.settled.retain(|settled| settled.id != id);
                self.settled.push(SettledIssue { id, file, summary, reason: evaluation.rationale.clone(), mark });
            }
        }
        let forgotten = self.settled.len().saturating_sub(SETTLED_KEPT);
        self.settled.drain(..forgotten);
        let mut marks = BTreeMap::new();
        for issue in &evaluation.open_issues {
            let mark = self.mark(issue);
            let settled = |settled: &SettledIssue| {
                settled.mark == mark
                    && (settled.id == issue.id
                        || (settled.file == issue.file && same_words(&settled.summary, &issue.summary)))
            };
            if self.settled.iter().any(settled) {
                continue;
            }
            self.settled.retain(|settled| settled.id != issue.id);
            marks.insert(issue.id.clone(), mark);
            self.open_issues.push(issue.clone());
        }
        self.issue_marks = marks;
    }

    /// Returns the fingerprints of the proposals that would fare no better a second time: those a guard refused, those
    /// that lost their trial on the tree the loop stands on now, and those of the present round. What only lost to a
    /// better one, or was never tried, may come again: it can be the other half of the goal.
    pub fn hopeless_fingerprints(&self) -> Vec<String> {
        let of = |iteration: &Iteration, candidate: &Candidate| match (&candidate.prepared, &candidate.trial) {
            // A duplicate is as hopeless as what it repeats, and that stands here by itself.
            (Some(Prepared::Refused { code: Code::Duplicate, .. }) | None, _) => None,
            (Some(Prepared::Refused { fingerprint, .. }), _) => fingerprint.clone(),
            (Some(Prepared::Ready { fingerprint, .. }), trial) => {
                let same_base = !iteration.accepted && iteration.tree == self.head_tree;
                let lost = trial.as_ref().is_some_and(|trial| match trial.outcome {
                    // Whatever it stands on, it knows the tests by heart.
                    super::event::TrialOutcome::SpecialCased => true,
                    outcome => same_base && !outcome.acceptable(),
                });
                (lost || iteration.ended_at.is_none()).then(|| fingerprint.clone())
            }
        };
        let candidates = |iteration: &'_ Iteration| -> Vec<String> {
            iteration.candidates.iter().flatten().filter_map(|candidate| of(iteration, candidate)).collect()
        };
        self.iterations.iter().flat_map(candidates).collect()
    }

    /// Credits the last accepted round with the issues that this evaluation no longer sees, where they had a file and
    /// were not closed before.
    fn credit_closed_issues(&mut self, evaluation: &Evaluation) {
        let still: BTreeSet<&str> = evaluation.open_issues.iter().map(|issue| issue.id.as_str()).collect();
        let closed: Vec<String> = self
            .open_issues
            .iter()
            .filter(|issue| issue.file.is_some() && !still.contains(issue.id.as_str()))
            .map(|issue| issue.id.clone())
            .filter(|id| !self.closed_issues.contains(id))
            .collect();
        let last = self.iterations.iter_mut().rev().find(|iteration| iteration.ended_at.is_some());
        if let Some(last) = last
            && last.progress.is_none()
        {
            last.progress = Some(!closed.is_empty());
            self.closed_issues.extend(closed);
        }
    }

    fn with_candidate(&mut self, id: &str, change: impl FnOnce(&mut Candidate)) {
        if let Some(iteration) = self.current_mut()
            && let Some(candidate) =
                iteration.candidates.iter_mut().flatten().find(|candidate| candidate.proposed.id == id)
        {
            change(candidate);
        }
    }

    /// Returns the rounds that tell whether the loop gets anywhere: those since it was last opened. Whoever opens a
    /// loop that got nowhere knows of the rounds before.
    pub fn recent_rounds(&self) -> impl DoubleEndedIterator<Item = &Iteration> {
        self.rounds().filter(|iteration| iteration.index > self.rounds_before)
    }

    /// Returns how many finished rounds in a row made no progress, newest first, and leaves out rounds that an
    /// infrastructure failure emptied.
    pub fn stalled_for(&self) -> u32 {
        self.recent_rounds()
            .rev()
            .filter(|iteration| iteration.ended_at.is_some() && !iteration.infrastructure_failed())
            .take_while(|iteration| iteration.progress == Some(false))
            .count() as u32
    }

    /// Returns why each proposal of the loop lost, newest iteration first: id, code and reason.
    pub fn rejections(&self) -> Vec<Rejected> {
        self.iterations.iter().rev().flat_map(rejected).collect()
    }
}

/// Why a proposal lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Rejected {
    pub id: String,
    pub code: Code,
    pub reason: String,
}

/// Returns why each proposal of an iteration lost.
pub fn rejected(iteration: &Iteration) -> Vec<Rejected> {
    use super::event::TrialOutcome;
    let judge_reason = |id: &str| {
        iteration
            .ranking
            .as_ref()
            .and_then(|ranking| ranking.rejections.iter().find(|rejection| rejection.id == id))
            .map(|rejection| rejection.reason.clone())
    };
    iteration
        .candidates
        .iter()
        .flatten()
        .filter(|candidate| iteration.winner.as_ref() != Some(&candidate.proposed.id))
        .filter_map(|candidate| {
            let id = candidate.proposed.id.clone();
            let (code, reason) = match (&candidate.prepared, &candidate.trial) {
                (Some(Prepared::Refused { code, reason, .. }), _) => (*code, reason.clone()),
                (_, Some(trial)) => match trial.outcome {
                    TrialOutcome::Worse => (Code::BreaksCheck, trial.reason.clone()),
                    TrialOutcome::Vacuous => (Code::VacuousPass, trial.reason.clone()),
                    TrialOutcome::SpecialCased => (Code::SpecialCasesTests, trial.reason.clone()),
                    TrialOutcome::NoProgress => (Code::NotSelected, trial.reason.clone()),
                    TrialOutcome::Better | TrialOutcome::Neutral => (
                        Code::NotSelected,
                        judge_reason(&id).unwrap_or_else(|| {
                            format!("tried ({}); another candidate measured or ranked higher", trial.reason)
                        }),
                    ),
                },
                (Some(_), None) if iteration.winner.is_some() => (
                    Code::NotSelected,
                    judge_reason(&id).unwrap_or_else(|| "ranked below the candidate that held".to_owned()),
                ),
                _ => return None,
            };
            Some(Rejected { id, code, reason })
        })
        .collect()
}

/// Says whether a second evaluation confirms the claim: goal-met, and nothing of weight left open.
pub fn agrees(evaluation: &Evaluation) -> bool {
    use crate::answers::Severity;
    evaluation.verdict == Verdict::GoalMet
        && evaluation.completion_claim
        && evaluation.open_issues.iter().all(|issue| issue.severity < Severity::Medium)
}

/// Returns the one failure that a round of agents came to, where all of them have failed: what keeps all from working
/// before what went wrong with one.
fn common_failure(agents: &[Agent]) -> Option<CallFailure> {
    let failures: Vec<&CallFailure> = agents
        .iter()
        .filter_map(|agent| match &agent.end {
            Some(CallEnd::Failed { failure, .. }) if failure.class != FailureClass::Stopped => Some(failure),
            _ => None,
        })
        .collect();
    let lasting = |class| {
        use FailureClass::{Config, Quota, RateLimit, SignIn, TooOld, UsageWindow};
        matches!(class, Config | Quota | RateLimit | SignIn | TooOld | UsageWindow)
    };
    let telling = failures.iter().find(|failure| lasting(failure.class)).or(failures.last());
    telling.filter(|_| failures.len() == agents.len()).map(|failure| (*failure).clone())
}

/// Says whether two sentences are the same but for case, order of words and punctuation.
fn same_words(a: &str, b: &str) -> bool {
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    words(a) == words(b)
}

fn fresh(proposed: Proposed) -> Candidate {
    Candidate { proposed, exact: false, prepared: None, mended: false, trial_started: false, trial: None }
}

/// Returns the time from one instant to a later one in milliseconds, 0 where the clock went backwards.
pub fn millis_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}
