//! The rubric: weighs the judge's scores and orders the candidates, evidence before opinion.

use serde::{Deserialize, Serialize};

use crate::answers::Scores;
use crate::plan::sha256;

/// Totals this close count as equal; the tie-breaks decide.
pub const TIE: f64 = 0.03;

/// Returns the rubric's total of one candidate, 0 to 1.
///
/// The weights are the product's fixed rubric: 0.30 correctness, 0.25 requirement satisfaction, 0.15 maintainability,
/// 0.10 each for testability, simplicity and the inverse of risk.
pub fn total(scores: &Scores) -> f64 {
    0.30 * scores.correctness
        + 0.25 * scores.requirement_satisfaction
        + 0.15 * scores.maintainability
        + 0.10 * scores.testability
        + 0.10 * scores.simplicity
        + 0.10 * scores.risk_inverse
}

/// What is known of a candidate when the order is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub id: String,
    /// The judge's scores, where there are any.
    pub scores: Option<Scores>,
    /// Ids still failing after its trial, or `None` where it was not tried.
    pub failing_after: Option<u32>,
    /// Accept commands its trial turned green.
    pub accepts_turned_green: u32,
    /// Whether the guards suspect it of treating the tests' own inputs specially.
    pub flagged: bool,
    /// Whether a hunk was placed by a loose match.
    pub loose: bool,
    /// Lines added and removed.
    pub size: u32,
}

/// Returns the candidates' ids, best first.
///
/// What was measured comes first: fewer failing ids, then more accept commands turned green. Among equals one that
/// looks made for the tests' inputs comes after all that do not: passing them shows less. Then the rubric decides; within [`TIE`] higher correctness, higher inverse risk, an exact match before a loose one, the smaller
/// patch, then the id, so that the order is always the same.
pub fn order(candidates: &[Candidate]) -> Vec<String> {
    let mut rest: Vec<&Candidate> = candidates.iter().collect();
    let mut ordered = Vec::with_capacity(rest.len());
    let evidence = |candidate: &Candidate| {
        (candidate.failing_after.unwrap_or(0), u32::MAX - candidate.accepts_turned_green, candidate.flagged)
    };
    let rubric = |candidate: &Candidate| candidate.scores.as_ref().map_or(0.0, total);
    while let Some(best_evidence) = rest.iter().map(|candidate| evidence(candidate)).min() {
        let top = rest
            .iter()
            .filter(|candidate| evidence(candidate) == best_evidence)
            .map(|candidate| rubric(candidate))
            .fold(f64::NEG_INFINITY, f64::max);
        let Some(place) = rest
            .iter()
            .enumerate()
            .filter(|(_, candidate)| evidence(candidate) == best_evidence && rubric(candidate) >= top - TIE)
            .min_by(|(_, a), (_, b)| {
                let scores = |candidate: &Candidate| {
                    candidate.scores.as_ref().map_or((0.0, 0.0), |scores| (scores.correctness, scores.risk_inverse))
                };
                let ((a_correct, a_risk), (b_correct, b_risk)) = (scores(a), scores(b));
                b_correct
                    .total_cmp(&a_correct)
                    .then(b_risk.total_cmp(&a_risk))
                    .then(a.loose.cmp(&b.loose))
                    .then(a.size.cmp(&b.size))
                    .then(a.id.cmp(&b.id))
            })
            .map(|(place, _)| place)
        else {
            break;
        };
        ordered.push(rest.remove(place).id.clone());
    }
    ordered
}

/// Returns the order in which candidates are shown to the judge: the same for the same loop and iteration, and
/// unrelated to the order in which they were proposed.
pub fn shuffled(run_id: &str, iteration: u32, ids: &[String]) -> Vec<String> {
    let mut keyed: Vec<(String, &String)> =
        ids.iter().map(|id| (sha256(format!("{run_id}/{iteration}/{id}")), id)).collect();
    keyed.sort();
    keyed.into_iter().map(|(_, id)| id.clone()).collect()
}

/// Returns the name under which the judge sees the candidate at this place of the shuffled order.
pub fn anonymous_name(place: usize) -> String {
    format!("candidate-{}", place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(correctness: f64, rest: f64, risk_inverse: f64) -> Scores {
        Scores {
            id: String::new(),
            correctness,
            requirement_satisfaction: rest,
            maintainability: rest,
            testability: rest,
            simplicity: rest,
            risk_inverse,
        }
    }

    fn candidate(id: &str, scores: Option<Scores>, failing_after: Option<u32>, size: u32) -> Candidate {
        Candidate { id: id.into(), scores, failing_after, accepts_turned_green: 0, flagged: false, loose: false, size }
    }

    #[test]
    fn weights_add_up_to_one() {
        assert!((total(&scores(1.0, 1.0, 1.0)) - 1.0).abs() < 1e-12);
        assert!((total(&scores(1.0, 0.0, 0.0)) - 0.30).abs() < 1e-12);
    }

    #[test]
    fn evidence_beats_the_judge() {
        let best = candidate("best", Some(scores(0.1, 0.1, 0.1)), Some(0), 50);
        let favourite = candidate("favourite", Some(scores(1.0, 1.0, 1.0)), Some(1), 5);
        assert_eq!(order(&[favourite, best]), ["best", "favourite"]);
    }

    #[test]
    fn what_looks_made_for_the_tests_comes_last_among_equals_only() {
        let special = |failing| Candidate {
            flagged: true,
            ..candidate("special", Some(scores(1.0, 1.0, 1.0)), Some(failing), 1)
        };
        let general = candidate("general", Some(scores(0.1, 0.1, 0.1)), Some(1), 50);
        assert_eq!(order(&[special(1), general.clone()]), ["general", "special"]);
        assert_eq!(order(&[special(0), general]), ["special", "general"]);
    }

    #[test]
    fn near_equal_totals_fall_to_correctness_then_risk_then_size() {
        let a = candidate("a", Some(scores(0.80, 0.80, 0.80)), None, 9);
        let b = candidate("b", Some(scores(0.85, 0.78, 0.70)), None, 9);
        assert_eq!(order(&[a.clone(), b]), ["b", "a"]);
        let c = candidate("c", Some(scores(0.80, 0.80, 0.80)), None, 3);
        assert_eq!(order(&[a, c]), ["c", "a"]);
    }

    #[test]
    fn a_clear_total_wins_over_correctness() {
        let a = candidate("a", Some(scores(0.9, 0.2, 0.2)), None, 1);
        let b = candidate("b", Some(scores(0.8, 0.9, 0.9)), None, 1);
        assert_eq!(order(&[a, b]), ["b", "a"]);
    }

    #[test]
    fn the_judge_sees_every_candidate_once_in_an_order_of_its_own() {
        let ids: Vec<String> = (0..20).map(|n| format!("p{n:02}")).collect();
        let shown = shuffled("run", 1, &ids);
        assert_ne!(shown, ids);
        let mut sorted = shown.clone();
        sorted.sort();
        assert_eq!(sorted, ids);
        assert_eq!(shown, shuffled("run", 1, &ids));
        assert_ne!(shown, shuffled("run", 2, &ids));
    }
}
