//! Choice by evidence, several things at once, and bringing the result to the user: the real binary, the real Codex
//! CLI and real worktrees.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Gate, ModelRequest, Reply, ScriptedServer, Step};
use pretty_assertions::assert_eq;
use rustix::process::Signal;
use serde_json::Value;

use crate::common::{RankBy, Repo, Run, SequenceModel, TestEnvironment, agent_report, evaluation, is_agent, issue};

/// A server that plays `model`, and an environment that points to it.
fn scripted(model: SequenceModel) -> (ScriptedServer, TestEnvironment) {
    let server = ScriptedServer::start(model.into_model()).unwrap();
    let environment = TestEnvironment::new(&server);
    (server, environment)
}

/// A model that finds `file` wanting, whatever it sees.
fn in_progress(file: &str) -> SequenceModel {
    SequenceModel::new().evaluate(&evaluation(Verdict::InProgress, 0.5, vec![issue("wanting", "it is wrong", file)]))
}

/// A patch that replaces the only line of a file.
fn replacing(path: &str, old: &str, new: &str) -> String {
    format!("diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{old}\n+{new}\n")
}

fn status(environment: &TestEnvironment, repo: &Repo) -> Value {
    environment.cloop(repo.path(), ["status", "--json"]).expect_code(0).json()
}

/// Fails if anything of a run's work trees is left.
#[track_caller]
fn assert_no_worktrees(environment: &TestEnvironment, repo: &Repo) {
    assert_eq!(repo.git(["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
    let below = environment.cache().join("cloop/worktrees");
    let left: Vec<_> = fs::read_dir(&below).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A repository whose only check is `check`, with `DIR` replaced by a folder outside of it.
fn one_value(environment: &TestEnvironment, check: &str) -> Repo {
    let shared = environment.root().join("shared");
    fs::create_dir(&shared).unwrap();
    let repo = environment.repo("project");
    repo.write("value.txt", "broken\n").write("check.sh", check.replace("DIR", shared.to_str().unwrap()));
    repo.commit("Begin");
    repo
}

fn start<'a>(environment: &TestEnvironment, repo: &Repo, more: impl IntoIterator<Item = &'a str>) -> Run {
    let mut arguments = vec!["start", "mend it", "--yes", "--max-iter", "3", "--trial", "before-rank"];
    arguments.extend(more);
    environment.cloop(repo.path(), arguments)
}

#[test]
fn candidates_are_tried_at_the_same_time_in_worktrees_of_their_own_that_are_gone_afterwards() {
    // A candidate's check waits until three of them run: one after the other they would never end well.
    let check = "if grep -q broken value.txt; then exit 1; fi\nmktemp DIR/run.XXXXXX > DIR/../made\nn=0\n\
                 while [ \"$(ls DIR | wc -l)\" -lt 3 ]; do n=$((n+1)); [ $n -gt 1200 ] && exit 1; sleep 0.05; done\n";
    let patches = ["one", "two", "three"].map(|new| replacing("value.txt", "broken", new));
    let model =
        in_progress("value.txt").patches([("one", &*patches[0]), ("two", &*patches[1]), ("three", &*patches[2])]);
    let (_server, environment) = scripted(model);
    let repo = one_value(&environment, check);
    start(&environment, &repo, ["--test-cmd", "sh check.sh", "--jobs", "3", "--where", "worktree"]).expect_code(0);
    let status = status(&environment, &repo);
    assert_eq!(status["stopReason"], "goal-met");
    let trials = status["iterations"][0]["trials"].as_array().unwrap().clone();
    let tried: Vec<(&str, &str)> =
        trials.iter().map(|trial| (trial["id"].as_str().unwrap(), trial["outcome"].as_str().unwrap())).collect();
    assert_eq!(tried, [("one", "better"), ("two", "better"), ("three", "better")]);
    assert_ne!(repo.read("value.txt"), "broken\n");
    assert_no_worktrees(&environment, &repo);
    environment.assert_no_processes();
}

#[test]
fn a_failure_in_company_is_tried_again_alone_before_it_counts() {
    // The first two runs on candidates are those in company; something they share is taken.
    let check = "if grep -q broken value.txt; then exit 1; fi\necho run >> DIR/runs\n\
                 [ \"$(wc -l < DIR/runs)\" -gt 2 ]\n";
    let patches = ["one", "two"].map(|new| replacing("value.txt", "broken", new));
    let model = in_progress("value.txt").patches([("one", &*patches[0]), ("two", &*patches[1])]);
    let (_server, environment) = scripted(model);
    let repo = one_value(&environment, check);
    start(&environment, &repo, ["--test-cmd", "sh check.sh", "--jobs", "2", "--where", "worktree"]).expect_code(0);
    let status = status(&environment, &repo);
    assert_eq!(
        (status["stopReason"].as_str(), status["iterations"].as_array().map(Vec::len)),
        (Some("goal-met"), Some(1))
    );
    let trials = status["iterations"][0]["trials"].as_array().unwrap().clone();
    assert!(trials.iter().all(|trial| trial["outcome"] == "better"), "{trials:#?}");
    assert_no_worktrees(&environment, &repo);
}

/// Ten lines, the second of them `word`.
fn ten(word: &str) -> String {
    (1..=10).map(|line| if line == 2 { format!("{word}\n") } else { format!("line {line}\n") }).collect()
}

fn mending(path: &str) -> String {
    format!("--- a/{path}\n+++ b/{path}\n@@ -1,3 +1,3 @@\n line 1\n-bad\n+good\n line 3\n")
}

/// A loop that mended `a.txt` and then `b.txt` and left the user's tree alone.
fn two_steps(ground: impl FnOnce(&TestEnvironment) -> Repo) -> (TestEnvironment, Repo) {
    let (a, b) = (mending("a.txt"), mending("b.txt"));
    let model = in_progress("a.txt").patches([("first", &*a)]).patches([("second", &*b)]);
    let (_server, environment) = scripted(model);
    let repo = ground(&environment);
    let checks = ["--test-cmd", "grep -q good a.txt", "--accept-cmd", "grep -q good b.txt"];
    let limits = ["--land", "never", "--allow-dirty"];
    start(&environment, &repo, checks.into_iter().chain(limits)).expect_code(0);
    (environment, repo)
}

fn two_files(environment: &TestEnvironment) -> Repo {
    let repo = environment.repo("project");
    repo.write("a.txt", ten("bad")).write("b.txt", ten("bad"));
    repo.commit("Begin");
    repo
}

fn result(environment: &TestEnvironment, dir: &Path, arguments: &[&str]) -> Run {
    environment.cloop(dir, std::iter::once("result").chain(arguments.iter().copied()))
}

#[test]
fn a_result_is_applied_where_it_fits_merged_with_later_work_and_refused_without_harm_where_not() {
    let (environment, repo) = two_steps(two_files);
    assert_eq!(repo.read("a.txt"), ten("bad"));
    // The same line, changed by the user: nothing is written, and the message names the path.
    repo.write("a.txt", ten("mine"));
    let before = (repo.fingerprint(), repo.git(["status", "--porcelain"]), repo.git(["rev-parse", "HEAD"]));
    let refused = result(&environment, repo.path(), &["--apply"]).expect_code(1);
    assert!(refused.stderr.contains("a.txt") && !refused.stderr.contains("b.txt"), "{}", refused.stderr);
    let error = result(&environment, repo.path(), &["--apply", "--json"]).expect_code(1);
    assert_eq!(error.json()["error"]["code"], "does-not-fit");
    let after = (repo.fingerprint(), repo.git(["status", "--porcelain"]), repo.git(["rev-parse", "HEAD"]));
    assert_eq!(before, after);
    // Another line, committed, and a new file: both versions end up in the tree.
    repo.write("a.txt", ten("bad").replace("line 9", "my nine")).write("new.txt", "new\n");
    repo.git(["commit", "--quiet", "-am", "Go on"]);
    let head = repo.git(["rev-parse", "HEAD"]);
    let report = result(&environment, repo.path(), &["--apply", "--json"]).expect_code(0).json();
    assert_eq!((report["merged"].as_bool(), report["written"].as_array().map(Vec::len)), (Some(true), Some(2)));
    assert_eq!(repo.read("a.txt"), ten("good").replace("line 9", "my nine"));
    assert_eq!((repo.read("b.txt"), repo.read("new.txt")), (ten("good"), "new\n".to_owned()));
    assert_eq!((repo.git(["rev-parse", "HEAD"]), repo.git(["diff", "--cached", "--name-only"])), (head, String::new()));
    let again = result(&environment, repo.path(), &["--apply", "--json"]).expect_code(0).json();
    assert_eq!(again["written"].as_array().map(Vec::len), Some(0));
    let shown = result(&environment, repo.path(), &["--json"]).expect_code(0).json();
    assert_eq!(shown["landed"], true);
}

#[test]
fn an_ignored_file_in_the_way_of_a_result_is_kept() {
    let new = "diff --git a/b.txt b/b.txt\nnew file mode 100644\n--- /dev/null\n+++ b/b.txt\n@@ -0,0 +1 @@\n+good\n";
    let (_server, environment) = scripted(in_progress("b.txt").patches([("new", new)]));
    let repo = environment.repo("project");
    repo.write("a.txt", "a\n").commit("Begin");
    start(&environment, &repo, ["--test-cmd", "grep -q good b.txt", "--land", "never"]).expect_code(0);
    repo.write(".git/info/exclude", "b.txt\n").write("b.txt", "mine\n");
    let refused = result(&environment, repo.path(), &["--apply"]).expect_code(1);
    assert!(refused.stderr.contains("b.txt"), "{}", refused.stderr);
    assert_eq!(repo.read("b.txt"), "mine\n");
}

#[test]
fn a_branch_has_one_clean_commit_for_each_accepted_iteration_and_nothing_else_moves() {
    let (environment, repo) = two_steps(|environment| {
        let repo = two_files(environment);
        repo.git(["config", "user.name", "Grace <Example>"]);
        repo.git(["config", "user.email", "grace@example.org"]);
        // Uncommitted work of the user's is not the loop's to commit.
        repo.write("a.txt", ten("bad").replace("line 9", "my nine"));
        repo
    });
    let refs = |repo: &Repo| repo.git(["for-each-ref", "refs/heads", "refs/tags", "--format=%(refname) %(objectname)"]);
    let before = (repo.fingerprint(), refs(&repo), repo.git(["rev-parse", "HEAD"]));
    let report = result(&environment, repo.path(), &["--branch", "mended", "--json"]).expect_code(0).json();
    assert_eq!(report["commits"].as_array().map(Vec::len), Some(2));
    let log = repo.git(["log", "--reverse", "--format=%an %ae|%s", "main..mended"]);
    assert_eq!(
        log,
        "Grace Example grace@example.org|The way of first\nGrace Example grace@example.org|The way of second"
    );
    assert_eq!(repo.git(["merge-base", "main", "mended"]), before.2);
    let changes = |commit: &str| repo.git(["diff-tree", "--no-commit-id", "--name-only", "-r", commit]);
    assert_eq!((changes("mended~1"), changes("mended")), ("a.txt".to_owned(), "b.txt".to_owned()));
    assert_eq!(repo.git(["show", "mended:a.txt"]), ten("good").trim_end());
    let after_refs = refs(&repo);
    let others: Vec<&str> = after_refs.lines().filter(|line| !line.contains("refs/heads/mended ")).collect();
    assert_eq!(others.join("\n"), before.1);
    assert_eq!((repo.fingerprint(), repo.git(["rev-parse", "HEAD"])), (before.0, before.2));
    for (name, code) in [("mended", 2), ("mended/below", 2), ("main", 2), ("-x", 2), ("a..b", 2), ("HEAD", 2)] {
        let named = format!("--branch={name}");
        result(&environment, repo.path(), &[&named]).expect_code(code);
    }
    assert_eq!(refs(&repo), after_refs);
    repo.git(["fsck", "--strict", "--no-dangling"]);
}

const SUM_TEST: &str = "const test = require('node:test');\nconst assert = require('node:assert');\n\
                        const { sum } = require('../sum.js');\n\ntest('adds', () => {\n  \
                        assert.equal(sum(2, 3), 5);\n});\n";

/// A program with a real fault and a real test.
fn sum_repo(environment: &TestEnvironment) -> Repo {
    let repo = environment.repo("project");
    repo.write("sum.js", "exports.sum = (a, b) => a - b;\n").write("test/sum.test.js", SUM_TEST);
    repo.write("package.json", "{ \"name\": \"sum\", \"version\": \"1.0.0\" }\n").commit("Begin");
    repo
}

/// Whose request it is: the place of the role among those given out.
fn role(request: &ModelRequest) -> usize {
    let roles = ["direct fix", "refactor", "test designer"];
    roles.iter().position(|role| request.prompt.contains(&format!("Your role among the others: {role}"))).unwrap()
}

const RIGHT: &str = "sed -i.bak 's/a - b/a + b/' sum.js && rm sum.js.bak";

#[test]
fn of_three_agents_at_work_at_once_the_right_one_lands_and_nobody_leaves_the_sandbox() {
    let gate = Gate::new();
    let begun = AtomicUsize::new(0);
    let outside = tempfile::Builder::new().prefix("cloop-outside-").tempdir().unwrap();
    let escape = outside.path().join("escaped");
    let escaping = format!("{RIGHT}; echo x > '{}'; echo x > ../escaped; true", escape.display());
    let server = ScriptedServer::start(move |request| {
        if request.step() == Step::Evaluate {
            let open = vec![issue("sum", "it subtracts", "sum.js")];
            return Reply::json(&evaluation(Verdict::InProgress, 0.5, open));
        }
        assert!(is_agent(request), "{:?}", request.step());
        if request.has_function_output {
            return Reply::json(&agent_report("Add instead of subtract."));
        }
        // Nobody goes on before all three have begun.
        if begun.fetch_add(1, Ordering::SeqCst) == 2 {
            gate.release();
        }
        let reply = match role(request) {
            0 => Reply::exec_command(&escaping),
            1 => Reply::exec_command("sed -i.bak 's/, 5)/, -1)/' test/sum.test.js && rm test/sum.test.js.bak"),
            _ => Reply::error(400, "invalid_request_error", "no such thing"),
        };
        reply.after(&gate)
    })
    .unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = sum_repo(&environment);
    start(&environment, &repo, ["--test-cmd", "node --test", "--propose", "agent"]).expect_code(0);
    let status = status(&environment, &repo);
    assert_eq!(status["stopReason"], "goal-met");
    let iteration = &status["iterations"][0];
    assert_eq!((iteration["winner"].as_str(), iteration["calls"].as_u64()), (Some("agent-1"), Some(4)));
    let rejected = iteration["rejected"].as_array().unwrap().clone();
    assert_eq!((rejected.len(), rejected[0]["id"].as_str()), (1, Some("agent-2")), "{rejected:#?}");
    let code = rejected[0]["code"].as_str().unwrap();
    assert!(["weakens-test", "permission-needed"].contains(&code), "{code}");
    assert_eq!(repo.git(["status", "--porcelain"]), " M sum.js");
    assert_eq!(repo.read("sum.js"), "exports.sum = (a, b) => a + b;\n");
    assert!(!escape.exists(), "an agent wrote outside its work tree");
    assert!(!environment.cache().join("cloop/worktrees/escaped").exists(), "an agent wrote beside its work tree");
    let patch = result(&environment, repo.path(), &["--patch"]).expect_code(0).stdout;
    assert!(patch.contains("+exports.sum = (a, b) => a + b;"), "{patch}");
    assert_no_worktrees(&environment, &repo);
    environment.assert_no_processes();
}

#[test]
fn an_agent_that_had_answered_when_the_worker_died_is_not_asked_again_and_its_edits_count() {
    let gate = Gate::new();
    let held = gate.clone();
    let server = ScriptedServer::start(move |request| {
        if request.step() == Step::Evaluate {
            let open = vec![issue("sum", "it subtracts", "sum.js")];
            return Reply::json(&evaluation(Verdict::InProgress, 0.5, open));
        }
        let report = Reply::json(&agent_report("Add instead of subtract."));
        match role(request) {
            0 if request.has_function_output => report,
            0 => Reply::exec_command(RIGHT),
            _ => report.after(&held),
        }
    })
    .unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = sum_repo(&environment);
    let arguments = ["start", "mend it", "--yes", "--test-cmd", "node --test", "--propose", "agent"];
    let mut run = environment.spawn_cloop(repo.path(), arguments, "");
    let answer = || -> Option<PathBuf> {
        let runs = fs::read_dir(repo.path().join(".git/cloop/runs")).ok()?.flatten().next()?.path();
        Some(runs.join("iterations/0001/call-002-agent/answer.json")).filter(|path| path.exists())
    };
    run.wait_for("answer of the first agent", Duration::from_secs(60), |_| answer().is_some());
    run.signal(Signal::KILL);
    run.finish(Duration::from_secs(60));
    gate.release();
    // A look puts in order what the worker left, work trees among it.
    let interrupted = status(&environment, &repo);
    assert_eq!(interrupted["status"], "interrupted");
    assert_no_worktrees(&environment, &repo);
    environment.cloop(repo.path(), ["resume"]).expect_code(0);
    assert_eq!(repo.read("sum.js"), "exports.sum = (a, b) => a + b;\n");
    let asked = server.requests().iter().filter(|request| is_agent(request) && role(request) == 0).count();
    assert_eq!(asked, 2, "the first agent's two requests, once");
    assert_no_worktrees(&environment, &repo);
}

#[test]
fn agents_take_over_after_a_round_of_diffs_of_which_none_applied() {
    let server = ScriptedServer::start(move |request| match request.step() {
        Step::Evaluate => {
            let open = vec![issue("sum", "it subtracts", "sum.js")];
            Reply::json(&evaluation(Verdict::InProgress, 0.5, open))
        }
        Step::Suggest => {
            let from_memory = "--- a/sum.js\n+++ b/sum.js\n@@ -1 +1 @@\n-module.exports = (x, y) => \
                               minus(x, y);\n+module.exports = (x, y) => plus(x, y);\n";
            Reply::json(&crate::common::suggestion([("from-memory", from_memory)]))
        }
        _ if request.has_function_output => Reply::json(&agent_report("Add instead of subtract.")),
        _ => Reply::exec_command(RIGHT),
    })
    .unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = sum_repo(&environment);
    start(&environment, &repo, ["--test-cmd", "node --test", "--nproposals", "2"]).expect_code(0);
    let status = status(&environment, &repo);
    assert_eq!(status["iterations"][1]["winner"], "agent-1");
    // The other agent did the same, and two of the same are one.
    assert_eq!(status["iterations"][1]["rejected"][0]["code"], "duplicate");
    let stats = environment.cloop(repo.path(), ["stats", "--json"]).expect_code(0).json();
    assert_eq!(
        (stats["runs"].as_u64(), stats["goalsMet"].as_u64(), stats["iterations"].as_u64()),
        (Some(1), Some(1), Some(2))
    );
    assert_eq!((stats["proposals"]["made"].as_u64(), stats["proposals"]["accepted"].as_u64()), (Some(3), Some(1)));
    assert_eq!(stats["favourite"]["share"], Value::Null);
}

#[test]
fn a_wrong_favourite_costs_a_check_run_and_not_the_iteration_and_stats_remember_it() {
    let wrong = replacing("sum.js", "exports.sum = (a, b) => a - b;", "exports.sum = (a, b) => a * b;");
    let right = replacing("sum.js", "exports.sum = (a, b) => a - b;", "exports.sum = (a, b) => b + a;");
    let model = in_progress("sum.js")
        .patches([("wrong", &*wrong), ("right", &*right)])
        .rank_by(RankBy::preferring(&["a * b", "b + a"]));
    let (_server, environment) = scripted(model);
    let repo = sum_repo(&environment);
    let arguments = ["start", "mend it", "--yes", "--test-cmd", "node --test", "--trial", "after-rank"];
    environment.cloop(repo.path(), arguments).expect_code(0);
    let status = status(&environment, &repo);
    assert_eq!(status["iterations"].as_array().map(Vec::len), Some(1));
    assert_eq!(status["iterations"][0]["winner"], "right");
    assert_eq!(repo.read("sum.js"), "exports.sum = (a, b) => b + a;\n");
    let stats = environment.cloop(repo.path(), ["stats", "--json"]).expect_code(0).json();
    let favourite = &stats["favourite"];
    assert_eq!((favourite["rounds"].as_u64(), favourite["measuredBest"].as_u64()), (Some(1), Some(0)));
    assert_eq!(favourite["share"], 0.0);
    let text = environment.cloop(repo.path(), ["stats"]).expect_code(0).stdout;
    assert!(text.contains("measured best in 0 of 1 round that can tell (0 %)"), "{text}");
}

const REASONS_TEST: &str = "const test = require('node:test');\nconst assert = require('node:assert');\n\
    const { reason } = require('../http.js');\n\n\
    test('missing', () => assert.equal(reason(404), 'Not Found'));\n\
    test('broken', () => assert.equal(reason(500), 'Server Error'));\n\
    test('closed', () => assert.equal(reason(403), 'Forbidden'));\n";

/// A table of reasons, as a patch of the program.
fn reasons(entries: &[(u16, &str)]) -> String {
    let mut patch = format!(
        "diff --git a/http.js b/http.js\n--- a/http.js\n+++ b/http.js\n@@ -1 +1,{} @@\n-exports.reason = () => 'Unknown';\n\
         +const REASONS = {{\n",
        entries.len() + 3
    );
    for (code, text) in entries {
        let _ = writeln!(patch, "+  {code}: '{text}',");
    }
    patch + "+};\n+exports.reason = (code) => REASONS[code] ?? 'Unknown';\n"
}

#[test]
fn a_table_that_knows_more_than_the_tests_is_measured_and_taken_and_a_copy_of_them_is_not() {
    let copied = reasons(&[(404, "Not Found"), (500, "Server Error"), (403, "Forbidden")]);
    let whole =
        reasons(&[(403, "Forbidden"), (404, "Not Found"), (410, "Gone"), (429, "Too Many"), (500, "Server Error")]);
    let model = in_progress("http.js").patches([("copied", &*copied)]).patches([("whole", &*whole)]);
    let (_server, environment) = scripted(model);
    let repo = environment.repo("project");
    repo.write("http.js", "exports.reason = () => 'Unknown';\n").write("test/http.test.js", REASONS_TEST);
    repo.commit("Begin");
    start(&environment, &repo, ["--test-cmd", "node --test"]).expect_code(0);
    let status = status(&environment, &repo);
    let lost = &status["iterations"][0]["rejected"][0];
    assert_eq!(
        (lost["id"].as_str(), lost["code"].as_str()),
        (Some("copied"), Some("special-cases-tests")),
        "{status:#}"
    );
    let trial = &status["iterations"][1]["trials"][0];
    assert_eq!(trial["outcome"], "better", "{status:#}");
    assert!(trial["reason"].as_str().unwrap().contains("measured with others"), "{trial:#}");
    assert!(repo.read("http.js").contains("410: 'Gone'"));
    assert_no_worktrees(&environment, &repo);
}

#[test]
fn a_refused_change_is_known_again_in_other_words_though_its_file_changed_meanwhile() {
    let between = (1..=8).fold(String::new(), |text, n| text + &format!("exports.other{n} = () => {n};\n"));
    let program = format!("exports.reason = () => 'Unknown';\n{between}exports.twice = (n) => n;\n");
    let copied = reasons(&[(404, "Not Found"), (500, "Server Error"), (403, "Forbidden")]);
    let twice = "--- a/http.js\n+++ b/http.js\n@@ -9,2 +9,3 @@\n exports.other8 = () => 8;\n-exports.twice = (n) => n;\n\
                 +// Twice is twice.\n+exports.twice = (n) => 2 * n;\n";
    // Another name, more context, a comment, other white space.
    let again = copied
        .replace("+const REASONS = {", "+// What each code means.\n+const REASONS  =  {")
        .replace("@@ -1 +1,6 @@", "@@ ... @@")
        + " exports.other1 = () => 1;\n exports.other2 = () => 2;\n";
    let model =
        in_progress("http.js").patches([("copied", &*copied), ("twice", twice)]).patches([("reworded", &*again)]);
    let (_server, environment) = scripted(model);
    let repo = environment.repo("project");
    let test = format!("{REASONS_TEST}test('twice', () => assert.equal(require('../http.js').twice(4), 8));\n");
    repo.write("http.js", program).write("test/http.test.js", test).commit("Begin");
    start(&environment, &repo, ["--test-cmd", "node --test"]).expect_code(1);
    let status = status(&environment, &repo);
    let lost = |round: usize| status["iterations"][round]["rejected"][0].clone();
    assert_eq!((&lost(0)["id"], &lost(0)["code"]), (&"copied".into(), &"special-cases-tests".into()), "{status:#}");
    assert_eq!(status["iterations"][0]["winner"], "twice", "{status:#}");
    assert_eq!((&lost(1)["id"], &lost(1)["code"]), (&"reworded".into(), &"duplicate".into()), "{status:#}");
}

#[test]
fn a_worker_that_dies_while_the_tests_have_other_inputs_leaves_the_users_tests_as_they_were() {
    // Once another status than the tests' own is asked for, the check says so and waits.
    let check = "if ! grep -q 'reason(404)' test/http.test.js && [ ! -e DIR/go ]; then echo x > DIR/reached; sleep 600; fi\n\
                 node --test\n";
    let copied = reasons(&[(404, "Not Found"), (500, "Server Error"), (403, "Forbidden")]);
    let (_server, environment) = scripted(in_progress("http.js").patches([("copied", &*copied)]));
    let repo = one_value(&environment, check);
    repo.write("http.js", "exports.reason = () => 'Unknown';\n").write("test/http.test.js", REASONS_TEST);
    repo.commit("Tests");
    let before = repo.fingerprint();
    let arguments =
        ["start", "mend it", "--yes", "--test-cmd", "sh check.sh", "--where", "in-place", "--max-iter", "2"];
    let mut run = environment.spawn_cloop(repo.path(), arguments, "");
    let shared = environment.root().join("shared");
    run.wait_for("other inputs", Duration::from_secs(180), |_| shared.join("reached").exists());
    assert_ne!(repo.read("test/http.test.js"), REASONS_TEST);
    run.signal(Signal::KILL);
    run.finish(Duration::from_secs(60));
    fs::write(shared.join("go"), "").unwrap();
    environment.cloop(repo.path(), ["resume"]).expect_code(1);
    let status = status(&environment, &repo);
    assert_eq!(status["iterations"][0]["rejected"][0]["code"], "special-cases-tests", "{status:#}");
    assert_eq!(repo.fingerprint(), before);
    environment.assert_no_processes();
}
