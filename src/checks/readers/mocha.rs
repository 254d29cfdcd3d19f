//! Reads mocha: the spec reporter in full, and what the others print at the end.

use super::tally::{self, Tally};
use super::{Reading, TestStatus, number, re};

#[derive(Default)]
struct Run {
    tally: Tally,
    describes: Vec<String>,
    passing: Option<u64>,
    pending: u64,
    failing: u64,
    /// Path of the failure that is being read, and whether its title is complete.
    failure: Option<(Vec<String>, bool)>,
}

/// Gives the sum of all mocha runs in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut readings = Vec::new();
    let mut run = Run::default();
    for line in text.lines() {
        if let Some(captures) = re!(r"^  (\d+) passing \(\d+m?[smhd]\)$").captures(line) {
            if run.passing.is_some() {
                readings.push(std::mem::take(&mut run).finish());
            }
            run.passing = number(&captures, 1);
        } else if run.passing.is_none() {
            run.tree_line(line);
        } else {
            run.closing_line(line);
        }
    }
    if run.passing.is_some() {
        readings.push(run.finish());
    }
    (!readings.is_empty()).then(|| tally::sum(readings))
}

impl Run {
    fn tree_line(&mut self, line: &str) {
        let bare = line.trim_start_matches(' ');
        let indent = line.len() - bare.len();
        if bare.is_empty() || indent < 2 || !indent.is_multiple_of(2) {
            return;
        }
        let level = indent / 2 - 1;
        let (status, name) = if let Some(name) = bare.strip_prefix("✔ ").or(bare.strip_prefix("✓ ")) {
            (TestStatus::Passed, re!(r" \(\d+ms\)$").replace(name, ""))
        } else if let Some(name) = bare.strip_prefix("- ") {
            (TestStatus::Skipped, name.into())
        } else if re!(r"^\d+\) ").is_match(bare) {
            // Named again, with its path, in the list of failures.
            return;
        } else {
            self.describes.truncate(level);
            self.describes.push(bare.to_owned());
            return;
        };
        let mut path: Vec<&str> = self.describes.iter().take(level).map(String::as_str).collect();
        path.push(&name);
        self.tally.add(path.join(" > "), status);
    }

    fn closing_line(&mut self, line: &str) {
        if let Some(captures) = re!(r"^  (\d+) (pending|failing)$").captures(line) {
            let count = number(&captures, 1).unwrap_or(0);
            if &captures[2] == "pending" { self.pending = count } else { self.failing = count }
        } else if let Some(captures) = re!(r"^  \d+\) (.+)$").captures(line) {
            self.close_failure(None);
            self.failure = Some((Vec::new(), false));
            self.title_line(&captures[1]);
        } else if let Some((_, complete)) = &self.failure {
            let trimmed = line.trim();
            if trimmed.is_empty() {
                return;
            }
            if *complete {
                self.close_failure(Some(trimmed));
            } else {
                self.title_line(trimmed);
            }
        }
    }

    /// Takes one line of the title of a failure: the last one ends with a colon.
    fn title_line(&mut self, line: &str) {
        if let Some((path, complete)) = &mut self.failure {
            *complete = line.ends_with(':');
            path.push(line.strip_suffix(':').unwrap_or(line).to_owned());
        }
    }

    fn close_failure(&mut self, message: Option<&str>) {
        if let Some((path, _)) = self.failure.take() {
            let id = path.join(" > ");
            if let Some(message) = message {
                self.tally.error(&id, message);
            }
            self.tally.add(id, TestStatus::Failed);
        }
    }

    fn finish(mut self) -> Reading {
        self.close_failure(None);
        self.tally.finish("mocha", tally::counts(self.passing.unwrap_or(0), self.failing, self.pending))
    }
}
