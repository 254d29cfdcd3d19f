//! Stopping, putting in order, and looking back: what is done to loops rather than by them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Session;
use super::holding::{latest, named_holder, resources, states, take_lock};
use crate::engine::State;
use crate::process;
use crate::report::{HistoryReport, HistoryRow, SCHEMA_VERSION, StatsReport, stats_report, status_report};
use crate::runtime::{Runtime, Unwatched, show};
use crate::store::{Face, Holder, Store};
use crate::workspace::Repository;

/// Longest time `stop` waits for the worker to finish or undo what it is at.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// Time a worker that is ended by force gets between SIGTERM and SIGKILL.
const FORCE_GRACE: Duration = Duration::from_secs(2);

/// Between two looks at whether the worker has gone.
const TICK: Duration = Duration::from_millis(50);

/// Runs kept where `prune` is not told otherwise.
pub(crate) const KEPT_RUNS: u32 = 10;

/// What `stop` came to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StopReport {
    pub schema_version: u32,
    /// Whether nothing runs any more.
    pub stopped: bool,
    /// One sentence for a person.
    pub message: String,
}

/// Says whether no worker has left anything to put in order: the loop has ended and its face says so, or its worker
/// lives.
pub(super) fn in_order(state: &State, holder: Option<&Holder>, root: &Path) -> bool {
    let told = Face::new(root).path("loop-state.json").exists();
    (state.finished && told) || holder.is_some_and(|holder| !holder.run_id.is_empty())
}

/// Puts in order what a dead worker left in this work tree: processes, work trees of ours, a half-written file tree.
/// Nothing is asked of Codex. Where that cannot be done now, the next look or `resume` does it.
pub(super) fn tidy(session: &Session, repository: &Repository) {
    let store = session.store(repository);
    let Ok(Some((run, state))) = latest(&store) else { return };
    if in_order(&state, store.holder().ok().flatten().as_ref(), repository.root()) {
        return;
    }
    let Ok(lock) = take_lock(&store, "", repository.root()) else { return };
    // Somebody may have gone on, or started anew, between reading and locking.
    let Ok(Some((run, state))) = latest(&store).map(|found| found.or(Some((run, state)))) else { return };
    if state.finished {
        let _ = show(&Face::new(repository.root()), &run, &state);
        return;
    }
    end_leftovers(&state);
    if let Ok(resources) = resources(session, repository, store, run, lock, None) {
        let _ = Runtime::tidy(state, resources, &mut Unwatched);
    }
}

/// Ends a worker that no longer holds the lock but lives, as the journal names it.
fn end_leftovers(state: &State) {
    if let Some(worker) = &state.worker
        && let Some(start_time) = worker.start_time
        && worker.pid != std::process::id()
        && process::is_alive(worker.pid, start_time)
    {
        process::end_process_tree(worker.pid, start_time, FORCE_GRACE);
    }
}

fn wait_for_end(store: &Store, holder: &Holder, limit: Duration) -> anyhow::Result<bool> {
    let asked = Instant::now();
    loop {
        if store.holder()?.is_none_or(|now| now.pid != holder.pid || now.run_id != holder.run_id) {
            return Ok(true);
        }
        if asked.elapsed() >= limit {
            return Ok(false);
        }
        std::thread::sleep(TICK);
    }
}

/// Asks this work tree's worker to stop and waits until it has; with `force`, ends it and all its processes.
pub fn stop(session: &Session, force: bool) -> anyhow::Result<StopReport> {
    let repository = session.repository()?;
    let store = session.store(&repository);
    let report = |stopped, message: String| StopReport { schema_version: SCHEMA_VERSION, stopped, message };
    let Some(holder) = named_holder(&store)? else {
        tidy(session, &repository);
        let message = match latest(&store)? {
            None => "No loop has run in this work tree.".to_owned(),
            Some((run, state)) if state.finished => {
                format!("No loop runs in this work tree; loop {} has ended already.", run.id)
            }
            Some((run, _)) => format!(
                "No loop runs in this work tree; the worker of loop {} died. Go on with `loop-companion resume`.",
                run.id
            ),
        };
        return Ok(report(true, message));
    };
    store.request_stop()?;
    if wait_for_end(&store, &holder, if force { FORCE_GRACE } else { STOP_WAIT })? {
        store.clear_stop()?;
        return Ok(report(true, format!("Loop {} is stopped; go on with `loop-companion resume`.", holder.run_id)));
    }
    if !force {
        return Ok(report(
            false,
            format!(
                "The worker (pid {}) has been asked to stop but still lives after {} s. It stops as soon as it can; \
                 `loop-companion stop --force` ends it and all its processes now.",
                holder.pid,
                STOP_WAIT.as_secs()
            ),
        ));
    }
    let ended = holder.start_time.is_some_and(|start| process::end_process_tree(holder.pid, start, FORCE_GRACE));
    if !ended || !wait_for_end(&store, &holder, FORCE_GRACE)? {
        return Ok(report(false, format!("The worker (pid {}) could not be ended.", holder.pid)));
    }
    store.clear_stop()?;
    tidy(session, &repository);
    Ok(report(true, format!("Loop {} was ended by force; go on with `loop-companion resume`.", holder.run_id)))
}

/// Returns the loops of this work tree, newest first. One that cannot be read is a row that says so.
pub fn history(session: &Session) -> anyhow::Result<HistoryReport> {
    let repository = session.repository()?;
    tidy(session, &repository);
    let store = session.store(&repository);
    let live = store.holder()?.map(|holder| holder.run_id);
    let rows = store.runs()?.into_iter().rev().map(|id| {
        let read = store.run(&id).journal().map_err(|error| error.to_string());
        let state = read.and_then(|journal| {
            State::replay(&journal.records).ok_or_else(|| "its journal does not begin with a start".to_owned())
        });
        match state {
            Err(error) => HistoryRow {
                run_id: id,
                goal: None,
                status: None,
                stop_reason: None,
                iterations: 0,
                calls: 0,
                tokens: 0,
                time_ms: 0,
                started_at: None,
                error: Some(error),
            },
            Ok(state) => {
                let status = status_report(&state, live.as_ref() == Some(&id), Timestamp::now());
                HistoryRow {
                    run_id: id,
                    goal: Some(state.plan.goal.clone()),
                    status: Some(status.status),
                    stop_reason: status.stop_reason,
                    iterations: state.used.iterations,
                    calls: state.used.calls,
                    tokens: state.used.tokens.total(),
                    time_ms: state.used.time_ms,
                    started_at: Some(state.started_at),
                    error: None,
                }
            }
        }
    });
    Ok(HistoryReport { schema_version: SCHEMA_VERSION, runs: rows.collect() })
}

/// Returns the figures of all loops of this work tree.
pub fn stats(session: &Session) -> anyhow::Result<StatsReport> {
    let repository = session.repository()?;
    let (states, unreadable) = states(&session.store(&repository), usize::MAX)?;
    Ok(stats_report(&states, unreadable))
}

/// What `prune` removed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    pub schema_version: u32,
    /// Ids of the removed runs, oldest first.
    pub removed: Vec<String>,
    pub kept: u32,
}

/// Removes all but the newest `keep` runs, with their refs, and what a worker left that died before its loop began. A
/// live one, and one that was not written by a program of this version or older, stays.
pub fn prune(session: &Session, keep: Option<u32>) -> anyhow::Result<PruneReport> {
    let repository = session.repository()?;
    let store = session.store(&repository);
    let keep = keep.unwrap_or(KEPT_RUNS);
    let runs = store.runs()?;
    let old = runs.len().saturating_sub(keep as usize);
    // Held for as long as runs are removed, unless a loop is live: that one stays.
    let lock = take_lock(&store, "", repository.root()).ok();
    let live = if lock.is_some() { None } else { store.holder()?.map(|holder| holder.run_id) };
    let mut removed = Vec::new();
    for id in &runs[..old] {
        let newer = matches!(store.run(id).journal(), Err(crate::store::JournalError::Newer { .. }));
        if live.as_ref() == Some(id) || newer {
            continue;
        }
        for own in repository.own_worktrees()?.iter().filter(|own| own.belongs_to(id)) {
            own.remove(&repository)?;
        }
        remove(&repository, &store, id)?;
        removed.push(id.clone());
    }
    // Nobody is about to begin one of these while the lock is held here.
    for id in lock.as_ref().map_or_else(|| Ok(Vec::new()), |_| store.unbegun())? {
        remove(&repository, &store, &id)?;
    }
    if removed.len() == runs.len() {
        // Nothing is left that the readable face could be of.
        Face::new(repository.root()).remove("loop-state.json");
    }
    let kept = runs.len() - removed.len();
    Ok(PruneReport { schema_version: SCHEMA_VERSION, removed, kept: u32::try_from(kept).unwrap_or(u32::MAX) })
}

/// Removes a run's refs, and then its folder: as long as that is there, the refs can be found again.
fn remove(repository: &Repository, store: &Store, id: &str) -> anyhow::Result<()> {
    for reference in repository.list_refs(&crate::workspace::run_refs(id))? {
        repository.delete_ref(&reference.name)?;
    }
    store.remove_run(id).with_context(|| format!("remove run {id}"))
}
