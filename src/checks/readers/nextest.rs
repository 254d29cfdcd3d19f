//! Reads `cargo nextest run`.

use std::collections::BTreeMap;

use super::tally::{self, Tally};
use super::{Reading, TestStatus, number, re};

/// Width of the status column, which tells nextest's own lines from those of a test.
const STATUS_WIDTH: usize = 12;

/// Gives the sum of all nextest runs in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut readings = Vec::new();
    let mut tests: BTreeMap<String, TestStatus> = BTreeMap::new();
    let mut errors: Vec<(String, String)> = Vec::new();
    let mut running = false;
    let mut failing: Option<String> = None;
    let mut after_panic = false;
    for line in text.lines() {
        if line.starts_with("    Starting ") && re!(r"^    Starting \d+ tests? across").is_match(line) {
            running = true;
            tests.clear();
            errors.clear();
        } else if running && line.starts_with("     Summary [") {
            let mut tally = Tally::default();
            for (id, status) in std::mem::take(&mut tests) {
                tally.add(id, status);
            }
            for (id, error) in errors.drain(..) {
                tally.error(&id, &error);
            }
            let Some(counts) = summary(line) else { continue };
            // Tests that are filtered out or ignored are counted as skipped, never named.
            let complete = counts.run == Some(tally.counts().run.unwrap_or(0));
            readings.push(tally.finish_as("cargo-nextest", counts, complete));
            running = false;
        } else if running && let Some((id, status)) = test_line(line) {
            failing = (status == TestStatus::Failed).then(|| id.clone());
            after_panic = false;
            tests.insert(id, status);
        } else if let Some(id) = &failing {
            let trimmed = line.trim();
            if after_panic && !trimmed.is_empty() || trimmed.starts_with("Error: ") {
                errors.push((id.clone(), trimmed.to_owned()));
                failing = None;
            } else if trimmed.starts_with("thread '") && trimmed.contains(" panicked at ") {
                after_panic = true;
            }
        }
    }
    (!readings.is_empty()).then(|| tally::sum(readings))
}

/// Id and status of a line such as `        PASS [   0.024s] (1/8) demo tests::adds`.
fn test_line(line: &str) -> Option<(String, TestStatus)> {
    let (status, rest) = line.split_once(" [")?;
    if status.len() != STATUS_WIDTH {
        return None;
    }
    let word = re!(r"^(?:TRY \d+ |FLAKY \d+/\d+ ?|RETRY \d+/\d+ ?)?([A-Z]*)").captures(status.trim_start())?;
    let status = match &word[1] {
        "PASS" | "LEAK" => TestStatus::Passed,
        "" if status.trim_start().starts_with("FLAKY") => TestStatus::Passed,
        "FAIL" | "TIMEOUT" | "ABORT" | "TMT" | "XFAIL" | "FLKY-FL" => TestStatus::Failed,
        signal if signal.starts_with("SIG") => TestStatus::Failed,
        "SKIP" => TestStatus::Skipped,
        _ => return None,
    };
    let captures = re!(r"^[ >\d.]+s\] (?:\( *\d+/\d+\) )?(\S+ +\S.*)$").captures(rest)?;
    Some((captures[1].split_whitespace().collect::<Vec<_>>().join(" "), status))
}

fn summary(line: &str) -> Option<super::Counts> {
    let rest = re!(r"\] +(\d+)(?:/\d+)? tests? run: (.*)$").captures(line)?;
    let parts = re!(r" \([^)]*\)").replace_all(&rest[2], "");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for captures in re!(r"(\d+) ([a-z ]+)").captures_iter(&parts) {
        let count = number(&captures, 1)?;
        match captures[2].trim() {
            "passed" => passed += count,
            "skipped" => skipped += count,
            // failed, timed out, exec failed
            _ => failed += count,
        }
    }
    Some(tally::counts(passed, failed, skipped))
}
