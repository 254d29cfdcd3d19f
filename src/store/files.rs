//! Folders and files readable by their owner alone, replaced as a whole or not at all.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;

/// Creates a folder with mode 0700, parents too.
pub(super) fn create_private_dir(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("create the folder {}", path.display()))
}

/// Creates a folder with mode 0700, or closes one that is there to everybody else.
///
/// Returns an error if something else stands there, a symbolic link too, or it belongs to another user: what is written
/// there must not land elsewhere or be read by others.
pub fn own_private_dir(path: &Path) -> anyhow::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let look = || match std::fs::symlink_metadata(path) {
        Ok(meta) => refuse(path, meta.is_dir(), meta.uid(), own).map(|()| Some(meta.mode())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look at {}", path.display())),
    };
    let Some(mode) = look()? else {
        create_private_dir(path)?;
        // Somebody may have been quicker.
        return look().map(drop);
    };
    if mode & 0o7777 != 0o700 {
        let private = Permissions::from_mode(0o700);
        std::fs::set_permissions(path, private).with_context(|| format!("make {} private", path.display()))?;
    }
    Ok(())
}

/// Returns an error unless this is a folder of our own.
fn refuse(path: &Path, is_dir: bool, owner: u32, own: u32) -> anyhow::Result<()> {
    anyhow::ensure!(is_dir, "{} is not a folder (a link, or a file); move it away", path.display());
    anyhow::ensure!(owner == own, "{} belongs to another user; remove it or ask them to", path.display());
    Ok(())
}

/// Creates a folder that must not exist yet.
pub(super) fn create_new_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Replaces a file: a temporary file in the same folder, synced, renamed over it, and the folder synced.
///
/// Returns an error if any of it fails; the old file is then still whole.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir)?;
        file.as_file().set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.as_file().sync_data()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// Writes a file anew; what stood there before goes, a link too.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Says whether a file was not found; also where something else stands in the place of its folder.
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_folder_of_our_own_is_used_and_it_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mode = || std::fs::metadata(&path).unwrap().mode() & 0o7777;
        own_private_dir(&path).unwrap();
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        own_private_dir(&path).unwrap();
        assert_eq!(mode(), 0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(own_private_dir(&link).unwrap_err().to_string().contains("not a folder"));
        assert!(refuse(&path, true, 1, 2).unwrap_err().to_string().contains("another user"));
        refuse(&path, true, 2, 2).unwrap();
    }
}
