//! Reads the `spec` reporter of `node --test`, its default on a terminal and, from version 23, everywhere.

use std::collections::{HashMap, HashSet};

use super::tally::{self, Tally};
use super::{Reading, TestStatus, re};

/// A test or suite of the tree.
struct Node {
    path: Vec<String>,
    status: TestStatus,
    parent: bool,
}

/// One run: the tree, the closing figures by name, the messages of the failing tests.
#[derive(Default)]
struct Run {
    nodes: Vec<Node>,
    trailer: HashMap<String, u64>,
    errors: Vec<(String, String)>,
}

/// Gives the sum of all runs in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    if !text.contains('ℹ') {
        return None;
    }
    let mut runs: Vec<Run> = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    let mut stack: Vec<String> = Vec::new();
    let mut deepest = 0;
    let mut located = false;
    let mut failing: Option<String> = None;
    let mut in_trailer = false;
    for line in text.lines() {
        if let Some(captures) = re!(r"^ℹ ([a-z_]+) (\d+)(?:\.\d+)?$").captures(line) {
            if &captures[1] == "tests" {
                runs.push(Run { nodes: std::mem::take(&mut nodes), ..Run::default() });
                stack.clear();
                deepest = 0;
                in_trailer = true;
            }
            if in_trailer && let Some(run) = runs.last_mut() {
                run.trailer.insert(captures[1].to_owned(), super::figure(&captures[2]).unwrap_or(0));
                in_trailer = &captures[1] != "duration_ms";
            }
            continue;
        }
        if let Some((level, mark, name, todo)) = tree_line(line) {
            if located {
                // The list of failures that closes a run says the tree's lines again.
                located = false;
                failing = Some(name);
                continue;
            }
            if mark == '▶' {
                stack.truncate(level);
                stack.push(name);
                continue;
            }
            let parent = deepest > level && stack.get(level) == Some(&name);
            stack.truncate(level);
            let mut path = stack.clone();
            path.push(file_name(&name));
            deepest = level;
            let status = match (mark, todo) {
                ('✔', false) => TestStatus::Passed,
                ('✖', true) => TestStatus::ExpectedFailure,
                ('✖', false) => TestStatus::Failed,
                _ => TestStatus::Skipped,
            };
            nodes.push(Node { path, status, parent });
        } else if let Some(name) = failing.take() {
            if line.trim().is_empty() {
                failing = Some(name);
            } else if let Some(run) = runs.last_mut() {
                run.errors.push((file_name(&name), line.trim().trim_matches('\'').to_owned()));
            }
        } else {
            located = line.starts_with("test at ");
        }
    }
    if runs.is_empty() {
        return None;
    }
    Some(tally::sum(runs.into_iter().map(finish).collect()))
}

/// Level, mark, name and whether it is marked to do, of a line such as `  ✖ name (1.2ms) # TODO`.
fn tree_line(line: &str) -> Option<(usize, char, String, bool)> {
    let bare = line.trim_start_matches(' ');
    let mark = bare.chars().next().filter(|c| matches!(c, '✔' | '✖' | '﹣' | '⚠' | '▶'))?;
    let indent = line.len() - bare.len();
    let rest = bare[mark.len_utf8()..].strip_prefix(' ').or(bare[mark.len_utf8()..].strip_prefix("\u{fe0f} "))?;
    let (name, todo) = match re!(r"^(.*) \(\d+(?:\.\d+)?ms\)( # .*)?$").captures(rest) {
        Some(captures) => (captures[1].to_owned(), captures.get(2).is_some_and(|m| m.as_str().contains("TODO"))),
        None if mark == '▶' => (rest.to_owned(), false),
        None => return None,
    };
    Some((indent / 2, mark, name, todo))
}

/// A file that fails to load is named by its absolute path, which differs between two copies of a repository.
pub(super) fn file_name(name: &str) -> String {
    if name.starts_with('/') && !name.contains(' ') {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    name.to_owned()
}

fn finish(Run { nodes, trailer, errors }: Run) -> Reading {
    let figure = |name: &str| trailer.get(name).copied().unwrap_or(0);
    let counts =
        tally::counts(figure("pass"), figure("fail") + figure("cancelled"), figure("skipped") + figure("todo"));
    let complete = nodes.len() as u64 == figure("tests") + figure("suites");
    let failing: Vec<Vec<String>> =
        nodes.iter().filter(|node| node.status == TestStatus::Failed).map(|node| node.path.clone()).collect();
    let failing_below: HashSet<&[String]> =
        failing.iter().flat_map(|path| (1..path.len()).map(|length| &path[..length])).collect();
    let mut leaf_errors: HashMap<String, Vec<String>> = HashMap::new();
    for (name, line) in errors.into_iter().rev() {
        leaf_errors.entry(name).or_default().push(line);
    }
    let mut tally = Tally::default();
    for node in nodes {
        // The tree does not tell a suite from a test with subtests. Either is named only where it fails by itself: its
        // tests say the rest.
        let by_itself = node.status == TestStatus::Failed && !failing_below.contains(node.path.as_slice());
        if node.parent && !by_itself {
            continue;
        }
        let id = node.path.join(" > ");
        if node.status == TestStatus::Failed
            && let Some(line) = node.path.last().and_then(|name| leaf_errors.get_mut(name)?.pop())
        {
            tally.error(&id, &line);
        }
        tally.add(id, node.status);
    }
    tally.finish_as("node-test", counts, complete)
}
