//! The worker that outlives its parent: started with an order, it says when it has the lock, and then runs the loop.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::running::{Ended, Raise, resume, start_approved};
use super::{Session, holding};
use crate::engine::event::Record;
use crate::engine::{State, TreeAnswer};
use crate::error::{self, ExitCode, Failure};
use crate::process;
use crate::report::SCHEMA_VERSION;
use crate::runtime::Observer;
use crate::store::write_atomic;

/// The hidden first argument of a worker.
pub(crate) const WORKER_ARGUMENT: &str = "__worker";

/// Longest time a worker may take to say that it has the lock. It examines Codex first, which tries the network.
const READY_WAIT: Duration = Duration::from_secs(90);

/// Between two looks for that word.
const TICK: Duration = Duration::from_millis(20);

/// What a worker is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "type")]
pub enum Action {
    /// Start the plan kept under this hash.
    Start { plan_hash: String },
    /// Go on with the newest loop.
    Resume { raise: Raise, answer: Option<TreeAnswer> },
}

/// The order a worker finds in its file.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    dir: PathBuf,
    log: PathBuf,
    action: Action,
}

/// A worker's first word.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "type")]
enum Word {
    Ready { run_id: String },
    Failed { exit: u8, name: String, message: String, hint: Option<String> },
}

/// A loop that runs on its own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Launched {
    pub schema_version: u32,
    pub run_id: String,
    pub pid: u32,
    /// File with the worker's messages.
    pub log: String,
    /// Commands to type next.
    pub next: Vec<String>,
}

/// Starts a worker in a session of its own and returns when it has the lock.
///
/// Returns the worker's own failure if it has one before that.
pub fn launch(session: &Session, action: Action) -> anyhow::Result<Launched> {
    let repository = session.repository()?;
    let store = session.store(&repository);
    store.create()?;
    // A held lock is told at once, without a worker.
    if let Some(holder) = store.holder()?.filter(|holder| !holder.run_id.is_empty()) {
        return Err(holding::held(Some(&holder), repository.root()).into());
    }
    let dir = session.dir.canonicalize().with_context(|| format!("open {}", session.dir.display()))?;
    let orders = store.orders()?;
    let stamp = format!("{}-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S"), std::process::id());
    let path = orders.join(format!("{stamp}.json"));
    let log = orders.join(format!("{stamp}.log"));
    let order = Order { dir: dir.clone(), log: log.clone(), action };
    write_atomic(&path, &serde_json::to_vec_pretty(&order).context("write the worker's order")?)?;
    let program = process::Shim::current()?.path;
    let argv = [program.into_os_string(), WORKER_ARGUMENT.into(), path.clone().into_os_string()];
    let mut worker = process::start_detached(&argv, &dir, &log)?;
    let word = wait_for_word(&mut worker, &word_path(&path), &log);
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_file(word_path(&path));
    match word? {
        Word::Ready { run_id } => Ok(Launched {
            schema_version: SCHEMA_VERSION,
            run_id,
            pid: worker.pid(),
            log: log.display().to_string(),
            next: vec!["loop-companion status --follow".into(), "loop-companion stop".into()],
        }),
        Word::Failed { exit, name, message, hint } => {
            Err(Failure::new(exit_code(exit), known_name(&name), message, hint.unwrap_or_default()).into())
        }
    }
}

fn word_path(order: &Path) -> PathBuf {
    order.with_extension("ready")
}

fn wait_for_word(worker: &mut process::Detached, path: &Path, log: &Path) -> anyhow::Result<Word> {
    let started = Instant::now();
    loop {
        // Asked before the file is read, so that a worker's last word is not missed.
        let ended = worker.has_ended();
        if let Ok(bytes) = std::fs::read(path) {
            return serde_json::from_slice(&bytes).context("read the worker's word");
        }
        if ended {
            let tail = crate::checks::log_tail(log, 2000);
            anyhow::bail!("the worker ended before it had the lock: {}", tail.trim());
        }
        if started.elapsed() > READY_WAIT {
            anyhow::bail!(
                "the worker (pid {}) has not got the lock after {} s; its messages are in {}",
                worker.pid(),
                READY_WAIT.as_secs(),
                log.display()
            );
        }
        std::thread::sleep(TICK);
    }
}

fn exit_code(code: u8) -> ExitCode {
    [ExitCode::NotMet, ExitCode::Usage, ExitCode::Preflight, ExitCode::Held, ExitCode::State, ExitCode::Codex]
        .into_iter()
        .find(|known| *known as u8 == code)
        .unwrap_or(ExitCode::Internal)
}

/// Failure names are constants; a worker of this very program can only name one of them.
fn known_name(name: &str) -> &'static str {
    const NAMES: [&str; 16] = [
        "usage",
        "held",
        "dirty",
        "face",
        "git-failed",
        "store",
        "codex",
        "not-signed-in",
        "not-resumable",
        "state-newer",
        "state-unreadable",
        "setup-failed",
        "not-a-repository",
        "no-commit",
        "disk-full",
        "bare-repository",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("internal")
}

/// Runs as the worker whose order is in this file: leaves the session, says when it has the lock, runs the loop.
///
/// Returns how it ended, or the failure that was also given to whoever started it.
pub fn work(
    order: &Path,
    environment: crate::config::Environment,
    observer: &mut dyn Observer,
) -> anyhow::Result<Ended> {
    let word = word_path(order);
    let result = begin(order, environment, &mut Announcer { observer, word: Some(word.clone()) });
    if let Err(error) = &result {
        let (exit, document) = error::describe(error);
        let body = document.error;
        let failed = Word::Failed { exit, name: body.code, message: body.message, hint: body.hint };
        // Only where nobody has been told otherwise.
        if order.exists()
            && !word.exists()
            && let Ok(bytes) = serde_json::to_vec(&failed)
        {
            let _ = write_atomic(&word, &bytes);
        }
    }
    result
}

fn begin(order: &Path, environment: crate::config::Environment, observer: &mut dyn Observer) -> anyhow::Result<Ended> {
    process::leave_session()?;
    let bytes = std::fs::read(order).with_context(|| format!("read {}", order.display()))?;
    let order: Order = serde_json::from_slice(&bytes).context("read the worker's order")?;
    let session = Session { dir: order.dir, environment, worker_log: Some(order.log) };
    match order.action {
        Action::Start { plan_hash } => start_approved(&session, &plan_hash, None, observer),
        Action::Resume { raise, answer } => resume(&session, &raise, answer, observer),
    }
}

/// Tells whoever started the worker that the loop runs, at the first event that is in the journal.
struct Announcer<'a> {
    observer: &'a mut dyn Observer,
    word: Option<PathBuf>,
}

impl Observer for Announcer<'_> {
    fn event(&mut self, state: &State, record: &Record, line: Option<&str>) {
        if let Some(path) = self.word.take()
            && let Ok(bytes) = serde_json::to_vec(&Word::Ready { run_id: state.started.run_id.clone() })
        {
            let _ = write_atomic(&path, &bytes);
        }
        self.observer.event(state, record, line);
    }

    fn activity(&mut self, state: &State, text: &str) {
        self.observer.activity(state, text);
    }
}

/// The command line a worker is started with, for whoever lists processes.
pub(crate) fn is_worker(arguments: &[OsString]) -> Option<PathBuf> {
    (arguments.get(1)? == WORKER_ARGUMENT).then(|| arguments.get(2).map(PathBuf::from))?
}
