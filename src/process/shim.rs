//! The watcher between this program and each command it runs: this program's own binary, started with hidden
//! arguments.
//!
//! It starts the command, waits for it, ends what the command left behind, and writes how it all ended to a report
//! file. If the program that started it dies, however suddenly, it ends the command's whole tree: no check and no
//! Codex call goes on, or goes on costing, without its loop. On Linux, orphans of the command come back to the
//! watcher, so that a process which has made itself a daemon is found as well.
//! It never reads or changes what the command reads and writes.

#![expect(clippy::disallowed_methods, reason = "starts the command it watches")]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Exit, own_pid, sweep, table};

/// The first hidden argument.
pub const SHIM_ARGUMENT: &str = "__shim";

/// Time that what a command left behind has between SIGTERM and SIGKILL: enough for a test server to let go of its
/// port, short enough not to be felt after every check.
const LEFTOVER_GRACE: Duration = Duration::from_millis(500);

/// How often the watcher looks for its parent's death and for zombies handed to it. The table walk behind it costs
/// about a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where to find a program that can be the watcher.
#[derive(Debug, Clone)]
pub struct Shim {
    /// The executable.
    pub path: PathBuf,
    /// Arguments before the hidden ones.
    pub arguments: Vec<OsString>,
}

impl Shim {
    /// Returns the running executable.
    ///
    /// On Linux this is a link the kernel keeps, so that replacing the binary during a long loop does no harm.
    /// Returns an error if the executable's path is unknown.
    pub fn current() -> anyhow::Result<Self> {
        let path = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().context("find the running executable")?
        };
        Ok(Self { path, arguments: Vec::new() })
    }

    pub(super) fn argv(&self, report: &std::path::Path, argv: &[OsString]) -> Vec<OsString> {
        let mut full = vec![self.path.clone().into_os_string()];
        full.extend(self.arguments.iter().cloned());
        full.push(SHIM_ARGUMENT.into());
        full.push(own_pid().to_string().into());
        full.push(report.into());
        full.push("--".into());
        full.extend(argv.iter().cloned());
        full
    }
}

/// What the watcher has to say at the end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) exit: Option<Exit>,
    pub(super) swept: usize,
    pub(super) error: Option<String>,
}

/// Runs as the watcher. `arguments` are those after [`SHIM_ARGUMENT`]: the parent's process id, the report file,
/// `--`, and the command.
pub fn shim_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let parent = arguments.next().and_then(|text| text.to_str()?.parse::<i32>().ok());
    let report = arguments.next().map(PathBuf::from);
    let dashes = arguments.next();
    let argv: Vec<OsString> = arguments.collect();
    let (Some(parent), Some(path), true, false) =
        (parent, report, dashes.is_some_and(|text| text == "--"), argv.is_empty())
    else {
        return ExitCode::from(2);
    };
    // Opened before the command starts: it cannot put another file in the way afterwards.
    let Ok(mut file) = File::options().write(true).open(&path) else { return ExitCode::from(2) };
    let report = watch(parent, &argv);
    let text = serde_json::to_vec(&report).unwrap_or_default();
    let written = file.set_len(0).and_then(|()| file.write_all(&text));
    if parent_pid() != parent {
        // Nobody is left to read it.
        let _ = std::fs::remove_file(&path);
    }
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn watch(parent: i32, argv: &[OsString]) -> Report {
    match watch_child(parent, argv) {
        Ok((exit, swept)) => Report { exit: Some(exit), swept, error: None },
        Err(error) => Report { exit: None, swept: 0, error: Some(format!("{error:#}")) },
    }
}

fn watch_child(parent: i32, argv: &[OsString]) -> anyhow::Result<(Exit, usize)> {
    // The signals that end the command go to the whole group, and so reach the watcher, which has to outlive it.
    // Handled, not ignored: a handler is not inherited by the command.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).context("handle signals")?;
    }
    adopt_orphans();
    anyhow::ensure!(parent_pid() == parent, "the starting process is gone");
    let (program, rest) = argv.split_first().context("empty command")?;
    let mut child = Command::new(program).args(rest).spawn().with_context(|| format!("start {}", program.display()))?;
    let mut pause = super::Pause::new();
    let mut looked = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("wait for the command")? {
            let swept = sweep_below_own(None, LEFTOVER_GRACE);
            return Ok((Exit::from_status(status), swept));
        }
        if looked.elapsed() >= LOOK_EVERY {
            looked = Instant::now();
            if parent_pid() != parent {
                let swept = sweep_below_own(Some(&mut child), Duration::ZERO);
                return Ok((Exit::Stopped, swept));
            }
            reap_orphans(&child);
        }
        pause.sleep();
    }
}

fn parent_pid() -> i32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get())
}

/// Makes orphans below this process its children.
fn adopt_orphans() {
    // Refused by no Linux since 3.4; without it only daemons are missed, so an error is not worth stopping for.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Takes the exit status of orphans that have ended, so that a long run does not pile up zombies.
fn reap_orphans(child: &Child) {
    let own = own_pid();
    let command = i32::try_from(child.id()).unwrap_or_default();
    for (pid, row) in table::read() {
        if row.zombie && row.parent == own && pid != command {
            super::reap(pid);
        }
    }
}

/// Ends everything below this process and returns how many there were, the command itself not counted.
fn sweep_below_own(command: Option<&mut Child>, grace: Duration) -> usize {
    let own = own_pid();
    let command_pid = command.as_ref().and_then(|child| i32::try_from(child.id()).ok());
    let mut below = || table::descendants(&table::read(), own);
    let swept = sweep(&mut below, grace);
    if let Some(child) = command {
        let _ = child.try_wait();
    }
    swept - usize::from(command_pid.is_some() && swept > 0)
}
