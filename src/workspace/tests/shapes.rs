//! Submodules, linked work trees, other object formats.

use super::*;
use pretty_assertions::assert_eq;

#[test]
fn submodules_are_recorded_and_left_alone() {
    let fixture = Fixture::new();
    let sub = Fixture::new();
    sub.write("s", "s\n");
    sub.commit_all();
    fixture.write("a", "old\n");
    fixture.git(&["submodule", "--quiet", "add", sub.root.to_str().unwrap(), "sub"]);
    fixture.commit_all();
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = workspace.snapshot().unwrap();
    assert_eq!(seed, repository.head().tree);
    let recorded = repository.tree(&seed).unwrap().read("sub").unwrap().unwrap();
    assert_eq!((recorded.mode, recorded.text()), (FileMode::Submodule, Some(sub.git(&["rev-parse", "HEAD"]).as_str())));
    let cache = tempfile::tempdir().unwrap();
    let worktree = Worktree::create(&repository, &repository.head().commit, cache.path(), "r").unwrap();
    assert_eq!(worktree.workspace().snapshot().unwrap(), seed);
    assert_eq!(worktree.workspace().changed_since(&seed).unwrap(), []);

    git_in(&fixture.root.join("sub"), &["commit", "-q", "--allow-empty", "-m", "moved"]);
    let moved = workspace.snapshot().unwrap();
    assert_eq!(kinds(&workspace.changed_since(&seed).unwrap()), [("sub", ChangedKind::Modified)]);
    assert!(workspace.materialise(&moved, &seed).is_err());
    let changed = workspace.changed_since(&seed).unwrap();
    assert_eq!(workspace.restore_paths(&changed, &seed).unwrap(), ["sub"]);
    let result = repository.write_change(&moved, &change(&[("a", text("old\n"), text("new\n"))])).unwrap();
    assert_eq!(land(&workspace, &moved, &result).unwrap(), Landed::Written(vec!["a".to_owned()]));
}

#[test]
fn a_linked_worktree_with_a_detached_head_works_like_any_other() {
    let fixture = Fixture::new();
    fixture.write("a", "old\n");
    fixture.commit_all();
    let linked = fixture.dir.path().join("linked");
    fixture.git(&["worktree", "add", "-q", "--detach", linked.to_str().unwrap()]);
    let before = users(&fixture);
    let own = contents(&fixture.root.join(".git/worktrees/linked"), &[]);
    let repository = Repository::discover(&linked).unwrap();
    assert_eq!(repository.common_dir(), fixture.root.join(".git"));
    assert_eq!(repository.git_dir(), fixture.root.join(".git/worktrees/linked"));
    assert_eq!(repository.head().branch, None);
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = workspace.snapshot().unwrap();
    let result = repository.write_change(&seed, &change(&[("a", text("old\n"), text("new\n"))])).unwrap();
    let commit = repository.commit(&result, &[&repository.head().commit], "m").unwrap();
    let cache = tempfile::tempdir().unwrap();
    let worktree = Worktree::create(&repository, &commit, cache.path(), "r").unwrap();
    assert!(matches!(land(&workspace, &seed, &result).unwrap(), Landed::Written(_)));
    assert_eq!(std::fs::read(linked.join("a")).unwrap(), b"new\n");
    worktree.remove().unwrap();
    assert_eq!(users(&fixture), before);
    assert_eq!(contents(&fixture.root.join(".git/worktrees/linked"), &[]), own);
    assert_eq!(fixture.read("a"), b"old\n");
}

#[test]
fn a_sha256_repository_has_worktrees_too() {
    let fixture = Fixture::with(&["--object-format=sha256"]);
    fixture.write("a", "1\n");
    fixture.commit_all();
    let repository = fixture.repository();
    assert_eq!(repository.object_format(), "sha256");
    let cache = tempfile::tempdir().unwrap();
    let worktree = Worktree::create(&repository, "HEAD", cache.path(), "r").unwrap();
    assert_eq!(worktree.workspace().snapshot().unwrap(), repository.head().tree);
    repository.set_ref("refs/cloop/r/1", &repository.head().commit, ExpectedRef::Missing).unwrap();
    assert_eq!(git_in(worktree.path(), &["status", "--porcelain"]), "");
}
