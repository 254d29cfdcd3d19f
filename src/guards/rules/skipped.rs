//! Marks that keep a test from running or from counting: skip, todo, only, ignore, expected failure.

use super::super::cases::Case;
use super::super::lex::{self, Lang, Token};
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};

/// Marks by language, as token patterns, and whether they declare a failure rather than skip.
const MARKS: &[(Lang, bool, &[&str])] = &[
    (
        Lang::Python,
        false,
        &[
            "mark . skip",
            "mark . skipif",
            "pytest . skip",
            "pytest . importorskip",
            "unittest . skip",
            "unittest . skipIf",
            "unittest . skipUnless",
            "@ skip",
            "@ skipIf",
            "@ skipUnless",
            "@ skipif",
            "skipTest",
            "SkipTest",
            "pytestmark",
            "__test__",
            "collect_ignore",
            "collect_ignore_glob",
            "pytest . exit",
            "__unittest_skip__",
            "skip as",
            "skipIf as",
            "skipUnless as",
        ],
    ),
    (
        Lang::Python,
        true,
        &[
            "mark . xfail",
            "pytest . xfail",
            "unittest . expectedFailure",
            "@ expectedFailure",
            "@ xfail",
            "expectedFailure as",
            "xfail as",
        ],
    ),
    (
        Lang::Js,
        false,
        &[
            ". skip",
            ". todo",
            ". skipIf",
            ". runIf",
            "xit (",
            "xtest (",
            "xdescribe (",
            "xcontext (",
            "xspecify (",
            "skip :",
            "todo :",
            "{ skip }",
            "{ todo }",
            "skip as",
            "todo as",
            "xit as",
            "xtest as",
            "pending (",
            "xsuite (",
        ],
    ),
    (Lang::Js, true, &[". failing", ". fails", "expectFailure :", "fails :", "failing :"]),
    (Lang::Rust, false, &["# [ ignore", "# [ cfg (", "# ! [ cfg (", "# [ cfg_attr (", "# ! [ cfg_attr ("]),
    (Lang::Rust, true, &["should_panic"]),
    (Lang::Go, false, &[". Skip (", ". SkipNow (", ". Skipf ("]),
    (
        Lang::Java,
        false,
        &[
            "@ Disabled",
            "@ Ignore",
            "@ Ignored",
            "@ DisabledOnOs",
            "@ DisabledIf",
            "@ DisabledOnJre",
            "@ DisabledIfEnvironmentVariable",
            "@ DisabledIfSystemProperty",
            "@ EnabledIf",
            "@ EnabledOnOs",
            "@ EnabledIfEnvironmentVariable",
            "@ EnabledIfSystemProperty",
            "assumeTrue",
            "assumeFalse",
            "assumeThat",
            "assumingThat",
            "enabled = false",
            "XCTSkip",
            "XCTSkipIf",
            "TestAbortedException",
            "skip :",
        ],
    ),
    (Lang::Java, true, &["expected =", "expectedExceptions =", "XCTExpectFailure"]),
    (
        Lang::CSharp,
        false,
        &[
            "[ Ignore",
            "[ Explicit",
            "Skip =",
            "Skip . If",
            "Assert . Ignore",
            "Assert . Inconclusive",
            "Assume . That",
            "Assert . Pass",
            "Assert . Skip",
        ],
    ),
    (Lang::CSharp, true, &["[ ExpectedException"]),
    (
        Lang::Ruby,
        false,
        &[
            "skip",
            "pending",
            "omit",
            "xit",
            "xdescribe",
            "xcontext",
            "xspecify",
            "xtest",
            ": skip",
            ": pending",
            "skip :",
            "pending :",
        ],
    ),
    (
        Lang::Php,
        false,
        &["markTestSkipped", "markTestIncomplete", "RequiresPhp", "RequiresOperatingSystem", "RequiresPhpExtension"],
    ),
    (Lang::Php, true, &["expectException", "expectNotToPerformAssertions", "DoesNotPerformAssertions"]),
    (Lang::Shell, false, &["skip"]),
    (Lang::Perl, false, &["skip_all", "todo_skip", "$TODO", "TODO :", "SKIP :", "BAIL_OUT"]),
    (Lang::Elixir, false, &["tag : skip", "moduletag : skip", "tag skip :", "moduletag skip :", "describetag : skip"]),
    (Lang::C, false, &["GTEST_SKIP", "SKIP (", "IGNORE_TEST"]),
];

/// Marks that keep all other tests from running; as harmful in a new test as in an old one.
const FOCUS: &[(Lang, &[&str])] = &[
    (
        Lang::Js,
        &[
            "test . only",
            "it . only",
            "describe . only",
            "suite . only",
            "context . only",
            "fit (",
            "fdescribe (",
            "fcontext (",
            "only : true",
            "t . only",
            "test . describe . only",
            "specify . only",
            "concurrent . only",
            "sequential . only",
            "serial . only",
            "parallel . only",
        ],
    ),
    (Lang::Ruby, &["fit", "fdescribe", "fcontext", ": focus", "focus : true"]),
    (Lang::Java, &["solo : true"]),
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    let skippers = skippers(scene);
    for view in &scene.views {
        if view.restores_seed || !matches!(view.role, Role::Test | Role::Inline) || view.is_deleted() {
            continue;
        }
        focus(view, report);
        if view.lang == Lang::Go || view.lang == Lang::Rust {
            build_tags(view, report);
        }
        let tests = view.has_old_tests() && view.in_seed;
        let mut taken: Vec<&str> = Vec::new();
        for case in &view.new.cases {
            let nth = taken.iter().filter(|name| **name == case.name).count();
            taken.push(&case.name);
            let old = view.old.cases.iter().filter(|old| old.name == case.name).nth(nth);
            let calls = |side: &[Token<'_>], name: &str| side.windows(2).any(|w| w[0].is(name) && w[1].is("("));
            for name in skippers.iter().filter(|name| case.name != **name && tests) {
                let called = calls(&view.new.tokens[case.first..case.end], name);
                if called && old.is_some_and(|old| !calls(&view.old.tokens[old.first..old.end], name)) {
                    let reason = format!("the test `{}` calls `{name}`, which skips it", case.name);
                    report.refuse(Code::SkipsTest, view.path, case.line, reason);
                }
            }
            for (code, at, mark) in more_marks(view, old, case) {
                let reason = format!("the test `{}` is marked `{}`", case.name, spelt(mark));
                if old.is_some() && tests {
                    report.refuse(code, view.path, view.line(at), reason);
                } else if code == Code::SkipsTest {
                    report.flag(code, view.path, view.line(at), reason);
                }
            }
        }
        if tests {
            shared(view, report);
        }
    }
}

/// A pattern as a person writes it.
fn spelt(pattern: &str) -> String {
    let text = pattern.replace(" . ", ".").replace(". ", ".").replace(" ! ", "!").replace(" (", "(").replace("( ", "(");
    text.replace(" )", ")").replace("# [ ", "#[").replace(" ]", "]").replace("@ ", "@").replace(" :: ", "::")
}

fn marks_in<'t>(lang: Lang, tokens: &'t [Token<'t>]) -> Vec<(Code, usize, &'static str)> {
    let mut out = Vec::new();
    for (of, fails, patterns) in MARKS {
        if *of != lang {
            continue;
        }
        for pattern in *patterns {
            for at in lex::find(tokens, pattern) {
                // `#[cfg(test)]` is what makes a test module a test module.
                if lang == Lang::Rust
                    && lex::join(&tokens[at..tokens.len().min(at + 5)]) == "# [ cfg ( test"
                    && tokens.get(at + 5).is_some_and(|t| t.is(")"))
                {
                    continue;
                }
                out.push((if *fails { Code::ExpectsFailure } else { Code::SkipsTest }, at, *pattern));
            }
        }
    }
    out
}

/// Returns the marks that `new` has more of than `old`, with their place in the new version.
fn more_marks(view: &View<'_>, old: Option<&Case>, new: &Case) -> Vec<(Code, usize, &'static str)> {
    let before = old.map_or_else(Vec::new, |case| marks_in(view.lang, &view.old.tokens[case.first..case.end]));
    let now = marks_in(view.lang, &view.new.tokens[new.first..new.end]);
    now.iter()
        .filter(|(_, _, mark)| {
            let count = |list: &[(Code, usize, &str)]| list.iter().filter(|(_, _, other)| other == mark).count();
            count(&now) > count(&before)
        })
        .map(|(code, at, mark)| (*code, at + new.first, *mark))
        .collect()
}

/// Marks on modules, classes and groups, which belong to no single test.
fn shared(view: &View<'_>, report: &mut Report) {
    let outside = |side: &super::super::view::Side<'_>| -> Vec<(Code, usize, &'static str)> {
        let mut on = side.region.clone();
        for case in &side.cases {
            on[case.first..case.end].fill(false);
        }
        marks_in(view.lang, &side.tokens).into_iter().filter(|(_, at, _)| on[*at]).collect()
    };
    let (before, now) = (outside(&view.old), outside(&view.new));
    for (code, at, mark) in &now {
        let count = |list: &[(Code, usize, &str)]| list.iter().filter(|(_, _, other)| other == mark).count();
        if count(&now) > count(&before) && view.is_added(*at) {
            report.refuse(
                *code,
                view.path,
                view.line(*at),
                format!("tests that stand in a group are marked `{}`", spelt(mark)),
            );
        }
    }
}

fn focus(view: &View<'_>, report: &mut Report) {
    for (lang, patterns) in FOCUS {
        if *lang == view.lang {
            for pattern in *patterns {
                for at in view.grown(pattern) {
                    report.refuse(
                        Code::SkipsTest,
                        view.path,
                        view.line(at),
                        format!("`{pattern}` keeps other tests from running"),
                    );
                }
            }
        }
    }
}

/// Returns what the examples of a Go file promise to print: a comment at their end, without which they do not run.
fn outputs(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        let Some(comment) = line.strip_prefix("//").map(str::trim) else {
            inside = false;
            continue;
        };
        let lower = comment.to_ascii_lowercase();
        if lower.starts_with("output:") || lower.starts_with("unordered output:") {
            inside = true;
            out.push(comment.to_string());
        } else if inside && let Some(last) = out.last_mut() {
            last.push('\n');
            last.push_str(comment);
        }
    }
    out
}

/// Returns the functions of changed tests that skip whoever calls them.
fn skippers<'v>(scene: &'v Scene<'_>) -> Vec<&'v str> {
    let mut out = Vec::new();
    for view in scene.views.iter().filter(|view| view.role == Role::Test) {
        let tokens = &view.new.tokens;
        for (_, at, _) in marks_in(view.lang, tokens).into_iter().filter(|(_, at, _)| view.is_added(*at)) {
            let head = tokens[..at].iter().rposition(|t| matches!(t.text, "func" | "def" | "function" | "fn"));
            out.extend(head.and_then(|head| tokens.get(head + 1)).filter(|t| t.is_word()).map(|t| t.text));
        }
    }
    out
}

/// Build constraints of Go stand in comments, and decide whether the file is compiled at all.
fn build_tags(view: &View<'_>, report: &mut Report) {
    if view.lang != Lang::Go || !view.has_old_tests() {
        return;
    }
    let now = outputs(view.new.text);
    if let Some(gone) = outputs(view.old.text).iter().find(|output| !now.contains(output)) {
        let reason = format!("an example no longer promises `{gone}`");
        report.refuse(Code::DeletesTest, view.path, None, reason);
    }
    let tags = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("//go:build") || line.starts_with("// +build"))
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    let before = tags(view.old.text);
    for tag in tags(view.new.text) {
        if !before.contains(&tag) {
            report.refuse(Code::SkipsTest, view.path, None, format!("`{tag}` decides whether the tests are compiled"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, codes_new};

    fn has(path: &str, old: &str, from: &str, to: &str, code: &str) {
        assert!(old.contains(from), "{from}");
        let found = codes(path, old, &old.replacen(from, to, 1));
        assert!(found.contains(&code.to_string()), "{path}: {to}: {found:?}");
    }

    const PY: &str = "import pytest\n\nclass TestA:\n    def test_a(self):\n        assert f(1) == 2\n";
    const TS: &str = "describe('a', () => {\n  it('b', async () => {\n    expect(await f()).toBe(1);\n  });\n});\n";
    const GO: &str = "package a\n\nfunc TestA(t *testing.T) {\n\tif F() != 1 {\n\t\tt.Fatal(1)\n\t}\n}\n";
    const JAVA: &str = "class ATest {\n  @Test\n  void a() {\n    assertEquals(1, f());\n  }\n}\n";
    const RUBY: &str = "describe 'a' do\n  it 'b' do\n    expect(f).to eq 1\n  end\nend\n";
    const RUST: &str = "#[test]\nfn a() {\n    assert_eq!(f(), 1);\n}\n";

    #[test]
    fn marks_on_old_tests_are_refused_in_every_language() {
        has(
            "tests/test_a.py",
            PY,
            "    def test_a",
            "    @pytest.mark.skipif(True, reason='x')\n    def test_a",
            "skips-test",
        );
        has("tests/test_a.py", PY, "class TestA", "@pytest.mark.skip\nclass TestA", "skips-test");
        has("tests/test_a.py", PY, "import pytest\n", "import pytest\npytestmark = pytest.mark.skip\n", "skips-test");
        has(
            "tests/test_a.py",
            PY,
            "        assert",
            "        raise unittest.SkipTest('x')\n        assert",
            "skips-test",
        );
        has("tests/test_a.py", PY, "    def test_a", "    @pytest.mark.xfail\n    def test_a", "expects-failure");
        has("src/a.test.ts", TS, "it('b'", "it.skip('b'", "skips-test");
        has("src/a.test.ts", TS, "it('b'", "xit('b'", "skips-test");
        has("src/a.test.ts", TS, "it('b'", "it.fails('b'", "expects-failure");
        has("src/a.test.ts", TS, "it('b',", "it('b', { fails: true },", "expects-failure");
        has("src/a.test.ts", TS, "it('b'", "it.concurrent.only('b'", "skips-test");
        has("src/a.test.ts", TS, "async ()", "async ({ skip })", "skips-test");
        has("src/a.test.ts", TS, "describe('a'", "import { skip as it } from 'node:test';\ndescribe('a'", "skips-test");
        has(
            "tests/test_a.py",
            PY,
            "import pytest\n",
            "import pytest\nfrom unittest import skip as later\n",
            "skips-test",
        );
        has("src/a.test.ts", TS, "describe('a'", "describe.skip('a'", "skips-test");
        has("a_test.go", GO, "\tif F", "\tt.Skip(\"later\")\n\tif F", "skips-test");
        has("a_test.go", GO, "package a", "//go:build never\n\npackage a", "skips-test");
        has("src/test/java/ATest.java", JAVA, "  @Test", "  @Disabled(\"x\")\n  @Test", "skips-test");
        has("src/test/java/ATest.java", JAVA, "@Test", "@Test(expected = AssertionError.class)", "expects-failure");
        has("spec/a_spec.rb", RUBY, "  it 'b'", "  xit 'b'", "skips-test");
        has("spec/a_spec.rb", RUBY, "    expect", "    skip 'x'\n    expect", "skips-test");
        has("tests/a.rs", RUST, "#[test]", "#[test]\n#[ignore = \"x\"]", "skips-test");
        has("tests/a.rs", RUST, "#[test]", "#[cfg(feature = \"never\")]\n#[test]", "skips-test");
        has("tests/a.rs", RUST, "#[test]", "#![cfg(any())]\n#[test]", "skips-test");
        has("tests/a.rs", RUST, "#[test]", "#[test]\n#[should_panic]", "expects-failure");
    }

    #[test]
    fn a_focused_new_test_is_refused_and_words_are_not() {
        assert_eq!(codes_new("test/new.test.js", "it.only('a', () => { expect(1).toBe(1) });\n"), ["skips-test"]);
        assert!(codes_new("tests/test_new.py", "# never skip, xfail\ndef test_a():\n    \"\"\"pytest.skip() is bad\"\"\"\n    assert f('pytest.mark.skip')\n").is_empty());
        assert!(
            codes_new("tests/new.rs", "#[test]\n#[should_panic(expected = \"x\")]\nfn a() {\n    f();\n}\n").is_empty()
        );
        let words = TS.replace("describe", "// it.skip: no\ndescribe");
        assert!(codes("src/a.test.ts", TS, &words).is_empty());
    }

    #[test]
    fn a_helper_that_skips_and_an_example_that_promises_nothing_are_refused() {
        let helper = GO.replace("func TestA", "func later(t *testing.T) {\n\tt.SkipNow()\n}\n\nfunc TestA");
        let found = codes("a_test.go", GO, &helper.replace("\tif F", "\tlater(t)\n\tif F"));
        assert!(found.contains(&"skips-test".to_string()), "{found:?}");
        let example = "package a\n\nfunc ExampleF() {\n\tfmt.Println(F())\n\t// Output: 1\n}\n";
        has("a_test.go", example, "// Output: 1", "// prints 1", "deletes-test");
        has("a_test.go", example, "// Output: 1", "// Output: 2", "deletes-test");
        let more = format!("{example}\nfunc ExampleG() {{\n\tfmt.Println(G())\n\t// Output: 2\n}}\n");
        assert!(codes("a_test.go", example, &more).is_empty());
    }
}
