//! The command line: parses, calls the operations, prints. The only place that prints.

#![expect(clippy::print_stderr, reason = "the owner of the terminal")]

mod arguments;
mod commands;
mod demo;
mod hook;
mod hosts;
mod input;
mod output;
mod review;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{self, Environment};
use crate::error;
use crate::masking;
use crate::operations::{self, Session};
use crate::process;
pub use arguments::{Arguments, Command};

/// Runs the program with these arguments, the program's name first, and returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|first| first == process::SHIM_ARGUMENT) {
        return process::shim_main(arguments.into_iter().skip(2));
    }
    if let Ok(shim) = process::Shim::current() {
        process::use_shim(shim);
    }
    masking::tell(config::secrets());
    if arguments.get(1).is_some_and(|first| first == "hook" || first == "host") {
        return hosts::main(&arguments);
    }
    if let Some(order) = operations::is_worker(&arguments) {
        return commands::work(&order);
    }
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let parsed = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&error, wants_json),
    };
    let json = parsed.json;
    // The demo's commands are for the repository that it lays out.
    if !matches!(parsed.command, Command::Demo(_)) {
        output::typed_dir(&parsed.dir);
    }
    let session = Session { dir: parsed.dir.clone(), environment: Environment::read(), worker_log: None };
    match commands::run(parsed.command, &session, json) {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(&error, json),
    }
}

/// Prints what clap says; help and version are no errors.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let (message, hint) = told(&error.render().to_string());
        return report(&error::Failure::usage(message, hint).into(), true);
    }
    let _ = error.print();
    ExitCode::from(error::ExitCode::Usage as u8)
}

/// Returns message and hint of what clap prints for people: the first paragraph is what happened, tips and the usage
/// line are what to do.
fn told(text: &str) -> (String, String) {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    let message = flat(paragraphs.first().map_or("", |first| first.trim_start_matches("error: ")));
    let mut hints: Vec<String> = paragraphs
        .iter()
        .skip(1)
        .flat_map(|paragraph| paragraph.lines())
        .filter_map(|line| line.trim().strip_prefix("tip: ").map(flat))
        .collect();
    hints.extend(
        paragraphs
            .iter()
            .find_map(|paragraph| paragraph.strip_prefix("Usage: "))
            .map(|usage| format!("usage: {}", flat(usage))),
    );
    if hints.is_empty() {
        hints.push("`--help` after the command explains it".into());
    }
    (message, hints.join("; "))
}

/// Prints an error: for programs as JSON on standard output, for people on standard error.
fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    if error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    }) {
        // The reader has seen enough.
        return ExitCode::SUCCESS;
    }
    let (code, mut document) = error::describe(error);
    document.error.message = output::again_in(&document.error.message);
    document.error.hint = document.error.hint.map(|hint| output::again_in(&hint));
    if json {
        output::json(&document);
    } else {
        output::note(&format!("error: {}", document.error.message));
        if let Some(hint) = &document.error.hint {
            output::note(&format!("hint: {hint}"));
        }
    }
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> (String, String) {
        let all = ["loop-companion"].iter().chain(arguments);
        told(&Arguments::try_parse_from(all).unwrap_err().render().to_string())
    }

    #[test]
    fn a_program_reads_what_a_person_would_of_a_wrong_command_line() {
        for (arguments, message, hint) in [
            (&["start", "x", "--tets-cmd", "t"][..], "'--tets-cmd'", "'--test-cmd'"),
            (&["statu"], "'statu'", "'status'"),
            (&["start", "x", "--propose", "agents"], "possible values: auto, diff, agent", "'agent'"),
            (&["start", "--goal", "x", "more"], "'--goal <TEXT>'", "usage: loop-companion start"),
            (&["start", "x", "--task-file", "y"], "'--task-file <PATH>'", "usage: loop-companion start"),
            (&["start", "x", "--args-stdin"], "'--args-stdin'", "usage: loop-companion start"),
            (&["start", "x", "--max-iter", "-1"], "-1 is not in", "--help"),
            (&["start", "x", "--wait", "--background"], "'--background'", "usage"),
        ] {
            let told = refused(arguments);
            assert!(told.0.contains(message) && told.1.contains(hint), "{arguments:?}: {told:?}");
        }
    }
}
