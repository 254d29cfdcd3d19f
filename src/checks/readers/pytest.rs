//! Reads pytest: normal, quiet, verbose, `-rA`, with pytest-xdist, errors of collection.

use std::collections::{BTreeMap, BTreeSet};

use super::tally::{self, Tally};
use super::{Counts, Reading, TestStatus, number, re};

/// What one run has shown so far.
#[derive(Default)]
struct Run {
    tests: BTreeMap<String, TestStatus>,
    messages: Vec<(String, String)>,
    /// First `E` line by the header of its section; `None` where two sections have that header.
    sections: BTreeMap<String, Option<String>>,
    section: Option<String>,
    /// Failing ids of the closing summary: whether the test itself is said to have failed, not only a subtest of it or
    /// its fixtures.
    listed: BTreeMap<String, bool>,
    /// Lines of the closing summary that name a failure.
    listings: u64,
    /// Tests that passed before something of theirs failed.
    passed_first: BTreeSet<String>,
    phase: Phase,
}

#[derive(Default, PartialEq, Clone, Copy)]
enum Phase {
    #[default]
    Progress,
    Sections,
    Summary,
}

/// Gives the sum of all pytest runs in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut readings = Vec::new();
    let mut run = Run::default();
    for line in text.lines() {
        if let Some(counts) = closing(line) {
            readings.push(finish(std::mem::take(&mut run), counts));
            continue;
        }
        if let Some(title) = title(line) {
            match title {
                "test session starts" => run = Run::default(),
                "short test summary info" => run.phase = Phase::Summary,
                "FAILURES" | "ERRORS" | "PASSES" | "XPASSES" | "warnings summary" => run.phase = Phase::Sections,
                _ => {}
            }
            continue;
        }
        match run.phase {
            Phase::Progress => {
                if let Some((id, status)) = progress(line) {
                    if status == TestStatus::Failed && run.tests.get(&id) == Some(&TestStatus::Passed) {
                        run.passed_first.insert(id.clone());
                    }
                    record(&mut run.tests, id, status);
                }
            }
            Phase::Sections => section_line(&mut run, line),
            Phase::Summary => summary_line(&mut run, line),
        }
    }
    if readings.is_empty() && run.phase == Phase::Summary && run.tests.values().any(|s| *s == TestStatus::Failed) {
        // `-qq` names the failing tests and counts nothing.
        readings.push(finish(run, Counts::default()));
    }
    if readings.is_empty() {
        return None;
    }
    let several = readings.len() > 1;
    let mut reading = tally::sum(readings);
    if several {
        // A report file holds the last run only; `junit::reconcile` reads this note.
        reading.notes.push(super::junit::SEVERAL_RUNS.to_owned());
    }
    Some(reading)
}

/// A test may pass and then fail to be torn down: failing stays.
fn record(tests: &mut BTreeMap<String, TestStatus>, id: String, status: TestStatus) {
    let slot = tests.entry(id).or_insert(status);
    if *slot != TestStatus::Failed {
        *slot = status;
    }
}

/// The words between the rows of `=` of a full-width header.
fn title(line: &str) -> Option<&str> {
    if !line.starts_with("==") || !line.ends_with("==") {
        return None;
    }
    Some(line.trim_matches('=').trim())
}

/// Counts of the last line of a run, for example `5 failed, 3 passed in 0.03s`.
fn closing(line: &str) -> Option<Counts> {
    let bare = line.trim_matches('=').trim();
    if !line.ends_with(['s', '=', ')']) || !bare.contains(" in ") {
        return None;
    }
    let (list, _) = bare
        .split_once(" in ")
        .filter(|(_, time)| re!(r"^[\d.]+(?:s| seconds)(?: \([\d:, a-z]+\))?$").is_match(time))?;
    if list == "no tests ran" {
        return Some(tally::counts(0, 0, 0));
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for part in list.split(", ") {
        let captures = re!(r"^(\d+) ([a-z]+(?: passed)?)$").captures(part)?;
        let count = number(&captures, 1)?;
        match &captures[2] {
            // A test that passes although marked to fail has run and not failed; a strict mark makes it fail.
            "passed" | "xpassed" => passed += count,
            "failed" | "error" | "errors" => failed += count,
            "skipped" | "xfailed" => skipped += count,
            "deselected" | "warning" | "warnings" | "rerun" | "reruns" | "subtests passed" | "subtest passed" => {}
            _ => return None,
        }
    }
    Some(tally::counts(passed, failed, skipped))
}

fn status_of(word: &str) -> Option<TestStatus> {
    Some(match word {
        "PASSED" | "XPASS" => TestStatus::Passed,
        "FAILED" | "ERROR" => TestStatus::Failed,
        "SKIPPED" => TestStatus::Skipped,
        "XFAIL" => TestStatus::ExpectedFailure,
        _ => return None,
    })
}

/// A line of `-v`, alone or from a worker of pytest-xdist.
fn progress(line: &str) -> Option<(String, TestStatus)> {
    if line.starts_with("[gw") {
        let captures = re!(r"^\[gw\d+\] \[ *\d+%\] ([A-Z]+) (.+?) *$").captures(line)?;
        return Some((captures[2].to_owned(), status_of(&captures[1])?));
    }
    if !line.contains("::") {
        return None;
    }
    let captures = re!(r"^(\S[^:]*::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)(?: \(.*\))? *(?:\[ *\d+%\])?$")
        .captures(line)?;
    Some((captures[1].to_owned(), status_of(&captures[2])?))
}

/// Keeps the first line of the error of each section (`E   ValueError: …`).
fn section_line(run: &mut Run, line: &str) {
    if let Some(captures) = re!(r"^_{2,} (.+) _{2,}$").captures(line) {
        let name = captures[1].to_owned();
        // Of two sections with one header neither can be told from the other.
        run.section = match run.sections.get_mut(&name) {
            Some(line) => {
                *line = None;
                None
            }
            None => Some(name),
        };
    } else if let Some(rest) = line.strip_prefix("E  ")
        && let Some(name) = run.section.take()
    {
        run.sections.insert(name, Some(rest.trim().to_owned()));
    }
}

/// A line of the closing summary: status, id and perhaps ` - ` and the message.
fn summary_line(run: &mut Run, line: &str) {
    let Some((word, rest)) = line.split_once(' ') else { return };
    let status = if word.starts_with("SUBFAIL") { Some(TestStatus::Failed) } else { status_of(word) };
    // `SKIPPED [1] file:line: reason` names no test.
    let Some(status) = status.filter(|s| *s != TestStatus::Skipped) else { return };
    let (id, message) = split_message(rest);
    record(&mut run.tests, id.to_owned(), status);
    if status == TestStatus::Failed {
        run.listings += 1;
        *run.listed.entry(id.to_owned()).or_default() |= word == "FAILED";
        if word.starts_with("SUBFAIL") {
            run.passed_first.insert(id.to_owned());
        }
        if !message.is_empty() {
            run.messages.push((id.to_owned(), message.to_owned()));
        }
    }
}

/// Parts id and message at the first ` - ` outside of the brackets of a parameter.
fn split_message(rest: &str) -> (&str, &str) {
    let mut from = 0;
    if let Some(open) = rest.find('[')
        && rest.find(" - ").is_none_or(|dash| open < dash)
    {
        if rest.ends_with(']') && !rest.contains("] - ") {
            return (rest, "");
        }
        from = rest.find("] - ").unwrap_or(open);
    }
    match rest[from..].find(" - ") {
        Some(at) => (&rest[..from + at], &rest[from + at + 3..]),
        None => (rest.trim_end(), ""),
    }
}

/// Counts tests where pytest counts events: a test whose teardown or subtest fails is one pass and one or more failures
/// in its closing line, and one failed test in its report. Left as it is where the summary does not name all failures.
fn count_tests(run: &Run, counts: Counts) -> Counts {
    let (Some(passed), Some(failed), Some(skipped)) = (counts.passed, counts.failed, counts.skipped) else {
        return counts;
    };
    if run.listings != failed {
        return counts;
    }
    let after_passing = |id: &str| {
        run.passed_first.contains(id) || run.sections.contains_key(&format!("ERROR at teardown of {}", tail(id)))
    };
    let twice = run.listed.iter().filter(|(id, itself)| !**itself && after_passing(id)).count() as u64;
    tally::counts(passed.saturating_sub(twice), run.listed.len() as u64, skipped)
}

/// What pytest puts into a header for a node id: classes and name.
fn tail(id: &str) -> String {
    id.split_once("::").map_or(id.to_owned(), |(_, tail)| tail.replace("::", "."))
}

fn finish(mut run: Run, counts: Counts) -> Reading {
    let counts = count_tests(&run, counts);
    let mut tally = Tally::default();
    for (id, status) in &run.tests {
        if *status == TestStatus::Failed {
            // The sections have the whole line; the summary cuts it to the width of the terminal.
            let tail = tail(id);
            let headers = [
                tail.clone(),
                format!("ERROR at setup of {tail}"),
                format!("ERROR at teardown of {tail}"),
                format!("ERROR collecting {id}"),
            ];
            if let Some(line) = headers.iter().find_map(|header| run.sections.remove(header).flatten()) {
                tally.error(id, &line);
            }
        }
        tally.add(id.clone(), *status);
    }
    for (id, message) in &run.messages {
        tally.error(id, message);
    }
    tally.finish("pytest", counts)
}
