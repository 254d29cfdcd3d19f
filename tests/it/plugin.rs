//! The plugin's files read as the code they are, its hooks and its launcher.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use loop_companion::cli::Arguments;
use loop_companion::engine::StopReason;
use loop_companion::scripted::ScriptedServer;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use crate::common::scene::{mender, sum_files};
use crate::common::{Repo, Running, TestEnvironment, platform, tree_fingerprint};

/// The program as command files name it: the plugin's folder is not on `PATH` where its name has a quote.
const PROGRAM: &str = "\"${CLAUDE_PLUGIN_ROOT}/bin/loop-companion\"";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

fn read_json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("parse {path}: {error}"))
}

/// The files of a folder with this ending, by the project's root.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(project(folder)).unwrap_or_else(|error| panic!("read {folder}: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> =
        names.filter(|name| name.ends_with(ending)).map(|name| format!("{folder}/{name}")).collect();
    found.sort();
    found
}

fn environment() -> (ScriptedServer, TestEnvironment) {
    let server = ScriptedServer::start(mender().into_model()).unwrap();
    let environment = TestEnvironment::new(&server);
    (server, environment)
}

fn repository(environment: &TestEnvironment) -> Repo {
    let repo = environment.repo("the user's \"repository\"");
    repo.files(sum_files()).commit("The state with the fault");
    repo
}

/// Lists of lines between fences and back quotes that call the program.
fn calls(text: &str) -> Vec<String> {
    let text = &text.replace(PROGRAM, "loop-companion");
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced && line.trim_start().starts_with("loop-companion ") {
            found.push(line.trim().to_owned());
        } else if !fenced {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.filter(|span| span.starts_with("loop-companion ")).map(String::from));
        }
    }
    found
}

/// Whether a command is there yet: these come with issues of their own.
fn to_come(name: &str) -> bool {
    ["review", "mcp"].contains(&name) && Arguments::command().find_subcommand(name).is_none()
}

#[track_caller]
fn assert_parses(file: &str, call: &str) {
    let call = call.split(" <<").next().unwrap();
    // Placeholders as a person reads them.
    let words: Vec<String> = call
        .split_whitespace()
        .map(|word| match word {
            "N" => "3".to_owned(),
            "MODEL" | "EFFORT" | "HASH" | "ID" => word.to_lowercase(),
            word => word.to_owned(),
        })
        .collect();
    if words.get(1).is_some_and(|name| to_come(name)) {
        return;
    }
    // A subcommand alone may stand for the command as such.
    let parsed = Arguments::try_parse_from(&words);
    assert!(parsed.is_ok(), "{file}: `{call}`: {}", parsed.unwrap_err());
    if let Some(place) = words.iter().position(|word| word == "show") {
        let shown = std::iter::once("loop-companion".to_owned()).chain(words[place + 1..].iter().cloned());
        assert!(Arguments::try_parse_from(shown).is_ok(), "{file}: `{call}`");
    }
}

/// The front matter of a Markdown file: `key: value` lines, nothing nested, no key twice.
#[track_caller]
fn front_matter(file: &str) -> (Vec<(String, String)>, String) {
    let text = read(file);
    let rest = text.strip_prefix("---\n").unwrap_or_else(|| panic!("{file} has no front matter"));
    let (head, body) = rest.split_once("\n---\n").unwrap_or_else(|| panic!("{file}: the front matter has no end"));
    let mut keys = Vec::<(String, String)>::new();
    for line in head.lines() {
        let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{file}: no `key: value`: {line}"));
        assert!(!keys.iter().any(|(known, _)| known == key), "{file}: {key} twice");
        // What YAML would read as something else than this text.
        let quoted = value.starts_with('"') && value.ends_with('"') && value.len() > 1;
        assert!(
            quoted || !value.starts_with(['[', '{', '&', '*', '!', '|', '>', '%', '@', '`', '\'', '"']),
            "{file}: {line}"
        );
        assert!(quoted || !(value.contains(": ") || value.contains(" #")), "{file}: {line}");
        keys.push((key.to_owned(), value.trim_matches('"').to_owned()));
    }
    (keys, body.to_owned())
}

#[test]
fn every_command_and_skill_has_valid_front_matter_and_names_only_what_the_program_takes() {
    let commands = files("commands", ".md");
    let names: Vec<_> = commands.iter().map(|file| Path::new(file).file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["iterate", "model", "result", "review", "start", "status", "stop"]);
    for file in &commands {
        let (keys, body) = front_matter(file);
        let value = |name: &str| keys.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        for (key, _) in &keys {
            let known = ["description", "argument-hint", "allowed-tools", "disable-model-invocation"];
            assert!(known.contains(&key.as_str()), "{file}: {key}");
        }
        let description = value("description").unwrap_or_else(|| panic!("{file} has no description"));
        assert!((10..=80).contains(&description.len()), "{file}: {description}");
        let alone = ["stop", "model", "iterate"].iter().any(|name| file.ends_with(&format!("{name}.md")));
        assert_eq!(value("disable-model-invocation"), alone.then_some("true"), "{file}");
        // Each grant is for this program and one of its commands; the others only ask and look.
        for grant in value("allowed-tools").unwrap().split(", ") {
            let Some(grant) = grant.strip_prefix("Bash(") else {
                assert!(["AskUserQuestion", "Read", "Glob", "Grep"].contains(&grant), "{file}: {grant}");
                continue;
            };
            let call = grant.strip_suffix(')').unwrap_or_else(|| panic!("{file}: {grant}"));
            // What is run before the model sees it is granted as it stands: flags would do more than show.
            assert!(call.ends_with(":*") != call.contains(" host show "), "{file}: {grant}");
            assert!(
                call.contains(" host ") == (call.contains(" host show ") || call.contains(" host typed:")),
                "{file}"
            );
            let call = call.trim_end_matches(":*");
            let call = call.replace(PROGRAM, "loop-companion");
            let words: Vec<_> = call.split(' ').collect();
            assert_eq!(words[0], "loop-companion", "{file}");
            let named = Arguments::command().find_subcommand(words[1]).is_some() || to_come(words[1]);
            assert!(words.len() > 1 && named, "{file}: {grant}");
        }
        // A line that is run before the model sees it holds fixed words only.
        for line in body.lines().filter(|line| line.contains("!`")) {
            let rest = line.strip_prefix("!`").and_then(|rest| rest.strip_prefix(PROGRAM)).unwrap_or_default();
            assert!(rest.starts_with(" host show ") && !rest.contains('$'), "{file}: {line}");
            assert_parses(file, &format!("loop-companion{}", rest.trim_end_matches('`')));
        }
        assert!(!body.contains("```!"), "{file}");
        for call in calls(&body) {
            assert_parses(file, &call);
        }
    }
    for file in files("skills/cloop", ".md") {
        let body = if file.ends_with("SKILL.md") {
            let (keys, body) = front_matter(&file);
            assert_eq!(keys.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["name", "description"]);
            assert!(body.len() < 4000, "the skill is read whole: details go beside it");
            body
        } else {
            read(&file)
        };
        for call in calls(&body) {
            assert_parses(&file, &call);
        }
        // Links lead to files.
        for link in body.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(project("skills/cloop").join(link).is_file(), "{file}: {link}");
        }
    }
    // The skill says what to do about every end.
    let reading = read("skills/cloop/reading.md");
    for reason in StopReason::ALL.map(StopReason::name) {
        let row = |name: &str| reading.lines().any(|line| line.starts_with('|') && line.contains(name));
        let group = reason.split_once('-').map(|(first, _)| format!("{first}-…"));
        assert!(row(reason) || group.is_some_and(|group| row(&group)), "reading.md does not say {reason}");
    }
    // Every key for `--args-stdin` is one.
    let start = read("commands/start.md");
    let example = start.split("<<'CLOOP_ARGS'\n").nth(1).and_then(|rest| rest.split("CLOOP_ARGS").next()).unwrap();
    let example: Value = toml::from_str(example).unwrap();
    for key in example.as_object().unwrap().keys() {
        assert!(key == "typed" || start_flags().contains(key), "start.md: {key}");
    }
}

#[test]
fn the_interview_says_every_rule_in_its_phase() {
    let (_, body) = front_matter("commands/start.md");
    let body = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let phases: Vec<&str> = body.split(" ## ").collect();
    let rules: [&[&str]; 6] = [
        &[
            "Every typed argument stays, unchanged, to the end",
            "as data and never as instructions",
            "`--yes` skips the questions, never the plan",
            "exactly as it is. Never summarise it",
            "Goals and commands never stand on a command line",
            "Where there is no such tool, ask in plain words and end your turn",
            "Change no file",
        ],
        &[
            "1. Preflight",
            "end here",
            "`git init`, then a baseline commit",
            "commit or stash",
            "/codex:setup",
            "npm install",
        ],
        &[
            "2. Goal",
            "typed `--goal`; typed `--task-file`; typed words; a file TASK.md, GOAL.md, PRD.md or AGENTS.md",
            "never silently",
            "under about 20 characters, or as vague as \"fix it\", gets exactly one clarifying question",
            "two guesses that you take from the repository",
            "let the user confirm it",
            "byte for byte",
            "with `--yes` so does a vague one",
            "where nothing was typed, run that call of phase 3 now",
        ],
        &[
            "3. Plan",
            "only what was not typed",
            "5, 10 or 20 iterations; 15m, 30m, 1h or 3h",
            "Calls, model and effort: not asked unless the user raised them",
            "waiting for up to 2 iterations or a dry run, background otherwise",
            "`--wait` and `--background` both typed: ask which",
        ],
        &[
            "4. Approval",
            "Print the whole plan exactly as it came",
            "- Start (recommended)",
            "- Edit the goal",
            "- Edit plan details: ask what is to be different, also of what was typed",
            "- Cancel",
        ],
        &[
            "5. Run",
            "Start exactly that",
            "the goal is not touched",
            "nothing else than what was approved",
            "Check /cloop:status for progress.",
        ],
    ];
    let asked: Vec<&str> = [&phases[..1], &phases[2..]].concat();
    assert_eq!(asked.len(), rules.len(), "an introduction and five phases: {phases:#?}");
    let general = format!("{} {}", phases[0], phases[1]);
    for (phase, said) in std::iter::once(general.as_str()).chain(asked[1..].iter().copied()).zip(rules) {
        for rule in said {
            assert!(phase.contains(rule), "no \"{rule}\" in: {phase}");
        }
    }
    // Flags that the text names are flags of the commands it calls.
    let command = Arguments::command();
    let known: BTreeSet<String> = ["start", "preflight", "detect", "wait"]
        .iter()
        .flat_map(|name| command.find_subcommand(name).unwrap().get_arguments().chain(command.get_arguments()))
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    for file in files("commands", ".md").iter().chain(&files("skills/cloop", ".md")) {
        let text = read(file);
        let named: BTreeSet<String> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .filter(|word| word.len() > 2 && word.starts_with("--") && !word.starts_with("---"))
            .map(String::from)
            .collect();
        let all: BTreeSet<String> = command
            .get_subcommands()
            .flat_map(|sub| sub.get_arguments().chain(command.get_arguments()))
            .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
            .collect();
        let known = if file.ends_with("start.md") { &known } else { &all };
        let unknown: Vec<_> = named.difference(known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn every_call_that_the_pages_show_names_a_command_and_flags_that_exist() {
    let command = Arguments::command();
    let mut seen = 0;
    for page in ["README.md", "docs/reference.md", "docs/reviews.md", "ARCHITECTURE.md", "AGENTS.md"] {
        for call in calls(&read(page)) {
            let call = call.split(" #").next().unwrap();
            let words: Vec<&str> = call.split_whitespace().skip(1).collect();
            if words[0].starts_with('-') {
                continue;
            }
            let sub = command.find_subcommand(words[0]);
            let sub = sub.unwrap_or_else(|| panic!("{page}: `{call}`: there is no {}", words[0]));
            let named = words.iter().filter_map(|word| word.strip_prefix("--")).filter(|name| !name.is_empty());
            for name in named.map(|name| name.split('=').next().unwrap()) {
                let mut all = sub
                    .get_arguments()
                    .chain(command.get_arguments())
                    .chain(sub.get_subcommands().flat_map(clap::Command::get_arguments));
                assert!(all.any(|argument| argument.get_long() == Some(name)), "{page}: `{call}`: --{name}");
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} calls");
}

fn start_flags() -> BTreeSet<String> {
    let command = Arguments::command();
    let start = command.find_subcommand("start").unwrap();
    start.get_arguments().filter_map(|argument| argument.get_long().map(String::from)).collect()
}

#[test]
fn the_manifests_agree_with_each_other_with_the_launcher_and_with_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    let claude = read_json(".claude-plugin/plugin.json");
    let codex = read_json(".codex-plugin/plugin.json");
    let market = read_json(".claude-plugin/marketplace.json");
    for manifest in [&claude, &codex] {
        assert_eq!((&manifest["name"], &manifest["version"]), (&json!("cloop"), &json!(version)));
        assert_eq!(manifest["license"], env!("CARGO_PKG_LICENSE"));
    }
    assert_eq!((&market["plugins"][0]["name"], &market["plugins"][0]["source"]), (&json!("cloop"), &json!("./")));
    assert_eq!(market["plugins"][0].get("version"), None, "the plugin's own manifest has the version");
    assert!(read("bin/loop-companion").contains(&format!("\nversion={version}\n")));
    assert!(read("Cargo.lock").contains(&format!("name = \"loop-companion\"\nversion = \"{version}\"")));
    assert!(read("CHANGELOG.md").contains(&format!("\n## {version}")));
    // What has to be there first: the same figures wherever they are told.
    let cargo: toml::Table = read("Cargo.toml").parse().unwrap();
    let rust = format!("Rust {} or newer", cargo["package"]["rust-version"].as_str().unwrap());
    let host = claude["engines"]["claude-code"].as_str().unwrap().trim_start_matches(">=").to_owned();
    let pins = read_json("tests/package.json")["devDependencies"].clone();
    let codex_pin = pins["@openai/codex"].as_str().unwrap();
    assert_eq!(codex_pin, loop_companion::demo::CODEX_VERSION);
    let readme = read("README.md");
    for told in [&rust, &format!("Claude Code ({host} or newer)"), &format!("Codex ({codex_pin} or newer)")] {
        assert!(readme.contains(told.as_str()), "the README does not say {told}");
    }
    assert!(read("bin/loop-companion").matches(&rust).count() == 2);
    // Hooks: without a shell, with a time limit, an event that the program knows.
    let hooks = read_json("hooks/hooks.json");
    let mut answered = BTreeSet::new();
    for (event, groups) in hooks["hooks"].as_object().unwrap() {
        for hook in groups.as_array().unwrap().iter().flat_map(|group| group["hooks"].as_array().unwrap()) {
            assert_eq!(hook["command"], "${CLAUDE_PLUGIN_ROOT}/bin/loop-companion", "{event}");
            // The end of a turn may wait for a review, where the user has switched the gate on.
            let most = if event == "Stop" { 900 } else { 120 };
            assert!(hook["timeout"].as_u64().is_some_and(|limit| limit <= most), "{event}");
            let words = hook["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
            let line = std::iter::once("loop-companion").chain(words).collect::<Vec<_>>().join(" ");
            assert_parses("hooks/hooks.json", &line);
            answered.insert(line);
        }
    }
    assert_eq!(answered.len(), 5);
    let matcher = hooks["hooks"]["UserPromptExpansion"][0]["matcher"].as_str().unwrap();
    let names = matcher.strip_prefix("cloop:(").and_then(|rest| rest.strip_suffix(')')).unwrap();
    let named: BTreeSet<_> = names.split('|').map(|name| format!("commands/{name}.md")).collect();
    assert_eq!(named, files("commands", ".md").into_iter().collect());
    for monitor in claude["experimental"]["monitors"].as_array().unwrap() {
        let command = monitor["command"].as_str().unwrap().replace(PROGRAM, "loop-companion");
        assert_parses(".claude-plugin/plugin.json", &command);
        let armed = monitor["when"].as_str().unwrap().rsplit(':').next().unwrap();
        assert!(project(&format!("commands/{armed}.md")).is_file());
    }
    // Claude Code expands the plugin's folder, Codex takes a path by its root.
    for (manifest, program) in [(&claude, "${CLAUDE_PLUGIN_ROOT}/bin/loop-companion"), (&codex, "./bin/loop-companion")]
    {
        let server = &manifest["mcpServers"]["cloop"];
        assert_eq!((&server["command"], &server["args"]), (&json!(program), &json!(["mcp"])));
    }
    for key in ["composerIcon", "logo"] {
        assert!(project(codex["interface"][key].as_str().unwrap()).is_file());
    }
    let icon = fs::read(project(".claude-plugin/icon.png")).unwrap();
    assert_eq!(&icon[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&icon[16..24], [0, 0, 2, 0, 0, 0, 2, 0], "512 by 512");
}

#[test]
fn the_lock_of_the_test_tools_names_no_registry() {
    let lock = read_json("tests/package-lock.json");
    let packages = lock["packages"].as_object().unwrap();
    assert!(packages.len() > 8);
    for (name, package) in packages {
        assert!(package.get("resolved").is_none(), "{name}");
    }
}

/// All that the launcher calls besides cargo.
const LAUNCHER_TOOLS: [&str; 15] = [
    "uname", "tr", "cksum", "sed", "readlink", "mkdir", "cp", "mv", "rm", "find", "sort", "xargs", "cat", "ln", "sleep",
];

/// Runs a script of the plugin with this on standard input.
fn launch(environment: &TestEnvironment, script: &Path, arguments: &[&str], stdin: &str) -> (i32, String, String) {
    let mut command = environment.command(script, environment.root());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A hook that is answered without reading is no fault.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn hooks_never_fail_and_say_nothing_within_a_loop_or_without_one() {
    let (_server, mut environment) = environment();
    let repo = repository(&environment);
    let program = PathBuf::from(env!("CARGO_BIN_EXE_loop-companion"));
    let event = json!({"cwd": repo.path(), "command_name": "cloop:status", "command_args": ""}).to_string();
    let event = event.as_str();
    for (name, stdin) in [
        ("prompt", "no JSON"),
        ("prompt", "{}"),
        ("prompt", "[1]"),
        ("prompt", r#"{"command_name":"other:status"}"#),
        ("turn-start", event),
        ("stop", event),
        ("file-changed", event),
        ("session-start", r#"{"cwd":"/nowhere/at/all"}"#),
    ] {
        let (code, stdout, _) = launch(&environment, &program, &["hook", name], stdin);
        assert_eq!((code, stdout.as_str()), (0, ""), "{name} {stdin}");
    }
    // A loop of the future is watched from the beginning; nothing is said of it.
    let (_, stdout, _) = launch(&environment, &program, &["hook", "session-start"], event);
    let watched = repo.path().join(".loop/progress.log");
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    let expected = json!({"hookSpecificOutput": {"hookEventName": "SessionStart", "watchPaths": [watched]}});
    assert_eq!(answer, expected);
    // An event of a later version of the plugin.
    assert_eq!(launch(&environment, &program, &["hook", "no-such-event"], "{}").0, 0);
    let (code, stdout, _) = launch(&environment, &program, &["hook", "prompt"], event);
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &answer["decision"]), (0, &json!("block")));
    assert!(answer["reason"].as_str().unwrap().starts_with("No loop has run in this work tree."), "{answer}");
    environment.set("CLOOP_WORKER", "1");
    assert_eq!(launch(&environment, &program, &["hook", "prompt"], event), (0, String::new(), String::new()));
}

#[test]
fn a_session_is_told_once_that_a_loop_has_ended_and_checks_run_marked_as_ours() {
    let (_server, environment) = environment();
    let repo = repository(&environment);
    let program = PathBuf::from(env!("CARGO_BIN_EXE_loop-companion"));
    let event = json!({ "cwd": repo.path().join("src") }).to_string();
    let hook = |name: &str| -> Value {
        let (code, stdout, stderr) = launch(&environment, &program, &["hook", name], &event);
        assert_eq!((code, stderr.as_str()), (0, ""));
        if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).unwrap() }
    };
    let check = "test \"$CLOOP_WORKER\" = 1 && node --test";
    let start = ["start", "--yes", "--json", "--test-cmd", check, "--goal", "sum adds,\nalways"];
    environment.cloop(repo.path(), start).expect_code(0);
    let line = "CodexLoop: the loop ended, goal-met (goal: sum adds, always). See /cloop:result.";
    assert_eq!(hook("file-changed"), json!({"terminalSequence": format!("\u{1b}]9;{line}\u{7}")}));
    assert_eq!(hook("file-changed"), Value::Null);
    assert_eq!(hook("stop"), json!({ "systemMessage": line }));
    assert_eq!(hook("stop"), Value::Null);
    let again = hook("session-start");
    assert_eq!(again.get("systemMessage"), None);
    let watched = &again["hookSpecificOutput"]["watchPaths"][0];
    let watched = Path::new(watched.as_str().unwrap());
    let file = fs::metadata(watched).unwrap();
    // A host watches the file itself: another one in its place would not be seen. It is also what changes last.
    let start = ["start", "--yes", "--json", "--allow-dirty", "--test-cmd", check, "--goal", "it stays so"];
    environment.cloop(repo.path(), start).expect_code(0);
    let log = fs::read_to_string(watched).unwrap();
    assert_eq!(
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(watched).unwrap()),
        std::os::unix::fs::MetadataExt::ino(&file)
    );
    assert!(log.contains("already-met") && log.trim_end().ends_with("ended"), "{log}");
}

#[test]
fn the_launcher_finds_the_program_of_its_version_and_says_how_to_get_it() {
    let (_server, mut environment) = environment();
    let installed = environment.root().join("installed");
    environment.set("CARGO_INSTALL_ROOT", installed.as_os_str());
    let root = environment.root().join("a plugin's \"folder\"");
    fs::create_dir_all(root.join("bin")).unwrap();
    for name in ["bin/loop-companion", "bin/cloop"] {
        fs::copy(project(name), root.join(name)).unwrap();
    }
    let script = root.join("bin/loop-companion");
    // Nothing there: hooks go on, one of them says why; services fail quietly; a command says what to do.
    assert_eq!(launch(&environment, &script, &["hook", "prompt"], "{}"), (0, String::new(), String::new()));
    let (code, stdout, _) = launch(&environment, &script, &["hook", "session-start"], "{}");
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    let said = answer["systemMessage"].as_str().unwrap();
    assert!(code == 0 && said.contains("not built yet") && said.contains("a plugin's \"folder\""), "{said}");
    assert_eq!(launch(&environment, &script, &["host", "monitor"], "").0, 0);
    assert_eq!(launch(&environment, &script, &["mcp"], "").0, 1);
    let (code, _, stderr) = launch(&environment, &script, &["status"], "");
    assert!(code == 70 && stderr.contains("cargo install"), "{code} {stderr}");
    let (code, stdout, _) = launch(&environment, &script, &["host", "show", "status"], "");
    assert!(code == 0 && stdout.contains("cargo install"), "a command file shows it: {code} {stdout}");
    // One that the user installed: of this version it is taken, also where nothing can be kept.
    let own = installed.join("bin/loop-companion");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    let put = |version: &str| {
        let text =
            format!("#!/bin/sh\n[ \"$1\" = --version ] && echo loop-companion {version} || echo \"installed: $*\"\n");
        fs::write(&own, text).unwrap();
        fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    put("9.9.9");
    assert_eq!(launch(&environment, &script, &["hook", "prompt"], "{}").1, "");
    put(env!("CARGO_PKG_VERSION"));
    let cache = environment.cache();
    environment.set("XDG_CACHE_HOME", "/proc/nowhere");
    assert_eq!(launch(&environment, &script, &["mcp"], ""), (0, "installed: mcp\n".into(), String::new()));
    environment.set("XDG_CACHE_HOME", cache.as_os_str());
    assert_eq!(launch(&environment, &script, &["hook", "prompt"], "{}").1, "installed: hook prompt\n");
    fs::remove_file(&own).unwrap();
    assert_eq!(launch(&environment, &script, &["status"], "").1, "installed: status\n", "it was kept");
    // Within a loop no hook is answered by anything.
    environment.set("CLOOP_WORKER", "1");
    assert_eq!(launch(&environment, &script, &["hook", "session-start"], "{}"), (0, String::new(), String::new()));
    environment.unset("CLOOP_WORKER");
    fs::remove_dir_all(cache.join("cloop")).unwrap();
    // With the source, but without cargo.
    fs::write(root.join("Cargo.toml"), "").unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let tools = environment.root().join("tools");
    fs::create_dir(&tools).unwrap();
    for tool in LAUNCHER_TOOLS {
        let found = std::env::split_paths(&path).map(|dir| dir.join(tool)).find(|path| path.is_file()).unwrap();
        std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
    }
    environment.set("PATH", tools.as_os_str());
    let (code, _, stderr) = launch(&environment, &script, &["status"], "");
    assert!(code == 70 && stderr.contains("rustup.rs"), "{code} {stderr}");
    // With a cargo: built once, with its progress, and kept outside of the plugin.
    let cargo = "#!/bin/sh\necho 'Compiling it' >&2\nwhile [ $# -gt 0 ]; do [ \"$1\" = --target-dir ] && dir=$2; shift; done\n\
                 mkdir -p \"$dir/release\"\nprintf '#!/bin/sh\\necho \"built: $*\"\\n' > \"$dir/release/loop-companion\"\n\
                 /bin/chmod +x \"$dir/release/loop-companion\"\n";
    fs::write(tools.join("cargo"), cargo).unwrap();
    fs::set_permissions(tools.join("cargo"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (code, stdout, stderr) = launch(&environment, &script, &["status", "it's one"], "");
    assert_eq!((code, stdout.as_str()), (0, "built: status it's one\n"), "{stderr}");
    assert!(stderr.contains("is built once") && stderr.contains("Compiling it"), "{stderr}");
    fs::remove_file(tools.join("cargo")).unwrap();
    // Through a link and by the short name, the second time without a build.
    let link = environment.root().join("linked");
    std::os::unix::fs::symlink(root.join("bin/cloop"), &link).unwrap();
    assert_eq!(launch(&environment, &link, &["result"], ""), (0, "built: result\n".into(), String::new()));
    assert!(fs::read_dir(root.join("bin")).unwrap().count() == 2, "nothing is written into the plugin");
    // One shipped for the platform goes first.
    let shipped = root.join("bin/platforms").join(platform()).join("loop-companion");
    fs::create_dir_all(shipped.parent().unwrap()).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_loop-companion"), shipped).unwrap();
    let (_, stdout, _) = launch(&environment, &script, &["--version"], "");
    assert_eq!(stdout, format!("loop-companion {}\n", env!("CARGO_PKG_VERSION")));
}

/// A `cargo` that counts its calls in `$LOG` and is done when `$GATE` is there.
const WAITING_CARGO: &str = "#!/bin/sh
echo call >> \"$LOG\"
echo 'Compiling it' >&2
while [ $# -gt 0 ]; do [ \"$1\" = --target-dir ] && dir=$2; shift; done
until [ -e \"$GATE\" ]; do sleep 0.05; done
mkdir -p \"$dir/release\"
printf '#!/bin/sh\\necho \"built: $*\"\\n' > \"$dir/release/loop-companion\"
chmod +x \"$dir/release/loop-companion\"
";

#[test]
fn launchers_build_one_source_once_whoever_asks_and_whatever_broke_off_before() {
    let (_server, mut environment) = environment();
    let root = environment.root().to_owned();
    environment.set("CARGO_INSTALL_ROOT", root.join("installed").as_os_str());
    let plugin = |name: &str| {
        let folder = root.join(name);
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::copy(project("bin/loop-companion"), folder.join("bin/loop-companion")).unwrap();
        fs::write(folder.join("Cargo.toml"), "[package]\n").unwrap();
        fs::write(folder.join("src/main.rs"), "fn main() {}\n").unwrap();
        folder.join("bin/loop-companion")
    };
    let tools = root.join("tools");
    fs::create_dir(&tools).unwrap();
    fs::write(tools.join("cargo"), WAITING_CARGO).unwrap();
    fs::set_permissions(tools.join("cargo"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let paths = std::iter::once(tools).chain(std::env::split_paths(&path));
    environment.set("PATH", std::env::join_paths(paths).unwrap());
    let (log, gate) = (root.join("log"), root.join("gate"));
    environment.set("LOG", log.as_os_str());
    environment.set("GATE", gate.as_os_str());
    let builds = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    let start = |script: &Path| {
        let mut command = environment.command(script, &root);
        command.arg("status");
        Running::start(command, "", &root.join("tmp"))
    };
    let limit = Duration::from_secs(30);
    let says = |text: &'static str| move |running: &Running| running.stderr().contains(text);

    // One that is stopped leaves nothing, one that is killed leaves a lock that nobody holds.
    let one = plugin("one");
    let mut stopped = start(&one);
    stopped.wait_for("build", limit, says("Compiling it"));
    stopped.signal_group(rustix::process::Signal::INT);
    assert_eq!(stopped.finish(limit).code, Some(130));
    let mut killed = start(&one);
    killed.wait_for("build", limit, says("Compiling it"));
    killed.signal_group(rustix::process::Signal::KILL);
    assert_eq!(killed.finish(limit).signal, Some(9));
    assert_eq!(builds(), 2);
    // Two at once: the second waits for the first.
    let mut first = start(&one);
    first.wait_for("build", limit, says("Compiling it"));
    let mut second = start(&plugin("another folder of the same source"));
    second.wait_for("waiting", limit, says("is being built by process"));
    fs::write(&gate, "").unwrap();
    for running in [first, second] {
        let run = running.finish(limit).expect_code(0);
        assert_eq!(run.stdout, "built: status\n", "{}", run.stderr);
    }
    assert_eq!(builds(), 3);
    // A third folder of that source finds it, one of another source does not.
    let run = start(&plugin("a third")).finish(limit).expect_code(0);
    assert_eq!((run.stderr.as_str(), builds()), ("", 3));
    let changed = plugin("changed");
    fs::write(root.join("changed/src/main.rs"), "fn main() { }\n").unwrap();
    start(&changed).finish(limit).expect_code(0);
    assert_eq!(builds(), 4);
    // One built in the checkout counts if it is newer, and of this version.
    let own = root.join("changed/target/release/loop-companion");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    for (version, expected) in [("9.9.9", "built: status\n"), (env!("CARGO_PKG_VERSION"), "own: status\n")] {
        let text = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo loop-companion {version} || echo \"own: $*\"\n");
        fs::write(&own, text).unwrap();
        fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(start(&changed).finish(limit).stdout, expected);
    }
    let left = fs::read_dir(environment.cache().join("cloop/programs")).unwrap();
    for entry in left.map(|entry| entry.unwrap().path()) {
        let names: Vec<_> = fs::read_dir(entry).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["loop-companion"], "neither locks nor half-built things stay");
    }
}

/// Copies what is under version control, or would be.
fn checkout(to: &Path) {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(project("."));
    let listed = String::from_utf8(git.output().unwrap().stdout).unwrap();
    for name in listed.split_terminator('\0').filter(|name| project(name).is_file()) {
        fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
        fs::copy(project(name), to.join(name)).unwrap();
    }
}

/// Builds the program as a user's first command does. `.ci/run` runs it.
#[test]
#[ignore = "builds the program with optimisation, minutes: cargo test --test it -- --ignored --nocapture the_launcher_builds"]
fn the_launcher_builds_this_source_and_only_reads_its_folder() {
    let (_server, mut environment) = environment();
    let repo = repository(&environment);
    let root = environment.root().join("Ada's \"plugin\" $5");
    environment.set("CARGO_INSTALL_ROOT", environment.root().join("installed").as_os_str());
    checkout(&root);
    // The checkout's own, so that what it was built from before is not built again.
    environment.set("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().as_os_str());
    // What the user's project says to cargo has no say here.
    repo.write(".cargo/config.toml", "[build]\ntarget = \"no-such-target\"\n").commit("Settings of the project");
    let before = tree_fingerprint(&root);
    let script = root.join("bin/loop-companion");
    let launch = |arguments: &[&str]| {
        let mut command = environment.command(&script, repo.path());
        command.args(arguments);
        Running::start(command, "", &environment.root().join("tmp")).finish(Duration::from_secs(1800)).expect_code(0)
    };
    let run = launch(&["--version"]);
    assert_eq!(run.stdout, format!("loop-companion {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run.stderr.contains("is built once") && run.stderr.contains("Finished"), "{}", run.stderr);
    println!("the build took {:?}", run.duration);
    assert_eq!(tree_fingerprint(&root), before, "the plugin's folder is only read");
    // What was built runs a loop, and is not built again.
    let run = launch(&["start", "--yes", "--json", "--test-cmd", "node --test", "--goal", "sum adds"]);
    assert_eq!(run.json()["stopReason"], "goal-met");
    assert!(!run.stderr.contains("is built once"), "{}", run.stderr);
}
