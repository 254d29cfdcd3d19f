//! The harness itself, against the real Codex CLI.

use std::time::Duration;

use loop_companion::answers::Verdict;
use loop_companion::scripted::{Gate, Reply, ScriptedServer, Usage};
use pretty_assertions::assert_eq;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{
    RankBy, SequenceModel, TestEnvironment, evaluation, own_cases, processes_of, python_env, suggestion,
    tree_fingerprint,
};

/// A schema with the properties by which an evaluation is told.
fn schema(extra: Value) -> String {
    let mut schema = json!({
        "type": "object", "additionalProperties": false, "required": ["verdict", "distanceFromGoal"],
        "properties": {"verdict": {"type": "string"}, "distanceFromGoal": {"type": "number"}},
    });
    schema.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    schema.to_string()
}

/// The last event of a `codex exec --json` run.
fn last(lines: &[Value]) -> &Value {
    lines.last().unwrap()
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .filter(|line| line["item"]["type"] == "agent_message")
        .filter_map(|line| line["item"]["text"].as_str())
        .collect()
}

#[test]
fn codex_passes_a_scripted_answer_and_its_usage_through() {
    let usage = Usage { input: 1200, cached: 1000, output: 30, reasoning: 7 };
    let server =
        ScriptedServer::start(move |_| Reply::message("all is well").with_reasoning("thinking").with_usage(usage))
            .unwrap();
    let environment = TestEnvironment::new(&server);
    let run =
        environment.codex(environment.root(), ["--ephemeral", "-c", "model_reasoning_effort=\"high\""], "How is it?");
    let lines = run.expect_code(0).json_lines();
    assert_eq!(messages(&lines), ["all is well"]);
    let expected = json!({"input_tokens": 1200, "cached_input_tokens": 1000, "cache_write_input_tokens": 0,
        "output_tokens": 30, "reasoning_output_tokens": 7});
    assert_eq!(last(&lines), &json!({"type": "turn.completed", "usage": expected}));
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].prompt.contains("How is it?"), "{}", requests[0].prompt);
    assert_eq!(requests[0].effort.as_deref(), Some("high"));
    eprintln!("tools: {:?} model {}", requests[0].tools(), requests[0].model);
    environment.assert_no_processes();
}
