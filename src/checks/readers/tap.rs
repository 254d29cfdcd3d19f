//! Reads the Test Anything Protocol, versions 13 and 14, with the subtests and closing figures of `node --test`.

use std::collections::HashMap;

use super::tally::{self, Tally};
use super::{Reading, TestStatus, re};

/// Width of one level of subtests.
const INDENT: usize = 4;
/// Deepest level of subtests that is followed; no suite nests so far, a hostile text might.
const MAX_LEVEL: usize = 64;

/// A test point.
struct Point {
    path: Vec<String>,
    status: TestStatus,
    parent: bool,
    suite: bool,
    error: Option<String>,
}

/// One document.
#[derive(Default)]
struct Document {
    points: Vec<Point>,
    /// Last number seen at each level: the next one must follow, which a line a test printed rarely does.
    numbers: Vec<u64>,
    names: Vec<String>,
    plan: Option<u64>,
    plan_last: bool,
    figures: HashMap<String, u64>,
    bailed: Option<String>,
    yaml: Option<usize>,
    /// Inside a block scalar (`error: |-`): its first line is the error.
    block: bool,
}

/// Gives the sum of all TAP documents in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut documents: Vec<Document> = Vec::new();
    let mut current = Document::default();
    let mut versioned = false;
    for line in text.lines() {
        if matches!(line, "TAP version 13" | "TAP version 14") {
            // What stands before the first version line is not TAP.
            let done = std::mem::take(&mut current);
            if versioned {
                documents.push(done);
            }
            versioned = true;
            continue;
        }
        if current.is_closed() && (line.starts_with("ok 1 ") || line.starts_with("not ok 1 ") || line == "ok 1") {
            documents.push(std::mem::take(&mut current));
        }
        current.line(line);
    }
    documents.push(current);
    let readings: Vec<Reading> = documents.into_iter().filter_map(Document::finish).collect();
    (!readings.is_empty()).then(|| tally::sum(readings))
}

impl Document {
    /// Whether the plan is known and fulfilled, so that another number 1 opens a new document.
    fn is_closed(&self) -> bool {
        self.plan.is_some_and(|plan| plan > 0 && self.numbers.first() == Some(&plan))
    }

    fn line(&mut self, line: &str) {
        let bare = line.trim_start_matches(' ');
        let indent = line.len() - bare.len();
        if let Some(at) = self.yaml {
            if indent >= at || bare.is_empty() {
                self.yaml_line(bare, indent, at);
                return;
            }
            // Left of its dashes a block is over, whether or not it was closed.
            self.yaml = None;
        }
        if bare == "---" && indent % INDENT == 2 && !self.points.is_empty() {
            self.yaml = Some(indent);
            self.block = false;
            return;
        }
        if !indent.is_multiple_of(INDENT) || indent / INDENT > MAX_LEVEL {
            return;
        }
        let level = indent / INDENT;
        if let Some(name) = bare.strip_prefix("# Subtest: ") {
            self.names.truncate(level);
            // A level left out by the producer keeps the path aligned.
            self.names.resize(level, String::new());
            self.names.push(unescape(name));
        } else if level == 0
            && let Some(captures) = re!(r"^1\.\.(\d+)(?: #.*)?$").captures(bare)
        {
            if self.plan.is_none() {
                self.plan = super::figure(&captures[1]);
                self.plan_last = !self.points.is_empty();
            }
        } else if level == 0
            && let Some(captures) = re!(r"^# ([a-z]+) +(\d+)$").captures(bare)
        {
            // The last one wins: a program's own line comes before the producer's.
            self.figures.insert(captures[1].to_owned(), super::figure(&captures[2]).unwrap_or(0));
        } else if let Some(reason) = bare.strip_prefix("Bail out!") {
            self.bailed = Some(reason.trim().to_owned());
        } else if bare.starts_with("ok") || bare.starts_with("not ok") {
            self.point(bare, level);
        }
    }

    fn point(&mut self, bare: &str, level: usize) {
        let Some(captures) = re!(r"^(not )?ok(?: +(\d+))?(?: +- +| +|$)(.*)$").captures(bare) else { return };
        let expected = self.numbers.get(level).copied().unwrap_or(0) + 1;
        if captures.get(2).is_some_and(|m| m.as_str().parse() != Ok(expected)) {
            return;
        }
        // Without a number only a document with a version or a plan first is TAP; prose begins with "ok" as well.
        if captures.get(2).is_none() && self.plan.is_none() {
            return;
        }
        let parent = self.numbers.len() > level + 1;
        self.numbers.truncate(level + 1);
        self.numbers.resize(level + 1, 0);
        self.numbers[level] = expected;
        let (description, directive) = split_directive(&captures[3]);
        let failed = captures.get(1).is_some();
        let directive = directive.to_ascii_uppercase();
        let status = match (failed, directive.starts_with("TODO"), directive.starts_with("SKIP")) {
            (true, true, _) => TestStatus::ExpectedFailure,
            (_, false, true) | (false, true, _) => TestStatus::Skipped,
            (true, ..) => TestStatus::Failed,
            (false, ..) => TestStatus::Passed,
        };
        let mut path: Vec<String> = self.names.iter().take(level).filter(|n| !n.is_empty()).cloned().collect();
        let name = unescape(description.trim());
        path.push(if name.is_empty() { format!("test {expected}") } else { super::node_spec::file_name(&name) });
        self.names.truncate(level);
        self.points.push(Point { path, status, parent, suite: false, error: None });
    }

    fn yaml_line(&mut self, bare: &str, indent: usize, at: usize) {
        if bare == "..." && indent <= at {
            self.yaml = None;
            return;
        }
        let Some(point) = self.points.last_mut() else { return };
        if self.block {
            if bare.is_empty() {
                return;
            }
            self.block = false;
            if indent > at {
                point.error = Some(bare.to_owned());
                return;
            }
        }
        if indent != at {
            return;
        }
        if bare == "type: 'suite'" || bare == "type: suite" || bare == "type: \"suite\"" {
            point.suite = true;
        } else if let Some(value) = bare.strip_prefix("error: ").or(bare.strip_prefix("message: "))
            && point.error.is_none()
        {
            if value.starts_with(['|', '>']) {
                self.block = true;
            } else {
                point.error = Some(value.trim_matches(['\'', '"']).to_owned());
            }
        }
    }

    fn finish(self) -> Option<Reading> {
        let plan = self.plan?;
        if plan > 0 && self.numbers.is_empty() && self.bailed.is_none() && self.figures.is_empty() {
            return None;
        }
        let figure = |name: &str| self.figures.get(name).copied();
        // Only node's reporter writes these; tape and mocha have others of the same look that count something else.
        let node = figure("cancelled").is_some() && figure("tests").is_some();
        let without_suites = self.points.iter().filter(|point| !point.suite).count() as u64;
        let with_parents = node && figure("tests") == Some(without_suites);
        let mut tally = Tally::default();
        for point in self.points {
            if point.suite || point.parent && !with_parents {
                continue;
            }
            let id = point.path.join(" > ");
            if let Some(error) = &point.error {
                tally.error(&id, error);
            }
            tally.add(id, point.status);
        }
        if node {
            let value = |name: &str| figure(name).unwrap_or(0);
            let counts =
                tally::counts(value("pass"), value("fail") + value("cancelled"), value("skipped") + value("todo"));
            return Some(tally.finish("tap", counts));
        }
        let mut counts = tally.counts();
        // A planned test that never came is a failed one, and so is what a bail-out cut off.
        let missing = plan.saturating_sub(self.numbers.first().copied().unwrap_or(0));
        let failed = counts.failed.unwrap_or(0) + missing;
        counts = tally::counts(counts.passed.unwrap_or(0), failed, counts.skipped.unwrap_or(0));
        let mut reading = tally.finish("tap", counts);
        if missing > 0 {
            reading.notes.push(format!("{missing} of {plan} planned tests never reported"));
        }
        if let Some(reason) = self.bailed {
            reading.notes.push(format!("the run bailed out: {reason}"));
        }
        Some(reading)
    }
}

/// Parts description and directive at the last ` # ` that is not escaped.
fn split_directive(rest: &str) -> (&str, &str) {
    let start = if rest.starts_with("# ") { Some(0) } else { rest.rfind(" # ") };
    match start {
        Some(at) => {
            let directive = rest[at..].trim_start_matches([' ', '#']);
            let word = directive.get(..4).unwrap_or_default();
            if word.eq_ignore_ascii_case("skip") || word.eq_ignore_ascii_case("todo") {
                return (&rest[..at], directive);
            }
            (rest, "")
        }
        None => (rest, ""),
    }
}

fn unescape(name: &str) -> String {
    name.replace("\\#", "#").replace("\\\\", "\\")
}
