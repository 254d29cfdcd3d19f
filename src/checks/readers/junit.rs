//! Reads JUnit XML reports, and settles what holds where a report and the output differ.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use roxmltree::{Document, Node, ParsingOptions};

use super::tally::{self, Tally};
use super::{Reading, TestStatus};

/// Note of a reading that sums several runs of one runner: a report file holds the last of them only.
pub(super) const SEVERAL_RUNS: &str = "the output holds several runs of the same runner";

/// Most nodes of a report that are read: about a million tests, a bound against a report made to fill the memory.
const MAX_NODES: u32 = 8_000_000;
/// Deepest nesting of suites that is written into an id.
const MAX_DEPTH: usize = 32;

/// Gives what a report says, or `None` if it is well-formed XML of another kind.
///
/// Returns an error if it is not well-formed, as when the runner was killed while it wrote.
pub(super) fn read(xml: &str) -> anyhow::Result<Option<Reading>> {
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(xml, options).context("parse report")?;
    let root = document.root_element();
    if !matches!(root.tag_name().name(), "testsuites" | "testsuite") {
        return Ok(None);
    }
    let pytest =
        root.descendants().any(|node| node.has_tag_name("testsuite") && node.attribute("name") == Some("pytest"));
    let mut tally = Tally::default();
    for case in root.descendants().filter(|node| node.has_tag_name("testcase")) {
        let id = id(case, pytest);
        let child = |name: &str| case.children().find(|node| node.has_tag_name(name));
        let failure = child("failure").or_else(|| child("error"));
        let skipped = child("skipped");
        let status = match (failure, skipped) {
            (Some(_), Some(_)) => TestStatus::ExpectedFailure,
            (Some(_), None) => TestStatus::Failed,
            (None, Some(node)) if node.attribute("type") == Some("pytest.xfail") => TestStatus::ExpectedFailure,
            (None, Some(_)) => TestStatus::Skipped,
            (None, None) => TestStatus::Passed,
        };
        if let (TestStatus::Failed, Some(node)) = (status, failure) {
            tally.error(&id, first_line(node));
        }
        tally.add(id, status);
    }
    let counts = tally.counts();
    Ok(Some(tally.finish_as(if pytest { "pytest" } else { "junit" }, counts, true)))
}

/// First line of a failure: its message, or for a failed collection, whose message says only that, the error itself.
fn first_line<'a>(node: Node<'a, '_>) -> &'a str {
    let text = node.text().unwrap_or_default();
    let raised = text.lines().find_map(|line| line.strip_prefix("E  ")).map(str::trim);
    let message = node.attribute("message").and_then(|message| message.lines().find(|line| !line.trim().is_empty()));
    raised.or(message).or_else(|| text.lines().find(|line| !line.trim().is_empty())).unwrap_or_default()
}

fn id(case: Node<'_, '_>, pytest: bool) -> String {
    let name = case.attribute("name").unwrap_or_default();
    let class = case.attribute("classname").unwrap_or_default();
    if pytest {
        return pytest_id(class, name);
    }
    if !class.is_empty() && class != "test" {
        return format!("{class}.{name}");
    }
    // node's reporter: the class says nothing, the suites around the test do.
    let mut path: Vec<&str> = case
        .ancestors()
        .skip(1)
        .take(MAX_DEPTH)
        .filter(|node| node.has_tag_name("testsuite"))
        .filter_map(|node| node.attribute("name"))
        .collect();
    path.reverse();
    path.push(name);
    path.join(" > ")
}

/// Node id of a test of pytest: its module as a path, its classes, its name. In the report all is dotted, and only the
/// custom that classes begin with a capital letter tells them from modules.
fn pytest_id(class: &str, name: &str) -> String {
    if class.is_empty() {
        // A module that could not be collected, named by its dotted path.
        return format!("{}.py", name.replace('.', "/"));
    }
    let parts: Vec<&str> = class.split('.').collect();
    let is_class = |part: &&&str| part.chars().next().is_some_and(char::is_uppercase);
    let classes = parts.iter().rev().take_while(is_class).count().min(parts.len() - 1);
    let (modules, classes) = parts.split_at(parts.len() - classes);
    let mut id = format!("{}.py", modules.join("/"));
    for part in classes.iter().chain(std::iter::once(&name)) {
        id.push_str("::");
        id.push_str(part);
    }
    id
}

/// A node id in the dotted form of the report, for comparison.
fn dotted(id: &str) -> String {
    let (path, rest) = id.split_once("::").unwrap_or((id, ""));
    let path = path.strip_suffix(".py").unwrap_or(path).replace('/', ".");
    if rest.is_empty() { path } else { format!("{path}.{}", rest.replace("::", ".")) }
}

/// Gives the truth about one pytest run of which there is both a report and an output.
///
/// They should agree; then the report's ids are used, spelled as in the output where it names them. Where the figures
/// differ, the less favourable ones hold: more failures, fewer passes; a note says so.
pub(super) fn reconcile(report: &Reading, output: &Reading, notes: &mut Vec<String>) -> Reading {
    if output.notes.iter().any(|note| note == SEVERAL_RUNS) {
        notes.push("the report holds the last of several pytest runs and is not used".to_owned());
        return output.clone();
    }
    let spelling: HashMap<String, &String> = output.ids.iter().flatten().map(|(id, _)| (dotted(id), id)).collect();
    let spelled = |id: &String| spelling.get(&dotted(id)).map_or(id, |id| *id).clone();
    let mut ids: BTreeMap<String, TestStatus> =
        report.ids.iter().flatten().map(|(id, status)| (spelled(id), *status)).collect();
    let mut first_errors: BTreeMap<String, String> =
        report.first_errors.iter().map(|(id, line)| (spelled(id), line.clone())).collect();
    let mut complete = report.ids_complete && ids.len() == report.ids.as_ref().map_or(0, BTreeMap::len);
    for (id, status) in output.ids.iter().flatten() {
        if *status == TestStatus::Failed && ids.insert(id.clone(), *status) != Some(TestStatus::Failed) {
            notes.push(format!("{id} fails by the output and not by the report"));
            complete = false;
        }
        if let Some(line) = output.first_errors.get(id) {
            first_errors.entry(id.clone()).or_insert_with(|| line.clone());
        }
    }
    let mut counts = report.counts;
    let differ = output.counts.run.is_some() && report.counts != output.counts;
    if differ {
        let failed = report.counts.failed.max(output.counts.failed).unwrap_or(0);
        let passed = report.counts.passed.min(output.counts.passed).unwrap_or(0);
        let skipped = report.counts.skipped.max(output.counts.skipped).unwrap_or(0);
        counts = tally::counts(passed, failed, skipped);
        let say = |counts: &super::Counts| {
            let [passed, failed, skipped] =
                [counts.passed, counts.failed, counts.skipped].map(|figure| figure.unwrap_or(0));
            format!("{passed} passed, {failed} failed, {skipped} skipped")
        };
        notes.push(format!(
            "report ({}) and output ({}) differ; the less favourable figures are used",
            say(&report.counts),
            say(&output.counts)
        ));
        complete &= ids.len() as u64 == counts.run.unwrap_or(0) + skipped;
    }
    Reading {
        runner: output.runner.clone(),
        counts,
        ids: Some(ids),
        ids_complete: complete,
        first_errors,
        ..Reading::default()
    }
}
