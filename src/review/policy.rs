//! When a review is due: a rule a person can check, not a feeling.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;

/// Below this confidence a decision of high stakes gets a second mind.
const SURE: f64 = 0.9;

/// How much hangs on a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Stakes {
    Low,
    Medium,
    High,
    Critical,
}

/// What sort of decision it is, where that alone settles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// Nothing hangs on it.
    Trivial,
    /// The user has said how it is to be.
    Specified,
    /// Carrying out what is decided.
    Execution,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRequest {
    pub kind: Kind,
    /// How sure the asker is, 0 to 1.
    pub confidence: f64,
    pub stakes: Stakes,
    /// How many options there are; null for unknown.
    pub options: Option<u32>,
    pub decision: Option<DecisionKind>,
}

/// Whether a review is due, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    pub schema_version: u32,
    pub review: bool,
    /// The rule, in a sentence.
    pub reason: String,
}

/// Decides. A confidence that is no number counts as none.
pub fn decide(request: &PolicyRequest) -> PolicyReport {
    let (review, reason) = match (request.decision, request.kind, request.stakes) {
        (Some(DecisionKind::Trivial), ..) => (false, "trivial decisions are not reviewed".to_owned()),
        (Some(DecisionKind::Specified), ..) => {
            (false, "the user has specified it; what is specified is not reviewed".to_owned())
        }
        (Some(DecisionKind::Execution), ..) => {
            (false, "it is pure execution of what is decided; that is not reviewed".to_owned())
        }
        (None, Kind::Methodology | Kind::Experimental, _) => {
            (true, format!("{} decisions are always reviewed", request.kind.name()))
        }
        (None, _, Stakes::High | Stakes::Critical) if request.confidence < SURE || request.confidence.is_nan() => {
            (true, format!("the stakes are high and the confidence {} is below {SURE}", request.confidence))
        }
        (None, Kind::Priority, _) if request.options != Some(0) && request.options != Some(1) => {
            let several = request.options.map_or("an unknown number of".to_owned(), |count| count.to_string());
            (true, format!("an order is to be chosen among {several} options"))
        }
        (None, ..) => {
            (false, "no rule asks for it: it is neither methodology nor experimental, nor are the stakes high and the confidence low, nor is an order to be chosen among several options".to_owned())
        }
    };
    PolicyReport { schema_version: crate::report::SCHEMA_VERSION, review, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: PolicyRequest =
        PolicyRequest { kind: Kind::Technical, confidence: 0.95, stakes: Stakes::Low, options: None, decision: None };

    #[test]
    fn the_rules_hold_one_by_one() {
        let due = |request: PolicyRequest| decide(&request).review;
        assert!(!due(BASE));
        assert!(due(PolicyRequest { kind: Kind::Methodology, ..BASE }));
        assert!(due(PolicyRequest { kind: Kind::Experimental, ..BASE }));
        for stakes in [Stakes::High, Stakes::Critical] {
            assert!(due(PolicyRequest { stakes, confidence: 0.89, ..BASE }));
            assert!(due(PolicyRequest { stakes, confidence: f64::NAN, ..BASE }));
            assert!(!due(PolicyRequest { stakes, confidence: 0.9, ..BASE }));
        }
        assert!(!due(PolicyRequest { stakes: Stakes::Medium, confidence: 0.0, ..BASE }));
        let priority = PolicyRequest { kind: Kind::Priority, ..BASE };
        assert!(due(priority));
        assert!(due(PolicyRequest { options: Some(2), ..priority }));
        assert!(!due(PolicyRequest { options: Some(1), ..priority }));
    }

    #[test]
    fn trivial_specified_and_executed_decisions_are_never_reviewed() {
        for decision in [DecisionKind::Trivial, DecisionKind::Specified, DecisionKind::Execution] {
            for kind in Kind::ALL {
                let request = PolicyRequest {
                    kind,
                    confidence: 0.0,
                    stakes: Stakes::Critical,
                    options: None,
                    decision: Some(decision),
                };
                assert!(!decide(&request).review, "{request:?}");
            }
        }
    }
}
