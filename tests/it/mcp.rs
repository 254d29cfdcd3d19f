//! The MCP server against the official Python SDK, and against what no SDK would send.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Reply, ScriptedServer};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::common::{Repo, SequenceModel, TestEnvironment, evaluation, issue, mcp_python};

const LIMIT: Duration = Duration::from_secs(120);

fn answer() -> Value {
    json!({
        "unread": [], "findings": [], "risks": [], "conditions": [], "priorities": ["b", "a"],
        "recommendation": "Go on.", "verdict": "GO", "confidence": 0.9,
    })
}

/// Answers GO; a question that says so gets nothing.
fn setup() -> (ScriptedServer, TestEnvironment, Repo) {
    let server =
        ScriptedServer::start(
            |request| {
                if request.prompt.contains("no answer, please") { Reply::hang() } else { Reply::json(&answer()) }
            },
        )
        .unwrap();
    let environment = TestEnvironment::new(&server);
    let config = environment.root().join("config/cloop");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "[review]\nmax-per-day = 99\nmax-per-session = 99\n").unwrap();
    let repo = environment.repo("project");
    repo.write("a.txt", "one\n").commit("start");
    (server, environment, repo)
}

/// Plays steps with the official SDK; the first result is the server's introduction.
fn play(environment: &TestEnvironment, dir: &Path, steps: &Value) -> Vec<Value> {
    let file = environment.root().join("steps.json");
    fs::write(&file, steps.to_string()).unwrap();
    let mut command = environment.command(mcp_python(), dir);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp_client.py"));
    command.arg(&file).args([env!("CARGO_BIN_EXE_loop-companion"), "mcp"]);
    let run = crate::common::Running::start(command, "", &environment.root().join("tmp")).finish(LIMIT);
    run.expect_code(0).json().as_array().unwrap().clone()
}

#[test]
fn the_official_client_lists_calls_follows_cancels_and_does_twenty_at_once() {
    let (server, environment, repo) = setup();
    let parallel: Vec<Value> = (0..20)
        .map(|number| match number % 2 {
            0 => json!({"call": "codex_review", "arguments": {"prompt": format!("Question {number}?")}}),
            _ => json!({"call": "loop_status"}),
        })
        .collect();
    let results = play(
        &environment,
        repo.path(),
        &json!([
            {"list": true},
            {"call": "codex_review", "arguments": {"prompt": "no answer, please", "reasoning_effort": "low"}, "cancel_after": 3},
            {"call": "should_request_review", "arguments": {"decision_type": "gate", "confidence": 0.5, "stakes": "high"}},
            {"parallel": parallel},
            {"call": "priority_guidance", "arguments": {"options": ["a", "b"], "context": "Time is short."}},
            {"call": "codex_review", "arguments": {"prompt": "x", "output_file": ".git/hooks/pre-commit"}},
            {"call": "codex_review", "arguments": {"prompt": "x", "reasoning_efort": "low"}},
            {"call": "codex_review", "arguments": {"prompt": "Elsewhere?", "cwd": environment.root().join("home")}},
            {"call": "loop_start", "arguments": {"planHash": "sha256:none"}},
            {"call": "loop_result"},
        ]),
    );
    assert_eq!(results[0]["serverInfo"]["name"], "cloop");
    let tools = results[1]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 14);
    assert!(tools.iter().all(|tool| tool["outputSchema"]["type"] == "object" && tool["annotations"].is_object()));
    assert_eq!(results[2]["cancelled"], true);
    let steps: Vec<f64> = results[2]["progress"].as_array().unwrap().iter().map(|p| p[0].as_f64().unwrap()).collect();
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    assert_eq!(results[3]["structuredContent"]["review"], true);
    for (number, result) in results[4].as_array().unwrap().iter().enumerate() {
        assert_eq!(result["isError"], false, "{result}");
        let (field, value) = if number % 2 == 0 { ("verdict", json!("GO")) } else { ("loop", Value::Null) };
        assert_eq!(result["structuredContent"][field], value, "{result}");
    }
    assert_eq!(results[5]["structuredContent"]["priorities"], json!(["b", "a"]));
    for (at, part) in [(6, "belongs to git"), (7, "reasoning_efort"), (9, "no plan with the hash"), (10, "no loop")] {
        let text = results[at]["content"][0]["text"].as_str().unwrap();
        assert!(results[at]["isError"] == true && text.contains(part) && text.contains("What to do:"), "{text}");
    }
    assert_eq!(results[8]["structuredContent"]["verdict"], "GO");
    assert!(environment.root().join("home/reviews/autonomous").is_dir());
    assert_eq!(server.requests().len(), 13);
    environment.assert_no_processes();
}

#[test]
fn a_loop_is_planned_started_awaited_and_read_through_the_tools() {
    let patch = "--- a/value.txt\n+++ b/value.txt\n@@ -1 +1 @@\n-wrong\n+right\n";
    let model = SequenceModel::new()
        .evaluate(&evaluation(Verdict::InProgress, 0.9, vec![issue("wrong-value", "It is wrong.", "value.txt")]))
        .patches([("fix", patch)]);
    let server = ScriptedServer::start(model.into_model()).unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = environment.repo("project");
    repo.write("value.txt", "wrong\n").write("check.sh", "grep -qx right value.txt\n").commit("start");
    let results = play(
        &environment,
        repo.path(),
        &json!([
            {"call": "loop_preflight"},
            {"call": "loop_plan", "arguments": {
                "goal": "value.txt says right", "options": {"test-cmd": "sh check.sh", "max-iter": 2, "where": "in-place"}}},
            {"call": "loop_start", "arguments": {"planHash": "$planHash"}},
            {"call": "loop_wait", "arguments": {"timeout_seconds": 90}},
            {"call": "loop_status"},
            {"call": "loop_result"},
            {"call": "loop_stop"},
            {"call": "loop_iterate"},
        ]),
    );
    for result in &results[1..=7] {
        assert_eq!(result["isError"], false, "{result}");
    }
    let ended = &results[4]["structuredContent"];
    assert_eq!((&ended["timedOut"], &ended["loop"]["status"]), (&json!(false), &json!("finished")), "{ended}");
    assert_eq!(results[5]["structuredContent"]["loop"]["stopReason"], ended["loop"]["stopReason"]);
    assert_eq!(results[8]["isError"], ended["loop"]["stopReason"] == "goal-met", "{}", results[8]);
    assert_eq!(repo.read("value.txt"), "right\n");
}

/// A client that writes lines of its own making.
struct Raw {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Raw {
    fn start(environment: &TestEnvironment, dir: &Path) -> Self {
        let mut command = environment.command(env!("CARGO_BIN_EXE_loop-companion"), dir);
        command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Self { input: child.stdin.take(), child, lines }
    }

    fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.write_all(b"\n").unwrap();
        input.flush().unwrap();
    }

    fn send(&mut self, message: &Value) {
        self.write(message.to_string().as_bytes());
    }

    /// Waits for the answer with this id.
    fn answer(&self, id: &Value) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| panic!("no answer to {id}: {error}"));
            let message: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
            if message["id"] == *id {
                return message;
            }
        }
    }

    fn introduce(&mut self) {
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}}));
        assert_eq!(self.answer(&json!(1))["result"]["protocolVersion"], "2025-11-25");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_probe_and_garbage_on_the_wire_leave_the_server_at_work() {
    let (_server, environment, repo) = setup();
    let mut raw = Raw::start(&environment, repo.path());
    raw.send(&json!({"jsonrpc": "2.0", "id": "probe", "method": "server/discover", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}}}}));
    assert!(raw.answer(&json!("probe"))["error"].is_object());
    raw.send(&json!({"jsonrpc": "2.0", "id": "bare", "method": "server/discover"}));
    assert!(raw.answer(&json!("bare"))["error"].is_object());
    raw.introduce();
    for garbage in
        [&b"not json"[..], b"{\"jsonrpc\":", b"\xff\xfe\x00", b"[]", b"42", b"{}", b"{\"jsonrpc\":\"2.0\",\"id\":{}}"]
    {
        raw.write(garbage);
    }
    raw.write(&vec![b'x'; 3 << 20]);
    raw.send(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "no_such_tool"}}));
    assert!(raw.answer(&json!(7))["error"].is_object());
    raw.send(&json!({"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "should_request_review",
        "arguments": {"decision_type": "trivial", "confidence": 1, "stakes": "low"}}}));
    assert_eq!(raw.answer(&json!(8))["result"]["structuredContent"]["review"], false);
}

#[test]
fn the_end_of_input_ends_the_server_and_its_codex_even_in_the_middle_of_calls() {
    let (server, environment, repo) = setup();
    let mut raw = Raw::start(&environment, repo.path());
    raw.introduce();
    for id in [2, 3] {
        raw.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "codex_review", "arguments": {"prompt": format!("{id}: no answer, please")}}}));
    }
    server.wait_for_requests(2, LIMIT).unwrap();
    raw.input = None;
    let deadline = Instant::now() + Duration::from_secs(20);
    while raw.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the server outlives its client");
        std::thread::sleep(Duration::from_millis(10));
    }
    environment.assert_no_processes();
    let records = fs::read_dir(repo.path().join("reviews/autonomous")).unwrap();
    let stopped = records.filter(|record| {
        let text = fs::read_to_string(record.as_ref().unwrap().path()).unwrap();
        text.starts_with("# UNAVAILABLE") && text.contains("stopped")
    });
    assert_eq!(stopped.count(), 2, "the record says what became of them");
}
