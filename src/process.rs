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

/// A short, trusted command (git plumbing, a version query) whose output is wanted in memory.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Variables set on top of the inherited environment.
    pub env: Vec<(OsString, OsString)>,
    /// Inherited variables taken away.
    pub env_remove: Vec<OsString>,
    /// Bytes for standard input, which is closed after them.
    pub stdin: Vec<u8>,
    /// Longest run time.
    pub limit: Duration,
}

/// What a captured command gave.
#[derive(Debug, Clone)]
pub struct Captured {
    /// How it ended.
    pub exit: Exit,
    /// Its whole standard output.
    pub stdout: Vec<u8>,
    /// Its whole standard error.
    pub stderr: Vec<u8>,
}

/// Tells a running process what its caller wants, and lets the caller watch.
pub trait Control {
    /// Returns true when the process is to be ended now. Asked about every 20 ms.
    fn stop(&mut self) -> bool;

    /// Called about every 20 ms while the process runs, after `stop`; the place to follow a growing output file.
    fn tick(&mut self) {}
}

/// Runs a process to its end, or ends it: at its limit, when it floods, or when `control` says stop. Afterwards no
/// descendant of it lives.
///
/// A non-zero exit is data. Returns an error if the process cannot be started or its files cannot be written.
pub fn run(spec: &Spec, control: &mut dyn Control) -> anyhow::Result<Finished> {
    let _ = (spec, control);
    anyhow::bail!("cannot start processes here")
}

/// Runs a short command and returns its output.
///
/// A non-zero exit is data. Returns an error if it cannot be started.
pub fn capture(capture: &Capture) -> anyhow::Result<Captured> {
    use std::io::Write;
    use std::process::Stdio;
    let (program, arguments) = capture.argv.split_first().ok_or_else(|| anyhow::anyhow!("empty command"))?;
    let mut command = std::process::Command::new(program);
    command.args(arguments).current_dir(&capture.cwd);
    for name in &capture.env_remove {
        command.env_remove(name);
    }
    command.envs(capture.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let bytes = capture.stdin.clone();
    let writer = std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(&bytes)));
    let output = child.wait_with_output()?;
    let _ = writer.join();
    let exit = Exit::Code { code: output.status.code().unwrap_or(-1) };
    Ok(Captured { exit, stdout: output.stdout, stderr: output.stderr })
}
