//! What is known of the installed Codex before a loop: where it is, who pays, what it lists, what it can read.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use super::Session;
use crate::codex::locate::{self, Catalog};
use crate::error::Failure;
use crate::options::Options;
use crate::plan::{CallKind, CodexSettings};
use crate::process::Control;

/// Who pays for the calls, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(String);

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An examined Codex.
#[derive(Debug, Clone)]
pub struct CodexReport {
    pub program: PathBuf,
    /// `codex-cli 0.169.0`.
    pub version: String,
    /// Who pays, or what to do where nobody would.
    pub account: Result<Account, String>,
    /// Variables to set for every call.
    pub env: Vec<(OsString, OsString)>,
    /// MCP servers that are kept out of calls.
    pub mcp_off: Vec<String>,
    /// Whether commands in the sandbox can read the repository.
    pub can_read: bool,
    /// Codex's own folder, which its sandbox lets commands read.
    pub home: Option<PathBuf>,
    /// What a person should know.
    pub warnings: Vec<String>,
    catalog: Catalog,
}

/// Examines the Codex that a loop would use.
///
/// Returns a preflight failure that says what to do if there is none, or it is too old.
pub(super) fn examine(session: &Session, options: &Options) -> Result<CodexReport, Failure> {
    examine_until(session, options, None, &mut ())
}

/// Examines it with no command of it running longer than `until`, or on when `control` says stop.
pub(super) fn examine_until(
    session: &Session,
    options: &Options,
    until: Option<Instant>,
    control: &mut dyn Control,
) -> Result<CodexReport, Failure> {
    let environment = &session.environment;
    let named = environment.codex_bin.as_deref().map(std::path::Path::as_os_str);
    let path = environment.path.as_deref();
    let codex = locate::find(named, path, &session.dir, &environment.codex_env, until, control).map_err(|error| {
        Failure::preflight(
            "codex",
            format!("{error:#}"),
            format!("install Codex with `{}` and sign in with `codex login`", locate::INSTALL_HINT),
        )
    })?;
    let failed = |error: anyhow::Error| {
        Failure::preflight("codex", format!("{error:#}"), "run `codex doctor` and correct what it names")
    };
    let mut warnings = Vec::new();
    let catalog = codex.catalog(&session.dir, control).unwrap_or_else(|error| {
        warnings.push(format!("Codex does not list its models, so none can be checked: {error:#}"));
        Catalog::default()
    });
    let profile = options.profile.as_deref();
    let servers = codex.mcp_servers(&session.dir, profile, control).map_err(failed)?;
    for wanted in &options.codex_mcp {
        if !servers.contains(wanted) {
            return Err(Failure::usage(
                format!("Codex has no MCP server `{wanted}`"),
                format!("it has: {}", if servers.is_empty() { "none".to_owned() } else { servers.join(", ") }),
            ));
        }
    }
    let mcp_off = servers.into_iter().filter(|server| !options.codex_mcp.contains(server)).collect();
    let doctor = codex.doctor(&session.dir, control).map_err(failed)?;
    let profile_provider = match (profile, doctor.home.as_ref().or(environment.codex_home.as_ref())) {
        (Some(profile), Some(home)) => locate::profile_provider(home, profile).map_err(failed)?,
        _ => None,
    };
    let home = doctor.home.clone().or_else(|| environment.codex_home.clone());
    let openai_key = environment.openai_api_key.as_deref();
    let account =
        locate::Account::decide(&doctor, profile_provider.as_deref(), environment.codex_api_key, openai_key.is_some());
    let mut env = environment.codex_env.clone();
    env.extend(account.variables(openai_key.map(OsStr::new)));
    let account = match account {
        locate::Account::Nobody => Err("run `codex login`, or set CODEX_API_KEY".to_owned()),
        account => Ok(Account(account.to_string())),
    };
    let probe = codex.sandbox_probe(&session.dir, control).map_err(failed)?;
    if !probe.works {
        warnings.push(format!(
            "Codex's sandbox cannot run here ({}); prompts carry the relevant files instead",
            probe.detail.trim()
        ));
    }
    Ok(CodexReport {
        program: codex.program,
        version: format!("codex-cli {}", codex.version),
        account,
        env,
        mcp_off,
        can_read: probe.works,
        home,
        warnings,
        catalog,
    })
}

impl CodexReport {
    /// Says whether the installed Codex lists this model.
    pub fn lists(&self, model: &str) -> bool {
        self.catalog.model(model).is_some()
    }

    /// Returns the warning for a model that is asked for but not listed: it is sent as typed.
    pub fn model_warning(&self, model: Option<&str>) -> Option<String> {
        let model = model.filter(|model| !self.catalog.models.is_empty() && !self.lists(model))?;
        let listed: Vec<&str> =
            self.catalog.models.iter().filter(|model| model.listed).map(|model| model.slug.as_str()).collect();
        Some(format!(
            "the installed Codex does not list the model {model}; it is sent as typed (listed: {})",
            listed.join(", ")
        ))
    }

    /// Returns the efforts a model is listed with, or `None` where nothing is known.
    pub fn known_efforts(&self, model: Option<&str>) -> Option<Vec<String>> {
        self.catalog.efforts(model)
    }

    /// Checks every effort against what the model lists.
    ///
    /// Returns a usage error that names the efforts there are.
    pub fn check_efforts(&self, settings: &CodexSettings) -> Result<(), Failure> {
        let Some(known) = self.catalog.efforts(settings.model.as_deref()) else { return Ok(()) };
        for kind in CallKind::ALL {
            let effort = settings.effort(kind);
            let typed = settings.efforts.contains_key(&kind);
            if typed && !known.iter().any(|name| name == effort) {
                return Err(Failure::usage(
                    format!("the model has no effort `{effort}` (for {})", kind.name()),
                    format!("it has: {}", known.join(", ")),
                ));
            }
        }
        Ok(())
    }
}
