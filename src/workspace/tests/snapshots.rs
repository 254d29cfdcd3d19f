//! What a folder is seen to hold, and putting it back.

use super::*;
use pretty_assertions::assert_eq;

#[test]
fn a_clean_work_tree_has_the_tree_of_its_head() {
    for init in [&[][..], &["--object-format=sha256"]] {
        let fixture = Fixture::with(init);
        for (number, name) in ODD_NAMES.iter().enumerate() {
            fixture.write(name, format!("line {number}\nno end"));
        }
        fixture.write("run.sh", "#!/bin/sh\n");
        fixture.chmod("run.sh", 0o755);
        symlink("run.sh", fixture.root.join("ln")).unwrap();
        symlink("nowhere/at all", fixture.root.join("dangling")).unwrap();
        fixture.commit_all();
        let repository = fixture.repository();
        let workspace = Workspace::of_user(&repository).unwrap();
        assert_eq!(workspace.snapshot().unwrap(), repository.head().tree);
        assert_eq!(fits(&workspace, &repository.head().tree).unwrap(), Fit::Fits);
        let tree = repository.tree(&repository.head().tree).unwrap();
        assert_eq!(tree.paths().len(), ODD_NAMES.len() + 3);
        assert_eq!(tree.read("-dash").unwrap(), text("line 3\nno end"));
        assert_eq!(tree.read("ln").unwrap(), link("run.sh"));
        assert_eq!(tree.read("run.sh").unwrap(), executable("#!/bin/sh\n"));
        assert_eq!(tree.read("ünïcödé").unwrap(), None);
    }
}

#[test]
fn a_snapshot_holds_what_is_on_disk_and_leaves_the_users_git_files_alone() {
    let fixture = Fixture::new();
    for name in ["kept", "changed", "staged", "gone", "becomes-link", "becomes-dir", "dir/inside", "was-dir/a"] {
        fixture.write(name, "old\n");
    }
    fixture.write(".gitignore", "*.log\n");
    fixture.write("reviews/autonomous/old.md", "committed\n");
    fixture.commit_all();
    fixture.write("stashed", "x");
    fixture.git(&["stash", "push", "-q", "-u"]);
    fixture.write("staged", "staged\n");
    fixture.git(&["add", "staged"]);
    fixture.write("changed", "new\n");
    fixture.write("intended", "n\n");
    fixture.git(&["add", "-N", "intended"]);
    std::fs::remove_file(fixture.root.join("gone")).unwrap();
    std::fs::remove_file(fixture.root.join("becomes-link")).unwrap();
    symlink("kept", fixture.root.join("becomes-link")).unwrap();
    std::fs::remove_file(fixture.root.join("becomes-dir")).unwrap();
    fixture.write("becomes-dir/x", "x");
    std::fs::remove_dir_all(fixture.root.join("was-dir")).unwrap();
    symlink("dir", fixture.root.join("was-dir")).unwrap();
    fixture.write("dir/a", "old\n");
    fixture.write("noise.log", "ignored");
    fixture.write(".loop/loop-state.json", "{}");
    fixture.write("reviews/autonomous/new.md", "left out");
    fixture.write("reviews/autonomous/old.md", "left out");
    fixture.write("reviews/other.md", "r");
    std::fs::create_dir(fixture.root.join("nested")).unwrap();
    git_in(&fixture.root.join("nested"), &["init", "-q"]);
    fixture.write("nested/f", "not ours");
    let before = users(&fixture);
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let dirty = workspace.dirty_paths(3).unwrap();
    let tree = workspace.snapshot().unwrap();
    let found: Vec<String> = repository
        .change_between(&repository.head().tree, &tree)
        .unwrap()
        .files
        .iter()
        .map(|file| format!("{}{} {}", u8::from(file.old.is_some()), u8::from(file.new.is_some()), file.path))
        .collect();
    assert_eq!(
        found,
        [
            "10 becomes-dir",
            "01 becomes-dir/x",
            "11 becomes-link",
            "11 changed",
            "01 dir/a",
            "10 gone",
            "01 intended",
            "01 reviews/other.md",
            "11 staged",
            "01 was-dir",
            "10 was-dir/a",
        ]
    );
    assert_eq!(fits(&workspace, &tree).unwrap(), Fit::Fits);
    assert_eq!(dirty.shown.len(), 3);
    assert!(dirty.tracked >= 7 && dirty.untracked >= 4, "{dirty:?}");
    assert_eq!(users(&fixture), before);
}

#[test]
fn an_unmerged_index_is_snapshotted_as_the_files_on_disk() {
    let fixture = Fixture::new();
    fixture.write("f", "base\n");
    fixture.commit_all();
    fixture.git(&["checkout", "-q", "-b", "other"]);
    fixture.write("f", "other\n");
    fixture.commit_all();
    fixture.git(&["checkout", "-q", "main"]);
    fixture.write("f", "main\n");
    fixture.commit_all();
    let merged = try_git_in(&fixture.root, &["merge", "other"]);
    assert!(!merged.status.success());
    let before = users(&fixture);
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let tree = workspace.snapshot().unwrap();
    let tree = repository.tree(&tree).unwrap();
    assert_eq!(tree.read("f").unwrap().unwrap().content, fixture.read("f"));
    assert_eq!(users(&fixture), before);
}

#[test]
fn a_split_index_and_assumed_files_hide_nothing() {
    let fixture = Fixture::new();
    fixture.write("f", "base\n");
    fixture.write("g", "base\n");
    fixture.commit_all();
    fixture.git(&["update-index", "--split-index"]);
    fixture.git(&["update-index", "--assume-unchanged", "g"]);
    fixture.write("g", "hidden change\n");
    let before = users(&fixture);
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let changed = workspace.changed_since(&repository.head().tree).unwrap();
    assert_eq!(kinds(&changed), [("g", ChangedKind::Modified)]);
    assert_eq!(users(&fixture), before);
}

#[test]
fn entries_hidden_from_git_that_differ_do_not_hinder_another_tree() {
    for hidden in ["--assume-unchanged", "--skip-worktree"] {
        let fixture = Fixture::new();
        fixture.write("f", "base\n");
        fixture.commit_all();
        let first = fixture.repository().head().tree.clone();
        fixture.write("f", "second\n");
        fixture.commit_all();
        fixture.git(&["update-index", hidden, "f"]);
        fixture.write("f", "hidden change\n");
        let repository = fixture.repository();
        let before = users(&fixture);
        let workspace = Workspace::of_user(&repository).unwrap();
        workspace.expect(&first).unwrap();
        assert_eq!(users(&fixture), before, "{hidden}");
    }
}

#[test]
fn a_change_of_the_same_size_and_time_is_seen() {
    let fixture = Fixture::new();
    fixture.write("f", "aaaa\n");
    fixture.commit_all();
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let tree = workspace.snapshot().unwrap();
    let times = fixture.root.join("f").metadata().unwrap().modified().unwrap();
    fixture.write("f", "bbbb\n");
    std::fs::File::options().write(true).open(fixture.root.join("f")).unwrap().set_modified(times).unwrap();
    assert_eq!(kinds(&workspace.changed_since(&tree).unwrap()), [("f", ChangedKind::Modified)]);
}

#[test]
fn what_a_check_wrote_is_put_back() {
    let fixture = Fixture::new();
    for name in ["a", "b", "c/d", "e"] {
        fixture.write(name, "old\n");
    }
    fixture.write(".gitignore", "cache/\n");
    fixture.commit_all();
    fixture.chmod("a", 0o600);
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = workspace.snapshot().unwrap();
    fixture.write("a", "written by a check\n");
    std::fs::remove_file(fixture.root.join("b")).unwrap();
    std::fs::create_dir(fixture.root.join("b")).unwrap();
    fixture.write("b/x", "new");
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("d"), "outside\n").unwrap();
    std::fs::remove_dir_all(fixture.root.join("c")).unwrap();
    symlink(outside.path(), fixture.root.join("c")).unwrap();
    fixture.chmod("e", 0o755);
    fixture.write("out/deep/new", "new");
    fixture.write("cache/kept", "ignored");
    std::fs::create_dir(fixture.root.join("sub")).unwrap();
    git_in(&fixture.root.join("sub"), &["init", "-q"]);
    let changed = workspace.changed_since(&seed).unwrap();
    assert_eq!(workspace.restore_paths(&changed, &seed).unwrap(), Vec::<String>::new());
    assert!(fixture.root.join("sub/.git").exists(), "a repository in the user's folder is not ours to remove");
    assert_eq!(workspace.changed_since(&seed).unwrap(), []);
    assert_eq!(fixture.read("a"), b"old\n");
    assert_eq!((fixture.mode("a"), fixture.mode("e")), (0o600, 0o644));
    assert_eq!(fixture.read("c/d"), b"old\n");
    assert_eq!(std::fs::read(outside.path().join("d")).unwrap(), b"outside\n");
    assert!(!fixture.root.join("out").exists());
    assert_eq!(fixture.read("cache/kept"), b"ignored");
}

#[test]
fn a_sparse_checkout_with_a_sparse_index_counts_as_whole() {
    let fixture = Fixture::new();
    for path in ["in/x", "out/c/y", "out/d/z", "top"] {
        fixture.write(path, "1\n");
    }
    fixture.commit_all();
    fixture.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    assert!(!fixture.root.join("out").exists());
    let before = users(&fixture);
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = repository.head().tree.clone();
    assert_eq!(workspace.dirty_paths(10).unwrap(), DirtyPaths::default());
    assert_eq!(workspace.snapshot().unwrap(), seed);
    let outside = repository.write_change(&seed, &change(&[("out/c/y", text("1\n"), text("2\n"))])).unwrap();
    assert_eq!(land(&workspace, &seed, &outside).unwrap(), Landed::TreeChanged(vec!["out/c/y".to_owned()]));
    let inside = repository.write_change(&seed, &change(&[("in/x", text("1\n"), text("2\n"))])).unwrap();
    assert_eq!(land(&workspace, &seed, &inside).unwrap(), Landed::Written(vec!["in/x".to_owned()]));
    assert_eq!(users(&fixture), before);
}
