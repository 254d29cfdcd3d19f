//! Decides which file each section of a patch means and what it does to it, and refuses what no patch may do.
//!
//! Owns names, modes and the shape of the tree; the text of the files is for `locate`.

use super::names;
use super::parse::{Hunk, Patch, Section, Side};
use super::refusal::{Refusal, RefusalCode};
use crate::change::{FileMode, FileVersion, Tree};
use crate::paths;

/// What is done to a file.
#[derive(Debug)]
pub(super) enum Action {
    Modify { path: String, old: FileVersion },
    Create { path: String, mode: FileMode },
    Delete { path: String, old: FileVersion, quoted: bool },
    Rename { from: String, to: String, old: FileVersion },
}

impl Action {
    /// Returns every path that is touched.
    fn paths(&self) -> Vec<&str> {
        match self {
            Self::Modify { path, .. } | Self::Create { path, .. } | Self::Delete { path, .. } => vec![path],
            Self::Rename { from, to, .. } => vec![from, to],
        }
    }

    /// Returns the path that comes into being.
    fn created(&self) -> Option<&str> {
        match self {
            Self::Create { path, .. } | Self::Rename { to: path, .. } => Some(path),
            Self::Modify { .. } | Self::Delete { .. } => None,
        }
    }
}

/// One file of the patch, with the hunks that change anything, numbered from 1 as they stand in the patch.
#[derive(Debug)]
pub(super) struct Job<'p, 'a> {
    pub(super) action: Action,
    pub(super) hunks: Vec<(usize, &'p Hunk<'a>)>,
}

/// Resolves every section.
///
/// Returns a refusal if one of them names what must not be touched, or is not certain in what it means.
pub(super) fn resolve<'p, 'a>(patch: &'p Patch<'a>, tree: &dyn Tree) -> Result<Vec<Job<'p, 'a>>, Refusal> {
    let mut jobs: Vec<Job<'p, 'a>> = Vec::new();
    for section in &patch.sections {
        let Some(action) = (Resolver { section, tree }).action()? else { continue };
        let mut hunks: Vec<(usize, &Hunk<'a>)> = section
            .hunks
            .iter()
            .enumerate()
            .map(|(at, hunk)| (at + 1, hunk))
            .filter(|(_, hunk)| hunk.changes())
            .collect();
        once(&mut hunks);
        // Two plain sections for one file are one section whose header was repeated; anything else contradicts itself.
        if let Action::Modify { path, .. } = &action
            && let Some(job) = jobs.iter_mut().find(|job| job.action.paths().contains(&path.as_str()))
            && matches!(job.action, Action::Modify { .. })
        {
            let before = job.hunks.last().map_or(0, |(number, _)| *number);
            for (number, _) in &mut hunks {
                *number += before;
            }
            job.hunks.append(&mut hunks);
            once(&mut job.hunks);
            continue;
        }
        for path in action.paths() {
            if jobs.iter().any(|job| job.action.paths().contains(&path)) {
                return Err(does_not_apply(path, "two sections of the patch contradict each other about this path"));
            }
        }
        if let Some(path) = action.created() {
            for other in jobs.iter().filter_map(|job| job.action.created()) {
                beside(path, other)?;
            }
        }
        jobs.push(Job { action, hunks });
    }
    Ok(jobs)
}

/// Drops hunks typed twice, numbers and all.
fn once(hunks: &mut Vec<(usize, &Hunk<'_>)>) {
    let all = hunks.clone();
    let mut at = 0;
    hunks.retain(|(_, hunk)| {
        at += 1;
        hunk.old_start.is_none() || !all[..at - 1].iter().any(|(_, before)| before == hunk)
    });
}

/// Refuses two new paths that cannot stand side by side.
fn beside(path: &str, other: &str) -> Result<(), Refusal> {
    if path.to_lowercase() == other.to_lowercase() {
        return Err(protected(path, format!("it differs from {other} by letter case only")));
    }
    let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    if below(path, other) || below(other, path) {
        return Err(does_not_apply(path, "the patch makes it a file and a folder"));
    }
    Ok(())
}

struct Resolver<'p, 'a, 't> {
    section: &'p Section<'a>,
    tree: &'t dyn Tree,
}

/// The names of a section as typed; `None` where the header names no file on that side.
#[derive(Debug, Default)]
struct Names {
    old: Option<String>,
    new: Option<String>,
    /// The section says `/dev/null` on that side.
    no_old: bool,
    no_new: bool,
    /// The names carry no side prefix: both are spelled alike.
    unprefixed: bool,
    /// A `diff --git` line was read.
    git: bool,
}

impl Resolver<'_, '_, '_> {
    /// Returns what the section does, or `None` where its hunks change nothing.
    fn action(&self) -> Result<Option<Action>, Refusal> {
        let section = self.section;
        let names = self.names()?;
        let shown = names.new.as_deref().or(names.old.as_deref()).unwrap_or_default();
        if section.binary {
            return Err(protected(shown, "a binary patch cannot be applied"));
        }
        if section.copy {
            return Err(protected(shown, "a copy cannot be applied; write the new file out"));
        }
        self.modes(shown)?;
        if section.rename_from.is_some() || section.rename_to.is_some() {
            return self.rename().map(Some);
        }
        let creates = section.new_file_mode.is_some() || names.no_old;
        let deletes = section.deleted_mode.is_some() || names.no_new;
        if creates && deletes {
            return Err(does_not_apply(shown, "the patch says both that the file is new and that it is deleted"));
        }
        if section.hunks.is_empty()
            && !(section.verbatim && names.no_new)
            && section.new_file_mode.is_none()
            && section.deleted_mode.is_none()
        {
            return Err(does_not_apply(shown, "a file header without a hunk"));
        }
        if creates {
            let lost = |hunk: &Hunk<'_>| hunk.cut || !hunk.changes() && hunk.new_count != Some(0);
            if section.hunks.iter().any(lost) {
                return Err(does_not_apply(shown, "lines of a new file lack their plus signs"));
            }
            return self.create(&names).map(Some);
        }
        if !section.hunks.is_empty() && !section.hunks.iter().any(Hunk::changes) {
            return Ok(None);
        }
        if deletes { self.delete(&names).map(Some) } else { self.modify(&names).map(Some) }
    }

    /// Reads and checks the names: they must agree with each other, and none may be unsafe.
    fn names(&self) -> Result<Names, Refusal> {
        let section = self.section;
        let read = |rest: Option<&str>| match rest {
            None => Ok(None),
            Some(rest) => match names::read(rest) {
                Some(name) => Ok(Some(name)),
                None => Err(Refusal::of_fault(paths::PathFault::Unusable, rest)),
            },
        };
        let git = section.git.map(names::read_git);
        let (mut old, mut new) = (read(section.old)?, read(section.new)?);
        if matches!(git, Some(None)) && (old.is_none() || new.is_none()) {
            let fault = paths::PathFault::Unusable;
            return Err(Refusal::of_fault(fault, section.git.unwrap_or_default()));
        }
        let git = git.flatten();
        let is_null = |name: &Option<String>| name.as_deref().is_some_and(names::is_null);
        let (no_old, no_new) = (is_null(&old), is_null(&new));
        if let Some((git_old, git_new)) = &git {
            for (git, typed, null) in [(git_old, &mut old, no_old), (git_new, &mut new, no_new)] {
                match typed {
                    Some(name) if !null && name != git && names::bare(name) != names::bare(git) => {
                        return Err(protected(name, format!("the headers of one section disagree: {git} and {name}")));
                    }
                    Some(_) => {}
                    None if names::is_null(git) => {}
                    None => *typed = Some(git.clone()),
                }
            }
        }
        let old = old.filter(|name| !names::is_null(name));
        let new = new.filter(|name| !names::is_null(name));
        let renames = [read(section.rename_from)?, read(section.rename_to)?];
        for name in [&old, &new, &renames[0], &renames[1]].into_iter().flatten() {
            safe(name)?;
        }
        if let Some((git_old, git_new)) = &git {
            for name in [git_old, git_new].into_iter().filter(|name| !names::is_null(name)) {
                safe(name)?;
            }
            for (renamed, git) in renames.iter().zip([git_old, git_new]) {
                if let Some(name) = renamed
                    && names::bare(git) != name
                    && git != name
                {
                    return Err(protected(name, format!("the headers of one section disagree: {git} and {name}")));
                }
            }
        }
        let unprefixed = match &git {
            Some((old, new)) => old == new,
            None => section.verbatim || old.is_some() && old == new,
        };
        Ok(Names { old, new, no_old, no_new, unprefixed, git: git.is_some() })
    }

    /// Refuses links, submodules, odd permission bits and changes of mode.
    fn modes(&self, shown: &str) -> Result<(), Refusal> {
        let section = self.section;
        let stated = [section.old_mode, section.new_mode, section.new_file_mode, section.deleted_mode];
        let index = section.index_mode.filter(|mode| matches!(*mode, "120000" | "160000"));
        for mode in stated.into_iter().flatten().chain(index) {
            match FileMode::from_git(mode) {
                Some(FileMode::Regular | FileMode::Executable) => {}
                Some(FileMode::Symlink) => {
                    return Err(Refusal::of_path(
                        RefusalCode::OutsideRepo,
                        shown,
                        "a patch may not touch symbolic links",
                    ));
                }
                Some(FileMode::Submodule) => return Err(protected(shown, "a patch may not touch submodules")),
                None => return Err(protected(shown, "the mode is none that git gives to a file")),
            }
        }
        if section.old_mode != section.new_mode {
            return Err(protected(shown, "a patch may not change the mode of a file"));
        }
        Ok(())
    }

    fn rename(&self) -> Result<Action, Refusal> {
        let name = |rest: Option<&str>| rest.and_then(names::read);
        let (Some(from), Some(to)) = (name(self.section.rename_from), name(self.section.rename_to)) else {
            return Err(Refusal::new(RefusalCode::DoesNotApply, "a rename names only one side".to_owned()));
        };
        self.parents(&from)?;
        let Some(old) = self.read(&from)? else { return Err(self.unknown(&from)) };
        self.plain(&from, &old)?;
        if self.tree.paths().binary_search_by(|path| path.as_str().cmp(to.as_str())).is_ok() {
            return Err(protected(&to, "the rename would overwrite an existing file"));
        }
        self.room(&to)?;
        Ok(Action::Rename { from, to, old })
    }

    fn create(&self, names: &Names) -> Result<Action, Refusal> {
        let Some(name) = names.new.as_ref().or(names.old.as_ref()) else {
            return Err(Refusal::new(RefusalCode::DoesNotApply, "a new file without a name".to_owned()));
        };
        let path = if names.unprefixed { name.as_str() } else { names::bare(name) };
        // Without a git line a first folder called like a prefix can be meant either way.
        if path != name && !names.git && names.old.is_none() && self.folder(&name[..1]) {
            return Err(does_not_apply(
                name,
                "the first part may be a prefix or a folder; a diff --git line would tell",
            ));
        }
        self.parents(path)?;
        if self.read(path)?.is_some() {
            return Err(does_not_apply(path, "the patch says the file is new, but it exists"));
        }
        self.room(path)?;
        let mode = self.section.new_file_mode.and_then(FileMode::from_git).unwrap_or(FileMode::Regular);
        Ok(Action::Create { path: path.to_owned(), mode })
    }

    fn delete(&self, names: &Names) -> Result<Action, Refusal> {
        let Some(name) = names.old.as_ref().or(names.new.as_ref()) else {
            return Err(Refusal::new(RefusalCode::DoesNotApply, "a deleted file without a name".to_owned()));
        };
        for path in candidates(name, names.unprefixed) {
            self.parents(path)?;
            if let Some(old) = self.read(path)? {
                self.plain(path, &old)?;
                return Ok(Action::Delete { path: path.to_owned(), old, quoted: !self.section.verbatim });
            }
        }
        Err(self.unknown(names::bare(name)))
    }

    fn modify(&self, names: &Names) -> Result<Action, Refusal> {
        let (Some(old), Some(new)) =
            (names.old.as_deref().or(names.new.as_deref()), names.new.as_deref().or(names.old.as_deref()))
        else {
            return Err(Refusal::new(RefusalCode::DoesNotApply, "a hunk without the name of a file".to_owned()));
        };
        let path = if old == new || names::bare(old) == names::bare(new) {
            candidates(new, names.unprefixed).into_iter().find(|path| self.known(path))
        } else {
            self.one_of(old, new)?
        };
        let path = if let Some(path) = path {
            path.to_owned()
        } else {
            let path = if names.unprefixed { new } else { names::bare(new) };
            self.parents(path)?;
            if self.looks_new() {
                return self.create(names);
            }
            self.by_suffix(path)?
        };
        self.parents(&path)?;
        let Some(version) = self.read(&path)? else { return Err(self.unknown(&path)) };
        self.plain(&path, &version)?;
        Ok(Action::Modify { path, old: version })
    }

    /// Finds the one file meant by two names that differ: by a backup suffix, or by their first folder only.
    fn one_of<'n>(&self, old: &'n str, new: &'n str) -> Result<Option<&'n str>, Refusal> {
        let (old, new) = (names::bare(old), names::bare(new));
        let backup = [".orig", ".old", ".bak", "~"].iter().any(|suffix| old.strip_suffix(suffix) == Some(new));
        if backup && self.known(new) && !self.known(old) {
            return Ok(Some(new));
        }
        if let (Some((_, a)), Some((_, b))) = (old.split_once('/'), new.split_once('/'))
            && a == b
            && self.known(a)
            && !self.known(old)
            && !self.known(new)
        {
            return Ok(Some(a));
        }
        Err(protected(
            new,
            format!("the --- and +++ lines name different files, {old} and {new}, without a rename header"),
        ))
    }

    /// Says whether the hunks can only be the text of a new file.
    fn looks_new(&self) -> bool {
        let hunks = &self.section.hunks;
        hunks.len() == 1
            && matches!(hunks[0].old_start, None | Some(0))
            && hunks[0].lines.iter().all(|line| line.side == Side::Add || line.raw_blank)
    }

    /// Finds the only file whose path ends with this one: leading folders were left out.
    fn by_suffix(&self, path: &str) -> Result<String, Refusal> {
        let tail = format!("/{path}");
        let mut found = self.tree.paths().iter().filter(|known| known.ends_with(&tail));
        match (found.next(), found.next()) {
            (Some(one), None) => safe(one).map(|()| one.clone()),
            (None, _) => Err(self.unknown(path)),
            (Some(a), Some(b)) => {
                Err(does_not_apply(path, format!("unknown path; several files end like it, such as {a} and {b}")))
            }
        }
    }

    /// Returns the refusal of a path that the tree does not have, naming files called alike.
    fn unknown(&self, path: &str) -> Refusal {
        let name = path.rsplit('/').next().unwrap_or(path);
        let alike: Vec<&str> = (self.tree.paths().iter().map(String::as_str))
            .filter(|known| known.rsplit('/').next() == Some(name))
            .take(3)
            .collect();
        let hint = if alike.is_empty() { String::new() } else { format!("; files of that name: {}", alike.join(", ")) };
        does_not_apply(path, format!("unknown path: the repository has no such file{hint}"))
    }

    fn known(&self, path: &str) -> bool {
        self.tree.paths().binary_search_by(|known| known.as_str().cmp(path)).is_ok()
    }

    /// Says whether the tree has anything below this path.
    fn folder(&self, path: &str) -> bool {
        let start = format!("{path}/");
        let at = self.tree.paths().partition_point(|known| known.as_str() < start.as_str());
        self.tree.paths().get(at).is_some_and(|known| known.starts_with(&start))
    }

    fn read(&self, path: &str) -> Result<Option<FileVersion>, Refusal> {
        self.tree.read(path).map_err(|error| does_not_apply(path, format!("cannot read the file: {error:#}")))
    }

    /// Refuses a path that leads through something that is no folder.
    fn parents(&self, path: &str) -> Result<(), Refusal> {
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            if !self.known(parent) {
                continue;
            }
            return Err(match self.read(parent)?.map(|version| version.mode) {
                Some(FileMode::Symlink) => {
                    Refusal::of_path(RefusalCode::OutsideRepo, path, format!("the path goes through the link {parent}"))
                }
                Some(FileMode::Submodule) => protected(path, format!("the path goes into the submodule {parent}")),
                _ => does_not_apply(path, format!("{parent} is a file, not a folder")),
            });
        }
        Ok(())
    }

    /// Refuses what is no plain file.
    fn plain(&self, path: &str, version: &FileVersion) -> Result<(), Refusal> {
        match version.mode {
            FileMode::Symlink => Err(Refusal::of_path(
                RefusalCode::OutsideRepo,
                path,
                "the file is a symbolic link; patch the real file",
            )),
            FileMode::Submodule => Err(protected(path, "a patch may not touch submodules")),
            FileMode::Regular | FileMode::Executable if self.section.hunks.is_empty() => Ok(()),
            _ if version.is_binary() => Err(protected(path, "the file is binary")),
            _ if version.text().is_none() => Err(does_not_apply(path, "the file is not UTF-8 text")),
            _ => Ok(()),
        }
    }

    /// Refuses a new path where a folder stands, or whose spelling differs from an existing one by case only.
    fn room(&self, path: &str) -> Result<(), Refusal> {
        self.parents(path)?;
        if self.folder(path) {
            return Err(does_not_apply(path, "a folder stands where the patch wants a file"));
        }
        for known in self.tree.paths() {
            let mut len = 0;
            for (mine, theirs) in path.split('/').zip(known.split('/')) {
                len += mine.len();
                if mine != theirs {
                    let twin = mine.to_lowercase() == theirs.to_lowercase();
                    // Where the tree already holds the folder as spelled, it lives with its twin.
                    if twin && !self.folder(&path[..len]) {
                        return Err(protected(path, format!("it differs from {known} by letter case only")));
                    }
                    break;
                }
                len += 1;
            }
        }
        Ok(())
    }
}

/// Returns the paths a name can mean, likeliest first.
fn candidates(name: &str, unprefixed: bool) -> Vec<&str> {
    let bare = names::bare(name);
    if bare == name {
        vec![name]
    } else if unprefixed {
        vec![name, bare]
    } else {
        vec![bare, name]
    }
}

/// Refuses an unsafe name, with and without its side prefix.
fn safe(name: &str) -> Result<(), Refusal> {
    for form in [names::bare(name), name] {
        if let Some(fault) = paths::fault(form) {
            return Err(Refusal::of_fault(fault, form));
        }
    }
    Ok(())
}

fn protected(path: &str, cause: impl Into<String>) -> Refusal {
    Refusal::of_path(RefusalCode::ProtectedPath, path, cause)
}

fn does_not_apply(path: &str, cause: impl Into<String>) -> Refusal {
    Refusal::of_path(RefusalCode::DoesNotApply, path, cause)
}
