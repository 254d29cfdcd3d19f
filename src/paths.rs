//! Path safety: says which repository paths nothing from outside may name.
//!
//! Owns the rules about the text of a path, and nothing else: it never looks at a disk or a tree, so a symbolic link
//! on the way is for the caller to see.

/// Longest file name most file systems take, in bytes.
const MAX_COMPONENT_BYTES: usize = 255;
/// Longest path accepted, in bytes; well below the 4096 of Linux, so that a work-tree prefix still fits.
const MAX_PATH_BYTES: usize = 1024;
/// Deepest path accepted, in components; real trees stay below 30, and tools recurse per folder.
const MAX_DEPTH: usize = 64;

/// Why a path must not be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathFault {
    /// It leaves the work tree, or could be read as leaving it.
    Outside,
    /// It is part of git's own data, or of the files that steer git.
    GitInternal,
    /// It is part of the loop's own state or audit trail.
    LoopState,
    /// No portable file can have this name: control characters, invisible characters, or too long.
    Unusable,
}

impl PathFault {
    /// Returns the reason as the end of a sentence that begins with the path.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Outside => "leaves the repository or could be read as leaving it",
            Self::GitInternal => "belongs to git itself or steers it",
            Self::LoopState => "belongs to the state of the loop",
            Self::Unusable => "is not a usable file name (control or invisible characters, or too long)",
        }
    }
}

/// Returns what is wrong with a path relative to the work-tree root, or `None` where it is safe to name.
///
/// The check is the same on every platform: a path that only Windows or macOS would fold into `.git` is refused on
/// Linux too, because the repository may be cloned there.
pub fn fault(path: &str) -> Option<PathFault> {
    if leaves(path) {
        return Some(PathFault::Outside);
    }
    let folded: Vec<String> = path.split('/').map(fold).collect();
    if folded.iter().any(|part| is_git(part)) {
        return Some(PathFault::GitInternal);
    }
    let audit = folded.len() > 1 && folded[0] == "reviews" && folded[1] == "autonomous";
    if audit || folded.iter().any(|part| part == ".loop" || part == "loop~1") {
        return Some(PathFault::LoopState);
    }
    unusable(path).then_some(PathFault::Unusable)
}

/// Says whether the path is absolute, climbs, names a home, a drive or an option, or uses the other separator.
fn leaves(path: &str) -> bool {
    let bytes = path.as_bytes();
    let drive = bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    drive
        || path.starts_with('~')
        || path.starts_with('-')
        || path.contains('\\')
        || path.split('/').any(|part| matches!(fold_ignorable(part).as_str(), "" | "." | ".."))
}

/// Says whether a folded component is git's folder (also by its short name) or a file that steers git.
fn is_git(part: &str) -> bool {
    matches!(part, ".git" | "git~1" | ".gitmodules" | ".gitattributes")
}

/// Says whether no portable file can carry the name.
fn unusable(path: &str) -> bool {
    path.len() > MAX_PATH_BYTES
        || path.split('/').count() > MAX_DEPTH
        || path.split('/').any(|part| part.len() > MAX_COMPONENT_BYTES)
        || path.chars().any(|c| c.is_control() || is_ignorable(c))
}

/// Reduces a component to what lenient file systems see: no ignorable characters, no case, no stream name after a
/// colon, no trailing dots and spaces.
fn fold(part: &str) -> String {
    let plain = fold_ignorable(part).to_lowercase();
    let plain = plain.split(':').next().unwrap_or_default();
    plain.trim_end_matches(['.', ' ']).to_owned()
}

/// Drops the characters that HFS+ ignores when it compares names.
fn fold_ignorable(part: &str) -> String {
    part.chars().filter(|c| !is_ignorable(*c)).collect()
}

/// Says whether a character is invisible in a name: joiners, direction marks, the byte-order mark.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_have_no_fault() {
        for path in [
            "src/lib.rs",
            "a b/ü.txt",
            ".gitignore",
            ".github/workflows/ci.yml",
            "x..y",
            "...",
            "git/x",
            "loop/x",
            "reviews/x",
            "ab:c",
            ".env",
        ] {
            assert_eq!(fault(path), None, "{path}");
        }
    }

    #[test]
    fn paths_that_leave_the_tree_are_outside() {
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/..",
            "./a",
            "a/./b",
            "a//b",
            "a/",
            "~/.profile",
            "~root",
            "C:/x",
            "c:x",
            "a\\b",
            "..\\x",
            "-rf",
            "--option",
            ".\u{200c}./x",
        ] {
            assert_eq!(fault(path), Some(PathFault::Outside), "{path:?}");
        }
    }

    #[test]
    fn every_spelling_of_the_git_folder_is_internal() {
        for path in [
            ".git/config",
            ".GIT/x",
            "sub/.git",
            ".git./x",
            ".git /x",
            ".git. . /x",
            "git~1/x",
            "GIT~1",
            ".g\u{200c}it/x",
            ".git::$INDEX_ALLOCATION/x",
            ".gitmodules",
            ".gitattributes",
            "sub/.GitAttributes",
        ] {
            assert_eq!(fault(path), Some(PathFault::GitInternal), "{path:?}");
        }
    }

    #[test]
    fn the_state_of_the_loop_is_its_own_in_any_case() {
        for path in [".loop/loop-state.json", ".Loop/x", ".LOOP", "reviews/autonomous/1.md", "Reviews/Autonomous/x"] {
            assert_eq!(fault(path), Some(PathFault::LoopState), "{path}");
        }
    }

    #[test]
    fn names_no_file_system_carries_are_unusable() {
        let long = "n".repeat(300);
        let deep = format!("{}x", "d/".repeat(400));
        for path in ["a\nb", "a\0b", "a\u{1b}[2J", "a\u{202e}b", long.as_str(), deep.as_str()] {
            assert_eq!(fault(path), Some(PathFault::Unusable), "{path:?}");
        }
    }
}
