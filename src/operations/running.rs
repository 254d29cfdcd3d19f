//! Starting a loop and going on with one.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::codex_check::{self, CodexReport};
use super::holding::{self, HeldLoop, resources, store_failure, take_lock};
use super::planning::{self, PlanRequest};
use super::{PlanReport, Session};
use crate::engine::event::{Event, Started};
use crate::engine::{State, StopReason, TreeAnswer};
use crate::error::{self, ExitCode, Failure};
use crate::options::Options;
use crate::plan::{Money, Plan};
use crate::runtime::{Observer, Runtime};
use crate::store::{FORMAT, Face};
use crate::workspace::{Repository, Workspace};

/// A loop that has ended, or a worker that was stopped by a signal.
#[derive(Debug)]
pub struct Ended {
    pub state: State,
    /// The signal that stopped the worker, if one did.
    pub signal: Option<i32>,
}

impl Ended {
    /// Says whether the loop ended with its goal met.
    pub fn goal_met(&self) -> bool {
        let reason = self.state.stop.as_ref().and_then(|stop| stop.reason);
        matches!(reason, Some(StopReason::GoalMet | StopReason::AlreadyMet))
    }

    /// Returns the exit code of the command that ran the loop.
    pub fn exit_code(&self) -> u8 {
        match (self.signal, &self.state.stop) {
            (Some(signal), _) if (1..=127).contains(&signal) => error::signal_exit_code(signal),
            (_, Some(stop)) => stop.reason.map_or(0, StopReason::exit_code),
            (_, None) => ExitCode::Internal as u8,
        }
    }
}

/// Budgets raised when a loop goes on; an absent one stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    pub max_iterations: Option<u32>,
    pub max_time_ms: Option<u64>,
    pub max_calls: Option<u32>,
    pub max_tokens: Option<u64>,
    #[serde(default)]
    pub max_cost: Option<Money>,
}

/// Returns the plan that was shown with this hash.
///
/// Returns a usage error if no such plan was shown for this repository, or if what is typed beside the hash makes
/// another plan.
pub fn check_approved(session: &Session, hash: &str, typed: Option<PlanRequest>) -> anyhow::Result<Plan> {
    let repository = session.repository()?;
    let unknown = || {
        Failure::usage(
            format!("no plan with the hash {hash} was approved for this repository"),
            "print the plan with `start --plan` and approve the hash it shows",
        )
    };
    let plan = match typed {
        Some(request) if request.goal.text.is_none() => {
            return Err(Failure::usage(
                "what is typed beside --approved is no whole plan",
                "leave it out, or type the goal and all flags as they were for the plan",
            )
            .into());
        }
        Some(request) => {
            let (report, _) = planning::plan(session, &request)?;
            if report.plan_hash != hash {
                return Err(Failure::usage(
                    format!("the plan changed since it was approved: it has the hash {}", report.plan_hash),
                    "look at it again with `start --plan`",
                )
                .into());
            }
            report.plan
        }
        None => session.store(&repository).load_plan(hash)?.ok_or_else(unknown)?,
    };
    if Path::new(&plan.root) != repository.root() {
        return Err(unknown().into());
    }
    Ok(plan)
}

/// Starts the plan that was shown with this hash; see [`check_approved`].
pub fn start_approved(
    session: &Session,
    hash: &str,
    typed: Option<PlanRequest>,
    observer: &mut dyn Observer,
) -> anyhow::Result<Ended> {
    let plan = check_approved(session, hash, typed)?;
    let repository = session.repository()?;
    let codex = codex_check::examine(session, &codex_options(&plan))?;
    run_plan(session, &repository, plan, &codex, observer)
}

/// Starts a plan.
///
/// Returns a usage error if it follows settings of the repository that nobody has agreed to.
pub fn start(
    session: &Session,
    report: PlanReport,
    codex: &CodexReport,
    observer: &mut dyn Observer,
) -> anyhow::Result<Ended> {
    super::confirmed(&report)?;
    let repository = session.repository()?;
    run_plan(session, &repository, report.plan, codex, observer)
}

fn codex_options(plan: &Plan) -> Options {
    Options {
        model: plan.codex.model.clone(),
        profile: plan.codex.profile.clone(),
        codex_mcp: plan.codex.mcp.clone(),
        ..Options::default()
    }
}

fn run_plan(
    session: &Session,
    repository: &Repository,
    plan: Plan,
    codex: &CodexReport,
    observer: &mut dyn Observer,
) -> anyhow::Result<Ended> {
    let store = session.store(repository);
    store.create().map_err(|error| store_failure(&error))?;
    if let Err(hint) = &codex.account {
        return Err(Failure::preflight("not-signed-in", "Codex is not signed in", hint.clone()).into());
    }
    // A loop whose worker died is not the newest any more from here on, and nobody would look after it again.
    super::tidying::tidy(session, repository);
    let lock = take_lock(&store, "", repository.root())?;
    let user = Workspace::of_user(repository)?;
    let dirty = user.dirty_paths(5).map_err(|error| planning::unreadable(repository, error))?;
    let count = dirty.tracked + dirty.untracked;
    if count > 0 && !plan.limits.allow_dirty {
        return Err(Failure::preflight(
            "dirty",
            format!(
                "{}: {}",
                crate::report::many(count as u64, "uncommitted path"),
                planning::shown_dirty(&dirty.shown, count)
            ),
            "commit or stash them, or start with --allow-dirty",
        )
        .into());
    }
    // Before the run exists: what stands in the way of the readable face is told, and leaves no half-begun run.
    Face::new(repository.root()).create().map_err(|error| {
        Failure::preflight(
            "face",
            format!("{error:#}"),
            "the loop shows its state in a folder `.loop` at the root; move away what stands there",
        )
    })?;
    let seed_tree = user.snapshot()?;
    if !repository.is_partial()
        && let Some((id, path)) = repository.first_broken(&seed_tree)?
    {
        return Err(Failure::preflight(
            "git-failed",
            format!("the repository is damaged: object {id} ({path}) is missing or broken"),
            "look at `git fsck`, then fetch the object again or work in a new clone",
        )
        .into());
    }
    let head = repository.head().commit.clone();
    let head_tree = repository.tree_of(&head)?;
    let run = store.create_run(Timestamp::now()).map_err(|error| store_failure(&error))?;
    let seed_commit = if head_tree == seed_tree {
        head.clone()
    } else {
        repository.commit(&seed_tree, &[&head], &format!("The work tree as loop {} found it.\n", run.id))?
    };
    let started = Started {
        format: FORMAT,
        run_id: run.id.clone(),
        goal_hash: plan.goal_hash(),
        plan_hash: plan.hash(),
        plan,
        seed_tree,
        seed_commit,
        head,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        codex_version: codex.version.clone(),
    };
    let resources = resources(session, repository, store, run, lock, Some(codex))?;
    let stop = resources.stop.clone();
    let runtime = Runtime::begin(started, resources, observer)?;
    let state = runtime.run()?;
    Ok(Ended { state, signal: stop.signal() })
}

/// Goes on with this work tree's loop.
///
/// Returns a usage error if there is no loop or it cannot go on, and the failure of a held lock if one runs.
pub fn resume(
    session: &Session,
    raise: &Raise,
    answer: Option<TreeAnswer>,
    observer: &mut dyn Observer,
) -> anyhow::Result<Ended> {
    let held = holding::hold(session)?;
    let state = &held.state;
    if let Some(reason) = state.stop.as_ref().and_then(|stop| stop.reason).filter(|reason| !reason.resumable()) {
        let code = if reason == StopReason::GoalDrift { ExitCode::State } else { ExitCode::Usage };
        return Err(Failure::new(
            code,
            "not-resumable",
            format!("the loop ended with {} and cannot go on", reason.name()),
            "look at it with `loop-companion result`; start a new one with `loop-companion start`",
        )
        .into());
    }
    if state.finished && state.stop.as_ref().is_some_and(|stop| stop.reason.is_none()) {
        return Err(Failure::new(
            ExitCode::Usage,
            "not-resumable",
            "the loop was a dry run and has done what it was asked",
            "start again without --dry-run, or run rounds that apply with `loop-companion iterate`",
        )
        .into());
    }
    check_raise(state, raise)?;
    let changed = state.stop.as_ref().and_then(|stop| stop.reason) == Some(StopReason::TreeChanged);
    match (changed, answer) {
        (true, None) => {
            return Err(tree_changed().into());
        }
        (false, Some(_)) => {
            return Err(Failure::usage(
                "--adopt and --discard answer a loop that stopped for a changed work tree; this one did not",
                "leave them out",
            )
            .into());
        }
        _ => {}
    }
    // A dry run that was cut short stays one, for the rounds it has left; it was approved as nothing else.
    let asked = state.rounds_asked.filter(|_| state.dry_run);
    let rounds = asked.map(|asked| asked.saturating_sub(state.recent_rounds().count() as u32));
    let order = GoOn { raise: raise.clone(), rounds, dry_run: state.dry_run, answer };
    go_on(session, held, &order, observer)
}

fn tree_changed() -> Failure {
    Failure::usage(
        "the loop stopped because your work tree changed under it",
        "go on from your edits with `resume --adopt`, or from the loop's state with `resume --discard` (yours is kept in \
         a ref)",
    )
}

/// How a loop goes on.
#[derive(Debug, Default)]
struct GoOn {
    raise: Raise,
    rounds: Option<u32>,
    dry_run: bool,
    answer: Option<TreeAnswer>,
}

fn check_raise(state: &State, raise: &Raise) -> anyhow::Result<()> {
    let budget = &state.plan.budget;
    let lower = |name: &str, new: Option<u64>, old: Option<u64>| match (new, old) {
        (Some(new), Some(old)) if new < old => Err(Failure::usage(
            format!("{name} would be lowered from {old} to {new}"),
            "resume raises budgets; leave the flag out to keep the old one",
        )),
        _ => Ok(()),
    };
    lower("--max-iter", raise.max_iterations.map(u64::from), Some(budget.max_iterations.into()))?;
    lower("--max-time", raise.max_time_ms, Some(budget.max_time_ms))?;
    lower("--max-calls", raise.max_calls.map(u64::from), Some(budget.max_calls.into()))?;
    lower("--max-tokens", raise.max_tokens, budget.max_tokens)?;
    if let (Some(new), Some(old)) = (raise.max_cost, budget.max_cost)
        && new < old
    {
        return Err(Failure::usage(
            format!("--max-cost would be lowered from {old} to {new}"),
            "resume raises budgets; leave the flag out to keep the old one",
        )
        .into());
    }
    let codex = &state.plan.codex;
    if raise.max_cost.is_some() && codex.price(codex.model.as_deref()).is_none() {
        return Err(planning::no_price(codex.model.as_deref()).into());
    }
    Ok(())
}

fn go_on(session: &Session, held: HeldLoop, order: &GoOn, observer: &mut dyn Observer) -> anyhow::Result<Ended> {
    let HeldLoop { repository, store, run, state, lock } = held;
    let codex = codex_check::examine(session, &codex_options(&state.plan))?;
    let resources = resources(session, &repository, store, run, lock, Some(&codex))?;
    let stop = resources.stop.clone();
    let ended = state.finished;
    let stopped = state.stop.is_some();
    let mut runtime = Runtime::take_up(state, resources, observer)?;
    let raise = &order.raise;
    if *raise != Raise::default() {
        runtime.emit(Event::BudgetRaised {
            max_iterations: raise.max_iterations,
            max_time_ms: raise.max_time_ms,
            max_calls: raise.max_calls,
            max_tokens: raise.max_tokens,
            max_cost: raise.max_cost,
        })?;
    }
    if let Some(answer) = order.answer {
        runtime.answer_changed_tree(answer)?;
    }
    if ended || stopped || order.rounds.is_some() {
        runtime.emit(Event::Reopened { rounds: order.rounds, dry_run: order.dry_run })?;
    }
    let state = runtime.run()?;
    Ok(Ended { state, signal: stop.signal() })
}

/// Runs `count` more iterations in the foreground, raising the iteration budget by as many.
///
/// Returns a usage error after goal-met or goal-drift, or where there is no loop.
pub fn iterate(
    session: &Session,
    count: u32,
    dry_run: bool,
    observer: &mut dyn Observer,
) -> anyhow::Result<(Ended, bool)> {
    let held = holding::hold(session)?;
    let state = &held.state;
    if let Some(reason) = state.stop.as_ref().and_then(|stop| stop.reason).filter(|reason| !reason.resumable()) {
        return Err(Failure::usage(
            format!("the loop ended with {}; there is nothing to iterate", reason.name()),
            "look at it with `loop-companion result`; start a new one with `loop-companion start`",
        )
        .into());
    }
    if state.stop.as_ref().and_then(|stop| stop.reason) == Some(StopReason::TreeChanged) {
        return Err(tree_changed().into());
    }
    let target = state.plan.budget.max_iterations.saturating_add(count);
    let raise = Raise { max_iterations: Some(target), ..Raise::default() };
    let order = GoOn { raise, rounds: Some(count), dry_run, answer: None };
    let ended = go_on(session, held, &order, observer)?;
    // One that something stopped in the middle has not run.
    let ran = ended.state.recent_rounds().filter(|iteration| iteration.ended_at.is_some()).count();
    let met = ended.goal_met();
    Ok((ended, met || ran >= count as usize))
}
