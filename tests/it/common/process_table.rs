//! Which processes belong to a test, told by its temporary folder.

use std::path::Path;
use std::time::{Duration, Instant};

/// One running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pid: i32,
    /// Its command line, arguments joined by blanks.
    pub(crate) command: String,
}

impl Entry {
    /// Ends it with SIGKILL; one that is gone already is left alone.
    pub(crate) fn kill(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Returns the processes, other than this one, whose environment, working directory or command line mentions `dir`.
pub(crate) fn processes_of(dir: &Path) -> Vec<Entry> {
    let own = i32::try_from(std::process::id()).unwrap();
    let needle = dir.to_str().unwrap();
    let table = if Path::new("/proc/self/environ").exists() { from_proc(needle) } else { from_ps(needle) };
    table.into_iter().filter(|entry| entry.pid != own).collect()
}

fn from_proc(needle: &str) -> Vec<Entry> {
    let mentions = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    let folders = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    folders
        .filter_map(|folder| {
            let pid = folder.file_name()?.to_str()?.parse().ok()?;
            // A process may end while it is read; a zombie has neither command line nor folder.
            let command = std::fs::read(folder.join("cmdline")).unwrap_or_default();
            let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
            let cwd = std::fs::read_link(folder.join("cwd")).unwrap_or_default();
            let belongs = mentions(&command) || mentions(&environment) || mentions(cwd.to_string_lossy().as_bytes());
            let command = String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned();
            belongs.then_some(Entry { pid, command })
        })
        .collect()
}

fn from_ps(needle: &str) -> Vec<Entry> {
    // `-E` appends the environment to the command line; the working directory is not shown.
    let output = std::process::Command::new("ps").args(["-axwwE", "-o", "pid=,command="]).output().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(needle))
        .filter_map(|line| {
            let (pid, command) = line.trim_start().split_once(' ')?;
            Some(Entry { pid: pid.parse().ok()?, command: command.to_owned() })
        })
        .collect()
}

/// Waits until no process of `dir` is left. Returns those that are at the limit.
pub(crate) fn wait_until_gone(dir: &Path, limit: Duration) -> Vec<Entry> {
    let deadline = Instant::now() + limit;
    loop {
        let left = processes_of(dir);
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        // The kernel tells nobody but the parent that a process has ended.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the children of a process that have ended and were not waited for. Only Linux tells; elsewhere none.
pub(crate) fn children_that_ended(parent: i32) -> Vec<i32> {
    let folders = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    folders
        .filter_map(|folder| {
            let pid = folder.file_name()?.to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
            // The name in brackets may hold anything, brackets too.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            (fields.next()? == "Z" && fields.next()?.parse::<i32>().ok()? == parent).then_some(pid)
        })
        .collect()
}
