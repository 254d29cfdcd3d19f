//! The autonomous review: one question to Codex about a decision, and what its answer may be.
//!
//! Pure. It asks nobody and writes nothing: it says what a question looks like, which answers count, how they are
//! named and shown, and when a review is due.

mod answer;
mod blind;
mod ledger;
mod naming;
mod policy;
mod question;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use answer::{Answer, Decision, Finding, check, contradicted};
pub use blind::blinded;
pub use ledger::{Entry, Limits, MAX_LEDGER_BYTES, Spent, Tally, kept, refusal, tally};
pub use naming::{slug, stamp};
pub use policy::{DecisionKind, PolicyReport, PolicyRequest, Stakes, decide};
pub use question::{ContextItem, Excerpt, MAX_QUESTION_CHARS, Question, excerpt, mentioned_paths, numbered};
pub use text::{harmless, request_text, response_text, review_text};

use crate::codex::{FailureClass, Usage};

/// What a review is about.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Whether to go on past a point that costs much to come back from.
    Gate,
    /// Whether the method answers the question.
    Methodology,
    /// What to do first.
    Priority,
    /// A concern and a proposed way out of it.
    SecondOpinion,
    /// The design of an experiment.
    Experimental,
    /// A technical design.
    Technical,
    /// A change to code.
    Code,
    /// A specification.
    Spec,
    /// A document for readers.
    Doc,
    /// An interface that others rely on.
    Contract,
    /// A prompt that is sent as it is.
    #[value(skip)]
    Free,
}

impl Kind {
    /// Every kind there is a template for.
    pub const ALL: [Self; 11] = [
        Self::Gate,
        Self::Methodology,
        Self::Priority,
        Self::SecondOpinion,
        Self::Experimental,
        Self::Technical,
        Self::Code,
        Self::Spec,
        Self::Doc,
        Self::Contract,
        Self::Free,
    ];

    /// Returns the name as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Methodology => "methodology",
            Self::Priority => "priority",
            Self::SecondOpinion => "second-opinion",
            Self::Experimental => "experimental",
            Self::Technical => "technical",
            Self::Code => "code",
            Self::Spec => "spec",
            Self::Doc => "doc",
            Self::Contract => "contract",
            Self::Free => "free",
        }
    }

    /// Returns the name as people read it: a prompt without a type is no kind of review.
    pub fn shown(self) -> &'static str {
        if self == Self::Free { "prompt" } else { self.name() }
    }

    /// Says whether the review is of files, so that one that reads none reviews nothing.
    pub fn needs_files(self) -> bool {
        matches!(self, Self::Code | Self::Spec | Self::Doc | Self::Contract)
    }
}

/// What a review came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Go on as proposed.
    #[serde(rename = "GO")]
    Go,
    /// Do not go on.
    #[serde(rename = "NO-GO")]
    NoGo,
    /// Go on after the conditions are met.
    #[serde(rename = "MODIFY")]
    Modify,
    /// No review took place; neither a yes nor a no.
    #[serde(rename = "UNAVAILABLE")]
    Unavailable,
}

impl Verdict {
    /// Returns the name as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "GO",
            Self::NoGo => "NO-GO",
            Self::Modify => "MODIFY",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    /// Returns the exit code of the command that asked.
    pub fn exit_code(self) -> u8 {
        use crate::error::ExitCode;
        let code = match self {
            Self::Go => ExitCode::Success,
            Self::NoGo => ExitCode::NoGo,
            Self::Modify => ExitCode::Modify,
            Self::Unavailable => ExitCode::Unavailable,
        };
        code as u8
    }
}

/// Why no review took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// No answer within the time limit.
    TimeOut,
    /// Nobody is signed in, or the key is not taken.
    SignIn,
    /// No credit, or a plan without Codex.
    Quota,
    /// The plan's usage window is spent.
    UsageWindow,
    /// Too many requests a minute.
    RateLimit,
    /// The provider has trouble.
    Overloaded,
    /// The provider was not reached, or the connection broke.
    Network,
    /// The question does not fit into the model's context.
    ContextTooLong,
    /// The provider does not answer this.
    Refused,
    /// An answer came, but not in the form that a verdict has.
    BadAnswer,
    /// Stopped by whoever asked.
    Stopped,
    /// Codex was ended by something else.
    Killed,
    /// A setting or the model's name is not taken.
    Config,
    /// This Codex is too old.
    TooOld,
    /// There is no Codex to ask.
    NoCodex,
    /// The reviewer could not read what it was asked about.
    Unread,
    /// The day's or the session's reviews are used up.
    Budget,
    /// The record cannot be written, and a review without one is not held.
    Record,
    /// None of these.
    Unknown,
}

impl Cause {
    /// Returns the name as programs read it.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

impl From<FailureClass> for Cause {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::SignIn => Self::SignIn,
            FailureClass::Quota => Self::Quota,
            FailureClass::UsageWindow => Self::UsageWindow,
            FailureClass::RateLimit => Self::RateLimit,
            FailureClass::Overloaded => Self::Overloaded,
            FailureClass::Network => Self::Network,
            FailureClass::ContextTooLong => Self::ContextTooLong,
            FailureClass::Refused => Self::Refused,
            FailureClass::BadAnswer => Self::BadAnswer,
            FailureClass::Stopped => Self::Stopped,
            FailureClass::TimedOut => Self::TimeOut,
            FailureClass::Killed => Self::Killed,
            FailureClass::Config => Self::Config,
            FailureClass::TooOld => Self::TooOld,
            FailureClass::Unknown => Self::Unknown,
        }
    }
}

/// A review as it is reported, recorded and repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    pub schema_version: u32,
    /// Name of the record: time and topic.
    pub id: String,
    pub kind: Kind,
    pub topic: String,
    /// Whether a review took place, whatever its verdict.
    pub success: bool,
    pub verdict: Verdict,
    /// Why no review took place; null where one did.
    pub cause: Option<Cause>,
    /// The cause in a sentence, and what to do about it.
    pub detail: Option<String>,
    /// True for GO alone.
    pub approved: bool,
    /// What the reviewer recommends, in a few sentences; empty where no review took place.
    pub recommendation: String,
    /// What has to be done first.
    pub conditions: Vec<String>,
    /// What to do, most important first.
    pub priorities: Vec<String>,
    pub risks: Vec<String>,
    pub findings: Vec<Finding>,
    /// The reviewer's own confidence, 0 to 1; null where no review took place.
    pub confidence: Option<f64>,
    /// Null for Codex's own default.
    pub model: Option<String>,
    pub effort: Option<String>,
    /// What the files were like that were reviewed; null where that cannot be told.
    pub tree_hash: Option<String>,
    /// Path of the request's record.
    pub request_file: Option<String>,
    /// Path of the response's record.
    pub response_file: Option<String>,
    pub duration_ms: u64,
    pub tokens: Usage,
    /// Whether this is the answer to the same question on the same files, asked before.
    pub cached: bool,
    /// When it was asked.
    #[schemars(with = "String")]
    pub at: jiff::Timestamp,
    /// What a reader should know of how it came about.
    pub warnings: Vec<String>,
}

impl Review {
    /// Takes over an answer.
    pub fn answered(&mut self, answer: Answer) {
        self.verdict = answer.verdict.into();
        self.approved = self.verdict == Verdict::Go;
        self.success = true;
        self.cause = None;
        self.detail = None;
        self.recommendation = answer.recommendation;
        self.conditions = answer.conditions;
        self.priorities = answer.priorities;
        self.risks = answer.risks;
        self.findings = answer.findings;
        self.confidence = Some(answer.confidence);
    }

    /// Says that no review took place.
    pub fn unavailable(&mut self, cause: Cause, detail: impl Into<String>) {
        self.verdict = Verdict::Unavailable;
        self.approved = false;
        self.success = false;
        self.cause = Some(cause);
        self.detail = Some(detail.into());
    }
}
