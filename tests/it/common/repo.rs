//! Repositories for tests, and the proof that a tree is untouched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

/// Keeps the user's git set-up out and makes commits the same each time.
pub(crate) const GIT_ENV: &[(&str, &str)] = &[
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_AUTHOR_NAME", "Ada Example"),
    ("GIT_AUTHOR_EMAIL", "ada@example.org"),
    ("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z"),
    ("GIT_COMMITTER_NAME", "Ada Example"),
    ("GIT_COMMITTER_EMAIL", "ada@example.org"),
    ("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z"),
];

/// A repository on branch `main`.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    path: PathBuf,
}

impl Repo {
    /// Makes an empty repository, and the folder for it.
    pub(crate) fn init(path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        let repo = Self { path: path.to_owned() };
        repo.git(["init", "--quiet", "-b", "main"]);
        repo
    }

    /// Returns the repository that is there.
    pub(crate) fn open(path: &Path) -> Self {
        assert!(path.join(".git").exists(), "{} is no repository", path.display());
        Self { path: path.to_owned() }
    }

    /// The root of the work tree.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file and the folders above it.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let target = self.path.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
        self
    }

    /// Writes several files.
    pub(crate) fn files<P: AsRef<str>, C: AsRef<[u8]>>(&self, files: impl IntoIterator<Item = (P, C)>) -> &Self {
        for (path, content) in files {
            self.write(path.as_ref(), content);
        }
        self
    }

    /// Sets the mode of a file.
    pub(crate) fn mode(&self, path: &str, mode: u32) -> &Self {
        fs::set_permissions(self.path.join(path), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// Commits everything there is.
    pub(crate) fn commit(&self, message: &str) -> &Self {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "-m", message]);
        self
    }

    /// Reads a file as text.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path.join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
    }

    /// Runs git and returns its standard output without the last line end. Fails if git does.
    #[track_caller]
    pub(crate) fn git<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let output = self.try_git(&arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
    }

    /// Runs git, whatever comes of it.
    pub(crate) fn try_git(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
            command.env_remove(name);
        }
        command.args(arguments).envs(GIT_ENV.iter().copied()).current_dir(&self.path).output().unwrap()
    }

    /// Applies a patch to the work tree. Fails if git does not take it.
    #[track_caller]
    pub(crate) fn apply(&self, diff: &str) -> &Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, diff.as_bytes()).unwrap();
        self.git(["apply", "--whitespace=nowarn", file.path().to_str().unwrap()]);
        self
    }

    /// See [`tree_fingerprint`].
    pub(crate) fn fingerprint(&self) -> BTreeMap<String, String> {
        tree_fingerprint(&self.path)
    }
}

/// Returns kind, mode and content hash of everything below `dir` but `.git` and `.loop`, by path: equal maps mean that
/// the trees are the same byte for byte.
pub(crate) fn tree_fingerprint(dir: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if relative == ".git" || relative == ".loop" {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            let description = if meta.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                walk(root, &path, found);
                format!("folder {mode:o}")
            } else {
                let hash = Sha256::digest(fs::read(&path).unwrap());
                format!("file {mode:o} {} bytes {:02x?}", meta.len(), hash.as_slice())
            };
            found.insert(relative, description);
        }
    }
    let mut found = BTreeMap::new();
    walk(dir, dir, &mut found);
    found
}
