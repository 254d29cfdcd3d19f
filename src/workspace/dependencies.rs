//! Cloning of ignored dependency folders from the user's work tree into a work tree of ours.
//!
//! Shares storage where the file system can, copies where not, and stops before it costs too much. Never writes in
//! the original and never installs anything.

use super::git::Repository;
use super::objects::TemporaryIndex;
use super::worktree::remove_folder;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Folder names that package managers and build tools keep what they fetched or built in.
const KNOWN: [&str; 33] = [
    "node_modules",
    "bower_components",
    "jspm_packages",
    ".yarn",
    ".pnpm-store",
    ".venv",
    "venv",
    "env",
    ".env",
    "virtualenv",
    "__pypackages__",
    ".tox",
    ".nox",
    ".eggs",
    ".pixi",
    "vendor",
    "target",
    ".gradle",
    ".m2",
    "Pods",
    "Carthage",
    ".build",
    "deps",
    "_build",
    "elm-stuff",
    ".stack-work",
    "dist-newstyle",
    "_opam",
    "_esy",
    ".bundle",
    ".dart_tool",
    ".cpcache",
    "packrat",
];

/// Deepest folder that is looked at: monorepos nest packages a few levels, not more.
const DEEPEST: usize = 8;

/// Largest metadata file of a Python package that is searched for the original's path; real ones are a few lines.
const METADATA_LIMIT: u64 = 1 << 20;

/// What cloning may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneBudget {
    /// Most bytes to copy; not counted where storage is shared.
    pub max_bytes: u64,
    /// Most files, links and folders.
    pub max_files: u64,
}

/// How files were cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloneMethod {
    /// There was nothing to clone, or it was too much.
    None,
    /// Both share storage until one is written.
    Reflink,
    /// Bytes were copied.
    Copy,
}

/// What cloning gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneReport {
    /// The cloned folders (or links in their place), relative to the root.
    pub cloned: Vec<String>,
    /// Bytes in their files.
    pub bytes: u64,
    /// Files, links and folders in them.
    pub files: u64,
    /// How it was done.
    pub method: CloneMethod,
    /// Why nothing was cloned, when the budget did not hold it.
    pub too_costly: Option<String>,
    /// What in the clone still points at the original, so that checks there would test the original.
    pub tied_to_original: Option<String>,
}

/// Clones the dependency folders that git ignores from the user's work tree to `to`.
///
/// A folder that is already there in `to` is left alone. Returns an error if a file cannot be read or written; what
/// was begun is then removed.
pub fn clone_dependencies(repository: &Repository, to: &Path, budget: CloneBudget) -> Result<CloneReport> {
    let from = repository.root();
    let mut report = CloneReport {
        cloned: Vec::new(),
        bytes: 0,
        files: 0,
        method: CloneMethod::None,
        too_costly: None,
        tied_to_original: None,
    };
    let folders: Vec<PathBuf> = find(repository)?
        .into_iter()
        .filter(|path| to.join(path).symlink_metadata().is_err() && parent_is_folder(to, path))
        .collect();
    if folders.is_empty() {
        return Ok(report);
    }
    let share = can_share(from, &folders, to);
    for folder in &folders {
        let over = measure(&from.join(folder), &mut report, budget, share)?;
        if let Some(over) = over {
            report.too_costly = Some(format!("{}: {over}", folder.display()));
            (report.bytes, report.files) = (0, 0);
            return Ok(report);
        }
    }
    report.method = if share { CloneMethod::Reflink } else { CloneMethod::Copy };
    for folder in &folders {
        let (source, target) = (from.join(folder), to.join(folder));
        let mut copier = Copier { from, share, tied: None };
        if let Err(error) = copier.copy(&source, &target) {
            let _ = remove_folder(&target);
            return Err(error).with_context(|| format!("clone {}", source.display()));
        }
        report.tied_to_original = report.tied_to_original.or(copier.tied);
        report.cloned.push(folder.to_string_lossy().into_owned());
    }
    Ok(report)
}

/// Finds what is ignored and lies in, or is, a known folder; outermost only.
fn find(repository: &Repository) -> Result<BTreeSet<PathBuf>> {
    let index = TemporaryIndex::new(repository);
    repository.load_index(repository.root(), index.path(), &repository.head_now()?.tree)?;
    let args = ["ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory", "--", "."];
    let listing = repository.private(repository.root(), index.path(), &args, Vec::new())?;
    let mut found = BTreeSet::new();
    for record in listing.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let path = Path::new(OsStr::from_bytes(record.strip_suffix(b"/").unwrap_or(record)));
        let depth = path.components().count();
        let known = path.components().any(|part| KNOWN.iter().any(|known| part.as_os_str() == *known));
        // A file by such a name is something else (`.env` holds secrets); a link may stand for the folder.
        let folder = repository.root().join(path).symlink_metadata().is_ok_and(|meta| !meta.is_file());
        let inside = path
            .parent()
            .is_some_and(|parent| parent.components().any(|part| KNOWN.iter().any(|known| part.as_os_str() == *known)));
        if known && depth <= DEEPEST && (folder || inside) {
            found.insert(path.to_owned());
        }
    }
    Ok(found)
}

/// Says whether the folder that would hold `path` is there and real: one the seed does not have has no packages.
fn parent_is_folder(root: &Path, path: &Path) -> bool {
    let mut at = root.to_owned();
    let Some(parent) = path.parent() else { return false };
    parent.components().all(|part| {
        at.push(part);
        // Known folders with tracked files aside, parents inside a dependency folder are made on the way.
        at.symlink_metadata().map_or(true, |meta| meta.is_dir())
    }) && (at.is_dir() || parent.components().any(|part| KNOWN.iter().any(|known| part.as_os_str() == *known)))
}

/// Adds a folder to the report's sums; returns what is over the budget.
fn measure(path: &Path, report: &mut CloneReport, budget: CloneBudget, share: bool) -> Result<Option<String>> {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let meta = path.symlink_metadata().with_context(|| format!("read {}", path.display()))?;
        report.files += 1;
        if meta.is_file() {
            report.bytes += meta.len();
        } else if meta.is_dir() {
            for entry in std::fs::read_dir(&path).with_context(|| format!("list {}", path.display()))? {
                open.push(entry.with_context(|| format!("list {}", path.display()))?.path());
            }
        }
        if report.files > budget.max_files {
            return Ok(Some(format!("more than {} files", budget.max_files)));
        }
        if !share && report.bytes > budget.max_bytes {
            return Ok(Some(format!("more than {} bytes to copy", budget.max_bytes)));
        }
    }
    Ok(None)
}

/// Says whether a file of the first folder can share its storage with one in `to`.
fn can_share(from: &Path, folders: &[PathBuf], to: &Path) -> bool {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| from.join(folder)).collect();
    while let Some(path) = open.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_dir() {
            open.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if meta.is_file() && meta.len() > 0 {
            let Ok(probe) = tempfile::Builder::new().prefix(".cloop-probe-").tempdir_in(to) else { return false };
            return share_file(&path, &probe.path().join("probe")).is_ok();
        }
    }
    false
}

/// Makes `target` a file that shares its storage with `source`.
#[cfg(target_os = "linux")]
fn share_file(source: &Path, target: &Path) -> Result<()> {
    let from = File::open(source)?;
    let to = File::create_new(target)?;
    rustix::fs::ioctl_ficlone(&to, &from)?;
    Ok(())
}

/// Makes `target` a file that shares its storage with `source`.
#[cfg(target_os = "macos")]
fn share_file(source: &Path, target: &Path) -> Result<()> {
    let from = File::open(source)?;
    rustix::fs::fclonefileat(&from, rustix::fs::CWD, target, rustix::fs::CloneFlags::empty())?;
    Ok(())
}

/// Makes `target` a file that shares its storage with `source`.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn share_file(_source: &Path, _target: &Path) -> Result<()> {
    anyhow::bail!("this system shares no storage between files")
}

struct Copier<'a> {
    from: &'a Path,
    share: bool,
    tied: Option<String>,
}

impl Copier<'_> {
    fn tie(&mut self, path: &Path, how: &str) {
        if self.tied.is_none() {
            let path = path.strip_prefix(self.from).unwrap_or(path);
            self.tied = Some(format!("{} {how}", path.display()));
        }
    }

    fn copy(&mut self, source: &Path, target: &Path) -> Result<()> {
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        // Folders get their times and permissions last: filling them changes the first and needs the second.
        let mut folders = Vec::new();
        let mut open = vec![(source.to_owned(), target.to_owned())];
        while let Some((source, target)) = open.pop() {
            let meta = source.symlink_metadata().with_context(|| format!("read {}", source.display()))?;
            let kind = meta.file_type();
            if kind.is_symlink() {
                self.copy_link(&source, &target).with_context(|| format!("copy link {}", source.display()))?;
            } else if kind.is_dir() {
                std::fs::create_dir(&target).with_context(|| format!("make {}", target.display()))?;
                let listing = std::fs::read_dir(&source).with_context(|| format!("list {}", source.display()))?;
                for entry in listing {
                    let entry = entry.with_context(|| format!("list {}", source.display()))?;
                    open.push((entry.path(), target.join(entry.file_name())));
                }
                folders.push((target, meta));
            } else if kind.is_file() {
                self.copy_file(&source, &target, &meta).with_context(|| format!("copy {}", source.display()))?;
            }
            // Sockets, pipes and devices belong to a running process, not to a dependency.
        }
        for (target, meta) in folders.into_iter().rev() {
            finish(&File::open(&target)?, &meta).with_context(|| format!("set times of {}", target.display()))?;
        }
        Ok(())
    }

    fn copy_file(&mut self, source: &Path, target: &Path, meta: &std::fs::Metadata) -> Result<()> {
        let shared = self.share && share_file(source, target).is_ok();
        if !shared {
            let mut from = File::open(source)?;
            std::io::copy(&mut from, &mut File::create(target)?)?;
        }
        // Times through a handle opened for reading: the file may be read-only once its permissions are set.
        finish(&File::open(target)?, meta)?;
        if names_original(source, meta, self.from) {
            self.tie(source, "names the original folder");
        }
        Ok(())
    }

    /// Reproduces a link. One that leaves the root by `..` is made absolute, to mean the same from elsewhere.
    fn copy_link(&mut self, source: &Path, target: &Path) -> Result<()> {
        let value = std::fs::read_link(source)?;
        let parent = source.parent().unwrap_or(self.from);
        let meant = normal(&parent.join(&value));
        let inside = meant.starts_with(self.from);
        if value.is_absolute() {
            let resolved = value.canonicalize().unwrap_or_else(|_| meant.clone());
            if inside || resolved.starts_with(self.from) {
                self.tie(source, "links to the original folder");
            }
        }
        let value = if value.is_relative() && !inside { meant } else { value };
        std::os::unix::fs::symlink(value, target)?;
        Ok(())
    }
}

/// Gives a file or folder the times and permissions of the original.
fn finish(file: &File, meta: &std::fs::Metadata) -> Result<()> {
    file.set_times(FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?))?;
    file.set_permissions(std::fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    Ok(())
}

/// Takes `.` and `..` out of a path by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Says whether this is one of the files by which Python finds packages, and it leads into the original.
fn names_original(path: &Path, meta: &std::fs::Metadata, root: &Path) -> bool {
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let finder = name.starts_with("__editable__");
    let direct = name == "direct_url.json";
    let by_suffix = [".pth", ".egg-link"].iter().any(|suffix| name.ends_with(suffix));
    if !(finder || direct || by_suffix) || meta.len() > METADATA_LIMIT {
        return false;
    }
    let Ok(bytes) = std::fs::read(path) else { return false };
    let text = String::from_utf8_lossy(&bytes);
    if direct {
        // Without "editable" the package was copied when it was installed.
        return serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| {
            let editable = value["dir_info"]["editable"].as_bool() == Some(true);
            editable && value["url"].as_str().is_some_and(|url| mentions(&percent_decoded(url), root))
        });
    }
    mentions(&text, root)
}

/// Says whether the text holds the path as a whole or as the beginning of a longer one.
fn mentions(text: &str, root: &Path) -> bool {
    let root = root.to_string_lossy();
    text.match_indices(root.as_ref()).any(|(start, found)| {
        let next = text[start + found.len()..].chars().next();
        next.is_none_or(|next| !(next.is_alphanumeric() || matches!(next, '-' | '_' | '.')))
    })
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [high, low, after @ ..]) = (*first, tail) {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            if let (Some(high), Some(low)) = (digit(*high), digit(*low)) {
                out.push((high * 16 + low) as u8);
                rest = after;
                continue;
            }
        }
        out.push(*first);
    }
    String::from_utf8_lossy(&out).into_owned()
}
