//! Errors a person meets: what happened, what to do, and the exit code.

use std::fmt;

/// Exit codes, as the reference documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, or the goal is met.
    Success = 0,
    /// The loop ended without the goal.
    NotMet = 1,
    /// The command line or its input is wrong.
    Usage = 2,
    /// Preflight failed.
    Preflight = 3,
    /// Another loop holds this work tree.
    Held = 4,
    /// The state cannot be read, is newer than this program, or the goal drifted.
    State = 5,
    /// Codex is unavailable.
    Codex = 6,
    /// A review said NO-GO.
    NoGo = 10,
    /// A review said MODIFY.
    Modify = 11,
    /// No review took place.
    Unavailable = 12,
    /// A fault of this program.
    Internal = 70,
    /// `wait` ran out of time.
    TimedOut = 124,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// Returns the exit code of a command that a signal ended. The end of the terminal is an end like SIGTERM, and the
/// interface knows no third one.
pub fn signal_exit_code(signal: i32) -> u8 {
    let signal = if signal == signal_hook::consts::SIGHUP { signal_hook::consts::SIGTERM } else { signal };
    u8::try_from(signal).ok().and_then(|signal| signal.checked_add(128)).unwrap_or(ExitCode::Internal as u8)
}

/// An error with what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub code: ExitCode,
    /// Stable name for programs, for example `not-a-repository`.
    pub name: &'static str,
    /// One sentence: what happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Failure {
    /// Returns a failure with a hint; an empty hint is none.
    pub fn new(code: ExitCode, name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        Self { code, name, message: message.into(), hint: Some(hint).filter(|hint| !hint.is_empty()) }
    }

    /// Returns a usage error.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, "usage", message, hint)
    }

    /// Returns the failure of a full disk.
    pub fn disk_full(error: &anyhow::Error) -> Self {
        Self::new(
            ExitCode::NotMet,
            "disk-full",
            format!("the disk is full: {error:#}"),
            "make space; a loop goes on with `loop-companion resume`",
        )
    }

    /// Returns a failed preflight.
    pub fn preflight(name: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ExitCode::Preflight, name, message, hint)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<crate::store::JournalError> for Failure {
    fn from(error: crate::store::JournalError) -> Self {
        use crate::store::JournalError;
        let hint = match &error {
            JournalError::Newer { .. } => "update this program; nothing was changed",
            JournalError::Corrupt { .. } => {
                "nothing was changed; move the run's folder away to start afresh, its refs keep every accepted state"
            }
            JournalError::Missing(_) | JournalError::Failed(_) => "check the folder's permissions and the disk",
        };
        let name = if matches!(error, JournalError::Newer { .. }) { "state-newer" } else { "state-unreadable" };
        Self::new(ExitCode::State, name, error.to_string(), hint)
    }
}

/// What went wrong, as every error is printed for programs.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDocument {
    pub schema_version: u32,
    pub error: ErrorBody,
}

/// The error itself.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct ErrorBody {
    /// Stable name.
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Says whether an error comes from a disk, or a quota, that holds no more: by its kind, or in the words of a program
/// such as git that met it.
pub fn is_disk_full(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind;
    const WORDS: [&str; 3] = ["No space left on device", "Disk quota exceeded", "File too large"];
    error.chain().any(|cause| {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge);
        }
        let text = cause.to_string();
        WORDS.iter().any(|words| text.contains(words))
    })
}

/// Returns the exit code of any error, and its document.
pub fn describe(error: &anyhow::Error) -> (u8, ErrorDocument) {
    let full = is_disk_full(error).then(|| Failure::disk_full(error));
    let (exit, body) = match error.downcast_ref::<Failure>().or(full.as_ref()) {
        Some(failure) => (
            failure.code as u8,
            ErrorBody { code: failure.name.to_owned(), message: failure.message.clone(), hint: failure.hint.clone() },
        ),
        None => {
            (ExitCode::Internal as u8, ErrorBody { code: "internal".into(), message: format!("{error:#}"), hint: None })
        }
    };
    (exit, ErrorDocument { schema_version: crate::report::SCHEMA_VERSION, error: body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_terminal_is_an_end_like_sigterm() {
        assert_eq!([2, 15, 1, -1, 1000].map(signal_exit_code), [130, 143, 143, 70, 70]);
    }
}
