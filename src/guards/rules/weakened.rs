//! Existing tests that demand less: assertions gone, loosened, void or never reached. Whatever else changes in an
//! existing test needs the user's permission.

use std::collections::BTreeMap;

use super::super::cases::Case;
use super::super::layout::{self, Around, Layout};
use super::super::lex::{self, Kind, Lang, Token, close_of};
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        let tests = matches!(view.role, Role::Test | Role::Inline) && view.has_old_tests();
        if !tests || view.restores_seed || !view.in_seed || view.is_deleted() {
            continue;
        }
        for (index, old) in view.old.cases.iter().enumerate() {
            let nth = view.old.cases[..index].iter().filter(|other| other.name == old.name).count();
            let Some(new) = view.new.cases.iter().filter(|new| new.name == old.name).nth(nth) else { continue };
            let decided = decider(&view.new.tokens, new);
            if depth(view.lang, &view.new.tokens, new) > depth(view.lang, &view.old.tokens, old)
                || decided.is_some() && decided != decider(&view.old.tokens, old)
            {
                let reason =
                    format!("the test `{}` now stands inside something that decides whether it runs", old.name);
                report.refuse(Code::WeakensTest, view.path, new.line, reason);
            }
            let same = old.text(&view.old.tokens) == new.text(&view.new.tokens) && !moved_indent(view, old, new);
            if !same && layout_of(view, old, new) == Layout::Other {
                compare(view, old, new, scene, report);
            }
        }
    }
}

/// Tells what in a test changed: its layout, the rows it is made for, or more.
fn layout_of(view: &View<'_>, old: &Case, new: &Case) -> Layout {
    let (old, new) = (&view.old.tokens[old.first..old.end], &view.new.tokens[new.first..new.end]);
    let asserted = assertions(view.lang, old);
    layout::compare(old, new, &Around { lang: view.lang, tokens: &view.old.tokens, asserted: &asserted })
}

/// Returns what stands right before a test and decides whether, or when, it is declared: `a && it(…)`, `() => it(…)`.
fn decider<'t>(tokens: &[Token<'t>], case: &Case) -> Option<&'t str> {
    let before = case.first.checked_sub(1).map(|at| tokens[at].text)?;
    matches!(before, "&&" | "||" | "??" | "?" | "=>" | ":" | "!" | "void").then_some(before)
}

/// How deep a test stands in blocks.
fn depth(lang: Lang, tokens: &[Token<'_>], case: &Case) -> i64 {
    if lang == Lang::Python {
        return i64::from(tokens[case.first].col);
    }
    tokens[..case.first].iter().filter(|t| t.kind == Kind::Punct).fold(0, |depth, token| match token.text {
        "{" => depth + 1,
        "}" => depth - 1,
        _ => depth,
    })
}

/// In Python the nesting of a line is part of what it does.
fn moved_indent(view: &View<'_>, old: &Case, new: &Case) -> bool {
    let columns = |tokens: &[Token<'_>], case: &Case| -> Vec<i64> {
        let tokens = &tokens[case.first..case.end];
        let base = i64::from(tokens.first().map_or(0, |t| t.col));
        tokens
            .iter()
            .enumerate()
            .filter(|(i, t)| *i == 0 || tokens[i - 1].line < t.line)
            .map(|(_, t)| i64::from(t.col) - base)
            .collect()
    };
    view.lang == Lang::Python && columns(&view.old.tokens, old) != columns(&view.new.tokens, new)
}

fn compare(view: &View<'_>, old_case: &Case, new_case: &Case, scene: &Scene<'_>, report: &mut Report) {
    let old = &view.old.tokens[old_case.first..old_case.end];
    let new = &view.new.tokens[new_case.first..new_case.end];
    let name = &old_case.name;
    let line = first_change(&lex::lines(old), &lex::lines(new)).unwrap_or(new_case.line);
    if follows_a_renaming(scene, old, new) {
        let reason = format!("the existing test `{name}` changes, to follow a name of the program");
        report.refuse(Code::PermissionNeeded, view.path, line, reason);
        return;
    }
    let mut weak = |reason: String| report.refuse(Code::WeakensTest, view.path, line, reason);

    let leaves = |tokens: &[Token<'_>]| {
        tokens
            .iter()
            .filter(|t| {
                t.is_word()
                    && matches!(t.text, "return" | "break" | "continue" | "exit" | "throw" | "raise" | "goto" | "die")
            })
            .count()
    };
    if leaves(new) > leaves(old) {
        weak(format!("the test `{name}` may end before its assertions"));
    }
    let conditions = |tokens: &[Token<'_>]| {
        tokens.iter().filter(|t| t.is_word() && matches!(t.text, "if" | "unless" | "while" | "when")).count()
    };
    if conditions(new) > conditions(old) {
        weak(format!("a condition now decides what `{name}` asserts"));
    }
    if void_count(new) > void_count(old) {
        weak(format!("an assertion in `{name}` holds whatever the code does"));
    }
    let (old_asserts, new_asserts) = (assertions(view.lang, old), assertions(view.lang, new));
    let missing = subtract(&old_asserts, &new_asserts);
    let telling: Vec<&String> = missing.iter().filter(|text| !is_void(text)).collect();
    let gained = subtract(&new_asserts, &old_asserts);
    if let Some(first) = telling.first() {
        let what = if gained.len() < telling.len() { "is gone" } else { "is replaced" };
        weak(format!("the assertion `{}` in `{name}` {what}", shortened(first)));
    }
    // Lines of the test that are neither assertions nor unchanged set up what is asserted.
    let (removed, added) = changed_lines(old, new);
    let other = removed
        .iter()
        .any(|text| !old_asserts.iter().any(|assert| assert.contains(text.as_str()) || text.contains(assert.as_str())));
    if other && telling.is_empty() {
        weak(format!("what `{name}` does before it asserts is changed"));
    }
    let values = |tokens: &[Token<'_>]| tokens.iter().filter(|t| matches!(t.kind, Kind::Str | Kind::Number)).count();
    if telling.is_empty() && values(new) < values(old) {
        report.refuse(Code::DeletesTest, view.path, line, format!("values that `{name}` tries are gone"));
    }
    let asserted = assertions(view.lang, new);
    let around = Around { lang: view.lang, tokens: &view.new.tokens, asserted: &asserted };
    if layout::compare(new, old, &around) == Layout::Grows {
        report.refuse(Code::DeletesTest, view.path, line, format!("rows that `{name}` runs on are gone"));
    }
    if catches(new) > catches(old) {
        report.refuse(Code::SwallowsError, view.path, line, format!("errors in the test `{name}` are caught"));
    }
    let addition = removed.is_empty()
        && added.iter().all(|text| {
            assertions_of_text(text)
                && !["return", "if", "try"].iter().any(|word| text.split(' ').any(|part| part == *word))
                || scene.context.goal_adds_tests
        });
    if !addition && let Some(reason) = put_off(view.lang, old, new) {
        report.refuse(Code::WeakensTest, view.path, line, format!("what `{name}` asserts {reason}"));
    }
    if !addition {
        report.refuse(Code::PermissionNeeded, view.path, line, format!("the existing test `{name}` changes"));
    }
}

/// Says whether a test only says new names for old ones, and the program gave up each old name for the new one. It
/// demands as much as before then, and is the user's to allow.
fn follows_a_renaming(scene: &Scene<'_>, old: &[Token<'_>], new: &[Token<'_>]) -> bool {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    if old.len() != new.len() {
        return false;
    }
    for (was, is) in old.iter().zip(new).filter(|(was, is)| was.text != is.text || was.kind != is.kind) {
        let words = was.is_word() && is.is_word() && !is_assert_word(was.text) && !is_assert_word(is.text);
        if !words || *names.entry(was.text).or_insert(is.text) != is.text {
            return false;
        }
    }
    let holds = |tokens: &[Token<'_>], name: &str| tokens.iter().any(|token| token.is_word() && token.text == name);
    let renamed = |was: &str, is: &str| {
        scene.views.iter().filter(|view| view.is_program()).any(|view| {
            let product = |side: &super::super::view::Side<'_>, name: &str| {
                side.tokens.iter().zip(&side.region).any(|(token, test)| !test && token.is_word() && token.text == name)
            };
            product(&view.old, was) && !product(&view.old, is) && product(&view.new, is) && !product(&view.new, was)
        })
    };
    !names.is_empty() && names.iter().all(|(was, is)| !holds(new, was) && !holds(old, is) && renamed(was, is))
}

/// Says how assertions that stay may no longer be reached, or their failure no longer be seen.
fn put_off(lang: Lang, old: &[Token<'_>], new: &[Token<'_>]) -> Option<&'static str> {
    let more = |words: &[&str]| {
        let count = |tokens: &[Token<'_>]| tokens.iter().filter(|t| !t.is_str() && words.contains(&t.text)).count();
        count(new).cmp(&count(old))
    };
    if more(&["await"]).is_lt() {
        return Some("is no longer waited for");
    }
    if more(&["yield"]).is_gt() {
        return Some("stands in a generator that nobody runs");
    }
    let functions: &[&str] = match lang {
        Lang::Python => &["def", "lambda"],
        Lang::Js => &["=>", "function"],
        Lang::Rust => &["fn", "move", "spawn", "|"],
        Lang::Go => &["func"],
        Lang::Java | Lang::CSharp => &["->", "=>"],
        _ => &[],
    };
    if more(functions).is_gt() {
        return Some("stands in a function that need not be called");
    }
    let fails =
        ["raises", "assertRaises", "throws", "toThrow", "rejects", "assertThrows", "raise_error", "assertRaisesRegex"];
    if more(&fails).is_gt() {
        return Some("is expected to fail");
    }
    None
}

fn shortened(text: &str) -> String {
    /// Long enough to recognise an assertion, short enough for a table.
    const MOST: usize = 60;
    if text.chars().count() <= MOST { text.to_string() } else { text.chars().take(MOST).chain("…".chars()).collect() }
}

fn first_change(old: &[(String, u32)], new: &[(String, u32)]) -> Option<u32> {
    new.iter()
        .enumerate()
        .find(|(at, (text, _))| old.get(*at).is_none_or(|(other, _)| other != text))
        .map(|(_, (_, line))| *line)
}

fn changed_lines(old: &[Token<'_>], new: &[Token<'_>]) -> (Vec<String>, Vec<String>) {
    let text = |tokens: &[Token<'_>]| lex::lines(tokens).into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    let (old, new) = (text(old), text(new));
    let mut removed = Vec::new();
    let mut added = Vec::new();
    for op in similar::capture_diff_slices(similar::Algorithm::Myers, &old, &new) {
        if op.tag() != similar::DiffTag::Equal {
            removed.extend(old[op.old_range()].iter().cloned());
            added.extend(new[op.new_range()].iter().cloned());
        }
    }
    (removed, added)
}

/// Returns what of `from` is not in `other`, counting repetitions.
pub(super) fn subtract(from: &[String], other: &[String]) -> Vec<String> {
    let mut left: Vec<&String> = other.iter().collect();
    let mut out = Vec::new();
    for text in from {
        if let Some(at) = left.iter().position(|one| *one == text) {
            left.swap_remove(at);
        } else {
            out.push(text.clone());
        }
    }
    out
}

/// Words that catch an error.
pub(super) fn catches(tokens: &[Token<'_>]) -> usize {
    tokens
        .iter()
        .filter(|t| {
            t.is_word()
                && matches!(
                    t.text,
                    "try"
                        | "catch"
                        | "except"
                        | "rescue"
                        | "suppress"
                        | "catch_unwind"
                        | "recover"
                        | "trap"
                        | "allSettled"
                )
        })
        .count()
}

fn is_assert_word(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    ["assert", "expect", "xctassert", "refute", "check_", "require_", "debug_assert", "prop_assert"]
        .iter()
        .any(|start| lower.starts_with(start))
        || matches!(
            text,
            "CHECK"
                | "REQUIRE"
                | "should"
                | "must_equal"
                | "verify"
                | "raises"
                | "throws"
                | "fail"
                | "flunk"
                | "matches"
                | "t"
                | "require"
                | "is"
                | "ensure"
                | "insta"
        )
}

/// Returns the assertions in `tokens`, each as normalised text.
pub(super) fn assertions(lang: Lang, tokens: &[Token<'_>]) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at];
        let starts_line = at == 0 || tokens[at - 1].line < token.line;
        let shell = lang == Lang::Shell
            && starts_line
            && matches!(token.text, "[" | "[[" | "test" | "diff" | "grep" | "cmp" | "run");
        if !(shell || token.is_word() && is_assert_word(token.text)) {
            at += 1;
            continue;
        }
        if matches!(token.text, "t" | "require" | "is" | "verify" | "throws" | "should" | "matches" | "insta")
            && !is_short_assert(tokens, at)
        {
            at += 1;
            continue;
        }
        let end =
            if shell || matches!(lang, Lang::Ruby | Lang::Elixir) || (lang == Lang::Python && token.text == "assert") {
                statement_end(tokens, at)
            } else {
                chain_end(tokens, at)
            };
        out.push(lex::join(&tokens[at..end]));
        at = end.max(at + 1);
    }
    out
}

/// `t.Errorf(…)`, `require.Equal(…)`, `t.is(…)`: short words assert only with one of these methods.
fn is_short_assert(tokens: &[Token<'_>], at: usize) -> bool {
    let dotted = tokens.get(at + 1).is_some_and(|t| t.is(".") || t.is("::"));
    match tokens[at].text {
        "t" => {
            dotted
                && tokens.get(at + 2).is_some_and(|t| {
                    matches!(
                        t.text,
                        "Error"
                            | "Errorf"
                            | "Fatal"
                            | "Fatalf"
                            | "Fail"
                            | "FailNow"
                            | "is"
                            | "not"
                            | "deepEqual"
                            | "equal"
                            | "truthy"
                            | "falsy"
                            | "throws"
                            | "true"
                            | "false"
                            | "assert"
                            | "ok"
                            | "same"
                            | "plan"
                    )
                })
        }
        "require" | "insta" => dotted,
        "should" | "matches" | "throws" => {
            tokens.get(at + 1).is_some_and(|t| t.is("(") || t.is(".")) || at > 0 && tokens[at - 1].is(".")
        }
        _ => tokens.get(at + 1).is_some_and(|t| t.is("(")),
    }
}

/// Returns the end of the line's statement: brackets closed, next token on another line.
fn statement_end(tokens: &[Token<'_>], at: usize) -> usize {
    let mut index = at;
    while index < tokens.len() {
        if index > at && tokens[index].line > tokens[index - 1].line {
            return index;
        }
        if tokens[index].kind == Kind::Punct && matches!(tokens[index].text, "(" | "[" | "{") {
            index = close_of(tokens, index);
            // What follows on the line of the closing bracket still belongs to the statement.
            if index < tokens.len() && tokens[index].line > tokens[index - 1].line {
                return index;
            }
            continue;
        }
        if tokens[index].kind == Kind::Punct && matches!(tokens[index].text, ")" | "]" | "}") {
            return index;
        }
        index += 1;
    }
    tokens.len()
}

/// Returns the end of a chain of calls: `expect(a).not.toBe(b)`, `assert_eq!(a, b)`, `assert.equal(a, b)`.
fn chain_end(tokens: &[Token<'_>], at: usize) -> usize {
    let mut index = at + 1;
    while let Some(token) = tokens.get(index) {
        match token.text {
            "!" | "." | "::" | "?." => index += 1,
            "(" | "[" | "{"
                if tokens[index - 1].is_word()
                    || tokens[index - 1].is("!")
                    || tokens[index - 1].is(")")
                    || tokens[index - 1].is("]") =>
            {
                if token.text == "{" && !tokens[index - 1].is("!") {
                    break;
                }
                index = close_of(tokens, index);
            }
            _ if token.is_word()
                && (tokens[index - 1].is(".") || tokens[index - 1].is("::") || tokens[index - 1].is("?.")) =>
            {
                index += 1;
            }
            _ => break,
        }
    }
    index
}

/// Whether a normalised line of code is an assertion and nothing else.
fn assertions_of_text(text: &str) -> bool {
    let first = text
        .split(' ')
        .find(|word| !matches!(*word, "self" | "." | "await" | "Assert" | "$this" | "->"))
        .unwrap_or_default();
    is_assert_word(first)
        && !is_void(text)
        && (text.contains('(') || text.starts_with("assert "))
        && !text.contains(" = ")
}

/// Whether an assertion holds whatever the code does.
pub(super) fn is_void(text: &str) -> bool {
    let compact: String = text.split_whitespace().collect();
    let body = compact.trim_end_matches(';');
    if body.is_empty() || body == "pass" {
        return true;
    }
    for end in [
        "assertTrue",
        "assertNotFalse",
        "assert(true)",
        "assert!(true)",
        "assert.ok(true)",
        "assert(1)",
        "assert.ok(1)",
        "assertTrue(True)",
        "assertTrue(true)",
        "Assert.True(true)",
        "assert.True(t,true)",
        "assert_truetrue",
        "assertTrue(1)",
        "assertFalse(False)",
        "assertFalse(false)",
    ] {
        if body.ends_with(end) {
            return true;
        }
    }
    if matches!(body, "assertTrue" | "assert1" | "assertnotFalse" | "assert1==1")
        || body.starts_with("expect(true).")
        || body.starts_with("expect(1).toBe(1)")
    {
        return true;
    }
    // Both sides the same text: `assert a == a`, `assert_eq!(a, a)`, `assertEqual(a, a)`, `expect(a).toBe(a)`.
    if let Some((left, right)) = text.split_once(" == ")
        && left.trim_start_matches("assert").trim() == right.trim()
    {
        return true;
    }
    let Some(open) = text.find("( ") else { return false };
    let inner = text[open + 2..].trim_end_matches(';').trim_end().trim_end_matches(')').trim();
    if let Some((left, right)) = halves(inner)
        && left == right
    {
        return true;
    }
    if let Some((left, right)) = inner.split_once(" ) . ") {
        return right
            .split_once("( ")
            .is_some_and(|(method, argument)| !method.contains("not") && argument.trim() == left.trim());
    }
    false
}

/// Splits at the comma that stands in no bracket, where there is exactly one.
fn halves(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    let mut at = 0;
    let mut found = None;
    for word in text.split(' ') {
        match word {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            "," if depth == 0 => {
                if found.is_some() {
                    return None;
                }
                found = Some(at);
            }
            _ => {}
        }
        at += word.len() + 1;
    }
    let at = found?;
    Some((text[..at].trim(), text[at + 1..].trim()))
}

/// Counts pieces that make an assertion void: `or True`, `|| true`, `assert True`.
fn void_count(tokens: &[Token<'_>]) -> usize {
    let patterns = [
        "or True",
        "or 1",
        "|| true",
        "|| 1",
        "| True",
        "assert True",
        "assert 1",
        "or true",
        "assert ! ( true",
        ". ok ( true",
        "assertTrue ( True",
        "assertTrue ( true",
        "mock . ANY",
        "expect ( true",
        "if true",
        "if True",
        "if ( true",
        "if False",
        "if false",
        "if ( false",
        "while False",
        "if 1",
        "if 0",
    ];
    patterns.iter().map(|pattern| lex::find(tokens, pattern).len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, judged_in, unique};
    use super::*;

    fn changed(path: &str, old: &str, from: &str, to: &str) -> Vec<String> {
        assert!(old.contains(from), "{from}");
        codes(path, old, &old.replacen(from, to, 1))
    }

    const PY: &str = "def test_a():\n    x = f(1)\n    assert x == 2\n";
    const TS: &str = "it('b', async () => {\n  expect(await f()).toEqual({ a: 1 });\n});\n";
    const GO: &str =
        "package a\n\nfunc TestA(t *testing.T) {\n\tif got := F(); got != 1 {\n\t\tt.Fatalf(\"got %d\", got)\n\t}\n}\n";
    const JAVA: &str = "class ATest {\n  @Test\n  void a() {\n    assertEquals(1, f());\n  }\n}\n";
    const RUBY: &str = "describe 'a' do\n  it 'b' do\n    expect(f).to eq 1\n  end\nend\n";
    const RUST: &str = "#[test]\nfn a() {\n    assert_eq!(f(), 1);\n}\n";

    #[test]
    fn a_test_that_follows_a_renaming_needs_permission_and_any_other_new_word_is_weaker() {
        let test = |name: &str| format!("def test_a():\n    x = {name}(1)\n    assert x == 2\n");
        let product = |name: &str| format!("def {name}(n):\n    return n + 1\n");
        let judged = |old: [&str; 2], new: [&str; 2]| {
            let files = [("tests/test_a.py", old[0], new[0]), ("app.py", old[1], new[1])];
            unique(&judged_in(&files.map(|(path, old, new)| (path, Some(old), Some(new))), &[], &[], &[]))
        };
        let (old_test, new_test) = (test("f"), test("plus_one"));
        let (old, new) = (product("f"), product("plus_one"));
        assert_eq!(judged([&old_test, &old], [&new_test, &new]), ["permission-needed"]);
        // Both names stay: the test now asks another function.
        let both = format!("{old}{new}");
        assert!(judged([&old_test, &old], [&new_test, &both]).contains(&"weakens-test".to_owned()));
        let other = new_test.replace("== 2", "== 3");
        assert!(judged([&old_test, &old], [&other, &new]).contains(&"weakens-test".to_owned()));
    }

    #[test]
    fn weaker_tests_are_refused_in_every_language() {
        for (path, old, from, to) in [
            ("tests/test_a.py", PY, "assert x == 2", "assert x is not None"),
            ("tests/test_a.py", PY, "assert x == 2", "assert x == 2 or True"),
            ("tests/test_a.py", PY, "assert x == 2", "assert x == 3"),
            ("tests/test_a.py", PY, "    assert x == 2\n", "    pass\n"),
            ("tests/test_a.py", PY, "    x = f(1)\n", "    return\n    x = f(1)\n"),
            ("tests/test_a.py", PY, "    assert x == 2", "    if False:\n        assert x == 2"),
            ("tests/test_a.py", PY, "x = f(1)", "x = 2"),
            ("src/a.test.ts", TS, "toEqual({ a: 1 })", "toBeDefined()"),
            ("src/a.test.ts", TS, "  expect", "  return;\n  expect"),
            ("src/a.test.ts", TS, "expect(await f())", "expect({ a: 1 })"),
            ("a_test.go", GO, "got != 1", "got == 99"),
            ("a_test.go", GO, "t.Fatalf", "t.Logf"),
            ("a_test.go", GO, "\tif got", "\treturn\n\tif got"),
            ("src/test/java/ATest.java", JAVA, "assertEquals(1, f())", "assertNotNull(f())"),
            ("spec/a_spec.rb", RUBY, "to eq 1", "not_to be_nil"),
            ("tests/a.rs", RUST, "assert_eq!(f(), 1)", "let _ = f()"),
            ("tests/a.rs", RUST, "assert_eq!(f(), 1)", "assert!(f() >= 0)"),
        ] {
            let found = changed(path, old, from, to);
            assert!(found.contains(&"weakens-test".to_string()), "{path}: {to}: {found:?}");
        }
    }

    #[test]
    fn assertions_that_stay_but_are_put_off_are_refused() {
        for (path, old, from, to) in [
            ("tests/test_a.py", PY, "    assert x == 2", "    yield\n    assert x == 2"),
            ("tests/test_a.py", PY, "    assert x == 2", "    def later():\n        assert x == 2"),
            (
                "tests/test_a.py",
                PY,
                "    assert x == 2",
                "    with pytest.raises(AssertionError):\n        assert x == 2",
            ),
            (
                "src/a.test.ts",
                TS,
                "  expect(await f()).toEqual({ a: 1 });",
                "  () => expect(await f()).toEqual({ a: 1 });",
            ),
            ("src/a.test.ts", TS, "it('b'", "process.env.ALL && it('b'"),
            ("src/a.test.ts", TS, "it('b'", "const later = () => it('b'"),
        ] {
            let found = changed(path, old, from, to);
            assert!(found.contains(&"weakens-test".to_string()), "{path}: {to}: {found:?}");
        }
        let waits = "it('b', async () => {\n  await expect(f()).rejects.toThrow('x');\n});\n";
        assert!(changed("src/a.test.ts", waits, "await expect", "void expect").contains(&"weakens-test".to_string()));
    }

    #[test]
    fn errors_caught_in_a_test_are_refused() {
        for (path, old, from, to) in [
            (
                "tests/test_a.py",
                PY,
                "    assert x == 2",
                "    with contextlib.suppress(AssertionError):\n        assert x == 2",
            ),
            (
                "src/a.test.ts",
                TS,
                "  expect(await f()).toEqual({ a: 1 });",
                "  try { expect(await f()).toEqual({ a: 1 }); } catch {}",
            ),
            (
                "src/test/java/ATest.java",
                JAVA,
                "assertEquals(1, f());",
                "try { assertEquals(1, f()); } catch (Throwable t) {}",
            ),
            (
                "spec/a_spec.rb",
                RUBY,
                "    expect(f).to eq 1\n",
                "    begin\n      expect(f).to eq 1\n    rescue Exception\n    end\n",
            ),
        ] {
            let found = changed(path, old, from, to);
            assert!(found.contains(&"swallows-error".to_string()), "{path}: {to}: {found:?}");
        }
    }

    #[test]
    fn a_stronger_test_needs_permission_and_gets_it() {
        let weak = "def test_a():\n    assert f(1) == f(1)\n";
        let strong = "def test_a():\n    assert f(1) == 2\n";
        assert_eq!(codes("tests/test_a.py", weak, strong), ["permission-needed"]);
        let judgement = judged_in(&[("tests/test_a.py", Some(weak), Some(strong))], &[], &[], &["tests/test_a.py"]);
        assert_eq!(unique(&judgement), Vec::<String>::new());
        assert_eq!(judgement.permitted.len(), 1);
        assert!(judgement.touches_tests);
    }

    #[test]
    fn layout_and_comments_of_a_test_are_free() {
        assert!(changed("src/a.test.ts", TS, "  expect", "  // why\n    expect").is_empty());
        assert!(changed("tests/test_a.py", PY, "    assert", "    # the sum\n\n    assert").is_empty());
        assert!(
            changed(
                "tests/a.rs",
                RUST,
                "    assert_eq!(f(), 1);\n",
                "    assert_eq!(f(), 1);\n    assert_eq!(g(2), 3);\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn void_assertions_are_known() {
        for text in [
            "assert True",
            "assert . ok ( true )",
            "assert ! ( true )",
            "assert f ( 1 ) == f ( 1 )",
            "assert_eq ! ( a ( 1 ) , a ( 1 ) )",
            "expect ( a ) . toBe ( a )",
        ] {
            assert!(is_void(text), "{text}");
        }
        for text in [
            "assert f ( 1 ) == 2",
            "assert_eq ! ( a , b )",
            "expect ( a ) . not . toBe ( a )",
            "expect ( a ) . toBe ( true )",
            "assertTrue ( f ( ) )",
        ] {
            assert!(!is_void(text), "{text}");
        }
    }
}
