//! The words in which each test failed, whole, so that two runs can be compared.
//!
//! Works on any runner's output: what stands between the mention of one test and the next belongs to the first. Reads
//! text only.

use std::collections::{BTreeMap, BTreeSet};

use super::readers::re;

/// Returns the name under which a runner speaks of a test: the last part of its id, without parameters.
pub fn short_name(id: &str) -> &str {
    let id = id.split(" (").next().unwrap_or(id);
    let id = id.rsplit("::").next().unwrap_or(id);
    let id = id.rsplit(" > ").next().unwrap_or(id);
    let id = if id.contains(' ') { id } else { id.rsplit('.').next().unwrap_or(id) };
    let id = id.rsplit('/').next().unwrap_or(id);
    id.split('[').next().unwrap_or(id).trim()
}

/// Returns for each of `names` the lines that tell how it failed, sorted, without times, addresses and sums.
///
/// `all` are the names of every test known, so that what belongs to another one is left out.
pub fn failure_texts(log: &str, names: &BTreeSet<String>, all: &BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
    let mut texts: BTreeMap<String, Vec<String>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    let mut current: Option<&String> = None;
    for line in log.lines() {
        let named = all.iter().filter(|name| mentions(line, name)).max_by_key(|name| name.len());
        if named.is_some() {
            current = named;
        }
        if let Some(text) = current.and_then(|name| texts.get_mut(name)) {
            text.extend(plain(line));
        }
    }
    for text in texts.values_mut() {
        text.sort();
    }
    texts
}

/// Says whether `name` stands in the line as a word of its own.
fn mentions(line: &str, name: &str) -> bool {
    !name.is_empty()
        && line.match_indices(name).any(|(at, _)| {
            let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            !word(line[..at].chars().next_back()) && !word(line[at + name.len()..].chars().next())
        })
}

/// A line without what differs from run to run; nothing for a line of sums, which depends on other tests.
fn plain(line: &str) -> Option<String> {
    let line = re!(r"\x1b\[[0-9;]*[A-Za-z]").replace_all(line, "");
    let sums = re!(
        r"(?i)^\W*(?:(?:tests?|suites?|pass|fail|passed|failed|cancelled|skipped|todo|duration_ms|time|ran|snapshots):? +\d)|\b\d+ (?:tests? )?(?:passed|failed|passing|failing|skipped|pending|xfailed|errors?)\b|^test result:|^make(?:\[\d+\])?:|^error: (?:doc)?test failed|^npm |^exit (?:status|code)|^Ran \d+ tests?|^\W*FAILED \((?:failures|errors)|^(?:FAIL|ok|PASS)(?:\s|$)|^note: run with `RUST_BACKTRACE|^running \d+ tests?|^failures:$|^\d+\.\.\d+$|^[.FEsxX]+(?: *\[ *\d+%\])?(?: \d+/\d+)?$|^(?:not )?ok \d+"
    );
    if sums.is_match(&line) || !line.contains(|c: char| c.is_alphanumeric()) {
        return None;
    }
    let line = re!(r"duration_ms:? [\d.]+").replace_all(&line, "");
    let line = re!(r"\(?\b\d+(?:\.\d+)? ?(?:ns|us|µs|ms|s|seconds)\b\)?").replace_all(&line, "");
    let line = re!(r"0x[0-9a-fA-F]{6,}").replace_all(&line, "<address>");
    // Newer test harnesses of Rust name the thread's number.
    let line = re!(r"' \(\d+\) panicked").replace_all(&line, "' panicked");
    // A place in a file: lines and columns move with a text of another length.
    let line = re!(r"(\.\w+|line|\])(?:[:, ]+\d+){1,2}").replace_all(&line, "$1");
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn ids_of_every_runner_have_a_short_name() {
        for (id, name) in [
            ("tests/test_a.py::TestX::test_y[one-2]", "test_y"),
            ("tests.test_a.TestX.test_y", "test_y"),
            ("test_y (tests.test_a.TestX)", "test_y"),
            ("waits/tests/waits.rs::doubles", "doubles"),
            ("suite > the last page", "the last page"),
            ("TestX/empty_list", "empty_list"),
        ] {
            assert_eq!(short_name(id), name, "{id}");
        }
    }

    #[test]
    fn the_same_failure_at_another_time_and_place_is_the_same_and_another_value_is_not() {
        let log = |got: u32, line: u32, time: &str| {
            format!(
                "---- tests::b stdout ----\nthread 'tests::b' ({line}) panicked at src/lib.rs:{line}:9:\n  left: {got}\n\
                 ---- tests::a stdout ----\n  left: {line}\ntest result: FAILED. {line} passed; finished in {time}s\n"
            )
        };
        let text = |got, line, time: &str| failure_texts(&log(got, line, time), &set(&["b"]), &set(&["a", "b"]));
        assert_eq!(text(4, 10, "0.10"), text(4, 12, "0.20"));
        assert_ne!(text(4, 10, "0.10"), text(5, 10, "0.10"));
        assert!(!text(4, 10, "0.10")["b"].is_empty());
    }
}
