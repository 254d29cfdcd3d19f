//! The only writer of the loop's own files: the durable store in the git folder and the readable face in `.loop/`.
//!
//! ```text
//! <git dir>/cloop/lock                       held by the worker, never deleted
//! <git dir>/cloop/runs/<run id>/events.jsonl the journal, the only truth
//! <git dir>/cloop/runs/<run id>/iterations/0001/…  prompts, answers, patches, receipts, logs
//! <git dir>/cloop/plans/<hash>.json          plans shown for approval
//! <work tree>/.loop/                         a readable copy, rebuilt when missing
//! ```

mod face;
mod files;
mod journal;
mod lock;

use std::path::{Path, PathBuf};

use anyhow::Context;

pub use face::{FACE_DIR, Face};
pub use files::{own_private_dir, write_atomic};
pub use journal::{FORMAT, Journal, JournalError, JournalWriter, read_journal};
pub use lock::{Holder, Lock, LockError};

use crate::plan::Plan;

/// How long typed arguments stay: an interview may take a while, and a new one keeps its own.
const TYPED_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The time in a run's id, to the second.
const STAMP: &str = "%Y%m%d-%H%M%S";

/// The durable store of one work tree.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// Returns the store of the work tree with this git folder. Nothing is created.
    pub fn new(git_dir: &Path) -> Self {
        Self { dir: git_dir.join("cloop") }
    }

    /// Returns the store's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Creates the store's folders, readable by their owner alone.
    ///
    /// Returns an error if they cannot be created or written, are links, or belong to another user.
    pub fn create(&self) -> anyhow::Result<()> {
        files::own_private_dir(&self.dir)?;
        files::own_private_dir(&self.dir.join("runs"))?;
        files::own_private_dir(&self.dir.join("plans"))
    }

    /// Takes the lock of this work tree.
    ///
    /// Returns [`LockError::Held`] where another process has it.
    pub fn lock(&self, holder: &Holder) -> Result<Lock, LockError> {
        if std::fs::symlink_metadata(&self.dir).is_ok() {
            files::own_private_dir(&self.dir).map_err(LockError::Failed)?;
        }
        Lock::take(&self.dir.join("lock"), holder)
    }

    /// Returns who holds the lock, or `None` where nobody does.
    pub fn holder(&self) -> anyhow::Result<Option<Holder>> {
        lock::holder(&self.dir.join("lock"))
    }

    /// Returns the ids of all runs, oldest first. One whose first event is not whole yet has not begun, and is none.
    pub fn runs(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.folders()?.0)
    }

    /// Returns the ids of what would be runs, had their workers not died before the first event: folders that hold
    /// nothing of an iteration.
    pub fn unbegun(&self) -> anyhow::Result<Vec<String>> {
        let mut ids = self.folders()?.1;
        ids.retain(|id| {
            let dir = self.run(id).dir;
            dir.symlink_metadata().is_ok_and(|meta| meta.is_dir()) && !dir.join("iterations").exists()
        });
        Ok(ids)
    }

    /// Returns the names of what stands among the runs, oldest first: runs that have begun, and the rest.
    fn folders(&self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let dir = self.dir.join("runs");
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if files::is_absent(&error) => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(error).with_context(|| format!("read {}", dir.display())),
        };
        let mut ids: Vec<String> =
            entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort();
        Ok(ids.into_iter().partition(|id| journal::has_begun(&self.run(id).journal_path())))
    }

    /// Returns the newest run, if there is one.
    pub fn latest(&self) -> anyhow::Result<Option<Run>> {
        Ok(self.runs()?.pop().map(|id| self.run(&id)))
    }

    /// Returns the run with this id, whether it exists or not.
    pub fn run(&self, id: &str) -> Run {
        Run { id: id.to_owned(), dir: self.dir.join("runs").join(id) }
    }

    /// Creates a run with an id of its own: the time and four random digits. Ids sort by age: where the clock was set
    /// back, or has not moved on since the newest run, the second after that run's stands for the time.
    pub fn create_run(&self, now: jiff::Timestamp) -> anyhow::Result<Run> {
        let runs = self.dir.join("runs");
        let mut stamp = now.strftime(STAMP).to_string();
        if let Some(newest) = self.runs()?.last().and_then(|id| id.get(..stamp.len()))
            && *newest >= *stamp
            && let Ok(time) = jiff::civil::DateTime::strptime(STAMP, newest)
            && let Ok(later) = time.checked_add(jiff::SignedDuration::from_secs(1))
        {
            stamp = later.strftime(STAMP).to_string();
        }
        for attempt in 0..100u32 {
            let seed = crate::plan::sha256(format!("{now}{}{attempt}", std::process::id()));
            let id = format!("{stamp}-{}", &seed[seed.len() - 4..]);
            let dir = runs.join(&id);
            match files::create_new_private_dir(&dir) {
                Ok(()) => {
                    files::create_private_dir(&dir.join("iterations"))?;
                    return Ok(Run { id, dir });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("create {}", dir.display())),
            }
        }
        anyhow::bail!("no free run id under {}", runs.display())
    }

    /// Removes a run's folder.
    pub fn remove_run(&self, id: &str) -> anyhow::Result<()> {
        let dir = self.run(id).dir;
        std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))
    }

    /// Returns the folder of the orders and logs of workers, created if missing.
    pub fn orders(&self) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join("workers");
        files::own_private_dir(&dir)?;
        Ok(dir)
    }

    /// Keeps a plan that was shown, so that its hash alone can start it.
    pub fn save_plan(&self, plan: &Plan) -> anyhow::Result<()> {
        self.create()?;
        let text = serde_json::to_vec_pretty(plan).context("write the plan")?;
        write_atomic(&self.plan_path(&plan.hash()), &text)
    }

    /// Returns the plan that was shown with this hash, or `None`.
    pub fn load_plan(&self, hash: &str) -> anyhow::Result<Option<Plan>> {
        let path = self.plan_path(hash);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let plan: Plan =
                    serde_json::from_slice(&bytes).with_context(|| format!("read the plan in {}", path.display()))?;
                Ok(Some(plan).filter(|plan| plan.hash() == hash))
            }
            Err(error) if files::is_absent(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn plan_path(&self, hash: &str) -> PathBuf {
        let name: String = hash.chars().filter(char::is_ascii_hexdigit).collect();
        self.dir.join("plans").join(format!("{name}.json"))
    }

    /// Returns the folder for trial files that no run owns yet (a `detect` or `preflight` probe).
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// Writes the model that the running loop is to use from its next call on.
    pub fn write_model_request(&self, request: &ModelRequest) -> anyhow::Result<()> {
        self.create()?;
        let text = serde_json::to_vec_pretty(request).context("write the model request")?;
        write_atomic(&self.dir.join("model.json"), &text)
    }

    /// Returns what `model` set last, or `None`.
    pub fn model_request(&self) -> anyhow::Result<Option<ModelRequest>> {
        let path = self.dir.join("model.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| format!("read {}", path.display())),
            Err(error) if files::is_absent(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Keeps arguments that a host's user typed, for the command that is about to use them, and returns their id.
    pub fn keep_typed(&self, bytes: &[u8]) -> anyhow::Result<String> {
        self.create()?;
        let dir = self.dir.join("typed");
        files::own_private_dir(&dir)?;
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > TYPED_KEPT) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let id: String = crate::plan::sha256(bytes).chars().filter(char::is_ascii_hexdigit).rev().take(16).collect();
        write_atomic(&dir.join(format!("{id}.json")), bytes)?;
        Ok(id)
    }

    /// Returns what was kept under this id, or `None`.
    pub fn typed(&self, id: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
        let path = self.dir.join("typed").join(format!("{id}.json"));
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Returns which run and end the hosts have been told of, or the default.
    pub fn told(&self) -> Told {
        let bytes = std::fs::read(self.dir.join("told.json")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Keeps what the hosts have been told of.
    pub fn write_told(&self, told: &Told) -> anyhow::Result<()> {
        write_atomic(&self.dir.join("told.json"), &serde_json::to_vec(told).context("write what was told")?)
    }

    /// Asks the worker of this work tree to stop.
    pub fn request_stop(&self) -> anyhow::Result<()> {
        write_atomic(&self.stop_path(), b"stop\n")
    }

    /// Takes a stop request back; the worker does so when it starts.
    pub fn clear_stop(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.stop_path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.stop_path().display()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the file whose existence asks the worker to stop.
    pub fn stop_path(&self) -> PathBuf {
        self.dir.join("stop")
    }
}

/// The newest end of a loop that was told, by its mark; a lost one only repeats a line.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Told {
    /// In a session, as a line.
    pub line: Option<String>,
    /// On the desktop.
    pub desktop: Option<String>,
}

/// A model and effort asked for from the next call on.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelRequest {
    /// The run it was set for; a later run starts from its own plan. `None`: set while no loop was there, and the
    /// default of the next start.
    pub run_id: Option<String>,
    /// `None` for the default.
    pub model: Option<String>,
    /// Effort of every kind of call, or `None` for the defaults.
    pub effort: Option<String>,
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The run's id.
    pub id: String,
    dir: PathBuf,
}

impl Run {
    /// Returns the run's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the journal's path.
    pub fn journal_path(&self) -> PathBuf {
        self.dir.join("events.jsonl")
    }

    /// Reads the journal.
    pub fn journal(&self) -> Result<Journal, JournalError> {
        read_journal(&self.journal_path())
    }

    /// Opens the journal for appending; a torn last line is cut off first.
    pub fn writer(&self) -> Result<JournalWriter, JournalError> {
        JournalWriter::open(&self.journal_path())
    }

    /// Returns the folder of an iteration (0 for the baseline), created if missing.
    pub fn iteration_dir(&self, index: u32) -> anyhow::Result<PathBuf> {
        let all = self.dir.join("iterations");
        let dir = all.join(format!("{index:04}"));
        // A repository that comes with a store of its own may have put a link in the place of each.
        for folder in [&self.dir, &all, &dir] {
            files::own_private_dir(folder)?;
        }
        Ok(dir)
    }

    /// Returns a folder below an iteration's, created if missing.
    pub fn folder(&self, index: u32, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.iteration_dir(index)?.join(name);
        files::own_private_dir(&dir)?;
        Ok(dir)
    }

    /// Writes an artefact of an iteration, atomically and synced; the folder it names is created if missing.
    pub fn write(&self, index: u32, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.iteration_dir(index)?.join(name);
        if let Some(parent) = path.parent() {
            files::own_private_dir(parent)?;
        }
        write_atomic(&path, bytes)?;
        Ok(path)
    }

    /// Returns an error if the disk has no room for a few more files.
    pub fn has_room(&self) -> anyhow::Result<()> {
        let path = self.dir.join("room");
        let written = files::write_new(&path, &[1; 1 << 14]).with_context(|| format!("write {}", path.display()));
        let _ = std::fs::remove_file(&path);
        written
    }

    /// Reads an artefact of an iteration.
    pub fn read(&self, index: u32, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.dir.join("iterations").join(format!("{index:04}")).join(name);
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_run_is_the_latest_also_within_one_second_and_when_the_clock_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.create().unwrap();
        let noon: jiff::Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let day = jiff::SignedDuration::from_hours(24);
        for now in [noon, noon, noon, noon - day, noon - day, noon, noon + day] {
            let run = store.create_run(now).unwrap();
            std::fs::write(run.journal_path(), "{\"seq\":1}\n").unwrap();
            assert_eq!(store.latest().unwrap().map(|latest| latest.id), Some(run.id));
        }
        let last = store.latest().unwrap().unwrap().id;
        assert!(last.starts_with("20260302-120000-"), "the clock's own time where that is later: {last}");
    }
}
