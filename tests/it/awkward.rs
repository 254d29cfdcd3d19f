//! Repositories and checks as they are: red from the start, flaky, writing, slow, missing; and the limits a loop keeps.

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Reply, Step};
use pretty_assertions::assert_eq;

use crate::common::scene::{
    FAULTY, GOAL, MENDED, SUM, SUM_TEST, Scene, diff, ended, mend, mender, refused, sum_files, texts,
};
use crate::common::{SequenceModel, evaluation, issue};

const TEST: &[&str] = &["--test-cmd", "node --test"];

/// Returns `--test-cmd 'node --test'` and more.
fn test_and<'a>(more: &[&'a str]) -> Vec<&'a str> {
    TEST.iter().chain(more).copied().collect()
}

fn in_progress() -> loop_companion::answers::Evaluation {
    evaluation(Verdict::InProgress, 0.5, vec![issue("wrong-sign", "sum subtracts", SUM)])
}

fn goal_met() -> loop_companion::answers::Evaluation {
    evaluation(Verdict::GoalMet, 0.0, Vec::new())
}

/// The sample's files and these, which win.
fn sum_files_and<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = sum_files().into_iter().filter(|(path, _)| more.iter().all(|(other, _)| other != path));
    kept.chain(more.iter().copied()).collect()
}

// --- Checks that are red or flaky ---

const LEGACY_TEST: &str = "'use strict';\n\nconst test = require('node:test');\n\ntest('legacy', () => { throw new Error('broken for \
                           years'); });\n";

#[test]
fn a_red_test_named_as_known_stays_red_and_does_not_hold_up_the_goal() {
    let scene = Scene::new(mender(), sum_files_and(&[("test/legacy.test.js", LEGACY_TEST)]));
    // Not named, it is part of the goal: what is left red is not met.
    let status = ended(scene.start(&test_and(&["--max-iter", "1"])), 1, "budget-iterations");
    assert_eq!(status["baseline"]["knownRed"].as_array().map(Vec::len), Some(0));
    let ids = &status["baseline"]["receipts"]["test"]["ids"]["failed"];
    let legacy = texts(ids).into_iter().find(|id| id.contains("legacy")).expect("the id of the red test").to_owned();
    let status = ended(scene.start(&test_and(&["--known-red", &legacy])), 0, "goal-met");
    assert_eq!(texts(&status["baseline"]["knownRed"]), [legacy.as_str()]);
    assert_eq!(status["proof"]["level"], "measured");
    // What may stay red counts neither at the start nor at the end.
    assert_eq!(status["convergence"]["failing"], serde_json::json!([1, 0]));
    // After the result comes the change, and never the result once more.
    let result = scene.cloop(["result", "--json"]).expect_code(0).json();
    assert_eq!(texts(&result["next"]), ["loop-companion result --patch"]);
    scene.assert_mended();
}

#[test]
fn a_red_baseline_known_as_a_whole_leaves_the_goal_to_its_accept_command() {
    let model = SequenceModel::new().evaluate(&in_progress()).evaluate(&goal_met()).patches([
        ("breaks-the-other", diff(SUM, FAULTY, "exports.sum = () => 1;\n").as_str()),
        ("documents", diff("README.md", "", "sum subtracts.\n").as_str()),
    ]);
    let scene = Scene::new(model, sum_files());
    let arguments = test_and(&["--known-red", "baseline", "--accept-cmd", "test -f README.md"]);
    let status = ended(scene.start(&arguments), 0, "goal-met");
    assert_eq!(status["baseline"]["knownRed"].as_array().map(Vec::len), Some(1));
    assert_eq!((&status["proof"]["level"], scene.repo.read(SUM).as_str()), (&"measured".into(), FAULTY));
    let rejected = &status["iterations"][0]["rejected"][0];
    assert_eq!((&rejected["id"], &rejected["code"]), (&"breaks-the-other".into(), &"breaks-check".into()));
}

/// A test that fails at every second run, counted in a file outside the repository.
const EVERY_SECOND: &str = "'use strict';\n\nconst test = require('node:test');\nconst assert = require('node:assert/strict');\nconst fs = \
     require('node:fs');\n\ntest('every second time', () => {\n  const path = process.env.HOME + '/runs';\n  const runs = \
     fs.existsSync(path) ? fs.readFileSync(path).length : 0;\n  fs.appendFileSync(path, '.');\n  assert.equal(runs % 2, \
     0);\n});\n";

#[test]
fn a_test_that_fails_every_second_time_counts_for_nobody_and_is_listed() {
    for place in ["auto", "in-place", "worktree"] {
        let scene = Scene::new(mender(), sum_files_and(&[("test/every.test.js", EVERY_SECOND)]));
        let status = ended(scene.start(&test_and(&["--where", place])), 0, "goal-met");
        let flaky = texts(&status["baseline"]["flaky"]);
        assert!(flaky.len() == 1 && flaky[0].contains("every second time"), "{place}: {flaky:?}");
        assert_eq!(status["where"], if place == "in-place" { place } else { "worktree" }, "{}", status["whereReason"]);
        scene.assert_mended();
    }
}

/// A test that fails the first time it sees the fault mended, and never else.
const ONCE: &str = "'use strict';\n\nconst test = require('node:test');\nconst assert = require('node:assert/strict');\nconst fs = \
     require('node:fs');\nconst { sum } = require('../src/sum');\n\ntest('by chance', () => {\n  if (sum(2, 3) !== 5) \
     return;\n  const path = process.env.HOME + '/seen';\n  const seen = fs.existsSync(path);\n  fs.writeFileSync(path, \
     '');\n  assert.ok(seen);\n});\n";

#[test]
fn a_failure_that_would_decide_is_run_again_and_chance_does_not_decide() {
    let scene = Scene::new(mender(), sum_files_and(&[("test/once.test.js", ONCE)]));
    let status = ended(scene.start(TEST), 0, "goal-met");
    let flaky = texts(&status["baseline"]["flaky"]);
    assert!(flaky.len() == 1 && flaky[0].contains("by chance"), "{flaky:?}");
    scene.assert_mended();
}

// --- Checks that write ---

#[test]
fn what_a_check_writes_is_put_back_and_listed() {
    let command = "echo run >> test/seen.snap; mkdir -p out; echo run > out/report.txt; rm -f notes.txt; node --test";
    for place in ["worktree", "in-place"] {
        let scene = Scene::new(mender(), sum_files_and(&[("test/seen.snap", "first\n"), ("notes.txt", "mine\n")]));
        let status = ended(scene.start(&["--test-cmd", command, "--where", place]), 0, "goal-met");
        let written = texts(&status["baseline"]["checkWrites"]);
        assert_eq!(written, ["notes.txt", "out/report.txt", "test/seen.snap"], "{place}");
        assert_eq!(scene.repo.git(["status", "--porcelain"]), format!(" M {SUM}"), "{place}");
        scene.assert_mended();
    }
}

#[test]
fn reports_of_a_new_number_after_every_run_are_the_checks_and_put_back_in_place_too() {
    let command = "mkdir -p out; echo run > out/report-$$.txt; node --test";
    for place in ["worktree", "in-place"] {
        let scene = Scene::new(mender(), sum_files_and(&[]));
        ended(scene.start(&["--test-cmd", command, "--where", place]), 0, "goal-met");
        assert_eq!(scene.repo.git(["status", "--porcelain"]), format!(" M {SUM}"), "{place}");
        scene.assert_mended();
    }
}

// --- Few or no checks ---

#[test]
fn a_repository_without_tests_needs_its_lack_typed() {
    let scene = Scene::sum();
    let (message, hint) = refused(scene.start(&[]), 2, "usage");
    assert!(message.contains("no test command") && hint.contains("--no-test") && hint.contains("detect"), "{hint}");
    let (message, hint) = refused(scene.start(&["--no-test"]), 2, "usage");
    assert!(message.contains("no check") && hint.contains("--require-proof reviewed"), "{hint}");
    assert_eq!(scene.server.requests().len(), 0);
    scene.assert_untouched();
}

#[test]
fn without_any_check_a_second_evaluation_alone_can_agree() {
    let scene = Scene::sum();
    let status = ended(scene.start(&["--no-test", "--require-proof", "reviewed"]), 0, "goal-met");
    assert_eq!(status["proof"]["level"], "reviewed");
    // Evaluate, suggest, evaluate, and the independent second evaluation.
    assert_eq!(status["budget"]["calls"]["used"], 4);
    scene.assert_mended();
}

/// Reports a line for each file that subtracts.
const LINT: &str = "'use strict';\n\nconst fs = require('node:fs');\nlet status = 0;\nfor (const name of fs.readdirSync('src')) {\n  if \
                    (fs.readFileSync(`src/${name}`, 'utf8').includes(' - ')) {\n    console.log(`src/${name}:3:1: error: it \
                    subtracts`);\n    status = 1;\n  }\n}\nprocess.exitCode = status;\n";

#[test]
fn a_goal_of_lint_alone_is_met_as_the_count_of_errors_falls() {
    let other = "src/more.js";
    let worse = FAULTY.replace("a - b", "a - b - 0");
    let third = "exports.x = (a) => a - 1;\n";
    let model = SequenceModel::new()
        .evaluate(&in_progress())
        .patches([
            ("one", mend().as_str()),
            ("none", diff(SUM, FAULTY, &worse).as_str()),
            ("more", diff("src/third.js", "", third).as_str()),
        ])
        .patches([("two", diff(other, FAULTY, MENDED).as_str())]);
    let files = [("tools/lint.js", LINT), (SUM, FAULTY), (other, FAULTY)];
    let scene = Scene::new(model, files);
    let status = ended(scene.start(&["--no-test", "--lint-cmd", "node tools/lint.js"]), 0, "goal-met");
    assert_eq!(status["proof"]["level"], "measured");
    assert_eq!(status["baseline"]["receipts"]["lint"]["errors"], 2);
    let errors: Vec<_> =
        status["iterations"].as_array().unwrap().iter().map(|it| it["receipts"]["lint"]["errors"].clone()).collect();
    assert_eq!(errors[0], 1);
    assert_eq!(errors.len(), 2);
    assert_eq!((scene.repo.read(SUM).as_str(), scene.repo.read(other).as_str()), (MENDED, MENDED));
}

// --- Checks that are slow or cannot be used ---

#[test]
fn a_suite_of_twenty_minutes_stops_before_any_call_and_says_what_it_needs() {
    let scene = Scene::sum();
    let run = scene.start(&["--test-cmd", "sleep 1200", "--max-time", "2s"]);
    assert!(run.duration.as_secs() < 20, "{:?}", run.duration);
    let status = ended(run, 1, "checks-too-slow");
    let message = status["stopMessage"].as_str().unwrap();
    assert!(message.contains("sleep 1200") && message.contains("--max-time"), "{message}");
    assert_eq!((scene.server.requests().len(), &status["resumable"]), (0, &true.into()));
    scene.environment.assert_no_processes();
    scene.assert_untouched();
}

#[test]
fn the_budget_that_slow_checks_are_said_to_need_holds_them() {
    let scene = Scene::sum();
    let slow = ["--test-cmd", "sleep 1; node --test"];
    let status = ended(scene.start(&[&slow[..], &["--max-time", "3s"]].concat()), 1, "checks-too-slow");
    assert_eq!(scene.server.requests().len(), 0);
    let message = status["stopMessage"].as_str().unwrap();
    let named = message.split("--max-time ").nth(1).and_then(|rest| rest.split([' ', '.', ';']).next());
    let named = named.unwrap_or_else(|| panic!("no budget in {message}"));
    let status = ended(scene.cloop(["resume", "--json", "--max-time", named]), 0, "goal-met");
    assert_eq!(status["proof"]["level"], "measured");
    scene.assert_mended();
}

#[test]
fn a_check_that_never_ends_is_unusable_and_leaves_no_process() {
    let scene = Scene::sum();
    let run = scene.start(&["--test-cmd", "sleep 300 & sleep 300; wait", "--check-timeout", "1s"]);
    let status = ended(run, 3, "checks-unusable");
    let message = status["stopMessage"].as_str().unwrap();
    assert!(
        message.contains("had not ended at its time limit")
            && message.contains("--check-timeout")
            && texts(&status["next"]).iter().any(|next| next.contains("resume")),
        "{status:#}"
    );
    assert_eq!(scene.server.requests().len(), 0);
    scene.environment.assert_no_processes();
    scene.assert_untouched();
}

#[test]
fn a_check_whose_command_is_missing_is_unusable_until_it_is_there() {
    let mut scene = Scene::sum();
    let programs = scene.environment.root().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let path = std::env::join_paths(
        std::iter::once(programs.clone()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    scene.environment.set("PATH", path.unwrap());
    let status = ended(scene.start(&["--test-cmd", "our-runner --all"]), 3, "checks-unusable");
    let message = status["stopMessage"].as_str().unwrap();
    assert!(message.contains("`our-runner --all` was not found"), "{message}");
    assert_eq!((scene.server.requests().len(), &status["resumable"]), (0, &true.into()));
    scene.assert_untouched();
    let runner = programs.join("our-runner");
    std::fs::write(&runner, "#!/bin/sh\nexec node --test\n").unwrap();
    std::fs::set_permissions(&runner, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    ended(scene.cloop(["resume", "--json"]), 0, "goal-met");
    scene.assert_mended();
}

// --- Parts of a repository ---

#[test]
fn in_a_folder_of_a_monorepo_checks_run_there_and_paths_begin_at_the_root() {
    let inside = |path: &str| format!("packages/ä b/{path}");
    let files: Vec<(String, &str)> = sum_files()
        .into_iter()
        .map(|(path, content)| (inside(path), content))
        .chain([("packages/other/broken.test.js".to_owned(), LEGACY_TEST)])
        .collect();
    let model =
        SequenceModel::new().evaluate(&in_progress()).patches([("mend", diff(&inside(SUM), FAULTY, MENDED).as_str())]);
    let scene = Scene::new(model, files);
    let folder = scene.repo.path().join("packages/ä b");
    let arguments = ["-C", "packages/ä b", "start", "--json", "--yes", GOAL, "--test-cmd", "node --test"];
    let plan = scene.cloop(arguments.iter().chain(&["--plan"])).expect_code(0).json();
    assert_eq!(plan["plan"]["checkDir"], "packages/ä b");
    ended(scene.cloop(arguments), 0, "goal-met");
    assert_eq!(scene.repo.read(&inside(SUM)), MENDED);
    assert!(scene.repo.path().join(".loop/loop-state.json").is_file() && !folder.join(".loop").exists());
    // From within the folder it is the same loop.
    let result = scene.environment.cloop(&folder, ["result", "--json"]).expect_code(0).json();
    assert_eq!((&result["changed"][0]["path"], &result["landed"]), (&inside(SUM).into(), &true.into()));
    assert_eq!(result["next"][0], "loop-companion result --patch");
    let from_above = scene.cloop(["-C", "packages/ä b", "status", "--json"]).expect_code(0).json();
    assert_eq!(from_above["next"][0], "loop-companion -C 'packages/ä b' result");
}

// --- Permissions ---

#[test]
fn a_rename_that_reaches_tests_needs_permission_and_shows_it_above_the_verdict() {
    let renamed = |text: &str| text.replace("sum", "total").replace("src/total", "src/sum").replace("a - b", "a + b");
    let patch =
        format!("{}{}", diff(SUM, FAULTY, &renamed(FAULTY)), diff("test/sum.test.js", SUM_TEST, &renamed(SUM_TEST)));
    let model = || SequenceModel::new().evaluate(&in_progress()).patches([("rename", patch.as_str())]);
    let arguments = test_and(&["--accept-cmd", "! grep -q exports.sum src/sum.js"]);
    let scene = Scene::new(model(), sum_files());
    let status = ended(scene.start(&arguments), 1, "no-usable-proposals");
    let rejected = &status["iterations"][0]["rejected"][0];
    let code = rejected["code"].as_str().unwrap();
    assert!(["permission-needed", "weakens-test"].contains(&code), "{rejected:#}");
    let next = status["stopMessage"].as_str().unwrap().to_owned() + &scene.cloop(["status"]).stdout;
    assert!(next.contains("--allow-change"), "{next}");
    scene.assert_untouched();

    let scene = Scene::new(model(), sum_files());
    let arguments = [&arguments[..], &["--allow-change", "test/**:the function gets another name"]].concat();
    let status = ended(scene.start(&arguments), 0, "goal-met");
    assert_eq!(texts(&status["proof"]["permitted"]), ["test/sum.test.js"]);
    assert_eq!(scene.repo.read("test/sum.test.js"), renamed(SUM_TEST));
    for command in ["status", "result"] {
        let text = scene.cloop([command]).expect_code(0).stdout;
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in:\n{text}"));
        assert!(at("test/sum.test.js") < at("The goal is met"), "{text}");
    }
}

// --- Criteria, trials, set-up ---

#[test]
fn criteria_in_words_get_a_closing_evaluation_when_the_last_iteration_is_used() {
    let scene = Scene::sum();
    let status = ended(scene.start(&test_and(&["--accept", "sums are sums", "--max-iter", "1"])), 0, "goal-met");
    assert_eq!(texts(&status["acceptanceCriteria"]), ["sums are sums"]);
    assert_eq!(
        (&status["iterations"][1]["closing"], &status["budget"]["iterations"]["used"]),
        (&true.into(), &1.into())
    );
    scene.assert_mended();
}

#[test]
fn a_trial_command_weeds_out_what_it_shows_broken_and_the_whole_suite_decides() {
    let model = SequenceModel::new()
        .evaluate(&in_progress())
        .evaluate(&goal_met())
        .patches([("breaks-quick", diff(SUM, FAULTY, "exports.sum = () => 5;\n").as_str()), ("mend", mend().as_str())]);
    let quick = SUM_TEST.replace("test('adds', () => assert.equal(sum(2, 3), 5));\n\n", "");
    let scene = Scene::new(model, sum_files_and(&[("quick/zero.test.js", &quick)]));
    let arguments = ["--test-cmd", "node --test test/", "--trial-cmd", "node --test quick/", "--trial", "before-rank"];
    let arguments = arguments.map(|argument| argument.replace("test/", "test/*.js").replace("quick/", "quick/*.js"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let status = ended(scene.start(&arguments), 0, "goal-met");
    let trials = status["iterations"][0]["trials"].as_array().unwrap();
    let checks: Vec<(&str, Vec<&str>)> = trials
        .iter()
        .map(|trial| {
            let receipts = trial["receipts"].as_array().unwrap();
            (trial["id"].as_str().unwrap(), receipts.iter().map(|it| it["check"].as_str().unwrap()).collect())
        })
        .collect();
    assert_eq!(checks, [("breaks-quick", vec!["trial"]), ("mend", vec!["test", "trial"])]);
    scene.assert_mended();
}

/// A test that needs what `.gitignore` keeps out of commits.
fn with_ignored(folder: &str) -> Vec<(&'static str, String)> {
    let mut files: Vec<(&str, String)> = sum_files().into_iter().map(|(path, text)| (path, text.to_owned())).collect();
    let needs = format!("require('../{folder}/made');\n");
    files.retain(|(path, _)| *path != "test/sum.test.js");
    files.push(("test/sum.test.js", SUM_TEST.replace("'use strict';\n", &format!("'use strict';\n{needs}"))));
    files.push((".gitignore", format!("{folder}/\n")));
    files
}

#[test]
fn a_set_up_command_makes_the_work_tree_ready() {
    let set_up = ["--setup-cmd", "mkdir -p generated && echo > generated/made.js", "--where", "worktree"];
    let scene = Scene::new(mender(), with_ignored("generated"));
    let status = ended(scene.start(&test_and(&set_up)), 0, "goal-met");
    assert_eq!((&status["where"], scene.repo.path().join("generated").exists()), (&"worktree".into(), false));
    scene.assert_mended();
}

#[test]
fn a_set_up_command_that_fails_makes_the_checks_unusable_and_says_why() {
    let scene = Scene::sum();
    let status =
        ended(scene.start(&test_and(&["--setup-cmd", "echo no such mirror >&2; exit 3"])), 3, "checks-unusable");
    let message = status["stopMessage"].as_str().unwrap();
    assert!(message.contains("no such mirror") && message.contains("set-up"), "{message}");
    assert_eq!(scene.server.requests().len(), 0);
    scene.assert_untouched();
}

#[test]
fn ignored_dependency_folders_are_there_in_the_work_tree_and_generated_ones_keep_it_in_place() {
    for (folder, place) in [("node_modules", "worktree"), ("generated", "in-place")] {
        let scene = Scene::new(mender(), with_ignored(folder));
        scene.repo.write(&format!("{folder}/made.js"), "");
        let status = ended(scene.start(TEST), 0, "goal-met");
        assert_eq!(status["where"], place, "{folder}: {}", status["whereReason"]);
        assert_eq!(status["whereReason"].is_null(), place == "worktree");
        scene.assert_mended();
        assert_eq!(scene.repo.read(&format!("{folder}/made.js")), "");
    }
}

#[test]
fn a_python_environment_that_points_back_at_the_folder_keeps_the_loop_in_place() {
    let scene = Scene::new(mender(), sum_files_and(&[(".gitignore", ".venv/\n")]));
    let source = scene.repo.path().join("src");
    scene.repo.write(".venv/lib/python3.12/site-packages/__editable__.sum.pth", format!("{}\n", source.display()));
    let status = ended(scene.start(TEST), 0, "goal-met");
    let reason = status["whereReason"].as_str().unwrap_or_default();
    assert_eq!(status["where"], "in-place");
    assert!(reason.contains("__editable__.sum.pth"), "{reason}");
    scene.assert_mended();
}

// --- Budgets ---

#[test]
fn each_budget_stops_with_its_reason_and_resume_goes_on_from_there() {
    let cases = [("--max-calls", "1", "budget-calls", "10"), ("--max-tokens", "1", "budget-tokens", "1000000")];
    for (flag, little, reason, enough) in cases {
        let scene = Scene::sum();
        let status = ended(scene.start(&test_and(&[flag, little])), 1, reason);
        assert_eq!((&status["resumable"], scene.server.requests().len()), (&true.into(), 1), "{flag}");
        // What is offered raises the very budget: without that, the next call would be refused again.
        let offered = texts(&status["next"]).into_iter().find_map(|next| next.split_once(&format!("resume {flag} ")));
        assert!(
            offered.is_some_and(|(_, more)| more.parse::<u64>().is_ok_and(|more| more > 1)),
            "{:#}",
            status["next"]
        );
        scene.assert_untouched();
        // Without more it ends as before, and asks nobody.
        ended(scene.cloop(["resume", "--json"]), 1, reason);
        assert_eq!(scene.server.requests().len(), 1, "{flag}");
        if flag == "--max-calls" {
            let (message, _) = refused(scene.cloop(["resume", "--json", flag, "0"]), 2, "usage");
            assert!(message.contains("lowered") || message.contains('0'), "{message}");
        }
        let status = ended(scene.cloop(["resume", "--json", flag, enough]), 0, "goal-met");
        // What was paid for is not asked again: the evaluation, then the suggestion.
        assert_eq!(status["budget"]["calls"]["used"], 2, "{flag}");
        scene.assert_mended();
    }
}

#[test]
fn the_time_budget_ends_a_call_that_hangs_and_resume_goes_on() {
    let model = SequenceModel::new().queue(Step::Evaluate, Reply::hang()).evaluate(&in_progress());
    let scene = Scene::new(model.patches([("mend", mend().as_str())]), sum_files());
    let run = scene.start(&test_and(&["--max-time", "6s"]));
    assert!(run.duration.as_secs() < 30, "{:?}", run.duration);
    let status = ended(run, 1, "budget-time");
    assert!(texts(&status["next"]).iter().any(|next| next.contains("resume --max-time")), "{:#}", status["next"]);
    scene.environment.assert_no_processes();
    scene.assert_untouched();
    ended(scene.cloop(["resume", "--json", "--max-time", "1h"]), 0, "goal-met");
    scene.assert_mended();
}

#[test]
fn iterations_end_at_their_budget_and_iterate_goes_on() {
    let halves = FAULTY.to_owned() + "exports.twice = (a) => a;\n";
    let both = SUM_TEST.replace("{ sum }", "{ sum, twice }") + "\ntest('twice', () => assert.equal(twice(2), 4));\n";
    let half = MENDED.to_owned() + "exports.twice = (a) => a;\n";
    let whole = MENDED.to_owned() + "exports.twice = (a) => 2 * a;\n";
    let useless = diff("NOTES.md", "", "nothing\n");
    let model = SequenceModel::new()
        .evaluate(&in_progress())
        .patches([("half", diff(SUM, &halves, &half).as_str())])
        .patches([("useless", useless.as_str())])
        .patches([("rest", diff(SUM, &half, &whole).as_str())]);
    let scene = Scene::new(model, sum_files_and(&[(SUM, &halves), ("test/sum.test.js", &both)]));
    let status = ended(scene.start(&test_and(&["--max-iter", "1"])), 1, "budget-iterations");
    assert_eq!((&status["iterations"][0]["accepted"], &status["landing"]["landed"]), (&true.into(), &false.into()));
    assert!(texts(&status["next"]).iter().any(|next| next.contains("iterate")), "{:#}", status["next"]);
    scene.assert_untouched();
    // One more that ran, though it brought nothing, exits 0.
    let status = scene.cloop(["iterate", "--json"]).expect_code(0).json();
    assert_eq!(
        (&status["budget"]["iterations"]["used"], &status["stopReason"]),
        (&2.into(), &"budget-iterations".into())
    );
    let status = scene.cloop(["iterate", "-n", "5", "--json"]).expect_code(0).json();
    assert_eq!((&status["stopReason"], &status["budget"]["iterations"]["used"]), (&"goal-met".into(), &3.into()));
    assert_eq!(scene.repo.read(SUM), whole);
    let (message, _) = refused(scene.cloop(["iterate", "--json"]), 2, "usage");
    assert!(message.contains("goal-met"), "{message}");
    refused(scene.cloop(["resume", "--json"]), 2, "not-resumable");
}

#[test]
fn iterate_that_is_stopped_early_exits_one() {
    let scene = Scene::new(mender().patches([("mend", mend().as_str())]), sum_files());
    ended(scene.start(&test_and(&["--max-calls", "1"])), 1, "budget-calls");
    let status = ended(scene.cloop(["iterate", "-n", "2", "--json"]), 1, "budget-calls");
    assert_eq!(status["budget"]["calls"]["used"], 1);
}

// --- Dry runs and plans ---

#[test]
fn a_dry_run_stays_one_when_it_is_resumed_and_ends_for_good() {
    // Codex asks twice before it believes that a sign-in is refused.
    let model = (0..4).fold(SequenceModel::new(), |model, _| model.queue(Step::Evaluate, Reply::unauthorized()));
    let scene = Scene::new(model.evaluate(&in_progress()).patches([("mend", mend().as_str())]), sum_files());
    let before = scene.repo.fingerprint();
    ended(scene.start(&test_and(&["--dry-run"])), 6, "codex-unavailable");
    // Nothing of the iteration ran: the sign-in failed in its middle.
    ended(scene.cloop(["iterate", "--dry-run", "--json"]), 6, "codex-unavailable");
    let status = scene.cloop(["resume", "--json"]).expect_code(0).json();
    assert_eq!((&status["dryRun"], &status["stopReason"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(scene.repo.fingerprint(), before);
    let (message, hint) = refused(scene.cloop(["resume", "--json"]), 2, "not-resumable");
    assert!(message.contains("dry run") && hint.contains("iterate"), "{message}: {hint}");
    assert_eq!(scene.repo.fingerprint(), before);
}

#[test]
fn a_dry_run_makes_and_ranks_proposals_and_applies_nothing() {
    let other = diff(SUM, FAULTY, &MENDED.replace("a + b", "b + a"));
    let model = SequenceModel::new().evaluate(&in_progress());
    let scene = Scene::new(model.patches([("mend", mend().as_str()), ("other", other.as_str())]), sum_files());
    let before = scene.repo.fingerprint();
    let status = scene.start(&test_and(&["--dry-run"])).expect_code(0).json();
    assert_eq!((&status["dryRun"], &status["status"]), (&true.into(), &"finished".into()));
    let iteration = &status["iterations"][0];
    assert_eq!((&iteration["accepted"], iteration["scores"].as_array().map(Vec::len)), (&false.into(), Some(2)));
    assert_eq!(iteration["trials"].as_array().map(Vec::len), Some(0));
    assert_eq!(scene.repo.fingerprint(), before);
    let text = scene.cloop(["result"]).expect_code(0).stdout;
    assert!(text.contains("mend") && text.contains("other"), "{text}");
    let status = scene.cloop(["iterate", "--dry-run", "--json"]).expect_code(0).json();
    assert_eq!((&status["dryRun"], status["iterations"].as_array().map(Vec::len)), (&true.into(), Some(2)));
    assert_eq!(scene.repo.fingerprint(), before);
    ended(scene.start(TEST), 0, "goal-met");
}

#[test]
fn a_plan_starts_by_its_hash_alone_and_no_other_plan_does() {
    let scene = Scene::sum();
    let arguments = test_and(&["--max-iter", "3"]);
    let plan = scene.start(&[&arguments[..], &["--plan"]].concat()).expect_code(0).json();
    let hash = plan["planHash"].as_str().unwrap().to_owned();
    assert_eq!((&plan["plan"]["budget"]["maxIterations"], scene.server.requests().len()), (&3.into(), 0));
    let text = scene.cloop(["start", GOAL, "--test-cmd", "node --test", "--max-iter", "3", "--plan"]).expect_code(0);
    assert!(text.stdout.contains(&hash), "{}", text.stdout);
    let (message, hint) = refused(scene.start(&test_and(&["--approved", &hash])), 2, "usage");
    assert!(message.contains("changed") && hint.contains("--plan"), "{message}: {hint}");
    let unknown = format!("sha256:{}", "0".repeat(64));
    refused(scene.cloop(["start", "--json", "--approved", &unknown]), 2, "usage");
    for beside in [&["--plan"][..], &["--dry-run"], &["--accept", "it is fast"], &["--max-iter", "4"]] {
        let typed = [&["start", "--json", "--approved", &hash][..], beside].concat();
        refused(scene.cloop(typed), 2, "usage");
    }
    assert_eq!(scene.status()["status"], "none");
    let status = ended(scene.cloop(["start", "--json", "--approved", &hash]), 0, "goal-met");
    assert_eq!((&status["planHash"], &status["budget"]["iterations"]["max"]), (&hash.clone().into(), &3.into()));
    scene.repo.git(["checkout", "--quiet", "--", "."]);
    let again = ended(scene.start(&[&arguments[..], &["--approved", &hash]].concat()), 0, "goal-met");
    assert_eq!(again["planHash"], hash.as_str());
}

#[test]
fn one_object_on_standard_input_says_everything() {
    let scene = Scene::sum();
    let goal = "sum \"adds\"; $(touch ran) `touch ran`\n{{goal}}";
    let object = serde_json::json!({"goal": goal, "accept": ["it's so"], "testCmd": "node --test", "max_iter": 2,
        "max-time": "20m", "where": "in-place", "allowChange": ["docs/**"]});
    let plan = scene.cloop_with(&["start", "--args-stdin", "--json", "--plan"], &object.to_string());
    let plan = plan.expect_code(0).json()["plan"].clone();
    assert_eq!((&plan["goal"], &plan["acceptanceCriteria"][0]), (&goal.into(), &"it's so".into()));
    assert_eq!((&plan["budget"]["maxIterations"], &plan["budget"]["maxTimeMs"]), (&2.into(), &1_200_000.into()));
    assert_eq!(
        (&plan["method"]["where"], &plan["limits"]["allowChange"][0]["glob"]),
        (&"in-place".into(), &"docs/**".into())
    );
    for (bad, named) in [("{\"goal\": \"x\", \"testCommand\": \"y\"}", "test"), ("[]", "object"), ("{", "JSON")] {
        let (message, _) = refused(scene.cloop_with(&["start", "--args-stdin", "--json"], bad), 2, "usage");
        assert!(message.contains(named), "{message}");
    }
    let run = scene.cloop_with(&["start", "--args-stdin", "--json"], &object.to_string());
    ended(run, 0, "goal-met");
    assert!(!scene.repo.path().join("ran").exists());
}

#[test]
fn files_of_repository_and_user_give_defaults_and_a_wrong_key_is_named() {
    let scene = Scene::new(mender(), sum_files_and(&[(".cloop.toml", "test-cmd = \"node --test\"\nmax-iter = 7\n")]));
    let user = scene.environment.root().join("config/cloop/config.toml");
    std::fs::create_dir_all(user.parent().unwrap()).unwrap();
    std::fs::write(&user, "max-iter = 9\nmax-calls = 11\nlint-cmd = \"true\"\n").unwrap();
    let budget = |arguments: &[&str]| {
        let plan = scene.start(&[arguments, &["--plan"]].concat()).expect_code(0).json()["plan"].clone();
        assert_eq!((&plan["checks"]["test"], &plan["checks"]["lint"]), (&"node --test".into(), &"true".into()));
        (plan["budget"]["maxIterations"].clone(), plan["budget"]["maxCalls"].clone())
    };
    assert_eq!(budget(&[]), (7.into(), 11.into()));
    assert_eq!(budget(&["--max-iter", "2"]), (2.into(), 11.into()));
    std::fs::write(&user, "max-itter = 9\n").unwrap();
    let (message, hint) = refused(scene.start(&[]), 2, "usage");
    assert!(message.contains("config.toml") && message.contains("max-itter") && hint.contains("`max-iter`"), "{hint}");
    std::fs::remove_file(&user).unwrap();
    scene.repo.write(".cloop.toml", "max-time = \"soon\"\n");
    let (message, _) = refused(scene.start(&["--allow-dirty"]), 2, "usage");
    assert!(message.contains(".cloop.toml") && message.contains("soon"), "{message}");
}

// --- Model, goal drift ---

#[test]
fn the_model_that_was_set_is_sent_with_the_next_call() {
    let scene = Scene::sum();
    let shown = scene.cloop(["model", "spark", "high", "--json"]).expect_code(0).json();
    assert_eq!((&shown["model"], &shown["effort"]), (&"gpt-5.3-codex-spark".into(), &"high".into()));
    ended(scene.start(&test_and(&["--max-calls", "1"])), 1, "budget-calls");
    let (message, _) = refused(scene.cloop(["model", "spark", "no such effort", "--json"]), 2, "usage");
    assert!(message.contains("no such effort"), "{message}");
    scene.cloop(["model", "gpt-5.5", "rank=low,suggest=medium", "--json"]).expect_code(0);
    ended(scene.cloop(["resume", "--json", "--max-calls", "9"]), 0, "goal-met");
    let sent: Vec<_> = scene
        .server
        .requests()
        .into_iter()
        .map(|request| (request.model, request.effort.unwrap_or_default()))
        .collect();
    let pair = |model: &str, effort: &str| (model.to_owned(), effort.to_owned());
    assert_eq!(sent, [pair("gpt-5.3-codex-spark", "high"), pair("gpt-5.5", "medium")]);
}

#[test]
fn an_effort_that_the_model_lacks_is_refused_and_names_those_it_has() {
    let scene = Scene::sum();
    let (message, hint) = refused(scene.start(&test_and(&["-m", "gpt-5.5", "--effort", "banana"])), 2, "usage");
    assert!(message.contains("banana") && hint.contains("xhigh"), "{message}: {hint}");
    let (message, _) = refused(scene.start(&test_and(&["--codex-mcp", "nobody"])), 2, "usage");
    assert!(message.contains("nobody"), "{message}");
}

#[test]
fn a_goal_that_was_edited_ends_the_loop_for_good() {
    let scene = Scene::sum();
    ended(scene.start(&test_and(&["--max-calls", "1"])), 1, "budget-calls");
    let state = scene.repo.read(".loop/loop-state.json").replace(GOAL, "sum does anything");
    scene.repo.write(".loop/loop-state.json", state);
    let status = ended(scene.cloop(["resume", "--json", "--max-calls", "9"]), 5, "goal-drift");
    assert_eq!((&status["resumable"], &status["goal"]), (&false.into(), &GOAL.into()));
    assert_eq!(scene.server.requests().len(), 1);
    refused(scene.cloop(["resume", "--json"]), 5, "not-resumable");
    refused(scene.cloop(["iterate", "--json"]), 2, "usage");
    scene.assert_untouched();
}

// --- Failures of Codex ---

/// A loop whose first evaluation fails like this, and then no more.
fn failing_once(reply: Reply) -> Scene {
    let model = SequenceModel::new().queue(Step::Evaluate, reply).evaluate(&in_progress());
    Scene::new(model.patches([("mend", mend().as_str())]), sum_files())
}

#[test]
fn a_failure_that_only_the_user_can_mend_stops_at_once_and_resume_goes_on() {
    let used_up = |resets_in: i64| {
        let body = serde_json::json!({"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached",
            "plan_type": "plus", "resets_in_seconds": resets_in}});
        Reply::status(429, body.to_string())
    };
    let cases = [
        ("sign-in", Reply::unauthorized(), "codex-unavailable", "codex login"),
        ("quota", Reply::error(429, "insufficient_quota", "no money"), "codex-unavailable", "billing"),
        ("window", used_up(90_000), "rate-limited", "resume"),
    ];
    let cases: Vec<_> = cases
        .into_iter()
        .map(|(name, reply, reason, advice)| {
            std::thread::spawn(move || {
                // Codex repeats some requests itself, so the fault has to last.
                let scene = Scene::new(SequenceModel::new().queue(Step::Evaluate, reply), sum_files());
                let status = ended(scene.start(TEST), 6, reason);
                assert_eq!(status["resumable"], true, "{name}");
                assert_eq!(status["budget"]["calls"]["used"], 1, "{name}");
                let text = scene.cloop(["status"]).expect_code(0).stdout;
                assert!(text.contains(advice), "{name}: {text}");
                scene.assert_untouched();
            })
        })
        .collect();
    for case in cases {
        case.join().unwrap();
    }
}

#[test]
fn a_known_reset_within_the_budget_is_waited_for_and_a_stop_ends_the_wait() {
    let limited =
        |wait: &str| Reply::failed("rate_limit_exceeded", &format!("Rate limit reached. Please try again in {wait}."));
    // Codex asks twice for one call here, so the limit holds for two requests.
    let model = SequenceModel::new().queue(Step::Evaluate, limited("1s")).queue(Step::Evaluate, limited("1s"));
    let scene = Scene::new(model.evaluate(&in_progress()).patches([("mend", mend().as_str())]), sum_files());
    let run = scene.start(TEST);
    assert!(run.stderr.to_lowercase().contains("wait"), "{}", run.stderr);
    let status = ended(run, 0, "goal-met");
    assert_eq!(status["budget"]["calls"]["used"], 3);
    scene.assert_mended();

    let resets_at = jiff::Timestamp::now().as_second() + 1500;
    let error = serde_json::json!({"type": "usage_limit_reached", "message": "limit", "resets_at": resets_at});
    let scene = failing_once(Reply::status(429, serde_json::json!({"error": error}).to_string()));
    let mut running = scene.spawn_start(TEST);
    let soon = std::time::Duration::from_secs(60);
    running.wait_for("pause", soon, |_| scene.status()["status"] == "paused");
    let waiting = scene.status()["waiting"].clone();
    assert!(waiting["until"].is_string() && waiting["cause"].is_string(), "{waiting:#}");
    scene.cloop(["stop"]).expect_code(0);
    ended(running.finish(soon), 1, "user-stopped");
    scene.environment.assert_no_processes();
    // The user may know better than the clock.
    ended(scene.cloop(["resume", "--json"]), 0, "goal-met");
}

#[test]
fn an_answer_of_the_wrong_form_is_asked_for_once_more_with_the_fault() {
    let bad = Reply::message("Sure! Here is what I think.");
    let scene = failing_once(bad.clone());
    ended(scene.start(TEST), 0, "goal-met");
    let requests = scene.server.requests();
    assert!(requests[1].prompt.contains("Sure! Here is what I think."), "{}", requests[1].prompt);
    assert_eq!(requests.len(), 3);

    // Twice wrong, the step is given up and the loop goes on without it.
    let model = SequenceModel::new().queue(Step::Evaluate, bad).patches([("mend", mend().as_str())]);
    let scene = Scene::new(model, sum_files());
    let status = ended(scene.start(TEST), 0, "goal-met");
    assert!(texts(&status["iterations"][0]["givenUp"]).iter().any(|step| step.starts_with("evaluate")), "{status:#}");
    assert_eq!(scene.server.requests().len(), 3);

    // Where it is the proposals that never come, the loop ends for that.
    let model =
        SequenceModel::new().evaluate(&in_progress()).queue(Step::Suggest, Reply::message("{\"proposals\": 7}"));
    let scene = Scene::new(model, sum_files());
    let status = ended(scene.start(TEST), 1, "no-usable-proposals");
    assert_eq!(status["budget"]["iterations"]["used"], 2);
    assert_eq!(status["failures"][0]["class"], "bad-answer");
    scene.assert_untouched();
}

#[test]
fn a_network_that_fails_is_tried_again_later() {
    let scene = failing_once(Reply::reset());
    let mut running = scene.spawn_start(TEST);
    let soon = std::time::Duration::from_secs(90);
    // Codex itself tries more than once; whether the loop has to wait as well is up to it.
    running.wait_for("second request", soon, |_| scene.server.requests().len() > 1);
    ended(running.finish(soon), 0, "goal-met");
    scene.assert_mended();
}
