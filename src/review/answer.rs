//! What a reviewer may answer, and which answers contradict themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kind, Verdict};
use crate::answers::Severity;

/// The reviewer's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// Go on as proposed.
    #[serde(rename = "GO")]
    Go,
    /// Do not go on.
    #[serde(rename = "NO-GO")]
    NoGo,
    /// Go on only after the conditions are met.
    #[serde(rename = "MODIFY")]
    Modify,
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Go => Self::Go,
            Decision::NoGo => Self::NoGo,
            Decision::Modify => Self::Modify,
        }
    }
}

/// Something the reviewer found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    /// Path, or null where the finding has no place.
    pub file: Option<String>,
    /// Line, counted from 1, or null.
    pub line: Option<u32>,
    /// What is wrong and what follows from it, in one or two sentences.
    pub message: String,
}

/// The reviewer's answer. The verdict comes late, so that the reasons are thought of first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Files you were asked about but could not read, whole or in part; empty where you could read everything.
    pub unread: Vec<String>,
    /// What you found, most severe first.
    pub findings: Vec<Finding>,
    /// What may go wrong, and what would show it early.
    pub risks: Vec<String>,
    /// What has to be done before going on; for MODIFY at least one.
    pub conditions: Vec<String>,
    /// What to do, most important first; where options were given, each in its place with the reason.
    pub priorities: Vec<String>,
    /// What you recommend and why, in a few sentences.
    pub recommendation: String,
    /// The decision.
    pub verdict: Decision,
    /// How sure you are, from 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: f64,
}

/// Returns what makes an answer of the right form unusable all the same; empty for nothing.
pub fn check(answer: &Answer, kind: Kind) -> Vec<String> {
    let mut faults = Vec::new();
    if answer.recommendation.trim().is_empty() {
        faults.push("at /recommendation: it is empty; say what you recommend and why".to_owned());
    }
    if answer.verdict == Decision::Modify && answer.conditions.iter().all(|text| text.trim().is_empty()) {
        faults.push("at /conditions: the verdict is MODIFY, but nothing says what to modify".to_owned());
    }
    if kind == Kind::Priority
        && answer.verdict != Decision::NoGo
        && answer.priorities.iter().all(|text| text.trim().is_empty())
    {
        faults.push("at /priorities: an order was asked for and none is given".to_owned());
    }
    if answer.verdict == Decision::Go && answer.findings.iter().any(|finding| finding.severity == Severity::Critical) {
        faults.push("at /verdict: GO contradicts a finding that is called critical".to_owned());
    }
    faults
}

/// Returns what stands beside the verdict in the answer's text and says something else; nothing the form knows, but
/// a model that takes no form may write it.
pub fn contradicted(text: &str, verdict: Decision) -> Option<String> {
    let (open, close) = (text.find('{')?, text.rfind('}')?);
    let inside = text.get(open..=close)?;
    let beside: serde_json::Value = serde_json::from_str(inside).unwrap_or_default();
    let approved = beside.get("approved").and_then(serde_json::Value::as_bool);
    if approved.is_some_and(|approved| approved != (verdict == Decision::Go)) {
        return Some("at /approved: it says something else than /verdict".to_owned());
    }
    // Words round the JSON may take back what it says.
    let others: &[&str] = match verdict {
        Decision::Go => &["NO-GO", "NOGO", "MODIFY"],
        Decision::Modify => &["NO-GO", "NOGO"],
        Decision::NoGo => &[],
    };
    let mut outside = [&text[..open], &text[close + 1..]]
        .into_iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '-').map(|word| word.trim_matches('-')));
    outside
        .find(|word| others.contains(word))
        .map(|word| format!("at /verdict: the text round the JSON says {word}; answer with the JSON object alone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(verdict: Decision) -> Answer {
        Answer {
            unread: Vec::new(),
            findings: Vec::new(),
            risks: Vec::new(),
            conditions: vec!["Run the pilot first.".into()],
            priorities: vec!["Pilot".into()],
            recommendation: "Go on.".into(),
            verdict,
            confidence: 0.8,
        }
    }

    #[test]
    fn what_stands_beside_the_verdict_must_not_say_something_else() {
        let go = r#"{"verdict":"GO","recommendation":"No NO-GO, no MODIFY."}"#;
        for text in [
            go.to_owned(),
            format!("Here it is, a GO:\n```json\n{go}\n```\n"),
            go.replace("{\"v", "{\"approved\":true,\"v"),
        ] {
            assert_eq!(contradicted(&text, Decision::Go), None, "{text}");
        }
        for text in [
            format!("NO-GO. A GO would look like this:\n```json\n{go}\n```"),
            format!("```json\n{go}\n```\nBut rather **MODIFY**."),
            go.replace("{\"v", "{\"approved\":false,\"v"),
        ] {
            assert!(contradicted(&text, Decision::Go).is_some(), "{text}");
        }
        assert!(contradicted(&go.replace("{\"v", "{\"approved\":true,\"v"), Decision::NoGo).is_some());
        assert_eq!(contradicted(&format!("No GO: {go}"), Decision::NoGo), None);
    }

    #[test]
    fn answers_that_contradict_themselves_are_turned_down() {
        for verdict in [Decision::Go, Decision::NoGo, Decision::Modify] {
            assert_eq!(check(&answer(verdict), Kind::Priority), Vec::<String>::new());
        }
        let critical = Finding { severity: Severity::Critical, file: None, line: None, message: "x".into() };
        let broken = [
            (Answer { recommendation: " ".into(), ..answer(Decision::Go) }, Kind::Gate, "/recommendation"),
            (Answer { conditions: vec![], ..answer(Decision::Modify) }, Kind::Gate, "/conditions"),
            (Answer { priorities: vec![], ..answer(Decision::Go) }, Kind::Priority, "/priorities"),
            (Answer { findings: vec![critical.clone()], ..answer(Decision::Go) }, Kind::Gate, "/verdict"),
        ];
        for (answer, kind, place) in broken {
            let faults = check(&answer, kind);
            assert!(faults.len() == 1 && faults[0].contains(place), "{faults:?}");
        }
        assert!(check(&Answer { findings: vec![critical], ..answer(Decision::NoGo) }, Kind::Gate).is_empty());
    }
}
