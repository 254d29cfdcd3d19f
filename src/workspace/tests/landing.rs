//! Bringing trees into the user's folder.

use super::*;
use pretty_assertions::assert_eq;

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
