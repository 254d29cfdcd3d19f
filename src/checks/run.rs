//! Runs one check to its receipt.

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use jiff::Timestamp;

use super::Receipt;
use super::readers::{self, Counts};
use crate::process::{self, Control, Exit, FirstSignal, Spec};

/// Most output a check may write before it is ended. A real suite stays far below; a flood must not fill the disk.
const MAX_OUTPUT: u64 = 256 << 20;

/// How much of a log is read for counts: its beginning and its end, where runners say what they found.
const READ_HEAD: u64 = 4 << 20;
const READ_TAIL: u64 = 12 << 20;

/// Time a check gets between SIGTERM and SIGKILL, to let go of what it holds.
const GRACE: Duration = Duration::from_secs(2);

/// Variables of a surrounding test run or git hook that would change what a check does: a nested `node --test`
/// reports to its parent instead of printing, a nested git works on the hook's repository.
const FOREIGN_VARIABLES: [&str; 16] = [
    "NODE_TEST_CONTEXT",
    "NODE_TEST_WORKER_ID",
    "JEST_WORKER_ID",
    "VITEST",
    "VITEST_WORKER_ID",
    "PYTEST_CURRENT_TEST",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_NAME",
    "NEXTEST",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_WORK_TREE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
];

/// One check to run.
#[derive(Debug)]
pub struct CheckRun<'a> {
    /// `test`, `lint`…
    pub name: &'a str,
    /// The command, given to `sh -c` as it is.
    pub command: &'a str,
    /// Folder it runs in.
    pub dir: &'a Path,
    /// Id of the tree that folder holds.
    pub tree: &'a str,
    /// Longest run time.
    pub limit: Duration,
    /// File that takes its output.
    pub log: PathBuf,
    /// The user's `PYTEST_ADDOPTS`.
    pub pytest_addopts: Option<&'a str>,
}

impl CheckRun<'_> {
    /// Runs the check and reads its output.
    ///
    /// A failing check is data. Returns an error if it cannot be started or its log cannot be written.
    pub fn run(&self, control: &mut dyn Control) -> anyhow::Result<Receipt> {
        let scratch = tempfile::Builder::new().prefix("cloop-check-").tempdir().context("create a scratch folder")?;
        let instrument = readers::instrument(scratch.path(), self.pytest_addopts.map(std::ffi::OsStr::new));
        let started = SystemTime::now();
        let started_at = Timestamp::now();
        let spec = Spec {
            argv: ["/bin/sh", "-c", self.command].map(OsString::from).to_vec(),
            cwd: self.dir.to_owned(),
            env: instrument.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            env_remove: FOREIGN_VARIABLES.map(OsString::from).to_vec(),
            stdin: Vec::new(),
            stdout: self.log.clone(),
            stderr: self.log.clone(),
            limit: self.limit,
            grace: GRACE,
            first_signal: FirstSignal::Terminate,
            max_output: MAX_OUTPUT,
        };
        let finished =
            process::run(&spec, control).with_context(|| format!("run the {} check `{}`", self.name, self.command))?;
        let output = read_log(&self.log)?;
        let reading = readers::read(&output, &instrument.collect(started), self.command);
        Ok(Receipt {
            check: self.name.to_owned(),
            command: self.command.to_owned(),
            tree_hash: self.tree.to_owned(),
            exit: finished.exit,
            exit_code: match finished.exit {
                Exit::Code { code } => Some(code),
                _ => None,
            },
            runner: None,
            counts: Counts::default(),
            ids: None,
            ids_complete: false,
            errors: None,
            first_errors: std::collections::BTreeMap::new(),
            duration_ms: u64::try_from(finished.duration.as_millis()).unwrap_or(u64::MAX),
            started_at,
            log: self.log.display().to_string(),
            wrote: Vec::new(),
            notes: Vec::new(),
        }
        .with_reading(reading))
    }
}

/// Reads a log as text: whole, or its beginning and end with a note between.
///
/// Returns an error if it cannot be read.
pub fn read_log(path: &Path) -> anyhow::Result<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::new();
        if size <= READ_HEAD + READ_TAIL {
            file.read_to_end(&mut bytes)?;
        } else {
            (&mut file).take(READ_HEAD).read_to_end(&mut bytes)?;
            bytes.extend_from_slice(format!("\n… {} bytes left out …\n", size - READ_HEAD - READ_TAIL).as_bytes());
            file.seek(SeekFrom::Start(size - READ_TAIL))?;
            file.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    };
    let bytes = read().with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the last bytes of a log as text, for prompts and messages.
pub fn log_tail(path: &Path, bytes: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(bytes)))?;
        let mut tail = Vec::new();
        file.take(bytes).read_to_end(&mut tail)?;
        Ok(tail)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
