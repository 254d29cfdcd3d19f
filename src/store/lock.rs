//! The lock of a work tree. It is held by the worker and never deleted; whether a loop lives is whether it is held.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// Who holds the lock; written into it for people and for `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    pub pid: u32,
    /// Start time of the process as the system counts it, so that a reused pid is never taken for the holder.
    pub start_time: Option<u64>,
    pub run_id: String,
    pub version: String,
}

/// Why the lock could not be taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held(Option<Holder>),
    /// The file cannot be opened or written.
    Failed(anyhow::Error),
}

/// The held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Readers look whether the lock is held by taking it shared for an instant; a taker meets that by trying again.
const TRIES: u32 = 25;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Opens the lock's file: a link would be written through, and a pipe waited for.
fn open(options: &mut OpenOptions, path: &Path) -> std::io::Result<File> {
    let file = options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(ErrorKind::InvalidInput.into()) }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

impl Lock {
    pub(super) fn take(path: &Path, holder: &Holder) -> Result<Self, LockError> {
        let failed = |error: std::io::Error| {
            LockError::Failed(anyhow::Error::new(error).context(format!("lock {}", path.display())))
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = open(&mut options, path).map_err(failed)?;
        for attempt in 1.. {
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock && attempt < TRIES => {
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(LockError::Held(read_holder(&mut file)));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let mut lock = Self { file };
        lock.name(holder).map_err(failed)?;
        Ok(lock)
    }

    /// Writes who holds the lock.
    pub fn name(&mut self, holder: &Holder) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(holder)?)?;
        self.file.sync_data()
    }
}

/// Returns who holds the lock, or `None` where nobody does. A holder that cannot be read is one with pid 0.
pub(super) fn holder(path: &Path) -> anyhow::Result<Option<Holder>> {
    let mut file = match open(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        // What is no file no worker of ours has locked.
        Err(_) if std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) => return Ok(None),
        Err(error) if super::files::is_absent(&error) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    match fs2::FileExt::try_lock_shared(&file) {
        Ok(()) => {
            let _ = fs2::FileExt::unlock(&file);
            Ok(None)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let unknown = || Holder { pid: 0, start_time: None, run_id: String::new(), version: String::new() };
            Ok(Some(read_holder(&mut file).unwrap_or_else(unknown)))
        }
        Err(error) => Err(error).with_context(|| format!("look at the lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(run_id: &str) -> Holder {
        Holder { pid: std::process::id(), start_time: None, run_id: run_id.into(), version: "0".into() }
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_refused_and_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (path, precious) = (dir.path().join("lock"), dir.path().join("precious"));
        std::fs::write(&precious, "mine").unwrap();
        for target in [precious.clone(), dir.path().join("new")] {
            std::os::unix::fs::symlink(&target, &path).unwrap();
            assert!(matches!(Lock::take(&path, &me("first")), Err(LockError::Failed(_))));
            assert_eq!(holder(&path).unwrap(), None);
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_taker_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(holder(&path).unwrap(), None);
        let lock = Lock::take(&path, &me("first")).unwrap();
        match Lock::take(&path, &me("second")) {
            Err(LockError::Held(Some(held))) => assert_eq!(held.run_id, "first"),
            other => panic!("{other:?}"),
        }
        assert_eq!(holder(&path).unwrap().map(|held| held.run_id), Some("first".into()));
        drop(lock);
        assert_eq!(holder(&path).unwrap(), None);
        assert!(path.exists());
    }
}
