//! Text for people: Markdown that also reads well in a terminal of 80 columns.

use std::fmt::Write;

use jiff::Timestamp;

use super::history::HistoryReport;
use super::result::{ProposalReport, ResultReport};
use super::status::{CostGauge, IterationReport, LoopStatus, ProofReport, StatusReport, WaitingReport};
use super::{Forecast, count, duration, many};
use crate::answers::Verdict;
use crate::engine::StopReason;
use crate::engine::event::{PlaceKind, TrialOutcome};
use crate::plan::{CallKind, Plan, ProofLevel};

/// Columns of a line, the least a terminal has.
const COLUMNS: usize = 80;

/// Longest goal shown whole, in characters; a longer one is cut, its file has the rest.
const GOAL_SHOWN: usize = 400;

/// Breaks text into lines of at most `COLUMNS`, the first after `first`, the others after `rest`. A word longer than a
/// line stays whole. Secrets go first: broken over two lines, they would no longer be known.
pub fn wrap(first: &str, rest: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut empty = true;
    let text = crate::masking::shown().text(text);
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push_str(line.trim_end());
            lines.push('\n');
            rest.clone_into(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

fn item(text: &str) -> String {
    wrap("- ", "  ", text)
}

/// Returns a text on one line, cut at its end where it is longer than `most` characters.
pub fn shorten(text: &str, most: usize) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= most {
        return flat;
    }
    let cut: String = flat.chars().take(most.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// A Markdown table whose columns line up in a terminal too.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let clean: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect()).collect();
    let width = |column: usize| {
        clean
            .iter()
            .map(|row| row.get(column).map_or(0, |cell| cell.chars().count()))
            .chain([head[column].chars().count(), 3])
            .max()
            .unwrap_or(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count()))))
            .collect();
        format!("| {} |\n", padded.join(" | "))
    };
    let mut text = line(head.to_vec());
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    text.push_str(&line(rules.iter().map(String::as_str).collect()));
    for row in &clean {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

fn headline(status: LoopStatus, stop_reason: Option<StopReason>) -> String {
    match (status, stop_reason) {
        (LoopStatus::Finished, Some(reason)) => reason.name().replace('-', " "),
        (LoopStatus::Finished, None) => "dry run done".into(),
        (LoopStatus::None, _) => "no loop".into(),
        (LoopStatus::Running, _) => "running".into(),
        (LoopStatus::Paused, _) => "paused".into(),
        (LoopStatus::Interrupted, _) => "interrupted".into(),
    }
}

/// Returns the status as text.
pub fn status_text(report: &StatusReport) -> String {
    let mut text = format!("## Loop {}: {}\n\n", report.run_id, headline(report.status, report.stop_reason));
    text.push_str(&permitted_lines(report.proof.as_ref()));
    if let Some(message) = &report.stop_message {
        text.push_str(&wrap("", "", message));
        text.push('\n');
    }
    text.push_str(&item(&format!("Goal: {}", shorten(&report.goal, GOAL_SHOWN))));
    if let Some(step) = &report.step {
        let iteration = report.iterations.last().map_or(0, |iteration| iteration.index);
        text.push_str(&item(&format!("Step: {step}, iteration {iteration}")));
    }
    if let Some(waiting) = &report.waiting {
        text.push_str(&item(&waiting_line(waiting, report.updated_at)));
    }
    for failure in &report.failures {
        let times = if failure.count == 1 { "once".to_owned() } else { format!("{} times", failure.count) };
        text.push_str(&item(&format!(
            "{} ({times}): {}. The loop {}",
            failure.title,
            shorten(failure.last.trim_end_matches('.'), 200),
            failure.remedy
        )));
    }
    if let Some(proof) = &report.proof {
        text.push_str(&item(&format!("Proof: {} — {}", level_name(proof.level), proof.reason)));
    }
    if let Some(landing) = &report.landing {
        let landed = if landing.landed { "in your work tree" } else { "not in your work tree" };
        text.push_str(&item(&format!("Result: {landed} — {}", landing.reason)));
    }
    if let Some(place) = report.place {
        let place = match place {
            PlaceKind::Worktree => "in a work tree of its own",
            PlaceKind::InPlace => "in your work tree",
        };
        let reason = report.where_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        text.push_str(&item(&format!("Works: {place}{reason}")));
    }
    let model = report.model.as_deref().unwrap_or("Codex's default");
    text.push_str(&item(&format!("Model: {model}, effort {}", report.effort)));
    text.push_str(&item(&budget_line(report)));
    if let Some(baseline) = &report.baseline {
        let checks: Vec<String> =
            baseline.receipts.values().map(|receipt| format!("`{}` {}", receipt.command, receipt.summary())).collect();
        if !checks.is_empty() {
            text.push_str(&item(&format!("At the start: {}", checks.join("; "))));
        }
        for (label, ids) in [("Flaky", &baseline.flaky), ("Known red", &baseline.known_red)] {
            if !ids.is_empty() {
                text.push_str(&item(&format!("{label}: {}", name_some(ids))));
            }
        }
    }
    if !report.iterations.is_empty() {
        text.push('\n');
        text.push_str(&iterations_table(report));
        for iteration in &report.iterations {
            if let Some(refuted) = &iteration.refuted_claim {
                text.push_str(&wrap(
                    &format!("\nIteration {}: ", iteration.index),
                    "",
                    &format!("\"done\" was claimed and refuted: {}", shorten(refuted, 300)),
                ));
            }
        }
    }
    let open: Vec<_> = if report.proof.is_some() { vec![] } else { report.open_issues.iter().collect() };
    if !open.is_empty() {
        text.push_str("\nOpen issues, by the latest evaluation:\n");
        for issue in open {
            let place = match (&issue.file, issue.line_start) {
                (Some(file), Some(line)) => format!(" ({file}:{line})"),
                (Some(file), None) => format!(" ({file})"),
                _ => String::new(),
            };
            let severity = format!("{:?}", issue.severity).to_lowercase();
            text.push_str(&item(&format!("{severity}: {}{place}", shorten(&issue.summary, 240))));
        }
    }
    text.push_str(&next_lines(&report.next));
    text
}

/// Says what the loop waits for, until when, and what the time budget still holds. The time of day is the user's own.
fn waiting_line(waiting: &WaitingReport, now: Timestamp) -> String {
    let zone = jiff::tz::TimeZone::system();
    let (until, now) = (waiting.reset.unwrap_or(waiting.until).to_zoned(zone.clone()), now.to_zoned(zone));
    let form = if until.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    let opens = if waiting.reset.is_some() { "opens at" } else { "asked again at" };
    format!(
        "{}; {opens} {}; waiting, {} of your time budget left ({})",
        waiting.cause.title(),
        until.strftime(form),
        duration(waiting.time_left_ms),
        shorten(&waiting.message, 200)
    )
}

fn next_lines(next: &[String]) -> String {
    let mut text = String::new();
    if !next.is_empty() {
        text.push_str("\nNext:\n");
        for command in next {
            let _ = writeln!(text, "- `{command}`");
        }
    }
    text
}

fn name_some(ids: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = ids.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN { format!("{shown} and {} more", ids.len() - SHOWN) } else { shown }
}

/// Returns the budget in one line.
pub(crate) fn budget_line(report: &StatusReport) -> String {
    let budget = &report.budget;
    let max = |max: Option<u64>| max.map_or("no limit".to_owned(), |max| max.to_string());
    let estimated = if budget.tokens.estimated { " (partly estimated)" } else { "" };
    let cost = budget.cost.as_ref().map(|cost| format!(", {}", cost_text(cost))).unwrap_or_default();
    let token_max = budget.tokens.max.map(|max| format!(" of {}", count(max))).unwrap_or_default();
    format!(
        "Budget: {} of {} iterations, {} of {}, {} of {} calls, {} tokens{token_max}{estimated}{cost}",
        budget.iterations.used,
        max(budget.iterations.max),
        duration(budget.time_ms.used),
        budget.time_ms.max.map_or("no limit".to_owned(), duration),
        budget.calls.used,
        max(budget.calls.max),
        count(budget.tokens.input.saturating_add(budget.tokens.output)),
    )
}

/// Says what a loop has cost. The currency is whatever the user's prices are in.
fn cost_text(cost: &CostGauge) -> String {
    let max = cost.max.map(|max| format!(" of {max}")).unwrap_or_default();
    format!("cost {}{max}{}", cost.used, if cost.estimated { " (partly estimated)" } else { "" })
}

fn level_name(level: ProofLevel) -> &'static str {
    match level {
        ProofLevel::Measured => "measured",
        ProofLevel::Reviewed => "reviewed",
    }
}

fn verdict_name(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::GoalMet) => "goal-met",
        Some(Verdict::InProgress) => "in-progress",
        Some(Verdict::Blocked) => "blocked",
        None => "-",
    }
}

fn iterations_table(report: &StatusReport) -> String {
    let failing = &report.convergence.failing;
    let rows: Vec<Vec<String>> = report
        .iterations
        .iter()
        .enumerate()
        .map(|(place, iteration)| {
            let before = failing.get(place).copied().unwrap_or(0);
            let after = failing.get(place + 1).copied().unwrap_or(before);
            vec![
                if iteration.closing { format!("{} end", iteration.index) } else { iteration.index.to_string() },
                verdict_name(iteration.verdict).to_owned(),
                iteration.distance.map_or("-".to_owned(), |distance| format!("{distance:.2}")),
                if before == after { before.to_string() } else { format!("{before} → {after}") },
                outcome(iteration),
                duration(iteration.duration_ms),
            ]
        })
        .collect();
    table(&["#", "verdict", "dist", "failing", "outcome", "time"], &rows)
}

fn outcome(iteration: &IterationReport) -> String {
    if iteration.accepted {
        let winner = iteration.winner.as_deref().unwrap_or("?");
        return format!("took {}", shorten(winner, 24));
    }
    if !iteration.given_up.is_empty() {
        return "a step failed".into();
    }
    if iteration.rejected.is_empty() {
        return if iteration.refuted_claim.is_some() { "claim refuted".into() } else { "-".into() };
    }
    let mut codes: Vec<String> = iteration.rejected.iter().map(|rejected| rejected.code.to_string()).collect();
    codes.sort();
    codes.dedup();
    shorten(&format!("{} refused: {}", iteration.rejected.len(), codes.join(", ")), 36)
}

/// Returns what a reader has to know before the verdict: which paths were changed because the user permitted it.
fn permitted_lines(proof: Option<&ProofReport>) -> String {
    let Some(proof) = proof.filter(|proof| !proof.permitted.is_empty()) else { return String::new() };
    let mut text = wrap(
        "",
        "",
        &format!(
            "Changed with your permission, tests or check configuration among them: {}",
            name_some(&proof.permitted)
        ),
    );
    text.push('\n');
    text
}

/// Returns the result as text.
pub fn result_text(report: &ResultReport) -> String {
    let mut text = format!("## Result of loop {}: {}\n\n", report.run_id, headline(report.status, report.stop_reason));
    text.push_str(&permitted_lines(report.proof.as_ref()));
    if let Some(message) = &report.stop_message {
        text.push_str(&wrap("", "", message));
        text.push('\n');
    }
    text.push_str(&item(&format!("Goal: {}", shorten(&report.goal, GOAL_SHOWN))));
    if let Some(proof) = &report.proof {
        text.push_str(&item(&format!("Proof: {} — {}", level_name(proof.level), proof.reason)));
        for receipt in &proof.receipts {
            text.push_str(&wrap("  - ", "    ", &format!("`{}`: {}", receipt.command, receipt.summary())));
        }
        for receipt in &proof.seed_receipts {
            text.push_str(&wrap(
                "  - ",
                "    ",
                &format!("with the original tests: `{}`: {}", receipt.command, receipt.summary()),
            ));
        }
        for partial in &proof.partial {
            text.push_str(&wrap("  - ", "    ", &format!("restored in part: {partial}")));
        }
    }
    let landing = report.landing_reason.as_deref().unwrap_or("nothing to bring in");
    text.push_str(&item(&format!(
        "{}: {landing}",
        if report.landed { "In your work tree" } else { "Not in your work tree" }
    )));
    if let Some(reference) = &report.head_ref {
        text.push_str(&item(&format!("Kept as `{reference}`")));
    }
    if let Some(cost) = &report.cost {
        text.push_str(&item(&format!("Took: {}", cost_text(cost))));
    }
    if report.changed.is_empty() {
        text.push_str("\nNo file is changed.\n");
    } else {
        text.push_str("\nChanged files:\n\n");
        let number = |lines: Option<u32>| lines.map_or("bin".to_owned(), |lines| lines.to_string());
        let rows: Vec<Vec<String>> = report
            .changed
            .iter()
            .map(|file| vec![file.path.clone(), file.change.clone(), number(file.added), number(file.removed)])
            .collect();
        text.push_str(&table(&["file", "change", "+", "-"], &rows));
    }
    if !report.proposals.is_empty() {
        text.push_str("\nProposals:\n");
        for proposal in &report.proposals {
            text.push_str(&proposal_lines(proposal));
        }
    }
    text.push_str(&next_lines(&report.next));
    text
}

fn proposal_lines(proposal: &ProposalReport) -> String {
    let verdict = match (&proposal.code, proposal.accepted) {
        (_, true) => "taken".to_owned(),
        (Some(code), _) => format!("refused, {code}"),
        (None, _) => "open".to_owned(),
    };
    let mut text =
        item(&format!("{}/{} — {verdict}: {}", proposal.iteration, proposal.id, shorten(&proposal.approach, 200)));
    if let Some(reason) = &proposal.reason {
        text.push_str(&wrap("  ", "  ", &shorten(reason, 400)));
    }
    if let Some(trial) = &proposal.trial {
        let measured = match trial.outcome {
            TrialOutcome::Better => "better",
            TrialOutcome::Neutral => "no different",
            TrialOutcome::NoProgress => "no progress",
            TrialOutcome::Worse => "worse",
            TrialOutcome::Vacuous => "vacuous",
            TrialOutcome::SpecialCased => "special-cases the tests",
        };
        text.push_str(&wrap(
            "  ",
            "  ",
            &format!(
                "Measured: {measured}, {} → {} failing, in {}",
                trial.failing_before,
                trial.failing_after,
                duration(trial.duration_ms)
            ),
        ));
    }
    // Of what refused a proposal the first finding is its reason; the rest is in `--json`.
    let flags = if proposal.trial.is_none() && proposal.code.is_some() { &[][..] } else { &proposal.flags[..] };
    for flag in flags {
        text.push_str(&wrap(
            "  ",
            "  ",
            &format!("Note ({}, {}): {}", flag.code, flag.path, shorten(&flag.reason, 200)),
        ));
    }
    text
}

/// Returns the loops of a work tree as text.
pub fn history_text(report: &HistoryReport) -> String {
    let rows: Vec<Vec<String>> = report
        .runs
        .iter()
        .map(|run| {
            let outcome = match (&run.error, run.stop_reason, run.status) {
                (Some(_), ..) => "unreadable".to_owned(),
                (None, Some(reason), _) => reason.name().to_owned(),
                (None, None, Some(status)) => headline(status, None),
                (None, None, None) => "-".to_owned(),
            };
            let goal = run.goal.as_deref().or(run.error.as_deref()).unwrap_or_default();
            vec![run.run_id.clone(), outcome, run.iterations.to_string(), run.calls.to_string(), shorten(goal, 24)]
        })
        .collect();
    table(&["loop", "outcome", "it", "calls", "goal"], &rows)
}

/// Returns the plan as a person approves it.
pub fn plan_text(plan: &Plan, hash: &str, notes: &[String], forecast: &Forecast) -> String {
    let mut text = String::from("## Plan\n\n");
    text.push_str(&item(&format!("Goal: {}", shorten(&plan.goal, 2 * GOAL_SHOWN))));
    for criterion in &plan.acceptance_criteria {
        text.push_str(&wrap("  - ", "    ", &format!("done when: {}", shorten(criterion, GOAL_SHOWN))));
    }
    let place = if plan.check_dir.is_empty() { String::new() } else { format!(" (checks in {})", plan.check_dir) };
    text.push_str(&item(&format!("Repository: {}{place}", plan.root)));
    let commands = plan.checks.commands();
    if commands.is_empty() {
        text.push_str(&item("Checks: none; the proof rests on a second evaluation alone"));
    }
    for (name, command) in commands {
        text.push_str(&item(&format!("Check {name}: `{command}`")));
    }
    let budget = &plan.budget;
    let tokens = budget.max_tokens.map(|max| format!(", {} tokens", count(max))).unwrap_or_default();
    let cost = budget.max_cost.map(|max| format!(", cost {max}")).unwrap_or_default();
    text.push_str(&item(&format!(
        "Budget: {}, {}, {}{tokens}{cost}; one check at most {}, one call at most {}",
        many(budget.max_iterations, "iteration"),
        duration(budget.max_time_ms),
        many(budget.max_calls, "call"),
        duration(plan.checks.timeout_ms),
        duration(budget.codex_timeout_ms),
    )));
    text.push_str(&item(&forecast.text()));
    let name = |value: &dyn erased::Named| value.name();
    text.push_str(&item(&format!(
        "Method: {} a round ({}), tried {}, works {}, lands {}",
        many(plan.method.nproposals, "proposal"),
        name(&plan.method.propose),
        name(&plan.method.trial),
        name(&plan.method.place),
        name(&plan.limits.land),
    )));
    let effort = |kind| plan.codex.effort(kind);
    text.push_str(&item(&format!(
        "Codex: model {}, effort {} (rank {}, repair {})",
        plan.codex.model.as_deref().unwrap_or("Codex's default"),
        effort(CallKind::Evaluate),
        effort(CallKind::Rank),
        effort(CallKind::Repair),
    )));
    for (label, globs) in [("Only changes", &plan.limits.scope), ("Never changes", &plan.limits.protect)] {
        if !globs.is_empty() {
            text.push_str(&item(&format!("{label}: {}", globs.join(", "))));
        }
    }
    for allowed in &plan.limits.allow_change {
        let reason = allowed.reason.as_ref().map(|reason| format!(" — {reason}")).unwrap_or_default();
        text.push_str(&item(&format!("May change tests or check configuration in {}{reason}", allowed.glob)));
    }
    if !plan.checks.known_red.is_empty() {
        text.push_str(&item(&format!("May stay red: {}", plan.checks.known_red.join(", "))));
    }
    if plan.limits.require_proof == Some(ProofLevel::Measured) {
        text.push_str(&item("Proof: measured only"));
    }
    if plan.dry_run {
        text.push_str(&item("Dry run: proposals are made and ranked, nothing is applied"));
    }
    for note in notes {
        text.push_str(&item(&format!("Note: {note}")));
    }
    let _ = writeln!(text, "\nPlan hash: {hash}");
    text
}

/// Names of the plan's choices as they are typed.
mod erased {
    use clap::ValueEnum;

    pub(super) trait Named {
        fn name(&self) -> String;
    }

    impl<T: ValueEnum> Named for T {
        fn name(&self) -> String {
            self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_lines_stay_within_eighty_columns() {
        let text = wrap("- ", "  ", &"word ".repeat(60));
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
        assert!(text.lines().skip(1).all(|line| line.starts_with("  word")));
    }

    #[test]
    fn a_cell_with_a_bar_stays_one_cell() {
        let text = table(&["a"], &[vec!["x|y".into()]]);
        assert!(text.contains("x\\|y"), "{text}");
    }
}
