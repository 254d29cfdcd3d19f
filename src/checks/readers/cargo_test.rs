//! Reads `cargo test`: the standard harness of Rust, normal and quiet, with documentation tests.

use std::collections::HashSet;

use super::tally::{self, Tally};
use super::{Reading, TestStatus, number, re};

/// One `running N tests` … `test result:` part.
#[derive(Default)]
struct Block {
    label: Option<String>,
    announced: u64,
    tests: Vec<(String, TestStatus)>,
    failed: Vec<String>,
    errors: Vec<(String, String)>,
    /// Passed, failed, skipped; `None` if the binary ended without saying.
    result: Option<(u64, u64, u64)>,
}

/// Where in a block the line stands.
#[derive(PartialEq)]
enum Phase {
    Outside,
    Running,
    Failures,
}

/// Gives the sum of all test binaries in the output.
pub(super) fn read(text: &str) -> Option<Reading> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut labels: Vec<String> = Vec::new();
    let mut next_label: Option<String> = None;
    let mut phase = Phase::Outside;
    let mut pending: Option<String> = None;
    let mut failing: Option<String> = None;
    let mut after_panic = false;
    for line in text.lines() {
        if let Some(label) = label(line) {
            labels.push(label.clone());
            next_label = Some(label);
            continue;
        }
        if let Some(captures) = re!(r"^running (\d+) tests?$").captures(line) {
            if phase == Phase::Failures && next_label.is_none() {
                // What a failing test printed may hold a whole run of its own.
                continue;
            }
            blocks.push(Block {
                label: next_label.take(),
                announced: number(&captures, 1).unwrap_or(0),
                ..Block::default()
            });
            (phase, pending, failing, after_panic) = (Phase::Running, None, None, false);
            continue;
        }
        if phase == Phase::Outside {
            if let Some(captures) = re!(r"^error: (?:doc)?test failed, to rerun pass `(.+?)`").captures(line)
                && let Some(block) = blocks.last_mut()
            {
                // In quiet mode this is the only line that names the binary.
                block.label.get_or_insert_with(|| captures[1].trim_start_matches('-').replace(" --", " "));
            }
            continue;
        }
        let Some(block) = blocks.last_mut() else { continue };
        if line.starts_with("test result: ") {
            if let Some(result) = result(line, block.announced) {
                block.result = Some(result);
                phase = Phase::Outside;
            }
        } else if phase == Phase::Running {
            if line == "failures:" || line == "successes:" {
                phase = Phase::Failures;
            } else if let Some((name, status)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
                match status_of(status) {
                    Some(status) => block.tests.push((test_name(name), status)),
                    None => pending = Some(test_name(name)),
                }
            } else if let Some(name) = line.strip_suffix(" --- FAILED") {
                block.failed.push(test_name(name));
            } else if let Some(rest) = line.strip_prefix("test ").and_then(|_| line.split_once(" ... ")) {
                pending = Some(test_name(rest.0.trim_start_matches("test ")));
            } else if let Some(status) = status_of(line)
                && let Some(name) = pending.take()
            {
                block.tests.push((name, status));
            }
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| {
            rest.strip_suffix(" ----").and_then(|rest| rest.strip_suffix(" stdout").or(rest.strip_suffix(" stderr")))
        }) {
            failing = Some(test_name(name));
            after_panic = false;
        } else if line == "failures:" {
            failing = None;
        } else if let Some(name) = &failing {
            let trimmed = line.trim();
            if after_panic && !trimmed.is_empty() {
                block.errors.push((name.clone(), trimmed.to_owned()));
                failing = None;
            } else if line.starts_with("thread '") && line.contains(" panicked at ") {
                // Before 1.73 the message stood on this line, in quotes.
                match re!(r"panicked at '(.*)', \S+:\d+:\d+$").captures(line) {
                    Some(captures) => {
                        block.errors.push((name.clone(), captures[1].to_owned()));
                        failing = None;
                    }
                    None => after_panic = true,
                }
            } else if trimmed.starts_with("Error: ") || trimmed.starts_with("error[") || trimmed.starts_with("error: ")
            {
                block.errors.push((name.clone(), trimmed.to_owned()));
                failing = None;
            }
        } else if let Some(name) = line.strip_prefix("    ")
            && !name.starts_with(' ')
        {
            block.failed.push(test_name(name));
        }
    }
    if blocks.is_empty() {
        return None;
    }
    if labels.len() == blocks.len() {
        // One name each: this holds also where the error stream was written after the output.
        for (block, label) in blocks.iter_mut().zip(labels) {
            block.label = Some(label);
        }
    }
    Some(tally::sum(blocks.iter().map(finish).collect()))
}

/// Gives the reading of one test binary, ids prefixed with its name.
fn finish(block: &Block) -> Reading {
    let prefix = |name: &str| match &block.label {
        Some(label) => format!("{label}::{name}"),
        None => name.to_owned(),
    };
    let mut tally = Tally::default();
    for (name, status) in &block.tests {
        tally.add(prefix(name), *status);
    }
    // The closing list says each failing test again; only what a quiet run did not name before is new.
    let mut failed: Vec<&String> = block.failed.iter().collect();
    failed.sort();
    failed.dedup();
    let known: HashSet<&String> =
        block.tests.iter().filter(|(_, status)| *status == TestStatus::Failed).map(|(name, _)| name).collect();
    for name in failed.into_iter().filter(|name| !known.contains(name)) {
        tally.add(prefix(name), TestStatus::Failed);
    }
    for (name, line) in &block.errors {
        tally.error(&prefix(name), line);
    }
    if let Some((passed, failed, skipped)) = block.result {
        return tally.finish("cargo-test", tally::counts(passed, failed, skipped));
    }
    // The binary ended early: only what it was seen to do counts.
    let counts = tally.counts();
    let mut reading = tally.finish_as("cargo-test", counts, false);
    reading.notes.push(format!("a test binary announced {} tests and ended without its result line", block.announced));
    reading
}

/// Name of the test binary a line of cargo announces.
fn label(line: &str) -> Option<String> {
    if let Some(crate_name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("{crate_name}/doc"));
    }
    let captures = re!(r"^     Running (?:unittests )?(\S+) \((?:.*[/\\])?([^/\\]+?)(?:-[0-9a-f]{16})?(?:\.exe)?\)$")
        .captures(line)?;
    Some(format!("{}/{}", &captures[2], captures[1].replace('\\', "/")))
}

/// Figures of a `test result:` line, if they add up to the announced number: a line a test printed does not.
fn result(line: &str, announced: u64) -> Option<(u64, u64, u64)> {
    let captures = re!(
        r"^test result: (?:ok|FAILED)\. (\d+) passed; (\d+) failed; (\d+) ignored; (\d+) measured; \d+ filtered out"
    )
    .captures(line)?;
    let [passed, failed, ignored, measured] = [1, 2, 3, 4].map(|group| number(&captures, group).unwrap_or(u64::MAX));
    let sum = passed.checked_add(failed)?.checked_add(ignored)?.checked_add(measured)?;
    (sum == announced).then_some((passed + measured, failed, ignored))
}

fn status_of(text: &str) -> Option<TestStatus> {
    // `--report-time` writes the time behind the word, `#[ignore = "…"]` its reason.
    let word = text.split([' ', ',', '<']).next().unwrap_or_default();
    match word {
        "ok" if text == "ok" || text.starts_with("ok <") => Some(TestStatus::Passed),
        "FAILED" => Some(TestStatus::Failed),
        "ignored" => Some(TestStatus::Skipped),
        "bench:" => Some(TestStatus::Passed),
        _ => None,
    }
}

/// The name without what the harness adds, and without the line number of a documentation test: an edit above it
/// would change that.
fn test_name(name: &str) -> String {
    let name =
        name.trim_end_matches(" - should panic").trim_end_matches(" - compile fail").trim_end_matches(" - compile");
    re!(r" \(line \d+\)$").replace(name, "").into_owned()
}
