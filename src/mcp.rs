//! The MCP face: tools over standard input and output, each a thin face of an operation. The only user of tokio.
//!
//! It decides nothing about loops or reviews. Every call runs on a thread of its own, so that many go on at once; one
//! that is cancelled, or whose client has gone, ends its Codex.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::Context;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, DiscoverResult, ErrorCode, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion,
    ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, ServiceExt};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::engine::TreeAnswer;
use crate::error::{self, Failure};
use crate::masking::Masker;
use crate::operations::{
    self, Action, Goal, Launched, Options, PlanReport, PlanRequest, PreflightReport, Raise, ReviewRequest, Session,
    Span, StopReport, Watch,
};
use crate::paths;
use crate::plan::Money;
use crate::process;
use crate::report::{LoopStatus, ResultReport, SCHEMA_VERSION, StatusReport, plan_text, result_text, status_text};
use crate::review::{DecisionKind, Kind, PolicyReport, PolicyRequest, Review, Stakes, Verdict, review_text};

/// Between two signs of life during a call; hosts give up on servers that stay silent for long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Longest time calls are given to end their Codex after the client has gone.
const FAREWELL: Duration = Duration::from_secs(15);

/// Longest wait for the client to name its roots.
const ROOTS_WAIT: Duration = Duration::from_secs(2);

/// Longest `loop_wait` where nothing else is said: below the limit hosts give a tool.
const DEFAULT_WAIT_S: u64 = 240;

/// What a model that sees only names is told.
const INSTRUCTIONS: &str = "Ask `codex_review` (or `methodology_review`, `priority_guidance`, `second_opinion`) before \
decisions that cost much; `should_request_review` says when that is due. UNAVAILABLE means that no review took place: \
it is neither a yes nor a no. For work towards a measurable goal: `loop_preflight`, then `loop_plan`, show the plan, \
then `loop_start` with its planHash; watch with `loop_status` or `loop_wait`, read `loop_result`.";

/// Serves until standard input ends or a signal comes, as hosts send one at the end of a session. Returns the signal.
///
/// Returns an error if the runtime cannot be started.
pub fn serve(session: Session) -> anyhow::Result<Option<i32>> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("listen for signals")?;
    std::thread::spawn(move || signals.forever().next().map(|signal| tell.send(signal)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().context("start the MCP server")?;
    let shared = Arc::new(Shared {
        session,
        ended: AtomicBool::new(false),
        running: AtomicUsize::new(0),
        root: Mutex::default(),
    });
    let ours = Arc::clone(&shared);
    let signal = runtime.block_on(async move {
        let input = Input { inner: tokio::io::stdin(), shared: Arc::clone(&ours) };
        // A client that leaves before it has introduced itself is no fault.
        let client = async {
            if let Ok(service) = (Server { shared: Arc::clone(&ours) }).serve((input, tokio::io::stdout())).await {
                let _ = service.waiting().await;
            }
        };
        let signal = tokio::select! {
            () = client => None,
            signal = told => signal.ok(),
        };
        ours.ended.store(true, Ordering::SeqCst);
        let began = tokio::time::Instant::now();
        while ours.running.load(Ordering::SeqCst) > 0 && began.elapsed() < FAREWELL {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        signal
    });
    // A read of standard input may hang for ever; nothing is owed to it.
    runtime.shutdown_background();
    Ok(signal)
}

/// What all calls have in common.
struct Shared {
    session: Session,
    /// Whether the client has gone.
    ended: AtomicBool,
    /// Calls at work.
    running: AtomicUsize,
    /// The client's first root, once it was asked.
    root: Mutex<Root>,
}

/// The client's first root, as far as it is known.
#[derive(Clone, Default)]
enum Root {
    #[default]
    NotAsked,
    /// The client has none that is a folder here.
    None,
    Folder(PathBuf),
}

/// Standard input that notes its own end, so that calls at work learn of it at once.
struct Input<R> {
    inner: R,
    shared: Arc<Shared>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Input<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let over = match &polled {
            Poll::Ready(Ok(())) => buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if over {
            self.shared.ended.store(true, Ordering::SeqCst);
        }
        polled
    }
}

struct Server {
    shared: Arc<Shared>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("cloop", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25))
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "server/discover is not offered; send initialize", None))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools().into_iter().find(|tool| tool.name == name)
    }

    async fn on_roots_list_changed(&self, _: NotificationContext<RoleServer>) {
        *lock(&self.shared.root) = Root::NotAsked;
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.to_string();
        if !NAMES.contains(&name.as_str()) {
            return Err(ErrorData::invalid_params(format!("there is no tool {name}"), None));
        }
        let mut arguments = request.arguments.unwrap_or_default();
        let named = arguments.remove("cwd");
        let named = match named {
            None | Some(Value::Null) => None,
            Some(Value::String(path)) => Some(PathBuf::from(path)),
            Some(_) => {
                let failure = Failure::usage("cwd is no text", "give the path of the repository, or leave it out");
                return Ok(failed(&failure.into()).into());
            }
        };
        let mut session = self.shared.session.clone();
        let codex = CodexTurn::of(&context.meta);
        session.dir = match named {
            Some(path) => session.dir.join(path),
            None => match self.root(&context.peer).await {
                Some(root) => root,
                None => codex.folder(session.dir),
            },
        };
        session.environment.host_session = session.environment.host_session.or(codex.session_id);
        let (sender, mut activity) = unbounded_channel::<String>();
        let ended = Arc::new(AtomicBool::new(false));
        let caller = Caller { shared: Arc::clone(&self.shared), ended: Arc::clone(&ended), sender };
        // Also where this future is dropped, the work must end.
        let end = EndOnDrop(ended);
        let _count = Counted::new(&self.shared);
        let counted = Counted::new(&self.shared);
        let mut job = tokio::task::spawn_blocking(move || {
            let _counted = counted;
            run(&name, arguments, &session, caller)
        });
        let token = context.meta.get_progress_token();
        let mut told = Told { peer: context.peer.clone(), token, count: 0.0, last: String::from("at work") };
        let mut beat = tokio::time::interval(SIGN_OF_LIFE);
        beat.tick().await;
        let done = loop {
            tokio::select! {
                done = &mut job => break done,
                () = context.ct.cancelled() => {
                    // Nobody waits for the answer; the work ends by itself once told.
                    end.0.store(true, Ordering::SeqCst);
                    break job.await;
                }
                // Codex tells of commands and thoughts, not of words, so none is left out.
                Some(text) = activity.recv() => {
                    if told.news(text).await {
                        beat.reset();
                    }
                }
                _ = beat.tick() => told.send().await,
            }
        };
        while let Ok(text) = activity.try_recv() {
            told.news(text).await;
        }
        let result = match done {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(&anyhow::anyhow!("the call broke off: {error}")),
        };
        Ok(result.into())
    }
}

impl Server {
    /// Returns the client's first root, where it has any.
    #[expect(deprecated, reason = "hosts of today name their folder this way; `cwd` is what comes after it")]
    async fn root(&self, peer: &Peer<RoleServer>) -> Option<PathBuf> {
        match lock(&self.shared.root).clone() {
            Root::NotAsked => {}
            Root::None => return None,
            Root::Folder(root) => return Some(root),
        }
        let offers = peer.peer_info().is_some_and(|info| info.capabilities.roots.is_some());
        if !offers {
            return None;
        }
        let listed = tokio::time::timeout(ROOTS_WAIT, peer.list_roots()).await;
        let root = match listed {
            Ok(Ok(listed)) => listed.roots.iter().find_map(|root| path_of(&root.uri)),
            _ => None,
        };
        *lock(&self.shared.root) = root.clone().map_or(Root::None, Root::Folder);
        root
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the path of a `file://` URI.
fn path_of(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let path = &rest[rest.find('/')?..];
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.as_bytes();
    while let [first, rest @ ..] = left {
        let code = (*first == b'%')
            .then(|| rest.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()))
            .flatten();
        bytes.push(code.unwrap_or(*first));
        left = if code.is_some() { &rest[2..] } else { rest };
    }
    Some(PathBuf::from(String::from_utf8(bytes).ok()?))
}

/// What Codex says of its turn beside a call. It offers no roots, and starts the server of a plugin in the plugin's own
/// folder.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CodexTurn {
    session_id: Option<String>,
    /// By the root of the work tree.
    workspaces: std::collections::BTreeMap<PathBuf, Value>,
}

impl CodexTurn {
    fn of(meta: &rmcp::model::RequestMetaObject) -> Self {
        let turn = meta.get("x-codex-turn-metadata").cloned().unwrap_or_default();
        serde_json::from_value(turn).unwrap_or_default()
    }

    /// Returns the workspace, unless `started`, where the server was started, lies in one.
    fn folder(&self, started: PathBuf) -> PathBuf {
        let real = started.canonicalize().unwrap_or_else(|_| started.clone());
        let inside = self.workspaces.keys().any(|root| real.starts_with(root));
        match self.workspaces.keys().find(|root| root.is_dir()) {
            Some(root) if !inside => root.clone(),
            _ => started,
        }
    }
}

struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tells the client how a call goes.
struct Told {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    count: f64,
    last: String,
}

impl Told {
    /// Tells what is new, and returns whether it was.
    async fn news(&mut self, text: String) -> bool {
        if text == self.last {
            return false;
        }
        self.last = text;
        self.send().await;
        true
    }

    async fn send(&mut self) {
        let Some(token) = &self.token else { return };
        self.count += 1.0;
        let told = ProgressNotificationParam::new(token.clone(), self.count).with_message(self.last.clone());
        let _ = self.peer.notify_progress(told).await;
    }
}

/// Whoever waits for a call, as the operations see it.
struct Caller {
    shared: Arc<Shared>,
    ended: Arc<AtomicBool>,
    sender: UnboundedSender<String>,
}

impl Watch for Caller {
    fn activity(&mut self, text: &str) {
        let _ = self.sender.send(text.to_owned());
    }

    fn stop(&mut self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.shared.ended.load(Ordering::SeqCst)
    }
}

/// Returns an error as a model can act on it.
fn failed(error: &anyhow::Error) -> CallToolResult {
    let (_, document) = error::describe(error);
    let mut text = format!("{}: {}", document.error.code, document.error.message);
    if let Some(hint) = &document.error.hint {
        text.push_str("\nWhat to do: ");
        text.push_str(hint);
    }
    CallToolResult::error(vec![ContentBlock::text(Masker::default().text(&text))])
}

/// Returns an answer for readers and programs, secrets masked.
fn answered(document: &impl Serialize, text: &str) -> anyhow::Result<CallToolResult> {
    let masker = Masker::default();
    let mut value = serde_json::to_value(document).context("write the answer")?;
    masker.value(&mut value);
    let mut result = CallToolResult::success(vec![ContentBlock::text(masker.text(text))]);
    result.structured_content = Some(value);
    Ok(result)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReviewArguments {
    /// What is asked, with what the reviewer has to know
    prompt: String,
    /// Reasoning effort [default: high]
    #[serde(default)]
    reasoning_effort: Option<String>,
    /// File that takes the verdict for a reader; inside the repository or the temporary folder
    #[serde(default)]
    output_file: Option<String>,
    /// Codex model
    #[serde(default)]
    model: Option<String>,
    /// What the review is about; without it the prompt is sent as it is
    #[serde(default)]
    review_type: Option<Kind>,
    /// File that is put in front of the question
    #[serde(default)]
    agent_file: Option<String>,
    /// Longest wait [default: 300]
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MethodologyArguments {
    /// The question of method
    question: String,
    /// What the reviewer has to know
    #[serde(default)]
    context: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PriorityArguments {
    /// What is to be put in order
    options: Vec<String>,
    /// What the reviewer has to know
    #[serde(default)]
    context: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OpinionArguments {
    /// What is worrying
    concern: String,
    /// What is proposed
    proposed_solution: String,
    /// What the reviewer has to know
    #[serde(default)]
    context: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PolicyArguments {
    /// What the decision is about: a type of review, or trivial, specified, execution
    decision_type: String,
    /// How sure you are, from 0 to 1
    confidence: f64,
    /// What hangs on it
    stakes: Stakes,
    /// How many options there are
    #[serde(default)]
    options: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlanArguments {
    /// The goal, in words
    goal: String,
    /// What must be true at the end, in words
    #[serde(default)]
    accept: Vec<String>,
    /// Options as the flags of `start` are called, for example {"test-cmd": "npm test"}
    #[serde(default)]
    options: Options,
    /// Make, guard and rank proposals, and apply nothing
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartArguments {
    /// Hash of the plan, as `loop_plan` returned it
    plan_hash: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StopArguments {
    /// End the worker and all its processes if it does not stop by itself
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResultArguments {
    /// Only this iteration
    #[serde(default)]
    iteration: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct IterateArguments {
    /// How many iterations more [default: 1]
    #[serde(default)]
    count: Option<u32>,
}

/// What to do with a work tree that somebody changed.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Changed {
    /// Go on from the user's edits.
    Adopt,
    /// Go on from the loop's best state; the edits stay in a ref.
    Discard,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResumeArguments {
    /// Raise the most iterations
    #[serde(default)]
    max_iterations: Option<u32>,
    /// Raise the most time, in seconds
    #[serde(default)]
    max_seconds: Option<u64>,
    /// Raise the most Codex calls
    #[serde(default)]
    max_calls: Option<u32>,
    /// Raise the most tokens
    #[serde(default)]
    max_tokens: Option<u64>,
    /// Raise the most money, by the user's own prices
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    max_cost: Option<Money>,
    /// Answer to a loop that stopped for a changed work tree
    #[serde(default)]
    changed_tree: Option<Changed>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaitArguments {
    /// Longest wait in seconds [default: 240]
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

/// The loop of a work tree.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LoopAnswer {
    schema_version: u32,
    /// Null where no loop has run.
    r#loop: Option<StatusReport>,
    /// Whether the wait ended before the loop did.
    timed_out: bool,
}

/// The names of the tools.
const NAMES: [&str; 14] = [
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
struct Effects {
    reads_only: bool,
    destroys: bool,
    same_twice: bool,
    /// Whether it reaches the network.
    open: bool,
}

/// It computes, and touches nothing.
const THINKS: Effects = Effects { reads_only: true, destroys: false, same_twice: true, open: false };
/// It shows; after a worker that died it also puts in order what that left, so it does not only read.
const LOOKS: Effects = Effects { reads_only: false, ..THINKS };
/// It pays for a call and keeps a record.
const ASKS: Effects = Effects { reads_only: false, destroys: false, same_twice: false, open: true };
/// It runs the user's checks and changes files.
const WORKS: Effects = Effects { reads_only: false, destroys: true, same_twice: false, open: true };

fn tools() -> Vec<Tool> {
    static TOOLS: std::sync::LazyLock<Vec<Tool>> = std::sync::LazyLock::new(make_tools);
    TOOLS.clone()
}

fn make_tools() -> Vec<Tool> {
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

fn tool<A: JsonSchema, R: JsonSchema>(name: &'static str, description: &'static str, effects: Effects) -> Tool {
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

fn cwd() -> Value {
    serde_json::json!({"type": ["string", "null"], "description": "Folder in the repository [default: the client's first root, or where the server was started]"})
}

fn schema<T: JsonSchema>() -> JsonObject {
    match schemars::schema_for!(T).to_value() {
        Value::Object(map) => map,
        _ => JsonObject::new(),
    }
}

fn parse<T: DeserializeOwned>(arguments: JsonObject) -> anyhow::Result<T> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| {
        Failure::usage(format!("the arguments do not fit: {error}"), "see the tool's input schema").into()
    })
}

/// Runs one call on its own thread.
fn run(name: &str, arguments: JsonObject, session: &Session, mut caller: Caller) -> anyhow::Result<CallToolResult> {
    match name {
        "codex_review" => {
            let arguments: ReviewArguments = parse(arguments)?;
            let output = arguments.output_file.map(|path| safe_output(session, &path)).transpose()?;
            let request = ReviewRequest {
                prompt: Some(arguments.prompt),
                kind: arguments.review_type,
                effort: arguments.reasoning_effort,
                model: arguments.model,
                output,
                agent_file: arguments.agent_file.map(PathBuf::from),
                timeout: arguments.timeout_seconds.map(|seconds| Span { ms: seconds.saturating_mul(1000).max(1) }),
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
            answered(&report, &report.message)
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
    let review = operations::review(session, &request, caller)?;
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

    #[test]
    fn the_folder_of_codex_counts_where_the_server_was_started_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (project, plugin) = (root.join("project/sub"), root.join("plugin"));
        std::fs::create_dir_all(&project).unwrap();
        std::fs::create_dir_all(&plugin).unwrap();
        let workspace = root.join("project");
        let turn = |path: &Path| -> CodexTurn {
            serde_json::from_value(serde_json::json!({"session_id": "s", "workspaces": {path.to_str().unwrap(): {}}}))
                .unwrap()
        };
        assert_eq!(turn(&workspace).folder(plugin.clone()), workspace);
        assert_eq!(turn(&workspace).folder(project.clone()), project);
        assert_eq!(turn(&root.join("gone")).folder(plugin.clone()), plugin);
        assert_eq!(CodexTurn::default().folder(plugin.clone()), plugin);
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

    #[test]
    fn roots_are_read_from_their_uris() {
        assert_eq!(path_of("file:///a%20b/%C3%BC"), Some(PathBuf::from("/a b/ü")));
        assert_eq!(path_of("file://localhost/x%2"), Some(PathBuf::from("/x%2")));
        assert_eq!(path_of("https://x/y"), None);
    }
}
