//! Work trees of our own in the user's cache folder. Never under the repository, never another tool's work tree.

use super::folder::Workspace;
use super::git::Repository;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// How the lock reason of our work trees begins. A locked work tree is left alone by `git worktree prune`, and the
/// reason tells the user, and us, whose it is.
const LOCK_REASON: &str = "CodexLoop run ";

/// A work tree of ours, filled and ready.
#[derive(Debug)]
pub struct Worktree {
    run_id: String,
    repository: Repository,
    workspace: Workspace,
}

/// A work tree of ours as git knows it, perhaps with its folder gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnWorktree {
    /// The run it belongs to.
    pub run_id: String,
    /// Its folder.
    pub path: PathBuf,
    /// The commit it stands at, where git can tell.
    pub head: Option<String>,
    /// Whether the folder exists.
    pub present: bool,
}

/// Returns the user's cache folder from the two variables that decide it: `XDG_CACHE_HOME` if absolute, else
/// `~/Library/Caches` on macOS, else `~/.cache`. `None` where neither is known.
pub fn default_cache_dir(xdg_cache_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |value: Option<&OsStr>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    let below = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    absolute(xdg_cache_home).or_else(|| absolute(home).map(|home| home.join(below)))
}

impl Worktree {
    /// Makes `<cache_dir>/cloop/worktrees/<run_id>` and fills it with the commit's tree. Left-overs of the same run
    /// are removed first. No hook and no filter runs.
    ///
    /// Returns an error if the folder would lie in the repository, or git or the disk refuses.
    pub fn create(repository: &Repository, commit: &str, cache_dir: &Path, run_id: &str) -> Result<Self> {
        let path = place(repository, cache_dir, run_id)?;
        let commit = repository.resolve(commit)?;
        remove(repository, &path, run_id)?;
        let reason = format!("{LOCK_REASON}{run_id}");
        let args = [
            OsStr::new("worktree"),
            OsStr::new("add"),
            OsStr::new("--detach"),
            OsStr::new("--no-checkout"),
            OsStr::new("--lock"),
            OsStr::new("--reason"),
            OsStr::new(&reason),
            OsStr::new("--"),
            path.as_os_str(),
            OsStr::new(&commit),
        ];
        repository.real(&args, Vec::new())?;
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&path, private).with_context(|| format!("make {} private", path.display()))?;
        let workspace = Workspace::of_our_own(repository, &path);
        workspace.check_out(&commit)?;
        let made = Self { run_id: run_id.to_owned(), repository: repository.clone(), workspace };
        made.share_index()?;
        Ok(made)
    }

    /// Opens the work tree of a run again, or returns `None` where there is none, or only half of one.
    pub fn open(repository: &Repository, cache_dir: &Path, run_id: &str, tree: &str) -> Result<Option<Self>> {
        let path = place(repository, cache_dir, run_id)?;
        let listed = list_ours(repository)?.into_iter().any(|one| one.path == path && one.present);
        if !listed || !path.join(".git").is_file() {
            return Ok(None);
        }
        let workspace = Workspace::of_our_own(repository, &path);
        // Starts from nothing: an index that a check could have written is no witness of what the files hold.
        workspace.expect(tree)?;
        Ok(Some(Self { run_id: run_id.to_owned(), repository: repository.clone(), workspace }))
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.workspace.dir()
    }

    /// Returns the folder as something to snapshot, fill and restore.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Gives the work tree's own git directory the index that was just filled, so that git commands of a check or of
    /// an agent find a clean state there.
    fn share_index(&self) -> Result<()> {
        let args = ["rev-parse", "--path-format=absolute", "--git-path", "index"].map(OsStr::new);
        let answer = self.repository.try_real(self.path(), &args, Vec::new())?;
        ensure!(answer.exit.success(), "git rev-parse in {}: {:?}", self.path().display(), answer.exit);
        let target = answer.stdout.strip_suffix(b"\n").unwrap_or(&answer.stdout);
        let target = PathBuf::from(OsString::from_vec(target.to_vec()));
        std::fs::copy(self.workspace.index(), &target).with_context(|| format!("write {}", target.display()))?;
        Ok(())
    }

    /// Removes the work tree: folder and git's record of it.
    pub fn remove(self) -> Result<()> {
        remove(&self.repository, self.path(), &self.run_id)
    }
}

/// Returns the name under which a run's further work trees are made: `<run>-2`, `<run>-3` and so on.
pub fn further_worktree(run_id: &str, number: u32) -> String {
    format!("{run_id}-{number}")
}

impl OwnWorktree {
    /// Says whether it is this run's: its only one, or one of its further ones.
    pub fn belongs_to(&self, run_id: &str) -> bool {
        match self.run_id.strip_prefix(run_id) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok()),
            None => false,
        }
    }

    /// Removes it, whatever is left of it.
    pub fn remove(&self, repository: &Repository) -> Result<()> {
        remove(repository, &self.path, &self.run_id)
    }
}

/// Returns the absolute path of a run's work tree, its parents made and private.
fn place(repository: &Repository, cache_dir: &Path, run_id: &str) -> Result<PathBuf> {
    let mut parts = Path::new(run_id).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    ensure!(plain && !run_id.starts_with('-'), "run id {run_id:?} is no folder name");
    let below = cache_dir.join("cloop").join("worktrees");
    // Before anything is made: the cache folder may be set to a place in the repository.
    refuse_inside(repository, &std::path::absolute(&below).context("resolve the cache folder")?)?;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&below).with_context(|| format!("make {}", below.display()))?;
    let below = below.canonicalize().with_context(|| format!("resolve {}", below.display()))?;
    refuse_inside(repository, &below)?;
    Ok(below.join(run_id))
}

fn refuse_inside(repository: &Repository, path: &Path) -> Result<()> {
    for own in [repository.root(), repository.git_dir(), repository.common_dir()] {
        ensure!(
            !path.starts_with(own),
            "the cache folder {} is inside the repository {}",
            path.display(),
            own.display()
        );
    }
    Ok(())
}

/// Returns the work trees of this repository that carry our lock reason.
pub(super) fn list_ours(repository: &Repository) -> Result<Vec<OwnWorktree>> {
    let output = repository.real(&["worktree", "list", "--porcelain", "-z"].map(OsStr::new), Vec::new())?;
    let mut found = Vec::new();
    let (mut path, mut head, mut run_id) = (None, None, None);
    for field in output.split(|byte| *byte == 0) {
        if field.is_empty() {
            if let (Some(path), Some(run_id)) = (path.take(), run_id.take()) {
                let path: PathBuf = path;
                let present = path.is_dir();
                found.push(OwnWorktree { run_id, present, path, head: head.take() });
            }
            (path, head, run_id) = (None, None, None);
        } else if let Some(bytes) = field.strip_prefix(b"worktree ") {
            path = Some(PathBuf::from(OsStr::from_bytes(bytes)));
        } else if let Some(id) = field.strip_prefix(b"HEAD ") {
            head = Some(String::from_utf8_lossy(id).into_owned());
        } else if let Some(reason) = field.strip_prefix(b"locked ") {
            run_id = String::from_utf8_lossy(reason).strip_prefix(LOCK_REASON).map(str::to_owned);
        }
    }
    Ok(found)
}

impl Repository {
    /// Returns the work trees of ours that git has on record, also those whose folder is gone.
    pub fn own_worktrees(&self) -> Result<Vec<OwnWorktree>> {
        list_ours(self)
    }
}

/// Removes folder and record, each whether or not the other is still there. Only ever touches a record that carries
/// our lock reason for this run; `git worktree prune` would also drop records of the user's.
fn remove(repository: &Repository, path: &Path, run_id: &str) -> Result<()> {
    let records = records_of(repository, run_id)?;
    if path.symlink_metadata().is_ok() {
        let foreign = records.is_empty() && !path.ends_with(Path::new("cloop/worktrees").join(run_id));
        ensure!(!foreign, "{} is no work tree of run {run_id}", path.display());
        remove_folder(path)?;
    }
    for record in records {
        match std::fs::remove_dir_all(&record) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", record.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the folders in which git keeps its record of this run's work tree.
fn records_of(repository: &Repository, run_id: &str) -> Result<Vec<PathBuf>> {
    let all = repository.common_dir().join("worktrees");
    let listing = match std::fs::read_dir(&all) {
        Ok(listing) => listing,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", all.display())),
    };
    let wanted = format!("{LOCK_REASON}{run_id}");
    let ours =
        |record: &PathBuf| std::fs::read_to_string(record.join("locked")).is_ok_and(|text| text.trim() == wanted);
    Ok(listing.flatten().map(|entry| entry.path()).filter(ours).collect())
}

/// Removes a folder with everything in it, links not followed, also where a build tool left folders without write
/// permission.
pub(super) fn remove_folder(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
        Err(error) => return Err(error).with_context(|| format!("remove {}", path.display())),
    }
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        let _ = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700));
        let Ok(listing) = std::fs::read_dir(&folder) else { continue };
        open.extend(
            listing.flatten().filter(|one| one.file_type().is_ok_and(|kind| kind.is_dir())).map(|one| one.path()),
        );
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => bail!("remove {}: {error}", path.display()),
        _ => Ok(()),
    }
}
