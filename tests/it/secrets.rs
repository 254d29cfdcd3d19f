//! Secrets in goals, commands, outputs and answers: shown nowhere, and kept verbatim in the private store alone.

use std::fs;
use std::path::{Path, PathBuf};

use loop_companion::answers::Verdict;
use loop_companion::scripted::Step;

use crate::common::scene::{SUM, SUM_TEST, Scene, ended, mend, sum_files};
use crate::common::{SequenceModel, evaluation, issue};

/// A secret of each kind, made up.
const SECRETS: [&str; 10] = [
    "AKIAIOSFODNN7EXAMPLE",
    "sk-proj-abcDEF0123456789abcDEF0123",
    "ghp_0123456789abcdefABCDEF0123456789abcd",
    "sk-ant-api03-abcdefghijkl-0123",
    "xoxb-123456789012-abcdefghij",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc123-_x",
    "MIIEpAIBAAKCAQEAvhR3Q1n8Yt0yXb2Zq7",
    "hunter2-of-the-database",
    "plain-value-of-the-environment",
];

/// The secrets as programs print them.
fn spoken() -> String {
    format!(
        "aws {} openai {} github {} anthropic {} slack {} google {} jwt {}\n-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA \
         PRIVATE KEY-----\npostgres://app:{}@db/x and {}",
        SECRETS[0],
        SECRETS[1],
        SECRETS[2],
        SECRETS[3],
        SECRETS[4],
        SECRETS[5],
        SECRETS[6],
        SECRETS[7],
        SECRETS[8],
        SECRETS[9]
    )
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut open = vec![dir.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}

#[track_caller]
fn assert_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} shows {secret}:\n{text}");
    }
}

#[test]
fn secrets_are_masked_wherever_people_and_programs_look_and_kept_in_the_private_store() {
    let mut wrong = evaluation(Verdict::InProgress, 0.5, vec![issue("wrong-sign", &spoken(), SUM)]);
    wrong.rationale = spoken();
    let mut suggestion = loop_companion::scripted::script::suggestion([("mend", mend().as_str())]);
    suggestion.proposals[0].justification = spoken();
    suggestion.proposals[0].approach = spoken();
    let mut met = evaluation(Verdict::GoalMet, 0.0, Vec::new());
    met.rationale = spoken();
    let model = SequenceModel::new().evaluate(&wrong).evaluate(&met).suggest(&suggestion);
    let test = SUM_TEST
        .replace("test('adds'", &format!("console.log({:?});\ntest({:?}", spoken(), format!("adds {}", SECRETS[2])));
    let files = sum_files()
        .into_iter()
        .map(|(path, text)| (path, if path == "test/sum.test.js" { test.clone() } else { text.to_owned() }));
    let mut scene = Scene::new(model, files.collect::<Vec<_>>());
    scene.environment.set("DATABASE_TOKEN", SECRETS[9]);
    let goal = format!("sum adds; {}", spoken());
    let command = format!("SECRET={} node --test", SECRETS[8]);
    let arguments = ["start", "--yes", "--goal", &goal, "--test-cmd", &command, "--accept", &goal, "--max-calls", "1"];
    let first = scene.cloop(arguments.iter().chain(&["--json"])).expect_code(1);
    // Another environment, which no longer knows one of them, must not take the masked goal for another one.
    scene.environment.unset("DATABASE_TOKEN");
    let again = scene.cloop(["resume", "--max-calls", "9", "--json"]).expect_code(0);
    scene.environment.set("DATABASE_TOKEN", SECRETS[9]);
    let shown = again.stderr.replace(SECRETS[9], "");
    assert_no_secret("resume", &shown);
    ended(again, 0, "goal-met");
    for (what, text) in [("start", &first.stdout), ("start's messages", &first.stderr)] {
        assert_no_secret(what, text);
    }
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["result"],
        &["result", "--json"],
        &["history"],
        &["history", "--json"],
        &["stats"],
    ] {
        let run = scene.cloop(command).expect_code(0);
        assert_no_secret(&command.join(" "), &(run.stdout + &run.stderr));
    }
    let plan = scene.cloop(arguments.iter().chain(&["--plan"])).expect_code(0);
    assert_no_secret("the plan", &(plan.stdout + &plan.stderr));
    let mut face = String::new();
    for path in files_below(&scene.repo.path().join(".loop")) {
        face += &fs::read_to_string(path).unwrap();
    }
    // The run without the variable could not know its value.
    assert_no_secret(".loop", &face.replace(SECRETS[9], ""));
    assert!(face.contains("[masked]"));
    // Answers and what was asked stay as they were, or a resume would go on from another text.
    let store = files_below(&scene.repo.path().join(".git/cloop"));
    let kept: String =
        store.iter().map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect();
    for secret in SECRETS {
        assert!(kept.contains(secret), "the store lost {secret}");
    }
}

#[test]
fn errors_on_the_terminal_hide_secrets() {
    let scene = Scene::sum();
    let text = format!("no-such-key = \"{}\"\n", SECRETS[1]);
    scene.repo.write(".cloop.toml", text);
    for json in [&[][..], &["--json"]] {
        let run =
            scene.cloop(["start", "--yes", "--goal", "x", "--test-cmd", "true"].iter().chain(json)).expect_code(2);
        assert_no_secret("the error", &(run.stdout + &run.stderr));
    }
}

#[test]
fn a_secret_of_the_environment_that_a_check_prints_is_not_sent_to_the_model() {
    let mut scene = Scene::sum();
    scene.environment.set("DATABASE_TOKEN", SECRETS[9]);
    let status = ended(
        scene.start(&["--test-cmd", "echo \"$DATABASE_TOKEN\"; echo password=hunter2-in-a-test; node --test"]),
        0,
        "goal-met",
    );
    assert_eq!(status["proof"]["level"], "measured");
    let requests = scene.server.requests();
    let asked = requests.iter().find(|request| request.step() == Step::Evaluate).unwrap();
    assert!(!asked.prompt.contains(SECRETS[9]) && asked.prompt.contains("[masked]"), "{}", asked.prompt);
    // What only looks like a secret may be what the model has to mend.
    assert!(asked.prompt.contains("hunter2-in-a-test"), "{}", asked.prompt);
}
