//! Looking at a loop, and setting its model: readers take no lock.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Session;
use super::holding::{latest, no_loop};
use crate::engine::State;
use crate::error::Failure;
use crate::options;
use crate::plan::CallKind;
use crate::report::{ChangedFile, ResultReport, SCHEMA_VERSION, StatusReport, result_report, status_report};
use crate::store::{ModelRequest, Store};
use crate::workspace::{Repository, iteration_ref};

/// What `model` shows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelReport {
    pub schema_version: u32,
    /// Null for Codex's own default.
    pub model: Option<String>,
    pub effort: String,
    /// Whether a running loop takes it over, at its next call.
    pub running: bool,
}

/// Returns the status of this work tree's loop, or `None` where there is none.
///
/// Looking at a loop whose worker died puts in order what it left: see [`super::tidying::tidy`].
pub fn status(session: &Session) -> anyhow::Result<Option<StatusReport>> {
    if let Some(report) = settled(&session.dir) {
        return Ok(Some(report));
    }
    let repository = session.repository()?;
    super::tidying::tidy(session, &repository);
    status_of(&session.store(&repository))
}

/// Waits until this work tree's loop has ended, or for at most `timeout_ms`.
///
/// Returns the status then, and whether the time ran out; `None` where there is no loop.
pub fn wait(session: &Session, timeout_ms: Option<u64>) -> anyhow::Result<Option<(StatusReport, bool)>> {
    use crate::report::LoopStatus;
    const TICK: std::time::Duration = std::time::Duration::from_millis(100);
    let repository = session.repository()?;
    let store = session.store(&repository);
    let started = std::time::Instant::now();
    loop {
        // Whether the worker lives is one look at the lock; the journal is read only at the end.
        let lives = store.holder()?.is_some_and(|holder| !holder.run_id.is_empty());
        let over = timeout_ms.is_some_and(|ms| started.elapsed().as_millis() >= u128::from(ms));
        if !lives || over {
            let report = if lives { status_of(&store)? } else { status(session)? };
            let Some(report) = report else { return Ok(None) };
            let running = matches!(report.status, LoopStatus::Running | LoopStatus::Paused);
            if !running || over {
                return Ok(Some((report, running)));
            }
        }
        std::thread::sleep(TICK);
    }
}

/// Returns the status of the loop in the work tree around a folder where nothing is to be put in order, by the files
/// alone: a look is frequent, and git takes half a dozen processes to find a repository. `None` leaves it to git.
fn settled(dir: &Path) -> Option<StatusReport> {
    let (root, git_dir) = super::news::work_tree(dir)?;
    // What `.git` leads to elsewhere, or is another user's, git has to judge.
    let meta = std::fs::symlink_metadata(root.join(".git")).ok()?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    let store = Store::new(&git_dir);
    let (run, state) = latest(&store).ok()??;
    let holder = store.holder().ok()?;
    let alive = holder.as_ref().is_some_and(|holder| holder.run_id == run.id);
    super::tidying::in_order(&state, holder.as_ref(), &root).then(|| status_report(&state, alive, Timestamp::now()))
}

fn status_of(store: &Store) -> anyhow::Result<Option<StatusReport>> {
    let Some((run, state)) = latest(store)? else { return Ok(None) };
    let alive = store.holder()?.is_some_and(|holder| holder.run_id == run.id);
    Ok(Some(status_report(&state, alive, Timestamp::now())))
}

/// Calls `show` with the status, again whenever the journal has grown, until the loop has ended or `show` says enough.
pub fn status_watch(
    session: &Session,
    mut show: impl FnMut(&StatusReport) -> anyhow::Result<bool>,
) -> anyhow::Result<Option<StatusReport>> {
    use crate::report::LoopStatus;
    const TICK: std::time::Duration = std::time::Duration::from_millis(200);
    let repository = session.repository()?;
    super::tidying::tidy(session, &repository);
    let store = session.store(&repository);
    let mut seen = None;
    loop {
        let Some(report) = status_of(&store)? else { return Ok(None) };
        let mark = (report.updated_at, report.status);
        if seen != Some(mark) {
            seen = Some(mark);
            if !show(&report)? {
                return Ok(Some(report));
            }
        }
        if !matches!(report.status, LoopStatus::Running | LoopStatus::Paused) {
            return Ok(Some(report));
        }
        std::thread::sleep(TICK);
    }
}

/// Returns the result of this work tree's loop.
///
/// Returns a usage error if there is no loop, or no such iteration.
pub fn result(session: &Session, iteration: Option<u32>) -> anyhow::Result<ResultReport> {
    let repository = session.repository()?;
    super::tidying::tidy(session, &repository);
    let store = session.store(&repository);
    let (run, state) = latest(&store)?.ok_or_else(no_loop)?;
    check_iteration(&state, iteration)?;
    let alive = store.holder()?.is_some_and(|holder| holder.run_id == run.id);
    let status = status_report(&state, alive, Timestamp::now());
    let tree = tree_at(&state, iteration);
    let changed = changed_files(&repository, &state.started.seed_tree, &tree)?;
    Ok(result_report(&state, &status, changed, iteration))
}

pub(super) fn check_iteration(state: &State, iteration: Option<u32>) -> anyhow::Result<()> {
    let Some(index) = iteration else { return Ok(()) };
    if state.iterations.iter().any(|iteration| iteration.index == index) {
        return Ok(());
    }
    let hint = match state.iterations.len() {
        0 => "the loop has no iteration yet".to_owned(),
        1 => "there is only iteration 1".to_owned(),
        count => format!("there are iterations 1 to {count}"),
    };
    Err(Failure::usage(format!("there is no iteration {index}"), hint).into())
}

/// Returns the tree after an iteration, or the best one.
pub(super) fn tree_at(state: &State, iteration: Option<u32>) -> String {
    iteration
        .and_then(|index| state.iterations.iter().find(|iteration| iteration.index == index))
        .map_or_else(|| state.head_tree.clone(), |iteration| iteration.tree.clone())
}

/// Returns the diff from the seed tree to the result (or to the state after an iteration), as `git apply` takes it.
pub fn patch(session: &Session, iteration: Option<u32>) -> anyhow::Result<Vec<u8>> {
    let repository = session.repository()?;
    let (_, state) = latest(&session.store(&repository))?.ok_or_else(no_loop)?;
    check_iteration(&state, iteration)?;
    let tree = tree_at(&state, iteration);
    repository.diff(&state.started.seed_tree, &tree).with_context(|| {
        format!(
            "read the result; it should be kept in {}",
            iteration_ref(&state.started.run_id, iteration.unwrap_or(1))
        )
    })
}

fn changed_files(repository: &Repository, from: &str, to: &str) -> anyhow::Result<Vec<ChangedFile>> {
    let change = repository.change_between(from, to)?;
    Ok(change
        .files
        .iter()
        .map(|file| {
            let binary = [&file.old, &file.new].into_iter().flatten().any(crate::change::FileVersion::is_binary);
            let (added, removed) = if binary {
                (None, None)
            } else {
                let diff = similar::TextDiff::from_lines(file.old_text(), file.new_text());
                let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count() as u32;
                (Some(count(similar::ChangeTag::Insert)), Some(count(similar::ChangeTag::Delete)))
            };
            let change = match (&file.old, &file.new) {
                (None, _) => "added",
                (_, None) => "deleted",
                _ => "modified",
            };
            ChangedFile { path: file.path.clone(), change: change.to_owned(), added, removed }
        })
        .collect())
}

/// Shows the model and effort, or sets them from the next Codex call on.
///
/// Returns a usage error for an effort that cannot be one.
pub fn set_model(session: &Session, model: Option<String>, effort: Option<String>) -> anyhow::Result<ModelReport> {
    let repository = session.repository()?;
    let store = session.store(&repository);
    let current = latest(&store)?;
    let alive = match (&current, store.holder()?) {
        (Some((run, _)), Some(holder)) => holder.run_id == run.id,
        _ => false,
    };
    if let Some(effort) = &effort {
        options::efforts(effort).map_err(|cause| Failure::usage(cause, options::EFFORT_HINT))?;
    }
    if model.as_ref().is_some_and(|name| name.trim().is_empty()) {
        return Err(
            Failure::usage("the model is empty", "write its name; `loop-companion model` alone shows it").into()
        );
    }
    let model = model.map(|name| if name == "spark" { "gpt-5.3-codex-spark".to_owned() } else { name });
    let open = current.as_ref().filter(|(_, state)| alive || !state.finished || may_go_on(state));
    if model.is_some() || effort.is_some() {
        let run_id = open.map(|(run, _)| run.id.clone());
        let before = store.model_request()?.filter(|before| before.run_id == run_id).unwrap_or_default();
        store.write_model_request(&ModelRequest {
            run_id,
            model: model.or(before.model),
            effort: effort.or(before.effort),
        })?;
    }
    let request = store.model_request()?;
    let plan = open.map(|(_, state)| &state.plan.codex);
    let request = request.filter(|request| request.run_id == open.map(|(run, _)| run.id.clone()));
    let effort = request
        .as_ref()
        .and_then(|request| request.effort.as_ref())
        .and_then(|text| options::efforts(text).ok())
        .and_then(|efforts| efforts.get(&CallKind::Evaluate).cloned())
        .or_else(|| plan.map(|codex| codex.effort(CallKind::Evaluate).to_owned()))
        .unwrap_or_else(|| CallKind::Evaluate.default_effort().to_owned());
    let model = request.and_then(|request| request.model).or_else(|| plan.and_then(|codex| codex.model.clone()));
    Ok(ModelReport { schema_version: SCHEMA_VERSION, model, effort, running: alive })
}

fn may_go_on(state: &State) -> bool {
    state.stop.as_ref().and_then(|stop| stop.reason).is_some_and(crate::engine::StopReason::resumable)
}
