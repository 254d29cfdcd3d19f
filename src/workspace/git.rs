//! The git runner and the repository it found.
//!
//! Two ways to run git. `real` works on the user's git directory and is kept to commands that only touch refs,
//! settings and work tree bookkeeping. `private` works on a git directory of our own that shares nothing with the
//! user's but the object store: with an allowlist of settings instead of the repository's, no filter, text
//! conversion, monitor or hook is known to it, whatever the repository or a check has configured.

use crate::process::{self, Capture, Captured};
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest run time of one git command: hashing a very large tree on a slow disk takes minutes, a hang takes longer.
const GIT_LIMIT: Duration = Duration::from_secs(900);

/// How the private git directories are named.
const PRIVATE_PREFIX: &str = "cloop-git-";

/// Age from which an unlocked private git directory counts as left behind: none is without its lock for longer than
/// the instant between the two calls that make it.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// The oldest git whose options are used here: 2.36 brought `worktree list -z`.
const OLDEST_GIT: (u32, u32) = (2, 36);

/// `GIT_*` variables that stay when git is started: where git lives and which user settings hold. All others could
/// redirect a command to another repository, index or identity, or make git print or run something.
const KEPT_VARIABLES: [&str; 6] = [
    "GIT_EXEC_PATH",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
];

/// Settings for every command. Objects and refs are synced because an accepted state must outlive a power cut.
const ALWAYS: [(&str, &str); 11] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.logAllRefUpdates", "false"),
    ("core.fsync", "objects,reference"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("commit.gpgSign", "false"),
    ("advice.detachedHead", "false"),
    ("core.quotePath", "true"),
];

/// Settings of the private git directory that replace the user's. A warning about line ends must not become an
/// error, and the change time must count: a check could put back size and modification time of what it wrote.
const PRIVATE: [(&str, &str); 3] =
    [("core.safecrlf", "false"), ("core.trustctime", "true"), ("core.checkStat", "default")];

/// The only settings of the user that the private git directory takes over: how bytes on disk relate to blobs, what
/// the file system can do, and what is ignored. None of them names a command.
const TAKEN_OVER: &str = "^core\\.(autocrlf|eol|filemode|ignorecase|symlinks|precomposeunicode|excludesfile|\
                          attributesfile|checkroundtripencoding|sharedrepository|bigfilethreshold)$";

/// The product's own identity.
pub(super) const OWN_NAME: &str = "CodexLoop";
pub(super) const OWN_EMAIL: &str = "codexloop@codexloop.invalid";

/// The identity of every commit made here; `.invalid` can belong to nobody.
const IDENTITY: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", OWN_NAME),
    ("GIT_AUTHOR_EMAIL", OWN_EMAIL),
    ("GIT_COMMITTER_NAME", OWN_NAME),
    ("GIT_COMMITTER_EMAIL", OWN_EMAIL),
];

/// Why a folder cannot be worked in.
#[derive(Debug)]
pub enum DiscoverError {
    /// No `git` on the search path.
    NoGit,
    /// Git is there but too old.
    GitTooOld {
        /// What `git --version` printed.
        found: String,
    },
    /// The folder is in no repository.
    NotARepository {
        /// The folder asked about.
        dir: PathBuf,
    },
    /// Git refuses the repository because another user owns it.
    UnsafeOwnership {
        /// What git said.
        message: String,
    },
    /// The repository has no work tree.
    Bare,
    /// The folder lies inside a git directory.
    InsideGitDirectory,
    /// The settings or the `.git` file lead to the work tree or the git directory of somebody else.
    ForeignWorkTree {
        /// What git takes for the work tree.
        root: PathBuf,
        /// What git takes for its directory.
        git_dir: PathBuf,
    },
    /// There is no commit yet.
    NoCommit,
    /// Git could not be run or answered something unexpected.
    Other(anyhow::Error),
}

impl DiscoverError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoGit => "install git and make sure it is on PATH".to_owned(),
            Self::GitTooOld { .. } => format!("install git {}.{} or newer", OLDEST_GIT.0, OLDEST_GIT.1),
            Self::NotARepository { .. } => {
                "run `git init && git add -A && git commit` there, or name another folder with -C".to_owned()
            }
            Self::UnsafeOwnership { .. } => {
                "if you trust the repository, add it with `git config --global --add safe.directory <path>`".to_owned()
            }
            Self::Bare => "use a clone or a worktree with files in it".to_owned(),
            Self::InsideGitDirectory => "name the work tree with -C, not its .git folder".to_owned(),
            Self::ForeignWorkTree { .. } => {
                "work tree and git directory have to lead to each other: look at the file .git and at `git config \
                 core.worktree`, or name a clone of your own with -C"
                    .to_owned()
            }
            Self::NoCommit => "make a first commit: `git add -A && git commit`".to_owned(),
            Self::Other(_) => "run `git status` in the folder to see what git makes of it".to_owned(),
        }
    }
}

impl std::fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoGit => f.write_str("git was not found"),
            Self::GitTooOld { found } => write!(f, "git is too old: {found}"),
            Self::NotARepository { dir } => write!(f, "{} is not in a git repository", dir.display()),
            Self::UnsafeOwnership { message } => write!(f, "git refuses the repository: {message}"),
            Self::Bare => f.write_str("the repository is bare"),
            Self::InsideGitDirectory => f.write_str("the folder is inside a git directory"),
            Self::ForeignWorkTree { root, git_dir } => write!(
                f,
                "the work tree {} and the git directory {} do not belong to each other (.git or core.worktree leads \
                 elsewhere)",
                root.display(),
                git_dir.display()
            ),
            Self::NoCommit => f.write_str("the repository has no commit yet"),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl std::error::Error for DiscoverError {}

impl From<anyhow::Error> for DiscoverError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Where HEAD stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit's id.
    pub commit: String,
    /// The id of its tree.
    pub tree: String,
    /// The branch's full ref name, or `None` when HEAD is detached.
    pub branch: Option<String>,
}

/// Starts git with a clean environment.
#[derive(Debug)]
struct Git {
    program: PathBuf,
    removed: Vec<OsString>,
}

impl Git {
    fn find() -> Result<Self, DiscoverError> {
        let program = which::which("git").map_err(|_| DiscoverError::NoGit)?;
        let program = std::path::absolute(&program).with_context(|| format!("resolve {}", program.display()))?;
        let removed = std::env::vars_os()
            .map(|(name, _)| name)
            .filter(|name| name.as_bytes().starts_with(b"GIT_"))
            .filter(|name| !KEPT_VARIABLES.iter().any(|kept| name == kept))
            .collect();
        Ok(Self { program, removed })
    }

    fn run(&self, cwd: &Path, args: &[&OsStr], env: Vec<(OsString, OsString)>, stdin: Vec<u8>) -> Result<Captured> {
        let mut argv = vec![self.program.clone().into_os_string(), "--no-pager".into()];
        argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        let mut all: Vec<(OsString, OsString)> = vec![
            ("LC_ALL".into(), "C".into()),
            ("LANGUAGE".into(), "C".into()),
            ("GIT_TERMINAL_PROMPT".into(), "0".into()),
            ("GIT_OPTIONAL_LOCKS".into(), "0".into()),
            ("GIT_NO_REPLACE_OBJECTS".into(), "1".into()),
            // A partial clone must not reach for the network through a command of the repository's choice.
            ("GIT_NO_LAZY_FETCH".into(), "1".into()),
            ("GIT_ALLOW_PROTOCOL".into(), "none".into()),
        ];
        all.extend(IDENTITY.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        all.extend(env);
        let shown = show(&argv);
        process::capture(&Capture {
            argv,
            cwd: cwd.to_owned(),
            env: all,
            env_remove: self.removed.clone(),
            stdin,
            limit: GIT_LIMIT,
        })
        .with_context(|| format!("run {shown} in {}", cwd.display()))
    }
}

/// Returns the settings as the variables git reads them from; no quoting, whatever the values hold.
fn settings(pairs: &[(String, String)]) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = vec![("GIT_CONFIG_COUNT".into(), pairs.len().to_string().into())];
    for (index, (key, value)) in pairs.iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{index}").into(), key.into()));
        env.push((format!("GIT_CONFIG_VALUE_{index}").into(), value.into()));
    }
    env
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn show(argv: &[OsString]) -> String {
    argv.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Returns standard output, or an error naming the arguments and standard error.
fn succeeded(captured: Captured, args: &[&OsStr]) -> Result<Vec<u8>> {
    if captured.exit.success() {
        return Ok(captured.stdout);
    }
    let args: Vec<OsString> = args.iter().map(|arg| (*arg).to_owned()).collect();
    bail!("git {}: {:?}: {}", show(&args), captured.exit, String::from_utf8_lossy(&captured.stderr).trim())
}

/// Turns string arguments into what the runner takes.
fn os<'a>(args: &[&'a str]) -> Vec<&'a OsStr> {
    args.iter().map(|arg| OsStr::new(*arg)).collect()
}

/// Takes the one line end off that git puts after a value, so that a path may itself end in one.
fn line(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// A repository with a work tree and at least one commit. Cheap to clone; the private git directory goes with the
/// last clone.
#[derive(Debug, Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    git: Git,
    root: PathBuf,
    git_dir: PathBuf,
    common_dir: PathBuf,
    objects: PathBuf,
    prefix: String,
    head: Head,
    object_format: String,
    taken_over: Vec<(String, String)>,
    /// Held open while the private directory is in use; see `sweep`.
    _lock: std::fs::File,
    private: tempfile::TempDir,
    counter: AtomicU64,
}

impl Repository {
    /// Finds the repository that `check_dir` is in.
    pub fn discover(check_dir: &Path) -> Result<Self, DiscoverError> {
        let git = Git::find()?;
        let dir = check_dir.canonicalize().with_context(|| format!("open {}", check_dir.display()))?;
        let ask = |args: &[&str]| git.run(&dir, &os(args), settings(&owned(&ALWAYS)), Vec::new());

        let version = String::from_utf8_lossy(&ask(&["--version"])?.stdout).trim().to_owned();
        if parse_version(&version).is_some_and(|found| found < OLDEST_GIT) {
            return Err(DiscoverError::GitTooOld { found: version });
        }
        let shape = ask(&["rev-parse", "--is-bare-repository", "--is-inside-work-tree", "--show-object-format"])?;
        if !shape.exit.success() {
            let message = String::from_utf8_lossy(&shape.stderr).trim().to_owned();
            if message.contains("dubious ownership") {
                return Err(DiscoverError::UnsafeOwnership { message });
            }
            if message.contains("not a git repository") {
                return Err(DiscoverError::NotARepository { dir });
            }
            return Err(DiscoverError::Other(anyhow!("git rev-parse in {}: {message}", dir.display())));
        }
        let shape = String::from_utf8_lossy(&shape.stdout).into_owned();
        let mut shape = shape.lines();
        let (bare, inside) = (shape.next() == Some("true"), shape.next() == Some("true"));
        let object_format = shape.next().unwrap_or("sha1").to_owned();
        if bare {
            return Err(DiscoverError::Bare);
        }
        let answer = |what: &[&str]| -> Result<Vec<u8>> {
            let args = os(&[&["rev-parse", "--path-format=absolute"], what].concat());
            succeeded(git.run(&dir, &args, settings(&owned(&ALWAYS)), Vec::new())?, &args)
        };
        if !inside {
            let git_dir = path_of(line(&answer(&["--absolute-git-dir"])?));
            return Err(match configured_work_tree(&git, &dir) {
                Some(root) if !dir.starts_with(&git_dir) || root != dir => {
                    DiscoverError::ForeignWorkTree { root, git_dir }
                }
                _ => DiscoverError::InsideGitDirectory,
            });
        }
        let asked = ["--absolute-git-dir", "--show-toplevel", "--git-common-dir", "--show-prefix"];
        let together = answer(&asked)?;
        let lines: Vec<&[u8]> = line(&together).split(|byte| *byte == b'\n').collect();
        let answers: Vec<Vec<u8>> = if lines.len() == asked.len() {
            lines.into_iter().map(<[u8]>::to_vec).collect()
        } else {
            // A path has a line end of its own.
            let each = |what| answer(&[what]).map(|bytes| line(&bytes).to_vec());
            asked.into_iter().map(each).collect::<Result<_>>()?
        };
        let [git_dir, root, common_dir, prefix] = &answers[..] else {
            return Err(DiscoverError::Other(anyhow!("git rev-parse in {}: no answer", dir.display())));
        };
        let (git_dir, common_dir) = (path_of(git_dir), path_of(common_dir));
        let root = path_of(root).canonicalize().context("resolve the work-tree root")?;
        if !belong_together(&root, &git_dir)
            && configured_work_tree(&git, &dir).is_none_or(|own| !leads(&root, &git_dir) || own != root)
        {
            return Err(DiscoverError::ForeignWorkTree { root, git_dir });
        }
        let prefix = String::from_utf8(prefix.clone())
            .map_err(|_| anyhow!("the path of {} inside the repository is not UTF-8", dir.display()))?;
        let head = read_head(&git, &root)?.ok_or(DiscoverError::NoCommit)?;
        let taken_over = read_settings(&git, &root)?;
        let (private, lock) = make_private(&root, &git_dir, &common_dir, &object_format)?;
        let inner = Inner {
            git,
            root,
            objects: common_dir.join("objects"),
            git_dir,
            common_dir,
            prefix: prefix.trim_end_matches('/').to_owned(),
            head,
            object_format,
            taken_over,
            _lock: lock,
            private,
            counter: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the root of the user's work tree, absolute, symbolic links resolved.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Returns the git directory of this work tree (that of the linked worktree, if it is one).
    pub fn git_dir(&self) -> &Path {
        &self.inner.git_dir
    }

    /// Returns the git directory that all work trees of the repository share.
    pub fn common_dir(&self) -> &Path {
        &self.inner.common_dir
    }

    /// Returns the folder asked about relative to the root, `/` as separator, empty for the root itself.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// Says whether the repository is a partial clone, in which objects may be missing by intent.
    pub fn is_partial(&self) -> bool {
        let args = ["config", "--get-regexp", r"^(extensions\.partialclone|remote\..*\.promisor)$"].map(OsStr::new);
        self.try_real(self.root(), &args, Vec::new()).is_ok_and(|answer| answer.exit.success())
    }

    /// Returns HEAD as it was when the repository was found.
    pub fn head(&self) -> &Head {
        &self.inner.head
    }

    /// Returns `sha1` or `sha256`.
    pub fn object_format(&self) -> &str {
        &self.inner.object_format
    }

    /// Reads HEAD again.
    ///
    /// Returns an error if it points at no commit any more.
    pub fn head_now(&self) -> Result<Head> {
        read_head(&self.inner.git, self.root())?.context("HEAD points at no commit any more")
    }

    /// Returns the id git uses for "nothing", in the length of this repository's ids.
    pub(super) fn null_id(&self) -> String {
        "0".repeat(if self.inner.object_format == "sha256" { 64 } else { 40 })
    }

    /// Says whether the executable bit on disk means anything here.
    pub(super) fn trusts_file_mode(&self) -> bool {
        !self.inner.taken_over.iter().any(|(key, value)| {
            key == "core.filemode" && matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0")
        })
    }

    /// Returns a path in the private git directory that nothing else uses.
    pub(super) fn fresh_path(&self, stem: &str) -> PathBuf {
        let number = self.inner.counter.fetch_add(1, Ordering::Relaxed);
        self.inner.private.path().join(format!("{stem}-{number}"))
    }

    /// Returns the private git directory, in the folder for temporary files.
    pub(crate) fn private_dir(&self) -> &Path {
        self.inner.private.path()
    }

    /// Runs git on the user's git directory and returns how it ended. Only for commands that run nothing but
    /// hooks, which are off.
    pub(super) fn try_real(&self, cwd: &Path, args: &[&OsStr], stdin: Vec<u8>) -> Result<Captured> {
        self.inner.git.run(cwd, args, settings(&owned(&ALWAYS)), stdin)
    }

    /// As `try_real`; returns standard output, and an error for any exit status but 0.
    pub(super) fn real(&self, args: &[&OsStr], stdin: Vec<u8>) -> Result<Vec<u8>> {
        succeeded(self.try_real(self.root(), args, stdin)?, args)
    }

    /// Runs git on the private git directory with this work tree and index, in that work tree.
    pub(super) fn try_private(
        &self,
        work_tree: &Path,
        index: &Path,
        args: &[&OsStr],
        stdin: Vec<u8>,
    ) -> Result<Captured> {
        let mut pairs = owned(&ALWAYS);
        pairs.extend(self.inner.taken_over.iter().cloned());
        pairs.extend(owned(&PRIVATE));
        let mut env = settings(&pairs);
        let private = self.inner.private.path();
        env.extend([
            ("GIT_DIR".into(), private.as_os_str().to_owned()),
            ("GIT_OBJECT_DIRECTORY".into(), self.inner.objects.clone().into_os_string()),
            ("GIT_WORK_TREE".into(), work_tree.as_os_str().to_owned()),
            ("GIT_INDEX_FILE".into(), index.as_os_str().to_owned()),
            ("GIT_CONFIG_GLOBAL".into(), "/dev/null".into()),
            ("GIT_CONFIG_SYSTEM".into(), "/dev/null".into()),
            ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
        ]);
        self.inner.git.run(work_tree, args, env, stdin)
    }

    /// As `try_private`; returns standard output, and an error for any exit status but 0.
    pub(super) fn private(&self, work_tree: &Path, index: &Path, args: &[&str], stdin: Vec<u8>) -> Result<Vec<u8>> {
        let args = os(args);
        succeeded(self.try_private(work_tree, index, &args, stdin)?, &args)
    }

    /// Runs a command on objects alone: the work tree is an empty folder, so no attribute file of the user counts.
    pub(super) fn on_objects(&self, index: &Path, args: &[&str], stdin: Vec<u8>) -> Result<Vec<u8>> {
        self.private(&self.empty_folder(), index, args, stdin)
    }

    /// Returns the folder that is kept empty, for commands on objects alone.
    pub(super) fn empty_folder(&self) -> PathBuf {
        self.inner.private.path().join("empty")
    }

    /// Writes the commit the private HEAD stands at.
    pub(super) fn set_private_head(&self, commit: &str) -> Result<()> {
        let path = self.inner.private.path().join("HEAD");
        std::fs::write(&path, format!("{commit}\n")).with_context(|| format!("write {}", path.display()))
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?))
}

/// Says whether `.git` of the work tree leads to the git directory.
fn leads(root: &Path, git_dir: &Path) -> bool {
    let link = root.join(".git");
    let target = match std::fs::read(&link) {
        Ok(bytes) => match bytes.strip_prefix(b"gitdir: ") {
            Some(path) => root.join(OsStr::from_bytes(line(path))),
            None => return false,
        },
        // A folder, or nothing.
        Err(_) => link,
    };
    matches!((target.canonicalize(), git_dir.canonicalize()), (Ok(target), Ok(git_dir)) if target == git_dir)
}

/// Says whether work tree and git directory lead to each other: the one is in the other, or `.git` leads to a git
/// directory that is not plainly another folder's own. A stranger's `.git` or `core.worktree` could otherwise have a
/// loop work on files or write refs of a repository that nobody named.
fn belong_together(root: &Path, git_dir: &Path) -> bool {
    let inside = git_dir.canonicalize().is_ok_and(|git_dir| git_dir == root.join(".git"));
    inside
        || (leads(root, git_dir)
            && git_dir.canonicalize().is_ok_and(|path| path.file_name() != Some(OsStr::new(".git"))))
}

/// Returns the work tree that the repository's settings name, absolute.
fn configured_work_tree(git: &Git, dir: &Path) -> Option<PathBuf> {
    let ask = |args: &[&str]| {
        let answer = git.run(dir, &os(args), settings(&owned(&ALWAYS)), Vec::new()).ok()?;
        answer.exit.success().then(|| PathBuf::from(OsString::from_vec(line(&answer.stdout).to_vec())))
    };
    let named = ask(&["config", "--get", "core.worktree"])?;
    ask(&["rev-parse", "--path-format=absolute", "--git-dir"])?.join(named).canonicalize().ok()
}

fn read_head(git: &Git, root: &Path) -> Result<Option<Head>> {
    let ask = |args: &[&str]| git.run(root, &os(args), settings(&owned(&ALWAYS)), Vec::new());
    let ids = ask(&["rev-list", "--max-count=1", "--no-commit-header", "--format=%H %T", "HEAD", "--"])?;
    let text = String::from_utf8_lossy(line(&ids.stdout)).into_owned();
    let Some((commit, tree)) = text.split_once(' ').filter(|_| ids.exit.success()) else { return Ok(None) };
    let branch = ask(&["symbolic-ref", "-q", "HEAD"])?;
    let branch = branch.exit.success().then(|| String::from_utf8_lossy(line(&branch.stdout)).into_owned());
    Ok(Some(Head { commit: commit.to_owned(), tree: tree.to_owned(), branch }))
}

fn read_settings(git: &Git, root: &Path) -> Result<Vec<(String, String)>> {
    let args = os(&["config", "-z", "--get-regexp", TAKEN_OVER]);
    // Without our own settings: the answer is to be the user's.
    let answer = git.run(root, &args, Vec::new(), Vec::new())?;
    if answer.exit == (process::Exit::Code { code: 1 }) {
        return Ok(Vec::new());
    }
    let bytes = succeeded(answer, &args)?;
    let text = String::from_utf8(bytes).context("read git settings: not UTF-8")?;
    let pairs = text.split_terminator('\0').map(|entry| match entry.split_once('\n') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        // A key alone is git's short form of true.
        None => (entry.to_owned(), "true".to_owned()),
    });
    Ok(pairs.collect())
}

/// Makes the private git directory in the temporary folder, or in the git directory where that folder is part of
/// the work tree. Exclusions and attributes of the repository are copied now: what a check writes there later must
/// not hide its files.
fn make_private(
    root: &Path,
    git_dir: &Path,
    common_dir: &Path,
    object_format: &str,
) -> Result<(tempfile::TempDir, std::fs::File)> {
    let temporary = std::env::temp_dir();
    let inside = temporary.canonicalize().is_ok_and(|dir| dir.starts_with(root));
    let parent = if inside { git_dir.to_owned() } else { temporary };
    sweep(&parent);
    let private = tempfile::Builder::new()
        .prefix(PRIVATE_PREFIX)
        .tempdir_in(&parent)
        .with_context(|| format!("make a private git directory in {}", parent.display()))?;
    let dir = private.path();
    let make = || -> std::io::Result<std::fs::File> {
        let lock = std::fs::File::create(dir.join("in-use"))?;
        lock.lock()?;
        for folder in ["refs", "objects", "info", "empty"] {
            std::fs::create_dir(dir.join(folder))?;
        }
        std::fs::write(dir.join("HEAD"), "ref: refs/heads/none\n")?;
        let extension = if object_format == "sha1" {
            String::new()
        } else {
            format!("[extensions]\n\tobjectformat = {object_format}\n")
        };
        std::fs::write(
            dir.join("config"),
            format!("[core]\n\trepositoryformatversion = 1\n\tbare = false\n{extension}"),
        )?;
        for name in ["exclude", "attributes"] {
            match std::fs::read(common_dir.join("info").join(name)) {
                Ok(bytes) => std::fs::write(dir.join("info").join(name), bytes)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(lock)
    };
    let lock = make().with_context(|| format!("fill the private git directory {}", dir.display()))?;
    Ok((private, lock))
}

/// Removes the private git directories of processes that were killed: ours to open, old, and locked by nobody.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_bytes().starts_with(PRIVATE_PREFIX.as_bytes()) {
            continue;
        }
        let Ok(lock) = std::fs::File::open(entry.path().join("in-use")) else { continue };
        let age = lock.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) && lock.try_lock().is_ok() {
            // Another user's cannot be opened; what cannot be removed costs a little space only.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Says whether the disk of a folder is full. Git does not always say that this is why it failed.
pub fn is_full(dir: &Path) -> bool {
    /// A few small files.
    const LEAST: u64 = 64 * 1024;
    rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < LEAST)
}
