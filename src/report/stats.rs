//! What the loops of a work tree have in common: how good the judge's taste was, what guards met, what it cost.

use std::collections::BTreeMap;
use std::fmt::Write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SCHEMA_VERSION, count, many};
use crate::engine::event::{Tokens, Trial};
use crate::engine::state::{Iteration, rejected};
use crate::engine::{State, favourites};
use crate::guards::Code;

/// How often the rubric's favourite was what measurement found best.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FavouriteStats {
    /// Rounds that can tell: ranked, and the favourite and at least one other candidate tried.
    pub rounds: u32,
    /// Those where no tried candidate measured better than the favourite.
    pub measured_best: u32,
    /// The part of the rounds, or null without any.
    pub share: Option<f64>,
}

/// How many proposals lost with a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CodeCount {
    pub code: Code,
    pub count: u32,
}

/// What became of proposals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProposalStats {
    pub made: u32,
    pub tried: u32,
    pub accepted: u32,
    /// Most frequent first.
    pub lost: Vec<CodeCount>,
}

/// The figures of all loops of this work tree.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsReport {
    pub schema_version: u32,
    pub runs: u32,
    /// Runs that cannot be read and are left out.
    pub unreadable: u32,
    /// Runs that met their goal.
    pub goals_met: u32,
    pub iterations: u32,
    pub favourite: FavouriteStats,
    pub proposals: ProposalStats,
    pub calls: u32,
    pub tokens: Tokens,
    pub time_ms: u64,
}

/// Returns the figures of these loops.
pub fn stats_report(states: &[State], unreadable: u32) -> StatsReport {
    let mut favourite = FavouriteStats { rounds: 0, measured_best: 0, share: None };
    let mut proposals = ProposalStats { made: 0, tried: 0, accepted: 0, lost: Vec::new() };
    let mut lost: BTreeMap<Code, u32> = BTreeMap::new();
    let mut tokens = Tokens::default();
    for state in states {
        tokens.add(&state.used.tokens);
        for iteration in &state.iterations {
            let candidates = iteration.candidates.iter().flatten();
            proposals.made += candidates.clone().count() as u32;
            proposals.tried += candidates.filter(|candidate| candidate.trial.is_some()).count() as u32;
            proposals.accepted += u32::from(iteration.accepted);
            for rejected in rejected(iteration) {
                *lost.entry(rejected.code).or_default() += 1;
            }
            if let Some(best) = favourite_was_best(iteration) {
                favourite.rounds += 1;
                favourite.measured_best += u32::from(best);
            }
        }
    }
    favourite.share = (favourite.rounds > 0).then(|| f64::from(favourite.measured_best) / f64::from(favourite.rounds));
    proposals.lost = lost.into_iter().map(|(code, count)| CodeCount { code, count }).collect();
    proposals.lost.sort_by_key(|lost| std::cmp::Reverse(lost.count));
    let met =
        |state: &&State| state.stop.as_ref().and_then(|stop| stop.reason).is_some_and(|reason| reason.exit_code() == 0);
    StatsReport {
        schema_version: SCHEMA_VERSION,
        runs: states.len() as u32,
        unreadable,
        goals_met: states.iter().filter(met).count() as u32,
        iterations: states.iter().map(|state| state.used.iterations).sum(),
        favourite,
        proposals,
        calls: states.iter().map(|state| state.used.calls).sum(),
        tokens,
        time_ms: states.iter().fold(0, |sum, state| sum.saturating_add(state.used.time_ms)),
    }
}

/// Says whether nothing that was tried measured better than the rubric's favourite; `None` where the round cannot
/// tell.
fn favourite_was_best(iteration: &Iteration) -> Option<bool> {
    let favourite = favourites(iteration).into_iter().next()?;
    let measured =
        |trial: &Trial| (!trial.outcome.acceptable(), trial.failing_after, u32::MAX - trial.accepts_turned_green);
    let trials: Vec<&Trial> =
        iteration.candidates.iter().flatten().filter_map(|candidate| candidate.trial.as_ref()).collect();
    let own = trials.iter().find(|trial| trial.id == favourite)?;
    let best = trials.iter().map(|trial| measured(trial)).min()?;
    (trials.len() > 1).then(|| measured(own) == best)
}

/// Returns the figures as a person reads them.
pub fn stats_text(report: &StatsReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}, {} with the goal met; {} in {}",
        many(report.runs, "loop"),
        report.goals_met,
        many(report.iterations, "iteration"),
        super::duration(report.time_ms)
    );
    if report.unreadable > 0 {
        let _ = writeln!(text, "{} left out", many(report.unreadable, "unreadable loop"));
    }
    let _ = writeln!(
        text,
        "{}, {} tokens{}",
        many(report.calls, "Codex call"),
        count(report.tokens.total()),
        if report.tokens.estimated { ", in part estimated" } else { "" }
    );
    let proposals = &report.proposals;
    let _ = writeln!(
        text,
        "{}: {} tried, {} accepted",
        many(proposals.made, "proposal"),
        proposals.tried,
        proposals.accepted
    );
    for lost in &proposals.lost {
        let _ = writeln!(text, "  {:>4}  {}", lost.count, lost.code.as_str());
    }
    let favourite = &report.favourite;
    match favourite.share {
        Some(share) => {
            let _ = writeln!(
                text,
                "The rubric's favourite was the measured best in {} of {} that can tell ({:.0} %).",
                favourite.measured_best,
                many(favourite.rounds, "round"),
                share * 100.0
            );
        }
        None => text.push_str("No round yet can tell whether the rubric's favourite was the measured best.\n"),
    }
    text
}
