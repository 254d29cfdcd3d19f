//! The MCP server in clients that are not ours (the official Python SDK, the MCP Inspector, Claude Code, Codex), and
//! against what no client would send.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Reply, ScriptedServer};
use pretty_assertions::assert_eq;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::{
    Claude, MessagesServer, Repo, Run, Running, SequenceModel, TestEnvironment, Turn, codex_bin, evaluation,
    inspector_bin, issue, mcp_python, processes_of,
};

const LIMIT: Duration = Duration::from_secs(120);

fn answer() -> Value {
    json!({
        "unread": [], "findings": [], "risks": [], "conditions": [], "priorities": ["b", "a"],
        "recommendation": "Go on.", "verdict": "GO", "confidence": 0.9,
    })
}

/// Answers GO; a question that says so gets nothing, another one a look round before.
fn setup() -> (ScriptedServer, TestEnvironment, Repo) {
    let server = ScriptedServer::start(|request| {
        if request.prompt.contains("no answer, please") {
            Reply::hang()
        } else if request.prompt.contains("look first") && !request.has_function_output {
            Reply::exec_command("echo looked-around").with_reasoning("**Reading the plan**")
        } else {
            Reply::json(&answer())
        }
    })
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
    let run = Running::start(command, "", &environment.root().join("tmp")).finish(LIMIT);
    run.expect_code(0).json().as_array().unwrap().clone()
}

#[test]
fn the_official_client_lists_calls_follows_cancels_and_does_twenty_at_once() {
    let (_server, environment, repo) = setup();
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
            {"call": "codex_review", "arguments": {
                "prompt": "Elsewhere?", "cwd": "~", "model": "", "reasoning_effort": "", "output_file": "", "agent_file": ""}},
            {"call": "loop_start", "arguments": {"planHash": "sha256:none"}},
            {"call": "loop_result"},
            {"call": "codex_review", "arguments": {"prompt": "look first", "output_file": "reviews/verdict.md"}},
            {"call": "codex_review", "arguments": {"prompt": "look first", "output_file": "reviews/verdict.md"}},
            {"call": "codex_review", "arguments": {"prompt": "x", "output_file": "a.txt"}},
            {"call": "codex_review", "arguments": {"prompt": "x", "output_file": "/usr/a.txt"}},
            {"call": "methodology_review", "arguments": {"question": "Is it sound?"}},
            {"call": "second_opinion", "arguments": {"concern": "It leaks.", "proposed_solution": "Free it."}},
            {"call": "loop_preflight", "arguments": {"cwd": 7}},
            {"call": "codex_review", "arguments": {"prompt": " "}},
            {"call": "codex_review", "arguments": {"prompt": "x", "timeout_seconds": 0}},
            {"call": "loop_status", "arguments": {"cwd": "/nonexistent"}},
        ]),
    );
    assert_eq!(results[0]["serverInfo"]["name"], "cloop");
    let tools = results[1]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 14);
    assert!(tools.iter().all(|tool| tool["outputSchema"]["type"] == "object" && tool["annotations"].is_object()));
    assert_eq!(results[2]["cancelled"], true);
    let steps: Vec<f64> = results[2]["progress"].as_array().unwrap().iter().map(|p| p[0].as_f64().unwrap()).collect();
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    // While Codex is silent, the server is not.
    let gaps = results[2]["progress"].as_array().unwrap().iter().map(|p| p[2].as_f64().unwrap());
    assert!(gaps.fold(0.0, f64::max) < 10.0, "{}", results[2]);
    assert_eq!(results[3]["structuredContent"]["review"], true);
    for (number, result) in results[4].as_array().unwrap().iter().enumerate() {
        assert_eq!(result["isError"], false, "{result}");
        let (field, value) = if number % 2 == 0 { ("verdict", json!("GO")) } else { ("loop", Value::Null) };
        assert_eq!(result["structuredContent"][field], value, "{result}");
    }
    assert_eq!(results[5]["structuredContent"]["priorities"], json!(["b", "a"]));
    for (at, part) in [
        (6, "belongs to git"),
        (7, "reasoning_efort"),
        (9, "no plan with the hash"),
        (10, "no loop"),
        (13, "would be lost"),
        (14, "outside the repository"),
        (17, "cwd is no text"),
        (18, "say it in the arguments"),
        (19, "timeout_seconds is 0"),
        (20, "with `cwd`"),
    ] {
        let text = results[at]["content"][0]["text"].as_str().unwrap();
        assert!(results[at]["isError"] == true && text.contains(part) && text.contains("What to do:"), "{text}");
    }
    assert_eq!(results[8]["structuredContent"]["verdict"], "GO");
    assert!(environment.root().join("home/reviews/autonomous").is_dir());
    let messages = results[11]["progress"].to_string();
    for part in ["thinking", "Reading the plan", "running echo looked-around"] {
        assert!(messages.contains(part), "Codex's own events: no {part} in {messages}");
    }
    assert_eq!(results[12]["structuredContent"]["verdict"], "GO");
    assert!(repo.read("reviews/verdict.md").starts_with("# GO — look first"));
    assert_eq!(repo.read("a.txt"), "one\n");
    for (at, kind) in [(15, "methodology"), (16, "second-opinion")] {
        assert_eq!(results[at]["structuredContent"]["kind"], kind);
    }
    environment.assert_no_processes();
}

#[test]
fn the_clients_roots_choose_the_repository_and_change_with_it() {
    let (_server, environment, repo) = setup();
    let other = environment.repo("another project");
    other.write("b.txt", "one\n").commit("start");
    let uri = |dir: &Path| dir.to_str().unwrap().replace(' ', "%20");
    let results = play(
        &environment,
        environment.root(),
        &json!([
            {"roots": [uri(other.path())]},
            {"call": "codex_review", "arguments": {"prompt": "Here?"}},
            {"roots": ["/nowhere", uri(repo.path()), uri(other.path())]},
            {"call": "codex_review", "arguments": {"prompt": "Here?"}},
            {"call": "codex_review", "arguments": {"prompt": "Here?", "cwd": other.path()}},
            {"call": "codex_review", "arguments": {"prompt": "Here?", "cwd": "."}},
        ]),
    );
    let cached = |at: usize| results[at]["structuredContent"]["cached"].clone();
    assert_eq!([2, 4, 5, 6].map(cached), [false, false, true, true].map(Value::Bool));
    for held in [&repo, &other] {
        assert_eq!(fs::read_dir(held.path().join("reviews/autonomous")).unwrap().count(), 2);
    }
}

/// Uses the MCP Inspector's command line.
fn inspect(environment: &TestEnvironment, dir: &Path, arguments: &[&str]) -> Run {
    let mut command = environment.command(inspector_bin(), dir);
    command.args(["--cli", env!("CARGO_BIN_EXE_loop-companion"), "mcp", "--cwd", dir.to_str().unwrap()]);
    for (name, value) in environment.env() {
        command.args(["-e", &format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap())]);
    }
    command.args(arguments);
    Running::start(command, "", &environment.root().join("tmp")).finish(LIMIT)
}

#[test]
fn the_inspector_finds_no_fault_in_the_tools_and_calls_them() {
    let (_server, environment, repo) = setup();
    // Exit status 6 stands for a schema that hosts cannot take.
    let list = inspect(&environment, repo.path(), &["--method", "tools/list", "--strict"]).expect_code(0).json();
    assert_eq!(list["tools"].as_array().map(Vec::len), Some(14));
    let call = |tool: &str, arguments: &[&str]| {
        let words = ["--method", "tools/call", "--tool-name", tool, "--tool-arg"];
        inspect(&environment, repo.path(), &[&words[..], arguments].concat())
    };
    let review = call("codex_review", &["prompt=Go on?", "reasoning_effort=low"]).expect_code(0).json();
    assert_eq!((&review["isError"], &review["structuredContent"]["verdict"]), (&json!(false), &json!("GO")));
    let wrong = call("loop_start", &["planHash=sha256:none"]);
    assert!(wrong.stdout.contains("What to do: "), "{}\n{}", wrong.stdout, wrong.stderr);
    environment.assert_no_processes();
}

#[test]
fn claude_code_takes_the_server_by_its_one_line_and_its_model_gets_the_verdict() {
    let (server, environment, repo) = setup();
    let name = "mcp__cloop__codex_review".to_owned();
    let input = json!({"prompt": "Scale the pilot?", "reasoning_effort": "low"});
    let claude = Claude::new(
        environment,
        MessagesServer::start(move |request| match request.tool_result() {
            None => Turn::Tool { name: name.clone(), input: input.clone() },
            Some(result) => Turn::Text(result),
        }),
    );
    let program = env!("CARGO_BIN_EXE_loop-companion");
    claude.claude(repo.path(), ["mcp", "add", "cloop", "--", program, "mcp"]).expect_code(0);
    let list = claude.claude(repo.path(), ["mcp", "list"]).expect_code(0).stdout;
    assert!(list.contains("Connected"), "{list}");
    let document = claude.prompt(repo.path(), "Ask", &["--allowedTools", "mcp__cloop"]);
    let result = document["result"].as_str().unwrap();
    assert!(result.contains("\"verdict\":\"GO\"") || result.contains("# GO — Scale the pilot?"), "{document:#}");
    assert_eq!(document["permission_denials"], json!([]));
    assert_eq!(server.requests().len(), 1);
    claude.environment.assert_no_processes();
}

#[test]
fn codex_takes_the_server_by_its_one_line_and_its_model_gets_the_verdict() {
    // The Codex of the session, and the Codex that the server asks, have one endpoint.
    let server = ScriptedServer::start(|request| {
        let call = |name: &str, arguments: &Value| Reply::mcp_call("cloop", name, arguments);
        match (&request.schema, request.function_outputs().len()) {
            (Some(_), _) => Reply::json(&answer()),
            (None, 0) => call("codex_review", &json!({"prompt": "Scale the pilot?", "reasoning_effort": "low"})),
            (None, 1) => {
                call("should_request_review", &json!({"decision_type": "gate", "confidence": 0.5, "stakes": "high"}))
            }
            _ => Reply::message(request.function_outputs().join("\n")),
        }
    })
    .unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = environment.repo("project");
    repo.write("sub/a.txt", "one\n").commit("start");
    let mut add = environment.command(codex_bin(), repo.path());
    add.args(["mcp", "add", "cloop"]);
    // Codex hands its servers a core environment only.
    for name in ["CODEX_HOME", "LOOP_CODEX_BIN", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR"] {
        let value = &environment.env().iter().find(|(known, _)| known == name).unwrap().1;
        add.args(["--env", &format!("{name}={}", value.to_str().unwrap())]);
    }
    add.args(["--", env!("CARGO_BIN_EXE_loop-companion"), "mcp"]);
    Running::start(add, "", &environment.root().join("tmp")).finish(LIMIT).expect_code(0);
    // What docs/reviews.md says to add: a tool that asks a model needs the user's yes, and a review its time.
    let config = environment.codex_home().join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let settings = "[mcp_servers.cloop]\ndefault_tools_approval_mode = \"approve\"\ntool_timeout_sec = 900\n";
    fs::write(&config, text.replace("[mcp_servers.cloop]\n", settings)).unwrap();
    let run = environment.codex(&repo.path().join("sub"), ["--ephemeral", "-s", "read-only"], "Ask").expect_code(0);
    let events = run.json_lines();
    let said = events.iter().rev().find_map(|event| event["item"]["text"].as_str());
    let said = said.unwrap_or_else(|| panic!("{}", run.stdout));
    assert!(said.contains("GO") && said.contains("Go on.") && said.contains("the stakes are high"), "{}", run.stdout);
    assert!(repo.path().join("reviews/autonomous").is_dir(), "{}", run.stdout);
    let ledger = fs::read_to_string(environment.root().join("state/cloop/reviews/ledger.jsonl")).unwrap();
    let session = format!("\"session\":{}", events[0]["thread_id"]);
    assert!(ledger.contains(&session), "the budget is one of Codex's session: no {session} in {ledger}");
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
fn a_cancelled_call_ends_its_codex_while_the_server_and_other_calls_go_on() {
    let (server, environment, repo) = setup();
    let mut raw = Raw::start(&environment, repo.path());
    raw.introduce();
    for id in [2, 3] {
        raw.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "codex_review", "arguments": {"prompt": format!("{id}: no answer, please")}}}));
    }
    server.wait_for_requests(2, LIMIT).unwrap();
    let codex = || {
        let table = processes_of(environment.root());
        table.iter().filter(|entry| entry.command.contains("exec --json") && !entry.command.contains("__shim")).count()
    };
    assert_eq!(codex(), 2);
    for id in [2, 99] {
        raw.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while codex() != 1 {
        assert!(Instant::now() < deadline, "{:#?}", processes_of(environment.root()));
        std::thread::sleep(Duration::from_millis(10));
    }
    raw.send(&json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call",
        "params": {"name": "codex_review", "arguments": {"prompt": "And now?"}}}));
    assert_eq!(raw.answer(&json!(4))["result"]["structuredContent"]["verdict"], "GO");
    assert_eq!(codex(), 1);
}

#[test]
fn the_end_of_input_ends_the_server_and_its_codex_even_in_the_middle_of_calls() {
    ends_in_the_middle_of_calls(0, |raw| raw.input = None);
}

#[test]
fn a_signal_ends_the_server_and_its_codex_in_the_middle_of_calls_with_their_records_written() {
    ends_in_the_middle_of_calls(130, |raw| {
        // As Claude Code ends a session: the second comes while the first is being obeyed.
        let server = Pid::from_raw(i32::try_from(raw.child.id()).unwrap()).unwrap();
        for signal in [Signal::INT, Signal::TERM] {
            kill_process(server, signal).unwrap();
        }
    });
}

fn ends_in_the_middle_of_calls(code: i32, end: impl Fn(&mut Raw)) {
    let (server, environment, repo) = setup();
    let mut raw = Raw::start(&environment, repo.path());
    raw.introduce();
    for id in [2, 3] {
        raw.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "codex_review", "arguments": {"prompt": format!("{id}: no answer, please")}}}));
    }
    server.wait_for_requests(2, LIMIT).unwrap();
    end(&mut raw);
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = raw.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the server outlives its client");
        std::thread::sleep(Duration::from_millis(10));
    };
    // Of two signals at once, either may be seen first.
    let second = if code == 130 { 143 } else { code };
    assert!([Some(code), Some(second)].contains(&status.code()), "{status}");
    environment.assert_no_processes();
    let records = fs::read_dir(repo.path().join("reviews/autonomous")).unwrap();
    let stopped = records.filter(|record| {
        let text = fs::read_to_string(record.as_ref().unwrap().path()).unwrap();
        text.starts_with("# UNAVAILABLE") && text.contains("stopped")
    });
    assert_eq!(stopped.count(), 2, "the record says what became of them");
}
