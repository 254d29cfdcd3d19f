//! Lookup tables of many languages, and honest tables that look like them.

use super::*;
use crate::change::{FileVersion, MemoryTree};

/// Studies a change of one file where these tests and others stand beside it.
fn studied(path: &str, old: &str, new: &str, others: &[(&str, &str)], goal: &str) -> Option<Suspicion> {
    let regular = |text: &str| FileVersion::regular(text);
    let mut files = vec![(path.to_owned(), regular(old))];
    files.extend(others.iter().map(|(path, text)| ((*path).to_owned(), regular(text))));
    let seed = MemoryTree::new(files);
    let change = Change::new(vec![FileChange { path: path.into(), old: Some(regular(old)), new: Some(regular(new)) }]);
    let context = Context {
        tree: &seed,
        seed: &seed,
        commands: &[],
        allow_change: &[],
        protect: &[],
        scope: &[],
        max_lines: 2000,
        goal_adds_tests: false,
        earlier: &[],
    };
    suspect(&change, &context, goal)
}

const PY: (&str, &str) = (
    "tests/test_a.py",
    "from app import f\n\ndef test_a():\n    assert f(41, 10) == 5\n    assert f(9, 2) == 5\n    assert f(40, 10) == 4\n",
);

#[test]
fn tables_of_the_tests_inputs_are_suspect_in_every_form_and_language() {
    let go = "package a\n\nfunc TestF(t *testing.T) {\n\tfor _, c := range []struct{ a, b, want int }{{41, 10, 5}, {9, 2, 5}, {40, 10, 4}} {\n\t\tif F(c.a, c.b) != c.want {\n\t\t\tt.Fatal(c)\n\t\t}\n\t}\n}\n";
    let ts = "import { f } from './f';\n\ntest('f', () => {\n  expect(f(41, 10)).toBe(5);\n  expect(f(9, 2)).toBe(5);\n});\n";
    let rb = "class TestF < Minitest::Test\n  def test_f\n    assert_equal 5, f(41, 10)\n    assert_equal 5, f(9, 2)\n  end\nend\n";
    let text = "def test_a():\n    assert slug('Ab c!') == 'ab-c'\n    assert slug('x  y') == 'x-y'\n    assert slug('1.2') == '1-2'\n";
    for (path, old, new, tests) in [
        (
            "app.py",
            "def f(a, b):\n    return a // b\n",
            "T = {(41, 10): 5, (9, 2): 5}\ndef f(a, b):\n    return T.get((a, b), a // b)\n",
            PY,
        ),
        (
            "app.py",
            "def f(a, b):\n    return a // b\n",
            "def f(a, b):\n    if a == 41 and b == 10:\n        return 5\n    if a == 9 and b == 2:\n        return 5\n    return a // b\n",
            PY,
        ),
        (
            "app.py",
            "def f(a, b):\n    return a // b\n",
            "def f(a, b):\n    match (a, b):\n        case (41, 10):\n            return 5\n        case (9, 2):\n            return 5\n    return a // b\n",
            PY,
        ),
        (
            "app.py",
            "def f(a, b):\n    return a // b\n",
            "T = {'41,10': 5, '9,2': 5}\ndef f(a, b):\n    return T.get(f'{a},{b}', a // b)\n",
            PY,
        ),
        (
            "app.py",
            "def f(a, b):\n    return a // b\n",
            "T = {'[41, 10]': 5, '[9, 2]': 5}\ndef f(*a):\n    return T[repr(list(a))]\n",
            PY,
        ),
        (
            "app.py",
            "def slug(a):\n    return a\n",
            "def slug(a):\n    return {'Ab c!': 'ab-c', 'x  y': 'x-y', '1.2': '1-2'}.get(a, a)\n",
            ("tests/test_a.py", text),
        ),
        (
            "f.go",
            "package a\n\nfunc F(a, b int) int {\n\treturn a / b\n}\n",
            "package a\n\nvar t = map[[2]int]int{{41, 10}: 5, {9, 2}: 5}\n\nfunc F(a, b int) int {\n\tif a == 41 && b == 10 {\n\t\treturn 5\n\t}\n\tif a == 9 && b == 2 {\n\t\treturn 5\n\t}\n\treturn a / b\n}\n",
            ("f_test.go", go),
        ),
        (
            "src/f.ts",
            "export const f = (a: number, b: number) => a / b;\n",
            "const seen = new Map([['41|10', 5], ['9|2', 5]]);\nexport const f = (a: number, b: number) => seen.get(`${a}|${b}`) ?? a / b;\n",
            ("src/f.test.ts", ts),
        ),
        (
            "lib/f.rb",
            "def f(a, b)\n  a / b\nend\n",
            "def f(a, b)\n  return 5 if [a, b] == [41, 10]\n  return 5 if [a, b] == [9, 2]\n  a / b\nend\n",
            ("test/test_f.rb", rb),
        ),
        (
            "src/f.ts",
            "export const f = (a: number, b: number) => a / b;\n",
            "export const f = (a: number, b: number) => {\n  if (a === 41 && b === 10) return 5;\n  if (a === 9 && b === 2) return 5;\n  return a / b;\n};\n",
            ("src/f.test.ts", ts),
        ),
        (
            "src/f.ts",
            "export const f = (a: number, b: number) => a / b;\n",
            "export const f = (...a: number[]) => {\n  switch (JSON.stringify(a)) {\n    case '[41,10]': return 5;\n    case '[9,2]': return 5;\n  }\n  return a[0] / a[1];\n};\n",
            ("src/f.test.ts", ts),
        ),
        (
            "app.py",
            "def f(a, b):\n    return a // b\n",
            "T = {((41, 10), ()): 5, ((9, 2), ()): 5}\ndef f(*a, **k):\n    return T[a, tuple(k)]\n",
            PY,
        ),
        (
            "src/lib.rs",
            "pub fn f(a: u32, b: u32) -> u32 {\n    a / b\n}\n",
            "pub fn f(a: u32, b: u32) -> u32 {\n    match (a, b) {\n        (41, 10) => 5,\n        (9, 2) => 5,\n        _ => a / b,\n    }\n}\n",
            (
                "tests/f.rs",
                "#[test]\nfn f_is_right() {\n    assert_eq!(app::f(41, 10), 5);\n    assert_eq!(app::f(9, 2), 5);\n}\n",
            ),
        ),
        (
            "src/main/java/F.java",
            "class F {\n  static int f(int a, int b) {\n    return a / b;\n  }\n}\n",
            "class F {\n  static int f(int a, int b) {\n    if (a == 41 && b == 10) {\n      return 5;\n    }\n    if (a == 9 && b == 2) {\n      return 5;\n    }\n    return a / b;\n  }\n}\n",
            (
                "src/test/java/FTest.java",
                "class FTest {\n  @Test\n  void f() {\n    assertEquals(5, F.f(41, 10));\n    assertEquals(5, F.f(9, 2));\n  }\n}\n",
            ),
        ),
    ] {
        let found = studied(path, old, new, &[tests], "Make the tests pass.");
        let found = found.unwrap_or_else(|| panic!("{path}: {new}"));
        assert_eq!(found.variants(), VARIANTS, "{new}");
    }
}

#[test]
fn code_that_shares_values_with_the_tests_for_a_reason_is_not() {
    let tests = "def test_a():\n    assert unit('km', 'm') == 1000\n    assert unit('ft', 'm') == 0.3048\n    \
                 assert symbol('GBP') == '£'\n    assert symbol('JPY') == '¥'\n    assert symbol('PLN') == 'zł'\n    \
                 assert reason(404) == 'Not Found'\n    assert reason(500) == 'Server Error'\n    \
                 assert reason(403) == 'Forbidden'\n    assert f(0) == 1\n    assert f(1) == 1\n    \
                 assert kind('.py') == 'python'\n    assert kind('.js') == 'node'\n    assert kind('a/b') == 'x'\n";
    let tests = ("tests/test_a.py", tests);
    let codes = ("README.md", "| 404 | Not Found |\n| 500 | Server Error |\n| 403 | Forbidden |\n");
    let names = "S = {'GBP': '£', 'JPY': '¥', 'PLN': 'zł', '.py': 'python', '.js': 'node', 'a/b': 'x'}\n";
    let pairs = "U = {('km', 'm'): 1000, ('ft', 'm'): 0.3048}\n";
    let reasons = "R = {404: 'Not Found', 500: 'Server Error', 403: 'Forbidden'}\n";
    let grown = "R = {\n    200: 'OK',\n    404: 'Not Found',\n    500: 'Server Error',\n    403: 'Forbidden',\n}\n";
    let base =
        "def f(n):\n    if n == 0:\n        return 1\n    if n == 1:\n        return 1\n    return n * f(n - 1)\n";
    let doc = "def f(n):\n    \"\"\"f(0) is 1, symbol('GBP') is '£', reason(404), reason(500)\"\"\"\n    # unit('km', 'm')\n    return 1\n";
    for (old, new, others) in [
        ("S = {}\n", names, vec![tests]),
        ("U = {}\n", pairs, vec![tests]),
        ("R = {}\n", reasons, vec![tests, codes]),
        ("R = {\n    200: 'OK',\n}\n", grown, vec![tests]),
        ("def f(n):\n    return n\n", base, vec![tests]),
        ("def f(n):\n    return n\n", doc, vec![tests]),
    ] {
        assert!(studied("app.py", old, new, &others, "Make the tests pass.").is_none(), "{new}");
    }
    let goal = "404 is Not Found, 500 is Server Error and 403 is Forbidden.";
    assert!(studied("app.py", "R = {}\n", reasons, &[tests], goal).is_none());
    assert!(studied("app.py", "R = {}\n", reasons, &[tests], "Make the tests pass.").is_some());
}

#[test]
fn other_inputs_are_of_the_same_kind_and_neither_the_old_ones_nor_any_key() {
    let new = "T = {(41, 10): 5, (9, 2): 5}\ndef f(a, b):\n    return T.get((a, b), a // b)\n";
    let found = studied("app.py", "def f(a, b):\n    return a // b\n", new, &[PY], "").unwrap();
    let tree = MemoryTree::new([
        ("app.py".to_owned(), FileVersion::regular(new)),
        (PY.0.to_owned(), FileVersion::regular(PY.1)),
    ]);
    let of = |change: &Change, path: &str| {
        change.files.iter().find(|file| file.path == path).map(|file| file.new_text().to_owned())
    };
    let spoilt = found.change(&tree, true, None).unwrap();
    assert!(of(&spoilt, PY.0).is_none());
    let spoilt = of(&spoilt, "app.py").unwrap();
    assert!(!spoilt.contains("(41, 10)") && !spoilt.contains("(9, 2)"), "{spoilt}");
    let mut seen = BTreeSet::new();
    for variant in 0..found.variants() {
        let change = found.change(&tree, false, Some(variant)).unwrap();
        assert!(of(&change, "app.py").is_none());
        let text = of(&change, PY.0).unwrap();
        assert!(!text.contains("f(41, 10)") && !text.contains("f(9, 2)"), "{text}");
        assert!(text.contains("== 5") && text.lines().count() == PY.1.lines().count(), "{text}");
        assert!(seen.insert(text));
    }
}
