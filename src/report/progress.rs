//! One line for each thing that happens in a loop: `progress.log`, and the lines of a terminal.

use jiff::Timestamp;

use super::{duration, many};
use crate::answers::Verdict;
use crate::engine::State;
use crate::engine::event::{CallEnd, Event, PlaceKind, Prepared, Record, TrialOutcome};
use crate::engine::state::agrees;

/// Returns the time of day in the user's time zone, for a log line.
pub fn clock(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn flat(text: &str, most: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= most {
        return text;
    }
    let cut: String = text.chars().take(most - 1).collect();
    format!("{cut}…")
}

/// Returns the line for an event just folded into `state`, or `None` for one that says nothing to a person.
pub fn progress_line(state: &State, record: &Record) -> Option<String> {
    let iteration = state.iterations.last().map_or(0, |iteration| iteration.index);
    let within = |text: String| format!("[{iteration}] {text}");
    Some(match &record.event {
        Event::Started(started) => format!("loop {} started: {}", started.run_id, flat(&started.plan.goal, 160)),
        Event::WorkerStarted(worker) if state.iterations.is_empty() && state.baseline.is_none() => {
            format!("loop {} runs, pid {}: {}", state.started.run_id, worker.pid, flat(&state.plan.goal, 120))
        }
        Event::WorkerStarted(worker) => format!("loop {} goes on, pid {}", state.started.run_id, worker.pid),
        Event::BudgetRaised { .. } => "budget raised".into(),
        Event::ModelChanged { model, .. } => {
            format!("model from now on: {}", model.as_deref().unwrap_or("Codex's default"))
        }
        Event::Adopted { .. } => "your edits are adopted; the loop goes on from them".into(),
        Event::BaselineTaken { baseline } => {
            let checks: Vec<String> =
                baseline.receipts.iter().map(|receipt| format!("{} {}", receipt.check, receipt.summary())).collect();
            let place = match baseline.place.kind {
                PlaceKind::Worktree => "in a work tree of its own",
                PlaceKind::InPlace => "in your work tree",
            };
            let checks = if checks.is_empty() { "no checks".to_owned() } else { checks.join("; ") };
            format!("baseline: {checks} ({place})")
        }
        Event::IterationStarted { index, closing: false } => {
            format!("[{index}] iteration {index} of {}", state.plan.budget.max_iterations)
        }
        Event::IterationStarted { index, closing: true } => format!("[{index}] closing evaluation"),
        Event::CallFinished { end: CallEnd::Failed { failure, .. }, .. }
        | Event::AgentFinished { end: CallEnd::Failed { failure, .. }, .. } => {
            within(format!("Codex: {}", flat(&failure.message, 200)))
        }
        Event::WaitStarted { until, message, .. } => {
            within(format!("waiting until {}: {}", clock(*until), flat(message, 160)))
        }
        Event::StepGivenUp { kind, reason, .. } => within(format!("{} given up: {}", kind.name(), flat(reason, 160))),
        Event::Evaluated { evaluation } => {
            let verdict = match evaluation.verdict {
                Verdict::GoalMet => "claims the goal is met",
                Verdict::InProgress => "in progress",
                Verdict::Blocked => "blocked",
            };
            within(format!(
                "evaluate: {verdict}, distance {:.2}, {}",
                evaluation.distance_from_goal,
                many(evaluation.open_issues.len() as u64, "open issue")
            ))
        }
        Event::SecondEvaluated { evaluation } => {
            within(format!("second evaluation: {}", if agrees(evaluation) { "agrees" } else { "does not agree" }))
        }
        Event::Suggested { proposals } | Event::AgentsProposed { proposals } => {
            let ids: Vec<&str> = proposals.iter().map(|proposal| proposal.id.as_str()).collect();
            within(format!("suggest: {}: {}", many(ids.len() as u64, "proposal"), ids.join(", ")))
        }
        Event::PatchesMended { proposals } => within(match proposals.len() {
            1 => "1 patch came back mended".to_owned(),
            more => format!("{more} patches came back mended"),
        }),
        Event::ProposalPrepared { id, prepared } => match &**prepared {
            Prepared::Refused { code, reason, .. } => {
                within(format!("guard: {id} refused, {code}: {}", flat(reason, 160)))
            }
            Prepared::Ready { added, removed, .. } => within(format!("apply: {id} applies, +{added} -{removed}")),
        },
        Event::ProposalRanked { ranked } => within(format!("rank: the judge prefers {}", ranked.ranking.winner.id)),
        Event::ProposalTried { trial } => {
            let outcome = match trial.outcome {
                TrialOutcome::Better => "better",
                TrialOutcome::Neutral => "no different",
                TrialOutcome::NoProgress => "no progress, restored",
                TrialOutcome::Worse => "worse, restored",
                TrialOutcome::Vacuous => "vacuous, restored",
                TrialOutcome::SpecialCased => "special-cases the tests, restored",
            };
            within(format!(
                "validate: {} {outcome} ({}): {}",
                trial.id,
                duration(trial.duration_ms),
                flat(&trial.reason, 160)
            ))
        }
        Event::ProofFinished { proof } => {
            let held = if proof.holds { "holds" } else { "refuted" };
            within(format!("proof: {held}: {}", flat(&proof.reason, 200)))
        }
        Event::Accepted { id, .. } => within(format!("record: {id} accepted")),
        Event::Stopped { reason, message, .. } => {
            format!("{}: {}", reason.map_or("done", super::super::engine::StopReason::name), flat(message, 300))
        }
        Event::LandingFinished { landed: false, reason } if !state.has_changes() => flat(reason, 200),
        Event::LandingFinished { landed, reason } => {
            format!("{}: {}", if *landed { "landed in your work tree" } else { "not landed" }, flat(reason, 200))
        }
        Event::Finished => format!("loop {} ended", state.started.run_id),
        Event::WorkerEnded => "the worker ended".into(),
        Event::IssuesSeen { .. }
        | Event::Reopened { .. }
        | Event::CallStarted { .. }
        | Event::CallFinished { .. }
        | Event::AgentStarted { .. }
        | Event::AgentFinished { .. }
        | Event::WaitFinished
        | Event::TrialStarted { .. }
        | Event::ProofStarted { .. }
        | Event::LandingStarted { .. }
        | Event::IterationFinished { .. } => return None,
    })
}
