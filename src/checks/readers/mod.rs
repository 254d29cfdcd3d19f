//! Reads test ids, counts and error counts out of what test runners, linters and type checkers print.
//!
//! One format a file. Unknown output is `None`, never zero. Reads text only: never starts a process, and touches the
//! file system in [`instrument`] alone.

mod biome;
mod cargo_check;
mod cargo_test;
mod eslint;
mod fingerprint;
mod flake8;
mod generic;
mod go_test;
mod go_vet;
mod golangci;
mod instrument;
mod jest;
mod junit;
mod mocha;
mod mypy;
mod nextest;
mod node_spec;
mod pylint;
mod pyright;
mod pytest;
mod ruff;
mod tally;
mod tap;
mod tsc;
mod unittest;
mod vitest;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use fingerprint::error_fingerprint;
pub use instrument::{Instrument, ReportFile, instrument};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened to one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestStatus {
    /// It ran and passed.
    Passed,
    /// It ran and failed, or could not be collected or set up.
    Failed,
    /// It was skipped, ignored, or marked todo.
    Skipped,
    /// It failed as its mark expects (xfail, `todo` that fails): counts as skipped, never as passed.
    ExpectedFailure,
}

/// Counts of one run. `None` where the output does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Tests that ran: passed plus failed.
    pub run: Option<u64>,
    /// Tests that passed.
    pub passed: Option<u64>,
    /// Tests that failed.
    pub failed: Option<u64>,
    /// Tests that were skipped, ignored, or failed as expected.
    pub skipped: Option<u64>,
}

/// What a check's output says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Name of the format that was recognised, for example `pytest`.
    pub runner: Option<String>,
    /// Counts of tests.
    pub counts: Counts,
    /// Tests by id, or `None` where the output names none (a quiet summary, an unknown runner). Where only the failing
    /// ones are named (pytest -q), `ids` holds those and `ids_complete` is false.
    pub ids: Option<BTreeMap<String, TestStatus>>,
    /// Whether `ids` names every test of the run, not only the failing ones.
    pub ids_complete: bool,
    /// First line of the failure of each failing id (exception type and message), where the output shows it.
    pub first_errors: BTreeMap<String, String>,
    /// Number of errors a linter, type checker or compiler reports.
    pub errors: Option<u64>,
    /// What a reader of the receipt should know, for example that report and output disagree.
    pub notes: Vec<String>,
}

/// Compiles a constant pattern once and gives it back.
macro_rules! re {
    ($pattern:literal) => {{
        static RE: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| match regex::Regex::new($pattern) {
            Ok(regex) => regex,
            // Each pattern is a constant that the tests of its reader run.
            Err(error) => unreachable!("{error}"),
        });
        &*RE
    }};
}
pub(crate) use re;

/// A reader of one test runner's output.
type TestReader = fn(&str) -> Option<Reading>;
/// A reader of one linter's output: the number of errors.
type ErrorReader = fn(&str) -> Option<u64>;

/// The test runners, with the words of a command line that start them directly.
const TEST_READERS: &[(&[&str], TestReader)] = &[
    (&["nextest"], nextest::read),
    (&["cargo test", "cargo t"], cargo_test::read),
    (&["pytest", "py.test"], pytest::read),
    (&["unittest"], unittest::read),
    (&["node --test"], node_spec::read),
    (&["node --test", "tap", "prove"], tap::read),
    (&["jest"], jest::read),
    (&["vitest"], vitest::read),
    (&["mocha"], mocha::read),
    (&["go test"], go_test::read),
];

/// Most packages of a workspace that are told apart, so that a text of prefixes alone costs no more than others.
const MAX_PREFIXES: usize = 1000;

/// The linters and type checkers.
const ERROR_READERS: &[(&str, ErrorReader)] = &[
    ("tsc", tsc::read),
    ("eslint", eslint::read),
    ("ruff", ruff::read),
    ("flake8", flake8::read),
    ("pylint", pylint::read),
    ("mypy", mypy::read),
    ("pyright", pyright::read),
    ("cargo", cargo_check::read),
    ("golangci-lint", golangci::read),
    ("go", go_vet::read),
    ("biome", biome::read),
];

/// Gives what the output of a check says: test counts and ids, and the errors of linters and type checkers.
///
/// `reports` are the files that [`Instrument::collect`] found after the run, `command` is the check as the user typed
/// it: where it starts one known runner directly, only that runner's format is believed, so that a program that prints
/// another runner's words counts for nothing. Several runs in one output are summed. Nothing here fails: output that
/// no reader knows gives the empty [`Reading`].
pub fn read(output: &str, reports: &[ReportFile], command: &str) -> Reading {
    let text = plain(output);
    let mut runs: Vec<Reading> = Vec::new();
    let named = directly_named(command);
    for (words, reader) in TEST_READERS {
        if named.as_ref().is_none_or(|named| words.iter().any(|word| named.contains(word)))
            && let Some(reading) = reader(&text)
        {
            runs.push(reading);
        }
    }
    if runs.is_empty() && named.is_some() {
        // A wrapper may carry the name of a runner and start another one.
        runs.extend(TEST_READERS.iter().filter_map(|(_, reader)| reader(&text)));
    }
    if runs.is_empty() {
        for (prefix, part) in by_prefix(&text) {
            let readings = TEST_READERS.iter().filter_map(|(_, reader)| reader(&part));
            runs.extend(readings.map(|reading| tally::prefixed(reading, prefix)));
        }
    }
    let mut notes = Vec::new();
    apply_reports(&mut runs, reports, &mut notes);
    let has_tests = !runs.is_empty();
    let mut reading = tally::sum(runs);
    reading.notes.extend(notes);
    reading.errors = read_errors(&text, command, has_tests, &mut reading.runner);
    reading
}

/// Words that start a runner directly, if `command` is one simple command and names exactly one kind of runner.
fn directly_named(command: &str) -> Option<Vec<&'static str>> {
    if command.contains(['&', '|', ';', '\n', '`']) || command.contains("$(") {
        return None;
    }
    let squeezed = format!(" {} ", command.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut found: Vec<&'static str> = Vec::new();
    for word in TEST_READERS.iter().flat_map(|(words, _)| words.iter().copied()) {
        let hit = squeezed.match_indices(word).any(|(at, _)| {
            let before = squeezed[..at].chars().next_back();
            let after = squeezed[at + word.len()..].chars().next();
            matches!(before, Some(' ' | '/')) && after == Some(' ')
        });
        if hit && !found.contains(&word) {
            found.push(word);
        }
    }
    // `cargo nextest run` holds no other name; two names (`tap` as a reporter of another runner) are no clear word.
    (found.len() == 1).then_some(found)
}

/// Parts the text by what a workspace runner (`pnpm -r`, turbo, lerna, docker compose) puts before each line of a
/// package: `packages/a test: `, `a:test: `, `a | `. Lines of packages that run at once are mixed only between prefixes.
fn by_prefix(text: &str) -> BTreeMap<&str, String> {
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    for line in text.lines() {
        let pattern = re!(r"^([\w@./-][\w@./:-]*(?: [\w:-]+)?) ?(?::|\|)(?: (.*))?$");
        let Some(captures) = pattern.captures(line) else { continue };
        let Some(prefix) = captures.get(1).map(|found| found.as_str()) else { continue };
        if parts.len() == MAX_PREFIXES && !parts.contains_key(prefix) {
            continue;
        }
        let part = parts.entry(prefix).or_default();
        part.push_str(captures.get(2).map_or("", |found| found.as_str()));
        part.push('\n');
    }
    parts
}

/// Puts what the report files say in the place of the pytest run that wrote them.
fn apply_reports(runs: &mut Vec<Reading>, reports: &[ReportFile], notes: &mut Vec<String>) {
    let mut read = Vec::new();
    for report in reports {
        match junit::read(&report.text) {
            Ok(Some(reading)) => read.push(reading),
            Ok(None) => {}
            Err(error) => notes.push(format!("report {} is not read: {error:#}", report.path.display())),
        }
    }
    if read.is_empty() {
        return;
    }
    let report = tally::sum(read);
    if runs.is_empty() {
        runs.push(report);
        return;
    }
    let Some(run) = runs.iter_mut().find(|run| run.runner.as_deref() == Some("pytest")) else {
        notes.push("a report of another runner than the one in the output is not used".to_owned());
        return;
    };
    *run = junit::reconcile(&report, run, notes);
}

/// Sums the errors of all linters whose format is in the output; the generic format only where there is no other.
fn read_errors(text: &str, command: &str, has_tests: bool, runner: &mut Option<String>) -> Option<u64> {
    let mut total: Option<u64> = None;
    let mut names = Vec::new();
    for (name, reader) in ERROR_READERS {
        // ruff's concise lines are flake8's; only ruff prints a sum, so flake8 yields unless it is asked for by name.
        if *name == "flake8" && names.contains(&"ruff") && !command.contains("flake8") {
            continue;
        }
        if let Some(errors) = reader(text) {
            total = Some(total.unwrap_or(0) + errors);
            names.push(*name);
        }
    }
    if total.is_none() && !has_tests {
        total = generic::read(text);
        if total.is_some() {
            names.push("generic");
        }
    }
    if runner.is_none() && !names.is_empty() {
        *runner = Some(names.join("+"));
    }
    total
}

/// Gives the text without terminal colours and with plain line ends.
fn plain(output: &str) -> Cow<'_, str> {
    if !output.contains(['\x1b', '\r']) {
        return Cow::Borrowed(output);
    }
    // CSI sequences, then OSC (titles, links) up to their end mark, then the two-character ones.
    let bare =
        re!(r"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[()][0-9A-Za-z]|\x1b[=>78cDEHM]")
            .replace_all(output, "");
    Cow::Owned(bare.replace("\r\n", "\n").replace('\r', "\n"))
}

/// Largest count that is believed: sums of counts stay far from the edge of their type, whatever an output claims.
const MOST_COUNTED: u64 = 1_000_000_000;

/// The number in a regex group, if it matched and is one that can be.
fn number(captures: &regex::Captures<'_>, group: usize) -> Option<u64> {
    figure(captures.get(group)?.as_str())
}

/// A count as an output claims it, if it is one that can be.
fn figure(text: &str) -> Option<u64> {
    text.parse().ok().filter(|count| *count <= MOST_COUNTED)
}

#[cfg(test)]
mod tests;
