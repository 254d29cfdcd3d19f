//! The only place that starts processes.
//!
//! Every child runs in a process group of its own, with a deadline, its output going to files (never to a pipe
//! that a grandchild could hold open), and is ended together with all its descendants.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How a process is to be run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Program and arguments. The program is an absolute path or a name looked up on `PATH`.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Variables set on top of the inherited environment.
    pub env: Vec<(OsString, OsString)>,
    /// Inherited variables taken away.
    pub env_remove: Vec<OsString>,
    /// Bytes for standard input, which is closed after them. Empty: `/dev/null`.
    pub stdin: Vec<u8>,
    /// File that takes standard output (created, truncated).
    pub stdout: PathBuf,
    /// File that takes standard error; the same path as `stdout` interleaves both.
    pub stderr: PathBuf,
    /// Longest run time.
    pub limit: Duration,
    /// Time between the first signal and SIGKILL.
    pub grace: Duration,
    /// The first signal sent to end the process.
    pub first_signal: FirstSignal,
    /// Most bytes the two output files may hold together; above it the process is ended.
    pub max_output: u64,
}

/// The signal that asks a process to end before it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstSignal {
    /// SIGINT: Codex ends its own children on it.
    Interrupt,
    /// SIGTERM: what most programs clean up on.
    Terminate,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "kind")]
pub enum Exit {
    /// It ended by itself with this status.
    Code { code: i32 },
    /// It died by this signal, not ours.
    Signal { signal: i32 },
    /// We ended it at its time limit.
    TimedOut,
    /// We ended it because it wrote more than its limit.
    OutputLimit,
    /// We ended it because the caller was told to stop.
    Stopped,
}

impl Exit {
    /// Says whether the process ended by itself with status 0.
    pub fn success(self) -> bool {
        self == Self::Code { code: 0 }
    }
}

/// What is known after a process has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// From spawn to the last descendant's end.
    pub duration: Duration,
    /// Descendants that outlived the process and were ended by us.
    pub swept: usize,
}
