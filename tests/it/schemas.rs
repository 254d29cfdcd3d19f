//! The documents that `--json` prints, against the schemas in `schemas/`, which are made from the types.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory;
use loop_companion::cli::Arguments;
use loop_companion::demo;
use loop_companion::error::ErrorDocument;
use loop_companion::operations::{
    ApplyReport, BranchReport, DetectReport, GateReport, Launched, ModelReport, PlanReport, PreflightReport,
    PruneReport, ReviewList, ReviewStats, StopReport, TrustReport,
};
use loop_companion::report::{HistoryReport, ResultReport, SCHEMA_VERSION, StatsReport, StatusReport};
use loop_companion::review::{PolicyReport, Review};
use loop_companion::scripted::{Reply, ScriptedServer};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::common::{Repo, Run, TestEnvironment};

fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// Every schema of the reporting commands, by the name of its file.
fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("loop-state", schema_of::<StatusReport>()),
        ("status-none", status_none()),
        ("result", schema_of::<ResultReport>()),
        ("apply", schema_of::<ApplyReport>()),
        ("branch", schema_of::<BranchReport>()),
        ("stats", schema_of::<StatsReport>()),
        ("plan", schema_of::<PlanReport>()),
        ("preflight", schema_of::<PreflightReport>()),
        ("detect", schema_of::<DetectReport>()),
        ("model", schema_of::<ModelReport>()),
        ("stop", schema_of::<StopReport>()),
        ("launched", schema_of::<Launched>()),
        ("history", schema_of::<HistoryReport>()),
        ("prune", schema_of::<PruneReport>()),
        ("review", schema_of::<Review>()),
        ("review-list", schema_of::<ReviewList>()),
        ("review-stats", schema_of::<ReviewStats>()),
        ("review-policy", schema_of::<PolicyReport>()),
        ("review-gate", schema_of::<GateReport>()),
        ("trust", schema_of::<TrustReport>()),
        ("error", schema_of::<ErrorDocument>()),
    ]
}

/// What `status` prints where there is no loop; it has no type of its own.
fn status_none() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "StatusNone",
        "description": "The status of a work tree in which no loop has run.",
        "type": "object",
        "properties": {"schemaVersion": {"const": SCHEMA_VERSION}, "status": {"const": "none"}},
        "required": ["schemaVersion", "status"],
    })
}

fn path_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{name}.json"))
}

#[test]
fn the_schemas_of_the_documents_are_the_types() {
    for (name, schema) in all() {
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        assert!(schema["properties"]["schemaVersion"].is_object(), "{name} has no schemaVersion");
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        // CLOOP_BLESS=1 writes the files anew after a change of the types.
        if std::env::var_os("CLOOP_BLESS").is_some() {
            fs::write(path_of(name), &text).unwrap();
        }
        assert_eq!(fs::read_to_string(path_of(name)).unwrap(), text, "{name}");
    }
}

/// Closes every object that names its members, so that a member no schema knows is found.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            // Members of a tagged enum are spread over branches; those objects stay open.
            let spread = ["oneOf", "anyOf", "allOf", "$ref"].iter().any(|keyword| map.contains_key(*keyword));
            if map.get("properties").is_some_and(Value::is_object) && map.contains_key("type") && !spread {
                map.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// Fails unless the document has every member its schema requires, and no other.
#[track_caller]
pub(crate) fn assert_fits(name: &str, document: &Value) {
    let mut schema: Value = serde_json::from_slice(&fs::read(path_of(name)).unwrap()).unwrap();
    close(&mut schema);
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let faults: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{name}: {faults:#?}\nin {document:#}");
    assert_eq!(document["schemaVersion"], SCHEMA_VERSION, "{name}");
}

/// A repository of the demonstration, and the commands of this program in it.
struct Ground<'a> {
    environment: &'a TestEnvironment,
    repo: Repo,
}

impl Ground<'_> {
    /// Runs a command with `--json`, its arguments separated by blanks, and fails unless its one document fits.
    #[track_caller]
    fn fits(&self, command: &str, code: i32, schema: &str) -> Value {
        let document = self.run(command, code).json();
        assert_fits(schema, &document);
        document
    }

    #[track_caller]
    fn run(&self, command: &str, code: i32) -> Run {
        let arguments = command.split(' ').filter(|part| !part.is_empty()).chain(["--json"]);
        self.environment.cloop(self.repo.path(), arguments).expect_code(code)
    }

    fn start(&self, flags: &[&str], code: i32) -> Value {
        let mut arguments =
            vec!["start", "--json", "--yes", "--goal", demo::GOAL, "--test-cmd", demo::TEST_COMMAND, "--lint-cmd"];
        arguments.push(demo::LINT_COMMAND);
        arguments.extend(flags);
        self.environment.cloop(self.repo.path(), arguments).expect_code(code).json()
    }
}

fn ground<'a>(environment: &'a TestEnvironment, name: &str) -> Ground<'a> {
    let repo = environment.repo(name);
    repo.files(demo::sample_files()).commit("The state with the fault");
    Ground { environment, repo }
}

#[test]
fn every_reporting_command_prints_one_document_that_fits_its_schema() {
    let server = ScriptedServer::start(demo::model()).unwrap();
    let environment = TestEnvironment::new(&server);
    let ground = ground(&environment, "sample");
    ground.fits("status", 0, "status-none");
    ground.fits("wait", 2, "status-none");
    assert_eq!(ground.fits("history", 0, "history")["runs"], json!([]));
    assert_eq!(ground.fits("preflight", 0, "preflight")["ok"], true);
    assert_eq!(ground.fits("detect", 0, "detect")["proposals"].as_array().map(Vec::is_empty), Some(false));
    ground.fits("model", 0, "model");
    assert_eq!(ground.fits("stop", 0, "stop")["stopped"], true);
    ground.fits("result", 2, "error");
    let plan = ground.start(&["--plan"], 0);
    assert_fits("plan", &plan);

    // A dry run, one iteration of its own, and the rest: the document is the same at every end.
    let dry = ground.start(&["--dry-run"], 0);
    assert_fits("loop-state", &dry);
    assert_eq!((&dry["status"], &dry["stopReason"]), (&json!("finished"), &Value::Null));
    let one = ground.fits("iterate -n 1", 0, "loop-state");
    assert_eq!(one["stopReason"], "budget-iterations");
    assert_eq!(ground.fits("model gpt-5.5 high", 0, "model")["effort"], "high");
    let met = ground.fits("resume --max-iter 29", 0, "loop-state");
    assert_eq!((&met["stopReason"], &met["proof"]["level"]), (&json!("goal-met"), &json!("measured")));

    let status = ground.fits("status", 0, "loop-state");
    assert_eq!(ground.fits("status --follow", 0, "loop-state"), status);
    let face: Value = serde_json::from_str(&ground.repo.read(".loop/loop-state.json")).unwrap();
    assert_fits("loop-state", &face);
    let result = ground.fits("result", 0, "result");
    assert_eq!(result["landed"], true);
    let first = ground.fits("result --iteration 1", 0, "result");
    assert!(first["proposals"].as_array().unwrap().len() < result["proposals"].as_array().unwrap().len());

    assert_eq!(ground.fits("wait", 0, "loop-state")["stopReason"], "goal-met");
    assert_eq!(ground.fits("history", 0, "history")["runs"][0]["stopReason"], "goal-met");
    assert_eq!(ground.fits("result --apply", 0, "apply")["written"], json!([]));
    assert_eq!(ground.fits("result --branch mended", 0, "branch")["branch"], "mended");
    assert_eq!(ground.fits("stats", 0, "stats")["goalsMet"], 1);
    assert_eq!(ground.fits("prune --keep 0", 0, "prune")["removed"], json!([met["runId"]]));
    ground.fits("status", 0, "status-none");
    environment.assert_no_processes();
}

#[test]
fn a_loop_on_its_own_is_announced_and_stopped_with_documents_that_fit_their_schemas() {
    let server = ScriptedServer::start(|_| Reply::hang()).unwrap();
    let environment = TestEnvironment::new(&server);
    let ground = ground(&environment, "sample");
    let launched = ground.start(&["--background"], 0);
    assert_fits("launched", &launched);
    server.wait_for_requests(1, Duration::from_secs(60)).unwrap();
    let running = ground.fits("status", 0, "loop-state");
    assert_eq!((&running["status"], &running["runId"]), (&json!("running"), &launched["runId"]));
    assert_eq!(running["worker"]["pid"], launched["pid"]);
    assert_eq!(ground.fits("wait --timeout 1ms", 124, "loop-state")["status"], "running");
    assert_eq!(ground.fits("model gpt-5.5", 0, "model")["running"], true);
    assert_eq!(ground.fits("start --yes --goal g --test-cmd true", 4, "error")["error"]["code"], "held");
    assert_eq!(ground.fits("stop", 0, "stop")["stopped"], true);
    assert_eq!(ground.fits("status", 0, "loop-state")["stopReason"], "user-stopped");
    environment.assert_no_processes();
}

#[test]
fn every_document_about_reviews_fits_its_schema() {
    let answer = json!({
        "unread": [], "risks": ["Cost"], "conditions": ["Run the pilot"], "priorities": ["first"],
        "findings": [{"severity": "low", "file": null, "line": null, "message": "Short."}],
        "recommendation": "Run the pilot first.", "verdict": "MODIFY", "confidence": 0.75,
    });
    let server = ScriptedServer::start(move |request| {
        if request.prompt.contains("Broken?") { Reply::unauthorized() } else { Reply::json(&answer) }
    })
    .unwrap();
    let environment = TestEnvironment::new(&server);
    let ground = ground(&environment, "sample");
    assert_eq!(ground.fits("review list", 0, "review-list")["reviews"], json!([]));
    let held = ground.fits("review Scale?", 11, "review");
    assert_eq!(ground.fits("review Scale?", 11, "review")["cached"], true);
    assert_eq!(ground.fits("review Broken?", 12, "review")["cause"], "sign-in");
    let shown = ground.fits(&format!("review show {}", held["id"].as_str().unwrap()), 0, "review");
    assert_eq!(shown, held);
    assert_eq!(ground.fits("review list", 0, "review-list")["reviews"].as_array().map(Vec::len), Some(2));
    let user = environment.root().join("config/cloop");
    fs::create_dir_all(&user).unwrap();
    fs::write(user.join("config.toml"), "[prices.default]\ninput = 1.0\noutput = 10.0\n").unwrap();
    let stats = ground.fits("review stats", 0, "review-stats");
    assert!(stats["total"]["cost"].as_f64().unwrap() > 0.0, "{stats}");
    assert_eq!(
        ground.fits("review policy --type gate --confidence 0.5 --stakes high", 0, "review-policy")["review"],
        true
    );
    for (word, on) in [("", false), ("on", true), ("off", false)] {
        assert_eq!(ground.fits(&format!("review gate {word}"), 0, "review-gate")["on"], on);
    }
    for bad in [
        "review",
        "review show none",
        "review --file nowhere x",
        "review policy --type gate --confidence 7 --stakes low",
    ] {
        assert_eq!(ground.fits(bad, 2, "error")["error"]["code"], "usage", "{bad}");
    }
}

#[test]
fn every_error_is_one_document_that_fits_its_schema() {
    let environment = TestEnvironment::with_codex_config("");
    let ground = ground(&environment, "sample");
    let error = |command: &str, code: i32| ground.fits(command, code, "error")["error"]["code"].clone();
    assert_eq!(error("start", 2), "usage");
    assert_eq!(error("nothing-of-the-kind", 2), "usage");
    assert_eq!(error("result", 2), "usage");
    assert_eq!(error("iterate", 2), "usage");
    assert_eq!(error("resume", 2), "usage");
    assert_eq!(error("status -C nowhere", 2), "usage");
    assert_eq!(error("detect -C ..", 3), "not-a-repository");
    // A failed preflight is no error: it is the answer.
    assert_eq!(ground.fits("preflight -C ..", 3, "preflight")["ok"], false);
    ground.repo.write(".loop/keep", "").write(".git/cloop/runs/20260101-000000-0000/events.jsonl", "no journal\n");
    assert_eq!(error("status", 5), "state-unreadable");
}

#[test]
fn no_command_is_forgotten_in_the_tests_of_documents() {
    let command = Arguments::command();
    let known: BTreeSet<&str> = command
        .get_subcommands()
        // What only hosts call answers in their form; so does `mcp`, as mcp.rs tests.
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
        .collect();
    // `demo`, `mcp` and `trust` have their tests in demo.rs, mcp.rs and configuration.rs; the others are above.
    let tested = [
        "start",
        "status",
        "result",
        "iterate",
        "resume",
        "wait",
        "stop",
        "history",
        "stats",
        "prune",
        "model",
        "preflight",
        "detect",
        "demo",
        "review",
        "mcp",
        "trust",
    ];
    assert_eq!(known, BTreeSet::from(tested));
}
