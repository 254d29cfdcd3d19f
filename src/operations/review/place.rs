//! Where reviews are held and recorded: a repository or any folder, and the user's own list of all of them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::masking::env_pairs;
use crate::operations::Session;
use crate::process;
use crate::review::{self, Entry, MAX_LEDGER_BYTES};
use crate::store::write_atomic;
use crate::workspace::{Repository, Workspace};

/// The audit trail, below the root.
const AUDIT: [&str; 2] = ["reviews", "autonomous"];

/// Most files looked at to tell what a folder outside git is like.
const MAX_FILES: usize = 5000;

/// Folders outside git that are not looked into.
const SKIPPED: [&str; 4] = ["node_modules", "target", "__pycache__", "autonomous"];

/// Most records of one second and topic.
const MAX_SAME: u32 = 1000;

/// Most bytes of an env file that are read.
const MAX_ENV_BYTES: u64 = 256 << 10;

/// Where a review is held.
pub(super) struct Place {
    /// Root of the work tree, or the folder itself outside git; absolute.
    pub(super) root: PathBuf,
    pub(super) repository: Option<Repository>,
    state: PathBuf,
    /// The log of reviews, relative to the root, where it lies below it: it is none of what is reviewed.
    log: Option<PathBuf>,
}

impl Place {
    pub(super) fn find(session: &Session) -> anyhow::Result<Self> {
        let repository = Repository::discover(&session.dir).ok();
        let root = match &repository {
            Some(repository) => repository.root().to_owned(),
            None => session.dir.canonicalize().with_context(|| format!("open {}", session.dir.display()))?,
        };
        let log = session.environment.review_log.as_ref().and_then(|log| {
            let log = session.dir.join(log);
            let folder = log.parent()?.canonicalize().ok()?;
            Some(folder.strip_prefix(&root).ok()?.join(log.file_name()?))
        });
        Ok(Self { root, repository, state: session.environment.state.join("cloop").join("reviews"), log })
    }

    pub(super) fn shown_root(&self) -> String {
        self.root.display().to_string()
    }

    pub(super) fn ledger(&self) -> Ledger {
        Ledger { folder: self.state.clone() }
    }

    /// Returns a hash of what the files are like, or `None` where there are too many to tell.
    pub(super) fn tree_hash(&self) -> anyhow::Result<Option<String>> {
        if let Some(repository) = &self.repository {
            return self.snapshot(repository).map(Some);
        }
        let mut hash = Sha256::new();
        let mut left = MAX_FILES;
        let log = self.log.as_ref().map(|log| self.root.join(log));
        if !add_folder(&self.root, &self.root, log.as_deref(), &mut hash, &mut left)? {
            return Ok(None);
        }
        let hex = hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        Ok(Some(format!("files:{hex}")))
    }

    /// Stores what the work tree holds as a tree, and returns its id.
    pub(super) fn snapshot(&self, repository: &Repository) -> anyhow::Result<String> {
        let log = self.log.as_ref().and_then(|log| log.to_str()).map(str::to_owned);
        Workspace::of_user(repository)?.leaving_out(log).snapshot()
    }

    /// Returns the values of the `.env` files at the root: nothing of them belongs into a record.
    pub(super) fn env_file_values(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let named = entries.filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            (name == ".env" || name.starts_with(".env."))
                && entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_ENV_BYTES)
        });
        named
            .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
            .flat_map(|text| env_pairs(&text).into_iter().map(|(_, value)| value))
            .collect()
    }

    /// Takes a name for a record that nobody has. Returns the name and both paths, relative to the root; the first
    /// file exists then, empty.
    pub(super) fn reserve(&self, wanted: &str) -> anyhow::Result<(String, String, String)> {
        let mut folder = self.root.clone();
        for part in AUDIT {
            folder.push(part);
            // A link would lead the record, and whatever it replaces, out of the project.
            match std::fs::symlink_metadata(&folder) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => anyhow::bail!("{} is not a folder", folder.display()),
                Err(_) => DirBuilder::new()
                    .mode(0o755)
                    .create(&folder)
                    .or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
                    .with_context(|| format!("create {}", folder.display()))?,
            }
        }
        for same in 1..=MAX_SAME {
            let id = if same == 1 { wanted.to_owned() } else { format!("{wanted}-{same}") };
            let relative = |what: &str| format!("{}/{id}_{what}.md", AUDIT.join("/"));
            let (request, response) = (relative("request"), relative("codex_response"));
            if self.root.join(&response).symlink_metadata().is_ok() {
                continue;
            }
            let path = self.root.join(&request);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(_) => return Ok((id, request, response)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("create {}", path.display())),
            }
        }
        anyhow::bail!("{MAX_SAME} records are named {wanted}")
    }

    /// Returns a private folder for one call, which goes when it is dropped. What a killed process left is removed:
    /// it holds questions word for word.
    pub(super) fn call_folder(&self) -> anyhow::Result<tempfile::TempDir> {
        let calls = self.state.join("calls");
        create_private(&calls)?;
        for entry in std::fs::read_dir(&calls).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut parts = name.split('-');
            let alive =
                match (parts.next().and_then(|pid| pid.parse().ok()), parts.next().and_then(|at| at.parse().ok())) {
                    (Some(pid), Some(start)) => process::is_alive(pid, start),
                    _ => true,
                };
            if !alive {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let pid = std::process::id();
        let start = process::process_start_time(pid).context("read this process's start time")?;
        tempfile::Builder::new()
            .prefix(&format!("{pid}-{start}-"))
            .tempdir_in(&calls)
            .with_context(|| format!("create a folder in {}", calls.display()))
    }
}

/// Adds a folder's files by path, size and time. Returns false where there are too many.
fn add_folder(
    root: &Path,
    dir: &Path,
    log: Option<&Path>,
    hash: &mut Sha256,
    left: &mut usize,
) -> anyhow::Result<bool> {
    let mut entries: Vec<_> = std::fs::read_dir(dir)
        .and_then(Iterator::collect::<Result<_, _>>)
        .with_context(|| format!("read {}", dir.display()))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        if log.is_some_and(|log| entry.path() == log) {
            continue;
        }
        if meta.is_dir() {
            if !name.starts_with('.')
                && !SKIPPED.contains(&name.as_ref())
                && !add_folder(root, &entry.path(), log, hash, left)?
            {
                return Ok(false);
            }
            continue;
        }
        *left = match left.checked_sub(1) {
            Some(left) => left,
            None => return Ok(false),
        };
        let modified = meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let path = entry.path();
        hash.update(path.strip_prefix(root).unwrap_or(&path).as_os_str().as_encoded_bytes());
        hash.update(format!("\0{}\0{}\0", meta.len(), modified.unwrap_or_default().as_nanos()));
    }
    Ok(true)
}

pub(super) fn create_private(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| format!("create {}", path.display()))?;
    // Without a home it lies in the temporary folder, where anybody could have been first.
    let meta = path.symlink_metadata().with_context(|| format!("open {}", path.display()))?;
    let ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    anyhow::ensure!(ours, "{} is not a folder of this user", path.display());
    Ok(())
}

/// The list of all reviews of this user.
pub(super) struct Ledger {
    folder: PathBuf,
}

impl Ledger {
    fn path(&self) -> PathBuf {
        self.folder.join("ledger.jsonl")
    }

    /// Waits until nobody else counts, and holds the ledger until dropped.
    pub(super) fn hold(&self) -> anyhow::Result<File> {
        create_private(&self.folder)?;
        let path = self.folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        fs2::FileExt::lock_exclusive(&file).with_context(|| format!("lock {}", path.display()))?;
        Ok(file)
    }

    /// Returns all entries, oldest first. A line that is none, as a power cut leaves one, is passed over.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Entry>> {
        let path = self.path();
        if self.folder.exists() {
            create_private(&self.folder)?;
        }
        match std::fs::read(&path) {
            Ok(bytes) => {
                Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Appends an entry. `_held` is what [`Ledger::hold`] returned.
    pub(super) fn append(&self, _held: &File, entry: &Entry) -> anyhow::Result<()> {
        create_private(&self.folder)?;
        let path = self.path();
        if path.metadata().is_ok_and(|meta| meta.len() > MAX_LEDGER_BYTES) {
            let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            write_atomic(&path, &review::kept(&bytes, Timestamp::now()))?;
        }
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
            // A torn line before this one must not take it along.
            let line = format!("\n{}\n", serde_json::to_string(entry)?);
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}
