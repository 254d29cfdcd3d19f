//! Which loops a work tree has, and holding one: the lock, and what a worker works with.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Session;
use super::codex_check::CodexReport;
use crate::engine::State;
use crate::error::{ExitCode, Failure};
use crate::process;
use crate::runtime::{CodexSetup, Resources, StopSignal};
use crate::store::{Holder, Lock, LockError, Run, Store};
use crate::workspace::Repository;

/// Returns the newest run and its state, or `None` where there is no loop.
pub(super) fn latest(store: &Store) -> anyhow::Result<Option<(Run, State)>> {
    let Some(run) = store.latest()? else { return Ok(None) };
    let journal = run.journal().map_err(Failure::from)?;
    let state = State::replay(&journal.records).ok_or_else(|| {
        Failure::new(
            ExitCode::State,
            "state-unreadable",
            format!("{} does not begin with the start of a loop", run.journal_path().display()),
            "move the run's folder away; nothing was changed",
        )
    })?;
    Ok(Some((run, state)))
}

/// Returns the failure for a work tree without a loop.
pub(super) fn no_loop() -> Failure {
    Failure::usage("there is no loop in this work tree", "start one with `loop-companion start`")
}

/// Returns the newest loops of a work tree, oldest first, and how many of them cannot be read.
pub(super) fn states(store: &Store, most: usize) -> anyhow::Result<(Vec<State>, u32)> {
    let mut states = Vec::new();
    let mut unreadable = 0;
    let runs = store.runs()?;
    for id in &runs[runs.len().saturating_sub(most)..] {
        match store.run(id).journal().ok().and_then(|journal| State::replay(&journal.records)) {
            Some(state) => states.push(state),
            None => unreadable += 1,
        }
    }
    Ok((states, unreadable))
}

/// A work tree's newest loop, held.
pub(super) struct HeldLoop {
    pub(super) repository: Repository,
    pub(super) store: Store,
    pub(super) run: Run,
    pub(super) state: State,
    pub(super) lock: Lock,
}

/// Takes the lock of this work tree's newest loop.
///
/// Returns a usage error if there is none, and the failure of a held lock if it runs.
pub(super) fn hold(session: &Session) -> anyhow::Result<HeldLoop> {
    let repository = session.repository()?;
    let store = session.store(&repository);
    let (run, state) = latest(&store)?.ok_or_else(no_loop)?;
    let lock = take_lock(&store, &run.id, repository.root())?;
    // Another worker may have gone on between reading and locking.
    let (run, state) = latest(&store)?.unwrap_or((run, state));
    Ok(HeldLoop { repository, store, run, state, lock })
}

/// Returns the failure for a work tree that another loop holds.
pub(super) fn held(holder: Option<&Holder>, root: &Path) -> Failure {
    let who = match holder {
        Some(holder) if holder.pid != 0 && holder.run_id.is_empty() => format!("pid {}", holder.pid),
        Some(holder) if holder.pid != 0 => format!("pid {}, run {}", holder.pid, holder.run_id),
        _ => "its pid cannot be read".to_owned(),
    };
    Failure::new(
        ExitCode::Held,
        "held",
        format!("another loop works on {} ({who})", root.display()),
        "watch it with `loop-companion status --follow`, or end it with `loop-companion stop`",
    )
}

pub(super) fn store_failure(error: &anyhow::Error) -> Failure {
    if crate::error::is_disk_full(error) {
        return Failure::disk_full(error);
    }
    Failure::preflight("store", format!("{error:#}"), STORE_HINT)
}

/// What to do where the store cannot be kept.
pub(super) const STORE_HINT: &str = "the loop keeps its journal in a folder of your own in the repository's git folder; make that writable, and move \
     away what stands there";

/// Longest wait for a lock whose holder has not said which loop it is for: somebody who starts one is about to say
/// so, and somebody who puts things in order is about to let go.
const UNNAMED_WAIT: Duration = Duration::from_secs(30);

/// Between two tries.
const TICK: Duration = Duration::from_millis(50);

/// Takes the lock, for the loop with this id, or for none yet. A stop request that was not for this worker is taken
/// back before anybody can see for whom the lock is held, so that one that is for it cannot get lost.
pub(super) fn take_lock(store: &Store, run_id: &str, root: &Path) -> anyhow::Result<Lock> {
    let asked = Instant::now();
    let mut lock = loop {
        match store.lock(&me("")) {
            Ok(lock) => break lock,
            Err(LockError::Failed(error)) => return Err(store_failure(&error).into()),
            Err(LockError::Held(holder)) => {
                let named = holder.as_ref().is_some_and(|holder| !holder.run_id.is_empty());
                if named || asked.elapsed() >= UNNAMED_WAIT {
                    return Err(held(holder.as_ref(), root).into());
                }
            }
        }
        std::thread::sleep(TICK);
    };
    store.clear_stop()?;
    if !run_id.is_empty() {
        lock.name(&me(run_id)).context("write the lock")?;
    }
    Ok(lock)
}

/// Returns who holds the lock, once it is known for which loop.
pub(super) fn named_holder(store: &Store) -> anyhow::Result<Option<Holder>> {
    let asked = Instant::now();
    loop {
        match store.holder()? {
            Some(holder) if holder.run_id.is_empty() && asked.elapsed() < UNNAMED_WAIT => std::thread::sleep(TICK),
            holder => return Ok(holder),
        }
    }
}

fn me(run_id: &str) -> Holder {
    let pid = std::process::id();
    Holder {
        pid,
        start_time: process::process_start_time(pid),
        run_id: run_id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Returns what a worker works with; without a Codex, for one who only puts things in order.
pub(super) fn resources(
    session: &Session,
    repository: &Repository,
    store: Store,
    run: Run,
    mut lock: Lock,
    codex: Option<&CodexReport>,
) -> anyhow::Result<Resources> {
    // One who only puts things in order is no worker, and must not be taken for one.
    if codex.is_some() {
        lock.name(&me(&run.id)).context("write the lock")?;
    }
    let stop = StopSignal::listen(&store.stop_path(), session.worker_log.is_some())?;
    Ok(Resources {
        repository: repository.clone(),
        store,
        run,
        lock,
        codex: codex.map(|codex| CodexSetup {
            program: codex.program.clone(),
            version: codex.version.clone(),
            env: codex.env.clone(),
            mcp_off: codex.mcp_off.clone(),
            can_read: codex.can_read,
        }),
        cache: session.environment.cache.clone(),
        pytest_addopts: session.environment.pytest_addopts.clone(),
        stop,
        log: session.worker_log.clone(),
    })
}
