//! Reads Python's unittest (and what prints the same, such as Django's runner): dots and `-v`.

use std::collections::BTreeMap;

use super::tally::{self, Tally};
use super::{Reading, TestStatus, number, re};

/// Gives the sum of all unittest runs in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut readings = Vec::new();
    let mut run = Run::default();
    let mut ran: Option<u64> = None;
    for line in text.lines() {
        if let Some(captures) = re!(r"^Ran (\d+) tests? in [\d.]+s$").captures(line) {
            ran = number(&captures, 1);
            continue;
        }
        if let Some(total) = ran {
            if line.is_empty() {
                continue;
            }
            ran = None;
            if let Some(captures) = re!(r"^(?:OK|FAILED|NO TESTS RAN)(?: \((.*)\))?$").captures(line) {
                let details = captures.get(1).map_or("", |m| m.as_str());
                readings.push(finish(std::mem::take(&mut run), total, details));
                continue;
            }
        }
        run.line(line);
    }
    (!readings.is_empty()).then(|| tally::sum(readings))
}

#[derive(Default)]
struct Run {
    tests: BTreeMap<String, TestStatus>,
    /// Failing tests by the headers of their tracebacks, each once however many of its subtests fail.
    failing: BTreeMap<String, Option<String>>,
    /// Failing things that are no test: the set-up of a class or a module, which the total leaves out.
    outside: u64,
    pending: Option<String>,
    section: Option<String>,
    traceback: bool,
}

impl Run {
    fn line(&mut self, line: &str) {
        if let Some(captures) = re!(r"^(ERROR|FAIL|UNEXPECTED SUCCESS): (.+)$").captures(line) {
            let Some((id, _)) = test_id(&captures[2]) else { return };
            if !self.failing.contains_key(&id) && is_fixture(&id) {
                self.outside += 1;
            }
            let unexpected = (&captures[1] == "UNEXPECTED SUCCESS").then(|| "unexpected success".to_owned());
            self.failing.entry(id.clone()).or_insert(unexpected);
            self.section = Some(id);
            self.traceback = false;
            return;
        }
        if let Some(id) = &self.section {
            if line.starts_with("Traceback (most recent call last):") {
                self.traceback = true;
            } else if self.traceback && !line.is_empty() && !line.starts_with(' ') {
                self.failing.entry(id.clone()).or_default().get_or_insert_with(|| line.to_owned());
                self.section = None;
            }
            return;
        }
        if let Some((head, status)) = line.rsplit_once(" ... ")
            && let Some(status) = status_of(status)
        {
            // A test with a docstring has its name on the line before.
            match test_id(head) {
                Some((id, subtest)) => {
                    if !subtest {
                        self.record(id, status);
                    }
                    self.pending = None;
                }
                None => self.take_pending(status),
            }
        } else if let Some(status) = status_of(line) {
            self.take_pending(status);
        } else if let Some((id, false)) = test_id(line.split(" ... ").next().unwrap_or(line)) {
            self.pending = Some(id);
        }
    }

    fn take_pending(&mut self, status: TestStatus) {
        if let Some(id) = self.pending.take() {
            self.record(id, status);
        }
    }

    fn record(&mut self, id: String, status: TestStatus) {
        if !is_fixture(&id) {
            self.tests.insert(id, status);
        }
    }
}

fn is_fixture(id: &str) -> bool {
    ["setUpClass", "tearDownClass", "setUpModule", "tearDownModule"].iter().any(|name| id.ends_with(name))
}

/// Dotted id of `name (module.Class.name)`, as of Python 3.11, or `name (module.Class)` before; and whether the
/// parameters of a subtest follow.
fn test_id(text: &str) -> Option<(String, bool)> {
    let captures = re!(r"^ {0,2}([^\s()]+) \(([^\s()]+)\)( [\[(].*)?$").captures(text.trim_end())?;
    let (name, path) = (&captures[1], &captures[2]);
    let id = if path.ends_with(&format!(".{name}")) { path.to_owned() } else { format!("{path}.{name}") };
    Some((id, captures.get(3).is_some()))
}

fn status_of(text: &str) -> Option<TestStatus> {
    Some(match text {
        "ok" => TestStatus::Passed,
        "FAIL" | "ERROR" | "unexpected success" => TestStatus::Failed,
        "expected failure" => TestStatus::ExpectedFailure,
        _ if text.starts_with("skipped ") => TestStatus::Skipped,
        _ => return None,
    })
}

fn finish(run: Run, total: u64, details: &str) -> Reading {
    let figure = |name: &str| -> u64 {
        details
            .split(", ")
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('=').and_then(super::figure))
            .unwrap_or(0)
    };
    let skipped = figure("skipped") + figure("expected failures");
    let reported = figure("failures") + figure("errors") + figure("unexpected successes");
    let mut failed = run.failing.len() as u64;
    let mut outside = run.outside;
    if reported > 0 && failed == 0 {
        // Headers cut away: the summary is all there is, and it counts each subtest.
        (failed, outside) = (reported, 0);
    }
    let passed = total.saturating_sub(skipped).saturating_sub(failed.saturating_sub(outside));
    let mut tests = run.tests;
    tests.extend(run.failing.keys().map(|id| (id.clone(), TestStatus::Failed)));
    let mut tally = Tally::default();
    for (id, status) in tests {
        tally.add(id, status);
    }
    for (id, line) in &run.failing {
        tally.error(id, line.as_deref().unwrap_or_default());
    }
    tally.finish("unittest", tally::counts(passed, failed, skipped))
}
