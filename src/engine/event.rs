//! Everything that can happen to a loop. The journal is a list of these, and the state is a fold over them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stop::StopReason;
use crate::answers::{Evaluation, Level, Ranking};
use crate::checks::Receipts;
use crate::guards::Finding;
use crate::patch::HunkMatch;
use crate::plan::{CallKind, Money, Plan, ProofLevel};

pub use crate::codex::{Failure as CallFailure, FailureClass, Usage as Tokens};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the journal, from 1.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// The first thing a journal says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Version of the journal's format.
    pub format: u32,
    pub run_id: String,
    pub goal_hash: String,
    pub plan_hash: String,
    pub plan: Plan,
    /// Tree of the user's work at the start.
    pub seed_tree: String,
    /// Commit made of the seed tree (HEAD itself where the work tree was clean).
    pub seed_commit: String,
    /// HEAD at the start.
    pub head: String,
    /// Version of the program that started the loop.
    pub version: String,
    /// Version of Codex found at the start.
    pub codex_version: String,
}

/// A worker that runs the loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    pub pid: u32,
    /// Start time of the process as the system counts it; tells a reused pid.
    pub start_time: Option<u64>,
    /// Where the worker's messages go, or null for a terminal.
    pub log: Option<String>,
}

/// Where the loop works, and why there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// `worktree` or `in-place`.
    pub kind: PlaceKind,
    /// The folder.
    pub path: String,
    /// Why it is there, where that was decided by measurement.
    pub reason: Option<String>,
}

/// The two kinds of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceKind {
    Worktree,
    InPlace,
}

/// What the checks say of the seed tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    pub place: Place,
    /// One receipt per check, from the place where the loop works.
    pub receipts: Receipts,
    /// Ids whose result differed between two runs of the same tree, and those the plan names.
    pub flaky: BTreeSet<String>,
    /// Ids that are red and may stay so.
    pub known_red: BTreeSet<String>,
    /// Paths that checks write by themselves.
    pub check_writes: BTreeSet<String>,
    /// Time of one full run of the checks, in milliseconds.
    pub duration_ms: u64,
    /// Why no loop can run on this, or null.
    pub unusable: Option<Unusable>,
}

/// Why a baseline ends the loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unusable {
    /// `checks-unusable` or `checks-too-slow`.
    pub reason: StopReason,
    pub message: String,
    /// The least time budget that could do, in milliseconds, where that is what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_ms: Option<u64>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "type")]
pub enum CallEnd {
    /// A valid answer, stored in this file of the iteration's folder.
    Answered { answer_file: String },
    /// No valid answer. `answer_file` holds an invalid one, for the repair call.
    Failed { failure: CallFailure, answer_file: Option<String> },
}

/// A proposal as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposed {
    /// Unique within the iteration.
    pub id: String,
    pub approach: String,
    pub justification: String,
    pub estimated_risk: Level,
    pub estimated_impact: Level,
    pub test_change_justification: Option<String>,
    pub review_notes: String,
    /// File of the iteration's folder that holds the patch as it came.
    pub patch_file: String,
}

/// A guard's or the patch builder's word on a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "type")]
pub enum Prepared {
    /// It applies and no guard refuses it.
    Ready {
        /// Tree with the proposal applied.
        tree: String,
        /// File of the iteration's folder that holds the exact diff.
        diff_file: String,
        files_touched: Vec<String>,
        modifies_tests: bool,
        added: u32,
        removed: u32,
        matches: Vec<HunkMatch>,
        flags: Vec<Finding>,
        /// Findings that only the plan's permission allowed.
        permitted: Vec<Finding>,
        fingerprint: String,
    },
    /// It is out.
    Refused { code: crate::guards::Code, reason: String, fingerprint: Option<String>, findings: Vec<Finding> },
}

/// What running the checks on a candidate showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrialOutcome {
    /// Something measured is better and nothing is worse.
    Better,
    /// Nothing measured changed, and nothing measured had to.
    Neutral,
    /// Nothing measured is better although something is red.
    NoProgress,
    /// Something is worse.
    Worse,
    /// Tests are gone from the run.
    Vacuous,
    /// It helps for the very inputs of the tests alone.
    SpecialCased,
}

impl TrialOutcome {
    /// Says whether the candidate may become the new state.
    pub fn acceptable(self) -> bool {
        matches!(self, Self::Better | Self::Neutral)
    }
}

/// A candidate tried against the checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub id: String,
    pub outcome: TrialOutcome,
    /// One sentence: what was measured.
    pub reason: String,
    pub receipts: Receipts,
    pub failing_before: u32,
    pub failing_after: u32,
    pub newly_passing: Vec<String>,
    pub newly_failing: Vec<String>,
    /// Accept commands that turned green.
    pub accepts_turned_green: u32,
    /// Ids found flaky by running a deciding failure again.
    pub flaky: BTreeSet<String>,
    pub state_id: String,
    pub duration_ms: u64,
}

/// The judge's word, names resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The answer with the candidates' own ids.
    pub ranking: Ranking,
}

/// What a proof attempt showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// Tree the proof is about.
    pub tree: String,
    /// Whether every check holds, fresh and with the seed's tests.
    pub holds: bool,
    /// The level reached, or null where nothing that failed on the seed tree was shown to pass and no second
    /// evaluation has agreed yet.
    pub level: Option<ProofLevel>,
    /// One sentence: what was shown, or what refutes the claim.
    pub reason: String,
    pub receipts: Receipts,
    /// The run with the seed's tests and check configuration restored; empty where nothing had to be restored.
    pub seed_receipts: Receipts,
    /// Paths whose restoration is partial, with why.
    pub partial: Vec<String>,
    /// Changes to tests or check configuration that the plan permits, as paths.
    pub permitted: Vec<String>,
}

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "type")]
pub enum Event {
    Started(Box<Started>),
    WorkerStarted(Worker),
    WorkerEnded,
    /// New maxima; an absent one stays.
    BudgetRaised {
        max_iterations: Option<u32>,
        max_time_ms: Option<u64>,
        max_calls: Option<u32>,
        max_tokens: Option<u64>,
        #[serde(default)]
        max_cost: Option<Money>,
    },
    /// From the next call on.
    ModelChanged {
        model: Option<String>,
        efforts: BTreeMap<CallKind, String>,
    },
    /// A loop that had stopped goes on.
    Reopened {
        /// How many rounds are asked for, or `None` for as many as the budget holds.
        rounds: Option<u32>,
        /// Whether they only propose and rank.
        dry_run: bool,
    },
    /// The user's own edits under an in-place loop became part of it. `own_tree` is what the work tree goes back to
    /// where the loop ends without its goal: the seed with those edits.
    Adopted {
        tree: String,
        commit: String,
        own_tree: String,
        receipts: Receipts,
    },
    /// The place exists (worktree made, dependencies cloned, set-up run).
    BaselineTaken {
        baseline: Box<Baseline>,
    },
    IterationStarted {
        index: u32,
        closing: bool,
    },
    CallStarted {
        call: u32,
        kind: CallKind,
        repair: bool,
        prompt_chars: u64,
        model: Option<String>,
        effort: String,
    },
    CallFinished {
        call: u32,
        duration_ms: u64,
        tokens: Tokens,
        end: CallEnd,
    },
    /// An agent begins to edit a work tree of its own; several are at work at the same time.
    AgentStarted {
        call: u32,
        /// Its place among the round's agents, from 0.
        slot: u32,
        prompt_chars: u64,
        model: Option<String>,
        effort: String,
    },
    AgentFinished {
        call: u32,
        duration_ms: u64,
        tokens: Tokens,
        end: CallEnd,
    },
    /// What the agents left in their work trees, as git sees it.
    AgentsProposed {
        proposals: Vec<Proposed>,
    },
    WaitStarted {
        cause: FailureClass,
        until: Timestamp,
        message: String,
    },
    WaitFinished,
    /// A step is given up: no usable answer could be had.
    StepGivenUp {
        kind: CallKind,
        reason: String,
        /// What the last call failed for; null where none was made.
        #[serde(default)]
        class: Option<FailureClass>,
    },
    /// What the files hold that open issues and those of the coming evaluation speak of: tells whether an issue that is
    /// raised again has anything new to go by.
    IssuesSeen {
        /// Digests by path; absent where there is no such file.
        contents: BTreeMap<String, String>,
    },
    Evaluated {
        evaluation: Evaluation,
    },
    SecondEvaluated {
        evaluation: Evaluation,
    },
    Suggested {
        proposals: Vec<Proposed>,
    },
    /// Patches that did not apply came back mended; the rest stay refused.
    PatchesMended {
        proposals: Vec<Proposed>,
    },
    ProposalPrepared {
        id: String,
        prepared: Box<Prepared>,
    },
    ProposalRanked {
        ranked: Ranked,
    },
    TrialStarted {
        id: String,
    },
    ProposalTried {
        trial: Box<Trial>,
    },
    ProofStarted {
        tree: String,
    },
    ProofFinished {
        proof: Box<Proof>,
    },
    /// The accepted state is safe in its ref.
    Accepted {
        id: String,
        tree: String,
        commit: String,
    },
    IterationFinished {
        index: u32,
    },
    Stopped {
        reason: Option<StopReason>,
        message: String,
        hint: Option<String>,
    },
    LandingStarted {
        from: String,
        to: String,
    },
    /// `landed` false: the work tree was left alone, for this reason.
    LandingFinished {
        landed: bool,
        reason: String,
    },
    Finished,
}
