//! Writing into a folder without ever leaving it: every step goes through directory handles that refuse symbolic
//! links. Knows nothing of git but that `.git` is not to be written.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawMode};
use rustix::io::Errno;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How our half-written files begin; what a kill leaves of them is swept by the next write into the same folder.
const TEMPORARY_PREFIX: &str = ".cloop-write-";

/// Says whether a path is a half-written file of ours.
pub(crate) fn is_temporary(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX))
}

/// A folder that is written into.
pub(super) struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// What a file looked like when it was judged; another look means that somebody else wrote it since. The change
/// time is no part of it: replacing one of two hard links moves that of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    mode: u32,
}

/// What stands in the way of a path, seen from the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// All parent folders are real folders.
    Folder,
    /// A parent folder does not exist.
    Missing,
    /// This parent is a file or a symbolic link.
    Blocked(String),
}

/// Splits a path into names, refusing what could leave the root or reach git's own files.
pub(super) fn names(path: &str) -> Result<Vec<&str>> {
    let names: Vec<&str> = path.split('/').collect();
    for name in &names {
        let refused = name.is_empty() || *name == "." || *name == ".." || name.contains('\0');
        ensure!(!refused && !name.eq_ignore_ascii_case(".git"), "refuse to write {path:?}");
    }
    Ok(names)
}

fn open_folder(at: impl std::os::fd::AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

impl Root {
    /// Opens the root. The root itself may be reached through a link; nothing below it may.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(CWD, path, flags, Mode::empty()).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens the folder that holds `path`, making missing folders if told to. `None` where one is missing.
    fn parent<'a>(&self, path: &'a str, make: bool) -> Result<Option<(OwnedFd, &'a str)>> {
        let names = names(path)?;
        let (last, folders) = names.split_last().context("empty path")?;
        let mut at = self.fd.try_clone().context("duplicate a folder handle")?;
        for name in folders {
            if make {
                match rustix::fs::mkdirat(&at, *name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error).with_context(|| self.say("make the folder of", path)),
                }
            }
            at = match open_folder(&at, name) {
                Ok(next) => next,
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(error) => {
                    return Err(error).with_context(|| self.say("no real folder on the way to", path));
                }
            };
        }
        Ok(Some((at, last)))
    }

    fn say(&self, what: &str, path: &str) -> String {
        format!("{what} {}", self.path.join(path).display())
    }

    /// Looks at the folders that lead to `path`.
    pub(super) fn look_at_parents(&self, path: &str) -> Result<Parent> {
        let names = names(path)?;
        let mut at = self.fd.try_clone().context("duplicate a folder handle")?;
        for (depth, name) in names.iter().enumerate().take(names.len() - 1) {
            at = match open_folder(&at, name) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(Parent::Missing),
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Parent::Blocked(names[..=depth].join("/"))),
                Err(error) => return Err(error).with_context(|| self.say("open the folder of", path)),
            };
        }
        Ok(Parent::Folder)
    }

    /// Returns what kind of thing is at `path`, links not followed; `None` where nothing is or a parent is no folder.
    pub(super) fn kind(&self, path: &str) -> Result<Option<FileType>> {
        if self.look_at_parents(path)? != Parent::Folder {
            return Ok(None);
        }
        let Some((at, name)) = self.parent(path, false)? else { return Ok(None) };
        match rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error).with_context(|| self.say("look at", path)),
        }
    }

    /// Returns the look of the file or link at `path`, or `None` where there is none.
    pub(super) fn stamp(&self, path: &str) -> Option<Stamp> {
        let meta = self.path.join(path).symlink_metadata().ok().filter(|meta| !meta.is_dir())?;
        let modified = (meta.mtime(), meta.mtime_nsec());
        Some(Stamp { inode: meta.ino(), size: meta.size(), modified, mode: meta.mode() })
    }

    /// Returns an error if `path` no longer looks as it did.
    pub(super) fn ensure_still(&self, path: &str, stamp: Option<Stamp>) -> Result<()> {
        ensure!(self.stamp(path) == stamp, "{} changed while it was to be replaced", self.path.join(path).display());
        Ok(())
    }

    /// Returns every file, link or special file below the folder at `path`, as paths from the root. Names that are
    /// not UTF-8 come lossily: good for saying what is in the way, not for touching it.
    pub(super) fn files_below(&self, path: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut open = vec![path.to_owned()];
        while let Some(folder) = open.pop() {
            let full = self.path.join(&folder);
            let listing = std::fs::read_dir(&full).with_context(|| format!("list {}", full.display()))?;
            for entry in listing {
                let entry = entry.with_context(|| format!("list {}", full.display()))?;
                let below = format!("{folder}/{}", entry.file_name().to_string_lossy());
                let kind = entry.file_type().with_context(|| self.say("look at", &below))?;
                if kind.is_dir() { open.push(below) } else { found.push(below) }
            }
        }
        Ok(found)
    }

    /// Removes the file or link at `path`, then the folders that this leaves empty. Something already gone, or
    /// behind something that is no folder, is no error.
    pub(super) fn remove(&self, path: &str) -> Result<()> {
        if self.look_at_parents(path)? != Parent::Folder {
            return Ok(());
        }
        let Some((at, name)) = self.parent(path, false)? else { return Ok(()) };
        match rustix::fs::unlinkat(&at, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error).with_context(|| self.say("remove", path)),
        }
        drop(at);
        let mut rest = path;
        while let Some((folder, _)) = rest.rsplit_once('/') {
            let Some((at, name)) = self.parent(folder, false)? else { break };
            match rustix::fs::unlinkat(&at, name, AtFlags::REMOVEDIR) {
                Ok(()) => rest = folder,
                // Not empty, or someone's working directory: it stays.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Makes the folder at `path` and its parents where missing.
    pub(super) fn make_folder(&self, path: &str) -> Result<()> {
        self.parent(&format!("{path}/x"), true)?;
        Ok(())
    }

    /// Puts a copy of `source` (a file or a link, not followed) at `path`: written beside it, synced, renamed over
    /// it. A file that was there keeps its permission bits; only the executable bit follows the source, and only
    /// where `trust_mode` says that the bit means anything. Empty folders in the way are removed. `last_look` is
    /// called just before the rename and can still refuse it.
    pub(super) fn put(
        &self,
        source: &Path,
        path: &str,
        trust_mode: bool,
        last_look: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (at, name) = self.parent(path, true)?.context("folders were not made")?;
        let before = match rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error).with_context(|| self.say("look at", path)),
        };
        let is = |kind: FileType| before.as_ref().is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == kind);
        if is(FileType::Directory) {
            remove_empty_folders(&at, name).with_context(|| self.say("a folder with files is in place of", path))?;
        }
        let from = source.symlink_metadata().with_context(|| format!("read {}", source.display()))?;
        let temporary = format!("{TEMPORARY_PREFIX}{}", std::process::id());
        let _ = rustix::fs::unlinkat(&at, &temporary, AtFlags::empty());
        let write = || -> Result<()> {
            if from.file_type().is_symlink() {
                let target = std::fs::read_link(source)?;
                rustix::fs::symlinkat(target.as_path(), &at, &temporary)?;
            } else {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(&at, &temporary, flags, Mode::from_raw_mode(0o600))?;
                let mut file = std::fs::File::from(fd);
                file.write_all(&std::fs::read(source)?)?;
                let mut bits = (from.mode() & 0o7777) as RawMode;
                if let Some(stat) = before.as_ref().filter(|_| is(FileType::RegularFile)) {
                    bits = kept_bits(stat.st_mode & 0o7777, bits & 0o100 != 0, trust_mode);
                    // Only root can give a file back to its owner; for others it is theirs already.
                    let (user, group) = (stat.st_uid, stat.st_gid);
                    let meta = file.metadata()?;
                    if (meta.uid(), meta.gid()) != (user, group) {
                        let _ = std::os::unix::fs::fchown(&file, Some(user), Some(group));
                    }
                }
                rustix::fs::fchmod(&file, Mode::from_raw_mode(bits))?;
                file.sync_data()?;
            }
            last_look()?;
            rustix::fs::renameat(&at, &temporary, &at, name)?;
            Ok(())
        };
        let written = write().with_context(|| self.say("write", path));
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&at, &temporary, AtFlags::empty());
        }
        written
    }

    /// Removes what an earlier, killed write left beside `path`.
    pub(super) fn sweep_beside(&self, path: &str) -> Result<()> {
        if self.look_at_parents(path)? != Parent::Folder {
            return Ok(());
        }
        let Some((at, _)) = self.parent(path, false)? else { return Ok(()) };
        let listing = rustix::fs::Dir::read_from(&at).with_context(|| self.say("list the folder of", path))?;
        for entry in listing {
            let entry = entry.with_context(|| self.say("list the folder of", path))?;
            if entry.file_name().to_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
                let _ = rustix::fs::unlinkat(&at, entry.file_name(), AtFlags::empty());
            }
        }
        Ok(())
    }

    /// Makes the names in the folders of these paths durable, as far as the folders still exist.
    pub(super) fn sync_folders<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut folders = std::collections::BTreeSet::new();
        for path in paths {
            // All of them on the way: any may have been made just now.
            let mut rest = path;
            while let Some((folder, _)) = rest.rsplit_once('/') {
                folders.insert(folder);
                rest = folder;
            }
            folders.insert("");
        }
        for folder in folders {
            let inside = if folder.is_empty() { "x".to_owned() } else { format!("{folder}/x") };
            if self.look_at_parents(&inside)? == Parent::Folder
                && let Some((at, _)) = self.parent(&inside, false)?
            {
                // Some file systems cannot sync a folder; the rename itself was done.
                let _ = rustix::fs::fsync(&at);
            }
        }
        Ok(())
    }
}

/// Returns the permission bits of a rewritten file.
fn kept_bits(before: RawMode, executable: bool, trust_mode: bool) -> RawMode {
    if !trust_mode || (before & 0o100 != 0) == executable {
        before
    } else if executable {
        // Whoever may read it may run it, as git does under the umask.
        before | ((before & 0o444) >> 2)
    } else {
        before & !0o111
    }
}

/// Removes a folder that holds nothing but folders.
fn remove_empty_folders(at: &OwnedFd, name: &str) -> Result<()> {
    let folder = open_folder(at, name)?;
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        let Ok(child) = std::str::from_utf8(bytes) else {
            bail!("{} is in the way", std::ffi::OsStr::from_bytes(bytes).display())
        };
        let stat = rustix::fs::statat(&folder, child, AtFlags::SYMLINK_NOFOLLOW)?;
        ensure!(FileType::from_raw_mode(stat.st_mode) == FileType::Directory, "{child} is in the way");
        remove_empty_folders(&folder, child)?;
    }
    rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_root_or_reach_git_are_refused() {
        for path in ["../a", "a/../b", "/etc/passwd", "", "a//b", ".git/config", "a/.GIT/x", "./a", "a\0b"] {
            assert!(names(path).is_err(), "{path:?}");
        }
        assert_eq!(names("a/..b/.gitignore").unwrap(), ["a", "..b", ".gitignore"]);
    }

    #[test]
    fn only_the_executable_bit_follows_the_new_version() {
        assert_eq!(kept_bits(0o600, false, true), 0o600);
        assert_eq!(kept_bits(0o600, true, true), 0o700);
        assert_eq!(kept_bits(0o640, true, true), 0o750);
        assert_eq!(kept_bits(0o755, false, true), 0o644);
        assert_eq!(kept_bits(0o755, false, false), 0o755);
    }

    #[test]
    fn a_file_written_by_somebody_else_in_between_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("source");
        let target = root.path().join("target");
        std::fs::write(&source, "ours").unwrap();
        std::fs::write(&target, "judged").unwrap();
        let opened = Root::open(root.path()).unwrap();
        let seen = opened.stamp("target");
        opened.ensure_still("target", seen).unwrap();
        let written = opened.put(&source, "target", true, || {
            std::fs::write(&target, "just saved by the user")?;
            opened.ensure_still("target", seen)
        });
        assert!(written.is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "just saved by the user");
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn nothing_is_written_or_removed_through_a_linked_folder() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        let source = outside.path().join("kept");
        let opened = Root::open(root.path()).unwrap();
        assert!(opened.put(&source, "link/new", true, || Ok(())).is_err());
        opened.remove("link/kept").unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
