//! `review`: asks, shows and counts.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::arguments::{Policy, Review, ReviewCommand, Switch};
use super::input::read_stdin;
use super::output;
use crate::error::{self, Failure};
use crate::operations::{self, ReviewRequest, ReviewStats, Session, Watch};
use crate::plan::Money;
use crate::report;
use crate::review::{Cause, PolicyRequest, Tally, review_text};
use crate::runtime::StopSignal;

/// The words that are commands of their own.
const COMMANDS: [&str; 5] = ["list", "show", "stats", "policy", "gate"];

/// Lines about what Codex is doing come at most this often.
const ACTIVITY_EVERY: Duration = Duration::from_secs(10);

/// Shows progress on standard error, and stops on a signal.
struct Terminal {
    stop: StopSignal,
    began: Instant,
    shown: Option<Instant>,
}

impl Watch for Terminal {
    fn activity(&mut self, text: &str) {
        if self.shown.is_none_or(|shown| shown.elapsed() >= ACTIVITY_EVERY) {
            self.shown = Some(Instant::now());
            let elapsed = report::duration(self.began.elapsed().as_millis() as u64);
            eprintln!("    review · {elapsed} · {text}");
        }
    }

    fn stop(&mut self) -> bool {
        self.stop.signal().is_some()
    }
}

/// Runs the command and returns its exit code.
pub(super) fn run(arguments: &Review, session: &Session, json: bool) -> anyhow::Result<u8> {
    match &arguments.command {
        Some(ReviewCommand::List) => list(session, json),
        Some(ReviewCommand::Show { id }) => {
            let review = operations::review_show(session, id)?;
            print(&review, json, || review_text(&review));
            Ok(0)
        }
        Some(ReviewCommand::Stats) => {
            let stats = operations::review_stats(session)?;
            print(&stats, json, || stats_text(&stats));
            Ok(0)
        }
        Some(ReviewCommand::Policy(policy)) => run_policy(policy, json),
        Some(ReviewCommand::Gate { switch }) => {
            let gate = match switch {
                Some(switch) => operations::set_review_gate(session, *switch == Switch::On)?,
                None => operations::review_gate(session)?,
            };
            let word = if gate.on { "on" } else { "off" };
            print(&gate, json, || format!("The review gate is {word}; {}.", gate.hint));
            Ok(0)
        }
        None => ask(arguments, session, json),
    }
}

fn print(document: &impl serde::Serialize, json: bool, text: impl FnOnce() -> String) {
    if json {
        output::json(document);
    } else {
        output::text(&text());
    }
}

fn ask(arguments: &Review, session: &Session, json: bool) -> anyhow::Result<u8> {
    // Behind a flag clap takes these for a prompt, and a prompt costs money.
    if let Some(name) = arguments.words.first().filter(|word| COMMANDS.contains(&word.as_str())) {
        return Err(Failure::usage(
            format!("`{name}` behind a flag could be a prompt"),
            format!("write flags last (`loop-companion review {name} --json`); a question goes between quotes"),
        )
        .into());
    }
    let prompt = match arguments.words.as_slice() {
        [] => None,
        [dash] if dash == "-" => Some(read_stdin("the prompt on standard input")?),
        words => Some(words.join(" ")),
    };
    let request = ReviewRequest {
        prompt,
        kind: arguments.kind,
        topic: arguments.topic.clone(),
        question: arguments.question.clone(),
        options: arguments.option.clone(),
        concern: arguments.concern.clone(),
        proposed: arguments.proposed.clone(),
        context: arguments.context.clone(),
        files: arguments.file.clone(),
        diff: arguments.diff.clone(),
        since: None,
        agent_file: arguments.agent_file.clone(),
        effort: arguments.effort.clone(),
        model: arguments.model.clone(),
        timeout: arguments.timeout,
        output: arguments.output.clone(),
        env_file: arguments.env_file.clone(),
        fresh: arguments.fresh,
        max_reviews: arguments.max_reviews,
        session: None,
    };
    // There is no stop file: a review lives as long as the command.
    let stop = StopSignal::listen(Path::new("/nonexistent/stop"), false)?;
    let mut terminal = Terminal { stop: stop.clone(), began: Instant::now(), shown: None };
    let review = operations::review(session, &request, &mut terminal)?;
    print(&review, json, || review_text(&review));
    match stop.signal() {
        Some(signal) if review.cause == Some(Cause::Stopped) => Ok(error::signal_exit_code(signal)),
        _ => Ok(review.verdict.exit_code()),
    }
}

fn list(session: &Session, json: bool) -> anyhow::Result<u8> {
    let list = operations::review_list(session)?;
    print(&list, json, || {
        if list.reviews.is_empty() {
            return "No review has been held here.".to_owned();
        }
        let rows = list.reviews.iter().map(|row| {
            let cause = row.cause.map(|cause| format!(" ({})", cause.name())).unwrap_or_default();
            format!("{:<11} {:<14} {}{cause}\n", row.verdict.name(), row.kind.shown(), row.id)
        });
        rows.collect()
    });
    Ok(0)
}

fn run_policy(policy: &Policy, json: bool) -> anyhow::Result<u8> {
    let report = operations::review_policy(&PolicyRequest {
        kind: policy.kind,
        confidence: policy.confidence,
        stakes: policy.stakes,
        options: policy.options,
        decision: policy.decision,
    })?;
    let word = if report.review { "Ask for a review" } else { "No review is needed" };
    print(&report, json, || format!("{word}: {}.", report.reason));
    Ok(0)
}

fn stats_text(stats: &ReviewStats) -> String {
    let mut text = format!("{}\n", tally_text("all", &stats.total));
    for row in &stats.sessions {
        let name = row.session.as_deref().unwrap_or("no session");
        let _ = writeln!(text, "{}", tally_text(name, &row.tally));
    }
    for (verdict, followed) in &stats.followed {
        let words: Vec<String> = followed.iter().map(|(word, count)| format!("{count} {word}")).collect();
        let _ = writeln!(text, "files since {verdict}: {}", words.join(", "));
    }
    let _ = writeln!(
        text,
        "today: {} of {} reviews; a session may have {}",
        stats.today, stats.limits.day, stats.limits.session
    );
    text
}

fn tally_text(name: &str, tally: &Tally) -> String {
    let verdicts: Vec<String> = tally.verdicts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let causes: Vec<String> = tally.causes.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let mut text = format!("{name}: {}", crate::report::many(tally.reviews, "review"));
    for (before, words, after) in [(" · ", verdicts, ""), (" (", causes, ")")] {
        if !words.is_empty() {
            let _ = write!(text, "{before}{}{after}", words.join(", "));
        }
    }
    let _ = write!(text, " · {} repeated · {} tokens", tally.repeated, report::count(tally.tokens.total()));
    if let Some(money) = tally.cost.map(Money::units) {
        let _ = write!(text, " · {money:.4}");
        if tally.reviews > 0 {
            let _ = write!(text, " ({:.4} a review)", money / f64::from(tally.reviews));
        }
    }
    text
}
