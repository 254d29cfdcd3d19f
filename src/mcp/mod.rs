//! The MCP face: tools over standard input and output, each a thin face of an operation. The only user of tokio.
//!
//! It decides nothing about loops or reviews. Every call runs on a thread of its own, so that many go on at once; one
//! that is cancelled, or whose client has gone, ends its Codex. `tools` says what there is, `calls` does it,
//! `words` says what to do in their terms.

mod calls;
mod tools;
mod words;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::Context;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, DiscoverResult, ErrorCode, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, ServiceExt};
use serde::Deserialize;
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::calls::{failed, run};
use self::tools::{NAMES, tools};
use crate::error::Failure;
use crate::masking;
use crate::operations::{Session, Watch};

/// Between two signs of life during a call; hosts give up on servers that stay silent for long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Longest time calls are given to end their Codex after the client has gone.
const FAREWELL: Duration = Duration::from_secs(15);

/// Longest wait for the client to name its roots.
const ROOTS_WAIT: Duration = Duration::from_secs(2);

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
            let text = format!("there is no tool {name}; there are {}", NAMES.join(", "));
            return Err(ErrorData::invalid_params(masking::shown().text(&text), None));
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
        let named = named.map(|path| from_home(path, session.environment.home.as_deref()));
        session.dir = match named {
            Some(path) if path.is_absolute() => path,
            // What is relative is so to the folder that counts without it.
            named => {
                let folder = match self.root(&context.peer).await {
                    Some(root) => root,
                    None => codex.folder(session.dir),
                };
                named.map_or(folder.clone(), |path| folder.join(path))
            }
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
            Ok(Ok(listed)) => listed.roots.iter().filter_map(|root| path_of(&root.uri)).find(|root| root.is_dir()),
            _ => None,
        };
        *lock(&self.shared.root) = root.clone().map_or(Root::None, Root::Folder);
        root
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a path with the user's home folder in the place of a leading `~`, which no shell has seen here.
fn from_home(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
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
#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_home_folder_stands_for_a_leading_tilde() {
        let home = Some(Path::new("/home/ada"));
        for (path, expected) in
            [("~", "/home/ada"), ("~/x y", "/home/ada/x y"), ("~other/x", "~other/x"), ("a/~", "a/~"), ("/~", "/~")]
        {
            assert_eq!(from_home(path.into(), home), Path::new(expected), "{path}");
        }
        assert_eq!(from_home("~/x".into(), None), Path::new("~/x"));
    }

    #[test]
    fn roots_are_read_from_their_uris() {
        assert_eq!(path_of("file:///a%20b/%C3%BC"), Some(PathBuf::from("/a b/ü")));
        assert_eq!(path_of("file://localhost/x%2"), Some(PathBuf::from("/x%2")));
        assert_eq!(path_of("https://x/y"), None);
    }
}
