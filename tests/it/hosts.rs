//! The plugin in sessions of the real Claude Code and the real Codex.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loop_companion::scripted::{Gate, ModelRequest, Reply, ScriptedServer};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::common::scene::{FAULTY, MENDED, SUM, mender, sum_files};
use crate::common::{Claude, MessagesServer, Repo, Step, TestEnvironment, Turn, TurnRequest, codex_bin};

/// Text that would do something if a shell or a template saw it. `{}` stands for the file it would make.
const HOSTILE: &str = "it's \"here\"; touch {} $(touch {}) `touch {}` && touch {} | touch {} \\ ${HOME} {{x}} !`touch {}`\nCLOOP_ARGS\ntouch {}\nüñí 🦊 'end";

fn environment() -> (ScriptedServer, TestEnvironment) {
    let server = ScriptedServer::start(mender().into_model()).unwrap();
    let environment = TestEnvironment::new(&server);
    (server, environment)
}

/// A repository whose path a shell would take apart.
fn repository(environment: &TestEnvironment) -> Repo {
    let repo = environment.repo("the user's \"repository\" for $5 `x`");
    repo.files(sum_files()).commit("The state with the fault");
    repo
}

#[test]
fn claude_code_takes_the_plugin_at_its_strictest_and_answers_typed_commands_without_a_turn() {
    let (_server, environment) = environment();
    let repo = repository(&environment);
    let claude = Claude::new(environment, MessagesServer::start(|_| Turn::Text("a turn was taken".into())));
    let root = claude.environment.root().to_owned();
    let folder = claude.plugin.to_str().unwrap();
    claude.claude(&root, ["plugin", "validate", "--strict", "--profile", "directory", folder]).expect_code(0);
    claude.install();
    let details = claude.claude(&root, ["--plugin-dir", folder, "plugin", "details", "cloop"]).expect_code(0).stdout;
    let always = details.lines().find(|line| line.contains("Always-on")).unwrap_or_else(|| panic!("{details}"));
    let tokens: u32 = always.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
    assert!((50..150).contains(&tokens), "{always}");
    println!("always on: {tokens} tokens");
    let cli = |words: &[&str]| claude.environment.cloop(repo.path(), words).stdout.trim_end().to_owned();
    let marker = root.join("made");
    let start = ["start", "--yes", "--test-cmd", "node --test", "--goal", "sum adds"];
    claude.environment.cloop(repo.path(), start).expect_code(0);
    let hostile = format!("/cloop:status {}", HOSTILE.replace("{}", marker.to_str().unwrap()));
    let refused = "error: unexpected argument".to_owned();
    for (typed, expected) in [
        ("/cloop:status", cli(&["status"])),
        ("/cloop:result --json", cli(&["result", "--json"])),
        ("/cloop:model spark low", "model gpt-5.3-codex-spark, effort low".to_owned()),
        ("/cloop:stop", cli(&["stop"])),
        (hostile.as_str(), refused.clone()),
        ("/cloop:iterate 5; rm -rf x", refused),
    ] {
        let document = claude.prompt(repo.path(), typed, &[]);
        let said = document["result"].as_str().unwrap();
        assert!(said.contains(&expected), "{typed}: no\n{expected}\nin\n{said}");
        let turns = (document["num_turns"].as_u64(), document["permission_denials"].as_array().map(Vec::len));
        assert_eq!(turns, (Some(0), Some(0)), "{document:#}");
    }
    assert_eq!(claude.model.requests().len(), 0);
    assert!(!marker.exists());
}

#[test]
fn without_hooks_the_command_files_answer_and_typed_text_still_runs_nothing() {
    let (_server, environment) = environment();
    let repo = repository(&environment);
    let claude = Claude::new(environment, MessagesServer::start(|_| Turn::Text("shown".into())));
    let plugin = claude.plugin.to_str().unwrap();
    let marker = claude.environment.root().join("made");
    let text = HOSTILE.replace("{}", marker.to_str().unwrap());
    let none = "No loop has run in this work tree.";
    let off = "{\"disableAllHooks\":true}";
    for (name, mode, expected) in [
        ("status", "default", none),
        ("result", "acceptEdits", "there is no loop in this work tree"),
        ("stop", "bypassPermissions", none),
        ("model", "default", "effort xhigh"),
        ("iterate", "bypassPermissions", "loop-companion\" iterate -n N"),
    ] {
        let before = claude.model.requests().len();
        let typed = format!("/cloop:{name} {text}");
        let document =
            claude.prompt(repo.path(), &typed, &["--plugin-dir", plugin, "--settings", off, "--permission-mode", mode]);
        assert_eq!(document["result"], "shown", "{name}: {document:#}");
        assert_eq!(document["permission_denials"], json!([]), "{name}");
        let requests = claude.model.requests();
        assert_eq!(requests.len(), before + 1, "{name}");
        assert!(requests[before].user_text().contains(expected), "{name}: {}", requests[before].user_text());
        assert!(!marker.exists(), "{name} in mode {mode} ran what was typed");
    }
    // The interview without an id: the model passes on the text itself.
    let folder = claude.plugin.clone();
    let goal = text.replace('\\', "\\x5C");
    claude.model.play(move |request| {
        if request.is_result() {
            return Turn::Text(request.newest());
        }
        Turn::bash(&format!(
            "\"{}\" start --plan --json --args-stdin <<'CLOOP_OTHER'\ngoal = \"\"\"\n{goal}\"\"\"\ntest-cmd = 'node \
             --test'\nCLOOP_OTHER",
            folder.join("bin/loop-companion").display()
        ))
    });
    for mode in ["default", "acceptEdits", "bypassPermissions"] {
        let typed = format!("/cloop:start {text}");
        let document =
            claude.prompt(repo.path(), &typed, &["--plugin-dir", plugin, "--settings", off, "--permission-mode", mode]);
        assert_eq!(document["permission_denials"], json!([]), "{mode}: {document:#}");
        let result = document["result"].as_str().unwrap();
        let plan: Value = serde_json::from_str(result).unwrap_or_else(|error| panic!("{mode}: {error} in {result}"));
        assert_eq!(plan["plan"]["goal"].as_str(), Some(text.as_str()), "{mode}");
        assert!(!marker.exists(), "start in mode {mode} ran what was typed");
    }
}

/// The id that stands for what was typed, as the hook tells it to the model.
fn typed_id(text: &str) -> &str {
    let (_, rest) = text.split_once("\"typed\":\"").unwrap_or_else(|| panic!("no id in:\n{text}"));
    rest.split('"').next().unwrap()
}

/// The Bash call that plans what was typed, as the command file leads to it.
fn plan_call(plugin: &Path, text: &str, flags: &str) -> Turn {
    let (program, id) = (plugin.join("bin/loop-companion"), typed_id(text));
    Turn::bash(&format!(
        "\"{}\" start --plan{flags} --args-stdin <<'CLOOP_ARGS'\ntyped = '{id}'\nCLOOP_ARGS",
        program.display()
    ))
}

/// A model that does as the command files say: plans what was typed, has the typed review run, shows what came.
fn obedient(plugin: PathBuf) -> impl Fn(&TurnRequest) -> Turn + Send + Sync + 'static {
    move |request| {
        let newest = request.newest();
        if request.is_result() {
            Turn::Text(request.tool_result().unwrap_or_default())
        } else if let Some((_, rest)) = newest.split_once("loop-companion host typed ") {
            let id: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
            Turn::bash(&format!("\"{}\" host typed {id}", plugin.join("bin/loop-companion").display()))
        } else if newest.contains("\"typed\":\"") {
            plan_call(&plugin, &newest, " --json")
        } else {
            Turn::Text(format!("nothing to do for: {newest}"))
        }
    }
}

/// What reviewed decisions get.
fn approval() -> Value {
    json!({
        "unread": [], "findings": [], "risks": [], "conditions": [], "priorities": [],
        "recommendation": "Go on.", "verdict": "GO", "confidence": 0.9,
    })
}

#[test]
fn hostile_arguments_of_every_command_run_nothing_in_any_permission_mode_and_arrive_byte_for_byte() {
    let server = ScriptedServer::start(|_| Reply::json(&approval())).unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = repository(&environment);
    let model = MessagesServer::start(obedient(Claude::folder(&environment)));
    let claude = Claude::new(environment, model);
    let plugin = claude.plugin.to_str().unwrap();
    let marker = claude.environment.root().join("made");
    let hostile = HOSTILE.replace("{}", marker.to_str().unwrap());
    let long = format!("{} {hostile}", "a goal of many words ".repeat(500));
    for mode in ["default", "acceptEdits", "plan", "auto", "dontAsk", "bypassPermissions"] {
        let text = if mode == "default" { &long } else { &hostile };
        let mut session = claude.conversation(repo.path(), &["--plugin-dir", plugin, "--permission-mode", mode]);
        for name in ["status", "stop", "result", "model", "iterate"] {
            let turns = claude.model.requests().len();
            let said = session.say(&format!("/cloop:{name} {text}"));
            assert!(said["result"].as_str().unwrap().contains("error: unexpected argument"), "{mode} {name}: {said:#}");
            assert_eq!(claude.model.requests().len(), turns, "{mode} {name} took a turn");
        }
        // One word is a model's name as it stands, whatever it looks like.
        let word = format!("$(touch${{IFS}}{mode})`x`");
        let said = session.say(&format!("/cloop:model {word}"));
        assert!(said["result"].as_str().unwrap().contains(&format!("model {word}")), "{mode}: {said:#}");
        let said = session.say(&format!("/cloop:start {text} --test-cmd \"node --test\" --max-iter 5 --model m"));
        assert_eq!(said["permission_denials"], json!([]), "{mode}: {said:#}");
        let result = said["result"].as_str().unwrap();
        let plan: Value = serde_json::from_str(result).unwrap_or_else(|error| panic!("{mode}: {error} in {result}"));
        assert_eq!(plan["plan"]["goal"].as_str(), Some(text.as_str()), "{mode}");
        assert_eq!(plan["plan"]["budget"]["maxIterations"], 5);
        let asked = server.requests().len();
        let said = session.say(&format!("/cloop:review {mode}: {text} --type gate --model m"));
        assert_eq!(said["permission_denials"], json!([]), "{mode}: {said:#}");
        assert!(said["result"].as_str().unwrap().contains("GO"), "{mode}: {said:#}");
        let prompts: Vec<_> = server.requests()[asked..].iter().map(|request| request.prompt.clone()).collect();
        assert!(prompts.iter().any(|prompt| prompt.contains(&format!("{mode}: {text}"))), "{mode}: {prompts:#?}");
        assert!(!marker.exists() && !repo.path().join(mode).exists(), "{mode} ran what was typed");
    }
    assert_eq!(repo.read(SUM), FAULTY);
}

/// Runs `codex` to its end and returns what it printed.
#[track_caller]
fn codex(environment: &TestEnvironment, arguments: &[&str]) -> String {
    let mut command = environment.command(codex_bin(), environment.root());
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn install_in_codex(claude: &Claude) {
    codex(&claude.environment, &["plugin", "marketplace", "add", claude.plugin.to_str().unwrap()]);
    codex(&claude.environment, &["plugin", "add", "cloop@codexloop"]);
}

#[test]
fn codex_takes_the_plugin_its_skill_reaches_the_model_and_its_server_starts() {
    let server = ScriptedServer::start(|_| Reply::message("read")).unwrap();
    let environment = TestEnvironment::new(&server);
    let claude = Claude::new(environment, MessagesServer::start(|_| Turn::Text(String::new())));
    let environment = &claude.environment;
    install_in_codex(&claude);
    let servers: Value = serde_json::from_str(&codex(environment, &["mcp", "list", "--json"])).unwrap();
    assert_eq!(servers[0]["transport"]["args"], json!(["mcp"]));
    let cwd = Path::new(servers[0]["transport"]["cwd"].as_str().unwrap());
    let program = cwd.join(servers[0]["transport"]["command"].as_str().unwrap());
    let version = Command::new(program).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("loop-companion {}\n", env!("CARGO_PKG_VERSION")));
    let run = environment.codex(environment.root(), ["--ephemeral", "-s", "read-only"], "$cloop:cloop how is it?");
    let run = run.expect_code(0);
    let request = &server.requests()[0];
    assert!(
        request.prompt.contains("# CodexLoop") || request.raw.to_string().contains("# CodexLoop"),
        "{}",
        run.stdout
    );
    assert!(request.raw.to_string().contains("mcp__cloop"), "the model is told of the tools: {:#}", request.raw);
}

#[test]
fn a_loop_that_one_host_starts_is_watched_in_the_other() {
    // The loop's own calls, and a conversation in Codex that looks at the loop, starts one, and sees it run.
    let mender = mender().into_model();
    let gate = Gate::new();
    let held = gate.clone();
    let place = std::sync::Arc::new(std::sync::OnceLock::<PathBuf>::new());
    let asked_of = std::sync::Arc::clone(&place);
    let server = ScriptedServer::start(move |request| {
        let asked = request.raw.to_string().contains("Watch the loop.");
        match (asked, request.function_outputs().len()) {
            (true, 0) => Reply::mcp_call("cloop", "loop_status", &json!({"cwd": asked_of.get()})),
            (true, _) => Reply::message("seen"),
            (false, _) => mender(request).after(&held),
        }
    })
    .unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = repository(&environment);
    place.set(repo.path().to_owned()).unwrap();
    let folder = Claude::folder(&environment);
    let claude = Claude::new(
        environment,
        MessagesServer::start(move |request| {
            let newest = request.newest();
            let program = folder.join("bin/loop-companion").display().to_string();
            match plan_hash(&newest) {
                Some(hash) => Turn::bash(&format!("\"{program}\" start --approved {hash} --background")),
                None if newest.contains("\"typed\":\"") => plan_call(&folder, &newest, ""),
                None if request.is_result() => Turn::Text(format!("{newest}\nCheck /cloop:status for progress.")),
                None => Turn::Tool { name: "mcp__plugin_cloop_cloop__loop_status".into(), input: json!({}) },
            }
        }),
    );
    claude.install();
    install_in_codex(&claude);
    let listed = claude.claude(repo.path(), ["mcp", "list"]).expect_code(0).stdout;
    assert!(listed.lines().any(|line| line.contains("plugin:cloop:cloop") && line.contains("Connected")), "{listed}");
    let typed = "/cloop:start --yes --background sum adds its two arguments --test-cmd \"node --test\"";
    let document = claude.prompt(repo.path(), typed, &[]);
    assert_eq!(document["permission_denials"], json!([]), "{document:#}");
    let said = document["result"].as_str().unwrap();
    assert!(said.contains("runs on its own") && said.ends_with("Check /cloop:status for progress."), "{said}");
    // A session that begins now is told so.
    let event = json!({ "cwd": repo.path() }).to_string();
    let hook = claude.environment.spawn_cloop(repo.path(), ["hook", "session-start"], &event);
    let line = hook.finish(std::time::Duration::from_secs(60)).json()["systemMessage"].clone();
    assert!(line.as_str().unwrap().starts_with("CodexLoop: a loop runs, iteration "), "{line}");
    // Seen from Codex, through the server of the plugin.
    let run = claude.environment.codex(repo.path(), ["--ephemeral", "-s", "read-only"], "Watch the loop.");
    let run = run.expect_code(0);
    let seen = server.requests().iter().flat_map(ModelRequest::function_outputs).collect::<String>();
    assert!(seen.contains("running") && seen.contains("sum adds its two arguments"), "{seen}\n{}", run.stdout);
    gate.release();
    claude.environment.cloop(repo.path(), ["wait", "--timeout", "60"]).expect_code(0);
    assert_eq!(repo.read(SUM), MENDED);
    // Seen from Claude Code through its server.
    let arguments = ["--allowedTools", "mcp__plugin_cloop_cloop"];
    let mut session = claude.conversation(repo.path(), &arguments);
    let said = session.say("How is the loop?");
    assert!(said["result"].as_str().unwrap().contains("goal-met"), "{said:#}");
    let servers = session.introduction["mcp_servers"].as_array().unwrap();
    let ours = servers.iter().find(|server| server["name"] == "plugin:cloop:cloop").unwrap();
    assert_eq!(ours["status"], "connected", "{servers:#?}");
}

#[test]
fn a_loop_that_codex_starts_is_watched_in_claude_code() {
    // The loop's own calls, and a conversation in Codex that plans a loop and starts it.
    let mender = mender().into_model();
    let gate = Gate::new();
    let held = gate.clone();
    let place = std::sync::Arc::new(std::sync::OnceLock::<PathBuf>::new());
    let started_in = std::sync::Arc::clone(&place);
    let server = ScriptedServer::start(move |request| {
        if !request.raw.to_string().contains("Start a loop, please.") {
            return mender(request).after(&held);
        }
        let given = request.function_outputs();
        let call = |tool, arguments: &Value| Reply::mcp_call("cloop", tool, arguments);
        match given.as_slice() {
            [] => {
                let options = json!({"test-cmd": "node --test", "max-iter": 4});
                let goal = "sum \"adds\"; touch x";
                call("loop_plan", &json!({"cwd": started_in.get(), "goal": goal, "options": options}))
            }
            [plan] => {
                let hash = plan.split("sha256:").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_hexdigit));
                let hash = format!("sha256:{}", hash.map(String::from_iter).unwrap_or_default());
                call("loop_start", &json!({"cwd": started_in.get(), "planHash": hash}))
            }
            [.., launched] => Reply::message(launched),
        }
    })
    .unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = repository(&environment);
    place.set(repo.path().to_owned()).unwrap();
    let claude = Claude::new(environment, MessagesServer::start(|_| Turn::Text("a turn was taken".into())));
    claude.install();
    install_in_codex(&claude);
    // Without a person at hand Codex lets a tool that changes files run only where the user has said so.
    let config = claude.environment.codex_home().join("config.toml");
    let approved = "\n[plugins.\"cloop@codexloop\".mcp_servers.cloop]\ndefault_tools_approval_mode = \"approve\"\n";
    let text = std::fs::read_to_string(&config).unwrap() + approved;
    std::fs::write(&config, text).unwrap();
    let run = claude.environment.codex(repo.path(), ["--ephemeral", "-s", "read-only"], "Start a loop, please.");
    let run = run.expect_code(0);
    // The tool returned at once and the session of Codex is over; the loop lives.
    let status = claude.environment.cloop(repo.path(), ["status", "--json"]).expect_code(0).json();
    assert_eq!(
        (&status["status"], &status["goal"]),
        (&json!("running"), &json!("sum \"adds\"; touch x")),
        "{}",
        run.stdout
    );
    let typed = |expected: &[&str]| {
        let document = claude.prompt(repo.path(), "/cloop:status", &[]);
        assert_eq!(document["num_turns"], 0, "{document:#}");
        let said = document["result"].as_str().unwrap();
        assert!(expected.iter().all(|part| said.contains(part)), "no {expected:?} in {said}");
    };
    typed(&["running", "sum \"adds\"; touch x"]);
    // A session that begins tells the model of it, and in a terminal the user.
    claude.prompt(repo.path(), "Hello", &[]);
    let told = claude.model.requests()[0].user_text();
    let line = "CodexLoop: a loop runs, iteration ";
    assert!(told.contains(line) && told.contains("(goal: sum \"adds\"; touch x)"), "{told}");
    let session = claude.session(repo.path(), &[]);
    session.wait_for("line", |screen| screen.contains(line));
    drop(session);
    gate.release();
    claude.environment.cloop(repo.path(), ["wait", "--timeout", "60"]).expect_code(0);
    typed(&["goal met", "sum \"adds\"; touch x"]);
    assert_eq!((repo.read(SUM), claude.model.requests().len()), (MENDED.to_owned(), 1));
}

/// The hash in a printed plan.
fn plan_hash(text: &str) -> Option<&str> {
    text.rsplit_once("Plan hash: ")?.1.split_whitespace().next()
}

#[test]
fn typed_commands_are_answered_from_a_plugin_folder_with_every_kind_of_quote() {
    let (_server, environment) = environment();
    let repo = repository(&environment);
    let model = MessagesServer::start(|_| Turn::Text("a turn was taken".into()));
    let plugin = environment.root().join("Ada's \"own\" $5 `plugin` \\ folder");
    let claude = Claude::staged(environment, model, plugin);
    let plugin = claude.plugin.to_str().unwrap();
    let document = claude.prompt(repo.path(), "/cloop:status", &["--plugin-dir", plugin]);
    assert!(document["result"].as_str().unwrap().contains("No loop has run"), "{document:#}");
    assert_eq!(document["num_turns"], 0);
    // The command file is spliced into a shell line by the host: where it cannot be read, nothing of it runs.
    let off = "{\"disableAllHooks\":true}";
    let arguments = ["--plugin-dir", plugin, "--settings", off, "--permission-mode", "bypassPermissions"];
    let document = claude.prompt(repo.path(), "/cloop:stop", &arguments);
    println!("without hooks: {}", document["result"]);
    assert_eq!(repo.git(["status", "--porcelain"]), "");
}

#[test]
fn an_interview_that_cannot_go_on_says_what_to_do() {
    let (_server, environment) = environment();
    let repo = repository(&environment);
    let folder = environment.root().join("no repository");
    std::fs::create_dir(&folder).unwrap();
    let program = Claude::folder(&environment).join("bin/loop-companion").display().to_string();
    let model = MessagesServer::start(move |request| {
        if request.is_result() {
            Turn::Text(request.newest())
        } else {
            Turn::bash(&format!("\"{program}\" preflight --json"))
        }
    });
    let mut claude = Claude::new(environment, model);
    let plugin = claude.plugin.to_str().unwrap().to_owned();
    let arguments = ["--plugin-dir", plugin.as_str()];
    let told = |claude: &Claude, cwd: &Path, typed: &str, expected: &[&str]| {
        let document = claude.prompt(cwd, typed, &arguments);
        assert_eq!(document["permission_denials"], json!([]), "{document:#}");
        for text in expected {
            assert!(document["result"].as_str().unwrap().contains(text), "{typed}: no {text} in {document:#}");
        }
    };
    told(&claude, &folder, "/cloop:start sum adds", &["\"ok\": false", "git init"]);
    repo.write("left over.txt", "text\n");
    told(&claude, repo.path(), "/cloop:start sum adds", &["\"ok\": false", "left over.txt", "commit or stash"]);
    claude.environment.set("LOOP_CODEX_BIN", "/nowhere/codex");
    told(
        &claude,
        repo.path(),
        "/cloop:start sum adds",
        &["\"ok\": false", "npm install -g @openai/codex", "codex login"],
    );
    // Typed together they reach the model, who asks; what the program does not take is said at once.
    let turns = claude.model.requests().len();
    told(&claude, repo.path(), "/cloop:start sum adds --wait --background --max-iter 3", &[]);
    let first = claude.model.requests()[turns].newest();
    assert!(first.contains("\"wait\":true") && first.contains("\"background\":true"), "{first}");
    assert!(first.contains("\"typed\":\"") && first.contains("\"max-iter\":3"), "{first}");
    let turns = claude.model.requests().len();
    told(&claude, repo.path(), "/cloop:start sum adds --max-itr 3", &["unexpected argument '--max-itr'", "--max-iter"]);
    told(&claude, repo.path(), "/cloop:start --help", &["Usage: loop-companion start"]);
    assert_eq!(claude.model.requests().len(), turns);
}

#[test]
fn an_interactive_session_leads_through_the_whole_interview_to_a_loop_and_hears_of_its_end() {
    let gate = Gate::new();
    let model = mender().into_model();
    let held = gate.clone();
    let server = ScriptedServer::start(move |request| model(request).after(&held)).unwrap();
    let environment = TestEnvironment::new(&server);
    let repo = repository(&environment);
    let program = Claude::folder(&environment).join("bin/loop-companion").display().to_string();
    let plan = |program: &str, request: &TurnRequest, iterations: u32| {
        let id = typed_id(&request.user_text()).to_owned();
        Turn::bash(&format!(
            "\"{program}\" start --plan --args-stdin <<'CLOOP_ARGS'\ntyped = '{id}'\ngoal = 'sum returns the sum of its \
             arguments'\ntest-cmd = 'node --test'\nmax-iter = {iterations}\nmax-time = '30m'\nCLOOP_ARGS"
        ))
    };
    let approve = |request: &TurnRequest| {
        let choices = ["Start (recommended)", "Edit the goal", "Edit plan details", "Cancel"];
        Turn::ask(&request.newest(), &[("Approval", "Start this loop?", &choices)])
    };
    let own = program.clone();
    let call = move |words: &'static str| -> Step {
        let program = own.clone();
        Box::new(move |_| Turn::bash(&format!("\"{program}\" {words}")))
    };
    let (first, second, last) = (program.clone(), program.clone(), program);
    let steps: Vec<Step> = vec![
        call("preflight --json"),
        Box::new(|_| Turn::ask("", &[("Goal", "What is to be fixed?", &["sum subtracts", "the tests are slow"])])),
        Box::new(|_| {
            Turn::ask("sum returns the sum of its arguments.", &[("Goal", "Is that the goal?", &["Yes", "No"])])
        }),
        call("detect --json"),
        Box::new(|_| {
            Turn::ask(
                "",
                &[
                    ("Rounds", "How many iterations?", &["5", "10", "20"]),
                    ("Time", "How long?", &["15m", "30m", "1h", "3h"]),
                    ("Running", "Wait for it?", &["Background (recommended)", "Wait"]),
                ],
            )
        }),
        Box::new(move |request| plan(&first, request, 5)),
        Box::new(approve),
        Box::new(|_| Turn::ask("", &[("Rounds", "How many iterations now?", &["10", "20"])])),
        Box::new(move |request| plan(&second, request, 10)),
        Box::new(approve),
        Box::new(move |request| {
            let hash = plan_hash(&request.user_text()).unwrap_or("none").to_owned();
            Turn::bash(&format!("\"{last}\" start --approved {hash} --background"))
        }),
        Box::new(|request| Turn::Text(format!("{}\n\nCheck /cloop:status for progress.", request.newest()))),
        Box::new(|request| Turn::Text(format!("I was told: {}", request.newest()))),
    ];
    let claude = Claude::new(environment, MessagesServer::steps(steps));
    let session =
        claude.session(repo.path(), &["--plugin-dir", claude.plugin.to_str().unwrap(), "--permission-mode", "default"]);
    session.line("/cloop:status");
    session.wait_for("status", |screen| screen.contains("No loop has run in this work tree"));
    assert_eq!(claude.model.requests().len(), 0, "a status takes no turn");
    session.line("/cloop:start fix it --max-calls 50");
    session.choose("What is to be fixed?", "sum subtracts");
    session.choose("Is that the goal?", "Yes");
    session.choose("How many iterations?", "5");
    session.choose("How long?", "30m");
    session.choose("Wait for it?", "Background (recommended)");
    session.choose("Review your answers", "Submit answers");
    session.choose("Start this loop?", "Edit plan details");
    session.choose("How many iterations now?", "10");
    let screen = session.choose("Start this loop?", "Start (recommended)");
    assert!(screen.contains("Plan hash:"), "{screen}");
    session.wait_for("start", |screen| screen.contains("Check /cloop:status for progress."));
    let status = claude.environment.cloop(repo.path(), ["status", "--json"]).expect_code(0).json();
    assert_eq!(status["status"], "running", "{status:#}");
    assert_eq!(status["goal"], "sum returns the sum of its arguments");
    let budget = &status["budget"];
    let most = [&budget["iterations"]["max"], &budget["timeMs"]["max"], &budget["calls"]["max"]];
    assert_eq!(most, [&json!(10), &json!(1_800_000), &json!(50)], "what was answered, and the flag that was typed");
    gate.release();
    session.wait_for_bytes("desktop notification", b"\x1b]9;CodexLoop: the loop ended, goal-met");
    session.wait_for("notice", |screen| screen.contains("I was told:") && screen.contains("goal-met"));
    let turns = claude.model.requests().len();
    assert_eq!(turns, 13, "one turn for the notice");
    session.line("/cloop:result");
    session.wait_for("result", |screen| screen.contains("sum.js"));
    assert_eq!(claude.model.requests().len(), turns, "a result takes no turn");
    // What the calls gave, in the order of the phases.
    let requests = claude.model.requests();
    let given: Vec<String> = requests.iter().map(TurnRequest::newest).collect();
    for (index, expected) in [
        (1, "\"ok\": true"),
        (2, "sum subtracts"),
        (3, "Yes"),
        (4, "\"proposals\""),
        (5, "Background (recommended)"),
        (6, "Plan hash: "),
        (7, "Edit plan details"),
        (8, "10"),
        (9, "Plan hash: "),
        (10, "Start (recommended)"),
        (11, "runs on its own"),
        (12, "CodexLoop: the loop ended, goal-met"),
    ] {
        assert!(given[index].contains(expected), "turn {index} got no {expected}: {}", given[index]);
    }
    drop(session);
    claude.environment.cloop(repo.path(), ["wait", "--timeout", "60"]).expect_code(0);
    claude.environment.assert_no_processes();
    // Another session is not told again. A loop that a terminal starts meanwhile ends in a notification, without a turn.
    let arguments = ["--plugin-dir", claude.plugin.to_str().unwrap()];
    let session = claude.session(repo.path(), &arguments);
    let start = ["start", "--yes", "--allow-dirty", "--test-cmd", "node --test", "--goal", "it stays so"];
    claude.environment.cloop(repo.path(), start).expect_code(0);
    session.wait_for_bytes("desktop notification", b"\x1b]9;CodexLoop: the loop ended, already-met");
    assert!(!session.screen().contains("goal-met (goal: sum returns"), "{}", session.screen());
    drop(session);
    // Nobody has shown that end yet, so the next session says it.
    let session = claude.session(repo.path(), &arguments);
    session.wait_for("line", |screen| screen.contains("CodexLoop: the loop ended, already-met"));
    assert_eq!(claude.model.requests().len(), turns);
}
