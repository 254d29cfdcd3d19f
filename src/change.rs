//! A change as whole files before and after: what patches rebuild to, what git reports, what guards judge.
//!
//! Pure data. Nothing here touches a disk, and nothing here knows where the change came from.

use std::collections::BTreeSet;

/// The kind and permission of a tree entry, as git records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileMode {
    /// `100644`.
    Regular,
    /// `100755`.
    Executable,
    /// `120000`; the content is the target path.
    Symlink,
    /// `160000`; the content is the commit id in hexadecimal.
    Submodule,
}

impl FileMode {
    /// Returns git's octal spelling, six digits.
    pub fn as_git(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Submodule => "160000",
        }
    }

    /// Reads git's octal spelling. `100664`, found in very old trees, counts as regular.
    pub fn from_git(text: &str) -> Option<Self> {
        match text {
            "100644" | "100664" => Some(Self::Regular),
            "100755" => Some(Self::Executable),
            "120000" => Some(Self::Symlink),
            "160000" => Some(Self::Submodule),
            _ => None,
        }
    }
}

/// One version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVersion {
    /// Kind and permission.
    pub mode: FileMode,
    /// The bytes as git stores them (no end-of-line conversion applied).
    pub content: Vec<u8>,
}

impl FileVersion {
    /// Returns a regular file with this text.
    pub fn regular(text: impl Into<Vec<u8>>) -> Self {
        Self { mode: FileMode::Regular, content: text.into() }
    }

    /// Returns the content as text, or `None` when it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.content).ok()
    }

    /// Says whether the content looks binary: a NUL in the first 8000 bytes, git's own rule.
    pub fn is_binary(&self) -> bool {
        self.content.iter().take(8000).any(|byte| *byte == 0)
    }
}

/// What happened to one path. `old` is `None` for a created file, `new` for a deleted one; a rename is a
/// deletion and a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Path relative to the work-tree root, `/` as separator.
    pub path: String,
    /// The version before, or `None` where there was no such file.
    pub old: Option<FileVersion>,
    /// The version after, or `None` where the file is gone.
    pub new: Option<FileVersion>,
}

impl FileChange {
    /// Returns the old text, or the empty string for a created or non-UTF-8 file.
    pub fn old_text(&self) -> &str {
        self.old.as_ref().and_then(FileVersion::text).unwrap_or_default()
    }

    /// Returns the new text, or the empty string for a deleted or non-UTF-8 file.
    pub fn new_text(&self) -> &str {
        self.new.as_ref().and_then(FileVersion::text).unwrap_or_default()
    }
}

/// A tree-to-tree change, one entry per path, sorted by path, no entry without effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The changed paths.
    pub files: Vec<FileChange>,
}

impl Change {
    /// Returns the change with its files sorted and those without effect left out.
    pub fn new(mut files: Vec<FileChange>) -> Self {
        files.retain(|file| file.old != file.new);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// Says whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the touched paths.
    pub fn paths(&self) -> BTreeSet<&str> {
        self.files.iter().map(|file| file.path.as_str()).collect()
    }
}

/// Read access to the tree a change is made against.
pub trait Tree {
    /// Returns the file at `path`, or `None` where the tree has none (a folder counts as none).
    ///
    /// Returns an error if the tree cannot be read.
    fn read(&self, path: &str) -> anyhow::Result<Option<FileVersion>>;

    /// Returns every path in the tree, sorted.
    fn paths(&self) -> &[String];
}

/// A tree held in memory: for tests, and for trees already read.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    files: std::collections::BTreeMap<String, FileVersion>,
    paths: Vec<String>,
}

impl MemoryTree {
    /// Returns a tree of these files.
    pub fn new(files: impl IntoIterator<Item = (String, FileVersion)>) -> Self {
        let files: std::collections::BTreeMap<_, _> = files.into_iter().collect();
        let paths = files.keys().cloned().collect();
        Self { files, paths }
    }
}

impl Tree for MemoryTree {
    fn read(&self, path: &str) -> anyhow::Result<Option<FileVersion>> {
        Ok(self.files.get(path).cloned())
    }

    fn paths(&self) -> &[String] {
        &self.paths
    }
}
