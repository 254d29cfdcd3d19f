//! Work trees of our own.

use super::*;
use pretty_assertions::assert_eq;

#[test]
fn a_worktree_is_private_clean_locked_and_removable_in_any_state() {
    let fixture = Fixture::new();
    for name in ODD_NAMES {
        fixture.write(name, "odd\n");
    }
    fixture.write("run", "#!/bin/sh\n");
    fixture.chmod("run", 0o755);
    fixture.commit_all();
    let before = users(&fixture);
    let repository = fixture.repository();
    let cache = tempfile::tempdir().unwrap();
    let commit = &repository.head().commit;
    let worktree = Worktree::create(&repository, commit, cache.path(), "run-1").unwrap();
    let path = worktree.path().to_owned();
    assert!(path.ends_with("cloop/worktrees/run-1"));
    assert_eq!(git_in(&path, &["status", "--porcelain"]), "");
    assert_eq!(git_in(&path, &["rev-parse", "HEAD"]), *commit);
    assert_eq!(worktree.workspace().snapshot().unwrap(), repository.head().tree);
    fixture.git(&["worktree", "prune", "--expire=now"]);
    let listed = repository.own_worktrees().unwrap();
    let expected =
        OwnWorktree { run_id: "run-1".into(), path: path.clone(), head: Some(commit.clone()), present: true };
    assert_eq!(listed, [expected]);
    std::fs::write(path.join("run"), "changed by a check\n").unwrap();
    git_in(&path, &["update-index", "--assume-unchanged", "run"]);
    drop(worktree);

    let tree = &repository.head().tree;
    let opened = Worktree::open(&repository, cache.path(), "run-1", tree).unwrap().unwrap();
    assert_eq!(kinds(&opened.workspace().changed_since(tree).unwrap()), [("run", ChangedKind::Modified)]);
    std::fs::create_dir(path.join("hidden")).unwrap();
    git_in(&path.join("hidden"), &["init", "-q"]);
    assert_eq!(opened.workspace().reset_to(tree).unwrap(), Vec::<String>::new());
    assert_eq!(opened.workspace().changed_since(tree).unwrap(), []);
    assert!(!path.join("hidden").exists());

    // Half gone in three ways; each is repaired by making it again.
    std::fs::remove_dir_all(&path).unwrap();
    assert!(!repository.own_worktrees().unwrap()[0].present);
    let worktree = Worktree::create(&repository, commit, cache.path(), "run-1").unwrap();
    std::fs::remove_file(path.join(".git")).unwrap();
    assert!(Worktree::open(&repository, cache.path(), "run-1", tree).unwrap().is_none());
    drop(worktree);
    let worktree = Worktree::create(&repository, commit, cache.path(), "run-1").unwrap();
    std::fs::remove_dir_all(fixture.root.join(".git/worktrees/run-1")).unwrap();
    drop(worktree);
    let worktree = Worktree::create(&repository, commit, cache.path(), "run-1").unwrap();
    worktree.remove().unwrap();
    assert!(!path.exists());
    assert_eq!(repository.own_worktrees().unwrap(), []);
    assert_eq!(users(&fixture), before);
}

#[test]
fn a_worktree_is_never_made_inside_the_repository() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit_all();
    let repository = fixture.repository();
    let link = fixture.dir.path().join("link");
    symlink(&fixture.root, &link).unwrap();
    for cache in [fixture.root.join("cache"), fixture.root.join(".git"), link.join("cache")] {
        assert!(Worktree::create(&repository, "HEAD", &cache, "r").is_err(), "{}", cache.display());
        assert!(!fixture.root.join("a/cloop").exists());
    }
    for run_id in ["", "..", "a/b", "-x"] {
        assert!(Worktree::create(&repository, "HEAD", fixture.dir.path(), run_id).is_err(), "{run_id:?}");
    }
}

#[test]
fn the_users_other_worktrees_are_never_removed() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit_all();
    let away = fixture.dir.path().join("cloop/worktrees/mine");
    fixture.git(&["worktree", "add", "-q", "--detach", away.to_str().unwrap()]);
    std::fs::rename(&away, fixture.dir.path().join("unplugged")).unwrap();
    let repository = fixture.repository();
    let cache = tempfile::tempdir().unwrap();
    Worktree::create(&repository, "HEAD", cache.path(), "r").unwrap().remove().unwrap();
    assert!(fixture.root.join(".git/worktrees/mine/gitdir").exists());
}

#[test]
fn the_cache_folder_follows_the_two_variables() {
    let dir =
        |xdg: Option<&str>, home: Option<&str>| default_cache_dir(xdg.map(AsRef::as_ref), home.map(AsRef::as_ref));
    assert_eq!(dir(Some("/c"), Some("/h")).unwrap(), Path::new("/c"));
    assert!(dir(Some("relative"), Some("/h")).unwrap().starts_with("/h"));
    assert_eq!(dir(None, None), None);
}
