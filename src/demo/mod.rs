//! The ingredients of the demonstration: a small repository with a real fault, a model that plays the part of Codex's,
//! and a Codex CLI to play it through.
//!
//! It writes nothing outside the folders it is given, and installs nothing globally.

mod codex;

use crate::answers::{Evaluation, Level, OpenIssue, Proposal, Severity, Suggestion, Verdict};
use crate::scripted::script::{Candidate, evaluation, proposal, ranking};
use crate::scripted::{ModelRequest, Reply, Step};

pub use codex::{CODEX_VERSION, find_or_install_codex, install_codex};

/// The goal of the demonstration.
pub const GOAL: &str = "Fines must count the real calendar days between two dates, also over the end of a month, and a fine \
                        must never exceed the price of the book. Make all tests pass without changing them.";
/// The test command of the sample repository.
pub const TEST_COMMAND: &str = "node --test";
/// The lint command of the sample repository.
pub const LINT_COMMAND: &str = "node tools/lint.js";

const DATES: &str = include_str!("sample/src/dates.js");
const FINES: &str = include_str!("sample/src/fines.js");

const COUNT_REAL_DAYS: &str = include_str!("patches/count-real-days.diff");
const CAP_THE_SUM: &str = include_str!("patches/cap-the-sum.diff");
const CAP_AND_DOCUMENT: &str = include_str!("patches/cap-and-document.diff");
const REWRITE_BOTH: &str = include_str!("patches/rewrite-both.diff");
const SKIP_UNSTABLE_TESTS: &str = include_str!("patches/skip-unstable-tests.diff");

/// A cause of the fault: where it stands and how it is told from its repair.
struct Cause {
    file: &'static str,
    source: &'static str,
    /// The function around it: text that shows this shows the file.
    around: &'static str,
    faulty: &'static str,
    repaired: &'static str,
    issue: &'static str,
    summary: &'static str,
    recommendation: &'static str,
}

const DAYS: Cause = Cause {
    file: "src/dates.js",
    source: DATES,
    around: "function dayNumber(",
    faulty: "Date.UTC(year, month, day)",
    repaired: "Date.UTC(year, month - 1, day)",
    issue: "month-off-by-one",
    summary: "dayNumber hands a month counted from 1 to Date.UTC, which counts from 0, so every month gets the length of the next.",
    recommendation: "Subtract 1 from the month.",
};
const CAP: Cause = Cause {
    file: "src/fines.js",
    source: FINES,
    around: "function charge(",
    faulty: "days * Math.min(rate, price)",
    repaired: "Math.min(days * rate, price)",
    issue: "cap-per-day",
    summary: "charge limits the rate of one day to the price of the book instead of the sum of all days.",
    recommendation: "Limit the product, not the rate.",
};

impl Cause {
    /// Says whether it is repaired, by the text of the files where Codex could read them, else by what the prompt shows.
    fn is_repaired(&self, files: Option<&str>, prompt: &str) -> bool {
        match files.filter(|text| text.contains(self.around)) {
            Some(text) => !text.contains(self.faulty),
            // A prompt that has no files in it shows the changes so far, and the repair among them.
            None => prompt.contains(self.repaired),
        }
    }

    fn open_issue(&self) -> OpenIssue {
        let line = self.source.lines().position(|line| line.contains(self.faulty)).map(|index| index as u32 + 1);
        OpenIssue {
            id: self.issue.into(),
            severity: Severity::High,
            summary: self.summary.into(),
            file: Some(self.file.into()),
            line_start: line,
            line_end: line,
            recommendation: self.recommendation.into(),
        }
    }
}

/// Returns the sample repository: paths relative to its root, and contents. Its tests fail; its lint passes.
pub fn sample_files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("README.md", include_str!("sample/README.md")),
        ("package.json", include_str!("sample/package.json")),
        ("src/dates.js", DATES),
        ("src/fines.js", FINES),
        ("src/money.js", include_str!("sample/src/money.js")),
        ("src/statement.js", include_str!("sample/src/statement.js")),
        ("test/dates.test.js", include_str!("sample/test/dates.test.js")),
        ("test/fines.test.js", include_str!("sample/test/fines.test.js")),
        ("test/statement.test.js", include_str!("sample/test/statement.test.js")),
        ("tools/lint.js", include_str!("sample/tools/lint.js")),
    ]
}

/// Returns the model of the demonstration.
///
/// It answers by the request alone. To evaluate and to suggest it first reads the two files through Codex's shell
/// tool, as a real model would, and goes by the prompt where that tool is missing. While the first cause stands it
/// offers a patch that skips tests, one that mends all but leaves a debug line behind, and one that mends the first
/// cause; then two ways to mend the second. It ranks by what the candidates show and likes the one with the debug line
/// best, so that only the checks can tell.
pub fn model() -> impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static {
    |request| match request.step() {
        Step::Rank => Reply::json(&ranking(&request.candidates(), figure)),
        Step::Evaluate | Step::Suggest if !request.has_function_output => {
            Reply::exec_command(&format!("cat {} {}", DAYS.file, CAP.file))
                .with_reasoning("Reading what the failing tests call.")
        }
        step @ (Step::Evaluate | Step::Suggest) => {
            let files = request.function_outputs().join("\n");
            let repaired = |cause: &Cause| cause.is_repaired(Some(&files), &request.prompt);
            let (days, cap) = (repaired(&DAYS), repaired(&CAP));
            if step == Step::Evaluate { Reply::json(&evaluate(days, cap)) } else { Reply::json(&suggest(days, cap)) }
        }
        Step::Other => Reply::message("This model only knows the demonstration."),
    }
}

/// Passing and failing tests of the sample, by which causes are repaired.
const fn counts(days: bool, cap: bool) -> (u32, u32) {
    match (days, cap) {
        (false, false) => (8, 5),
        (true, false) => (11, 2),
        (false, true) => (9, 4),
        (true, true) => (13, 0),
    }
}

fn evaluate(days: bool, cap: bool) -> Evaluation {
    let open: Vec<_> = [(days, DAYS), (cap, CAP)].into_iter().filter(|(repaired, _)| !repaired).collect();
    let issues = open.iter().map(|(_, cause)| cause.open_issue()).collect();
    let (verdict, distance) =
        if open.is_empty() { (Verdict::GoalMet, 0.0) } else { (Verdict::InProgress, 0.4 * open.len() as f64) };
    let (passing, failing) = counts(days, cap);
    let rationale = match open.as_slice() {
        [] => {
            "Days are counted by the calendar and the sum is limited to the price; nothing of the goal is left.".into()
        }
        open => {
            open.iter().map(|(_, cause)| format!("{}: {}", cause.file, cause.summary)).collect::<Vec<_>>().join(" ")
        }
    };
    Evaluation {
        passing_tests: Some(passing),
        failing_tests: Some(failing),
        lint_errors: Some(0),
        rationale,
        ..evaluation(verdict, distance, issues)
    }
}

fn offer(id: &str, patch: &str, approach: &str, justification: &str, files: &[&str]) -> Proposal {
    Proposal {
        approach: approach.into(),
        justification: justification.into(),
        files_touched: files.iter().map(|file| (*file).to_owned()).collect(),
        ..proposal(id, patch)
    }
}

fn suggest(days: bool, cap: bool) -> Suggestion {
    let mut proposals = Vec::new();
    if !days && !cap {
        proposals.push(Proposal {
            estimated_risk: Level::Low,
            modifies_tests: true,
            test_change_justification: Some("The tests depend on the calendar and are not stable.".into()),
            ..offer(
                "skip-unstable-tests",
                SKIP_UNSTABLE_TESTS,
                "Skip the tests that fail until the calendar code is rewritten.",
                "The failing tests make the suite red although most fines are right.",
                &["test/dates.test.js", "test/fines.test.js", "test/statement.test.js"],
            )
        });
        proposals.push(Proposal {
            estimated_risk: Level::Medium,
            ..offer(
                "rewrite-both",
                REWRITE_BOTH,
                "Let Date.parse count the days and limit the sum, in one go.",
                "Answers both open issues at once.",
                &[DAYS.file, CAP.file],
            )
        });
    }
    if !days {
        let why = "Answers month-off-by-one: Date.UTC counts months from 0.";
        proposals.push(offer(
            "count-real-days",
            COUNT_REAL_DAYS,
            "Give Date.UTC the month it expects.",
            why,
            &[DAYS.file],
        ));
    } else if !cap {
        let why = "Answers cap-per-day: the goal limits the whole fine.";
        proposals.push(offer("cap-the-sum", CAP_THE_SUM, "Limit the sum instead of the rate.", why, &[CAP.file]));
        proposals.push(offer(
            "cap-and-document",
            CAP_AND_DOCUMENT,
            "Limit the sum and say so more plainly in the README.",
            why,
            &[CAP.file, "README.md"],
        ));
    }
    Suggestion { proposals }
}

/// What the judge thinks of a candidate, by the lines its diff adds.
fn figure(candidate: &Candidate) -> f64 {
    // The first that fits. An opinion is all this is: the debug line that fails the lint is not noticed.
    let opinions =
        [("test.skip(", 0.15), ("Date.parse(", 0.92), (DAYS.repaired, 0.8), (CAP.repaired, 0.9), ("sum > price", 0.75)];
    opinions.iter().find(|(sign, _)| candidate.text.contains(sign)).map_or(0.4, |(_, figure)| *figure)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use pretty_assertions::assert_eq;

    use super::*;

    struct Sample(tempfile::TempDir);

    impl Sample {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (path, content) in sample_files() {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            Self(dir)
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        fn apply(&self, patch: &str) {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), patch).unwrap();
            // Outside of any repository, so that no surrounding one changes what paths mean.
            let mut git = Command::new("git");
            git.arg("apply")
                .arg(file.path())
                .current_dir(self.path())
                .env("GIT_CEILING_DIRECTORIES", self.path().parent().unwrap());
            assert!(git.status().unwrap().success());
        }

        /// Passed, failed and skipped tests, and whether the lint passes.
        fn check(&self) -> (u32, u32, u32, bool) {
            // A test run within a test run of node would else report to the outer one.
            let node = |arguments: &[&str]| {
                let mut command = Command::new("node");
                command.args(arguments).current_dir(self.path()).env_remove("NODE_TEST_CONTEXT").output().unwrap()
            };
            let output = node(&["--test", "--test-reporter=tap"]);
            let text = String::from_utf8(output.stdout).unwrap();
            let count = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {name} ")));
                line.unwrap_or_else(|| panic!("no count of {name} in:\n{text}")).parse().unwrap()
            };
            assert_eq!(output.status.success(), count("fail") == 0);
            (count("pass"), count("fail"), count("skipped"), node(&["tools/lint.js"]).status.success())
        }
    }

    #[test]
    fn the_sample_and_its_patches_do_what_the_story_says() {
        let after = |patches: &[&str]| {
            let sample = Sample::new();
            for patch in patches {
                sample.apply(patch);
            }
            sample.check()
        };
        let told = |days: bool, cap: bool| {
            let (passing, failing) = counts(days, cap);
            (passing, failing, 0, true)
        };
        assert_eq!(after(&[]), told(false, false));
        assert_eq!(after(&[COUNT_REAL_DAYS]), told(true, false));
        assert_eq!(after(&[CAP_THE_SUM]), told(false, true));
        assert_eq!(after(&[COUNT_REAL_DAYS, CAP_THE_SUM]), told(true, true));
        assert_eq!(after(&[COUNT_REAL_DAYS, CAP_AND_DOCUMENT]), told(true, true));
        assert_eq!(after(&[SKIP_UNSTABLE_TESTS]), (8, 0, 5, true));
        assert_eq!(after(&[REWRITE_BOTH]), (13, 0, 0, false));
    }

    #[test]
    fn the_first_round_offers_a_cheat_a_breaker_and_an_honest_part() {
        let ids = |days, cap| suggest(days, cap).proposals.into_iter().map(|offer| offer.id).collect::<Vec<_>>();
        assert_eq!(ids(false, false), ["skip-unstable-tests", "rewrite-both", "count-real-days"]);
        assert_eq!(ids(true, false), ["cap-the-sum", "cap-and-document"]);
        assert_eq!(ids(false, true), ["count-real-days"]);
        assert_eq!(ids(true, true), Vec::<String>::new());
    }

    #[test]
    fn the_evaluation_names_what_is_left_with_its_place() {
        let evaluation = evaluate(true, false);
        assert_eq!((evaluation.verdict, evaluation.completion_claim), (Verdict::InProgress, false));
        let places: Vec<_> =
            evaluation.open_issues.iter().map(|issue| (issue.file.as_deref(), issue.line_start)).collect();
        assert_eq!(places, [(Some("src/fines.js"), Some(9))]);
        let done = evaluate(true, true);
        assert_eq!((done.verdict, done.distance_from_goal, done.open_issues.len()), (Verdict::GoalMet, 0.0, 0));
    }

    #[test]
    fn a_repair_is_seen_in_the_files_or_else_in_the_prompt() {
        let mended = DATES.replace(DAYS.faulty, DAYS.repaired);
        assert!(!DAYS.is_repaired(Some(DATES), "unsupported"));
        assert!(DAYS.is_repaired(Some(&mended), ""));
        // Without the tool the changes so far decide.
        assert!(!DAYS.is_repaired(Some("unsupported call: exec_command"), "no changes so far"));
        assert!(DAYS.is_repaired(Some("unsupported call: exec_command"), COUNT_REAL_DAYS));
        // A file as it is outweighs a patch in the prompt that was not kept.
        assert!(!DAYS.is_repaired(Some(DATES), COUNT_REAL_DAYS));
    }

    #[test]
    fn the_judge_goes_by_what_a_candidate_shows() {
        let shown = |patch: &str| figure(&Candidate { id: "candidate-1".into(), text: patch.into() });
        let order = [REWRITE_BOTH, CAP_THE_SUM, COUNT_REAL_DAYS, CAP_AND_DOCUMENT, SKIP_UNSTABLE_TESTS].map(shown);
        assert!(order.is_sorted_by(|one, other| one > other), "{order:?}");
    }
}
