//! The only place that starts processes.
//!
//! Every child runs in a process group of its own, with a deadline, its output going to files (never to a pipe
//! that a grandchild could hold open), and is ended together with all its descendants. Between this program and the
//! child stands a watcher (`shim`), so that no child outlives this program's sudden death either. It never reads
//! what a process wrote and never decides what an exit means.

#![expect(clippy::disallowed_methods, reason = "the starter of processes, and of the search for them on PATH")]

mod shim;
mod table;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, WaitOptions};

pub use shim::{SHIM_ARGUMENT, Shim, shim_main};
use table::{Identity, Table};

/// Set for every process this program runs: hooks of the plugin stay silent in a Claude or Codex that a loop started.
pub const WORKER_MARK: &str = "CLOOP_WORKER";

/// Longest pause between two looks at a running process, and so how late its end or a stop can be noticed.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Between two looks at the table of processes to note descendants; the walk costs about a millisecond.
const NOTE_EVERY: Duration = Duration::from_millis(250);

/// Time the kernel is given to carry out SIGKILL. Only a process stuck inside the kernel (a dead network drive)
/// takes longer, and waiting for that could take for ever.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// Time in which helpers that are ending anyway may end without counting as left behind.
const SETTLE: Duration = Duration::from_millis(50);

/// Limit of a captured command that names none: far above any git command on a large repository.
const DEFAULT_CAPTURE_LIMIT: Duration = Duration::from_secs(600);

/// Between SIGTERM and SIGKILL for a captured command; it has nothing to save.
const CAPTURE_GRACE: Duration = Duration::from_millis(500);

/// Most bytes a captured command may write, a hundred times what Codex says of itself.
const MAX_CAPTURE_BYTES: u64 = 64 << 20;

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
    /// We ended it because it had started more processes than [`MAX_PROCESSES`].
    TooManyProcesses,
    /// We ended it because the caller was told to stop.
    Stopped,
}

/// Most processes that may live below a command at the same time. Test runners with a worker for each core stay far
/// below; what forks without end has to be met while the machine can still answer.
pub const MAX_PROCESSES: usize = 2000;

impl Exit {
    /// Says whether the process ended by itself with status 0.
    pub fn success(self) -> bool {
        self == Self::Code { code: 0 }
    }

    fn from_status(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code { code },
            (None, signal) => Self::Signal { signal: signal.unwrap_or_default() },
        }
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

/// Nobody stops it.
impl Control for () {
    fn stop(&mut self) -> bool {
        false
    }
}

/// Runs a process to its end, or ends it: at its limit, when it floods, or when `control` says stop. Afterwards no
/// descendant of it lives.
///
/// A non-zero exit is data. Returns an error if the process cannot be started or its files cannot be written.
pub fn run(spec: &Spec, control: &mut dyn Control) -> anyhow::Result<Finished> {
    run_with(spec, control, SHIM.get())
}

/// Makes every later [`run`] start its process through `shim`. Called once, by the program's entry point; without
/// it processes are started directly, and outlive this program if it is killed. A second call changes nothing.
pub fn use_shim(shim: Shim) {
    let _ = SHIM.set(shim);
}

static SHIM: OnceLock<Shim> = OnceLock::new();

fn run_with(spec: &Spec, control: &mut dyn Control, shim: Option<&Shim>) -> anyhow::Result<Finished> {
    let started = Instant::now();
    let mut argv = spec.argv.clone();
    let first = argv.first_mut().context("empty command")?;
    *first = find_program(first, &spec.env, &spec.cwd)?;
    let report = shim.map(|_| tempfile::NamedTempFile::new()).transpose().context("create the report file")?;
    if let (Some(shim), Some(report)) = (shim, &report) {
        argv = shim.argv(report.path(), &argv);
    }
    let mut command = command(&argv, &spec.cwd, &spec.env, &spec.env_remove)?;
    if shim.is_some() {
        // What `ps` shows; the path may be one that says nothing.
        command.arg0(env!("CARGO_PKG_NAME"));
    }
    let stdout = output_file(&spec.stdout)?;
    let stderr = if spec.stderr == spec.stdout {
        stdout.try_clone().with_context(|| format!("share {}", spec.stdout.display()))?
    } else {
        output_file(&spec.stderr)?
    };
    command.stdin(input(&spec.stdin)?).stdout(stdout).stderr(stderr);
    let child = command.spawn().with_context(|| format!("start {}", spec.argv[0].display()))?;
    drop(command);
    let mut running = Running::new(child, shim.is_some());

    let (status, cause) = running.watch(spec, control, started);
    let told: Option<shim::Report> = report.and_then(|report| {
        let bytes = std::fs::read(report.path()).ok()?;
        serde_json::from_slice(&bytes).ok()
    });
    if let Some(error) = told.as_ref().and_then(|told| told.error.as_ref()) {
        anyhow::bail!("{error}");
    }
    // Nothing is left to find after a watcher that reported; without one, or after its violent death, there may be.
    let swept = match &told {
        Some(told) => told.swept,
        None => running.sweep_leftovers(),
    };
    let flooded = cut_output(spec)?;
    let exit = match (cause, told.and_then(|told| told.exit)) {
        (Some(cause), _) => cause,
        (None, _) if flooded => Exit::OutputLimit,
        (None, Some(exit)) => exit,
        (None, None) => status.map_or(Exit::Signal { signal: Signal::KILL.as_raw() }, Exit::from_status),
    };
    Ok(Finished { exit, duration: started.elapsed(), swept })
}

/// Runs a short command and returns its output.
///
/// It runs in a process group of its own and is killed at its limit (ten minutes where the limit is zero).
/// A non-zero exit is data. Returns an error if it cannot be started.
pub fn capture(capture: &Capture) -> anyhow::Result<Captured> {
    let name = capture.argv.first().context("empty command")?;
    let mut argv = capture.argv.clone();
    argv[0] = find_program(name, &capture.env, &capture.cwd)?;
    let mut stdout = tempfile::tempfile().context("create a temporary file")?;
    let mut stderr = tempfile::tempfile().context("create a temporary file")?;
    let mut command = command(&argv, &capture.cwd, &capture.env, &capture.env_remove)?;
    command
        .stdin(input(&capture.stdin)?)
        .stdout(stdout.try_clone().context("share a temporary file")?)
        .stderr(stderr.try_clone().context("share a temporary file")?);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start {}", name.display()))?;
    let limit = if capture.limit.is_zero() { DEFAULT_CAPTURE_LIMIT } else { capture.limit };
    let mut pause = Pause::new();
    let exit = loop {
        match child.try_wait().with_context(|| format!("wait for {}", name.display()))? {
            Some(status) => break Exit::from_status(status),
            None if started.elapsed() >= limit => {
                signal_group(&child, Signal::KILL);
                wait_bounded(&mut child, KILL_WAIT);
                break Exit::TimedOut;
            }
            None => pause.sleep(),
        }
    };
    let mut captured = Captured { exit, stdout: Vec::new(), stderr: Vec::new() };
    for (file, bytes) in [(&mut stdout, &mut captured.stdout), (&mut stderr, &mut captured.stderr)] {
        file.rewind().and_then(|()| file.read_to_end(bytes)).context("read a command's output")?;
    }
    Ok(captured)
}

/// Runs a short command that is not trusted to end, and returns its output: `control` ends it, and it does not outlive
/// this program.
///
/// A non-zero exit is data. Returns an error if it cannot be started, or writes more than a short command does.
pub fn capture_watched(capture: &Capture, control: &mut dyn Control) -> anyhow::Result<Captured> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let spec = Spec {
        argv: capture.argv.clone(),
        cwd: capture.cwd.clone(),
        env: capture.env.clone(),
        env_remove: capture.env_remove.clone(),
        stdin: capture.stdin.clone(),
        stdout: folder.path().join("stdout"),
        stderr: folder.path().join("stderr"),
        limit: if capture.limit.is_zero() { DEFAULT_CAPTURE_LIMIT } else { capture.limit },
        grace: CAPTURE_GRACE,
        first_signal: FirstSignal::Terminate,
        max_output: MAX_CAPTURE_BYTES,
    };
    let exit = run(&spec, control)?.exit;
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    Ok(Captured { exit, stdout: read(&spec.stdout)?, stderr: read(&spec.stderr)? })
}

/// Starts a process that is to outlive this one: standard input closed, both outputs appended to `log`. Returns its id.
///
/// It stays in this process's session until it calls [`leave_session`] itself. Returns an error if it cannot be
/// started.
pub fn start_detached(argv: &[OsString], cwd: &Path, log: &Path) -> anyhow::Result<Detached> {
    let mut argv = argv.to_vec();
    let first = argv.first_mut().context("empty command")?;
    *first = find_program(first, &[], cwd)?;
    let open = || File::options().append(true).create(true).mode(0o600).open(log);
    let stdout = open().with_context(|| format!("open {}", log.display()))?;
    let stderr = stdout.try_clone().with_context(|| format!("share {}", log.display()))?;
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(cwd).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let child = command.spawn().with_context(|| format!("start {}", argv[0].display()))?;
    Ok(Detached { child })
}

/// A process started to outlive this one.
#[derive(Debug)]
pub struct Detached {
    child: Child,
}

impl Detached {
    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says whether it has ended already.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

/// Makes this process the leader of a session of its own, so that neither its parent's end nor its terminal's reaches
/// it.
///
/// Returns an error if it already leads a process group.
pub fn leave_session() -> anyhow::Result<()> {
    rustix::process::setsid().map(drop).context("leave the session")
}

/// Returns a number that tells this process from every other that has or will have the same id, or `None` where no
/// such process lives. Comparable only with figures of the same machine since its last start.
pub fn process_start_time(pid: u32) -> Option<u64> {
    let row = table::row(i32::try_from(pid).ok()?)?;
    (!row.zombie).then_some(row.start)
}

/// Says whether the process with this id and start time still runs. One that has ended but is not yet waited for
/// counts as gone.
pub fn is_alive(pid: u32, start_time: u64) -> bool {
    process_start_time(pid) == Some(start_time)
}

/// Ends a process that is not necessarily our child, and everything below it: SIGTERM to the process, after `grace`
/// SIGKILL to all. Returns whether all of them are gone; a wrong start time counts as gone, and nothing is signalled.
pub fn end_process_tree(pid: u32, start_time: u64, grace: Duration) -> bool {
    let Ok(raw) = i32::try_from(pid) else { return true };
    let root = Identity { pid: raw, start: start_time };
    let mut tree = BTreeSet::from([root]);
    let grow = |tree: &mut BTreeSet<Identity>| {
        let table = table::read();
        tree.retain(|identity| lives(&table, *identity));
        let below: Vec<Identity> = tree.iter().flat_map(|identity| table::descendants(&table, identity.pid)).collect();
        tree.extend(below);
        tree.retain(|identity| lives(&table, *identity));
    };
    grow(&mut tree);
    if tree.is_empty() {
        return true;
    }
    signal(root, Signal::TERM);
    let started = Instant::now();
    let mut pause = Pause::new();
    while started.elapsed() < grace {
        grow(&mut tree);
        if tree.is_empty() {
            return true;
        }
        pause.sleep();
    }
    sweep(
        &mut || {
            grow(&mut tree);
            tree.clone()
        },
        Duration::ZERO,
    );
    grow(&mut tree);
    tree.is_empty()
}

/// A started child and what has been seen below it.
struct Running {
    child: Child,
    /// Whether the child is a watcher, with the command below it.
    watched: bool,
    group: i32,
    start: u64,
    noted: BTreeSet<Identity>,
}

impl Running {
    fn new(child: Child, watched: bool) -> Self {
        let group = i32::try_from(child.id()).unwrap_or_default();
        let start = table::row(group).map_or(0, |row| row.start);
        Self { child, watched, group, start, noted: BTreeSet::new() }
    }

    /// Waits until the child has ended, or ends it. Returns its status, where the kernel gave one, and why we ended it.
    fn watch(
        &mut self,
        spec: &Spec,
        control: &mut dyn Control,
        started: Instant,
    ) -> (Option<ExitStatus>, Option<Exit>) {
        let mut pause = Pause::new();
        let mut noted_at = Instant::now();
        let cause = loop {
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return (Some(status), None),
                // Somebody else has waited for our child: it is gone, only its status is unknown.
                Err(_) => return (None, None),
            }
            if control.stop() {
                break Exit::Stopped;
            }
            control.tick();
            if output_size(spec) > spec.max_output {
                break Exit::OutputLimit;
            }
            if started.elapsed() >= spec.limit {
                break Exit::TimedOut;
            }
            if noted_at.elapsed() >= NOTE_EVERY {
                noted_at = Instant::now();
                self.note(&table::read());
                if self.noted.len() > MAX_PROCESSES {
                    break Exit::TooManyProcesses;
                }
            }
            pause.sleep();
        };
        // What floods or forks gets no time to go on with it.
        let at_once = matches!(cause, Exit::OutputLimit | Exit::TooManyProcesses);
        let grace = if at_once { Duration::ZERO } else { spec.grace };
        self.note(&table::read());
        let first = match spec.first_signal {
            FirstSignal::Interrupt => Signal::INT,
            FirstSignal::Terminate => Signal::TERM,
        };
        signal_group(&self.child, first);
        if let Some(status) = wait_bounded(&mut self.child, grace) {
            return (Some(status), Some(cause));
        }
        if self.watched {
            // First all that is below, so that the watcher is the last to go and orphans stay traceable to the end.
            let group = self.group;
            sweep(&mut || table::descendants(&table::read(), group), Duration::ZERO);
            if let Some(status) = wait_bounded(&mut self.child, LONGEST_PAUSE * 5) {
                return (Some(status), Some(cause));
            }
        }
        self.note(&table::read());
        signal_group(&self.child, Signal::KILL);
        (wait_bounded(&mut self.child, KILL_WAIT), Some(cause))
    }

    /// Remembers what lives below the child, so that it is found again after its parents have gone.
    fn note(&mut self, table: &Table) {
        self.noted.retain(|identity| lives(table, *identity));
        let roots: Vec<i32> =
            std::iter::once(self.group).chain(self.noted.iter().map(|identity| identity.pid)).collect();
        for root in roots {
            self.noted.extend(table::descendants(table, root));
        }
        // A group's number cannot be given away while the group has members, but may be once all are gone.
        let members = table.iter().filter(|(pid, row)| {
            row.group == self.group && **pid != self.group && row.start >= self.start && !row.zombie
        });
        self.noted.extend(members.map(|(pid, row)| Identity { pid: *pid, start: row.start }));
    }

    /// Ends what outlived the child and returns how many that were.
    fn sweep_leftovers(&mut self) -> usize {
        sweep(
            &mut || {
                self.note(&table::read());
                self.noted.clone()
            },
            SETTLE * 10,
        )
    }
}

/// Ends every process that `list` names: SIGTERM, after `grace` SIGKILL, again and again until the list is empty or
/// [`KILL_WAIT`] is over. Returns how many it had to signal.
fn sweep(list: &mut dyn FnMut() -> BTreeSet<Identity>, grace: Duration) -> usize {
    let started = Instant::now();
    let settle = if grace.is_zero() { Duration::ZERO } else { SETTLE };
    let mut asked = BTreeSet::new();
    let mut pause = Pause::new();
    loop {
        let mut alive = false;
        let elapsed = started.elapsed();
        for identity in list() {
            let Some(row) = table::row(identity.pid).filter(|row| row.start == identity.start) else { continue };
            if row.zombie {
                if row.parent == own_pid() {
                    reap(identity.pid);
                }
                continue;
            }
            alive = true;
            if elapsed >= settle + grace {
                asked.insert(identity);
                signal(identity, Signal::KILL);
            } else if elapsed >= settle && asked.insert(identity) {
                signal(identity, Signal::TERM);
            }
        }
        if !alive || elapsed >= settle + grace + KILL_WAIT {
            return asked.len();
        }
        pause.sleep();
    }
}

fn lives(table: &Table, identity: Identity) -> bool {
    table.get(&identity.pid).is_some_and(|row| row.start == identity.start && !row.zombie)
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

fn signal(identity: Identity, signal: Signal) {
    // Looked up again at the last moment: what remains of the race with a reused id is a few microseconds.
    let same = table::row(identity.pid).is_some_and(|row| row.start == identity.start);
    if same && let Some(pid) = Pid::from_raw(identity.pid) {
        // Gone in the meantime is what was wanted.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Signals the group of a child that has not been waited for: its number cannot belong to anybody else yet.
fn signal_group(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Takes the status of this ended child of ours. Never of "any child": those belong to whoever started them.
fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

fn wait_bounded(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    let mut pause = Pause::new();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if started.elapsed() < limit => pause.sleep(),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Sleeps between two looks: a millisecond at first, so that short commands are not slowed down, and longer later.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(Duration::from_millis(1))
    }

    fn sleep(&mut self) {
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

/// Returns the program's absolute path, so that a missing one is an error before anything is started.
fn find_program(name: &OsStr, env: &[(OsString, OsString)], cwd: &Path) -> anyhow::Result<OsString> {
    let own = env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let path = own.or_else(|| std::env::var_os("PATH"));
    let found = which::which_in(name, path, cwd);
    found.map(PathBuf::into_os_string).with_context(|| format!("find the program {}", name.display()))
}

fn command(
    argv: &[OsString],
    cwd: &Path,
    env: &[(OsString, OsString)],
    env_remove: &[OsString],
) -> anyhow::Result<Command> {
    anyhow::ensure!(cwd.is_dir(), "no such folder: {}", cwd.display());
    let (program, arguments) = argv.split_first().context("empty command")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(cwd).process_group(0).env(WORKER_MARK, "1");
    for name in env_remove {
        command.env_remove(name);
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Standard input as an unnamed file: nothing to write while the process runs, and nothing that can block.
fn input(bytes: &[u8]) -> anyhow::Result<Stdio> {
    if bytes.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = tempfile::tempfile().context("create a temporary file")?;
    file.write_all(bytes).and_then(|()| file.rewind()).context("write a command's input")?;
    Ok(file.into())
}

/// Opened for appending, so that two writers do not overwrite each other; readable by the user only, as it may hold
/// anything.
fn output_file(path: &Path) -> anyhow::Result<File> {
    let truncated = File::options().create(true).write(true).truncate(true).mode(0o600).open(path);
    truncated
        .and_then(|_| File::options().append(true).open(path))
        .with_context(|| format!("create {}", path.display()))
}

fn output_sizes(spec: &Spec) -> (u64, u64) {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let stdout = size(&spec.stdout);
    (stdout, if spec.stderr == spec.stdout { 0 } else { size(&spec.stderr) })
}

fn output_size(spec: &Spec) -> u64 {
    let (stdout, stderr) = output_sizes(spec);
    stdout + stderr
}

/// Cuts the output files to the limit and says whether they were above it: what a process wrote between two looks
/// must neither fill the disk nor make the verdict depend on timing.
fn cut_output(spec: &Spec) -> anyhow::Result<bool> {
    let (stdout, stderr) = output_sizes(spec);
    if stdout + stderr <= spec.max_output {
        return Ok(false);
    }
    let kept = stdout.min(spec.max_output);
    let cut = |path: &Path, size: u64| {
        let file = File::options().write(true).open(path);
        file.and_then(|file| file.set_len(size)).with_context(|| format!("cut {}", path.display()))
    };
    cut(&spec.stdout, kept)?;
    if spec.stderr != spec.stdout {
        cut(&spec.stderr, stderr.min(spec.max_output - kept))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
