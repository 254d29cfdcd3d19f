//! The module's promises, on real repositories.

use super::testing::{Fixture, contents, git_in};
use super::*;
use crate::change::{Change, FileChange, FileMode, FileVersion, MemoryTree, Tree};
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

const ODD_NAMES: [&str; 9] = [
    "with space.txt",
    "quo\"te's.txt",
    "new\nline.txt",
    "-dash",
    "--stdin",
    "ünïcödé/文件.txt",
    "tab\there",
    "back\\slash",
    ":(glob)*",
];

fn change(files: &[(&str, Option<FileVersion>, Option<FileVersion>)]) -> Change {
    let files = files.iter().map(|(path, old, new)| FileChange {
        path: (*path).to_owned(),
        old: old.clone(),
        new: new.clone(),
    });
    Change::new(files.collect())
}

#[expect(clippy::unnecessary_wraps, reason = "goes where a version may be missing")]
fn text(content: &str) -> Option<FileVersion> {
    Some(FileVersion::regular(content))
}

#[expect(clippy::unnecessary_wraps, reason = "goes where a version may be missing")]
fn executable(content: &str) -> Option<FileVersion> {
    Some(FileVersion { mode: FileMode::Executable, content: content.into() })
}

#[expect(clippy::unnecessary_wraps, reason = "goes where a version may be missing")]
fn link(target: &str) -> Option<FileVersion> {
    Some(FileVersion { mode: FileMode::Symlink, content: target.into() })
}

fn kinds(changed: &[ChangedPath]) -> Vec<(&str, ChangedKind)> {
    changed.iter().map(|one| (one.path.as_str(), one.kind)).collect()
}

/// What nobody but the user may write: HEAD, index, branches, tags, stash, logs, settings, hooks.
fn users(fixture: &Fixture) -> BTreeMap<std::path::PathBuf, (u32, Vec<u8>)> {
    contents(&fixture.root.join(".git"), &["objects", "refs/cloop", "worktrees"])
}

fn done(written: Written) -> Vec<String> {
    match written {
        Written::Done(paths) => paths,
        Written::Blocked(paths) => panic!("blocked by {paths:?}"),
    }
}

#[test]
fn a_repository_is_found_from_a_folder_below_its_root() {
    let fixture = Fixture::new();
    fixture.write("a b/ü/x", "1");
    fixture.commit_all();
    let repository = Repository::discover(&fixture.root.join("a b/ü")).unwrap();
    assert_eq!(repository.root(), fixture.root);
    assert_eq!(repository.prefix(), "a b/ü");
    assert_eq!(repository.git_dir(), fixture.root.join(".git"));
    assert_eq!(repository.common_dir(), fixture.root.join(".git"));
    assert_eq!(repository.object_format(), "sha1");
    assert_eq!(repository.head().branch.as_deref(), Some("refs/heads/main"));
    assert_eq!(repository.head().commit, fixture.git(&["rev-parse", "HEAD"]));
    fixture.git(&["checkout", "-q", "--detach"]);
    assert_eq!(repository.head_now().unwrap().branch, None);
}

#[test]
fn each_reason_against_a_folder_has_its_own_error() {
    let plain = tempfile::tempdir().unwrap();
    let found = Repository::discover(plain.path()).unwrap_err();
    assert!(matches!(found, DiscoverError::NotARepository { .. }), "{found}");
    let fixture = Fixture::new();
    let found = Repository::discover(&fixture.root).unwrap_err();
    assert!(matches!(found, DiscoverError::NoCommit), "{found}");
    let found = Repository::discover(&fixture.root.join(".git")).unwrap_err();
    assert!(matches!(found, DiscoverError::InsideGitDirectory), "{found}");
    git_in(plain.path(), &["init", "-q", "--bare"]);
    let found = Repository::discover(plain.path()).unwrap_err();
    assert!(matches!(found, DiscoverError::Bare), "{found}");
    assert!(!found.hint().is_empty());
}

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
    assert_eq!(workspace.changed_since(&tree).unwrap().len(), 1, "only the nested repository is seen beside the tree");
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
    let merged =
        std::process::Command::new("git").args(["merge", "other"]).current_dir(&fixture.root).output().unwrap();
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
fn a_written_change_reads_back_and_its_diff_applies() {
    for init in [&[][..], &["--object-format=sha256"]] {
        let fixture = Fixture::with(init);
        fixture.write("crlf", "a\r\nb\r\n");
        fixture.write("mixed", "a\r\nb\nc");
        fixture.write("binary", [0, 159, 146, 150, 10, 0]);
        fixture.write("latin", [b'a', 0xe9, b'\n']);
        fixture.write("script", "x\n");
        fixture.write("turns/into", "file\n");
        fixture.write("single", "file\n");
        fixture.commit_all();
        let repository = fixture.repository();
        let base = repository.head().tree.clone();
        let tree = repository.tree(&base).unwrap();
        let old = |path: &str| tree.read(path).unwrap();
        let mut files = vec![
            ("crlf", old("crlf"), text("a\r\nB\r\n")),
            ("mixed", old("mixed"), text("a\nb\r\nc\n")),
            ("binary", old("binary"), Some(FileVersion::regular([0, 1, 2, 255]))),
            ("latin", old("latin"), Some(FileVersion::regular([b'b', 0xe8]))),
            ("script", old("script"), executable("x\n")),
            ("turns/into", old("turns/into"), None),
            ("turns", None, link("single")),
            ("single", old("single"), None),
            ("single/now/deep", None, text("")),
        ];
        files.extend(ODD_NAMES.iter().map(|name| (*name, None, text("no end"))));
        let wanted = change(&files);
        let to = repository.write_change(&base, &wanted).unwrap();
        assert_eq!(repository.change_between(&base, &to).unwrap(), wanted);
        let diff = repository.diff(&base, &to).unwrap();
        assert_eq!(repository.check_applies(&diff, &base).unwrap(), Applies::Yes);
        assert_eq!(repository.apply_diff(&diff, &base).unwrap(), Ok(to.clone()));
        assert!(matches!(repository.check_applies(&diff, &to).unwrap(), Applies::No(_)));
        // As the user would, in the work tree.
        let patch = fixture.dir.path().join("p.diff");
        std::fs::write(&patch, &diff).unwrap();
        fixture.git(&["apply", "--index", patch.to_str().unwrap()]);
        assert_eq!(fixture.git(&["write-tree"]), to);
    }
}

#[test]
fn git_refuses_trees_that_reach_out() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit_all();
    let repository = fixture.repository();
    for path in ["../x", ".git/config", "/abs", "b/../c", "a/below-a-file"] {
        let result = repository.write_change(&repository.head().tree, &change(&[(path, None, text("x"))]));
        assert!(result.is_err(), "{path}");
    }
}

#[test]
fn refs_are_written_under_our_namespace_only() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.commit_all();
    fixture.git(&["config", "core.logAllRefUpdates", "always"]);
    fixture.git(&["config", "commit.gpgSign", "true"]);
    let before = users(&fixture);
    let repository = fixture.repository();
    let message = "seed {{x}} \"quoted\"\n\n-- body\n";
    let id = repository.commit(&repository.head().tree, &[&repository.head().commit], message).unwrap();
    let name = "refs/cloop/run-1/0001";
    repository.set_ref(name, &id, ExpectedRef::Missing).unwrap();
    assert!(repository.set_ref(name, &id, ExpectedRef::Missing).is_err());
    assert!(repository.set_ref(name, &id, ExpectedRef::At(&repository.head().commit)).is_err());
    repository.set_ref(name, &repository.head().commit, ExpectedRef::At(&id)).unwrap();
    repository.set_ref(name, &id, ExpectedRef::Any).unwrap();
    assert!(repository.set_ref("refs/heads/main", &id, ExpectedRef::Any).is_err());
    assert!(repository.delete_ref("refs/heads/main").is_err());
    let listed = repository.list_refs("refs/cloop/run-1").unwrap();
    assert_eq!(listed, [Reference { name: name.to_owned(), commit: id.clone() }]);
    let shown = fixture.git(&["log", "-1", "--format=%an <%ae>%n%P%n%B", &id]);
    let parent = &repository.head().commit;
    assert_eq!(shown, format!("CodexLoop <codexloop@codexloop.invalid>\n{parent}\n{}", message.trim_end()));
    repository.delete_ref(name).unwrap();
    repository.delete_ref(name).unwrap();
    assert_eq!(repository.list_refs("refs/cloop/").unwrap(), []);
    assert_eq!(users(&fixture), before);
}

#[test]
fn landing_writes_only_what_differs_and_undo_takes_it_back() {
    let fixture = Fixture::new();
    fixture.write("same", "s\n");
    fixture.write("secret", "one\n");
    fixture.write("tool", "#!/bin/sh\n");
    fixture.write("d/only", "x\n");
    fixture.write("e/one", "x\n");
    fixture.write("e/two", "x\n");
    fixture.write("file", "x\n");
    fixture.write(".gitignore", "kept.log\nforced\n");
    fixture.commit_all();
    fixture.write("e/kept.log", "ignored");
    fixture.chmod("secret", 0o600);
    fixture.chmod("tool", 0o640);
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = workspace.snapshot().unwrap();
    let untouched = fixture.root.join("same").metadata().unwrap().modified().unwrap();
    let mut files = vec![
        ("secret", text("one\n"), text("two\n")),
        ("tool", text("#!/bin/sh\n"), executable("#!/bin/sh\nexit\n")),
        ("d/only", text("x\n"), None),
        ("e/one", text("x\n"), None),
        ("e/two", text("x\n"), None),
        ("file", text("x\n"), None),
        ("file/inner", None, text("i\n")),
        ("d", None, link("e")),
        ("forced", None, text("ignored, yet in the result\n")),
    ];
    files.extend(ODD_NAMES.iter().map(|name| (*name, None, text("odd"))));
    let result = repository.write_change(&seed, &change(&files)).unwrap();
    let before = users(&fixture);
    let original = contents(&fixture.root, &[".git"]);

    assert_eq!(
        land(&workspace, &seed, &result).unwrap(),
        Landed::Written({
            let mut paths: Vec<String> = files.iter().map(|file| file.0.to_owned()).collect();
            paths.sort();
            paths
        })
    );
    assert_eq!(fixture.read("secret"), b"two\n");
    assert_eq!((fixture.mode("secret"), fixture.mode("tool")), (0o600, 0o750));
    assert_eq!(std::fs::read_link(fixture.root.join("d")).unwrap(), Path::new("e"));
    assert_eq!(fixture.read("e/kept.log"), b"ignored");
    assert_eq!(fixture.read("new\nline.txt"), b"odd");
    assert_eq!(fixture.root.join("same").metadata().unwrap().modified().unwrap(), untouched);
    assert_eq!(workspace.snapshot().unwrap(), result);
    assert_eq!(workspace.changed_since(&result).unwrap(), []);
    assert_eq!(land(&workspace, &seed, &result).unwrap(), Landed::Written(Vec::new()));
    let reopened = Workspace::of_user(&fixture.repository()).unwrap();
    assert_eq!(reopened.snapshot_on(&result).unwrap(), result, "a forced file is seen with the result as base");

    assert!(matches!(undo(&workspace, &seed, &result).unwrap(), Landed::Written(paths) if paths.len() == files.len()));
    assert_eq!(workspace.snapshot_on(&seed).unwrap(), seed);
    let bits = |all: &BTreeMap<std::path::PathBuf, (u32, Vec<u8>)>| -> Vec<(std::path::PathBuf, Vec<u8>)> {
        all.iter().map(|(path, (_, bytes))| (path.clone(), bytes.clone())).collect()
    };
    assert_eq!(bits(&contents(&fixture.root, &[".git"])), bits(&original));
    assert_eq!(users(&fixture), before);
}

#[test]
fn a_half_done_landing_is_told_apart_and_finished() {
    let fixture = Fixture::new();
    for name in ["a", "b", "c"] {
        fixture.write(name, "old\n");
    }
    fixture.commit_all();
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = workspace.snapshot().unwrap();
    let result = repository
        .write_change(
            &seed,
            &change(&[("a", text("old\n"), text("new\n")), ("b", text("old\n"), None), ("n/new", None, text("new\n"))]),
        )
        .unwrap();
    fixture.write("a", "new\n");
    fixture.write(".cloop-write-999", "cut short");
    let states = workspace.landing_state(&seed, &result).unwrap();
    let expected = [("a", PathState::AtTo), ("b", PathState::AtFrom), ("n/new", PathState::AtFrom)];
    assert_eq!(states, expected.map(|(path, state)| (path.to_owned(), state)).into());
    let written = land(&workspace, &seed, &result).unwrap();
    assert_eq!(written, Landed::Written(vec!["b".to_owned(), "n/new".to_owned()]));
    assert_eq!(workspace.changed_since(&result).unwrap(), []);

    fixture.write("b", "old\n");
    fixture.write("n/new", "the user's own\n");
    let states = workspace.landing_state(&seed, &result).unwrap();
    assert_eq!(states["n/new"], PathState::Other);
    assert_eq!(undo(&workspace, &seed, &result).unwrap(), Landed::TreeChanged(vec!["n/new".to_owned()]));
    assert_eq!((fixture.read("a"), fixture.read("n/new")), (b"new\n".to_vec(), b"the user's own\n".to_vec()));
}

#[test]
fn nothing_lands_on_a_tree_that_changed_or_over_what_is_in_the_way() {
    let fixture = Fixture::new();
    fixture.write("a", "old\n");
    fixture.write(".gitignore", "*.log\nbuild\nlinked\n");
    fixture.commit_all();
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = workspace.snapshot().unwrap();
    let write = |files: &[(&str, Option<FileVersion>, Option<FileVersion>)]| {
        repository.write_change(&seed, &change(files)).unwrap()
    };
    let result = write(&[("a", text("old\n"), text("new\n"))]);
    fixture.write("elsewhere", "user\n");
    assert_eq!(land(&workspace, &seed, &result).unwrap(), Landed::TreeChanged(vec!["elsewhere".to_owned()]));
    assert_eq!(fixture.read("a"), b"old\n");
    std::fs::remove_file(fixture.root.join("elsewhere")).unwrap();

    let outside = tempfile::tempdir().unwrap();
    fixture.write("x.log", "ignored, the user's");
    fixture.write("build/out.log", "ignored, the user's");
    symlink(outside.path(), fixture.root.join("linked")).unwrap();
    for path in ["x.log", "build", "x.log/below", "linked/new"] {
        let result = write(&[("a", text("old\n"), text("new\n")), (path, None, text("ours"))]);
        assert_eq!(land(&workspace, &seed, &result).unwrap(), Landed::TreeChanged(vec![path.to_owned()]), "{path}");
        assert_eq!(fixture.read("a"), b"old\n");
    }
    assert_eq!(fixture.read("x.log"), b"ignored, the user's");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn line_ends_are_written_as_git_would_check_them_out() {
    for (autocrlf, attributes) in [("false", ""), ("true", ""), ("input", ""), ("false", "*.txt text eol=crlf\n")] {
        let fixture = Fixture::new();
        fixture.git(&["config", "core.autocrlf", "false"]);
        fixture.write("crlf-in-blob.dat", "a\r\nb\r\n");
        fixture.write("lf.txt", "a\nb\n");
        fixture.write("bin.txt2", [0, 13, 10, 10]);
        fixture.write(".gitattributes", attributes);
        fixture.commit_all();
        fixture.git(&["config", "core.autocrlf", autocrlf]);
        fixture.git(&["rm", "-q", "-r", "--cached", "."]);
        fixture.git(&["reset", "-q", "--hard"]);
        let repository = fixture.repository();
        let workspace = Workspace::of_user(&repository).unwrap();
        let seed = workspace.snapshot().unwrap();
        assert_eq!(seed, repository.head().tree, "{autocrlf} {attributes}");
        let wanted = change(&[
            ("crlf-in-blob.dat", text("a\r\nb\r\n"), text("a\r\nB\r\n")),
            ("lf.txt", text("a\nb\n"), text("a\nB\n")),
            ("new.txt", None, text("n\n")),
            ("new-crlf.dat", None, text("n\r\n")),
            ("bin.txt2", Some(FileVersion::regular([0, 13, 10, 10])), Some(FileVersion::regular([0, 10, 13, 10]))),
        ]);
        let result = repository.write_change(&seed, &wanted).unwrap();
        assert!(matches!(land(&workspace, &seed, &result).unwrap(), Landed::Written(paths) if paths.len() == 5));
        let crlf = autocrlf == "true" || !attributes.is_empty();
        assert_eq!(fixture.read("lf.txt"), if crlf { b"a\r\nB\r\n".to_vec() } else { b"a\nB\n".to_vec() });
        assert_eq!(fixture.read("new.txt"), if crlf { b"n\r\n".to_vec() } else { b"n\n".to_vec() });
        assert_eq!(fixture.read("crlf-in-blob.dat"), b"a\r\nB\r\n");
        assert_eq!(fixture.read("bin.txt2"), [0, 10, 13, 10]);
        assert_eq!(workspace.changed_since(&result).unwrap(), []);
        assert_eq!(Workspace::of_user(&repository).unwrap().snapshot_on(&result).unwrap(), result);
        assert_eq!(workspace.materialise(&result, &seed).map(done).unwrap().len(), 5);
        assert_eq!(workspace.snapshot().unwrap(), seed);
        assert_eq!(fixture.git(&["status", "--porcelain"]), "");
    }
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
    assert_eq!(workspace.restore_paths(&changed, &seed).unwrap(), ["sub"]);
    std::fs::remove_dir_all(fixture.root.join("sub")).unwrap();
    assert_eq!(workspace.changed_since(&seed).unwrap(), []);
    assert_eq!(fixture.read("a"), b"old\n");
    assert_eq!((fixture.mode("a"), fixture.mode("e")), (0o600, 0o644));
    assert_eq!(fixture.read("c/d"), b"old\n");
    assert_eq!(std::fs::read(outside.path().join("d")).unwrap(), b"outside\n");
    assert!(!fixture.root.join("out").exists());
    assert_eq!(fixture.read("cache/kept"), b"ignored");
}

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
    let _ = std::process::Command::new("git").args(["add", "a"]).current_dir(&fixture.root).output();
    assert!(mark.exists());
}

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

const PLENTY: CloneBudget = CloneBudget { max_bytes: 1 << 20, max_files: 1000 };

#[test]
fn ignored_dependency_folders_are_cloned_with_times_modes_and_links() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "node_modules\n/vendor/x/\n*.env\nscratch/\n.venv/\n");
    fixture.write("packages/app/package.json", "{}");
    fixture.write("vendor/tracked", "t");
    fixture.commit_all();
    fixture.write("node_modules/a/index.js", "a");
    fixture.write("node_modules/a/tool", "t");
    fixture.chmod("node_modules/a/tool", 0o555);
    std::fs::create_dir_all(fixture.root.join("node_modules/.bin")).unwrap();
    symlink("../a/tool", fixture.root.join("node_modules/.bin/tool")).unwrap();
    symlink("../packages/app", fixture.root.join("node_modules/app")).unwrap();
    symlink("../../elsewhere", fixture.root.join("node_modules/far")).unwrap();
    fixture.write("packages/app/node_modules/b", "b");
    fixture.write("vendor/x/lib.go", "x");
    fixture.write("scratch/big", "not a dependency");
    fixture.write("prod.env", "secret");
    fixture.chmod("node_modules/a", 0o555);
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_500_000_000, 123_000_000);
    let set = |path: &str| std::fs::File::open(fixture.root.join(path)).unwrap().set_modified(old).unwrap();
    for path in ["node_modules/a/index.js", "node_modules/a", "node_modules"] {
        set(path);
    }
    let repository = fixture.repository();
    let cache = tempfile::tempdir().unwrap();
    let worktree = Worktree::create(&repository, "HEAD", cache.path(), "r").unwrap();
    let report = clone_dependencies(&repository, worktree.path(), PLENTY).unwrap();
    assert_eq!(report.cloned, ["node_modules", "packages/app/node_modules", "vendor/x"]);
    assert_eq!((report.bytes, report.files), (4, 12));
    assert_eq!((report.too_costly, report.tied_to_original), (None, None));
    let at = |path: &str| worktree.path().join(path);
    assert_eq!(std::fs::read_link(at("node_modules/.bin/tool")).unwrap(), Path::new("../a/tool"));
    assert_eq!(std::fs::read_link(at("node_modules/app")).unwrap(), Path::new("../packages/app"));
    let far = fixture.root.parent().unwrap().join("elsewhere");
    assert_eq!(std::fs::read_link(at("node_modules/far")).unwrap(), far);
    for path in ["node_modules/a/index.js", "node_modules/a", "node_modules"] {
        assert_eq!(at(path).metadata().unwrap().modified().unwrap(), old, "{path}");
    }
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&at("node_modules/a/tool").metadata().unwrap()) & 0o777, 0o555);
    assert!(!at("scratch").exists() && !at("prod.env").exists());
    assert_eq!(worktree.workspace().snapshot().unwrap(), repository.head().tree);
    let again = clone_dependencies(&repository, worktree.path(), PLENTY).unwrap();
    assert_eq!((again.cloned.len(), again.method), (0, CloneMethod::None));
    worktree.remove().unwrap();
}

#[test]
fn cloning_that_costs_too_much_copies_nothing() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "target/\n");
    fixture.commit_all();
    for number in 0..20 {
        fixture.write(&format!("target/{number}"), "x");
    }
    let repository = fixture.repository();
    let to = tempfile::tempdir().unwrap();
    let few = CloneBudget { max_bytes: 1000, max_files: 10 };
    let report = clone_dependencies(&repository, to.path(), few).unwrap();
    assert_eq!(report.too_costly.as_deref(), Some("target: more than 10 files"));
    assert_eq!((report.cloned.len(), std::fs::read_dir(to.path()).unwrap().count()), (0, 0));
}

#[test]
fn dependencies_that_lead_back_to_the_original_are_named() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", ".venv/\nnode_modules\n");
    fixture.write("src/app.py", "x");
    fixture.commit_all();
    let repository = fixture.repository();
    let root = fixture.root.to_str().unwrap();
    let clone = || {
        let to = tempfile::tempdir().unwrap();
        clone_dependencies(&repository, to.path(), PLENTY).unwrap().tied_to_original
    };
    let site = ".venv/lib/python3.12/site-packages";
    fixture.write(".venv/pyvenv.cfg", format!("command = python -m venv {root}/.venv\n"));
    fixture.write(&format!("{site}/other.pth"), format!("{root}-other/src\n"));
    let url = format!("file://{}", root.replace(' ', "%20"));
    let direct = format!("{site}/app-1.dist-info/direct_url.json");
    fixture.write(&direct, format!("{{\"url\":\"{url}\",\"dir_info\":{{}}}}"));
    assert_eq!(clone(), None);
    let names = |path: &str| Some(format!("{path} names the original folder"));
    fixture.write(&direct, format!("{{\"url\":\"{url}\",\"dir_info\":{{\"editable\":true}}}}"));
    assert_eq!(clone(), names(&direct));
    std::fs::remove_file(fixture.root.join(&direct)).unwrap();
    for name in ["app.pth", "app.egg-link", "__editable___app_finder.py"] {
        let path = format!("{site}/{name}");
        fixture.write(&path, format!("{root}/src\n"));
        assert_eq!(clone(), names(&path));
        std::fs::remove_file(fixture.root.join(&path)).unwrap();
    }
    std::fs::create_dir(fixture.root.join("node_modules")).unwrap();
    symlink(fixture.root.join("src"), fixture.root.join("node_modules/app")).unwrap();
    assert_eq!(clone().as_deref(), Some("node_modules/app links to the original folder"));
}

#[test]
fn the_cache_folder_follows_the_two_variables() {
    let dir =
        |xdg: Option<&str>, home: Option<&str>| default_cache_dir(xdg.map(AsRef::as_ref), home.map(AsRef::as_ref));
    assert_eq!(dir(Some("/c"), Some("/h")).unwrap(), Path::new("/c"));
    assert!(dir(Some("relative"), Some("/h")).unwrap().starts_with("/h"));
    assert_eq!(dir(None, None), None);
}

fn any_file() -> impl Strategy<Value = FileVersion> {
    let content =
        prop_oneof!["[ab\\n\\r]{0,12}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..12),];
    let mode = prop_oneof![Just(FileMode::Regular), Just(FileMode::Executable)];
    (mode, content).prop_map(|(mode, content)| FileVersion { mode, content })
}

fn any_tree() -> impl Strategy<Value = BTreeMap<String, FileVersion>> {
    let path = prop_oneof!["[abcd]", "d/[ab ]x", "e/f/[\"'\\\\\n-]z", "(e|e/f)", "[éß]"];
    proptest::collection::btree_map(path, any_file(), 0..6).prop_map(|mut files| {
        // A file cannot be a folder as well.
        let paths: Vec<String> = files.keys().cloned().collect();
        files.retain(|path, _| !paths.iter().any(|other| other.starts_with(&format!("{path}/"))));
        files
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// From any tree to any other and back, also from half-way: the diff, the change and the folder all agree.
    #[test]
    fn any_two_trees_are_reached_from_each_other(first in any_tree(), second in any_tree(), half in any::<u8>()) {
        let fixture = Fixture::new();
        fixture.git(&["commit", "-q", "--allow-empty", "-m", "empty"]);
        let repository = fixture.repository();
        let empty = repository.head().tree.clone();
        let as_change = |from: &BTreeMap<String, FileVersion>, to: &BTreeMap<String, FileVersion>| {
            let paths: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
            Change::new(paths.into_iter().map(|path| FileChange {
                path: path.clone(), old: from.get(path).cloned(), new: to.get(path).cloned(),
            }).collect())
        };
        let one = repository.write_change(&empty, &as_change(&BTreeMap::new(), &first)).unwrap();
        let step = as_change(&first, &second);
        let two = repository.write_change(&one, &step).unwrap();
        prop_assert_eq!(&repository.change_between(&one, &two).unwrap(), &step);
        let diff = repository.diff(&one, &two).unwrap();
        prop_assert_eq!(repository.apply_diff(&diff, &one).unwrap(), Ok(two.clone()));
        let tree = repository.tree(&two).unwrap();
        let memory = MemoryTree::new(second.clone());
        prop_assert_eq!(tree.paths(), memory.paths());
        let workspace = Workspace::of_user(&repository).unwrap();
        done(workspace.materialise(&empty, &one).unwrap());
        prop_assert_eq!(workspace.snapshot_on(&one).unwrap(), one.clone());
        // As a kill may leave it: some removals done, or all of them and some writes.
        let mut order: Vec<&FileChange> = step.files.iter().filter(|file| file.new.is_none()).collect();
        order.extend(step.files.iter().filter(|file| file.new.is_some()));
        order.truncate(usize::from(half) % (order.len() + 1));
        let part = Change::new(order.into_iter().cloned().collect());
        let part = repository.write_change(&one, &part).unwrap();
        done(workspace.materialise(&one, &part).unwrap());
        let states = workspace.landing_state(&one, &two).unwrap();
        prop_assert!(states.values().all(|state| *state != PathState::Other), "{:?}", states);
        if half % 2 == 0 {
            done(workspace.materialise(&two, &one).unwrap());
            prop_assert_eq!(workspace.changed_since(&one).unwrap(), []);
        }
        done(workspace.materialise(&one, &two).unwrap());
        for (path, file) in &second {
            prop_assert_eq!(&fixture.read(path), &file.content);
        }
        prop_assert_eq!(Workspace::of_user(&repository).unwrap().snapshot().unwrap(), two.clone());
        done(workspace.materialise(&two, &one).unwrap());
        prop_assert_eq!(workspace.changed_since(&one).unwrap(), []);
    }
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

#[test]
fn other_encodings_and_meaningless_mode_bits_are_respected() {
    let fixture = Fixture::new();
    fixture.write(".gitattributes", "*.u16 text working-tree-encoding=UTF-16LE eol=lf\n*.id ident\n");
    fixture.write("f.id", "$Id$\n");
    fixture.write("tool", "t\n");
    fixture.commit_all();
    fixture.git(&["config", "core.fileMode", "false"]);
    fixture.chmod("tool", 0o755);
    let repository = fixture.repository();
    let workspace = Workspace::of_user(&repository).unwrap();
    let seed = workspace.snapshot().unwrap();
    assert_eq!(seed, repository.head().tree);
    let wanted =
        [("a.u16", None, text("hé\n")), ("f.id", text("$Id$\n"), text("$Id$ x\n")), ("tool", text("t\n"), text("u\n"))];
    let result = repository.write_change(&seed, &change(&wanted)).unwrap();
    assert!(matches!(land(&workspace, &seed, &result).unwrap(), Landed::Written(paths) if paths.len() == 3));
    let utf16: Vec<u8> = "hé\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(fixture.read("a.u16"), utf16);
    let blob = fixture.git(&["rev-parse", &format!("{result}:f.id")]);
    assert_eq!(String::from_utf8(fixture.read("f.id")).unwrap(), format!("$Id: {blob} $ x\n"));
    assert_eq!(fixture.mode("tool"), 0o755);
    assert_eq!(Workspace::of_user(&repository).unwrap().snapshot().unwrap(), result);
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

#[test]
fn the_private_git_directory_goes_with_the_repository() {
    let fixture = Fixture::new();
    fixture.write("a", "1\n");
    fixture.commit_all();
    let repository = fixture.repository();
    let private = repository.private_dir().to_owned();
    let workspace = Workspace::of_user(&repository).unwrap();
    drop(repository);
    assert!(private.exists(), "the workspace still needs it");
    drop(workspace);
    assert!(!private.exists());
}
