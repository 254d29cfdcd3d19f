//! Trees, diffs and refs.

use super::*;
use pretty_assertions::assert_eq;

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
