//! Reads vitest: its default and its verbose reporter.

use std::collections::BTreeMap;

use super::tally::{self, Tally};
use super::{Reading, TestStatus, number, re};

#[derive(Default)]
struct Run {
    tests: BTreeMap<String, TestStatus>,
    errors: Vec<(String, String)>,
    broken: u64,
    message_of: Option<String>,
    /// Whether the list of failures has begun, after which no line of the tree comes.
    closing: bool,
}

/// Gives the sum of all vitest runs in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut readings = Vec::new();
    let mut run = Run::default();
    for line in text.lines() {
        if re!(r"^ RUN +v\d+\.").is_match(line) {
            run = Run::default();
        } else if re!(r"^ *Tests  ").is_match(line)
            && let Some((passed, failed, skipped)) = summary(line)
        {
            readings.push(std::mem::take(&mut run).finish(passed, failed, skipped));
        } else if line.starts_with("No test files found, exiting with code ") {
            readings.push(std::mem::take(&mut run).finish(0, 0, 0));
        } else {
            run.line(line);
        }
    }
    (!readings.is_empty()).then(|| tally::sum(readings))
}

/// Passed, failed and skipped of `      Tests  2 failed | 4 passed (6)`.
fn summary(line: &str) -> Option<(u64, u64, u64)> {
    let list = line.trim_start().strip_prefix("Tests ")?.trim();
    if list == "no tests" {
        return Some((0, 0, 0));
    }
    let (list, _) = list.rsplit_once(" (")?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for part in list.split(" | ") {
        let captures = re!(r"^(\d+) (failed|passed|skipped|todo|expected fail)$").captures(part)?;
        let count = number(&captures, 1)?;
        match &captures[2] {
            "failed" => failed += count,
            "passed" => passed += count,
            _ => skipped += count,
        }
    }
    Some((passed, failed, skipped))
}

impl Run {
    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix(" FAIL  ") {
            self.closing = true;
            let id = match re!(r"^(.+?) \[ .+ \]$").captures(rest) {
                Some(captures) => {
                    self.broken += 1;
                    captures[1].to_owned()
                }
                None => rest.to_owned(),
            };
            self.tests.insert(id.clone(), TestStatus::Failed);
            self.message_of = Some(id);
        } else if let Some(id) = &self.message_of {
            // Several failures with one message stand above it together.
            if !line.trim().is_empty() {
                self.errors.push((id.clone(), line.trim().to_owned()));
                self.message_of = None;
            }
        } else if !self.closing
            && let Some(captures) = re!(r"^ (✓|×|↓|□) (\S.* > .+?)(?: +\d+(?:\.\d+)?m?s)?(?: \[.*\])?$").captures(line)
        {
            let status = match &captures[1] {
                "✓" => TestStatus::Passed,
                "×" => TestStatus::Failed,
                _ => TestStatus::Skipped,
            };
            self.tests.insert(captures[2].trim().to_owned(), status);
        }
    }

    fn finish(self, passed: u64, failed: u64, skipped: u64) -> Reading {
        let mut tally = Tally::default();
        for (id, status) in self.tests {
            tally.add(id, status);
        }
        for (id, error) in &self.errors {
            tally.error(id, error);
        }
        tally.finish("vitest", tally::counts(passed, failed + self.broken, skipped))
    }
}
