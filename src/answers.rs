//! What Codex is asked to answer, step by step, as types. The schemas sent to Codex are derived from these.
//!
//! Strict structured output wants every property present, so what may be missing is `Option` and sent as null.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The evaluator's judgement of how far the repository is from the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every criterion is met. A claim: only proof makes it true.
    GoalMet,
    /// Work is left.
    InProgress,
    /// Nothing a patch to this repository can do brings the goal nearer.
    Blocked,
}

/// How much an issue matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// Something that stands between the repository and the goal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenIssue {
    /// Short stable name; the same issue keeps its id from one iteration to the next.
    pub id: String,
    pub severity: Severity,
    /// One sentence.
    pub summary: String,
    /// Path relative to the work-tree root, or null where the issue has no place.
    pub file: Option<String>,
    /// First line, counted from 1.
    pub line_start: Option<u32>,
    /// Last line, counted from 1.
    pub line_end: Option<u32>,
    /// What would resolve it, in one sentence.
    pub recommendation: String,
}

/// The answer to an evaluate step, and to the second evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    pub verdict: Verdict,
    /// 0 at the goal, 1 where nothing of it is done.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub distance_from_goal: f64,
    /// The strongest findings, most severe first.
    pub open_issues: Vec<OpenIssue>,
    /// Number of passing tests as the receipts show it, or null where they do not.
    pub passing_tests: Option<u32>,
    /// Number of failing tests, likewise.
    pub failing_tests: Option<u32>,
    /// Number of type errors, likewise.
    pub type_errors: Option<u32>,
    /// Number of lint errors, likewise.
    pub lint_errors: Option<u32>,
    /// Whether the evaluator claims that the goal is complete.
    pub completion_claim: bool,
    /// Why, in a few sentences, with file references.
    pub rationale: String,
}

/// A three-step estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Low,
    Medium,
    High,
}

/// One candidate change as Codex proposes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// Unique within the round.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]*$"))]
    pub id: String,
    /// How this proposal goes about it, in one sentence.
    pub approach: String,
    /// Which open issue or unmet criterion it answers, and why it is right.
    pub justification: String,
    pub estimated_risk: Level,
    pub estimated_impact: Level,
    /// Paths the patch touches; the runtime overwrites this with what the diff says.
    pub files_touched: Vec<String>,
    /// Whether the patch changes existing tests; the runtime overwrites this likewise.
    pub modifies_tests: bool,
    /// Why existing tests have to change, or null where they do not.
    pub test_change_justification: Option<String>,
    /// What a reviewer should look at.
    pub review_notes: String,
    /// A unified diff against the repository as it is now.
    pub patch: String,
}

/// The answer to a suggest step, and to a request to mend patches that did not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    pub proposals: Vec<Proposal>,
}

/// What an agent says of the change it made in its own work tree; the change itself is what git sees there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// How the change goes about it, in one sentence.
    pub approach: String,
    /// Which open issue or unmet criterion it answers, and why it is right.
    pub justification: String,
    pub estimated_risk: Level,
    pub estimated_impact: Level,
    /// Why existing tests had to change, or null where they did not.
    pub test_change_justification: Option<String>,
    /// What a reviewer should look at.
    pub review_notes: String,
}

/// The six scores of one candidate, each from 0 (worst) to 1 (best).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scores {
    /// The candidate's name in the question.
    pub id: String,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub correctness: f64,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub requirement_satisfaction: f64,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub maintainability: f64,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub testability: f64,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub simplicity: f64,
    /// 1 for no risk.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub risk_inverse: f64,
}

/// The judge's favourite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Winner {
    pub id: String,
    pub justification: String,
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
}

/// Why a candidate lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    pub id: String,
    /// What is wrong with it or better in the winner; "lower score" alone is no reason.
    pub reason: String,
}

/// The answer to a rank step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ranking {
    pub scores: Vec<Scores>,
    pub winner: Winner,
    pub rejections: Vec<Rejection>,
    /// What decided between near-equal candidates, or null.
    pub tiebreaker: Option<String>,
}
