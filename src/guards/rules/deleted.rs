//! Tests, and rows of test data, that are gone: deleted, emptied, renamed, commented out, replaced by a later one.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cases::Case;
use super::super::lex::Lang;
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if !view.has_old_tests() {
            continue;
        }
        // A test file where only tests were added keeps every old line; that is no touch.
        report.touches_tests |= !keeps_every_test(view);
        if view.restores_seed {
            continue;
        }
        if !view.in_seed {
            report.flag(Code::PermissionNeeded, view.path, None, "a test that this loop added changes");
            continue;
        }
        if view.is_deleted() {
            report.refuse(Code::DeletesTest, view.path, None, "a file of tests or their data is deleted");
        } else if view.role == Role::TestData {
            data(view, scene, report);
        } else {
            code(view, report);
        }
    }
}

/// Whether all test code of the old version stands in the new one.
fn keeps_every_test(view: &View<'_>) -> bool {
    if view.is_deleted() || view.role == Role::TestData {
        return false;
    }
    let kept = |old: &Case| {
        let text = old.text(&view.old.tokens);
        view.new.cases.iter().any(|new| new.name == old.name && new.text(&view.new.tokens) == text)
    };
    let shared = view.new.skeleton();
    view.old.cases.iter().all(kept)
        && view.old.skeleton().iter().all(|(line, _)| shared.iter().any(|(other, _)| other == line))
}

/// Whether every row, record or snapshot of test data stands as it did, whatever was added or laid out anew.
fn keeps_records(path: &str, old: &str, new: &str) -> bool {
    let extension = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let within = |old: &[&str], new: &[&str]| {
        let mut rest = new.iter();
        old.iter().all(|line| rest.any(|other| other == line))
    };
    let lines = |text| str::lines(text).map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let (before, after) = (lines(old), lines(new));
    match extension.as_str() {
        "json" => {
            let read = |text| serde_json::from_str::<serde_json::Value>(text).ok();
            let (Some(was), Some(is)) = (read(old), read(new)) else { return false };
            let (Some(was_rows), Some(is_rows)) = (was.as_array(), is.as_array()) else { return was == is };
            let mut rest = is_rows.iter();
            was_rows.iter().all(|row| rest.any(|other| other == row))
        }
        "csv" | "tsv" => {
            let cells = |line: &&str| line.matches(if extension == "csv" { ',' } else { '\t' }).count();
            let width = before.first().map(cells);
            width.is_some_and(|width| width > 0)
                && before.first() == after.first()
                && after.iter().all(|line| Some(cells(line)) == width)
                && within(&before, &after)
        }
        "snap" => {
            let names = after.iter().filter(|line| line.starts_with("exports[")).collect::<Vec<_>>();
            let unique: BTreeSet<_> = names.iter().map(|line| line.split("] =").next()).collect();
            unique.len() == names.len() && within(&before, &after)
        }
        _ => has_fields(&before, &after) && within(&before, &after),
    }
}

/// Whether every line is a record of as many fields, so that another line is another record.
fn has_fields(before: &[&str], after: &[&str]) -> bool {
    let same = |count: &dyn Fn(&str) -> usize, least: usize| {
        let first = before.first().map_or(0, |line| count(line));
        first >= least && before.iter().chain(after).all(|line| count(line) == first)
    };
    before.len() > 1
        && (['\t', '|', '=', ';', ','].iter().any(|mark| same(&|line| line.matches(*mark).count(), 1))
            || same(&|line| line.split_whitespace().count(), 2))
}

fn data(view: &View<'_>, scene: &Scene<'_>, report: &mut Report) {
    if keeps_records(view.path, view.old.text, view.new.text) {
        return;
    }
    let lines = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
    let (before, after) = (lines(view.old.text), lines(view.new.text));
    let gone = view
        .old
        .text
        .lines()
        .filter(|line| {
            !line.trim().is_empty()
                && !view.new.text.lines().any(|l| l.trim_end_matches(',') == line.trim_end_matches(','))
        })
        .count();
    if after < before || (view.new.text.trim().is_empty() && before > 0) {
        report.refuse(Code::DeletesTest, view.path, None, format!("test data shrinks from {before} to {after} lines"));
    } else if gone > 0 {
        report.refuse(Code::WeakensTest, view.path, None, format!("{gone} lines of test data are rewritten"));
        report.refuse(Code::PermissionNeeded, view.path, None, "test data changes");
    } else if !scene.context.goal_adds_tests && view.old.text != view.new.text {
        report.refuse(Code::PermissionNeeded, view.path, None, "existing test data changes");
    }
}

fn counts<'v>(view: &'v View<'_>, new: bool) -> BTreeMap<&'v str, usize> {
    let mut out: BTreeMap<&str, usize> = BTreeMap::new();
    let side = if new { &view.new } else { &view.old };
    for case in &side.cases {
        *out.entry(case.name.as_str()).or_default() += 1;
    }
    out
}

fn code(view: &View<'_>, report: &mut Report) {
    let (before, after) = (counts(view, false), counts(view, true));
    for (name, count) in &before {
        let now = after.get(name).copied().unwrap_or_default();
        if now < *count {
            let line = view.old.cases.iter().find(|case| case.name == *name).map(|case| case.line);
            report.refuse(Code::DeletesTest, view.path, line, format!("the test `{name}` no longer exists as a test"));
        } else if now > *count && matches!(view.lang, Lang::Python | Lang::Ruby | Lang::Php | Lang::Shell) {
            let line = view.new.cases.iter().rev().find(|case| case.name == *name).map(|case| case.line);
            report.refuse(Code::DeletesTest, view.path, line, format!("a second `{name}` replaces the first"));
        }
    }
    // No single tests are known: fall back on how much is left.
    if before.is_empty() {
        let count = |side: &super::super::view::Side<'_>| side.region.iter().filter(|on| **on).count();
        let (was, is) = (count(&view.old), count(&view.new));
        if is * 2 < was {
            report.refuse(Code::DeletesTest, view.path, None, "most of the test code is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, judged_in, unique};

    #[test]
    fn product_code_beside_inline_tests_is_no_touch() {
        let rust = "fn f() -> i32 {\n    1\n}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {\n        assert_eq!(super::f(), 2);\n    }\n}\n";
        let touched = |new: &str| judged_in(&[("src/lib.rs", Some(rust), Some(new))], &[], &[], &[]).touches_tests;
        assert!(!touched(&rust.replace("    1\n", "    2\n")));
        assert!(touched(&rust.replace("(), 2)", "(), 1)")));
    }

    #[test]
    fn a_test_that_is_gone_is_a_deleted_test() {
        let py = "def test_a():\n    assert f(1) == 2\n\n\ndef test_b():\n    assert f(2) == 3\n";
        for new in [
            "def test_b():\n    assert f(2) == 3\n".to_string(),
            py.replace("def test_a", "def check_a"),
            py.replace("def test_a():\n    assert f(1) == 2", "# def test_a():\n#     assert f(1) == 2"),
            format!("\"\"\"\n{}\n\"\"\"\n", py.replace("test_b", "test_c")),
            format!("{py}\n\ndef test_a():\n    pass\n"),
        ] {
            assert!(codes("tests/test_f.py", py, &new).contains(&"deletes-test".to_string()), "{new}");
        }
        let go = "package a\n\nfunc TestA(t *testing.T) {\n\tif F() != 1 {\n\t\tt.Fatal()\n\t}\n}\n";
        assert!(codes("a_test.go", go, &go.replace("TestA", "testA")).contains(&"deletes-test".to_string()));
        let java = "class ATest {\n  @Test void a() { assertEquals(1, f()); }\n}\n";
        assert!(
            codes("src/test/java/ATest.java", java, &java.replace("@Test ", "")).contains(&"deletes-test".to_string())
        );
        let ruby = "describe 'a' do\n  it 'b' do\n    expect(f).to eq 1\n  end\nend\n";
        assert!(
            codes("spec/a_spec.rb", ruby, &ruby.replace("it 'b'", "xample 'b'")).contains(&"deletes-test".to_string())
        );
        let ts = "describe('a', () => {\n  it('b', () => {\n    expect(f()).toBe(1);\n  });\n});\n";
        assert!(codes("src/a.spec.ts", ts, "describe('a', () => {\n});\n").contains(&"deletes-test".to_string()));
        let rust =
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {\n        assert_eq!(f(), 1);\n    }\n}\n";
        assert!(codes("src/lib.rs", rust, "fn f() {}\n").contains(&"deletes-test".to_string()));
        assert!(
            codes("src/lib.rs", rust, &rust.replace("#[test]", "#[allow(dead_code)]"))
                .contains(&"deletes-test".to_string())
        );
    }

    #[test]
    fn more_data_and_another_layout_of_it_are_free() {
        let json = r#"[{"a": 1}, {"a": 2}]"#;
        assert!(codes("fixtures/a.json", json, "[\n  {\"a\": 1},\n  {\"a\": 2},\n  {\"a\": 3}\n]\n").is_empty());
        assert!(!codes("fixtures/a.json", json, r#"[{"a": 2}, {"a": 1}]"#).is_empty());
        assert!(!codes("fixtures/a.json", r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#).is_empty());
        assert!(codes("tests/data/a.csv", "n,m\n1,2\n", "n,m\n0,0\n1,2\n").is_empty());
        assert!(!codes("tests/data/a.csv", "n,m\n1,2\n", "m,n\n1,2\n").is_empty());
        assert!(!codes("tests/data/in.txt", "1\n2\n", "1\n2\n3\n").is_empty());
        assert!(
            codes(
                "testdata/bumps.txt",
                "1.2 major 2.0\n1.2 minor 1.3\n",
                "1.2 major 2.0\n1.2 minor 1.3\n0.9 major 1.0\n"
            )
            .is_empty()
        );
        assert!(codes("tests/recorded.txt", "1 2 = 1.5\n5 4 3 = 4\n", "0 0 = 0\n1 2 = 1.5\n5 4 3 = 4\n").is_empty());
        assert!(!codes("tests/recorded.txt", "1 2 = 1.5\n5 4 3 = 4\n", "5 4 3 = 4\n1 2 = 1.5\n").is_empty());
        let snap = "exports[`a 1`] = `1`;\n";
        assert!(codes("__snapshots__/a.snap", snap, &format!("{snap}\nexports[`b 1`] = `2`;\n")).is_empty());
        assert!(!codes("__snapshots__/a.snap", snap, &format!("{snap}\nexports[`a 1`] = `2`;\n")).is_empty());
    }

    #[test]
    fn rows_of_data_count_as_tests() {
        assert_eq!(codes("tests/data/rows.csv", "a,1\nb,2\n", "a,1\n"), ["deletes-test"]);
        assert_eq!(codes("tests/data/rows.csv", "a,1\nb,2\n", "a,1\nb,3\n"), ["weakens-test", "permission-needed"]);
        assert_eq!(unique(&judged_in(&[("testdata/out.golden", Some("x\n"), None)], &[], &[], &[])), ["deletes-test"]);
    }

    #[test]
    fn adding_tests_is_free() {
        let py = "import pytest\n\nfrom app import f\n\n\ndef test_a():\n    assert f(1) == 2\n";
        assert!(codes("tests/test_f.py", py, &format!("{py}\n\ndef test_b():\n    assert f(2) == 3\n")).is_empty());
        let imported = py.replace("import f", "import f, g");
        assert!(
            codes("tests/test_f.py", py, &format!("{imported}\n\ndef test_b():\n    assert g(2) == 3\n")).is_empty()
        );
        let go = "package a\n\nfunc TestA(t *testing.T) {\n\tif F() != 1 {\n\t\tt.Fatal()\n\t}\n}\n";
        assert!(
            codes(
                "a_test.go",
                go,
                &format!("{go}\nfunc TestB(t *testing.T) {{\n\tif F() != 1 {{\n\t\tt.Fatal()\n\t}}\n}}\n")
            )
            .is_empty()
        );
        let java = "class ATest {\n  @Test\n  void a() { assertEquals(1, f()); }\n}\n";
        assert!(codes("src/test/java/ATest.java", java, "class ATest {\n  @Test\n  void a() { assertEquals(1, f()); }\n\n  @Test\n  void b() { assertEquals(2, g()); }\n}\n").is_empty());
        let ruby = "describe 'a' do\n  it 'b' do\n    expect(f).to eq 1\n  end\nend\n";
        assert!(codes("spec/a_spec.rb", ruby, "describe 'a' do\n  it 'b' do\n    expect(f).to eq 1\n  end\n\n  it 'c' do\n    expect(g).to eq 2\n  end\nend\n").is_empty());
        let rust =
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {\n        assert_eq!(f(), 1);\n    }\n}\n";
        assert!(
            codes(
                "src/lib.rs",
                rust,
                &rust.replace(
                    "    }\n}\n",
                    "    }\n\n    #[test]\n    fn b() {\n        assert_eq!(g(), 1);\n    }\n}\n"
                )
            )
            .is_empty()
        );
    }
}
