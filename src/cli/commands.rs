//! One function per command: reads what standard input holds, calls the operation, prints its answer.

use std::io::IsTerminal;

use anyhow::Context;

use super::arguments::{Command, Iterate, Preflight, Prune, ResultArgs, Resume, Start, Status, Stop, Trust, Wait};
use super::{demo, input, output, review, terminal};
use crate::engine::TreeAnswer;
use crate::error::{self, Failure};
use crate::operations::{self, Action, PlanReport, PlanRequest, Raise, Session};
use crate::options::Options;
use crate::report::{self, LoopStatus, SCHEMA_VERSION, plan_text, result_text, status_text};

/// Runs a command and returns the exit code.
pub(super) fn run(command: Command, session: &Session, json: bool) -> anyhow::Result<u8> {
    match command {
        Command::Start(start) => run_start(&start, session, json),
        Command::Status(status) => run_status(&status, session, json),
        Command::Result(result) => run_result(&result, session, json),
        Command::Iterate(iterate) => run_iterate(&iterate, session, json),
        Command::Resume(resume) => run_resume(&resume, session, json),
        Command::Wait(wait) => run_wait(&wait, session, json),
        Command::Stop(stop) => run_stop(&stop, session, json),
        Command::History => run_history(session, json),
        Command::Stats => {
            let report = operations::stats(session)?;
            if json {
                output::json(&report);
            } else {
                output::text(&report::stats_text(&report));
            }
            Ok(0)
        }
        Command::Prune(arguments) => run_prune(&arguments, session, json),
        Command::Model(model) => {
            let report = operations::set_model(session, model.model, model.effort)?;
            if json {
                output::json(&report);
            } else {
                let name = report.model.as_deref().unwrap_or("Codex's default");
                let when = if report.running { " (from the running loop's next call on)" } else { "" };
                output::text(&format!("model {name}, effort {}{when}", report.effort));
            }
            Ok(0)
        }
        Command::Preflight(preflight) => run_preflight(&preflight, session, json),
        Command::Detect => run_detect(session, json),
        Command::Review(arguments) => review::run(&arguments, session, json),
        Command::Mcp => crate::mcp::serve(session.clone()).map(|signal| signal.map_or(0, error::signal_exit_code)),
        Command::Trust(trust) => run_trust(&trust, session, json),
        Command::Demo(arguments) => demo::run(&arguments, session, json),
        Command::Hook(_) | Command::Host(_) => Err(Failure::usage(
            "that is a command for hosts",
            "`hook` and `host` come first on their command line; see `loop-companion help` for the others",
        )
        .into()),
    }
}

fn run_start(start: &Start, session: &Session, json: bool) -> anyhow::Result<u8> {
    let (request, stdin) = input::request(start, session)?;
    let approved = start.approved.clone().or(stdin.approved);
    let yes = start.yes || stdin.yes;
    let mut terminal = terminal::Progress::new();
    let only_plan = start.plan || stdin.plan;
    if only_plan && approved.is_some() {
        return Err(Failure::usage(
            "--plan starts nothing, and --approved starts a plan",
            "type one of the two: `start --plan` to see the plan, `start --approved HASH` to start it",
        )
        .into());
    }
    if let Some(hash) = approved {
        // Whatever is typed beside the hash has to make the very plan; nothing of it is left out silently.
        let typed = (request != PlanRequest::default()).then_some(request);
        if start.background {
            operations::check_approved(session, &hash, typed)?;
            return launch(session, Action::Start { plan_hash: hash }, json);
        }
        let ended = operations::start_approved(session, &hash, typed, &mut terminal)?;
        return Ok(terminal.finish(&ended, json));
    }
    let (mut report, codex) = operations::plan(session, &request)?;
    if only_plan {
        if json {
            output::json(&report);
        } else {
            output::text(&plan(&report));
        }
        return Ok(0);
    }
    output::note(&plan(&report));
    if !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        if !approve()? {
            eprintln!("Nothing was started.");
            return Ok(0);
        }
        report.unconfirmed.clear();
    }
    operations::confirmed(&report)?;
    if start.background {
        return launch(session, Action::Start { plan_hash: report.plan_hash }, json);
    }
    let ended = operations::start(session, report, &codex, &mut terminal)?;
    Ok(terminal.finish(&ended, json))
}

fn plan(report: &PlanReport) -> String {
    plan_text(&report.plan, &report.plan_hash, &report.notes, &report.forecast)
}

fn approve() -> anyhow::Result<bool> {
    eprint!("Start this loop? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn no_loop(json: bool) {
    if json {
        output::json(&serde_json::json!({"schemaVersion": SCHEMA_VERSION, "status": LoopStatus::None}));
    } else {
        let text = "No loop has run in this work tree. Start one with `loop-companion start`.";
        output::text(&output::again_in(text));
    }
}

fn run_status(status: &Status, session: &Session, json: bool) -> anyhow::Result<u8> {
    let show = |report: &report::StatusReport| {
        let mut report = report.clone();
        output::again(&mut report.next);
        if json {
            output::json(&report);
        } else {
            output::text(&status_text(&report));
        }
    };
    let shown = if status.follow {
        let mut first = true;
        operations::status_watch(session, |report| {
            if !first && !json {
                output::text("");
            }
            first = false;
            show(report);
            Ok(true)
        })?
    } else {
        let report = operations::status(session)?;
        if let Some(report) = &report {
            show(report);
        }
        report
    };
    if shown.is_none() {
        no_loop(json);
    }
    Ok(0)
}

/// Starts a worker and says how to watch it.
fn launch(session: &Session, action: Action, json: bool) -> anyhow::Result<u8> {
    let mut launched = operations::launch(session, action)?;
    output::again(&mut launched.next);
    if json {
        output::json(&launched);
    } else {
        output::text(&output::again_in(&format!(
            "Loop {} runs on its own (pid {}).\nIts messages go to {}\nWatch it with `loop-companion status --follow`; \
             stop it with `loop-companion stop`.",
            launched.run_id, launched.pid, launched.log
        )));
    }
    Ok(0)
}

/// Runs as a worker of its own session.
pub(super) fn work(order: &std::path::Path) -> std::process::ExitCode {
    let mut progress = terminal::Progress::new();
    match operations::work(order, crate::config::Environment::read(), &mut progress) {
        Ok(ended) => std::process::ExitCode::from(ended.exit_code()),
        Err(error) => super::report(&error, false),
    }
}

fn run_wait(arguments: &Wait, session: &Session, json: bool) -> anyhow::Result<u8> {
    let Some((mut report, timed_out)) = operations::wait(session, arguments.timeout.map(|span| span.ms))? else {
        no_loop(json);
        return Ok(crate::error::ExitCode::Usage as u8);
    };
    output::again(&mut report.next);
    if json {
        output::json(&report);
    } else {
        output::text(&status_text(&report));
    }
    if timed_out {
        return Ok(crate::error::ExitCode::TimedOut as u8);
    }
    Ok(match (report.status, report.stop_reason) {
        (LoopStatus::Finished, Some(reason)) => reason.exit_code(),
        (LoopStatus::Finished, None) => 0,
        _ => crate::error::ExitCode::NotMet as u8,
    })
}

fn run_history(session: &Session, json: bool) -> anyhow::Result<u8> {
    let report = operations::history(session)?;
    if json {
        output::json(&report);
    } else if report.runs.is_empty() {
        output::text("No loop has run in this work tree.");
    } else {
        output::text(&report::history_text(&report));
    }
    Ok(0)
}

fn run_prune(arguments: &Prune, session: &Session, json: bool) -> anyhow::Result<u8> {
    let report = operations::prune(session, arguments.keep)?;
    if json {
        output::json(&report);
    } else {
        output::text(&format!("{} removed, {} kept.", report::many(report.removed.len() as u64, "loop"), report.kept));
    }
    Ok(0)
}

fn run_result(arguments: &ResultArgs, session: &Session, json: bool) -> anyhow::Result<u8> {
    if arguments.patch {
        output::bytes(&operations::patch(session, arguments.iteration)?);
        return Ok(0);
    }
    if arguments.apply {
        let report = operations::apply(session, arguments.iteration)?;
        if json {
            output::json(&report);
        } else {
            output::text(&report.message);
        }
        return Ok(0);
    }
    if let Some(name) = &arguments.branch {
        let report = operations::branch(session, name)?;
        if json {
            output::json(&report);
        } else {
            let mut text =
                format!("Branch {} has {}:\n", report.branch, report::many(report.commits.len() as u64, "commit"));
            for commit in &report.commits {
                text.push_str(&report::wrap(&format!("{:.10} ", commit.commit), "           ", &commit.subject));
            }
            output::text(&text);
        }
        return Ok(0);
    }
    let mut report = operations::result(session, arguments.iteration)?;
    output::again(&mut report.next);
    if json {
        output::json(&report);
    } else {
        output::text(&result_text(&report));
    }
    Ok(0)
}

fn run_iterate(arguments: &Iterate, session: &Session, json: bool) -> anyhow::Result<u8> {
    let mut terminal = terminal::Progress::new();
    let (ended, ran) = operations::iterate(session, arguments.count, arguments.dry_run, &mut terminal)?;
    let code = terminal.finish(&ended, json);
    Ok(match (ran, ended.signal) {
        (_, Some(_)) => code,
        (true, None) => 0,
        (false, None) => match code {
            0 => 1,
            code => code,
        },
    })
}

fn run_resume(arguments: &Resume, session: &Session, json: bool) -> anyhow::Result<u8> {
    let raise = Raise {
        max_iterations: arguments.max_iter,
        max_time_ms: arguments.max_time.map(|span| span.ms),
        max_calls: arguments.max_calls,
        max_tokens: arguments.max_tokens,
        max_cost: arguments.max_cost,
    };
    let answer = match (arguments.adopt, arguments.discard) {
        (true, _) => Some(TreeAnswer::Adopt),
        (_, true) => Some(TreeAnswer::Discard),
        _ => None,
    };
    if arguments.background {
        return launch(session, Action::Resume { raise, answer }, json);
    }
    let mut terminal = terminal::Progress::new();
    let ended = operations::resume(session, &raise, answer, &mut terminal)?;
    Ok(terminal.finish(&ended, json))
}

fn run_stop(arguments: &Stop, session: &Session, json: bool) -> anyhow::Result<u8> {
    let mut report = operations::stop(session, arguments.force)?;
    report.message = output::again_in(&report.message);
    if json {
        output::json(&report);
    } else {
        output::text(&report.message);
    }
    Ok(u8::from(!report.stopped))
}

fn run_preflight(arguments: &Preflight, session: &Session, json: bool) -> anyhow::Result<u8> {
    let options = Options { allow_dirty: arguments.allow_dirty.then_some(true), ..Options::default() };
    let report = operations::preflight(session, &options)?;
    if json {
        output::json(&report);
    } else {
        let mut text = String::new();
        for row in &report.rows {
            let mark = if row.ok { "ok  " } else { "FAIL" };
            text.push_str(&report::wrap(&format!("{mark} {:<8} ", row.name), "              ", &row.detail));
            if let Some(hint) = &row.hint {
                text.push_str(&report::wrap("              → ", "                ", hint));
            }
        }
        output::text(&text);
    }
    Ok(if report.ok { 0 } else { crate::error::ExitCode::Preflight as u8 })
}

fn run_trust(arguments: &Trust, session: &Session, json: bool) -> anyhow::Result<u8> {
    let report = if arguments.revoke { operations::distrust(session)? } else { operations::trust(session)? };
    if json {
        output::json(&report);
        return Ok(0);
    }
    let mut text = if report.trusted {
        format!("{} is trusted as it is now; after any change it has to be trusted again.\n", report.file)
    } else {
        format!("{} is not trusted.\n", report.file)
    };
    for setting in &report.settings {
        text.push_str(&report::wrap("  ", "    ", setting));
    }
    output::text(&text);
    Ok(0)
}

fn run_detect(session: &Session, json: bool) -> anyhow::Result<u8> {
    let report = operations::detect(session)?;
    if json {
        output::json(&report);
        return Ok(0);
    }
    let detection = &report.detection;
    let mut text = String::new();
    if detection.proposals.is_empty() {
        text.push_str("No check command was found. Name one with --test-cmd, or go on without with --no-test.\n");
    }
    for proposal in &detection.proposals {
        let kind = format!("{:?}", proposal.kind).to_lowercase();
        text.push_str(&report::wrap(
            &format!("{kind:<5} "),
            "      ",
            &format!("`{}` — {}", proposal.command, proposal.evidence),
        ));
    }
    if !detection.goal_files.is_empty() {
        text.push_str(&report::wrap("goal files: ", "", &detection.goal_files.join(", ")));
    }
    for note in &detection.notes {
        text.push_str(&report::wrap("note: ", "      ", note));
    }
    output::text(&text);
    Ok(0)
}
