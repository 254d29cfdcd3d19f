//! What a question carries from the disk: files with line numbers, the difference, and what of it is secret.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Place;
use crate::error::Failure;
use crate::masking::env_pairs;
use crate::operations::Session;
use crate::review::{Excerpt, excerpt, numbered};
use crate::workspace::Workspace;

/// Most bytes of one file that are read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Most files of one question.
const MAX_FILES: usize = 100;

/// Opens a pipe at once, or not at all.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Where a difference begins.
pub(super) enum DiffBase {
    /// At what a name stands for.
    Commit(String),
    /// At this tree, the beginning of a turn.
    Tree(String),
}

impl DiffBase {
    /// An empty name stands for HEAD.
    pub(super) fn named(name: &str) -> Self {
        Self::Commit(if name.trim().is_empty() { "HEAD".to_owned() } else { name.trim().to_owned() })
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Material {
    pub(super) files: Vec<Excerpt>,
    pub(super) diff: Option<Excerpt>,
    /// Values of `.env` files among it.
    pub(super) secrets: Vec<String>,
}

impl Material {
    /// Reads it. Returns a usage error for a file that cannot be read and a base that is no commit.
    pub(super) fn read(
        session: &Session,
        place: &Place,
        files: &[PathBuf],
        base: Option<DiffBase>,
    ) -> anyhow::Result<Self> {
        if files.len() > MAX_FILES {
            return Err(Failure::usage(format!("{} files; {MAX_FILES} is the most", files.len()), "name fewer").into());
        }
        let mut material = Self::default();
        for path in files {
            let full = session.dir.join(path);
            let text = text_of(&full)
                .map_err(|cause| Failure::usage(format!("{}: {cause}", full.display()), "name a text file"))?;
            if is_env_file(path) {
                material.secrets.extend(env_pairs(&text).into_iter().map(|(_, value)| value));
            }
            material.files.push(excerpt(&path.display().to_string(), &numbered(&text)));
        }
        if let Some(base) = base {
            let Some(repository) = &place.repository else {
                return Err(Failure::usage(
                    "there is no git history here to take a difference from",
                    "leave --diff out, or work in a repository with a commit",
                )
                .into());
            };
            let turn = matches!(base, DiffBase::Tree(_));
            let (from, name) = match base {
                DiffBase::Tree(tree) => (tree, "what the turn changed".to_owned()),
                DiffBase::Commit(name) => {
                    let tree =
                        repository.resolve(&name).and_then(|commit| repository.tree_of(&commit)).map_err(|_| {
                            Failure::usage(
                                format!("{name} is no commit here"),
                                "name a branch, a tag or a commit; a question goes before --diff, or behind `--`",
                            )
                        })?;
                    (tree, format!("the difference from {name} to the work tree"))
                }
            };
            // Both sides are to hold the same kinds of files; the beginning of a turn was taken with the log.
            let to = if turn { Workspace::of_user(repository)?.snapshot()? } else { place.snapshot(repository)? };
            let diff = without_binaries(&String::from_utf8_lossy(&repository.diff(&from, &to)?));
            material.secrets.extend(env_lines(&diff));
            let mut shown = excerpt(&name, &diff);
            if diff.trim().is_empty() {
                "There is none: nothing has changed.".clone_into(&mut shown.text);
            }
            material.diff = Some(shown);
        }
        Ok(material)
    }
}

/// Returns a file of the project that a prompt names, or `None` where it is none.
pub(super) fn readable(dir: &Path, root: &Path, path: &str) -> Option<Excerpt> {
    let full = dir.join(path).canonicalize().ok()?;
    // To name a file of secrets is not to ask for it to be sent.
    if !full.starts_with(root) || !full.is_file() || is_env_file(&full) {
        return None;
    }
    let text = text_of(&full).ok()?;
    Some(excerpt(path, &numbered(&text)))
}

/// Returns the text of a regular file, or in words why there is none.
pub(super) fn text_of(path: &Path) -> Result<String, String> {
    // Without waiting: a pipe that nobody writes to would hold the review for ever.
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no file".into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("it is larger than 4 MiB".into());
    }
    String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".into())
}

fn is_env_file(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name == ".env" || name.starts_with(".env."))
}

/// Returns the values on the changed lines of `.env` files in a difference.
fn env_lines(diff: &str) -> Vec<String> {
    let mut inside = false;
    let mut values = Vec::new();
    for line in diff.lines() {
        if let Some(names) = line.strip_prefix("diff --git ") {
            inside = names.split(' ').any(|name| is_env_file(Path::new(name.trim_matches('"'))));
        } else if inside {
            let line = line.trim_start_matches(['+', '-', ' ']);
            values.extend(env_pairs(line).into_iter().map(|(_, value)| value));
        }
    }
    values
}

/// Leaves the coded contents of binary files out of a difference.
fn without_binaries(diff: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in diff.split_inclusive('\n') {
        if line.starts_with("diff --git ") {
            inside = false;
        }
        if line.starts_with("GIT binary patch") {
            inside = true;
            kept.push_str("(binary file)\n");
        }
        if !inside {
            kept.push_str(line);
        }
    }
    kept
}

/// Takes an older verdict away before a new one is asked for.
///
/// Returns a usage error, and leaves everything as it is, where no verdict could be written: a folder, a device, a
/// link, a folder that takes no file, or a file that the question is made of.
pub(super) fn remove_old_output(path: &Path, read: impl IntoIterator<Item = PathBuf>) -> anyhow::Result<()> {
    let refused = |why: String| {
        Failure::usage(
            format!("{} cannot take the verdict: {why}", path.display()),
            "name a file in a folder that exists",
        )
    };
    let there = match path.symlink_metadata() {
        Ok(meta) if !meta.is_file() => return Err(refused("it is no regular file".into()).into()),
        Ok(meta) => {
            let same = |other: std::fs::Metadata| (other.dev(), other.ino()) == (meta.dev(), meta.ino());
            if read.into_iter().any(|other| other.metadata().is_ok_and(same)) {
                return Err(refused("the question is made of it, and it would be lost".into()).into());
            }
            true
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(refused(error.to_string()).into()),
    };
    // Before anything is paid for.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder).map_err(|error| refused(error.to_string()))?;
    if there {
        std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// Appends a line as a whole.
pub(super) fn append_line(path: &Path, line: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(NONBLOCK)
        .open(path)
        .with_context(|| format!("open {}", path.display()))?;
    file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_prompt_names_is_read_inside_the_project_alone_and_no_file_of_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap().join("project");
        std::fs::create_dir(&root).unwrap();
        for (path, text) in [("project/a.txt", "one"), ("project/.env", "KEY=value"), ("outside.txt", "two")] {
            std::fs::write(folder.path().join(path), text).unwrap();
        }
        std::os::unix::fs::symlink("../outside.txt", root.join("link.txt")).unwrap();
        std::os::unix::fs::symlink(".env", root.join("settings.txt")).unwrap();
        assert!(readable(&root, &root, "a.txt").is_some());
        for path in [".env", "settings.txt", "link.txt", "../outside.txt", "nowhere"] {
            assert!(readable(&root, &root, path).is_none(), "{path}");
        }
    }

    #[test]
    fn binary_contents_are_left_out_of_a_difference() {
        let diff = "diff --git a/x b/x\nindex 1..2\nGIT binary patch\nliteral 3\nabc\n\ndiff --git a/y b/y\n+text\n";
        let expected = "diff --git a/x b/x\nindex 1..2\n(binary file)\ndiff --git a/y b/y\n+text\n";
        assert_eq!(without_binaries(diff), expected);
    }

    #[test]
    fn values_of_env_files_are_found_in_a_difference() {
        let diff =
            "diff --git a/.env b/.env\n@@ -1 +1 @@\n-STRIPE=old-value\n+STRIPE=new-value\ndiff --git a/x b/x\n+A=b\n";
        assert_eq!(env_lines(diff), ["old-value", "new-value"]);
        // As git writes a path that is not ASCII.
        let quoted = "diff --git \"a/\\303\\274/.env\" \"b/\\303\\274/.env\"\n+STRIPE=new-value\n";
        assert_eq!(env_lines(quoted), ["new-value"]);
    }
}
