//! Reads jest: its default and its verbose reporter.

use super::tally::{self, Tally};
use super::{Reading, TestStatus, number, re};

#[derive(Default)]
struct Run {
    tally: Tally,
    /// Suites that could not be loaded: no test of theirs is counted by jest.
    broken: Vec<String>,
    failing: Vec<String>,
    file: Option<String>,
    failed_file: bool,
    in_tree: bool,
    describes: Vec<String>,
    message_of: Option<String>,
}

/// Gives the sum of all jest runs in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut readings = Vec::new();
    let mut run = Run::default();
    for line in text.lines() {
        if line.starts_with("Tests: ")
            && let Some((passed, failed, skipped)) = summary(line)
        {
            readings.push(std::mem::take(&mut run).finish(passed, failed, skipped));
        } else if line.starts_with("No tests found, exiting with code ") {
            readings.push(std::mem::take(&mut run).finish(0, 0, 0));
        } else {
            run.line(line);
        }
    }
    (!readings.is_empty()).then(|| tally::sum(readings))
}

/// Passed, failed and skipped of `Tests:       2 failed, 1 todo, 4 passed, 7 total`.
fn summary(line: &str) -> Option<(u64, u64, u64)> {
    let list = line.strip_prefix("Tests: ")?.trim();
    let (mut passed, mut failed, mut skipped, mut total) = (0, 0, 0, None);
    for part in list.split(", ") {
        let captures = re!(r"^(\d+) (failed|passed|skipped|todo|total)$").captures(part)?;
        let count = number(&captures, 1)?;
        match &captures[2] {
            "failed" => failed += count,
            "passed" => passed += count,
            "total" => total = Some(count),
            _ => skipped += count,
        }
    }
    total.map(|_| (passed, failed, skipped))
}

impl Run {
    fn line(&mut self, line: &str) {
        if let Some(captures) = re!(r"^(PASS|FAIL) +(?:\S+ +)?(\S+?)(?: \([\d.]+ m?s(?:, [^)]*)?\))?$").captures(line) {
            self.failed_file = &captures[1] == "FAIL";
            self.file = Some(captures[2].trim_start_matches("./").to_owned());
            self.in_tree = true;
            self.describes.clear();
            self.message_of = None;
            return;
        }
        let Some(file) = self.file.clone() else { return };
        if let Some(title) = line.strip_prefix("  ● ") {
            self.in_tree = false;
            self.message_of = None;
            if title == "Test suite failed to run" {
                self.broken.push(file.clone());
                self.message_of = Some(file);
            } else if self.failed_file && title != "Console" {
                let id = format!("{file} > {}", title.replace(" › ", " > "));
                self.failing.push(id.clone());
                self.message_of = Some(id);
            }
        } else if let Some(id) = &self.message_of {
            if !line.trim().is_empty() {
                self.tally.error(id, line);
                self.message_of = None;
            }
        } else if self.in_tree {
            if line.trim().is_empty() {
                self.in_tree = false;
            } else {
                self.tree_line(&file, line);
            }
        }
    }

    fn tree_line(&mut self, file: &str, line: &str) {
        let bare = line.trim_start_matches(' ');
        let level = (line.len() - bare.len()) / 2;
        if level == 0 {
            self.in_tree = false;
            return;
        }
        self.describes.truncate(level - 1);
        let mark = bare.chars().next().unwrap_or(' ');
        let status = match mark {
            '✓' | '√' => TestStatus::Passed,
            '✕' | '×' => TestStatus::Failed,
            '○' | '✎' => TestStatus::Skipped,
            _ => {
                self.describes.push(bare.to_owned());
                return;
            }
        };
        let name = bare[mark.len_utf8()..].trim();
        let name = match mark {
            '○' => name.strip_prefix("skipped ").unwrap_or(name),
            '✎' => name.strip_prefix("todo ").unwrap_or(name),
            _ => name,
        };
        let name = re!(r" \([\d.]+ m?s\)$").replace(name, "");
        let mut path = vec![file];
        path.extend(self.describes.iter().map(String::as_str));
        path.push(&name);
        self.tally.add(path.join(" > "), status);
    }

    fn finish(mut self, passed: u64, failed: u64, skipped: u64) -> Reading {
        let mut broken = std::mem::take(&mut self.broken);
        broken.sort();
        broken.dedup();
        let failed = failed + broken.len() as u64;
        if self.tally.count(TestStatus::Failed) == 0 {
            // Not verbose: the titles of the messages are all that is named. A long run says them twice.
            let mut failing = std::mem::take(&mut self.failing);
            failing.sort();
            failing.dedup();
            for id in failing {
                self.tally.add(id, TestStatus::Failed);
            }
        }
        for file in broken {
            self.tally.add(file, TestStatus::Failed);
        }
        self.tally.finish("jest", tally::counts(passed, failed, skipped))
    }
}
