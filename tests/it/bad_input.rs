//! Folders, goals, files and machines that are not as one would wish: each works, or is refused with what to do.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Gate, Reply, Step};
use pretty_assertions::assert_eq;

use crate::common::scene::{FAULTY, GOAL, MENDED, SUM, Scene, diff, ended, mend, mender, refused, sum_files};
use crate::common::{Run, SequenceModel, TestEnvironment, evaluation, issue};

/// Longest wait for something that takes a second.
const SOON: Duration = Duration::from_secs(60);

const TEST: &[&str] = &["--test-cmd", "node --test"];

fn in_progress() -> loop_companion::answers::Evaluation {
    evaluation(Verdict::InProgress, 0.5, vec![issue("wrong-sign", "sum subtracts", SUM)])
}

/// Writes a program.
fn program(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Makes a `PATH` that leads to these programs and no other.
fn path_of(environment: &TestEnvironment, programs: &[&str]) -> PathBuf {
    let folder = environment.root().join("programs");
    std::fs::create_dir_all(&folder).unwrap();
    let all: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
    for name in programs {
        let found = all.iter().map(|dir| dir.join(name)).find(|path| path.is_file());
        let found = found.unwrap_or_else(|| panic!("no {name} on PATH"));
        std::os::unix::fs::symlink(found, folder.join(name)).unwrap();
    }
    folder
}

// --- Folders ---

#[test]
fn a_folder_that_is_no_work_tree_with_a_commit_is_refused_by_every_command() {
    let environment = TestEnvironment::with_codex_config("");
    let root = environment.root().to_owned();
    std::fs::create_dir(root.join("plain")).unwrap();
    environment.repo("empty").write("a.txt", "a\n");
    environment.repo("full").write("a.txt", "a\n").commit("One");
    environment.shell(&root, "git clone --quiet --bare full bare").expect_code(0);
    let cases = [
        ("plain", "not-a-repository", "git init"),
        ("empty", "no-commit", "git commit"),
        ("bare", "bare-repository", "clone"),
        ("full/.git", "inside-git-directory", "-C"),
    ];
    for (folder, name, advice) in cases {
        let commands: [&[&str]; 9] = [
            &["start", "x", "--test-cmd", "true"],
            &["start", "x", "--test-cmd", "true", "--plan"],
            &["status"],
            &["result"],
            &["resume"],
            &["iterate"],
            &["stop"],
            &["model"],
            &["detect"],
        ];
        for command in commands {
            let run = environment.cloop(&root, ["-C", folder, "--json"].iter().chain(command));
            let (message, hint) = refused(run, 3, name);
            assert!(!message.is_empty() && hint.contains(advice), "{folder} {command:?}: {message} {hint}");
        }
        let run = environment.cloop(&root, ["-C", folder, "preflight", "--json"]).expect_code(3);
        let row = &run.json()["rows"][0];
        assert_eq!((&row["name"], &row["ok"]), (&"git".into(), &false.into()));
        let run = environment.cloop(&root, ["-C", folder, "start", "x", "--test-cmd", "true"]).expect_code(3);
        assert!(run.stdout.is_empty() && run.stderr.starts_with("error: ") && run.stderr.contains("\nhint: "));
        assert!(!root.join(folder).join(".loop").exists());
    }
    environment.repo("it's here").write("a.txt", "a\n").commit("One");
    let (_, hint) = refused(environment.cloop(&root, ["-C", "it's here", "result", "--json"]), 2, "usage");
    assert!(hint.contains(r"`loop-companion -C 'it'\''s here' start`"), "{hint}");
    let (message, hint) = refused(environment.cloop(&root, ["-C", "nowhere", "status", "--json"]), 2, "usage");
    assert!(message.contains("nowhere") && hint.contains("-C"), "{message} {hint}");
}

#[test]
fn uncommitted_work_is_listed_and_kept() {
    let scene = Scene::sum();
    scene.repo.write("package.json", "{\n  \"name\": \"mine\"\n}\n").write("new é.txt", "new\n");
    let before = scene.repo.fingerprint();
    let (message, hint) = refused(scene.start(TEST), 3, "dirty");
    assert!(message.contains("2 ") && message.contains("package.json") && message.contains("new é.txt"), "{message}");
    assert!(hint.contains("--allow-dirty") && hint.contains("commit"), "{hint}");
    let rows = scene.cloop(["preflight", "--json"]).expect_code(3).json();
    let row = rows["rows"].as_array().unwrap().iter().find(|row| row["name"] == "clean").unwrap().clone();
    assert!(row["detail"].as_str().unwrap().contains("new é.txt"), "{row:#}");
    assert_eq!((scene.server.requests().len(), scene.repo.fingerprint()), (0, before));
    ended(scene.start(&[TEST, &["--allow-dirty"]].concat()), 0, "goal-met");
    assert_eq!(scene.repo.read("package.json"), "{\n  \"name\": \"mine\"\n}\n");
    assert_eq!(scene.repo.read("new é.txt"), "new\n");
    scene.assert_mended();
    // The result is the loop's own change alone.
    let patch = scene.cloop(["result", "--patch"]).expect_code(0).stdout;
    assert!(patch.contains(SUM) && !patch.contains("mine"), "{patch}");
}

#[test]
fn a_detached_head_stays_where_it_is() {
    let scene = Scene::sum();
    scene.repo.git(["checkout", "--quiet", "--detach"]);
    let before = scene.repo.git(["rev-parse", "HEAD"]);
    ended(scene.start(TEST), 0, "goal-met");
    scene.assert_mended();
    assert_eq!(scene.repo.git(["rev-parse", "HEAD"]), before);
    assert!(!scene.repo.try_git(&["symbolic-ref", "-q", "HEAD"]).status.success());
}

#[test]
fn a_path_of_any_characters_works() {
    for place in ["worktree", "in-place"] {
        let mut scene = Scene::sum();
        scene.repo = scene.environment.repo("a b'c\"d é ☂ $HOME `x` -n");
        scene.repo.files(sum_files()).commit("The state with the fault");
        let status = ended(scene.start(&[TEST, &["--where", place]].concat()), 0, "goal-met");
        assert_eq!(status["where"], place);
        scene.assert_mended();
        scene.cloop(["result"]).expect_code(0);
    }
}

#[test]
fn files_of_any_name_are_changed_and_left_alone() {
    let name = "src/a b é \"q\".js";
    let model = SequenceModel::new().evaluate(&in_progress());
    let quoted = "src/a b \\303\\251 \\\"q\\\".js";
    let patch = diff(name, FAULTY, MENDED)
        .replace(&format!("a/{name}"), &format!("\"a/{quoted}\""))
        .replace(&format!("b/{name}"), &format!("\"b/{quoted}\""));
    let scene = Scene::new(
        model.patches([("mend", patch.as_str())]),
        [(name, FAULTY), ("-rf", "x\n"), ("päth/☂.txt", "y\n"), ("line\nbreak", "z\n")],
    );
    let check = "grep -q 'a + b' src/*.js";
    ended(scene.start(&["--test-cmd", check]), 0, "goal-met");
    assert_eq!(scene.repo.read(name), MENDED);
    assert_eq!(
        scene.repo.git(["-c", "core.quotePath=false", "diff", "--name-only", "-z"]).trim_end_matches('\0'),
        name
    );
}

// --- Goals ---

#[test]
fn a_long_goal_full_of_traps_arrives_as_it_is_and_nothing_runs() {
    let trap = "{{goal}} {{#each x}} {{{raw}}} \"double\" 'single' `touch TRAP` $(touch TRAP) ; touch TRAP\r\n\\n \\ %s é ☂ \
                <b>&amp; ```\n```diff\n-a\n+b\n# heading\n| touch TRAP &\n";
    let goal = trap.repeat(100_000 / trap.len() + 1).trim().to_owned();
    assert!(goal.len() >= 100_000 - trap.len());
    let scene = Scene::sum();
    let run = scene.cloop_with(&["start", "--json", "--yes", "--goal", "-", "--test-cmd", "node --test"], &goal);
    let status = ended(run, 0, "goal-met");
    assert_eq!(status["goal"], goal.as_str());
    let requests = scene.server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(request.prompt.contains(&goal), "the goal is not in prompt {}", request.number);
    }
    let traces = scene.environment.shell(scene.environment.root(), "find . -name TRAP").expect_code(0).stdout;
    assert_eq!(traces, "");
    scene.cloop(["status"]).expect_code(0);
    // As an argument and as a file it is the same goal.
    let hash = |run: Run| run.expect_code(0).json()["goalHash"].clone();
    let plan = ["start", "--json", "--plan", "--test-cmd", "node --test"];
    std::fs::write(scene.environment.root().join("goal.txt"), &goal).unwrap();
    let typed = hash(scene.cloop(plan.iter().chain(&["--goal", &goal])));
    let file = hash(scene.cloop(plan.iter().chain(&["--task-file", "../goal.txt"])));
    assert_eq!((&typed, &file), (&status["goalHash"], &status["goalHash"]));
}

#[test]
fn a_goal_that_is_missing_or_no_text_is_refused() {
    let scene = Scene::sum();
    let start = |arguments: &[&str], stdin: &str| {
        let all = [&["start", "--json", "--test-cmd", "node --test"], arguments].concat();
        refused(scene.cloop_with(&all, stdin), 2, "usage")
    };
    let (message, hint) = start(&[], "");
    assert!(message.contains("no goal") && hint.contains("--goal"), "{message} {hint}");
    scene.repo.write("TASK.md", "Do it.\n");
    let (_, hint) = start(&["--goal", " \n\t"], "");
    assert!(hint.contains("--task-file TASK.md"), "{hint}");
    let (message, _) = start(&["--goal", "-"], &"x".repeat(120_001));
    assert!(message.contains("120001"), "{message}");
    let (message, _) = start(&["--goal", "-"], "a\0b");
    assert!(message.contains("NUL"), "{message}");
    let (message, _) = start(&["--task-file", "missing.md"], "");
    assert!(message.contains("missing.md"), "{message}");
    let (message, _) = start(&["--task-file", "src"], "");
    assert!(message.contains("src"), "{message}");
    scene.repo.write("latin.md", b"caf\xe9");
    let (message, hint) = start(&["--task-file", "latin.md"], "");
    assert!(message.contains("UTF-8") && hint.contains("UTF-8"), "{message} {hint}");
}

#[test]
fn options_that_make_no_sense_are_refused_with_a_document() {
    let scene = Scene::sum();
    let cases: [&[&str]; 9] = [
        &["--test-cmd", " "],
        &["--test-cmd", "t", "--max-time", "0"],
        &["--test-cmd", "t", "--max-time", "soon"],
        &["--test-cmd", "t", "--max-iter", "0"],
        &["--test-cmd", "t", "--scope", "src/[a"],
        &["--test-cmd", "t", "--where", "elsewhere"],
        &["--test-cmd", "t", "--no-test"],
        &["--test-cmd", "t", "--nonsense"],
        &["--test-cmd", "t", "--effort", "nostep=high"],
    ];
    for case in cases {
        let run = scene.start(case).expect_code(2);
        let document = run.json();
        assert_eq!(document["error"]["code"], "usage", "{case:?}");
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains("--") || message.contains("step"), "{case:?}: {message}");
        assert!(document["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{case:?}: {document:#}");
    }
    assert_eq!(scene.status()["status"], "none");
}

#[test]
fn nothing_that_is_typed_is_dropped_or_left_out_of_the_plan() {
    let scene = Scene::sum();
    let (message, hint) =
        refused(scene.cloop(["start", "--json", "--test-cmd", "t", "--goal", "Mend", "more", "words"]), 2, "usage");
    assert!(message.contains("--goal") && hint.contains("usage: "), "{message}; {hint}");
    let typed = ["start", "--json", "--plan", "--args-stdin"];
    for (document, told) in [
        ("{\"goal\": \"x\", \"testCmd\": \"t\", \"maxIter\": 0}", "max-iter is 0"),
        ("{\"goal\": \"x\", \"testCmd\": \"t\", \"maxIter\": \"many\"}", "`max-iter`"),
        ("{\"goal\": \"x\", \"testCmd\": 5}", "`test-cmd`"),
    ] {
        let (message, hint) = refused(scene.cloop_with(&typed, document), 2, "usage");
        assert!(message.contains(told) && !hint.is_empty(), "{document}: {message}; {hint}");
    }
    // A criterion that is typed goes before the document's.
    let run = scene.cloop_with(
        &["start", "--json", "--plan", "--args-stdin", "--accept", "typed"],
        "{\"goal\": \"x\", \"testCmd\": \"t\", \"accept\": [\"given\"]}",
    );
    assert_eq!(run.expect_code(0).json()["plan"]["acceptanceCriteria"], serde_json::json!(["typed"]));
    // Whatever runs, permits or reaches something stands in the plan that is shown.
    let plan = scene
        .cloop([
            "start",
            "Mend it",
            "--plan",
            "--test-cmd",
            "run-tests",
            "--setup-cmd",
            "set-up",
            "--trial-cmd",
            "try-it",
            "--flaky",
            "wobbles",
            "--known-red",
            "reddish",
            "--jobs",
            "3",
            "--max-patch-lines",
            "77",
            "--scope",
            "src/**",
            "--protect",
            "docs/**",
            "--allow-change",
            "test/**:wrong",
            "--allow-dirty",
            "--land",
            "never",
            "--propose",
            "agent",
            "--where",
            "in-place",
            "--effort",
            "repair=low",
        ])
        .expect_code(0)
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for shown in [
        "run-tests",
        "set-up",
        "try-it",
        "wobbles",
        "reddish",
        "3 at once",
        "77 lines",
        "src/**",
        "docs/**",
        "test/**",
        "wrong",
        "uncommitted changes and all",
        "nothing is written into",
        "by agents",
        "in your work tree",
        "repair low",
    ] {
        assert!(plan.contains(shown), "{shown}: {plan}");
    }
    let (message, _) = refused(scene.cloop(["model", "", "--json"]), 2, "usage");
    assert!(message.contains("empty"), "{message}");
}

// --- Files ---

#[test]
fn line_ends_final_line_and_binary_files_stay_as_they_are() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let open = |text: &str| text.trim_end().to_owned();
    let binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
    // A model sees and writes plain lines; what it means is found in the file as it is.
    let patch = mend() + &diff("src/open.js", FAULTY, MENDED);
    for place in ["worktree", "in-place"] {
        let model = SequenceModel::new().evaluate(&in_progress()).patches([("mend", patch.as_str())]);
        let files: Vec<(&str, Vec<u8>)> = vec![
            (SUM, crlf(FAULTY).into()),
            ("src/open.js", open(FAULTY).into()),
            ("logo.png", binary.clone()),
            ("mixed.txt", b"a\r\nb\nc\r\n".to_vec()),
        ];
        let scene = Scene::new(model, files);
        let before = scene.repo.fingerprint();
        let check = "grep -q 'a + b' src/sum.js && grep -q 'a + b' src/open.js";
        ended(scene.start(&["--test-cmd", check, "--where", place]), 0, "goal-met");
        assert_eq!(scene.repo.read(SUM), crlf(MENDED), "{place}");
        assert_eq!(scene.repo.read("src/open.js"), open(MENDED), "{place}");
        let after = scene.repo.fingerprint();
        assert_eq!((&after["logo.png"], &after["mixed.txt"]), (&before["logo.png"], &before["mixed.txt"]), "{place}");
        // Someone else's copy of the seed takes the patch and is the same.
        let copy = scene.environment.repo("copy");
        scene.repo.git(["push", "--quiet", copy.path().to_str().unwrap(), "main:taken"]);
        copy.git(["checkout", "--quiet", "taken"]);
        copy.apply(&scene.cloop(["result", "--patch"]).expect_code(0).stdout);
        assert_eq!(copy.fingerprint(), after, "{place}");
    }
}

#[test]
fn a_submodule_is_left_alone() {
    for place in ["auto", "in-place"] {
        let scene = Scene::sum();
        let part = scene.environment.repo("part");
        part.write("part.txt", "one\n").commit("One");
        let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../part", "part"];
        scene.repo.git(add);
        scene.repo.commit("With a part");
        let before = scene.repo.git(["submodule", "status"]);
        let status = ended(scene.start(&[TEST, &["--where", place]].concat()), 0, "goal-met");
        scene.assert_mended();
        assert_eq!(scene.repo.git(["submodule", "status"]), before, "{place} {}", status["where"]);
        assert_eq!(scene.repo.git(["status", "--porcelain"]), format!(" M {SUM}"), "{place}");
        assert_eq!(scene.repo.read("part/part.txt"), "one\n");
    }
}

#[test]
fn a_check_that_needs_a_submodule_is_run_where_the_submodule_is() {
    let scene = Scene::sum();
    let part = scene.environment.repo("part");
    part.write("part.txt", "one\n").commit("One");
    scene.repo.git(["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../part", "part"]);
    scene.repo.commit("With a part");
    ended(scene.start(&["--test-cmd", "test -f part/part.txt && node --test"]), 0, "goal-met");
    scene.assert_mended();
}

// --- The machine ---

#[test]
fn a_store_that_cannot_be_made_is_a_clear_refusal() {
    let scene = Scene::sum();
    scene.repo.write(".git/cloop", "in the way\n");
    for command in
        [&["start", "x", "--test-cmd", "node --test"][..], &["start", "x", "--no-test", "--lint-cmd", "l", "--plan"]]
    {
        let (message, hint) = refused(scene.cloop(command.iter().chain(&["--json"])), 3, "store");
        assert!(message.contains(".git/cloop") && hint.contains("git folder"), "{message} {hint}");
    }
    let rows = scene.cloop(["preflight", "--json"]).expect_code(3).json();
    let row = rows["rows"].as_array().unwrap().iter().find(|row| row["name"] == "store").unwrap().clone();
    assert_eq!(row["ok"], false, "{rows:#}");
    assert_eq!(scene.status()["status"], "none");
    assert_eq!(scene.server.requests().len(), 0);
    assert_eq!(scene.repo.read(".git/cloop"), "in the way\n");
    scene.assert_untouched();
}

#[test]
fn a_file_in_the_way_of_the_readable_face_is_a_clear_refusal() {
    let scene = Scene::new(mender(), sum_files().into_iter().chain([(".loop", "a file of the project\n")]));
    let (message, hint) = refused(scene.start(TEST), 3, "face");
    assert!(message.contains(".loop") && hint.contains(".loop"), "{message} {hint}");
    assert_eq!((scene.server.requests().len(), &scene.status()["status"]), (0, &"none".into()));
    assert_eq!(scene.repo.read(".loop"), "a file of the project\n");
    assert_eq!(scene.repo.git(["status", "--porcelain", ".loop"]), "");
}

#[test]
fn a_codex_that_is_missing_broken_or_too_old_is_a_failed_preflight() {
    let mut scene = Scene::sum();
    let path = path_of(&scene.environment, &["git", "node", "sh", "env"]);
    let root = scene.environment.root().to_owned();
    program(&root.join("old"), "#!/bin/sh\necho 'codex-cli 0.98.1'\n");
    program(&root.join("broken"), "#!/bin/sh\necho 'bad interpreter' >&2\nexit 1\n");
    program(&root.join("other"), "#!/bin/sh\necho 'hello'\n");
    std::fs::write(root.join("no program"), "text").unwrap();
    // An empty entry of PATH stands for the current folder, which must not be where Codex comes from.
    program(&scene.repo.path().join("codex"), "#!/bin/sh\ntouch RAN\n");
    scene.repo.commit("A program by that name");
    let mut with_empty = OsString::from(":");
    with_empty.push(path.as_os_str());
    scene.environment.set("PATH", with_empty);
    let cases: [(Option<&str>, &str); 6] = [
        (None, "PATH"),
        (Some("old"), "0.98.1"),
        (Some("broken"), "bad interpreter"),
        (Some("other"), "hello"),
        (Some("no program"), "LOOP_CODEX_BIN"),
        (Some("nothing here"), "LOOP_CODEX_BIN"),
    ];
    for (named, told) in cases {
        match named {
            Some(name) => scene.environment.set("LOOP_CODEX_BIN", root.join(name)),
            None => scene.environment.unset("LOOP_CODEX_BIN"),
        }
        for more in [&[][..], &["--plan"]] {
            let (message, hint) = refused(scene.start(&[TEST, more].concat()), 3, "codex");
            assert!(message.contains(told), "{named:?}: {message}");
            assert!(
                hint.contains("npm install -g @openai/codex") || hint.contains("LOOP_CODEX_BIN"),
                "{named:?}: {hint}"
            );
        }
        let rows = scene.cloop(["preflight", "--json"]).expect_code(3).json();
        let row = rows["rows"].as_array().unwrap().iter().find(|row| row["name"] == "codex").unwrap().clone();
        assert_eq!(row["ok"], false, "{rows:#}");
    }
    assert!(!scene.repo.path().join("RAN").exists());
    // What needs no Codex works without.
    assert_eq!(scene.status()["status"], "none");
    scene.cloop(["detect", "--json"]).expect_code(0);
    scene.assert_untouched();
}

#[test]
fn a_machine_without_git_is_told_so() {
    let mut environment = TestEnvironment::with_codex_config("");
    let path = path_of(&environment, &["sh"]);
    environment.set("PATH", path);
    let run = environment.cloop(environment.root(), ["start", "x", "--test-cmd", "t", "--json"]);
    let (message, hint) = refused(run, 3, "no-git");
    assert!(message.contains("git") && hint.contains("install git"), "{message} {hint}");
}

// --- No loop, and two ---

#[test]
fn without_a_loop_there_is_nothing_to_show_and_nothing_breaks() {
    let scene = Scene::sum();
    assert_eq!(scene.status(), serde_json::json!({"schemaVersion": 1, "status": "none"}));
    let text = scene.cloop(["status"]).expect_code(0).stdout;
    assert!(text.contains("loop-companion start"), "{text}");
    for command in [&["result", "--json"][..], &["iterate", "--json"], &["resume", "--json"]] {
        let (_, hint) = refused(scene.cloop(command), 2, "usage");
        assert!(hint.contains("start"), "{command:?}: {hint}");
    }
    scene.cloop(["stop"]).expect_code(0);
    scene.cloop(["status", "--follow"]).expect_code(0);
    scene.cloop(["model"]).expect_code(0);
    assert!(!scene.repo.path().join(".loop").exists());
    scene.assert_untouched();
}

#[test]
fn of_two_starts_the_second_is_refused_and_names_the_first() {
    let gate = Gate::new();
    let reply = Reply::json(&in_progress()).after(&gate);
    let model = SequenceModel::new().queue(Step::Evaluate, reply).patches([("mend", mend().as_str())]);
    let scene = Scene::new(model, sum_files());
    let first = scene.spawn_start(TEST);
    scene.server.wait_for_requests(1, SOON).unwrap();
    for command in
        [&["start", GOAL, "--test-cmd", "node --test", "--json"][..], &["resume", "--json"], &["iterate", "--json"]]
    {
        let (message, hint) = refused(scene.cloop(command), 4, "held");
        assert!(message.contains(&format!("pid {}", first.pid())), "{command:?}: {message}");
        assert!(hint.contains("stop") && hint.contains("status"), "{hint}");
    }
    let status = scene.status();
    assert_eq!((&status["status"], &status["worker"]["pid"]), (&"running".into(), &first.pid().into()));
    let run = status["runId"].as_str().unwrap().to_owned();
    gate.release();
    let status = ended(first.finish(SOON), 0, "goal-met");
    assert_eq!(status["runId"], run.as_str());
    scene.assert_mended();
    // No trace of those that were refused.
    let runs = std::fs::read_dir(scene.repo.path().join(".git/cloop/runs")).unwrap();
    assert_eq!(runs.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), [OsString::from(run)]);
}

#[test]
fn an_argument_that_is_no_unicode_is_refused_and_not_mangled() {
    let scene = Scene::sum();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let run = scene.cloop([std::ffi::OsStr::new("start"), odd, "--json".as_ref()]);
    run.expect_code(2);
}
