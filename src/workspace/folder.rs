//! A folder whose files are to equal a tree: what it holds, what changed in it, and bringing trees into it.
//!
//! Observes through an index of its own, so the user's is never written. Writes files only through `files`.

use super::files::{Parent, Root, Stamp};
use super::git::Repository;
use super::objects::{Difference, Entry, TemporaryIndex};
use crate::change::FileMode;
use anyhow::{Context, Result, ensure};
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What is part of no tree: our readable face and the audit folder. They change while a loop runs.
const LEFT_OUT: [&str; 2] = [".loop", "reviews/autonomous"];

/// What happened to a path since a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangedKind {
    /// Not in the tree; neither ignored.
    Added,
    /// Other content, permission or kind.
    Modified,
    /// In the tree, not in the folder.
    Deleted,
    /// A repository of its own that the tree does not know; no part of any snapshot.
    NestedRepository,
}

/// A path that differs from a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedPath {
    /// Path relative to the root, `/` as separator.
    pub path: String,
    /// What happened.
    pub kind: ChangedKind,
}

/// Where a path stands while one tree replaces another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathState {
    /// As in the tree that is left.
    AtFrom,
    /// As in the tree that comes.
    AtTo,
    /// As in neither, or something is in its way.
    Other,
}

/// How bringing in a tree ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// All paths are at the new tree; those listed were written or removed just now.
    Done(Vec<String>),
    /// Nothing was written, because these paths hold neither the old nor the new version.
    Blocked(Vec<String>),
}

/// What is uncommitted in the user's work tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirtyPaths {
    /// The first paths, as git orders them, up to the limit.
    pub shown: Vec<String>,
    /// Number of tracked paths that differ from HEAD, staged or not.
    pub tracked: usize,
    /// Number of untracked paths that are not ignored; a folder without tracked files counts once.
    pub untracked: usize,
}

/// A folder and the index that observes it.
#[derive(Debug)]
pub struct Workspace {
    repository: Repository,
    dir: PathBuf,
    index: PathBuf,
    /// The tree the index was last filled with, where known.
    loaded: Mutex<Option<String>>,
    owned: bool,
    /// A path that is not looked at, besides those that never are.
    left_out: Option<String>,
}

/// One line of what git sees in the folder.
struct Seen {
    path: Vec<u8>,
    kind: ChangedKind,
}

impl Workspace {
    /// Opens the user's work tree. The index starts as a copy of the user's, so that unchanged files need no
    /// reading; later writes to the user's index do not show here.
    pub fn of_user(repository: &Repository) -> Result<Self> {
        let workspace = Self::new(repository, repository.root(), false);
        copy_index(repository, &workspace.index)?;
        // An index git cannot read here (a format of the future) costs the shortcut only.
        let readable =
            repository.private(&workspace.dir, &workspace.index, &["ls-files", "-z", "--", ".nothing"], vec![]);
        if readable.is_err() {
            let _ = std::fs::remove_file(&workspace.index);
            repository.load_index(&workspace.dir, &workspace.index, &repository.head().commit)?;
        }
        Ok(workspace)
    }

    /// Opens a folder that is ours alone and, as far as is known, holds nothing yet.
    pub(super) fn of_our_own(repository: &Repository, dir: &Path) -> Self {
        Self::new(repository, dir, true)
    }

    fn new(repository: &Repository, dir: &Path, owned: bool) -> Self {
        let index = repository.fresh_path("work-index");
        Self {
            repository: repository.clone(),
            dir: dir.to_owned(),
            index,
            loaded: Mutex::new(None),
            owned,
            left_out: None,
        }
    }

    /// Leaves one more path out, relative to the root: whatever stands there, it is as the index has it.
    #[must_use]
    pub fn leaving_out(mut self, path: Option<String>) -> Self {
        self.left_out = path;
        self
    }

    /// Returns the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the repository the trees are in.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn index(&self) -> &Path {
        &self.index
    }

    fn git(&self, args: &[&str], stdin: Vec<u8>) -> Result<Vec<u8>> {
        self.repository.private(&self.dir, &self.index, args, stdin)
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the index say that `tree` is what is tracked, keeping what it knows of unchanged files.
    pub(super) fn expect(&self, tree: &str) -> Result<()> {
        if self.loaded().as_deref() == Some(tree) {
            return Ok(());
        }
        *self.loaded() = None;
        self.repository.load_index(&self.dir, &self.index, tree)?;
        *self.loaded() = Some(tree.to_owned());
        Ok(())
    }

    /// Fills the empty folder with a tree and the index with what was written.
    pub(super) fn check_out(&self, tree: &str) -> Result<()> {
        self.git(&["read-tree", "--reset", "-u", tree], Vec::new())?;
        *self.loaded() = Some(tree.to_owned());
        Ok(())
    }

    fn refresh(&self) -> Result<()> {
        let args = ["update-index", "-q", "--really-refresh"].map(OsStr::new);
        // Exit status 1 says that some file differs, which is not news here.
        self.repository.try_private(&self.dir, &self.index, &args, Vec::new())?;
        Ok(())
    }

    /// Lists what differs from the index, ignored files left out.
    fn look(&self) -> Result<Vec<Seen>> {
        self.refresh()?;
        let mut args = vec!["ls-files", "-z", "-t", "-m", "-d", "-o", "--exclude-standard", "--", "."];
        let left_out = LEFT_OUT.into_iter().chain(self.left_out.as_deref());
        let left_out: Vec<String> = left_out.map(|path| format!(":(top,exclude,literal){path}")).collect();
        args.extend(left_out.iter().map(String::as_str));
        let listing = self.git(&args, Vec::new())?;
        let mut seen: BTreeMap<Vec<u8>, ChangedKind> = BTreeMap::new();
        for record in listing.split(|byte| *byte == 0) {
            let [tag, b' ', path @ ..] = record else { continue };
            let kind = match tag {
                b'?' if path.ends_with(b"/") => ChangedKind::NestedRepository,
                b'?' => ChangedKind::Added,
                b'R' => ChangedKind::Deleted,
                _ => ChangedKind::Modified,
            };
            let known = seen.entry(path.to_vec()).or_insert(kind);
            if kind == ChangedKind::Deleted {
                *known = kind;
            }
        }
        Ok(seen.into_iter().map(|(path, kind)| Seen { path, kind }).collect())
    }

    /// Brings what is on disk at these paths into an index.
    fn observe(&self, index: &Path, paths: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
        let mut present = Vec::new();
        let mut hidden = Vec::new();
        let mut folders = HashMap::new();
        for path in paths {
            if behind_no_folder(&self.dir, &path, &mut folders) {
                hidden.extend(format!("0 {}\t", self.repository.null_id()).into_bytes());
                hidden.extend(path);
                hidden.push(0);
            } else {
                present.extend(path);
                present.push(0);
            }
        }
        if !hidden.is_empty() {
            self.repository.private(&self.dir, index, &["update-index", "-z", "--index-info"], hidden)?;
        }
        if !present.is_empty() {
            let args = ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"];
            self.repository.private(&self.dir, index, &args, present)?;
        }
        Ok(())
    }

    /// Stores what the folder holds as a tree and returns its id. Ignored files that nothing tracks, nested
    /// repositories, `.loop/` and `reviews/autonomous/` are left out; submodules are recorded at the commit they
    /// stand at.
    pub fn snapshot(&self) -> Result<String> {
        let seen = self.look()?;
        *self.loaded() = None;
        let kept = seen.into_iter().filter(|seen| seen.kind != ChangedKind::NestedRepository);
        self.observe(&self.index, kept.map(|seen| seen.path))?;
        let tree = self.repository.write_tree(&self.dir, &self.index)?;
        *self.loaded() = Some(tree.clone());
        Ok(tree)
    }

    /// As `snapshot`, with the files of `tree` as those that are tracked: an ignored file is recorded if `tree`
    /// has it.
    pub fn snapshot_on(&self, tree: &str) -> Result<String> {
        self.expect(tree)?;
        self.snapshot()
    }

    /// Returns how the folder differs from `tree`, sorted by path. Reads only files whose size or times changed.
    /// Nested repositories are named in a folder of our own only: in the user's they are the user's.
    pub fn changed_since(&self, tree: &str) -> Result<Vec<ChangedPath>> {
        self.expect(tree)?;
        let mut seen = self.look()?;
        seen.retain(|seen| self.owned || seen.kind != ChangedKind::NestedRepository);
        let seen = seen.into_iter().map(|seen| {
            let path = String::from_utf8(seen.path).map_err(|error| {
                anyhow::anyhow!("changed path is not UTF-8: {}", String::from_utf8_lossy(error.as_bytes()))
            })?;
            Ok(ChangedPath { path: path.trim_end_matches('/').to_owned(), kind: seen.kind })
        });
        seen.collect()
    }

    /// Says for each path that the trees differ in where the folder stands.
    pub fn landing_state(&self, from: &str, to: &str) -> Result<BTreeMap<String, PathState>> {
        self.states(from, to, &self.repository.differences(from, to)?)
    }

    fn states(&self, from: &str, to: &str, differences: &[Difference]) -> Result<BTreeMap<String, PathState>> {
        let root = Root::open(&self.dir)?;
        let mut states = BTreeMap::new();
        let mut folders: HashSet<&str> = HashSet::new();
        for one in differences {
            let submodule = [&one.old, &one.new].into_iter().flatten().any(|entry| entry.mode == FileMode::Submodule);
            if !submodule && root.kind(&one.path)? == Some(FileType::Directory) {
                folders.insert(&one.path);
            }
        }
        // `to` first: where both versions look the same on disk, there is nothing to write.
        for (tree, state) in [(to, PathState::AtTo), (from, PathState::AtFrom)] {
            let open: Vec<&Difference> = differences.iter().filter(|one| !states.contains_key(&one.path)).collect();
            let found = self.entries_on_disk(tree, open.iter().map(|one| one.path.as_str()), &folders)?;
            for one in open {
                let side = if state == PathState::AtTo { &one.new } else { &one.old };
                if found.get(&one.path) == side.as_ref() {
                    states.insert(one.path.clone(), state);
                }
            }
        }
        let gone: BTreeSet<&str> =
            differences.iter().filter(|one| one.new.is_none()).map(|one| one.path.as_str()).collect();
        for one in differences {
            let state = states.entry(one.path.clone()).or_insert(PathState::Other);
            if *state == PathState::AtFrom && one.new.is_some() && in_the_way(&root, &one.path, &folders, &gone)? {
                *state = PathState::Other;
            }
        }
        Ok(states)
    }

    /// Returns what git would record for these paths, with `tree` as the base that decides about line ends.
    /// `folders` are paths known to be folders: no file there.
    fn entries_on_disk<'a>(
        &self,
        tree: &str,
        paths: impl Iterator<Item = &'a str>,
        folders: &HashSet<&str>,
    ) -> Result<HashMap<String, Entry>> {
        let wanted: HashSet<&str> = paths.filter(|path| !folders.contains(path)).collect();
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let index = TemporaryIndex::new(&self.repository);
        if self.index.exists() {
            copy_with_times(&self.index, index.path())?;
        }
        self.repository.load_index(&self.dir, index.path(), tree)?;
        // Sorted, so that a link is seen before what was once behind it.
        let sorted: BTreeSet<&str> = wanted.iter().copied().collect();
        self.observe(index.path(), sorted.into_iter().map(|path| path.as_bytes().to_vec()))?;
        let listing = self.repository.private(&self.dir, index.path(), &["ls-files", "-s", "-z"], Vec::new())?;
        let mut found = HashMap::new();
        for record in listing.split(|byte| *byte == 0) {
            let Some((meta, path)) = std::str::from_utf8(record).ok().and_then(|text| text.split_once('\t')) else {
                continue;
            };
            let mut words = meta.split(' ');
            if let (true, Some(mode), Some(id)) =
                (wanted.contains(path), words.next().and_then(FileMode::from_git), words.next())
            {
                found.insert(path.to_owned(), Entry { mode, id: id.to_owned() });
            }
        }
        Ok(found)
    }

    /// Brings the folder from one tree to the other, writing only paths the trees differ in. A path already at the
    /// new version is left alone, so calling again finishes a half-done call, and calling with the trees exchanged
    /// undoes it. Nothing at all is written if any path holds a third version.
    ///
    /// Returns an error if a submodule would have to be written, or the disk refuses; some paths may then be
    /// written.
    pub fn materialise(&self, from: &str, to: &str) -> Result<Written> {
        let differences = self.repository.differences(from, to)?;
        let root = Root::open(&self.dir)?;
        for one in &differences {
            root.sweep_beside(&one.path)?;
        }
        // Before the judgement: what changes after it must not be overwritten.
        let looks: HashMap<String, Option<Stamp>> =
            differences.iter().map(|one| (one.path.clone(), root.stamp(&one.path))).collect();
        let states = self.states(from, to, &differences)?;
        let blocked: Vec<String> =
            states.iter().filter(|(_, state)| **state == PathState::Other).map(|(path, _)| path.clone()).collect();
        if !blocked.is_empty() {
            return Ok(Written::Blocked(blocked));
        }
        let to_write = differences.iter().filter(|one| states.get(&one.path) == Some(&PathState::AtFrom));
        let to_write: BTreeMap<String, Option<Entry>> =
            to_write.map(|one| (one.path.clone(), one.new.clone())).collect();
        for one in differences.iter().filter(|one| to_write.contains_key(&one.path)) {
            let submodule = [&one.old, &one.new].into_iter().flatten().any(|entry| entry.mode == FileMode::Submodule);
            ensure!(!submodule, "{}: a submodule cannot be moved here", one.path);
        }
        self.write(&root, to, &to_write, Some(&looks))?;
        self.expect(to)?;
        self.refresh()?;
        Ok(Written::Done(to_write.into_keys().collect()))
    }

    /// Brings those paths that still hold their version in `from` to `to`, and leaves every other path alone.
    pub fn put_back_untouched(&self, from: &str, to: &str) -> Result<()> {
        let differences = self.repository.differences(from, to)?;
        let root = Root::open(&self.dir)?;
        let looks: HashMap<String, Option<Stamp>> =
            differences.iter().map(|one| (one.path.clone(), root.stamp(&one.path))).collect();
        let states = self.states(from, to, &differences)?;
        let to_write = differences
            .iter()
            .filter(|one| states.get(&one.path) == Some(&PathState::AtFrom))
            .map(|one| (one.path.clone(), one.new.clone()))
            .collect();
        self.write(&root, to, &to_write, Some(&looks))
    }

    /// Removes the paths without an entry, then writes the others as git would check them out of `tree`. With
    /// `looks`, a path that no longer looks so is an error.
    fn write(
        &self,
        root: &Root,
        tree: &str,
        paths: &BTreeMap<String, Option<Entry>>,
        looks: Option<&HashMap<String, Option<Stamp>>>,
    ) -> Result<()> {
        let present = paths.iter().filter(|(_, entry)| entry.is_some()).map(|(path, _)| path);
        let staged = self.stage(tree, present.clone().map(String::as_str))?;
        let trust_mode = self.repository.trusts_file_mode();
        let last_look = |path: &String| match looks.and_then(|looks| looks.get(path)) {
            Some(stamp) => root.ensure_still(path, *stamp),
            None => Ok(()),
        };
        let write = || -> Result<()> {
            for (path, _) in paths.iter().filter(|(_, entry)| entry.is_none()) {
                last_look(path)?;
                root.remove(path)?;
            }
            for path in present {
                root.put(&staged.join(path), path, trust_mode, || last_look(path))?;
            }
            root.sync_folders(paths.keys().map(String::as_str))
        };
        let written = write();
        let _ = std::fs::remove_dir_all(&staged);
        written
    }

    /// Checks paths of a tree out into a folder of the private git directory. With nothing else in that work tree,
    /// attributes come from the tree itself; no filter command is known there.
    fn stage<'a>(&self, tree: &str, paths: impl Iterator<Item = &'a str>) -> Result<PathBuf> {
        let staged = self.repository.fresh_path("staged");
        std::fs::create_dir(&staged).with_context(|| format!("make {}", staged.display()))?;
        let index = TemporaryIndex::new(&self.repository);
        self.repository.load_index(&staged, index.path(), tree)?;
        let mut list = Vec::new();
        for path in paths {
            list.extend(path.as_bytes());
            list.push(0);
        }
        if !list.is_empty() {
            self.repository.private(&staged, index.path(), &["checkout-index", "-f", "-q", "-z", "--stdin"], list)?;
        }
        Ok(staged)
    }

    /// Puts these paths back to what `tree` has there, removing what it does not have, whatever they hold now.
    /// Returns the paths that could not be put back: submodules and nested repositories with something in them.
    pub fn restore_paths(&self, paths: &[ChangedPath], tree: &str) -> Result<Vec<String>> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let root = Root::open(&self.dir)?;
        let entries = self.repository.tree(tree)?;
        let mut to_write = BTreeMap::new();
        let mut left = Vec::new();
        for changed in paths {
            let path = &changed.path;
            match entries.entry(path) {
                Some(entry) if entry.mode == FileMode::Submodule => match changed.kind {
                    ChangedKind::Deleted => root.make_folder(path)?,
                    _ => left.push(path.clone()),
                },
                None if changed.kind == ChangedKind::NestedRepository => {
                    // In the user's tree such a folder may be the user's; in ours nobody else can have made it.
                    if self.owned && root.look_at_parents(path)? == Parent::Folder {
                        let full = self.dir.join(path);
                        std::fs::remove_dir_all(&full).with_context(|| format!("remove {}", full.display()))?;
                    } else {
                        left.push(path.clone());
                    }
                }
                entry => {
                    to_write.insert(path.clone(), entry.cloned());
                }
            }
        }
        self.write(&root, tree, &to_write, None)?;
        Ok(left)
    }

    /// Puts the whole folder back to `tree`, ignored files aside. Returns what could not be put back.
    pub fn reset_to(&self, tree: &str) -> Result<Vec<String>> {
        let changed = self.changed_since(tree)?;
        self.restore_paths(&changed, tree)
    }

    /// Lists what is uncommitted, as the user's own index sees it now; at most `limit` paths are named.
    pub fn dirty_paths(&self, limit: usize) -> Result<DirtyPaths> {
        let index = TemporaryIndex::new(&self.repository);
        copy_index(&self.repository, index.path())?;
        self.repository.set_private_head(&self.repository.head_now()?.commit)?;
        // Looking for dirt inside submodules would run git with their settings.
        let mut args = vec![
            "status",
            "--porcelain",
            "-z",
            "--no-renames",
            "--untracked-files=normal",
            "--ignore-submodules=dirty",
            "--",
            ".",
        ];
        let left_out = LEFT_OUT.into_iter().chain(self.left_out.as_deref());
        let left_out: Vec<String> = left_out.map(|path| format!(":(top,exclude,literal){path}")).collect();
        args.extend(left_out.iter().map(String::as_str));
        let listing = self.repository.private(&self.dir, index.path(), &args, Vec::new())?;
        let mut dirty = DirtyPaths::default();
        for record in listing.split(|byte| *byte == 0) {
            let [x, _, b' ', path @ ..] = record else { continue };
            if *x == b'?' {
                dirty.untracked += 1;
            } else {
                dirty.tracked += 1;
            }
            if dirty.shown.len() < limit {
                dirty.shown.push(String::from_utf8_lossy(path).into_owned());
            }
        }
        Ok(dirty)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Left-overs go with the private git directory.
        let _ = std::fs::remove_file(&self.index);
    }
}

/// Says whether writing `path` would run into something that the same change does not remove.
fn in_the_way(root: &Root, path: &str, folders: &HashSet<&str>, gone: &BTreeSet<&str>) -> Result<bool> {
    if let Parent::Blocked(parent) = root.look_at_parents(path)? {
        return Ok(!gone.contains(parent.as_str()));
    }
    if folders.contains(path) {
        return Ok(root.files_below(path)?.iter().any(|file| !gone.contains(file.as_str())));
    }
    Ok(false)
}

/// Says whether some parent of the path is there but is no folder, so that the path cannot be in this tree. `known`
/// remembers answers by folder.
fn behind_no_folder(dir: &Path, path: &[u8], known: &mut HashMap<Vec<u8>, bool>) -> bool {
    let Some(end) = path.iter().rposition(|byte| *byte == b'/') else { return false };
    let parent = &path[..end];
    if let Some(answer) = known.get(parent) {
        return *answer;
    }
    let here = || dir.join(OsStr::from_bytes(parent)).symlink_metadata().is_ok_and(|found| !found.file_type().is_dir());
    let answer = behind_no_folder(dir, parent, known) || here();
    known.insert(parent.to_vec(), answer);
    answer
}

/// Copies a file with its modification time. Git decides by the index's own time which entries may have changed
/// in the same tick; a newer time on the copy would make it trust what it should read again.
fn copy_with_times(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        let mut source = std::fs::File::open(from)?;
        let mut target = std::fs::File::create(to)?;
        std::io::copy(&mut source, &mut target)?;
        target.set_modified(source.metadata()?.modified()?)
    };
    copy().with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// Copies the user's index, and the shared part that a split index refers to. No index is an empty one.
fn copy_index(repository: &Repository, to: &Path) -> Result<()> {
    let git_dir = repository.git_dir();
    let index = git_dir.join("index");
    if !index.exists() {
        return Ok(());
    }
    let listing = std::fs::read_dir(git_dir).with_context(|| format!("list {}", git_dir.display()))?;
    for entry in listing.flatten().filter(|entry| entry.file_name().as_bytes().starts_with(b"sharedindex.")) {
        copy_with_times(&entry.path(), &repository.private_dir().join(entry.file_name()))?;
    }
    copy_with_times(&index, to)
}
