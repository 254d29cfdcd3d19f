//! The readers against recorded outputs of the real tools, in tests/fixtures/readers.

use std::fmt::Write;
use std::path::Path;

use pretty_assertions::assert_eq;

use super::*;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/readers").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

/// A reading in a few lines: figures, then every id with its status and first error.
fn render(reading: &Reading) -> String {
    let figure = |figure: Option<u64>| figure.map_or("?".to_owned(), |figure| figure.to_string());
    let counts = reading.counts;
    let mut text = format!(
        "{} run {} passed {} failed {} skipped {} errors {}{}\n",
        reading.runner.as_deref().unwrap_or("-"),
        figure(counts.run),
        figure(counts.passed),
        figure(counts.failed),
        figure(counts.skipped),
        figure(reading.errors),
        match (&reading.ids, reading.ids_complete) {
            (None, _) => ", no ids",
            (_, true) => ", all ids",
            (_, false) => ", failing ids",
        }
    );
    for (id, status) in reading.ids.iter().flatten() {
        let _ = write!(text, "{status:?} {id}");
        if let Some(error) = reading.first_errors.get(id) {
            let _ = write!(text, " | {error}");
        }
        text.push('\n');
    }
    for note in &reading.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// All fixtures by name, the reports read as reports.
fn readings() -> Vec<(String, Reading)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/readers");
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let read_one = |name: String| {
        let text = fixture(&name);
        let reading = if Path::new(&name).extension().is_some_and(|suffix| suffix == "xml") {
            read("", &[ReportFile { path: (&name).into(), text }], "make check")
        } else {
            read(&text, &[], "make check")
        };
        (name, reading)
    };
    names.into_iter().map(read_one).collect()
}

#[test]
fn every_recorded_output_is_read_to_its_ids() {
    let mut all = String::new();
    for (name, reading) in readings() {
        let _ = write!(all, "== {name}\n{}\n", render(&reading));
    }
    insta::assert_snapshot!("readings", all);
}

/// Run, passed, failed, skipped, as the sources of the recorded suites have them (a suite that can't be loaded is one
/// failure more; an output that does not say is all `None`).
#[test]
fn the_counts_are_those_of_the_suites() {
    let expected: &[(&str, [u64; 4])] = &[
        ("cargo_test.txt", [10, 5, 5, 2]),
        ("cargo_test_q.txt", [10, 5, 5, 2]),
        ("cargo_test_stop.txt", [5, 2, 3, 1]),
        ("cargo_test_ok.txt", [2, 2, 0, 0]),
        ("cargo_test_ok_q.txt", [2, 2, 0, 0]),
        ("cargo_test_split.txt", [2, 2, 0, 0]),
        ("cargo_test_exit.txt", [1, 1, 0, 0]),
        ("nextest.txt", [8, 4, 4, 1]),
        ("nextest_stop.txt", [3, 2, 1, 1]),
        ("nextest_ok.txt", [2, 2, 0, 0]),
        ("pytest_normal.txt", [10, 4, 6, 2]),
        ("pytest_q.txt", [10, 4, 6, 2]),
        ("pytest_v.txt", [10, 4, 6, 2]),
        ("pytest_ra.txt", [10, 4, 6, 2]),
        ("pytest_color.txt", [10, 4, 6, 2]),
        ("pytest_xdist.txt", [10, 4, 6, 2]),
        ("pytest_tbno.txt", [10, 4, 6, 2]),
        ("pytest_sub.txt", [4, 1, 3, 0]),
        ("pytest_sub_v.txt", [4, 1, 3, 0]),
        ("pytest_sub_junit.xml", [4, 1, 3, 0]),
        ("pytest_junit.xml", [10, 4, 6, 2]),
        ("pytest_collect.txt", [1, 0, 1, 0]),
        ("pytest_none.txt", [0, 0, 0, 0]),
        ("unittest_dots.txt", [6, 2, 4, 2]),
        ("unittest_v.txt", [6, 2, 4, 2]),
        ("unittest_none.txt", [0, 0, 0, 0]),
        ("node_spec.txt", [10, 6, 4, 2]),
        ("node_tap.txt", [10, 6, 4, 2]),
        ("node_plain.txt", [9, 5, 4, 2]),
        ("node_none.txt", [0, 0, 0, 0]),
        ("jest.txt", [7, 4, 3, 2]),
        ("jest_v.txt", [7, 4, 3, 2]),
        ("jest_none.txt", [0, 0, 0, 0]),
        ("vitest.txt", [7, 4, 3, 3]),
        ("vitest_v.txt", [7, 4, 3, 3]),
        ("vitest_none.txt", [0, 0, 0, 0]),
        ("mocha.txt", [7, 4, 3, 2]),
        ("mocha_dot.txt", [7, 4, 3, 2]),
        ("mocha_tap.txt", [7, 4, 3, 2]),
        ("mocha_clean.txt", [3, 2, 1, 1]),
        ("go_v.txt", [9, 4, 5, 1]),
        ("go_json.txt", [9, 4, 5, 1]),
        ("npm_workspaces.txt", [2, 2, 0, 0]),
        ("pnpm_workspaces.txt", [2, 2, 0, 0]),
        ("twice_node.txt", [2, 2, 0, 0]),
        ("twice_pytest.txt", [8, 4, 4, 2]),
    ];
    let readings: BTreeMap<String, Reading> = readings().into_iter().collect();
    for (name, [run, passed, failed, skipped]) in expected {
        let expected =
            Counts { run: Some(*run), passed: Some(*passed), failed: Some(*failed), skipped: Some(*skipped) };
        assert_eq!((name, readings[*name].counts), (name, expected));
    }
    assert_eq!(readings["go_plain.txt"].counts, Counts { failed: Some(5), ..Counts::default() });
}

#[test]
fn the_errors_of_linters_are_counted() {
    for (name, errors) in [
        ("tsc.txt", 3),
        ("tsc_pretty.txt", 3),
        ("eslint.txt", 3),
        ("ruff.txt", 4),
        ("ruff_concise.txt", 4),
        ("ruff_ok.txt", 0),
        ("ruff_syntax.txt", 2),
        ("flake8.txt", 4),
        ("pylint.txt", 7),
        ("pylint_ok.txt", 0),
        ("mypy.txt", 1),
        ("mypy_ok.txt", 0),
        ("pyright.txt", 3),
        ("pyright_ok.txt", 0),
        ("cargo_check_all_targets.txt", 2),
        ("cargo_check_ok.txt", 0),
        ("cargo_test_broken.txt", 2),
        ("clippy_warn.txt", 0),
        ("clippy_deny.txt", 5),
        ("go_vet.txt", 2),
        ("go_vet_build.txt", 1),
        ("biome.txt", 2),
        ("biome_ok.txt", 0),
    ] {
        assert_eq!((name, read(&fixture(name), &[], "").errors), (name, Some(errors)));
    }
    let golangci =
        "main.go:10:2: ineffectual assignment to x (ineffassign)\n\tx := 1\n\t^\n1 issues:\n* ineffassign: 1\n";
    assert_eq!(read(golangci, &[], "").errors, Some(1));
    assert_eq!(read("0 issues.\n", &[], "").errors, Some(0));
    let compiler = "a.c: In function 'f':\na.c:3:5: error: 'x' undeclared\na.c:4:1: warning: no return\n";
    assert_eq!(read(compiler, &[], "").errors, Some(1));
    assert_eq!(read("lib/a.js:3: tab\nlib/a.js:9: tab\n", &[], "").errors, Some(2));
    let limit = "\n/a.js\n  1:1  warning  Missing semicolon  semi\n\n✖ 1 problem (0 errors, 1 warning)\n\nESLint found too many warnings (maximum: 0).\n";
    assert_eq!(read(limit, &[], "").errors, Some(1));
}

#[test]
fn unknown_output_says_nothing() {
    for text in
        ["", "\n", "all good\n", "ok\n", "listening on localhost:8080: ready\n12:30:45: start\n", "1..9\n", "FAILED\n"]
    {
        assert_eq!((text, read(text, &[], "make test")), (text, Reading::default()));
    }
}

#[test]
fn a_named_runner_is_the_only_one_believed() {
    let text = format!("test result: ok. 9 passed\n  40 passing (1s)\n{}", fixture("pytest_ok_q.txt"));
    assert_eq!(read(&text, &[], "python3 -m pytest -q").counts.passed, Some(2));
    assert_eq!(read(&text, &[], "make test").counts.passed, Some(42));
    assert_eq!(directly_named("npx jest && npx mocha"), None);
    assert_eq!(directly_named("cargo nextest run"), Some(vec!["nextest"]));
    assert_eq!(directly_named("./node_modules/.bin/vitest run"), Some(vec!["vitest"]));
    assert_eq!(directly_named("npm test"), None);
}

#[test]
fn a_wrapper_named_like_a_runner_does_not_hide_another_runner() {
    assert_eq!(read(&fixture("unittest_ok.txt"), &[], "scripts/jest tests").counts.run, Some(2));
}

fn report(name: &str) -> ReportFile {
    ReportFile { path: name.into(), text: fixture(name) }
}

#[test]
fn a_report_gives_the_ids_a_quiet_output_does_not() {
    let reading = read(&fixture("pytest_q.txt"), &[report("pytest_junit.xml")], "pytest -q");
    assert_eq!(reading.notes, Vec::<String>::new());
    assert!(reading.ids_complete);
    let verbose = read(&fixture("pytest_v.txt"), &[], "pytest -v");
    assert_eq!((reading.ids, reading.counts), (verbose.ids, verbose.counts));
}

#[test]
fn a_failing_subtest_or_teardown_is_one_failed_test_in_report_and_output() {
    let reading = read(&fixture("pytest_sub.txt"), &[report("pytest_sub_junit.xml")], "pytest -q");
    assert_eq!((reading.counts, reading.ids_complete, reading.notes), (tally::counts(1, 3, 0), true, Vec::new()));
}

#[test]
fn where_report_and_output_differ_the_worse_figures_hold() {
    let bad = read(&fixture("pytest_q.txt"), &[report("pytest_collect_junit.xml")], "pytest");
    assert_eq!(bad.counts, tally::counts(0, 6, 2));
    assert!(!bad.ids_complete);
    assert!(bad.notes.iter().any(|note| note.contains("less favourable")), "{:?}", bad.notes);
    let claimed = read("99 passed in 0.01s\n", &[report("pytest_junit.xml")], "pytest");
    assert_eq!(claimed.counts, tally::counts(4, 6, 2));
    assert_eq!(claimed.notes.len(), 1);
}

#[test]
fn a_report_that_fits_no_run_is_not_used() {
    let twice = fixture("pytest_ok_q.txt").repeat(2);
    let reading = read(&twice, &[report("pytest_junit.xml")], "a && b");
    assert_eq!(reading.counts.passed, Some(4));
    let other = read(&fixture("unittest_ok.txt"), &[report("pytest_junit.xml")], "make");
    assert_eq!((other.counts.passed, other.notes.len()), (Some(2), 1));
    let torn = ReportFile { path: "r.xml".into(), text: "<testsuites><testsuite".to_owned() };
    let reading = read(&fixture("pytest_ok_q.txt"), &[torn], "pytest -q");
    assert_eq!((reading.counts.passed, reading.notes.len()), (Some(2), 1));
}

#[test]
fn the_closing_line_of_an_old_pytest_is_read() {
    let old = "==== 1 failed, 2 passed in 0.03 seconds ====\n";
    assert_eq!(read(old, &[], "py.test").counts, tally::counts(2, 1, 0));
}

#[test]
fn equal_ids_of_two_runs_stay_two() {
    let reading = read(&fixture("npm_workspaces.txt"), &[], "npm test --workspaces");
    assert_eq!(reading.ids.unwrap().into_keys().collect::<Vec<_>>(), ["ok", "ok #2"]);
}

#[test]
fn a_planned_test_that_never_reports_has_failed() {
    let reading = read("TAP version 13\n1..3\nok 1 - a\nnot ok 2 - b\n  ---\n  message: 'x'\n  ...\n", &[], "prove");
    assert_eq!(reading.counts, tally::counts(1, 2, 0));
    assert_eq!(reading.first_errors["b"], "x");
}

#[test]
fn a_test_that_prints_another_run_does_not_count_it() {
    let text = "\nrunning 1 test\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\nrunning 7 tests\n\
                test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                thread 'a' (1) panicked at src/x.rs:1:1:\nboom\n\n\nfailures:\n    a\n\n\
                test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
    let reading = read(text, &[], "cargo test");
    assert_eq!(reading.counts, tally::counts(0, 1, 0));
    assert_eq!(reading.first_errors["a"], "boom");
}

/// Text made of pieces of all formats, cut and joined anyhow: what a proptest of plain noise would never reach.
fn fragments() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let lines: Vec<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/readers"))
        .unwrap()
        .flat_map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let line = prop_oneof![
        8 => proptest::sample::select(lines.clone()),
        1 => "\\PC{0,40}",
        2 => (proptest::sample::select(lines), any::<proptest::sample::Index>()).prop_map(|(line, at)| {
            let chars: Vec<char> = line.chars().collect();
            chars[..at.index(chars.len() + 1)].iter().collect::<String>()
        }),
    ];
    proptest::collection::vec(line, 0..60).prop_map(|lines| lines.join("\n"))
}

proptest::proptest! {
    #[test]
    fn any_mixture_of_lines_is_read_without_a_panic(text in fragments(), command in "[a-z &|-]{0,20}") {
        let reading = read(&text, &[ReportFile { path: "r".into(), text: text.clone() }], &command);
        let counts = reading.counts;
        if let (Some(run), Some(passed), Some(failed)) = (counts.run, counts.passed, counts.failed) {
            proptest::prop_assert_eq!(run, passed + failed);
        }
        proptest::prop_assert!(!reading.ids_complete || reading.ids.is_some());
    }

    #[test]
    fn any_report_is_read_without_a_panic(text in "(<(testsuites|testsuite name=\"pytest\"|testcase name=\"a.b\"|failure|/[a-z]+)>|\\PC){0,40}") {
        let _ = read("", &[ReportFile { path: "r".into(), text }], "");
    }
}

/// Doubling the text must not quadruple the time; the bound is loose, for a busy machine.
#[test]
fn the_time_is_linear_in_the_length() {
    let mut base = String::new();
    for (name, _) in readings() {
        base.push_str(&fixture(&name));
    }
    for name in ["pytest_v.txt", "cargo_test.txt", "node_tap.txt", "jest_v.txt", "go_v.txt", "mocha_clean.txt"] {
        base.push_str(&fixture(name));
    }
    let time = |times: usize| {
        let text = base.repeat(times);
        let start = std::time::Instant::now();
        let reading = read(&text, &[], "make");
        assert!(reading.counts.failed.is_some());
        start.elapsed()
    };
    let (short, long) = (time(1), time(8));
    assert!(long < short * 8 * 4 + std::time::Duration::from_millis(500), "{short:?} became {long:?}");
}
