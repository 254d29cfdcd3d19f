//! Bringing a loop's result to the user, when they ask for it: into their work tree, or as a branch.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Session;
use super::holding::{latest, no_loop, take_lock};
use super::viewing::{check_iteration, tree_at};
use crate::engine::State;
use crate::engine::event::Event;
use crate::engine::state::Iteration;
use crate::error::{ExitCode, Failure};
use crate::report::SCHEMA_VERSION;
use crate::store::Run;
use crate::workspace::{ExpectedRef, Repository, Workspace, Written, kept_ref};

/// Conflicting paths that are named.
const NAMED: usize = 10;

/// Longest subject of a commit, as most tools show it.
const SUBJECT_CHARS: usize = 72;

/// What `result --apply` did.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyReport {
    pub schema_version: u32,
    pub run_id: String,
    /// Paths written or removed; empty where the work tree had the result already.
    pub written: Vec<String>,
    /// Whether the user had gone on working, so that the result was merged with their edits.
    pub merged: bool,
    /// One sentence for a person.
    pub message: String,
}

/// One commit of a branch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BranchCommit {
    pub commit: String,
    /// The accepted iteration, or null for the uncommitted work the loop started from.
    pub iteration: Option<u32>,
    pub subject: String,
}

/// What `result --branch` made.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BranchReport {
    pub schema_version: u32,
    pub run_id: String,
    pub branch: String,
    /// The commit it begins at: HEAD when the loop started.
    pub base: String,
    /// Oldest first.
    pub commits: Vec<BranchCommit>,
}

/// Brings the result (or the state after an iteration) into the user's work tree, uncommitted, merged with what they
/// edited meanwhile.
///
/// Returns a failure that names the paths, with nothing written, where it does not fit.
pub fn apply(session: &Session, iteration: Option<u32>) -> anyhow::Result<ApplyReport> {
    let repository = session.repository()?;
    super::tidying::tidy(session, &repository);
    let store = session.store(&repository);
    let (run, _) = latest(&store)?.ok_or_else(no_loop)?;
    // While a loop runs, the work tree is its to land in, and in place its own.
    let _lock = take_lock(&store, &run.id, repository.root())?;
    let (run, state) = latest(&store)?.ok_or_else(no_loop)?;
    check_iteration(&state, iteration)?;
    let base = state.users_tree().to_owned();
    let result = tree_at(&state, iteration);
    if result == base {
        return Err(Failure::usage("the loop changed nothing, so there is nothing to apply", "see `result`").into());
    }
    let user = Workspace::of_user(&repository)?;
    let found = user.snapshot()?;
    let target = match repository.try_merge(&base, &found, &result)? {
        Ok(_) if found == base => result,
        Ok(merged) => merged,
        Err(paths) => return Err(does_not_fit(&paths, "changed in the loop and in your work tree")),
    };
    let merged = found != base;
    let report = |written: Vec<String>, message: String| ApplyReport {
        schema_version: SCHEMA_VERSION,
        run_id: run.id.clone(),
        written,
        merged,
        message,
    };
    if target == found {
        return Ok(report(Vec::new(), "Your work tree has the result already.".into()));
    }
    keep(&repository, &state, &found)?;
    note(&run, &state, Event::LandingStarted { from: found.clone(), to: target.clone() })?;
    match user.materialise(&found, &target)? {
        Written::Done(paths) => {
            let reason = if merged { "applied by hand, merged with your edits" } else { "applied by hand" };
            note(&run, &state, Event::LandingFinished { landed: true, reason: reason.into() })?;
            let how = if merged { ", merged with your edits" } else { "" };
            let message = format!("The result is in your work tree, uncommitted{how}: {}.", named(&paths));
            Ok(report(paths, message))
        }
        Written::Blocked(paths) => {
            let reason = format!("applying it was refused: {} in the way", named(&paths));
            note(&run, &state, Event::LandingFinished { landed: false, reason })?;
            Err(does_not_fit(&paths, "in the way, ignored or changed this instant"))
        }
    }
}

fn does_not_fit(paths: &[String], why: &str) -> anyhow::Error {
    Failure::new(
        ExitCode::NotMet,
        "does-not-fit",
        format!("the result does not fit your work tree; nothing was written ({}: {why})", named(paths)),
        "commit or set aside your version of these paths and apply again, or take the result as a branch with `result \
         --branch NAME`",
    )
    .into()
}

fn named(paths: &[String]) -> String {
    let shown = paths.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED { format!("{shown} and {} more", paths.len() - NAMED) } else { shown }
}

/// Keeps the user's version in a ref of the run, before anything is written over it.
fn keep(repository: &Repository, state: &State, found: &str) -> anyhow::Result<()> {
    let message = crate::runtime::ref_message(&state.started, "The work tree before the result was applied.");
    let commit = repository.commit(found, &[&state.started.head], &message)?;
    repository.set_ref(&kept_ref(&state.started.run_id, "before-apply"), &commit, ExpectedRef::Any)
}

/// Writes the landing down where the loop is over. One that may go on lands by itself, and must not read of another.
fn note(run: &Run, state: &State, event: Event) -> anyhow::Result<()> {
    if state.finished {
        run.writer().map_err(Failure::from)?.append(Timestamp::now(), event)?;
    }
    Ok(())
}

/// Makes a branch on the commit the loop started from, with one commit for each accepted iteration, by the user as git
/// knows them. Only `refs/heads/<name>` is written, and only where there is none.
///
/// Returns a usage error for a name that cannot be or is taken, and where nothing was accepted.
pub fn branch(session: &Session, name: &str) -> anyhow::Result<BranchReport> {
    let repository = session.repository()?;
    let store = session.store(&repository);
    let (run, state) = latest(&store)?.ok_or_else(no_loop)?;
    if !repository.is_branch_name(name)? {
        return Err(Failure::usage(format!("`{name}` cannot be the name of a branch"), "choose another name").into());
    }
    let accepted: Vec<&Iteration> = state.iterations.iter().filter(|iteration| iteration.accepted).collect();
    if accepted.is_empty() {
        return Err(Failure::usage("no iteration was accepted, so there is nothing to commit", "see `result`").into());
    }
    let identity = repository.identity()?;
    let head = state.started.head.clone();
    let trees = match on_head(&repository, &state, &accepted)? {
        Some(trees) => trees,
        None => on_seed(&state, &accepted),
    };
    let now = Timestamp::now();
    let mut parent = head.clone();
    let mut commits = Vec::new();
    for (iteration, tree) in trees {
        let (subject, body, at) = match iteration {
            Some(iteration) => described(iteration),
            None => ("Uncommitted work the loop started from".to_owned(), String::new(), state.started_at),
        };
        let message = format!("{subject}\n\n{body}Loop: {}\n", run.id);
        let commit = repository.commit_as(
            &tree,
            &parent,
            &message,
            &identity,
            at.as_second(),
            now.as_second().max(at.as_second()),
        )?;
        parent.clone_from(&commit);
        commits.push(BranchCommit { commit, iteration: iteration.map(|iteration| iteration.index), subject });
    }
    if !repository.create_branch(name, &parent)? {
        return Err(Failure::usage(
            format!("branch `{name}` cannot be made: it, or one that stands in its way, exists already"),
            "choose another name; nothing was changed",
        )
        .into());
    }
    Ok(BranchReport { schema_version: SCHEMA_VERSION, run_id: run.id, branch: name.to_owned(), base: head, commits })
}

/// A commit to be: its iteration, or `None` for the uncommitted work the loop started from, and its tree.
type Step<'a> = (Option<&'a Iteration>, String);

/// Returns the tree of each commit with the loop's changes alone on HEAD's tree, or `None` where they build on
/// uncommitted work and do not fit without it.
fn on_head<'a>(
    repository: &Repository,
    state: &State,
    accepted: &[&'a Iteration],
) -> anyhow::Result<Option<Vec<Step<'a>>>> {
    let mut tree = repository.tree_of(&state.started.head)?;
    let mut trees = Vec::new();
    for iteration in accepted {
        let place = state.trees.iter().rposition(|known| *known == iteration.tree);
        let Some(before) = place.and_then(|place| state.trees.get(place.checked_sub(1)?)) else { return Ok(None) };
        tree = if tree == *before {
            iteration.tree.clone()
        } else {
            match repository.try_merge(before, &tree, &iteration.tree)? {
                Ok(merged) => merged,
                Err(_) => return Ok(None),
            }
        };
        trees.push((Some(*iteration), tree.clone()));
    }
    Ok(Some(trees))
}

/// Returns the tree of each commit where the uncommitted work has to come first.
fn on_seed<'a>(state: &State, accepted: &[&'a Iteration]) -> Vec<Step<'a>> {
    let seed = (None, state.started.seed_tree.clone());
    std::iter::once(seed).chain(accepted.iter().map(|iteration| (Some(*iteration), iteration.tree.clone()))).collect()
}

/// Returns the subject and body of an iteration's commit, and when it was made.
fn described(iteration: &Iteration) -> (String, String, Timestamp) {
    let winner = iteration.winner.as_ref().and_then(|id| iteration.candidate(id));
    let at = iteration.ended_at.unwrap_or(iteration.started_at);
    let Some(winner) = winner else { return (format!("Iteration {}", iteration.index), String::new(), at) };
    let line = winner.proposed.approach.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    let subject = match line.chars().count() {
        0 => format!("Iteration {}", iteration.index),
        1..=SUBJECT_CHARS => line.to_owned(),
        _ => format!("{}…", line.chars().take(SUBJECT_CHARS - 1).collect::<String>().trim_end()),
    };
    let measured = winner.trial.as_ref().map(|trial| format!("Measured: {}.\n\n", trial.reason)).unwrap_or_default();
    let body = format!("{}\n\n{measured}Iteration: {}\n", winner.proposed.justification.trim(), iteration.index);
    (subject, body, at)
}
