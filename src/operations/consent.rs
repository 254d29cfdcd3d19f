//! The user's consent to what a repository's configuration names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PlanReport, Session, layers};
use crate::config::{self, REPOSITORY_FILE};
use crate::error::Failure;
use crate::report::SCHEMA_VERSION;

/// Whether a repository's configuration is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustReport {
    pub schema_version: u32,
    /// The file.
    pub file: String,
    /// Whether it is trusted with the content it has now.
    pub trusted: bool,
    /// What in it counts only with trust, as it is written there.
    pub settings: Vec<String>,
}

/// Trusts the repository's `.cloop.toml` with exactly its present content.
///
/// Returns a usage error if there is none, or it cannot be read as configuration.
pub fn trust(session: &Session) -> anyhow::Result<TrustReport> {
    set(session, true)
}

/// Takes the trust back.
pub fn distrust(session: &Session) -> anyhow::Result<TrustReport> {
    set(session, false)
}

fn set(session: &Session, trusted: bool) -> anyhow::Result<TrustReport> {
    let repository = session.repository()?;
    let file = repository.root().join(REPOSITORY_FILE).display().to_string();
    let options = config::set_trust(repository.root(), &session.environment, trusted)?;
    if trusted && options.is_none() {
        return Err(Failure::usage(format!("there is no {file}"), "there is nothing to trust").into());
    }
    let settings = options.map(layers::needs_consent).unwrap_or_default();
    Ok(TrustReport { schema_version: SCHEMA_VERSION, file, trusted, settings })
}

/// Returns a usage error if the plan follows settings of the repository that nobody has agreed to.
pub fn confirmed(report: &PlanReport) -> anyhow::Result<()> {
    if report.unconfirmed.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(
        format!("the repository's {REPOSITORY_FILE} sets what needs your consent: {}", report.unconfirmed.join("; ")),
        format!(
            "read it; then type `loop-companion trust`, or start this very plan with `loop-companion start --approved \
             {}`, or give your own flags",
            report.plan_hash
        ),
    )
    .into())
}
