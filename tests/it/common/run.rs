//! Child processes of a test: started in a group of their own, ended at an outer limit, output kept in files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

/// What a finished process gave.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Exit status, or `None` after a signal.
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) duration: Duration,
}

impl Run {
    /// Fails, showing all output, unless the process ended with this status.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "signal {:?}\nstdout:\n{}\nstderr:\n{}",
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }

    /// Standard output as one JSON document a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// A process that may still run. Dropping it ends its whole group.
pub(crate) struct Running {
    child: Child,
    began: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts the command with this standard input; output goes to new files in `dir`.
    pub(crate) fn start(mut command: Command, stdin: &str, dir: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let file = |name: &str| tempfile::Builder::new().prefix(name).tempfile_in(dir).unwrap().keep().unwrap();
        let ((out, stdout), (err, stderr)) = (file("stdout-"), file("stderr-"));
        // From a file: a process that never reads cannot block the test.
        let (mut input, input_path) = file("stdin-");
        input.write_all(stdin.as_bytes()).unwrap();
        command.stdin(fs::File::open(&input_path).unwrap()).stdout(Stdio::from(out)).stderr(Stdio::from(err));
        command.process_group(0);
        let began = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        fs::remove_file(input_path).unwrap();
        Self { child, began, stdout, stderr, ended: None }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.pid()).unwrap()
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Sends a signal to its whole group, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        kill_process_group(self.id(), signal).unwrap();
    }

    /// Says whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_none()
    }

    /// What it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap()).into_owned()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Waits until `ready` says so. Fails, showing all output, at the limit or when the process ends before.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, limit: Duration, mut ready: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + limit;
        while !ready(self) {
            let running = self.is_running();
            let hopeless = !running && !ready(self);
            assert!(
                !hopeless && Instant::now() < deadline,
                "no {what}; running: {running}\nstdout:\n{}\nstderr:\n{}",
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end. At the limit its group is killed and the test fails, showing all output.
    #[track_caller]
    pub(crate) fn finish(mut self, limit: Duration) -> Run {
        use std::os::unix::process::ExitStatusExt;
        let deadline = self.began + limit;
        while self.is_running() {
            assert!(
                Instant::now() < deadline,
                "still running after {limit:?}\nstdout:\n{}\nstderr:\n{}",
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.ended.unwrap();
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let _ = (fs::remove_file(&self.stdout), fs::remove_file(&self.stderr));
        Run { code: status.code(), signal: status.signal(), stdout, stderr, duration: self.began.elapsed() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = kill_process_group(self.id(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
