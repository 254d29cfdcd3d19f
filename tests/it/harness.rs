//! The harness itself: the cases as recorded, and every kind of answer against the real Codex CLI.

use std::path::Path;
use std::time::Duration;

use loop_companion::answers::{Evaluation, Ranking, Suggestion, Verdict};
use loop_companion::demo;
use loop_companion::scripted::{Gate, ModelRequest, Options, Reply, ScriptedServer, Step, Usage};
use pretty_assertions::assert_eq;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::common::{
    RankBy, Repo, Run, SequenceModel, TestEnvironment, cases, evaluation, hostile, own_cases, processes_of, python_env,
    suggestion,
};

/// Longest wait for something that takes a second.
const SOON: Duration = Duration::from_secs(30);

/// A server and an environment that points to it.
fn scripted(model: impl Fn(&ModelRequest) -> Reply + Send + Sync + 'static) -> (ScriptedServer, TestEnvironment) {
    let server = ScriptedServer::start(model).unwrap();
    let environment = TestEnvironment::new(&server);
    (server, environment)
}

/// Asks Codex in the environment's root, with this schema for the answer if there is one.
fn ask(environment: &TestEnvironment, cwd: &Path, schema: Option<&Value>, prompt: &str) -> Run {
    let mut arguments = vec!["--ephemeral".to_owned(), "-s".into(), "read-only".into()];
    if let Some(schema) = schema {
        let path = environment.root().join("schema.json");
        std::fs::write(&path, schema.to_string()).unwrap();
        arguments.extend(["--output-schema".into(), path.to_str().unwrap().into()]);
    }
    environment.codex(cwd, arguments, prompt)
}

/// A strict schema with these properties, all of them strings: enough for the step to be told.
fn schema(properties: &[&str]) -> Value {
    let entries = properties.iter().map(|name| ((*name).to_owned(), json!({"type": "string"})));
    let entries: serde_json::Map<_, _> = entries.collect();
    json!({"type": "object", "additionalProperties": false, "required": properties, "properties": entries})
}

fn evaluation_schema() -> Value {
    schema(&["verdict", "distanceFromGoal"])
}

/// The text of the last message in a stream of events.
fn last_message(run: &Run) -> Option<String> {
    let lines = run.json_lines();
    let texts = lines.iter().filter(|line| line["item"]["type"] == "agent_message");
    texts.filter_map(|line| line["item"]["text"].as_str()).next_back().map(String::from)
}

fn answer<T: DeserializeOwned>(run: &Run) -> T {
    serde_json::from_str(&last_message(run).expect("an answer")).unwrap()
}

/// The last event: its type, and the message of a failure.
fn end(run: &Run) -> (String, String) {
    let lines = run.json_lines();
    let last = lines.last().expect("an event");
    let message = last["error"]["message"].as_str().unwrap_or_default();
    (last["type"].as_str().unwrap().to_owned(), message.to_owned())
}

#[test]
fn codex_passes_a_scripted_answer_and_its_usage_through() {
    let usage = Usage { input: 1200, cached: 1000, output: 30, reasoning: 7 };
    let (server, environment) =
        scripted(move |_| Reply::message("all is well").with_reasoning("thinking").with_usage(usage));
    let arguments = ["--ephemeral", "-c", "model_reasoning_effort=\"high\"", "-m", "gpt-5.5"];
    let run = environment.codex(environment.root(), arguments, "How is it?").expect_code(0);
    assert_eq!(last_message(&run).as_deref(), Some("all is well"));
    let expected = json!({"input_tokens": 1200, "cached_input_tokens": 1000, "cache_write_input_tokens": 0,
        "output_tokens": 30, "reasoning_output_tokens": 7});
    assert_eq!(run.json_lines().last(), Some(&json!({"type": "turn.completed", "usage": expected})));
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].prompt.contains("How is it?"), "{}", requests[0].prompt);
    assert_eq!((requests[0].effort.as_deref(), requests[0].model.as_str()), (Some("high"), "gpt-5.5"));
    assert!(requests[0].tools().contains(&"exec_command".to_owned()), "{:?}", requests[0].tools());
    environment.assert_no_processes();
}

#[test]
fn a_schema_outside_the_strict_subset_ends_codex_and_a_strict_one_reaches_the_model() {
    let (server, environment) = scripted(|request| Reply::message(format!("{:?}", request.step())));
    let mut loose = evaluation_schema();
    loose["required"] = json!(["verdict"]);
    let run = ask(&environment, environment.root(), Some(&loose), "Judge.").expect_code(1);
    let (kind, message) = end(&run);
    assert_eq!(kind, "turn.failed");
    let complaint = "Invalid schema for response_format 'codex_output_schema': In context=(), 'required' is required to be \
                     supplied and to be an array including every key in properties. Missing 'distanceFromGoal'.";
    assert!(message.contains(complaint) && message.contains("invalid_json_schema"), "{message}");
    let run = ask(&environment, environment.root(), Some(&evaluation_schema()), "Judge.").expect_code(0);
    assert_eq!(last_message(&run).as_deref(), Some("Evaluate"));
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.requests()[1].schema, Some(evaluation_schema()));
}

#[test]
fn the_check_of_schemas_can_be_switched_off() {
    let server = ScriptedServer::start_with(Options { strict_schemas: false }, |_| Reply::message("taken")).unwrap();
    let environment = TestEnvironment::new(&server);
    let run = ask(&environment, environment.root(), Some(&json!({"type": "array"})), "Judge.").expect_code(0);
    assert_eq!(last_message(&run).as_deref(), Some("taken"));
}

#[test]
fn a_tool_call_is_run_by_codex_and_its_output_comes_back() {
    for model in ["gpt-5.5", "gpt-6.1-sol"] {
        let (server, environment) = scripted(|request| {
            if request.has_function_output { Reply::message("seen") } else { Reply::exec_command("cat note.txt") }
        });
        std::fs::write(environment.root().join("note.txt"), "the fox is in the garden\n").unwrap();
        let arguments = ["--ephemeral", "-s", "read-only", "-m", model];
        let run = environment.codex(environment.root(), arguments, "Read it.").expect_code(0);
        assert_eq!(last_message(&run).as_deref(), Some("seen"));
        let outputs = server.requests()[1].function_outputs();
        assert!(outputs.concat().contains("the fox is in the garden"), "{model}: {outputs:?}");
    }
}

#[test]
fn every_fault_reaches_codex_as_what_it_is() {
    // Answer, exit status, part of the failure's message, requests (those without are retried once or more).
    let cases: Vec<(&str, Reply, i32, &str, Option<usize>)> = vec![
        ("400", Reply::error(400, "invalid_request_error", "no such thing"), 1, "no such thing", Some(1)),
        ("401", Reply::unauthorized(), 1, "401 Unauthorized", None),
        ("429", Reply::rate_limited(None), 1, "429 Too Many Requests", Some(1)),
        ("429 later", Reply::rate_limited(Some(1)), 1, "429 Too Many Requests", None),
        ("quota", Reply::error(429, "insufficient_quota", "no money"), 1, "Quota exceeded", Some(1)),
        ("503", Reply::error(503, "server_is_overloaded", "busy"), 1, "at capacity", None),
        ("failed", Reply::failed("context_length_exceeded", "too long"), 1, "ran out of room", Some(1)),
        ("incomplete", Reply::incomplete("max_output_tokens", "{\"verd"), 1, "max_output_tokens", Some(1)),
        ("cut", Reply::cut_after("{\"verd"), 1, "stream disconnected before completion", None),
        ("reset", Reply::reset(), 1, "", None),
        ("empty", Reply::empty(), 0, "", Some(1)),
        ("refusal", Reply::refusal("I'd rather not."), 0, "", Some(1)),
        ("not json", Reply::message("Sure! Here it is."), 0, "", Some(1)),
    ];
    // All at once: most of the time is Codex's own waiting between two tries.
    let faults: Vec<_> = cases
        .into_iter()
        .map(|(name, reply, code, message, requests)| {
            std::thread::spawn(move || {
                let (server, environment) = scripted(move |_| reply.clone());
                let run = ask(&environment, environment.root(), Some(&evaluation_schema()), "Judge.");
                let (kind, said) = end(&run);
                let (got, asked) = (run.code, server.requests().len());
                assert_eq!(got, Some(code), "{name}: {said}");
                assert_eq!(kind, if code == 0 { "turn.completed" } else { "turn.failed" }, "{name}");
                assert!(said.contains(message), "{name}: {said}");
                assert!(requests.map_or(asked > 1, |requests| asked == requests), "{name}: {asked} requests");
                environment.assert_no_processes();
            })
        })
        .collect();
    for fault in faults {
        fault.join().unwrap();
    }
}

#[test]
fn the_longest_prompt_codex_takes_arrives_whole() {
    let (server, environment) = scripted(|_| Reply::message("read"));
    // Codex counts characters, so this is two megabytes.
    let prompt = "é".repeat(1_048_576);
    ask(&environment, environment.root(), None, &prompt).expect_code(0);
    assert!(server.requests()[0].prompt.contains(&prompt));
}

#[test]
fn the_binary_runs_in_an_environment_of_its_own() {
    let environment = TestEnvironment::with_codex_config("");
    environment.cloop(environment.root(), ["--version"]).expect_code(0);
    let seen = environment.shell(environment.root(), "env").expect_code(0).stdout;
    let leaked: Vec<_> = seen.lines().filter(|line| line.starts_with("CARGO_PKG") || line.contains("_KEY=")).collect();
    assert_eq!(leaked, Vec::<&str>::new());
    assert!(seen.contains(&format!("HOME={}/home", environment.root().display())), "{seen}");
    environment.assert_no_processes();
}

#[test]
fn a_held_call_ends_well_when_it_is_released() {
    let gate = Gate::new();
    let held = gate.clone();
    let (server, environment) = scripted(move |_| Reply::message("at last").after(&held));
    let mut running = environment.spawn_codex(environment.root(), ["--ephemeral"], "Wait.");
    server.wait_for_requests(1, SOON).unwrap();
    assert!(running.is_running());
    assert!(!processes_of(environment.root()).is_empty());
    gate.release();
    let run = running.finish(SOON).expect_code(0);
    assert_eq!(last_message(&run).as_deref(), Some("at last"));
    environment.assert_no_processes();
}

#[test]
fn a_call_that_hangs_can_be_killed_with_nothing_left_behind() {
    for reply in [Reply::hang(), Reply::hang_after("{\"verd"), Reply::message("never").after(&Gate::new())] {
        let (server, environment) = scripted(move |_| reply.clone());
        let running = environment.spawn_codex(environment.root(), ["--ephemeral"], "Wait.");
        server.wait_for_requests(1, SOON).unwrap();
        running.signal_group(Signal::KILL);
        assert_eq!(running.finish(SOON).signal, Some(9));
        environment.assert_no_processes();
    }
}

#[test]
fn a_sequence_answers_each_step_from_its_own_queue_and_repeats_the_last() {
    let model = SequenceModel::new()
        .evaluate(&evaluation(Verdict::InProgress, 0.5, Vec::new()))
        .evaluate(&evaluation(Verdict::GoalMet, 0.0, Vec::new()))
        .patches([("first", "diff --git a/x b/x\n")])
        .rank_by(RankBy::preferring(&["+good", "+bad"]));
    let (_server, environment) = scripted(model.into_model());
    let judge = || answer::<Evaluation>(&ask(&environment, environment.root(), Some(&evaluation_schema()), "Judge."));
    let verdicts = [judge(), judge(), judge()].map(|evaluation| evaluation.verdict);
    assert_eq!(verdicts, [Verdict::InProgress, Verdict::GoalMet, Verdict::GoalMet]);
    let run = ask(&environment, environment.root(), Some(&schema(&["proposals"])), "Propose.");
    assert_eq!(answer::<Suggestion>(&run), suggestion([("first", "diff --git a/x b/x\n")]));
    let question = "Rank.\n\n### candidate-2\n+bad\n\n### candidate-1\n+good\n";
    let run = ask(&environment, environment.root(), Some(&schema(&["scores", "winner"])), question);
    let ranking: Ranking = answer(&run);
    assert_eq!((ranking.winner.id.as_str(), ranking.scores.len()), ("candidate-1", 2));
}

#[test]
fn a_random_ranking_is_the_same_for_the_same_seed_only() {
    let rank = |seed| {
        let (_server, environment) = scripted(SequenceModel::new().rank_by(RankBy::Random(seed)).into_model());
        let question = "### candidate-1\n+a\n### candidate-2\n+b\n### candidate-3\n+c\n";
        answer::<Ranking>(&ask(&environment, environment.root(), Some(&schema(&["scores", "winner"])), question))
    };
    assert_eq!(rank(1), rank(1));
    assert_ne!(rank(1).scores, rank(2).scores);
}

#[test]
fn every_case_that_is_there_can_be_read_and_has_its_parts() {
    for case in cases() {
        assert!(!case.goal.is_empty() && case.timeout_s > 0, "{}", case.id);
        assert!(case.of_kind("cheat").count() > 0, "{}", case.id);
        assert!(case.tests.iter().all(|path| case.files.contains_key(path)), "{}", case.id);
        assert_eq!(case.patch("correct").rc, Some(0), "{}", case.id);
    }
    assert!(own_cases().len() >= 2);
    if let Some(hostile) = hostile() {
        assert!(hostile.patches.iter().all(|patch| patch["id"].is_string()));
    }
}

#[test]
fn own_cases_behave_as_recorded() {
    let mut environment = TestEnvironment::with_codex_config("");
    environment.set("PATH", python_env());
    for case in own_cases() {
        let repo = case.unpack(&environment);
        let buggy = environment.shell(repo.path(), &case.test_cmd);
        assert_eq!(buggy.code, Some(case.buggy_rc), "{}", case.id);
        for patch in &case.patches {
            repo.apply(&patch.diff);
            let run = environment.shell(repo.path(), &case.test_cmd);
            assert_eq!(run.code, patch.rc, "{} {}: {}{}", case.id, patch.id, run.stdout, run.stderr);
            repo.git(["reset", "--quiet", "--hard"]);
            repo.git(["clean", "--quiet", "-fdx"]);
        }
        let one_after_the_other = |first: &str, second: &str| {
            repo.apply(&case.patch(first).diff).apply(&case.patch(second).diff);
            let tree = repo.fingerprint();
            repo.git(["reset", "--quiet", "--hard"]);
            tree
        };
        let both = one_after_the_other("part1", "part2");
        assert_eq!(both, one_after_the_other("part2", "part1"), "{}", case.id);
        repo.apply(&case.patch("correct").diff);
        assert_eq!(both, repo.fingerprint(), "{}", case.id);
    }
}

/// A change to a repository, by name.
type Change<'a> = (&'a str, &'a dyn Fn(&Repo));

#[test]
fn a_fingerprint_sees_bytes_modes_links_and_new_files_but_no_state() {
    let environment = TestEnvironment::with_codex_config("");
    let repo = environment.repo("r");
    repo.files([("a.txt", "one\n"), ("dir/b.txt", "two\n")]).commit("Two files");
    let before = repo.fingerprint();
    let changes: [Change<'_>; 4] = [
        ("bytes", &|repo| _ = repo.write("a.txt", "One\n")),
        ("mode", &|repo| _ = repo.mode("a.txt", 0o755)),
        ("file", &|repo| _ = repo.write("dir/c.txt", "")),
        ("link", &|repo| std::os::unix::fs::symlink("a.txt", repo.path().join("d")).unwrap()),
    ];
    for (name, change) in changes {
        change(&repo);
        assert_ne!(repo.fingerprint(), before, "{name}");
        repo.git(["reset", "--quiet", "--hard"]);
        repo.git(["clean", "--quiet", "-fdx"]);
        assert_eq!(repo.fingerprint(), before, "{name}");
    }
    repo.write(".loop/loop-state.json", "{}").git(["tag", "t"]);
    assert_eq!(repo.fingerprint(), before);
}

/// The answers of the demonstration's model, asked through Codex in a repository as it stands.
fn demonstration(environment: &TestEnvironment, repo: &Repo, prompt: &str) -> (Evaluation, Vec<String>) {
    let evaluated = ask(environment, repo.path(), Some(&evaluation_schema()), prompt).expect_code(0);
    let suggested = ask(environment, repo.path(), Some(&schema(&["proposals"])), prompt).expect_code(0);
    let suggested: Suggestion = answer(&suggested);
    (answer(&evaluated), suggested.proposals.into_iter().map(|proposal| proposal.id).collect())
}

#[test]
fn the_demonstration_sees_through_codex_how_far_the_repository_is() {
    let (server, environment) = scripted(demo::model());
    let repo = environment.repo("sample");
    repo.files(demo::sample_files()).commit("The state with the fault");
    let state = |prompt: &str| {
        let (evaluation, ids) = demonstration(&environment, &repo, prompt);
        (evaluation.verdict, evaluation.failing_tests, ids)
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let first = ids(&["skip-unstable-tests", "rewrite-both", "count-real-days"]);
    assert_eq!(state("Begin."), (Verdict::InProgress, Some(5), first));
    let mend = |path: &str, from: &str, to: &str| _ = repo.write(path, repo.read(path).replace(from, to));
    mend("src/dates.js", "Date.UTC(year, month, day)", "Date.UTC(year, month - 1, day)");
    let second = ids(&["cap-the-sum", "cap-and-document"]);
    assert_eq!(state("Go on."), (Verdict::InProgress, Some(2), second));
    mend("src/fines.js", "days * Math.min(rate, price)", "Math.min(days * rate, price)");
    assert_eq!(state("Go on."), (Verdict::GoalMet, Some(0), Vec::new()));
    environment.shell(repo.path(), demo::TEST_COMMAND).expect_code(0);
    environment.shell(repo.path(), demo::LINT_COMMAND).expect_code(0);
    // Each answer took two requests: one to read the files, one to answer.
    assert_eq!(server.requests().len(), 12);
    assert!(server.requests().iter().all(|request| matches!(request.step(), Step::Evaluate | Step::Suggest)));
}

#[test]
fn the_demonstration_goes_by_the_prompt_where_codex_has_no_shell_tool() {
    let (_server, environment) = scripted(demo::model());
    let path = environment.root().join("schema.json");
    std::fs::write(&path, evaluation_schema().to_string()).unwrap();
    let judge = |prompt: &str| {
        let arguments = ["--ephemeral", "--disable", "shell_tool", "--output-schema", path.to_str().unwrap()];
        let run = environment.codex(environment.root(), arguments, prompt).expect_code(0);
        answer::<Evaluation>(&run).failing_tests
    };
    assert_eq!(judge("No changes so far."), Some(5));
    assert_eq!(judge("Changes so far:\n+  return Date.UTC(year, month - 1, day) / DAY_MS;\n"), Some(2));
}
