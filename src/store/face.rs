//! The readable face of the loop at the work-tree root: a copy for people and programs, rebuilt when missing.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::OFlags;

use super::files::{create_private_dir, write_atomic};

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

    /// Creates the folder with its own ignore file.
    ///
    /// Returns an error if `.loop` is a symbolic link or a file, or belongs to somebody else: what is written there
    /// must not land elsewhere.
    pub fn create(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::MetadataExt;
        match std::fs::symlink_metadata(&self.dir) {
            Ok(meta) if !meta.is_dir() => {
                anyhow::bail!("{} is not a folder; move it away", self.dir.display());
            }
            Ok(meta) if meta.uid() != rustix::process::geteuid().as_raw() => {
                anyhow::bail!("{} belongs to another user; remove it or ask them to", self.dir.display());
            }
            _ => create_private_dir(&self.dir)?,
        }
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

    /// Replaces a file of the face, creating the folder anew where it is gone.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.create()?;
        write_atomic(&self.path(name), bytes)
    }

    /// Appends a line to `progress.log`.
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
        file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("append to {}", path.display()))
    }

    /// Removes a file of the face, if it is there.
    pub fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
    }
}
