//! The review gate: what becomes of a turn's changes, in the real Claude Code and at the hooks themselves.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use loop_companion::scripted::{ModelRequest, Reply, ScriptedServer};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::common::{Claude, MessagesServer, Repo, TestEnvironment, Turn};

/// The words that switch the gate off.
const OFF: &str = "loop-companion review gate off";

fn answer(verdict: &str) -> Value {
    json!({
        "unread": [], "risks": [], "conditions": ["Keep the first line"], "priorities": [],
        "findings": [{"severity": "high", "file": "a.txt", "line": 1, "message": "The first line is gone."}],
        "recommendation": "Put it\u{1b} back.", "verdict": verdict, "confidence": 0.9,
    })
}

fn setup(model: impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static) -> (ScriptedServer, TestEnvironment, Repo) {
    let server = ScriptedServer::start(model).unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = environment.repo("project");
    repo.write("a.txt", "one\n").commit("start");
    (server, environment, repo)
}

fn switch(environment: &TestEnvironment, repo: &Repo, word: &str) {
    environment.cloop(repo.path(), ["review", "gate", word]).expect_code(0);
}

/// Runs a hook as a host does and returns its answer, null for silence.
#[track_caller]
fn hook(environment: &TestEnvironment, name: &str, event: &Value) -> Value {
    let mut command = environment.command(env!("CARGO_BIN_EXE_loop-companion"), environment.root());
    command.args(["hook", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(event.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).unwrap() }
}

/// A session at its hooks.
struct Host<'a> {
    environment: &'a TestEnvironment,
    dir: &'a Path,
    session: &'a str,
}

impl Host<'_> {
    fn prompt(&self, text: &str) {
        let event = json!({"cwd": self.dir, "session_id": self.session, "prompt": text});
        assert_eq!(hook(self.environment, "turn-start", &event), Value::Null);
    }

    fn stop(&self, again: bool) -> Value {
        let event = json!({"cwd": self.dir, "session_id": self.session, "stop_hook_active": again,
            "last_assistant_message": "I have done it."});
        hook(self.environment, "stop", &event)
    }
}

#[track_caller]
fn assert_says(answer: &Value, part: &str, blocks: bool) {
    let said = answer["systemMessage"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(said.contains(part) && said.contains(OFF), "no {part} in {said}");
    assert_eq!(answer["decision"] == "block", blocks, "{answer}");
}

#[test]
fn claude_is_sent_back_once_with_the_findings_and_only_for_what_its_turn_changed() {
    let (server, environment, repo) = setup(|_| Reply::json(&answer("NO-GO")));
    // The user's own change, before the turn.
    repo.write("mine.txt", "unfinished\n");
    switch(&environment, &repo, "on");
    let turns = AtomicUsize::new(0);
    let claude = Claude::new(
        environment,
        MessagesServer::start(move |_| match turns.fetch_add(1, Ordering::SeqCst) {
            0 => Turn::bash("printf 'two\\n' > a.txt"),
            1 => Turn::Text("Changed.".into()),
            2 => Turn::bash("printf 'one\\ntwo\\n' > a.txt"),
            3 => Turn::Text("Mended.".into()),
            _ => Turn::Text("Looked.".into()),
        }),
    );
    let plugin = claude.plugin.to_str().unwrap();
    let flags = ["--plugin-dir", plugin, "--permission-mode", "bypassPermissions"];
    let document = claude.prompt(repo.path(), "Add a second line", &flags);
    assert_eq!(document["result"], "Mended.", "{document:#}");
    let turns = claude.model.requests();
    assert_eq!(turns.len(), 4);
    let told = turns[2].user_text();
    for part in ["NO-GO", "`a.txt:1`: The first line is gone.", "Put it back.", OFF] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    assert_eq!(server.requests().len(), 1, "what follows the NO-GO is not reviewed again");
    let asked = &server.requests()[0].prompt;
    for part in ["Add a second line", "Changed.", "-one\n+two\n", "what the turn changed"] {
        assert!(asked.contains(part), "no {part} in {asked}");
    }
    assert!(!asked.contains("mine.txt"), "{asked}");
    let talk = claude.prompt(repo.path(), "What is in it?", &flags);
    assert_eq!((&talk["result"], claude.model.requests().len(), server.requests().len()), (&json!("Looked."), 5, 1));
    claude.environment.assert_no_processes();
}

#[test]
fn claude_is_held_up_neither_without_a_review_nor_with_the_gate_off() {
    let (server, environment, repo) = setup(|_| Reply::unauthorized());
    let claude = Claude::new(
        environment,
        MessagesServer::start(|request| match request.tool_result() {
            None => Turn::bash("date +%N > a.txt"),
            Some(_) => Turn::Text("Changed.".into()),
        }),
    );
    let plugin = claude.plugin.to_str().unwrap();
    let flags = ["--plugin-dir", plugin, "--permission-mode", "bypassPermissions"];
    for (word, calls) in [("off", 0), ("on", 1)] {
        switch(&claude.environment, &repo, word);
        let document = claude.prompt(repo.path(), "Change it", &flags);
        assert_eq!((&document["result"], server.requests().len().min(1)), (&json!("Changed."), calls), "{document:#}");
    }
    let list = claude.environment.cloop(repo.path(), ["review", "list", "--json"]).json();
    assert_eq!(
        (&list["reviews"][0]["verdict"], &list["reviews"][0]["cause"]),
        (&json!("UNAVAILABLE"), &json!("sign-in"))
    );
}

#[test]
fn every_verdict_is_told_and_no_go_alone_blocks_and_only_once() {
    let verdicts = ["GO", "MODIFY", "NO-GO", "prose", "NO-GO"];
    let next = AtomicUsize::new(0);
    let (server, environment, repo) = setup(move |request| {
        // Prose is asked for once more in the right form.
        let repair = request.prompt.contains("did not have the required form");
        let at = if repair { 3 } else { next.fetch_add(1, Ordering::SeqCst) };
        if verdicts[at] == "prose" { Reply::message("Fine.") } else { Reply::json(&answer(verdicts[at])) }
    });
    let host = Host { environment: &environment, dir: repo.path(), session: "../../../etc/passwd \"'$(x)" };
    host.prompt("one");
    assert_eq!(host.stop(false), Value::Null, "off");
    switch(&environment, &repo, "on");
    assert_eq!(host.stop(false), Value::Null, "nothing has changed");
    // Switched on within a turn: from there on it counts.
    repo.write("a.txt", "1\n");
    assert_says(&host.stop(false), "GO: Put it back.", false);
    assert_eq!(host.stop(false), Value::Null, "that is reviewed");
    host.prompt("two");
    repo.write("a.txt", "2\n");
    assert_says(&host.stop(false), "MODIFY: Put it back.\n- Keep the first line", false);
    host.prompt("three");
    repo.write("a.txt", "3\n");
    // A prompt typed while the turn goes on.
    host.prompt("and three");
    repo.write("b.txt", "3\n");
    let back = host.stop(false);
    assert_says(&back, "NO-GO", true);
    assert!(
        back["reason"].as_str().unwrap().contains("The first line is gone.")
            && back["reason"].as_str().unwrap().contains(OFF)
    );
    let asked = server.requests()[2].prompt.clone();
    for part in ["three\n\nand three", "-2\n+3\n", "b.txt"] {
        assert!(asked.contains(part), "no {part} in {asked}");
    }
    repo.write("a.txt", "4\n");
    assert_says(&host.stop(true), "not reviewed again", false);
    host.prompt("five");
    repo.write("a.txt", "5\n");
    assert_says(&host.stop(false), "no review took place (bad-answer)", false);
    // A host that does not tell of its being sent back.
    host.prompt("six");
    repo.write("a.txt", "6\n");
    assert_says(&host.stop(false), "NO-GO", true);
    assert_says(&host.stop(false), "not reviewed again", false);
    assert_eq!(host.stop(true), Value::Null);
    assert_eq!(server.requests().len(), 6);
    assert!(!environment.root().join("etc").exists());
    // Another session has a beginning of its own.
    let other = Host { session: "other", ..host };
    other.prompt("look");
    assert_eq!(other.stop(false), Value::Null);
    switch(&environment, &repo, "off");
    repo.write("a.txt", "7\n");
    assert_eq!(other.stop(false), Value::Null);
}

#[test]
fn the_gate_keeps_to_the_budget_and_what_it_keeps_holds_no_secret() {
    let (server, environment, repo) = setup(|_| Reply::json(&answer("GO")));
    repo.write(".cloop.toml", "[review]\nmax-per-session = 1\n");
    switch(&environment, &repo, "on");
    let host = Host { environment: &environment, dir: repo.path(), session: "s" };
    let secret = "sk-proj-Zx8Qw2Er5Ty7Ui9Op1As3";
    for turn in 1..=2 {
        host.prompt(&format!("Use {secret}"));
        let kept = fs::read_dir(repo.path().join(".git/cloop/review-turns")).unwrap();
        for file in kept {
            assert!(!fs::read_to_string(file.unwrap().path()).unwrap().contains(secret));
        }
        repo.write("a.txt", format!("{turn}\n"));
        let part = if turn == 1 {
            "GO: Put it back."
        } else {
            "no review took place (budget): 1 of 1 reviews of this session"
        };
        assert_says(&host.stop(false), part, false);
    }
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_gate_that_is_off_asks_and_says_nothing() {
    let (server, environment, repo) = setup(|_| Reply::hang());
    let host = Host { environment: &environment, dir: repo.path(), session: "s" };
    repo.write("a.txt", "changed\n");
    for _ in 0..2 {
        host.prompt("x");
        assert_eq!(host.stop(false), Value::Null);
    }
    assert_eq!(server.requests().len(), 0);
}
