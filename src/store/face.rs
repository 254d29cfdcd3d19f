//! The readable face of the loop at the work-tree root: a copy for people and programs, rebuilt when missing.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::OFlags;

use crate::masking;

use super::files::{own_private_dir, write_atomic};

/// Name of the folder at the work-tree root.
pub const FACE_DIR: &str = ".loop";

/// The `.loop/` folder of a work tree.
#[derive(Debug, Clone)]
pub struct Face {
    dir: PathBuf,
}

impl Face {
    /// Returns the face of this work tree. Nothing is created.
    pub fn new(work_tree: &Path) -> Self {
        Self { dir: work_tree.join(FACE_DIR) }
    }

    /// Returns an error if `.loop` is there and [`Self::create`] would refuse it. Writes nothing.
    pub fn check(&self) -> anyhow::Result<()> {
        if std::fs::symlink_metadata(&self.dir).is_ok() { own_private_dir(&self.dir) } else { Ok(()) }
    }

    /// Creates the folder with its own ignore file.
    ///
    /// Returns an error if `.loop` is a symbolic link or a file, or belongs to somebody else: what is written there
    /// must not land elsewhere.
    pub fn create(&self) -> anyhow::Result<()> {
        own_private_dir(&self.dir)?;
        let ignore = self.dir.join(".gitignore");
        if !ignore.exists() {
            write_atomic(&ignore, b"*\n")?;
        }
        Ok(())
    }

    /// Returns the path of a file of the face.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Reads a file of the face; `None` where there is no plain file of that name.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name);
        std::fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        std::fs::read(path).ok()
    }

    /// Replaces the readable state, its texts without their secrets.
    pub fn write_state(&self, state: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut value = serde_json::to_value(state).context("write the state")?;
        masking::shown().value(&mut value);
        self.write("loop-state.json", &serde_json::to_vec_pretty(&value).context("write the state")?)
    }

    /// Replaces a file of the face, creating the folder anew where it is gone.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.create()?;
        write_atomic(&self.path(name), bytes)
    }

    /// Replaces `progress.log`, without secrets.
    pub fn write_log(&self, text: &str) -> anyhow::Result<()> {
        self.write("progress.log", masking::shown().text(text).as_bytes())
    }

    /// Appends a line to `progress.log`, without secrets.
    pub fn log(&self, line: &str) -> anyhow::Result<()> {
        self.create()?;
        let path = self.path("progress.log");
        // A link would be written through and a pipe waited for; the repository may have brought either.
        if std::fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        // One that was there may have been open to others.
        file.set_permissions(Permissions::from_mode(0o600))
            .with_context(|| format!("make {} private", path.display()))?;
        let line = masking::shown().text(line);
        file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("append to {}", path.display()))
    }

    /// Removes a file of the face, if it is there.
    pub fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
    }
}
