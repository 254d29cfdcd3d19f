//! Which paths a change may name at all. Owns the judgement of a path as text; never touches a disk.

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// Leaves the work tree, or is absolute.
    Outside,
    /// Inside git's own folder.
    GitInternal,
    /// Inside the loop's own folders.
    LoopState,
    /// Empty, too long, or with characters no careful tool takes.
    Unusable,
}

/// Returns what forbids `path` (relative to the work-tree root, `/` as separator), or `None` where nothing does.
pub fn fault(path: &str) -> Option<PathFault> {
    if path.is_empty() || path.len() > 4096 || path.chars().any(char::is_control) || path.contains('\\') {
        return Some(PathFault::Unusable);
    }
    if path.starts_with('/') {
        return Some(PathFault::Outside);
    }
    for (depth, part) in path.split('/').enumerate() {
        if matches!(part, "" | "." | "..") {
            return Some(PathFault::Outside);
        }
        if part.len() > 255 || (depth == 0 && part.starts_with('-')) {
            return Some(PathFault::Unusable);
        }
        if part.eq_ignore_ascii_case(".git") {
            return Some(PathFault::GitInternal);
        }
        if depth == 0 && part.eq_ignore_ascii_case(".loop") {
            return Some(PathFault::LoopState);
        }
    }
    None
}
