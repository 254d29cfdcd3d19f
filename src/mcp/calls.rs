//! What each tool does: arguments in, an operation, its answer out.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Caller;
use super::tools::{
    Changed, IterateArguments, LoopAnswer, MethodologyArguments, NoArguments, OpinionArguments, PlanArguments,
    PolicyArguments, PriorityArguments, ResultArguments, ResumeArguments, ReviewArguments, StartArguments,
    StopArguments, WaitArguments, schema,
};
use super::words::of_tools;
use crate::engine::TreeAnswer;
use crate::error::{self, Failure};
use crate::masking;
use crate::operations::{self, Action, Goal, PlanRequest, Raise, ReviewRequest, Session, Watch};
use crate::options::{Options, Span};
use crate::paths;
use crate::process;
use crate::report::{LoopStatus, SCHEMA_VERSION, StatusReport, plan_text, result_text, status_text};
use crate::review::{DecisionKind, Kind, PolicyRequest, Verdict, review_text};

/// Longest `loop_wait` where nothing else is said: below the limit hosts give a tool.
const DEFAULT_WAIT_S: u64 = 240;

/// Most places of arguments that are named in one error.
const MAX_PLACES: usize = 5;

/// Returns an error as a model can act on it.
pub(super) fn failed(error: &anyhow::Error) -> CallToolResult {
    let (_, document) = error::describe(error);
    let mut text = format!("{}: {}", document.error.code, document.error.message);
    if let Some(hint) = &document.error.hint {
        text.push_str("\nWhat to do: ");
        text.push_str(hint);
    }
    CallToolResult::error(vec![ContentBlock::text(masking::shown().text(&of_tools(&text)))])
}

/// Returns an answer for readers and programs, secrets masked.
fn answered(document: &impl Serialize, text: &str) -> anyhow::Result<CallToolResult> {
    let masker = masking::shown();
    let mut value = serde_json::to_value(document).context("write the answer")?;
    masker.value(&mut value);
    let mut result = CallToolResult::success(vec![ContentBlock::text(masker.text(text))]);
    result.structured_content = Some(value);
    Ok(result)
}

/// Returns the arguments, or a usage error that says which of them does not fit.
fn parse<T: DeserializeOwned + JsonSchema>(arguments: JsonObject) -> anyhow::Result<T> {
    let arguments = Value::Object(arguments);
    serde_json::from_value(arguments.clone()).map_err(|error| {
        // The parser knows what is wrong, the schema where.
        let validator = jsonschema::validator_for(&Value::Object(schema::<T>()));
        let places: BTreeSet<String> = validator
            .iter()
            .flat_map(|validator| validator.iter_errors(&arguments))
            .map(|fault| fault.instance_path().to_string().trim_start_matches('/').to_owned())
            .filter(|place| !place.is_empty())
            .collect();
        let places: Vec<String> = places.into_iter().take(MAX_PLACES).collect();
        let at = if places.is_empty() { String::new() } else { format!(" (at {})", places.join(", ")) };
        Failure::usage(format!("the arguments do not fit: {error}{at}"), "see the tool's input schema").into()
    })
}

/// Returns a text that says something: hosts fill in what their model left out with an empty one.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// Runs one call on its own thread.
pub(super) fn run(
    name: &str,
    arguments: JsonObject,
    session: &Session,
    mut caller: Caller,
) -> anyhow::Result<CallToolResult> {
    match name {
        "codex_review" => {
            let arguments: ReviewArguments = parse(arguments)?;
            if arguments.timeout_seconds == Some(0) {
                return Err(
                    Failure::usage("timeout_seconds is 0", "a review takes minutes; leave it out for 300").into()
                );
            }
            let output = said(arguments.output_file).map(|path| safe_output(session, &path)).transpose()?;
            let request = ReviewRequest {
                prompt: Some(arguments.prompt),
                kind: arguments.review_type,
                effort: said(arguments.reasoning_effort),
                model: said(arguments.model),
                output,
                agent_file: said(arguments.agent_file).map(PathBuf::from),
                timeout: arguments.timeout_seconds.map(|seconds| Span { ms: seconds.saturating_mul(1000) }),
                ..ReviewRequest::default()
            };
            review(session, request, &mut caller)
        }
        "methodology_review" => {
            let arguments: MethodologyArguments = parse(arguments)?;
            let request = ReviewRequest {
                kind: Some(Kind::Methodology),
                question: Some(arguments.question),
                context: context_of(arguments.context),
                ..ReviewRequest::default()
            };
            review(session, request, &mut caller)
        }
        "priority_guidance" => {
            let arguments: PriorityArguments = parse(arguments)?;
            let request = ReviewRequest {
                kind: Some(Kind::Priority),
                options: arguments.options,
                context: context_of(arguments.context),
                ..ReviewRequest::default()
            };
            review(session, request, &mut caller)
        }
        "second_opinion" => {
            let arguments: OpinionArguments = parse(arguments)?;
            let request = ReviewRequest {
                kind: Some(Kind::SecondOpinion),
                concern: Some(arguments.concern),
                proposed: Some(arguments.proposed_solution),
                context: context_of(arguments.context),
                ..ReviewRequest::default()
            };
            review(session, request, &mut caller)
        }
        "should_request_review" => {
            let report = operations::review_policy(&policy(&parse(arguments)?)?)?;
            let word = if report.review { "Ask for a review" } else { "No review is needed" };
            answered(&report, &format!("{word}: {}.", report.reason))
        }
        "loop_preflight" => {
            let NoArguments {} = parse(arguments)?;
            let report = operations::preflight(session, &Options::default())?;
            let rows = report.rows.iter().map(|row| {
                let hint = row.hint.as_ref().map(|hint| format!(" → {hint}")).unwrap_or_default();
                format!("{} {}: {}{hint}\n", if row.ok { "ok" } else { "FAIL" }, row.name, row.detail)
            });
            answered(&report, &rows.collect::<String>())
        }
        "loop_plan" => {
            let arguments: PlanArguments = parse(arguments)?;
            let request = PlanRequest {
                goal: Goal { text: Some(arguments.goal), accept: arguments.accept },
                options: arguments.options,
                dry_run: arguments.dry_run,
            };
            let (report, _) = operations::plan(session, &request)?;
            answered(&report, &plan_text(&report.plan, &report.plan_hash, &report.notes, &report.forecast))
        }
        "loop_start" => {
            let arguments: StartArguments = parse(arguments)?;
            operations::check_approved(session, &arguments.plan_hash, None)?;
            launch(session, Action::Start { plan_hash: arguments.plan_hash })
        }
        "loop_status" => {
            let NoArguments {} = parse(arguments)?;
            loop_answer(operations::status(session)?, false)
        }
        "loop_stop" => {
            let arguments: StopArguments = parse(arguments)?;
            let report = operations::stop(session, arguments.force)?;
            answered(&report, &of_tools(&report.message))
        }
        "loop_result" => {
            let arguments: ResultArguments = parse(arguments)?;
            let report = operations::result(session, arguments.iteration)?;
            answered(&report, &result_text(&report))
        }
        "loop_iterate" => {
            let arguments: IterateArguments = parse(arguments)?;
            let used = operations::status(session)?.map_or(0, |status| status.budget.iterations.used);
            let most = used.saturating_add(u64::from(arguments.count.unwrap_or(1).max(1)));
            let raise = Raise { max_iterations: Some(u32::try_from(most).unwrap_or(u32::MAX)), ..Raise::default() };
            launch(session, Action::Resume { raise, answer: None })
        }
        "loop_resume" => {
            let arguments: ResumeArguments = parse(arguments)?;
            let raise = Raise {
                max_iterations: arguments.max_iterations,
                max_time_ms: arguments.max_seconds.map(|seconds| seconds.saturating_mul(1000)),
                max_calls: arguments.max_calls,
                max_tokens: arguments.max_tokens,
                max_cost: arguments.max_cost,
            };
            let answer = arguments.changed_tree.map(|changed| match changed {
                Changed::Adopt => TreeAnswer::Adopt,
                Changed::Discard => TreeAnswer::Discard,
            });
            launch(session, Action::Resume { raise, answer })
        }
        "loop_wait" => {
            let arguments: WaitArguments = parse(arguments)?;
            wait(session, arguments.timeout_seconds.unwrap_or(DEFAULT_WAIT_S), &mut caller)
        }
        other => anyhow::bail!("the tool {other} is listed but not built"),
    }
}

fn context_of(context: Option<String>) -> Vec<String> {
    context.filter(|text| !text.trim().is_empty()).map(|text| format!("Context={text}")).into_iter().collect()
}

fn review(session: &Session, mut request: ReviewRequest, caller: &mut Caller) -> anyhow::Result<CallToolResult> {
    if session.environment.host_session.is_none() {
        // One server is one session of its host.
        let pid = std::process::id();
        request.session = Some(format!("mcp-{pid}-{}", process::process_start_time(pid).unwrap_or_default()));
    }
    let mut review = operations::review(session, &request, caller)?;
    review.detail = review.detail.map(|detail| of_tools(&detail));
    answered(&review, &review_text(&review))
}

/// Returns where a model may have a verdict written: inside the repository, or in the temporary folder; never over
/// what belongs to git or to the loop.
fn safe_output(session: &Session, path: &str) -> anyhow::Result<PathBuf> {
    let refused = |why: &str| {
        Failure::usage(format!("output_file {path} {why}"), "name a path inside the repository, for example verdict.md")
    };
    let full = session.dir.join(path);
    let name = full.file_name().ok_or_else(|| refused("names no file"))?;
    let parent = full.parent().unwrap_or(Path::new("."));
    let folder = parent.canonicalize().map_err(|error| refused(&format!("is in no folder that exists: {error}")))?;
    let real = folder.join(name);
    if !may_replace(&real) {
        return Err(refused("holds something else than a verdict, which would be lost").into());
    }
    let root = match session.repository() {
        Ok(repository) => repository.root().to_owned(),
        Err(_) => session.dir.canonicalize().context("open the folder")?,
    };
    if let Ok(relative) = real.strip_prefix(&root) {
        return match relative.to_str().map(paths::fault) {
            Some(None) => Ok(real),
            Some(Some(fault)) => Err(refused(fault.reason()).into()),
            None => Err(refused("is not UTF-8").into()),
        };
    }
    let temporary = [std::env::temp_dir(), PathBuf::from("/tmp")];
    let inside = temporary.iter().filter_map(|dir| dir.canonicalize().ok()).any(|dir| real.starts_with(dir));
    if inside { Ok(real) } else { Err(refused("is outside the repository").into()) }
}

/// Says whether a model may have a file replaced: one that is not there, is empty, or holds an earlier verdict.
fn may_replace(path: &Path) -> bool {
    let Ok(meta) = path.symlink_metadata() else { return true };
    if !meta.is_file() {
        return false;
    }
    let mut begin = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(64).read_to_end(&mut begin));
    let verdicts = [Verdict::Go, Verdict::NoGo, Verdict::Modify, Verdict::Unavailable];
    let is_verdict = verdicts.iter().any(|verdict| begin.starts_with(format!("# {} — ", verdict.name()).as_bytes()));
    read.is_ok() && (begin.is_empty() || is_verdict)
}

fn policy(arguments: &PolicyArguments) -> anyhow::Result<PolicyRequest> {
    let name = arguments.decision_type.trim().to_lowercase().replace('_', "-");
    let decision: Option<DecisionKind> = serde_json::from_value(Value::String(name.clone())).ok();
    let kind: Option<Kind> = serde_json::from_value(Value::String(name)).ok();
    let kind = match (kind, decision) {
        (Some(kind), _) => kind,
        (None, Some(_)) => Kind::Technical,
        (None, None) => {
            let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            return Err(Failure::usage(
                format!("decision_type {} is not known", arguments.decision_type),
                format!("use one of: {}, trivial, specified, execution", names.join(", ")),
            )
            .into());
        }
    };
    Ok(PolicyRequest {
        kind,
        confidence: arguments.confidence,
        stakes: arguments.stakes,
        options: arguments.options,
        decision,
    })
}

fn launch(session: &Session, action: Action) -> anyhow::Result<CallToolResult> {
    let launched = operations::launch(session, action)?;
    let text = format!(
        "Loop {} runs on its own (pid {}). Watch it with loop_status or loop_wait; stop it with loop_stop.",
        launched.run_id, launched.pid
    );
    answered(&launched, &text)
}

fn loop_answer(report: Option<StatusReport>, timed_out: bool) -> anyhow::Result<CallToolResult> {
    let text = match &report {
        Some(report) => status_text(report),
        None => "No loop has run in this work tree. Make a plan with loop_plan.".to_owned(),
    };
    answered(&LoopAnswer { schema_version: SCHEMA_VERSION, r#loop: report, timed_out }, &text)
}

fn wait(session: &Session, seconds: u64, caller: &mut Caller) -> anyhow::Result<CallToolResult> {
    let began = std::time::Instant::now();
    loop {
        let left = Duration::from_secs(seconds).saturating_sub(began.elapsed());
        // In slices, so that a cancelled wait ends.
        let slice = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).clamp(1, 500);
        let Some((report, more)) = operations::wait(session, Some(slice))? else {
            return loop_answer(None, false);
        };
        if !more || left.is_zero() || caller.stop() {
            return loop_answer(Some(report), more);
        }
        let step = report.step.as_deref().unwrap_or("at work");
        let word = if report.status == LoopStatus::Paused { "waiting" } else { step };
        caller.activity(&format!("iteration {}: {word}", report.budget.iterations.used));
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        let fault = |arguments: Value| {
            let Value::Object(arguments) = arguments else { panic!() };
            format!("{:#}", parse::<ReviewArguments>(arguments).unwrap_err())
        };
        for (arguments, parts) in [
            (serde_json::json!({"prompt": null}), ["(at prompt)", "null"]),
            (serde_json::json!({"prompt": "x", "timeout_seconds": "60"}), ["(at timeout_seconds)", "string"]),
            (serde_json::json!({}), ["missing field `prompt`", ""]),
            (serde_json::json!({"prompt": "x", "promt": 1}), ["unknown field `promt`", "`reasoning_effort`"]),
        ] {
            let said = fault(arguments);
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }

    #[test]
    fn no_file_but_a_verdict_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        assert!(may_replace(&folder.path().join("none")) && may_replace(&file("empty", "")));
        assert!(may_replace(&file("verdict", "# NO-GO — scale\n")));
        assert!(!may_replace(&file("source", "# GOAL\n")) && !may_replace(folder.path()));
        std::os::unix::fs::symlink(folder.path().join("empty"), folder.path().join("link")).unwrap();
        assert!(!may_replace(&folder.path().join("link")));
    }
}
