//! Before a loop: what is in the way, what checks there could be, and the plan.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::codex_check::{self, CodexReport};
use super::holding::{self, STORE_HINT};
use super::layers::{self, Layered};
use super::{Session, discover_failure};
use crate::codex::prompt::MAX_GOAL_CHARS;
use crate::config;
use crate::detect::Detection;
use crate::error::Failure;
use crate::options::{self, Options};
use crate::plan::{Budget, Checks, CodexSettings, Land, Limits, Method, Plan, ProofLevel, Propose, TrialOrder, Where};
use crate::report::{FORECAST_LOOPS, Forecast, SCHEMA_VERSION, forecast, many};
use crate::store::Face;
use crate::workspace::{Repository, Workspace};

/// Model used where nobody said otherwise and the installed Codex lists it.
const PREFERRED_MODEL: &str = "gpt-5.4";

const MINUTE_MS: u64 = 60_000;

/// Dirty paths named in a refusal.
const DIRTY_SHOWN: usize = 5;

/// Files that may hold a goal, in the order in which they are offered.
const GOAL_FILES: [&str; 4] = ["TASK.md", "GOAL.md", "PRD.md", "AGENTS.md"];

/// The goal as it was given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Goal {
    /// The goal's text.
    pub text: Option<String>,
    /// Acceptance criteria in words.
    pub accept: Vec<String>,
}

/// What a plan is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanRequest {
    pub goal: Goal,
    pub options: Options,
    pub dry_run: bool,
}

/// A plan for approval.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    pub schema_version: u32,
    pub plan_hash: String,
    pub goal_hash: String,
    pub plan: Plan,
    /// What the loop is likely to use; no part of the plan's hash.
    pub forecast: Forecast,
    /// What a person should know before approving.
    pub notes: Vec<String>,
    /// Settings of the repository's file that count only once a person has agreed: by starting the plan by its hash,
    /// at the question on a terminal, or by trusting the file. See [`super::confirmed`].
    #[serde(skip)]
    #[schemars(skip)]
    pub unconfirmed: Vec<String>,
}

/// One row of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreflightRow {
    /// Short name: `git`, `codex`, `account`…
    pub name: String,
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do, where it is not ok.
    pub hint: Option<String>,
}

impl PreflightRow {
    fn good(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, detail: detail.into(), hint: None }
    }

    fn bad(name: &str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name: name.into(), ok: false, detail: detail.into(), hint: Some(hint.into()) }
    }
}

/// A preflight.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreflightReport {
    pub schema_version: u32,
    pub ok: bool,
    pub rows: Vec<PreflightRow>,
}

/// The checks a repository seems to have.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DetectReport {
    pub schema_version: u32,
    #[serde(flatten)]
    pub detection: Detection,
}

/// Looks at everything a loop needs.
///
/// Never fails for what it finds; a fault of the machine is a row.
pub fn preflight(session: &Session, options: &Options) -> anyhow::Result<PreflightReport> {
    let mut rows = Vec::new();
    match Repository::discover(&session.dir) {
        Err(error) => {
            let failure = discover_failure(&error);
            rows.push(PreflightRow::bad("git", failure.message, failure.hint.unwrap_or_default()));
        }
        Ok(repository) => rows.extend(repository_rows(session, &repository, options)?),
    }
    match codex_check::examine(session, options) {
        Err(failure) => rows.push(PreflightRow::bad("codex", failure.message, failure.hint.unwrap_or_default())),
        Ok(report) => {
            rows.push(PreflightRow::good("codex", format!("{} at {}", report.version, report.program.display())));
            rows.push(match &report.account {
                Ok(account) => PreflightRow::good("account", account.to_string()),
                Err(hint) => PreflightRow::bad("account", "Codex is not signed in", hint.clone()),
            });
            rows.push(PreflightRow::good(
                "sandbox",
                if report.can_read {
                    "Codex's sandbox can read the repository"
                } else {
                    "Codex's sandbox cannot run here; prompts will carry the relevant files"
                },
            ));
            rows.push(PreflightRow::good("reads", readable(&report)));
            for warning in &report.warnings {
                rows.push(PreflightRow::good("note", warning.clone()));
            }
        }
    }
    let ok = rows.iter().all(|row| row.ok);
    Ok(PreflightReport { schema_version: SCHEMA_VERSION, ok, rows })
}

/// Says what the commands that a model has Codex run can read.
fn readable(report: &CodexReport) -> String {
    if !report.can_read {
        return "Codex's commands cannot run here, so they read nothing".to_owned();
    }
    let home = report.home.as_ref().map_or_else(|| "Codex's own folder".to_owned(), |home| home.display().to_string());
    format!(
        "Codex's sandbox keeps its commands from writing and from the network, not from reading: they can read every \
         file that you can, {home} with its sign-in among them, and what they read goes to the model"
    )
}

fn repository_rows(session: &Session, repository: &Repository, options: &Options) -> anyhow::Result<Vec<PreflightRow>> {
    let head = repository.head();
    let at = match &head.branch {
        Some(branch) => format!("branch {}", branch.strip_prefix("refs/heads/").unwrap_or(branch)),
        None => "a detached HEAD".to_owned(),
    };
    let mut rows = vec![PreflightRow::good("git", format!("{} on {at}", repository.root().display()))];
    let dirty = match Workspace::of_user(repository)?.dirty_paths(DIRTY_SHOWN) {
        Ok(dirty) => dirty,
        Err(error) => {
            let failure = crate::error::describe(&unreadable(repository, error)).1.error;
            rows.push(PreflightRow::bad("clean", failure.message, failure.hint.unwrap_or_default()));
            return Ok(rows);
        }
    };
    let count = dirty.tracked + dirty.untracked;
    let Layered { options, unconfirmed, .. } = layers_of(session, repository, options)?;
    if !unconfirmed.is_empty() {
        rows.push(PreflightRow::good(
            "trust",
            format!("{} sets what needs your consent: {}", config::REPOSITORY_FILE, unconfirmed.join("; ")),
        ));
    }
    rows.push(if count == 0 {
        PreflightRow::good("clean", "nothing uncommitted")
    } else if options.allow_dirty == Some(true) {
        PreflightRow::good(
            "clean",
            format!("{}, allowed; part of the seed tree", many(count as u64, "uncommitted path")),
        )
    } else {
        PreflightRow::bad(
            "clean",
            format!("{}: {}", many(count as u64, "uncommitted path"), shown_dirty(&dirty.shown, count)),
            "commit or stash them, or start with --allow-dirty",
        )
    });
    let store = session.store(repository);
    rows.push(match store.create().and_then(|()| Face::new(repository.root()).check()) {
        Ok(()) => PreflightRow::good("store", format!("{} can be written", store.dir().display())),
        Err(error) => PreflightRow::bad("store", format!("{error:#}"), STORE_HINT),
    });
    rows.push(match store.holder()? {
        None => PreflightRow::good("lock", "no loop works on this tree"),
        Some(holder) => {
            let failure = holding::held(Some(&holder), repository.root());
            PreflightRow::bad("lock", failure.message, failure.hint.unwrap_or_default())
        }
    });
    Ok(rows)
}

/// Puts what is typed over the files of repository and user.
fn layers_of(session: &Session, repository: &Repository, typed: &Options) -> anyhow::Result<Layered> {
    let files = config::files(repository.root(), &session.environment)?;
    let layered = layers::layered(typed.clone(), files);
    layered.map_err(|cause| Failure::usage(cause, "say what may be changed with --scope").into())
}

/// Returns the failure of a repository that git itself cannot read; any other error stays what it is.
pub(super) fn unreadable(repository: &Repository, error: anyhow::Error) -> anyhow::Error {
    if crate::error::is_disk_full(&error) {
        return error;
    }
    Failure::preflight(
        "git-failed",
        format!("git cannot read the state of {}: {error:#}", repository.root().display()),
        "see what `git status` and `git fsck` say there, mend it, or work in a new clone",
    )
    .into()
}

pub(super) fn shown_dirty(paths: &[String], count: usize) -> String {
    let mut text = paths.join(", ");
    if count > paths.len() {
        let _ = write!(text, " and {} more", count - paths.len());
    }
    text
}

/// Proposes check commands with the evidence for each.
pub fn detect(session: &Session) -> anyhow::Result<DetectReport> {
    let repository = session.repository()?;
    let dir = session.dir.canonicalize().with_context(|| format!("open {}", session.dir.display()))?;
    let detection = crate::detect::detect(repository.root(), &dir)?;
    Ok(DetectReport { schema_version: SCHEMA_VERSION, detection })
}

/// Makes the plan and keeps it, so that its hash can start it.
///
/// Returns a usage error if something a plan needs is missing, and a preflight failure if Codex cannot be used.
pub fn plan(session: &Session, request: &PlanRequest) -> anyhow::Result<(PlanReport, CodexReport)> {
    let repository = session.repository()?;
    let Layered { options, notes: layering, unconfirmed } = layers_of(session, &repository, &request.options)?;
    // What was typed, by whatever door; a file's own values are checked where it is read.
    request.options.check().map_err(|cause| Failure::usage(cause, options::KEYS_HINT))?;
    let goal = goal_text(&request.goal, repository.root())?;
    let test = checks_of(&options)?;
    let codex = codex_check::examine(session, &options)?;
    let mut notes = codex.warnings.clone();
    notes.extend(layering);
    if !unconfirmed.is_empty() {
        notes.push(format!(
            "from the repository's {}, which you have not trusted: {}",
            config::REPOSITORY_FILE,
            unconfirmed.join("; ")
        ));
    }
    match &codex.account {
        Ok(account) => notes.push(format!("account: {account}")),
        Err(hint) => notes.push(format!("Codex is not signed in: {hint}")),
    }
    if options.allow_dirty != Some(true)
        && let Ok(dirty) = Workspace::of_user(&repository)?.dirty_paths(DIRTY_SHOWN)
        && dirty.tracked + dirty.untracked > 0
    {
        let shown = shown_dirty(&dirty.shown, dirty.tracked + dirty.untracked);
        notes.push(format!(
            "this cannot start while something is uncommitted: {shown}; commit or stash it, or add --allow-dirty"
        ));
    }
    let efforts: BTreeMap<_, _> = match &options.effort {
        Some(text) => options::efforts(text).map_err(|cause| Failure::usage(cause, options::EFFORT_HINT))?,
        None => BTreeMap::new(),
    };
    let remembered = session.store(&repository).model_request()?.filter(|request| request.run_id.is_none());
    let model = options
        .model
        .clone()
        .or_else(|| remembered.as_ref().and_then(|request| request.model.clone()))
        .or_else(|| codex.lists(PREFERRED_MODEL).then(|| PREFERRED_MODEL.to_owned()));
    let mut efforts = efforts;
    if efforts.is_empty()
        && let Some(effort) = remembered.and_then(|request| request.effort)
    {
        efforts = options::efforts(&effort).map_err(|cause| Failure::usage(cause, options::EFFORT_HINT))?;
    }
    notes.extend(codex.model_warning(model.as_deref()));
    let settings = CodexSettings {
        model,
        efforts,
        profile: options.profile.clone(),
        mcp: options.codex_mcp.clone(),
        prices: options.prices.clone(),
    };
    if options.max_cost.is_some() && settings.price(settings.model.as_deref()).is_none() {
        return Err(no_price(settings.model.as_deref()).into());
    }
    codex.check_efforts(&settings)?;
    let propose = match options.propose.unwrap_or_default() {
        Propose::Agent if !codex.can_read => {
            return Err(Failure::preflight(
                "no-sandbox",
                "agents edit work trees in Codex's sandbox, which cannot run here",
                "leave --propose out, or use --propose diff",
            )
            .into());
        }
        Propose::Auto if !codex.can_read => Propose::Diff,
        propose => propose,
    };
    let measurable = request.goal.accept.is_empty();
    let mut criteria: Vec<String> =
        request.goal.accept.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
    let checks = Checks {
        test,
        lint: options.lint_cmd.clone(),
        type_check: options.type_cmd.clone(),
        accept: options.accept_cmd.clone(),
        trial: options.trial_cmd.clone(),
        timeout_ms: options.check_timeout.map_or(10 * MINUTE_MS, |span| span.ms),
        known_red: options.known_red.clone(),
        flaky: options.flaky.clone(),
    };
    if criteria.is_empty() {
        criteria.extend(checks.commands().first().map(|(_, command)| format!("`{command}` exits 0")));
        let first = criteria.first().cloned();
        criteria.extend(
            checks
                .accept
                .iter()
                .map(|command| format!("`{command}` exits 0"))
                .filter(|criterion| Some(criterion) != first.as_ref()),
        );
    }
    let measurable = measurable && !criteria.is_empty();
    if criteria.is_empty() {
        criteria.push("the goal is reached".into());
    }
    for (option, globs) in [("--scope", &options.scope), ("--protect", &options.protect)] {
        for glob in globs {
            check_glob(option, glob)?;
        }
    }
    let allow_change: Vec<_> = options.allow_change.iter().map(|text| options::allow_change(text)).collect();
    for allowed in &allow_change {
        check_glob("--allow-change", &allowed.glob)?;
    }
    let plan = Plan {
        goal,
        acceptance_criteria: criteria,
        measurable,
        root: repository.root().display().to_string(),
        check_dir: repository.prefix().trim_end_matches('/').to_owned(),
        checks,
        budget: Budget {
            max_iterations: options.max_iter.unwrap_or(layers::MAX_ITERATIONS),
            max_time_ms: options.max_time.unwrap_or(layers::MAX_TIME).ms,
            max_calls: options.max_calls.unwrap_or(layers::MAX_CALLS),
            max_tokens: options.max_tokens,
            max_cost: options.max_cost,
            codex_timeout_ms: options.codex_timeout.unwrap_or(layers::CODEX_TIMEOUT).ms,
        },
        method: Method {
            nproposals: options.nproposals.unwrap_or(layers::PROPOSALS),
            propose,
            trial: options.trial.unwrap_or(TrialOrder::Auto),
            place: options.place.unwrap_or(Where::Auto),
            setup_command: options.setup_cmd.clone(),
            jobs: options.jobs.unwrap_or(layers::JOBS),
            max_patch_lines: options.max_patch_lines.unwrap_or(2000),
        },
        limits: Limits {
            scope: options.scope.clone(),
            protect: options.protect.clone(),
            allow_change,
            require_proof: options.require_proof,
            allow_dirty: options.allow_dirty.unwrap_or(false),
            land: options.land.unwrap_or(Land::Auto),
        },
        codex: settings,
        dry_run: request.dry_run,
    };
    session
        .store(&repository)
        .save_plan(&plan)
        .map_err(|error| Failure::preflight("store", format!("{error:#}"), STORE_HINT))?;
    let report = PlanReport {
        schema_version: SCHEMA_VERSION,
        plan_hash: plan.hash(),
        goal_hash: plan.goal_hash(),
        forecast: forecast(&plan, &holding::states(&session.store(&repository), FORECAST_LOOPS)?.0),
        plan,
        notes,
        unconfirmed,
    };
    Ok((report, codex))
}

/// Returns the failure for a budget in money that nothing could be counted against.
pub(super) fn no_price(model: Option<&str>) -> Failure {
    let name = model.unwrap_or(crate::plan::ANY_MODEL);
    let whose = model.map_or_else(|| "Codex's default model".to_owned(), |model| format!("the model {model}"));
    Failure::usage(
        format!("a budget in money needs the price of {whose}, and there was none when the plan was made"),
        format!(
            "add [prices.\"{name}\"], with input, cachedInput and output per million tokens, to your own configuration \
             file (~/.config/cloop/config.toml), then plan anew"
        ),
    )
}

fn goal_text(goal: &Goal, root: &Path) -> anyhow::Result<String> {
    let text = goal.text.as_deref().unwrap_or_default();
    if text.trim().is_empty() {
        let found: Vec<&str> = GOAL_FILES.into_iter().filter(|name| root.join(name).is_file()).collect();
        let hint = match found.first() {
            Some(first) => format!(
                "there is {}; to use it, type `--task-file {first}`; or write the goal after `start`",
                found.join(", ")
            ),
            None => "write it after `start`, or give it with --goal or --task-file".to_owned(),
        };
        return Err(Failure::usage("no goal is given", hint).into());
    }
    if text.contains('\0') {
        return Err(Failure::usage("the goal holds a NUL byte", "give it as plain text").into());
    }
    let length = text.chars().count();
    if length > MAX_GOAL_CHARS {
        return Err(Failure::usage(
            format!("the goal has {length} characters; {MAX_GOAL_CHARS} is the most"),
            "put the details into a file of the repository and name it in the goal",
        )
        .into());
    }
    Ok(text.trim().to_owned())
}

/// Returns the test command, and refuses plans that could prove nothing.
fn checks_of(options: &Options) -> anyhow::Result<Option<String>> {
    let given = |command: &Option<String>| command.as_ref().is_some_and(|command| !command.trim().is_empty());
    for (flag, command) in [
        ("--test-cmd", &options.test_cmd),
        ("--lint-cmd", &options.lint_cmd),
        ("--type-cmd", &options.type_cmd),
        ("--trial-cmd", &options.trial_cmd),
        ("--setup-cmd", &options.setup_cmd),
    ] {
        if command.is_some() && !given(command) {
            return Err(Failure::usage(format!("{flag} is empty"), "write the command, or leave the flag out").into());
        }
    }
    if options.accept_cmd.iter().any(|command| command.trim().is_empty()) {
        return Err(Failure::usage("--accept-cmd is empty", "write the command, or leave the flag out").into());
    }
    if given(&options.test_cmd) {
        return Ok(options.test_cmd.clone());
    }
    if options.no_test != Some(true) {
        return Err(Failure::usage(
            "no test command is given",
            "name one with --test-cmd (`loop-companion detect` proposes some), or go on without with --no-test",
        )
        .into());
    }
    let any = given(&options.lint_cmd) || given(&options.type_cmd) || !options.accept_cmd.is_empty();
    if !any && options.require_proof != Some(ProofLevel::Reviewed) {
        return Err(Failure::usage(
            "there is no check at all, so nothing can be measured",
            "name a check, or accept the word of a second evaluation with --require-proof reviewed",
        )
        .into());
    }
    Ok(None)
}

fn check_glob(flag: &str, glob: &str) -> anyhow::Result<()> {
    // Globs are named among a prompt's rules, one line each.
    if glob.chars().any(char::is_control) {
        return Err(Failure::usage(
            format!("{flag} {glob:?} holds a line break or another control character"),
            "write a path glob such as src/**",
        )
        .into());
    }
    globset::Glob::new(glob).map(drop).map_err(|error| {
        Failure::usage(format!("{flag} {glob}: {}", error.kind()), "write a path glob such as src/**").into()
    })
}
