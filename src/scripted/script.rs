//! Short ways to write the answers of the loop's steps.
//!
//! It fills in what a script does not care about; it decides nothing.

use serde_json::Value;

use crate::answers::{
    Evaluation, Level, OpenIssue, Proposal, Ranking, Rejection, Scores, Severity, Suggestion, Verdict, Winner,
};

use super::ModelRequest;

/// A candidate as a ranking question shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The name to use in the answer.
    pub id: String,
    /// Everything under its heading, the diff among it.
    pub text: String,
}

impl ModelRequest {
    /// Returns the candidates that the prompt shows: each a heading line `### candidate-N` and what follows it.
    pub fn candidates(&self) -> Vec<Candidate> {
        candidates(&self.prompt)
    }
}

fn candidates(prompt: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut within = false;
    for line in prompt.lines() {
        // Lines of a diff begin with a sign or a space, so a heading in a patch is not taken for one of the prompt.
        let heading = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim_matches([' ', '`', ':']));
        if let Some(heading) = heading {
            let number = heading.strip_prefix("candidate-").filter(|number| !number.contains(char::is_whitespace));
            within = number.is_some();
            if within {
                found.push(Candidate { id: heading.to_owned(), text: String::new() });
                continue;
            }
        }
        if within && let Some(candidate) = found.last_mut() {
            candidate.text.push_str(line);
            candidate.text.push('\n');
        }
    }
    found
}

/// An evaluation with this verdict and distance; `goal-met` claims completion. Counts are left open.
pub fn evaluation(verdict: Verdict, distance: f64, open_issues: Vec<OpenIssue>) -> Evaluation {
    Evaluation {
        verdict,
        distance_from_goal: distance,
        open_issues,
        passing_tests: None,
        failing_tests: None,
        type_errors: None,
        lint_errors: None,
        completion_claim: verdict == Verdict::GoalMet,
        rationale: format!("The distance left is {distance}."),
    }
}

/// An issue of high severity at the top of a file.
pub fn issue(id: &str, summary: &str, file: &str) -> OpenIssue {
    OpenIssue {
        id: id.into(),
        severity: Severity::High,
        summary: summary.into(),
        file: Some(file.into()),
        line_start: Some(1),
        line_end: None,
        recommendation: format!("Mend {file}."),
    }
}

/// A proposal with this patch, of low risk and high impact. Paths are left to the runtime.
pub fn proposal(id: &str, patch: &str) -> Proposal {
    Proposal {
        id: id.into(),
        approach: format!("The way of {id}."),
        justification: "It answers the open issue.".into(),
        estimated_risk: Level::Low,
        estimated_impact: Level::High,
        files_touched: Vec::new(),
        modifies_tests: false,
        test_change_justification: None,
        review_notes: String::new(),
        patch: patch.into(),
    }
}

/// A suggestion of a proposal for each pair of id and patch.
pub fn suggestion<'a>(patches: impl IntoIterator<Item = (&'a str, &'a str)>) -> Suggestion {
    Suggestion { proposals: patches.into_iter().map(|(id, patch)| proposal(id, patch)).collect() }
}

/// A ranking that gives each candidate one figure, from 0 to 1, in all six dimensions; the highest wins, the first of
/// equals.
pub fn ranking(candidates: &[Candidate], mut figure: impl FnMut(&Candidate) -> f64) -> Ranking {
    let figures: Vec<f64> = candidates.iter().map(|candidate| figure(candidate).clamp(0.0, 1.0)).collect();
    let best = (0..figures.len()).rev().max_by(|one, other| figures[*one].total_cmp(&figures[*other]));
    let scores = candidates.iter().zip(&figures).map(|(candidate, figure)| Scores {
        id: candidate.id.clone(),
        correctness: *figure,
        requirement_satisfaction: *figure,
        maintainability: *figure,
        testability: *figure,
        simplicity: *figure,
        risk_inverse: *figure,
    });
    let losers = candidates.iter().enumerate().filter(|(index, _)| Some(*index) != best);
    Ranking {
        scores: scores.collect(),
        winner: Winner {
            id: best.map(|best| candidates[best].id.clone()).unwrap_or_default(),
            justification: "It answers more of the open issues than the others.".into(),
            confidence: 0.8,
        },
        rejections: losers
            .map(|(_, candidate)| Rejection {
                id: candidate.id.clone(),
                reason: "It leaves open issues that the winner closes.".into(),
            })
            .collect(),
        tiebreaker: None,
    }
}

/// Writes an answer as the text that Codex passes on.
pub fn text(answer: &impl serde::Serialize) -> String {
    serde_json::to_value(answer).as_ref().map(Value::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    const PROMPT: &str =
        "# Question\n### candidate-2\n```diff\n+# candidate-9\n```\n### candidate-1\n+one\n## After\nmore\n";

    #[test]
    fn candidates_are_read_from_their_headings_and_nowhere_else() {
        let expected = [("candidate-2", "```diff\n+# candidate-9\n```\n"), ("candidate-1", "+one\n")];
        let expected = expected.map(|(id, text)| Candidate { id: id.into(), text: text.into() });
        assert_eq!(candidates(PROMPT), expected);
        assert_eq!(candidates("nothing to rank"), Vec::new());
    }

    #[test]
    fn the_highest_figure_wins_and_the_others_are_rejected() {
        let candidates = candidates(PROMPT);
        let ranking = ranking(&candidates, |candidate| if candidate.text.contains("+one") { 0.9 } else { 0.2 });
        assert_eq!(ranking.winner.id, "candidate-1");
        assert_eq!(ranking.rejections.iter().map(|lost| lost.id.as_str()).collect::<Vec<_>>(), ["candidate-2"]);
        assert_eq!(super::ranking(&candidates, |_| 0.5).winner.id, "candidate-2");
    }

    proptest::proptest! {
        #[test]
        fn any_prompt_can_be_searched(prompt in "([#+ ]{0,4}(candidate-)?[0-9a-z`]{0,2}\n?){0,20}") {
            for candidate in candidates(&prompt) {
                assert!(candidate.id.starts_with("candidate-") && prompt.contains(&candidate.id));
            }
        }
    }
}
