//! Repositories that try to start commands.

use super::*;
use pretty_assertions::assert_eq;

/// Everything a repository can configure to start a command, each leaving a mark.
fn make_hostile(fixture: &Fixture, mark: &Path) {
    let script = fixture.dir.path().join("evil.sh");
    let body = format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", mark.display());
    std::fs::write(&script, body).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    for (key, value) in [
        ("filter.evil.clean", script),
        ("filter.evil.smudge", script),
        ("filter.evil.process", script),
        ("filter.evil.required", "true"),
        ("diff.evil.textconv", script),
        ("diff.evil.command", script),
        ("diff.external", script),
        ("merge.evil.driver", script),
        ("core.fsmonitor", script),
        ("core.pager", script),
        ("core.editor", script),
        ("core.sshCommand", script),
        ("core.alternateRefsCommand", script),
        ("gpg.program", script),
        ("commit.gpgSign", "true"),
        ("diff.submodule", "log"),
        ("submodule.recurse", "true"),
        ("alias.status", &format!("!{script}")),
    ] {
        fixture.git(&["config", key, value]);
    }
    let hooks = fixture.root.join(".git/hooks");
    for hook in
        ["post-checkout", "post-index-change", "reference-transaction", "pre-commit", "post-commit", "pre-auto-gc"]
    {
        std::fs::create_dir_all(&hooks).unwrap();
        std::fs::copy(script, hooks.join(hook)).unwrap();
    }
    fixture.write(".gitattributes", "* filter=evil diff=evil merge=evil\n");
}

#[test]
fn no_command_of_a_hostile_repository_ever_runs() {
    let fixture = Fixture::new();
    let sub = Fixture::new();
    sub.write("s", "s\n");
    sub.commit_all();
    fixture.write("a", "old\n");
    fixture.git(&["submodule", "--quiet", "add", sub.root.to_str().unwrap(), "sub"]);
    fixture.commit_all();
    let mark = fixture.dir.path().join("mark");
    make_hostile(&fixture, &mark);
    let script = fixture.dir.path().join("evil.sh");
    git_in(&fixture.root.join("sub"), &["config", "core.fsmonitor", script.to_str().unwrap()]);
    let _ = std::fs::remove_file(&mark);
    let before = users(&fixture);

    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    fixture.write("a", "changed\n");
    fixture.write("sub/s", "dirty\n");
    workspace.dirty_paths(10).unwrap();
    let seed = workspace.snapshot().unwrap();
    assert_eq!(repository.tree(&seed).unwrap().read("a").unwrap(), text("changed\n"));
    let wanted = change(&[("a", text("changed\n"), text("new\n")), ("b", None, text("b\n"))]);
    let result = repository.write_change(&seed, &wanted).unwrap();
    let diff = repository.diff(&seed, &result).unwrap();
    assert_eq!(repository.check_applies(&diff, &seed).unwrap(), Applies::Yes);
    let commit = repository.commit(&result, &[&repository.head().commit], "m").unwrap();
    repository.set_ref("refs/cloop/r/1", &commit, ExpectedRef::Missing).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let worktree = Worktree::create(&repository, &commit, cache.path(), "r").unwrap();
    assert_eq!(std::fs::read(worktree.path().join("b")).unwrap(), b"b\n");
    std::fs::write(worktree.path().join("b"), "x").unwrap();
    worktree.workspace().snapshot().unwrap();
    worktree.workspace().reset_to(&result).unwrap();
    clone_dependencies(&repository, worktree.path(), CloneBudget { max_bytes: 1, max_files: 1 }).unwrap();
    assert!(matches!(land(&workspace, &seed, &result).unwrap(), Landed::Written(_)));
    assert!(matches!(undo(&workspace, &seed, &result).unwrap(), Landed::Written(_)));
    repository.own_worktrees().unwrap();
    worktree.remove().unwrap();
    repository.delete_ref("refs/cloop/r/1").unwrap();
    assert_eq!(users(&fixture), before);
    assert!(!mark.exists(), "ran: {}", std::fs::read_to_string(&mark).unwrap_or_default());
    // The trap works: plain git steps into it.
    try_git_in(&fixture.root, &["add", "a"]);
    assert!(mark.exists());
}
