//! What tools there are: their arguments, answers and annotations.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operations::{Launched, PlanReport, PreflightReport, StopReport};
use crate::options::Options;
use crate::plan::Money;
use crate::report::{ResultReport, StatusReport};
use crate::review::{Kind, PolicyReport, Review, Stakes};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReviewArguments {
    /// What is asked, with what the reviewer has to know
    pub(super) prompt: String,
    /// Reasoning effort [default: high]
    #[serde(default)]
    pub(super) reasoning_effort: Option<String>,
    /// File that takes the verdict for a reader; inside the repository or the temporary folder
    #[serde(default)]
    pub(super) output_file: Option<String>,
    /// Codex model
    #[serde(default)]
    pub(super) model: Option<String>,
    /// What the review is about; without it the prompt is sent as it is
    #[serde(default)]
    pub(super) review_type: Option<Kind>,
    /// File that is put in front of the question
    #[serde(default)]
    pub(super) agent_file: Option<String>,
    /// Longest wait [default: 300]
    #[serde(default)]
    pub(super) timeout_seconds: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MethodologyArguments {
    /// The question of method
    pub(super) question: String,
    /// What the reviewer has to know
    #[serde(default)]
    pub(super) context: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PriorityArguments {
    /// What is to be put in order
    pub(super) options: Vec<String>,
    /// What the reviewer has to know
    #[serde(default)]
    pub(super) context: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpinionArguments {
    /// What is worrying
    pub(super) concern: String,
    /// What is proposed
    pub(super) proposed_solution: String,
    /// What the reviewer has to know
    #[serde(default)]
    pub(super) context: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyArguments {
    /// What the decision is about: a type of review, or trivial, specified, execution
    pub(super) decision_type: String,
    /// How sure you are, from 0 to 1
    pub(super) confidence: f64,
    /// What hangs on it
    pub(super) stakes: Stakes,
    /// How many options there are
    #[serde(default)]
    pub(super) options: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoArguments {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanArguments {
    /// The goal, in words
    pub(super) goal: String,
    /// What must be true at the end, in words
    #[serde(default)]
    pub(super) accept: Vec<String>,
    /// Options as the flags of `start` are called, for example {"test-cmd": "npm test"}
    #[serde(default)]
    pub(super) options: Options,
    /// Make, guard and rank proposals, and apply nothing
    #[serde(default)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StartArguments {
    /// Hash of the plan, as `loop_plan` returned it
    pub(super) plan_hash: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StopArguments {
    /// End the worker and all its processes if it does not stop by itself
    #[serde(default)]
    pub(super) force: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResultArguments {
    /// Only this iteration
    #[serde(default)]
    pub(super) iteration: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IterateArguments {
    /// How many iterations more [default: 1]
    #[serde(default)]
    pub(super) count: Option<u32>,
}

/// What to do with a work tree that somebody changed.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Changed {
    /// Go on from the user's edits.
    Adopt,
    /// Go on from the loop's best state; the edits stay in a ref.
    Discard,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeArguments {
    /// Raise the most iterations
    #[serde(default)]
    pub(super) max_iterations: Option<u32>,
    /// Raise the most time, in seconds
    #[serde(default)]
    pub(super) max_seconds: Option<u64>,
    /// Raise the most Codex calls
    #[serde(default)]
    pub(super) max_calls: Option<u32>,
    /// Raise the most tokens
    #[serde(default)]
    pub(super) max_tokens: Option<u64>,
    /// Raise the most money, by the user's own prices
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub(super) max_cost: Option<Money>,
    /// Answer to a loop that stopped for a changed work tree
    #[serde(default)]
    pub(super) changed_tree: Option<Changed>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitArguments {
    /// Longest wait in seconds [default: 240]
    #[serde(default)]
    pub(super) timeout_seconds: Option<u64>,
}

/// The loop of a work tree.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoopAnswer {
    pub(super) schema_version: u32,
    /// Null where no loop has run.
    pub(super) r#loop: Option<StatusReport>,
    /// Whether the wait ended before the loop did.
    pub(super) timed_out: bool,
}

/// The names of the tools.
pub(super) const NAMES: [&str; 14] = [
    "codex_review",
    "methodology_review",
    "priority_guidance",
    "second_opinion",
    "should_request_review",
    "loop_preflight",
    "loop_plan",
    "loop_start",
    "loop_status",
    "loop_stop",
    "loop_result",
    "loop_iterate",
    "loop_resume",
    "loop_wait",
];

/// What a tool does to the world.
#[derive(Clone, Copy)]
pub(super) struct Effects {
    pub(super) reads_only: bool,
    pub(super) destroys: bool,
    pub(super) same_twice: bool,
    /// Whether it reaches the network.
    pub(super) open: bool,
}

/// It computes, and touches nothing.
pub(super) const THINKS: Effects = Effects { reads_only: true, destroys: false, same_twice: true, open: false };
/// It shows; after a worker that died it also puts in order what that left, so it does not only read.
pub(super) const LOOKS: Effects = Effects { reads_only: false, ..THINKS };
/// It pays for a call and keeps a record.
pub(super) const ASKS: Effects = Effects { reads_only: false, destroys: false, same_twice: false, open: true };
/// It runs the user's checks and changes files.
pub(super) const WORKS: Effects = Effects { reads_only: false, destroys: true, same_twice: false, open: true };

pub(super) fn tools() -> Vec<Tool> {
    static TOOLS: std::sync::LazyLock<Vec<Tool>> = std::sync::LazyLock::new(make_tools);
    TOOLS.clone()
}

pub(super) fn make_tools() -> Vec<Tool> {
    let plans = Effects { same_twice: true, ..ASKS };
    let stops = Effects { reads_only: false, destroys: false, same_twice: true, open: false };
    vec![
        tool::<ReviewArguments, Review>(
            "codex_review",
            "Ask Codex for a verdict on a decision: GO, NO-GO or MODIFY with conditions, priorities, risks and \
             findings. UNAVAILABLE with its cause means that no review took place. Takes minutes.",
            ASKS,
        ),
        tool::<MethodologyArguments, Review>(
            "methodology_review",
            "Ask Codex whether a method answers the question. Takes minutes.",
            ASKS,
        ),
        tool::<PriorityArguments, Review>(
            "priority_guidance",
            "Ask Codex to put options in order; `priorities` has them, most important first. Takes minutes.",
            ASKS,
        ),
        tool::<OpinionArguments, Review>(
            "second_opinion",
            "Ask Codex about a concern and a proposed solution. Takes minutes.",
            ASKS,
        ),
        tool::<PolicyArguments, PolicyReport>(
            "should_request_review",
            "Say whether a decision is worth a review, and by which rule. Free and instant.",
            THINKS,
        ),
        tool::<NoArguments, PreflightReport>(
            "loop_preflight",
            "Check everything a loop needs here: git, Codex, account, sandbox.",
            plans,
        ),
        tool::<PlanArguments, PlanReport>(
            "loop_plan",
            "Make the plan of a loop towards a goal, and its planHash for loop_start. Starts nothing.",
            plans,
        ),
        tool::<StartArguments, Launched>(
            "loop_start",
            "Start exactly the plan with this planHash, in the background. Returns at once.",
            WORKS,
        ),
        tool::<NoArguments, LoopAnswer>("loop_status", "Show the loop of this work tree.", LOOKS),
        tool::<StopArguments, StopReport>("loop_stop", "Stop the loop of this work tree; it can be resumed.", stops),
        tool::<ResultArguments, ResultReport>(
            "loop_result",
            "Show what the loop changed, its proof, and why each proposal lost.",
            LOOKS,
        ),
        tool::<IterateArguments, Launched>(
            "loop_iterate",
            "Run more iterations of the newest loop, in the background. Returns at once.",
            WORKS,
        ),
        tool::<ResumeArguments, Launched>(
            "loop_resume",
            "Go on with the newest loop that stopped or died, in the background. Returns at once.",
            WORKS,
        ),
        tool::<WaitArguments, LoopAnswer>(
            "loop_wait",
            "Wait until the loop of this work tree has ended, or the time is over.",
            LOOKS,
        ),
    ]
}

pub(super) fn tool<A: JsonSchema, R: JsonSchema>(
    name: &'static str,
    description: &'static str,
    effects: Effects,
) -> Tool {
    let mut input = schema::<A>();
    if let Some(Value::Object(properties)) = input.get_mut("properties") {
        properties.insert("cwd".into(), cwd());
    } else {
        input.insert("properties".into(), serde_json::json!({"cwd": cwd()}));
    }
    let output = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<R>().to_value();
    let output = match output {
        Value::Object(map) => map,
        _ => JsonObject::new(),
    };
    Tool::new(name, description, Arc::new(input)).with_raw_output_schema(Arc::new(output)).with_annotations(
        ToolAnnotations::new()
            .read_only(effects.reads_only)
            .destructive(effects.destroys)
            .idempotent(effects.same_twice)
            .open_world(effects.open),
    )
}

pub(super) fn cwd() -> Value {
    serde_json::json!({"type": ["string", "null"], "description": "Folder in the repository [default: the client's first root, or where the server was started]"})
}

pub(super) fn schema<T: JsonSchema>() -> JsonObject {
    match schemars::schema_for!(T).to_value() {
        Value::Object(map) => map,
        _ => JsonObject::new(),
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_named_once_and_has_closed_inputs_and_object_outputs() {
        let tools = tools();
        assert_eq!(tools.iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>(), NAMES);
        for tool in tools {
            assert_eq!(tool.input_schema["type"], "object", "{}", tool.name);
            assert_eq!(tool.input_schema["additionalProperties"], false, "{}", tool.name);
            let output = tool.output_schema.as_ref().unwrap();
            assert_eq!(output["type"], "object", "{}", tool.name);
            jsonschema::validator_for(&Value::Object((**output).clone())).unwrap();
            let annotations = tool.annotations.unwrap();
            assert!(!(annotations.read_only_hint == Some(true) && annotations.destructive_hint == Some(true)));
            // A status puts a dead worker's things in order; the policy alone writes nothing.
            assert_eq!(annotations.read_only_hint == Some(true), tool.name == "should_request_review");
        }
    }
}
