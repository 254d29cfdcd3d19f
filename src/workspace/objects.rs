//! Trees, blobs and diffs, by temporary indexes. Reads and adds objects; never looks at a work tree.

use super::git::Repository;
use crate::change::{Change, FileChange, FileMode, FileVersion, Tree};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mode: FileMode,
    pub(super) id: String,
}

/// A path that two trees differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) old: Option<Entry>,
    pub(super) new: Option<Entry>,
}

/// What git says of a diff against a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applies {
    /// It applies exactly.
    Yes,
    /// It does not; git's words.
    No(String),
}

/// An index file of our own, removed with its lock when dropped.
pub(super) struct TemporaryIndex(PathBuf);

impl TemporaryIndex {
    pub(super) fn new(repository: &Repository) -> Self {
        Self(repository.fresh_path("index"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryIndex {
    fn drop(&mut self) {
        // Left-overs go with the private git directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A tree of the repository, its paths listed once, its files read when asked for and kept.
pub struct GitTree {
    repository: Repository,
    id: String,
    entries: BTreeMap<String, Entry>,
    paths: Vec<String>,
    read: Mutex<HashMap<String, Vec<u8>>>,
}

impl GitTree {
    /// Returns the tree's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads the files at these paths in one go; unknown paths are skipped.
    pub fn prefetch<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let wanted: Vec<String> = {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            let entries = paths.into_iter().filter_map(|path| self.entries.get(path));
            entries
                .filter(|entry| entry.mode != FileMode::Submodule && !read.contains_key(&entry.id))
                .map(|entry| entry.id.clone())
                .collect()
        };
        let blobs = self.repository.blobs(&wanted)?;
        self.read.lock().unwrap_or_else(PoisonError::into_inner).extend(blobs);
        Ok(())
    }

    pub(super) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Returns the kind and permission of the file at `path`, or `None` where there is none. Reads no content.
    pub fn mode(&self, path: &str) -> Option<FileMode> {
        self.entries.get(path).map(|entry| entry.mode)
    }
}

impl Tree for GitTree {
    fn read(&self, path: &str) -> Result<Option<FileVersion>> {
        let Some(entry) = self.entries.get(path) else { return Ok(None) };
        if entry.mode == FileMode::Submodule {
            return Ok(Some(FileVersion { mode: entry.mode, content: entry.id.clone().into_bytes() }));
        }
        self.prefetch([path])?;
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let content =
            read.get(&entry.id).cloned().with_context(|| format!("{path}: blob {} was not read", entry.id))?;
        Ok(Some(FileVersion { mode: entry.mode, content }))
    }

    fn paths(&self) -> &[String] {
        &self.paths
    }
}

impl Repository {
    fn without_index(&self, args: &[&str], stdin: Vec<u8>) -> Result<Vec<u8>> {
        self.on_objects(&self.private_dir().join("no-index"), args, stdin)
    }

    /// Opens a tree (or the tree of a commit). Paths that are not UTF-8 are left out: no patch can name them, and
    /// tree ids keep them all the same.
    pub fn tree(&self, id: &str) -> Result<GitTree> {
        let listing = self.without_index(&["ls-tree", "-r", "-z", "--full-tree", id], Vec::new())?;
        let mut entries = BTreeMap::new();
        for record in listing.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
            let Ok(record) = std::str::from_utf8(record) else { continue };
            let parsed = record.split_once('\t').and_then(|(meta, path)| {
                let mut meta = meta.split(' ');
                let (mode, _, id) = (meta.next()?, meta.next()?, meta.next()?);
                Some((path.to_owned(), Entry { mode: FileMode::from_git(mode)?, id: id.to_owned() }))
            });
            let (path, entry) = parsed.with_context(|| format!("unexpected entry in tree {id}: {record:?}"))?;
            entries.insert(path, entry);
        }
        let paths = entries.keys().cloned().collect();
        Ok(GitTree { repository: self.clone(), id: id.to_owned(), entries, paths, read: Mutex::default() })
    }

    /// Returns the id and path of the first file of a tree whose content is missing or broken, or `None`. Only the
    /// headers of objects are read.
    pub fn first_broken(&self, tree: &str) -> Result<Option<(String, String)>> {
        let tree = self.tree(tree)?;
        let files: Vec<(&String, &Entry)> =
            tree.entries.iter().filter(|(_, entry)| entry.mode != FileMode::Submodule).collect();
        if files.is_empty() {
            return Ok(None);
        }
        let ids = files.iter().fold(String::new(), |list, (_, entry)| list + &entry.id + "\n");
        let args = ["cat-file", "--batch-check"].map(OsStr::new);
        let index = self.private_dir().join("no-index");
        let answer = self.try_private(&self.empty_folder(), &index, &args, ids.into_bytes())?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let mut lines = text.lines();
        // Git ends at once at some kinds of damage: then an answer is missing.
        let broken = files.iter().find(|_| !lines.next().is_some_and(|line| line.contains(" blob ")));
        Ok(broken.map(|(path, entry)| (entry.id.clone(), (*path).clone())))
    }

    /// Reads blobs by id, in one process.
    fn blobs(&self, ids: &[String]) -> Result<HashMap<String, Vec<u8>>> {
        let mut blobs = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(blobs);
        }
        let output = self.without_index(&["cat-file", "--batch"], (ids.join("\n") + "\n").into_bytes())?;
        let mut rest = output.as_slice();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').context("cat-file: header without end")?;
            let header = String::from_utf8_lossy(&rest[..end]).into_owned();
            let mut words = header.split(' ');
            let (id, kind, size) =
                (words.next(), words.next(), words.next().and_then(|size| size.parse::<usize>().ok()));
            let (Some(id), Some("blob"), Some(size)) = (id, kind, size) else { bail!("cat-file: {header}") };
            let content = rest.get(end + 1..end + 1 + size).with_context(|| format!("cat-file: {id} is cut short"))?;
            blobs.insert(id.to_owned(), content.to_vec());
            rest = rest.get(end + 2 + size..).unwrap_or_default();
        }
        Ok(blobs)
    }

    /// Stores contents as blobs, byte for byte, in one process; returns their ids in order.
    fn store_blobs(&self, contents: &[&[u8]]) -> Result<Vec<String>> {
        if contents.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.fresh_path("blobs");
        std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        let store = || -> Result<Vec<u8>> {
            let mut names = Vec::new();
            for (number, content) in contents.iter().enumerate() {
                let path = folder.join(number.to_string());
                std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
                names.extend(format!("{number}\n").into_bytes());
            }
            let args = ["hash-object", "-w", "-t", "blob", "--no-filters", "--stdin-paths"];
            self.private(&folder, &self.private_dir().join("no-index"), &args, names)
        };
        let output = store();
        let _ = std::fs::remove_dir_all(&folder);
        let ids: Vec<String> = String::from_utf8_lossy(&output?).lines().map(str::to_owned).collect();
        ensure!(ids.len() == contents.len(), "hash-object gave {} ids for {} files", ids.len(), contents.len());
        Ok(ids)
    }

    /// Fills an index with a tree, keeping what it knows of files that stay the same.
    pub(super) fn load_index(&self, work_tree: &Path, index: &Path, tree: &str) -> Result<()> {
        // Without a look at the files (-i): git refuses to reset an index whose hidden entries (skip-worktree, assumed
        // unchanged) differ from theirs.
        self.private(work_tree, index, &["read-tree", "--reset", "-i", tree], Vec::new())?;
        Ok(())
    }

    /// Returns the tree that `change` makes of `base`.
    ///
    /// Returns an error if a path reaches out (`..`, `.git`), or the change does not fit the base: a file where a
    /// folder is needed, or a new version that is already there.
    pub fn write_change(&self, base: &str, change: &Change) -> Result<String> {
        for file in &change.files {
            super::files::names(&file.path)?;
        }
        let index = TemporaryIndex::new(self);
        self.load_index(&self.empty_folder(), index.path(), base)?;
        let new = || change.files.iter().filter_map(|file| file.new.as_ref().map(|new| (file, new)));
        let contents: Vec<&[u8]> =
            new().filter(|(_, new)| new.mode != FileMode::Submodule).map(|(_, new)| new.content.as_slice()).collect();
        let mut ids = self.store_blobs(&contents)?.into_iter();
        // Removals first: a file may become a folder.
        let mut info = Vec::new();
        for file in change.files.iter().filter(|file| file.old.is_some()) {
            info.extend(format!("0 {}\t{}\0", self.null_id(), file.path).into_bytes());
        }
        for (file, new) in new() {
            let id = if new.mode == FileMode::Submodule {
                String::from_utf8(new.content.clone()).map_err(|_| anyhow!("{}: not a commit id", file.path))?
            } else {
                ids.next().context("hash-object gave too few ids")?
            };
            info.extend(format!("{} {id}\t{}\0", new.mode.as_git(), file.path).into_bytes());
        }
        self.on_objects(index.path(), &["update-index", "-z", "--index-info"], info)?;
        let tree = self.write_tree(&self.empty_folder(), index.path())?;
        // Git skips names it holds to be unsafe, and drops a file that is in the way of a new folder.
        let differences = self.differences(base, &tree)?;
        let found: BTreeSet<&str> = differences.iter().map(|one| one.path.as_str()).collect();
        if let Some(path) = found.symmetric_difference(&change.paths()).next() {
            bail!("the change does not fit tree {base} at {path}");
        }
        Ok(tree)
    }

    /// Writes an index as a tree and returns its id.
    pub(super) fn write_tree(&self, work_tree: &Path, index: &Path) -> Result<String> {
        let id = self.private(work_tree, index, &["write-tree"], Vec::new())?;
        Ok(String::from_utf8_lossy(&id).trim().to_owned())
    }

    /// Returns the exact diff between two trees, as `git apply` takes it back: binary files whole, no renames.
    pub fn diff(&self, from: &str, to: &str) -> Result<Vec<u8>> {
        let args = [
            "diff-tree",
            "-r",
            "-p",
            "--binary",
            "--full-index",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--no-color",
            "--submodule=short",
            "--ignore-submodules=none",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            from,
            to,
        ];
        self.without_index(&args, Vec::new())
    }

    /// Returns the paths two trees differ in, with modes and ids.
    pub(super) fn differences(&self, from: &str, to: &str) -> Result<Vec<Difference>> {
        let args =
            ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=none", from, to];
        let output = self.without_index(&args, Vec::new())?;
        let mut fields = output.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        let mut found = Vec::new();
        while let Some(meta) = fields.next() {
            let path = fields.next().context("diff-tree: entry without path")?;
            let path = String::from_utf8(path.to_vec())
                .map_err(|_| anyhow!("changed path is not UTF-8: {}", String::from_utf8_lossy(path)))?;
            let meta = String::from_utf8_lossy(meta).into_owned();
            let words: Vec<&str> = meta.trim_start_matches(':').split(' ').collect();
            let [old_mode, new_mode, old_id, new_id, ..] = words.as_slice() else { bail!("diff-tree: {meta}") };
            let entry = |mode: &str, id: &str| FileMode::from_git(mode).map(|mode| Entry { mode, id: id.to_owned() });
            found.push(Difference { path, old: entry(old_mode, old_id), new: entry(new_mode, new_id) });
        }
        Ok(found)
    }

    /// Returns the change between two trees, with the whole contents.
    pub fn change_between(&self, from: &str, to: &str) -> Result<Change> {
        let differences = self.differences(from, to)?;
        let entries = || differences.iter().flat_map(|one| [&one.old, &one.new]).flatten();
        let wanted: Vec<String> =
            entries().filter(|entry| entry.mode != FileMode::Submodule).map(|entry| entry.id.clone()).collect();
        let blobs = self.blobs(&wanted)?;
        let version = |entry: &Option<Entry>| -> Result<Option<FileVersion>> {
            let Some(entry) = entry else { return Ok(None) };
            let content = if entry.mode == FileMode::Submodule {
                entry.id.clone().into_bytes()
            } else {
                blobs.get(&entry.id).cloned().with_context(|| format!("blob {} was not read", entry.id))?
            };
            Ok(Some(FileVersion { mode: entry.mode, content }))
        };
        let files = differences
            .iter()
            .map(|one| Ok(FileChange { path: one.path.clone(), old: version(&one.old)?, new: version(&one.new)? }));
        Ok(Change::new(files.collect::<Result<_>>()?))
    }

    /// Merges two trees over their common ancestor and returns the merged tree, or `None` where they conflict.
    pub fn merge_trees(&self, base: &str, ours: &str, theirs: &str) -> Result<Option<String>> {
        Ok(self.try_merge(base, ours, theirs)?.ok())
    }

    /// Merges two trees over their common ancestor and returns the merged tree, or the paths in conflict.
    pub fn try_merge(&self, base: &str, ours: &str, theirs: &str) -> Result<std::result::Result<String, Vec<String>>> {
        // git merges commits; parentless ones carry the trees and are garbage afterwards.
        let [base, ours, theirs] = [base, ours, theirs].map(|tree| self.commit(tree, &[], "merge\n"));
        let (base, ours, theirs) = (format!("--merge-base={}", base?), ours?, theirs?);
        let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", &base, &ours, &theirs];
        let args = args.map(std::ffi::OsStr::new);
        let index = TemporaryIndex::new(self);
        let ended = self.try_private(&self.empty_folder(), index.path(), &args, Vec::new())?;
        let mut fields = ended.stdout.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        let tree = fields.next().map(|field| String::from_utf8_lossy(field).into_owned());
        match (ended.exit, tree) {
            (exit, Some(tree)) if exit.success() => Ok(Ok(tree)),
            (crate::process::Exit::Code { code: 1 }, Some(_)) => {
                Ok(Err(fields.map(|path| String::from_utf8_lossy(path).into_owned()).collect()))
            }
            (exit, _) => bail!("git merge-tree: {exit:?}: {}", String::from_utf8_lossy(&ended.stderr).trim()),
        }
    }

    /// Says whether git takes the diff on the tree. Writes nothing but a temporary index.
    pub fn check_applies(&self, diff: &[u8], tree: &str) -> Result<Applies> {
        let index = TemporaryIndex::new(self);
        self.load_index(&self.empty_folder(), index.path(), tree)?;
        self.apply(index.path(), diff, true)
    }

    /// Applies the diff to the tree exactly and returns the tree it makes, or git's words where it does not apply.
    pub fn apply_diff(&self, diff: &[u8], tree: &str) -> Result<std::result::Result<String, String>> {
        let index = TemporaryIndex::new(self);
        self.load_index(&self.empty_folder(), index.path(), tree)?;
        match self.apply(index.path(), diff, false)? {
            Applies::Yes => Ok(Ok(self.write_tree(&self.empty_folder(), index.path())?)),
            Applies::No(message) => Ok(Err(message)),
        }
    }

    fn apply(&self, index: &Path, diff: &[u8], only_check: bool) -> Result<Applies> {
        let mut args = vec!["apply", "--cached", "--whitespace=nowarn", "--allow-empty"];
        if only_check {
            args.push("--check");
        }
        args.push("-");
        let args: Vec<&std::ffi::OsStr> = args.into_iter().map(std::ffi::OsStr::new).collect();
        let ended = self.try_private(&self.empty_folder(), index, &args, diff.to_vec())?;
        if ended.exit.success() {
            return Ok(Applies::Yes);
        }
        Ok(Applies::No(String::from_utf8_lossy(&ended.stderr).trim().to_owned()))
    }
}
