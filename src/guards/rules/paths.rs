//! Where a change may reach at all: paths, kinds of entries, protected places, the user's own limits.

use std::collections::BTreeMap;

use super::super::view::Scene;
use super::super::{Code, Report, glob_set};
use crate::change::{FileChange, FileMode};
use crate::paths::{PathFault, fault};

/// Names that steer git, hosts of the loop or its agents, wherever they stand.
const PROTECTED_NAMES: [&str; 12] = [
    ".gitmodules",
    ".gitattributes",
    "AGENTS.md",
    "AGENTS.override.md",
    "CLAUDE.md",
    "CLAUDE.local.md",
    ".cloop.toml",
    ".mcp.json",
    ".cursorrules",
    ".gitlab-ci.yml",
    "Jenkinsfile",
    "azure-pipelines.yml",
];
/// Folders that steer agents or continuous integration, wherever they stand.
const PROTECTED_DIRS: [&str; 10] = [
    ".codex",
    ".claude",
    ".github",
    ".gitlab",
    ".circleci",
    ".buildkite",
    ".azure-pipelines",
    ".woodpecker",
    ".drone",
    ".cursor",
];
const PROTECTED_STARTS: [&str; 6] =
    [".travis.", "appveyor.", ".appveyor.", ".drone.", "bitbucket-pipelines.", "azure-pipelines"];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    let protect = glob_set(scene.context.protect.iter().map(String::as_str));
    let scope = glob_set(scene.context.scope.iter().map(String::as_str));
    let twins = folded_paths(scene);
    for file in &scene.change.files {
        let path = file.path.as_str();
        match fault(path) {
            Some(PathFault::Outside) => report.refuse(Code::OutsideRepo, path, None, "the path leaves the repository"),
            Some(PathFault::Unusable) => report.refuse(Code::OutsideRepo, path, None, "the path cannot be used safely"),
            Some(PathFault::GitInternal) => report.refuse(Code::ProtectedPath, path, None, "the path is git's own"),
            Some(PathFault::LoopState) => {
                report.refuse(Code::TouchesLoopState, path, None, "the path belongs to the loop's own state");
            }
            None => {}
        }
        if is_protected(path) {
            report.refuse(Code::ProtectedPath, path, None, "the path steers git, continuous integration or an agent");
        }
        if protect.is_match(path) {
            report.refuse(Code::ProtectedPath, path, None, "the path is protected by the plan");
        }
        if !scope.is_empty() && !scope.is_match(path) {
            report.refuse(Code::OutOfScope, path, None, "the path is outside the scope of the plan");
        }
        entry_kind(file, report);
        surroundings(scene, file, &twins, report);
    }
}

fn is_protected(path: &str) -> bool {
    let mut parts = path.split('/').rev();
    let name = parts.next().unwrap_or_default();
    let is = |list: &[&str], text: &str| list.iter().any(|one| one.eq_ignore_ascii_case(text));
    is(&PROTECTED_NAMES, name)
        || PROTECTED_STARTS.iter().any(|start| name.to_ascii_lowercase().starts_with(start))
        || is(&PROTECTED_DIRS, name)
        || parts.any(|folder| is(&PROTECTED_DIRS, folder))
}

fn entry_kind(file: &FileChange, report: &mut Report) {
    let path = file.path.as_str();
    let modes = [file.old.as_ref().map(|v| v.mode), file.new.as_ref().map(|v| v.mode)];
    if modes.contains(&Some(FileMode::Submodule)) {
        report.refuse(Code::ProtectedPath, path, None, "a submodule changes");
    }
    if modes.contains(&Some(FileMode::Symlink)) {
        let target = file.new.as_ref().filter(|v| v.mode == FileMode::Symlink).and_then(|v| v.text());
        if target.is_some_and(|target| leaves(path, target)) {
            report.refuse(Code::OutsideRepo, path, None, "a symbolic link points out of the repository");
        }
        if modes[0] == Some(FileMode::Symlink) && modes[1].is_some() {
            report.refuse(Code::OutsideRepo, path, None, "an existing symbolic link is written");
        }
        report.refuse(Code::ProtectedPath, path, None, "a symbolic link is created, changed or removed");
    } else if let [Some(old), Some(new)] = modes
        && old != new
    {
        report.refuse(
            Code::ProtectedPath,
            path,
            None,
            format!("the mode changes from {} to {}", old.as_git(), new.as_git()),
        );
    } else if modes == [None, Some(FileMode::Executable)] {
        report.flag(Code::ProtectedPath, path, None, "a new file is executable");
    }
}

/// Says whether a link at `path` to `target` leads out of the work tree.
fn leaves(path: &str, target: &str) -> bool {
    if target.starts_with('/') || target.contains('\\') || target.contains(':') {
        return true;
    }
    let mut depth = i64::try_from(path.matches('/').count()).unwrap_or(0);
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

/// Paths of the tree by their folded spelling: on many disks those are the same file.
fn folded_paths(scene: &Scene<'_>) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let created = scene.change.files.iter().filter(|f| f.old.is_none()).map(|f| &f.path);
    for path in scene.context.tree.paths().iter().chain(created) {
        out.entry(path.to_lowercase()).or_default().push(path.clone());
        let mut end = path.len();
        while let Some(cut) = path[..end].rfind('/') {
            let folder = &path[..cut];
            let spellings = out.entry(folder.to_lowercase()).or_default();
            if !spellings.iter().any(|known| known == folder) {
                spellings.push(folder.to_string());
            }
            end = cut;
        }
    }
    out
}

/// Looks at what already stands at the path, above it and below it.
fn surroundings(scene: &Scene<'_>, file: &FileChange, twins: &BTreeMap<String, Vec<String>>, report: &mut Report) {
    let path = file.path.as_str();
    let tree = scene.context.tree;
    let mut end = path.len();
    loop {
        let part = &path[..end];
        if file.old.is_none() && twins.get(&part.to_lowercase()).is_some_and(|all| all.iter().any(|one| one != part)) {
            report.refuse(Code::ProtectedPath, path, None, "another path differs only by letter case");
            break;
        }
        let Some(cut) = part.rfind('/') else { break };
        end = cut;
    }
    for (cut, _) in path.match_indices('/') {
        match tree.read(&path[..cut]) {
            Ok(Some(above)) if above.mode == FileMode::Symlink => {
                report.refuse(Code::OutsideRepo, path, None, "the path goes through a symbolic link");
            }
            Ok(Some(above)) if above.mode == FileMode::Submodule => {
                report.refuse(Code::ProtectedPath, path, None, "the path goes into a submodule");
            }
            Ok(Some(_)) if !scene.change.files.iter().any(|f| f.path == path[..cut] && f.new.is_none()) => {
                report.refuse(Code::DoesNotApply, path, None, "a file stands where the path needs a folder");
            }
            _ => {}
        }
    }
    if file.old.is_none() && file.new.is_some() {
        let below = format!("{path}/");
        if tree.paths().iter().any(|known| known.starts_with(&below)) {
            report.refuse(Code::DoesNotApply, path, None, "a folder stands where the file should go");
        }
    }
    if scene.change.files.iter().filter(|other| other.path == path).count() > 1 {
        report.refuse(Code::DoesNotApply, path, None, "the change names the path twice");
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Context, judge};
    use super::super::testing::{codes, codes_new};
    use super::*;
    use crate::change::{Change, FileVersion, MemoryTree};

    #[test]
    fn protected_places_are_refused_in_any_spelling() {
        for path in [
            ".github/workflows/ci.yml",
            "AGENTS.md",
            "sub/CLAUDE.md",
            ".codex/config.toml",
            ".claude/settings.json",
            ".gitmodules",
            "a/.gitattributes",
            ".GitHub/x.yml",
            "agents.md",
            ".travis.yml",
        ] {
            assert_eq!(codes_new(path, "x\n"), ["protected-path"], "{path}");
        }
        assert_eq!(codes_new(".loop/loop-state.json", "{}"), ["touches-loop-state"]);
        assert_eq!(codes_new("../x", "x"), ["outside-repo"]);
        assert!(codes("docs/agents-guide.md", "a\n", "b\n").is_empty());
    }

    #[test]
    fn kinds_of_entries_do_not_change() {
        let version = |mode, text: &str| Some(FileVersion { mode, content: text.into() });
        let judged = |old, new| {
            let tree = MemoryTree::new([("src/a".to_string(), FileVersion::regular("a"))]);
            let change = Change::new(vec![FileChange { path: "src/b".into(), old, new }]);
            let context = Context {
                tree: &tree,
                seed: &tree,
                commands: &[],
                allow_change: &[],
                protect: &["*.lock".to_string()],
                scope: &["src".to_string()],
                max_lines: 10,
                goal_adds_tests: false,
                earlier: &[],
            };
            judge(&change, &context).refusals.into_iter().map(|f| f.code).collect::<Vec<_>>()
        };
        assert_eq!(judged(None, version(FileMode::Symlink, "../../etc")), [Code::OutsideRepo, Code::ProtectedPath]);
        assert_eq!(judged(None, version(FileMode::Symlink, "a")), [Code::ProtectedPath]);
        assert_eq!(judged(None, version(FileMode::Submodule, "1234")), [Code::ProtectedPath]);
        assert_eq!(judged(version(FileMode::Regular, "x"), version(FileMode::Executable, "x")), [Code::ProtectedPath]);
        assert_eq!(judged(None, version(FileMode::Executable, "x")), []);
    }

    #[test]
    fn twins_and_collisions_are_refused() {
        use super::super::testing::{judged_in, unique};
        let tree = [("README.md", "a"), ("src/app.py", "b")];
        assert_eq!(unique(&judged_in(&[("readme.MD", None, Some("x"))], &tree, &[], &[])), ["protected-path"]);
        assert_eq!(unique(&judged_in(&[("Src/new.py", None, Some("x"))], &tree, &[], &[])), ["protected-path"]);
        assert_eq!(unique(&judged_in(&[("src", None, Some("x"))], &tree, &[], &[])), ["does-not-apply"]);
        assert_eq!(unique(&judged_in(&[("README.md/x", None, Some("x"))], &tree, &[], &[])), ["does-not-apply"]);
    }
}
