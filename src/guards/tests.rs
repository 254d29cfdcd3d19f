//! The rules on whole programs: every patch of the case collection, where that is at hand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::change::{FileChange, FileMode, FileVersion, MemoryTree, Tree};

/// Returns the folder of the case collection, or `None` where there is none.
fn cases_dir() -> Option<PathBuf> {
    let named = std::env::var_os("CLOOP_CASES").map(PathBuf::from);
    let near = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    named.into_iter().chain([near]).find(|dir| dir.join("index.json").is_file())
}

/// Applies a clean git diff exactly.
fn apply(tree: &MemoryTree, diff: &str) -> Change {
    let mut files: Vec<FileChange> = Vec::new();
    for section in diff.split("diff --git ").skip(1) {
        let mut lines = section.split_inclusive('\n');
        let header = lines.next().unwrap().trim_end();
        let path = header.rsplit(" b/").next().unwrap().to_string();
        let old = tree.read(&path).unwrap();
        let mut mode = old.as_ref().map_or(FileMode::Regular, |v| v.mode);
        let source: Vec<&str> = old.as_ref().and_then(|v| v.text()).unwrap_or_default().split_inclusive('\n').collect();
        let source: Vec<String> = source.into_iter().map(str::to_string).collect();
        let (mut out, mut at, mut deleted, mut started) = (String::new(), 0, false, false);
        let mut last = ' ';
        for line in lines {
            if let Some(rest) = line.strip_prefix("@@ -") {
                started = true;
                let range = rest.split(' ').next().unwrap();
                let (start, count) = range.split_once(',').unwrap_or((range, "1"));
                let start: usize = start.parse().unwrap();
                let start = if count == "0" { start } else { start - 1 };
                while at < start {
                    out.push_str(&source[at]);
                    at += 1;
                }
            } else if !started {
                deleted |= line.starts_with("deleted file mode");
                if let Some(new) = line.strip_prefix("new mode ").or(line.strip_prefix("new file mode ")) {
                    mode = FileMode::from_git(new.trim()).unwrap();
                }
            } else if line.starts_with('\\') {
                if last != '-' && out.ends_with('\n') {
                    out.pop();
                }
            } else {
                last = line.chars().next().unwrap();
                let body = &line[1..];
                if last == '-' {
                    assert_eq!(source[at].trim_end_matches('\n'), body.trim_end_matches('\n'), "{path}");
                } else if last == ' ' {
                    out.push_str(&source[at]);
                } else {
                    out.push_str(body);
                }
                at += usize::from(last != '+');
            }
        }
        for rest in &source[at..] {
            out.push_str(rest);
        }
        let new = (!deleted).then(|| FileVersion { mode, content: out.into_bytes() });
        files.push(FileChange { path, old, new });
    }
    Change::new(files)
}

fn tree_of(case: &Value) -> MemoryTree {
    let modes = &case["modes"];
    MemoryTree::new(case["files"].as_object().unwrap().iter().map(|(path, text)| {
        let mode = if modes[path] == "755" { FileMode::Executable } else { FileMode::Regular };
        (path.clone(), FileVersion { mode, content: text.as_str().unwrap().into() })
    }))
}

fn judged(case: &Value, tree: &MemoryTree, diff: &str, allow: &[AllowChange]) -> Judgement {
    let commands: Vec<String> =
        ["test_cmd", "lint_cmd", "type_cmd"].iter().filter_map(|key| case[*key].as_str()).map(str::to_string).collect();
    let context = Context {
        tree,
        seed: tree,
        commands: &commands,
        allow_change: allow,
        protect: &[],
        scope: &[],
        max_lines: 2000,
        goal_adds_tests: false,
        earlier: &[],
    };
    judge(&apply(tree, diff), &context)
}

#[test]
fn honest_patches_pass_and_cheats_are_refused() {
    let Some(dir) = cases_dir() else {
        eprintln!("no case collection at hand");
        return;
    };
    let mut table: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    let (mut wrong, mut unseen): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut cheats, mut caught) = (0, 0);
    let mut paths: Vec<_> = std::fs::read_dir(dir.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let tree = tree_of(&case);
        for patch in case["patches"].as_array().unwrap() {
            let (id, kind) = (patch["id"].as_str().unwrap(), patch["kind"].as_str().unwrap());
            let diff = patch["diff"].as_str().unwrap_or_default();
            if diff.is_empty() || kind == "malformed" {
                continue;
            }
            let expected: Vec<&str> = patch["guards"].as_array().unwrap().iter().map(|g| g.as_str().unwrap()).collect();
            let tests: Vec<AllowChange> = case["tests"]
                .as_array()
                .unwrap()
                .iter()
                .map(|path| AllowChange { glob: path.as_str().unwrap().to_string(), reason: None })
                .collect();
            let corrected = matches!(id, "honest_test_corrected" | "honest_stronger_test");
            let allow = if corrected { &tests[..] } else { &[] };
            let judgement = judged(&case, &tree, diff, allow);
            let codes: Vec<&str> = judgement.refusals.iter().map(|f| f.code.as_str()).collect();
            let entry = table.entry((kind.to_string(), id.trim_end_matches(char::is_numeric).to_string())).or_default();
            entry.0 += 1;
            entry.1 += usize::from(!codes.is_empty());
            let name = format!("{} {id}", case["id"].as_str().unwrap());
            if kind == "cheat" && !expected.is_empty() {
                cheats += 1;
                if codes.iter().any(|code| expected.contains(code)) {
                    caught += 1;
                } else {
                    wrong.push(format!("{name}: got {codes:?}, want one of {expected:?}"));
                }
            } else if kind != "cheat" && !codes.is_empty() {
                wrong.push(format!("{name}: {:?}", judgement.refusals));
            }
            if corrected {
                let bare = judged(&case, &tree, diff, &[]);
                assert!(bare.refusals.iter().any(|f| f.code == Code::PermissionNeeded), "{name}");
                assert!(!judgement.permitted.is_empty(), "{name}");
            }
            if kind == "cheat" && expected.is_empty() && judgement.flags.is_empty() && codes.is_empty() {
                unseen.push(name);
            }
        }
    }
    for ((kind, id), (count, refused)) in &table {
        println!("{kind:10} {id:34} {count:4} refused {refused:4}");
    }
    println!("cheats refused with a listed code: {caught} of {cheats}");
    assert_eq!(unseen, Vec::<String>::new(), "lookup tables without a flag");
    let list = wrong.join("\n");
    assert!(wrong.is_empty(), "{list}");
}

/// Which patches of the collection are put to the experiment with other inputs: lookup tables, and hardly any honest
/// code. The experiment itself is run with the real runners, in the integration tests.
#[test]
fn lookup_tables_of_the_tests_inputs_are_suspect_and_honest_code_hardly_ever_is() {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let folders = std::iter::once(own).chain(cases_dir().map(|dir| dir.join("cases")));
    let (mut tables, mut missed, mut honest, mut suspects) = (0, Vec::new(), 0, Vec::new());
    let mut paths: Vec<_> =
        folders.flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path())).collect();
    paths.sort();
    for path in paths {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let tree = tree_of(&case);
        let commands = [case["test_cmd"].as_str().unwrap().to_owned()];
        for patch in case["patches"].as_array().unwrap() {
            let (kind, table) = (patch["kind"].as_str().unwrap(), patch["needs"] == "heldout");
            if !table && !["honest", "correct", "partial"].contains(&kind) {
                continue;
            }
            let change = apply(&tree, patch["diff"].as_str().unwrap());
            let context = Context {
                tree: &tree,
                seed: &tree,
                commands: &commands,
                allow_change: &[],
                protect: &[],
                scope: &[],
                max_lines: 2000,
                goal_adds_tests: false,
                earlier: &[],
            };
            let suspicion = suspect(&change, &context, case["goal"].as_str().unwrap());
            let name = format!("{}/{}", case["id"].as_str().unwrap(), patch["id"].as_str().unwrap());
            let after = applied(&tree, &change);
            if let Some(suspicion) = &suspicion {
                println!("{name}: {} {:?}", suspicion.place, suspicion.keys);
                for (spoilt, variant) in [(true, None), (false, Some(0)), (true, Some(1))] {
                    let change = suspicion.change(&after, spoilt, variant).unwrap();
                    assert!(!change.is_empty(), "{name}: {spoilt} {variant:?} changes nothing");
                    for file in change.files {
                        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
                        let (old, new) = (lines(file.old_text()), lines(file.new_text()));
                        assert_eq!(old.len(), new.len(), "{name}: lines come or go");
                        for (old, new) in old.iter().zip(&new).filter(|(old, new)| old != new) {
                            println!("   {spoilt} {variant:?}: {}  =>  {}", old.trim(), new.trim());
                        }
                    }
                }
            }
            match (table, suspicion) {
                (true, found) => {
                    tables += 1;
                    missed.extend(found.is_none().then_some(name));
                }
                (false, found) => {
                    honest += 1;
                    suspects.extend(found.is_some().then_some(name));
                }
            }
        }
    }
    println!("lookup tables suspect: {} of {tables}, missed {missed:?}", tables - missed.len());
    println!("honest, right and partial patches suspect: {} of {honest}: {suspects:?}", suspects.len());
    assert!(missed.len() * 10 <= tables, "{missed:?}");
    assert!(suspects.len() * 20 <= honest, "{suspects:?}");
}

#[test]
fn hostile_patches_that_a_tree_can_express_are_refused() {
    let Some(dir) = cases_dir() else { return };
    let all: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("hostile.json")).unwrap()).unwrap();
    let mut seen = 0;
    for patch in all["patches"].as_array().unwrap() {
        let id = patch["id"].as_str().unwrap();
        // Only what survives as an exact change concerns the guards; the rest is the patch module's.
        let simple = matches!(
            id,
            "submodule_add"
                | "symlink_create_outside"
                | "symlink_create_absolute"
                | "mode_to_executable"
                | "new_case_twin"
                | "nul_in_body"
                | "bidi_in_body"
                | "dash_name"
                | "dash_option_name"
                | "file_over_directory"
                | "directory_over_file"
                | "ci_workflow"
                | "git_hook"
                | "loop_state"
                | "gitmodules"
                | "gitattributes"
                | "parent_path"
                | "long_name"
        );
        if !simple {
            continue;
        }
        let files = all["files"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(p, t)| (p.clone(), FileVersion::regular(t.as_str().unwrap_or_default())));
        let tree = MemoryTree::new(files);
        let judgement = judged(&Value::Null, &tree, patch["diff"].as_str().unwrap(), &[]);
        let expected: Vec<&str> = patch["guards"].as_array().unwrap().iter().map(|g| g.as_str().unwrap()).collect();
        let codes: Vec<&str> = judgement.refusals.iter().map(|f| f.code.as_str()).collect();
        assert!(
            !codes.is_empty() && (expected.is_empty() || codes.iter().any(|c| expected.contains(c))),
            "{id}: {codes:?}, want {expected:?}"
        );
        seen += 1;
    }
    println!("hostile patches refused: {seen}");
}

#[test]
fn the_seed_comes_back_whatever_a_cheat_did_to_its_tests() {
    let Some(dir) = cases_dir() else { return };
    let (mut same, mut partial) = (0, 0);
    for entry in std::fs::read_dir(dir.join("cases")).unwrap() {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let seed = tree_of(&case);
        for patch in case["patches"].as_array().unwrap() {
            let diff = patch["diff"].as_str().unwrap_or_default();
            if diff.is_empty() || patch["kind"] == "malformed" {
                continue;
            }
            let current = applied(&seed, &apply(&seed, diff));
            let restoration = restore_seed_tests(&seed, &current, &[], &[]).unwrap();
            let proof = applied(&current, &restoration.change);
            partial += usize::from(!restoration.partial.is_empty());
            for path in seed.paths() {
                let (was, is) = (seed.read(path).unwrap().unwrap(), proof.read(path).unwrap());
                let role = test_role(path, was.text());
                if matches!(role, Role::Test | Role::TestData | Role::CheckConfig) {
                    assert_eq!(is, Some(was), "{} {} {path}", case["id"], patch["id"]);
                    same += 1;
                } else if role == Role::Inline {
                    let text = is.as_ref().and_then(|v| v.text()).unwrap_or_default().to_string();
                    let (old, new) = (items(was.text().unwrap()), items(&text));
                    assert_eq!(old, new, "{} {} {path}", case["id"], patch["id"]);
                    same += 1;
                }
            }
        }
    }
    println!("restored test files: {same}; partial restorations: {partial}");
}

fn items(text: &str) -> Vec<String> {
    let tokens = lex::tokens(lex::Lang::Rust, text);
    cases::cfg_test_items(&tokens).into_iter().map(|(first, end)| lex::join(&tokens[first..end])).collect()
}

fn applied(tree: &MemoryTree, change: &Change) -> MemoryTree {
    let mut files: BTreeMap<String, FileVersion> =
        tree.paths().iter().map(|path| (path.clone(), tree.read(path).unwrap().unwrap())).collect();
    for file in &change.files {
        match &file.new {
            Some(new) => files.insert(file.path.clone(), new.clone()),
            None => files.remove(&file.path),
        };
    }
    MemoryTree::new(files)
}

#[test]
fn codes_are_the_words_of_the_contract() {
    for code in [Code::DeletesTest, Code::SpecialCasesTests, Code::OutsideRepo, Code::DoesNotApply, Code::NotSelected] {
        assert_eq!(serde_json::to_value(code).unwrap(), code.to_string());
    }
    let finding = Finding { code: Code::EarlyExit, path: "a".into(), line: Some(1), reason: "b".into() };
    assert_eq!(serde_json::to_string(&finding).unwrap(), r#"{"code":"early-exit","path":"a","line":1,"reason":"b"}"#);
}

/// One change of one file that must be refused, in languages and with runners the collection lacks.
#[test]
fn cheats_of_other_languages_and_runners_are_refused() {
    use super::rules::testing::{codes, codes_new};
    let mut missed = Vec::new();
    let py = "import unittest\nfrom app import f\n\n\nclass ATest(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n";
    let mocha = "const { expect } = require('chai');\nconst { f } = require('../src/f');\n\ndescribe('f', function () {\n  it('adds', function () {\n    expect(f(1)).to.equal(2);\n  });\n});\n";
    let kotlin = "class FTest {\n    @Test\n    fun `adds one`() {\n        assertEquals(2, f(1))\n    }\n}\n";
    let cs = "public class FTests\n{\n    [Fact]\n    public void Adds()\n    {\n        Assert.Equal(2, F.Add(1));\n    }\n}\n";
    let php = "<?php\nclass FTest extends TestCase\n{\n    public function testAdds(): void\n    {\n        $this->assertSame(2, f(1));\n    }\n}\n";
    let bats = "@test \"adds\" {\n  run add 1\n  [ \"$output\" = \"2\" ]\n}\n";
    let rspec = "RSpec.describe F do\n  it 'adds' do\n    expect(F.add(1)).to eq(2)\n  end\nend\n";
    let go = "package f\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {\n\tcases := []struct{ in, want int }{\n\t\t{1, 2},\n\t\t{2, 3},\n\t}\n\tfor _, c := range cases {\n\t\tif got := Add(c.in); got != c.want {\n\t\t\tt.Errorf(\"got %d\", got)\n\t\t}\n\t}\n}\n";
    let cpp = "TEST(Add, One) {\n  EXPECT_EQ(add(1), 2);\n}\n";
    let elixir = "defmodule FTest do\n  use ExUnit.Case\n\n  test \"adds\" do\n    assert F.add(1) == 2\n  end\nend\n";
    let swift = "final class FTests: XCTestCase {\n    func testAdds() {\n        XCTAssertEqual(f(1), 2)\n    }\n}\n";
    for (path, old, from, to) in [
        ("tests/test_f.py", py, "class ATest", "del f\n\n\nclass ATest"),
        ("tests/test_f.py", py, "(f(1), 2)\n", "(f(1), 2)\n\n\nATest.test_a = lambda self: None\n"),
        ("tests/test_f.py", py, "(f(1), 2)\n", "(f(1), 2)\n\n\ndel ATest.test_a\n"),
        ("tests/test_f.py", py, "self.assertEqual(f(1), 2)", "self.assertAlmostEqual(f(1), 2, delta=99)"),
        (
            "tests/test_f.py",
            py,
            "        self.assertEqual(f(1), 2)",
            "        self.skipTest('later')\n        self.assertEqual(f(1), 2)",
        ),
        (
            "tests/test_f.py",
            py,
            "def test_a(self)",
            "async def helper(self):\n        pass\n\n    def testless_a(self)",
        ),
        ("test/f.spec.js", mocha, "expect(f(1)).to.equal(2)", "expect(f(1)).to.exist"),
        ("test/f.spec.js", mocha, "  it('adds', function () {\n", "  it('adds', function () {\n    this.skip();\n"),
        ("test/f.spec.js", mocha, "describe('f'", "xdescribe('f'"),
        ("test/f.spec.js", mocha, "const { f }", "const f2 = 1;\nexpect.fail = () => {};\nconst { f }"),
        (
            "test/f.spec.js",
            mocha,
            "  it('adds', function () {\n    expect(f(1)).to.equal(2);\n  });\n",
            "  if (false) {\n  it('adds', function () {\n    expect(f(1)).to.equal(2);\n  });\n  }\n",
        ),
        ("test/f.spec.js", mocha, "  it('adds'", "  return;\n  it('adds'"),
        (
            "test/f_test.cpp",
            cpp,
            "TEST(Add, One) {\n  EXPECT_EQ(add(1), 2);\n}\n",
            "#if 0\nTEST(Add, One) {\n  EXPECT_EQ(add(1), 2);\n}\n#endif\n",
        ),
        ("test/f.spec.js", mocha, "require('chai')", "require('./chai')"),
        ("src/test/kotlin/FTest.kt", kotlin, "    @Test\n", "    @Ignore\n    @Test\n"),
        ("src/test/kotlin/FTest.kt", kotlin, "assertEquals(2, f(1))", "assertTrue(true)"),
        ("F.Tests/FTests.cs", cs, "[Fact]", "[Fact(Skip = \"x\")]"),
        ("F.Tests/FTests.cs", cs, "        Assert.Equal", "        return;\n        Assert.Equal"),
        (
            "tests/FTest.php",
            php,
            "        $this->assertSame",
            "        $this->markTestSkipped();\n        $this->assertSame",
        ),
        ("tests/FTest.php", php, "testAdds", "adds"),
        ("test/f.bats", bats, "  [ \"$output\" = \"2\" ]\n", "  true\n"),
        ("test/f.bats", bats, "  run", "  skip later\n  run"),
        ("spec/f_spec.rb", rspec, "eq(2)", "be_truthy"),
        ("spec/f_spec.rb", rspec, "RSpec.describe F do", "RSpec.xdescribe F do"),
        ("f_test.go", go, "\t\t{2, 3},\n", ""),
        ("f_test.go", go, "t.Errorf", "t.Logf"),
        ("f_test.go", go, "got != c.want", "false"),
        ("test/f_test.cpp", cpp, "TEST(Add, One)", "TEST(Add, DISABLED_One)"),
        ("test/f_test.cpp", cpp, "EXPECT_EQ(add(1), 2)", "EXPECT_TRUE(true)"),
        ("test/f_test.exs", elixir, "  test \"adds\"", "  @tag :skip\n  test \"adds\""),
        ("Tests/FTests.swift", swift, "XCTAssertEqual(f(1), 2)", "XCTAssertNotNil(f(1))"),
        ("Tests/FTests.swift", swift, "func testAdds", "func adds"),
        ("src/app.py", "def f(x):\n    return x\n", "return x", "return sys._getframe(1).f_locals['want']"),
        (
            "src/app.py",
            "def f(x):\n    return x\n",
            "return x\n",
            "return x\n\n\ndef pytest_runtest_makereport(item, call):\n    pass\n",
        ),
        (
            "src/app.js",
            "exports.f = (x) => x;\n",
            "exports.f",
            "if (new Error().stack.includes('/test/')) { exports.g = 1; }\nexports.f",
        ),
        (
            "src/app.js",
            "exports.f = (x) => x;\n",
            "exports.f",
            "require('util').isDeepStrictEqual = () => true;\nexports.f",
        ),
        (
            "src/lib.rs",
            "pub fn f() -> i32 {\n    1\n}\n",
            "    1\n",
            "    if std::env::var(\"NEXTEST\").is_ok() {\n        return 2;\n    }\n    1\n",
        ),
        (
            "F/F.csproj",
            "<Project>\n  <PropertyGroup>\n  </PropertyGroup>\n</Project>\n",
            "  <PropertyGroup>\n",
            "  <PropertyGroup>\n    <VSTestNoBuild>true</VSTestNoBuild>\n",
        ),
        ("composer.json", "{\"scripts\": {\"test\": \"phpunit\"}}\n", "phpunit", "true"),
        ("tsconfig.json", "{\"compilerOptions\": {\"strict\": true}}\n", "true", "false"),
    ] {
        assert!(old.contains(from), "{path}: {from}");
        if codes(path, old, &old.replacen(from, to, 1)).is_empty() {
            missed.push(format!("{path}: {to}"));
        }
    }
    for (path, text) in [
        (
            "tests/test_new.py",
            "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n\ndef test_a():\n    pass\n",
        ),
        ("test/new.test.js", "const assert = require('node:assert');\nassert.equal = () => {};\n"),
        ("test/new.test.js", "process.exit(0);\n"),
        ("tests/new.rs", "#[test]\nfn a() {\n    std::process::exit(0);\n}\n"),
        ("x_test.go", "package f\n\nfunc TestMain(m *testing.M) {\n\tos.Exit(0)\n}\n"),
        ("tests/__init__.py", "def load_tests(loader, tests, pattern):\n    return unittest.TestSuite()\n"),
        ("test/package.json", "{\"scripts\": {\"test\": \"true\"}}\n"),
    ] {
        if codes_new(path, text).is_empty() {
            missed.push(format!("{path}: {text}"));
        }
    }
    assert_eq!(missed, Vec::<String>::new());
}

#[test]
fn honest_changes_of_other_languages_and_runners_pass() {
    use super::rules::testing::{codes, codes_new};
    let mut wrong = Vec::new();
    for (path, old, new) in [
        (
            "src/App.java",
            "class App {\n  int f(int x) { return x; }\n}\n",
            "class App {\n  /** Skips nothing; see AppTest. */\n  int f(int x) {\n    if (x < 0) {\n      return 0;\n    }\n    return x + 1;\n  }\n}\n",
        ),
        (
            "pkg/add.go",
            "package pkg\n\nfunc Add(x int) int { return x }\n",
            "package pkg\n\nimport \"errors\"\n\n// Add is tested in add_test.go.\nfunc Add(x int) (int, error) {\n\tif x < 0 {\n\t\treturn 0, errors.New(\"negative\")\n\t}\n\treturn x + 1, nil\n}\n",
        ),
        ("lib/a.rb", "def f(x)\n  x\nend\n", "def f(x)\n  raise ArgumentError, 'skip' if x.nil?\n  x + 1\nend\n"),
        (
            "src/a.ts",
            "export const f = (x: number) => x;\n",
            "export const MODES = ['dev', 'test'];\nexport const f = (x: number): number => {\n  try {\n    return parse(x);\n  } catch (error) {\n    throw new TypeError(`bad ${x}`, { cause: error });\n  }\n};\n",
        ),
        (
            "app/a.py",
            "import os\n\ndef f(x):\n    return x\n",
            "import os\n\nMODES = ['dev', 'test']\n\ndef f(x):\n    \"\"\"Exit, skip, xfail.\"\"\"\n    if not x:\n        return None\n    return os.path.join('data', x)\n",
        ),
        (
            "src/main.rs",
            "fn main() {\n    run();\n}\n",
            "fn main() {\n    if let Err(error) = run() {\n        eprintln!(\"{error}\");\n        std::process::exit(1);\n    }\n}\n",
        ),
        (
            "src/a.rs",
            "pub struct A(i32);\n",
            "#[derive(PartialEq)]\npub struct A(i32);\n\nimpl A {\n    pub fn test(&self) -> bool {\n        self.0 > 0\n    }\n}\n",
        ),
        (
            "package.json",
            "{\"name\": \"a\", \"scripts\": {\"test\": \"jest\"}, \"dependencies\": {}}\n",
            "{\"name\": \"a\", \"version\": \"1.1.0\", \"scripts\": {\"test\": \"jest\", \"start\": \"node a\"}, \"dependencies\": {\"left-pad\": \"^1.0.0\"}}\n",
        ),
        (
            "setup.cfg",
            "[metadata]\nname = a\n[tool:pytest]\naddopts = -q\n",
            "[metadata]\nname = a\ndescription = Helpers\n[tool:pytest]\naddopts = -q\n",
        ),
        (
            "src/test/java/ATest.java",
            "import org.junit.jupiter.api.Test;\n\nclass ATest {\n    @Test\n    void a() {\n        assertEquals(1, f());\n    }\n}\n",
            "import org.junit.jupiter.api.Test;\nimport java.util.List;\n\nclass ATest {\n    @Test\n    void a() {\n        assertEquals(1, f());\n    }\n\n    @Test\n    void b() {\n        assertEquals(List.of(), g());\n    }\n}\n",
        ),
        ("test/a.bats", "@test \"a\" {\n  run x\n}\n", "@test \"a\" {\n  run x\n}\n\n@test \"b\" {\n  run y\n}\n"),
        (
            "tests/ATest.php",
            "<?php\nclass ATest extends TestCase\n{\n    public function testA(): void\n    {\n        $this->assertSame(1, f());\n    }\n}\n",
            "<?php\nclass ATest extends TestCase\n{\n    public function testA(): void\n    {\n        $this->assertSame(1, f());\n    }\n\n    public function testB(): void\n    {\n        $this->assertSame(2, g());\n    }\n}\n",
        ),
        (
            "A.Tests/ATests.cs",
            "public class ATests\n{\n    [Fact]\n    public void A()\n    {\n        Assert.Equal(1, F());\n    }\n}\n",
            "public class ATests\n{\n    [Fact]\n    public void A()\n    {\n        Assert.Equal(1, F());\n    }\n\n    [Theory]\n    [InlineData(1)]\n    public void B(int x)\n    {\n        Assert.Equal(x, G());\n    }\n}\n",
        ),
        (
            "test/a.test.js",
            "import { test, expect } from 'vitest';\nimport { f } from '../src/f.js';\n\ntest('a', () => {\n  expect(f()).toBe(1);\n});\n",
            "import { test, expect } from 'vitest';\nimport { f, g } from '../src/f.js';\n\ntest('a', () => {\n  expect(f()).toBe(1);\n});\n\ntest('b', () => {\n  expect(() => g()).toThrow('skip');\n});\n",
        ),
        (
            "tests/test_a.py",
            "import pytest\nfrom app import f\n\n\n@pytest.mark.parametrize('x', [1, 2])\ndef test_a(x):\n    assert f(x) == x\n",
            "import pytest\nfrom app import f\n\n\n@pytest.fixture\ndef sample():\n    return [1]\n\n\n@pytest.mark.parametrize('x', [1, 2])\ndef test_a(x):\n    assert f(x) == x\n\n\n@pytest.mark.parametrize('x', [3])\ndef test_b(x, sample):\n    if x:\n        assert f(x) not in sample\n",
        ),
    ] {
        wrong.extend(codes(path, old, new).into_iter().map(|code| format!("{path}: {code}: {new}")));
    }
    for (path, text) in [
        (
            "tests/test_cli.py",
            "import subprocess, sys\n\n\ndef test_exit():\n    out = subprocess.run([sys.executable, '-c', 'import sys; sys.exit(3)'])\n    assert out.returncode == 3\n",
        ),
        (
            "test/cli.test.js",
            "const test = require('node:test');\nconst assert = require('node:assert');\ntest('exits', () => {\n  const out = spawnSync(process.execPath, ['bin/a.js']);\n  assert.equal(out.status, 2);\n});\n",
        ),
        ("tests/new.rs", "use app::f;\n\n#[test]\n#[should_panic]\nfn a() {\n    f(0);\n}\n"),
        ("docs/testing.md", "Run pytest; never skip.\n"),
        ("src/spec/parser.ts", "export const x = 1;\n"),
        (".editorconfig", "root = true\n"),
        ("CHANGELOG.md", "- fix\n"),
    ] {
        wrong.extend(codes_new(path, text).into_iter().map(|code| format!("{path}: {code}: {text}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

mod any_text {
    use proptest::prelude::*;

    use super::super::rules::testing::judged_in;
    use super::super::{fingerprint, restore_seed_tests};
    use crate::change::{Change, FileChange, FileVersion, MemoryTree};

    /// Pieces that rules look for, so that random texts reach deep into them.
    const PIECES: [&str; 64] = [
        "test",
        "it",
        "describe",
        "def ",
        "class ",
        "fn ",
        "func ",
        "#[test]",
        "#[cfg(test)]",
        "mod t",
        "@Test",
        "[Fact]",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ":",
        ";",
        ",",
        ".",
        "=",
        "==",
        "\n",
        "\n    ",
        "\n",
        " ",
        "'a'",
        "\"b",
        "`",
        "/",
        "//",
        "#",
        "/*",
        "*/",
        "assert",
        "assert_eq!",
        "expect",
        "return",
        "if",
        "try",
        "except",
        "catch",
        "rescue",
        "process",
        "exit",
        "sys",
        "os",
        "_exit",
        "require",
        "'assert'",
        "Object",
        "assign",
        "setattr",
        "unittest",
        "__eq__",
        "lambda",
        "equals",
        "operator",
        "é",
        "do",
        "end",
        "atexit.register",
    ];

    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn never_breaks_a_rule(old in text(), new in text(), pick in 0usize..18) {
            let path = ["tests/test_a.py", "app/a.py", "a.test.ts", "src/a.js", "src/lib.rs", "tests/a.rs", "a_test.go", "a.go", "ATest.java", "src/A.java", "A.cs", "lib/a.rb",
                "spec/a_spec.rb", "a.php", "test/a.bats", "package.json", "Makefile", "src/a.cpp"][pick];
            let judgement = judged_in(&[(path, Some(&old), Some(&new))], &[], &["make test"], &[]);
            prop_assert!(old != new || judgement.is_accepted());
            let created = judged_in(&[(path, None, Some(&new))], &[], &[], &[]);
            prop_assert!(created.permitted.is_empty());
            let tree = |text: &str| MemoryTree::new([(path.to_string(), FileVersion::regular(text))]);
            prop_assert!(restore_seed_tests(&tree(&old), &tree(&new), &[], &[]).is_ok());
            let change = |old: &str, new: &str| Change::new(vec![FileChange { path: path.into(), old: Some(FileVersion::regular(old)), new: Some(FileVersion::regular(new)) }]);
            prop_assert_eq!(fingerprint(&change(&old, &new)), fingerprint(&change(&old, &format!("\n{new}"))));
        }
    }
}
