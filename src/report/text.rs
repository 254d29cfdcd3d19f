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
use crate::plan::{CallKind, Land, Plan, ProofLevel, Propose, TrialOrder, Where};

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
        // The name that scripts and the reference know it by, where the words are others.
        (LoopStatus::Finished, Some(reason)) if reason.name().replace('-', " ") != reason.title().replace('-', " ") => {
            format!("{} ({})", reason.title(), reason.name())
        }
        (LoopStatus::Finished, Some(reason)) => reason.title().into(),
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
        let round = report.iterations.last().map(|iteration| format!(", iteration {}", iteration.index));
        text.push_str(&item(&format!("Step: {step}{}", round.unwrap_or_default())));
    }
    if let Some(waiting) = &report.waiting {
        text.push_str(&item(&waiting_line(waiting, report.updated_at)));
    }
    for failure in &report.failures {
        let times = if failure.count == 1 { "once".to_owned() } else { format!("{} times", failure.count) };
        text.push_str(&item(&format!(
            "{} ({times}): {}. The loop {}.",
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
        text.push_str(&item(&if report.seed_tree == report.head_tree && !landing.landed {
            format!("Result: {}", landing.reason)
        } else {
            format!("Result: {landed} — {}", landing.reason)
        }));
    }
    if let Some(place) = report.place {
        let place = match place {
            PlaceKind::Worktree => "in a work tree of its own",
            PlaceKind::InPlace => "in your work tree",
        };
        let reason = report.where_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        text.push_str(&item(&format!("Where: {place}{reason}")));
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
    let plural = |max: Option<u64>| if max == Some(1) { "" } else { "s" };
    format!(
        "Budget: {} of {} iteration{}, {} of {}, {} of {} call{}, {} tokens{token_max}{estimated}{cost}",
        budget.iterations.used,
        max(budget.iterations.max),
        plural(budget.iterations.max),
        duration(budget.time_ms.used),
        budget.time_ms.max.map_or("no limit".to_owned(), duration),
        budget.calls.used,
        max(budget.calls.max),
        plural(budget.calls.max),
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
        // A claim: whether it holds is the proof's to say.
        Some(Verdict::GoalMet) => "claims met",
        Some(Verdict::InProgress) => "in progress",
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
    table(&["#", "verdict", "distance", "failing", "outcome", "time"], &rows)
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
    shorten(&format!("{} lost: {}", iteration.rejected.len(), codes.join(", ")), 34)
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

/// Takes the advice to look at the result out of a message that stands above it.
fn without_itself(message: &str) -> String {
    [
        ("; see what changed with `result`", ""),
        ("see them with `result`, and start", "start"),
        ("look at `result`; ", ""),
        ("see why each lost with `result`; ", ""),
        ("see `result`; ", ""),
    ]
    .iter()
    .fold(message.to_owned(), |text, (advice, rest)| text.replacen(advice, rest, 1))
}

/// Returns the result as text.
pub fn result_text(report: &ResultReport) -> String {
    let mut text = format!("## Result of loop {}: {}\n\n", report.run_id, headline(report.status, report.stop_reason));
    text.push_str(&permitted_lines(report.proof.as_ref()));
    if let Some(message) = &report.stop_message {
        text.push_str(&wrap("", "", &without_itself(message)));
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
    let changed = report.landed || report.seed_tree != report.head_tree;
    if changed && let Some(landing) = &report.landing_reason {
        let landed = if report.landed { "in your work tree" } else { "not in your work tree" };
        text.push_str(&item(&format!("Result: {landed} — {landing}")));
    }
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
            text.push_str(&proposal_lines(proposal, report.status == LoopStatus::Finished));
        }
    }
    text.push_str(&next_lines(&report.next));
    text
}

fn proposal_lines(proposal: &ProposalReport, over: bool) -> String {
    let verdict = match (&proposal.code, &proposal.trial) {
        _ if proposal.accepted => "taken".to_owned(),
        (Some(code), Some(_)) => format!("lost, {code}"),
        (Some(code), None) => format!("refused, {code}"),
        (None, _) if proposal.score.is_some() => "usable".to_owned(),
        (None, _) if over => "undecided when the loop ended".to_owned(),
        (None, _) => "not decided yet".to_owned(),
    };
    let verdict = proposal.score.map_or(verdict.clone(), |score| format!("{verdict}, ranked {score:.2}"));
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
    let mut rows: Vec<Vec<String>> = report
        .runs
        .iter()
        .map(|run| {
            let outcome = match (&run.error, run.stop_reason, run.status) {
                (Some(_), ..) => "unreadable".to_owned(),
                (None, Some(reason), _) => reason.title().to_owned(),
                (None, None, Some(status)) => headline(status, None),
                (None, None, None) => "-".to_owned(),
            };
            let goal = run.goal.as_deref().or(run.error.as_deref()).unwrap_or_default();
            vec![run.run_id.clone(), outcome, run.iterations.to_string(), run.calls.to_string(), goal.to_owned()]
        })
        .collect();
    // The goal takes what the other columns leave of a line.
    let head = ["loop", "outcome", "rounds", "calls", "goal"];
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let others: usize = (0..4).map(|column| widest(column).max(head[column].len()) + 3).sum();
    let left = COLUMNS.saturating_sub(others + 4).max(16);
    for row in &mut rows {
        row[4] = shorten(&row[4], left);
    }
    table(&head, &rows)
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
        text.push_str(&item(&format!("Check, {name}: `{command}`")));
    }
    if let Some(command) = &plan.checks.trial {
        text.push_str(&item(&format!("Trial command: `{command}`, in place of the tests when candidates are tried")));
    }
    if let Some(command) = &plan.method.setup_command {
        text.push_str(&item(&format!("Setup command: `{command}`, once in each new work tree")));
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
    text.push_str(&item(&method_line(plan)));
    text.push_str(&item(&codex_line(plan)));
    text.push_str(&limit_lines(plan));
    if plan.dry_run {
        text.push_str(&item("Dry run: proposals are made and ranked, nothing is applied"));
    }
    for note in notes {
        text.push_str(&item(&format!("Note: {note}")));
    }
    let _ = writeln!(text, "\nPlan hash: {hash}");
    text
}

/// Says how the loop goes about it: proposals, trials, place, and what becomes of a result.
fn method_line(plan: &Plan) -> String {
    let method = &plan.method;
    let propose = match method.propose {
        Propose::Auto => "as diffs, by agents where those fail",
        Propose::Diff => "as diffs",
        Propose::Agent => "by agents",
    };
    let trial = match method.trial {
        TrialOrder::Auto => "tried before they are ranked where the checks are quick",
        TrialOrder::BeforeRank => "tried before they are ranked",
        TrialOrder::AfterRank => "tried after they are ranked",
    };
    let jobs = if method.jobs > 1 { format!(", {} at once", method.jobs) } else { String::new() };
    let place = match method.place {
        Where::Auto => "a work tree of its own, or yours where the checks need it",
        Where::Worktree => "a work tree of its own",
        Where::InPlace => "your work tree",
    };
    let land = match plan.limits.land {
        Land::Auto => "a proven result is written into your work tree, uncommitted",
        Land::Never => "nothing is written into your work tree",
    };
    format!(
        "Method: {} a round {propose}, of at most {} each, {trial}{jobs}; in {place}; {land}",
        many(method.nproposals, "proposal"),
        many(method.max_patch_lines, "line"),
    )
}

fn codex_line(plan: &Plan) -> String {
    let codex = &plan.codex;
    let usual = codex.effort(CallKind::Evaluate);
    let others: Vec<String> = CallKind::ALL
        .into_iter()
        .filter(|kind| codex.effort(*kind) != usual)
        .map(|kind| format!("{} {}", kind.name(), codex.effort(kind)))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    let model = codex.model.as_ref().map_or_else(|| "its default model".to_owned(), |name| format!("model {name}"));
    let profile = codex.profile.as_ref().map(|name| format!(", profile {name}")).unwrap_or_default();
    let mcp = if codex.mcp.is_empty() { String::new() } else { format!(", MCP servers {}", codex.mcp.join(", ")) };
    format!("Codex: {model}, effort {usual}{others}{profile}{mcp}")
}

/// Says what the plan permits and forbids beyond the defaults.
fn limit_lines(plan: &Plan) -> String {
    let limits = &plan.limits;
    let mut text = String::new();
    for (label, names) in [
        ("Only changes", &limits.scope),
        ("Never changes", &limits.protect),
        ("May stay red", &plan.checks.known_red),
        ("Count neither way, as flaky", &plan.checks.flaky),
    ] {
        if !names.is_empty() {
            text.push_str(&item(&format!("{label}: {}", names.join(", "))));
        }
    }
    for allowed in &limits.allow_change {
        let reason = allowed.reason.as_ref().map(|reason| format!(" — {reason}")).unwrap_or_default();
        text.push_str(&item(&format!("May change tests or check configuration in {}{reason}", allowed.glob)));
    }
    if limits.allow_dirty {
        text.push_str(&item("Starts from the work tree as it is, uncommitted changes and all"));
    }
    match limits.require_proof {
        Some(ProofLevel::Measured) => text.push_str(&item("Proof: measured only")),
        Some(ProofLevel::Reviewed) if plan.checks.commands().is_empty() => {}
        Some(ProofLevel::Reviewed) => text.push_str(&item("Proof: reviewed is enough")),
        None => {}
    }
    text
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

    #[test]
    fn a_result_does_not_send_its_reader_to_the_result() {
        let told = [
            ("It is met; see what changed with `result`.", "It is met."),
            ("All are used; look at `result`; go on with `iterate -n N`.", "All are used; go on with `iterate -n N`."),
            ("No progress; see `result`; sharpen the goal.", "No progress; sharpen the goal."),
            ("Dry run; see them with `result`, and start without --dry-run.", "Dry run; start without --dry-run."),
        ];
        for (message, left) in told {
            assert_eq!(without_itself(message), left);
        }
    }

    #[test]
    fn a_heading_names_the_stop_reason_too_where_its_words_are_others() {
        let heading = |reason| headline(LoopStatus::Finished, Some(reason));
        assert_eq!(heading(StopReason::GoalMet), "goal met");
        assert_eq!(heading(StopReason::BudgetCalls), "calls used up (budget-calls)");
    }
}
