//! Real repositories in temporary folders for the tests of this module.

use super::git::Repository;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) root: PathBuf,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    pub(super) fn with(init: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("work tree");
        std::fs::create_dir(&root).unwrap();
        let fixture = Self { dir, root };
        let mut args = vec!["init", "-q", "-b", "main"];
        args.extend(init);
        fixture.git(&args);
        fixture.git(&["config", "core.autocrlf", "false"]);
        fixture
    }

    /// Runs plain git as a user would, and returns its output.
    pub(super) fn git(&self, args: &[&str]) -> String {
        git_in(&self.root, args)
    }

    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.root.join(path)).unwrap()
    }

    pub(super) fn mode(&self, path: &str) -> u32 {
        self.root.join(path).metadata().unwrap().mode() & 0o7777
    }

    pub(super) fn chmod(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn commit_all(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "state"]);
    }

    pub(super) fn repository(&self) -> Repository {
        Repository::discover(&self.root).unwrap()
    }
}

pub(super) fn git_in(dir: &Path, args: &[&str]) -> String {
    let output = try_git_in(dir, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub(super) fn try_git_in(dir: &Path, args: &[&str]) -> std::process::Output {
    let mut command = Command::new("git");
    // Tests may run in a hook, with variables that lead elsewhere.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    command
        .args(["-c", "user.name=User", "-c", "user.email=user@example.org", "-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap()
}

/// Everything below a folder that is nobody else's to write: name to permission bits and bytes. Objects may be
/// added, and our own refs, so those two are left out.
pub(super) fn contents(dir: &Path, skip: &[&str]) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let relative = path.strip_prefix(dir).unwrap().to_owned();
        if skip.iter().any(|skip| relative == Path::new(skip)) {
            continue;
        }
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
            found.insert(relative, (meta.mode(), target));
        } else {
            found.insert(relative, (meta.mode(), std::fs::read(&path).unwrap()));
        }
    }
    found
}
