//! Test code that belongs to no single test: imports, helpers, tables, hooks.

use std::collections::BTreeMap;

use super::super::layout::{self, Around, Layout};
use super::super::lex::{self, Kind, Lang, Token, close_of};
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};
use super::weakened::{assertions, is_void, subtract};

/// Hooks that run before or after every test, old ones included.
const HOOKS: [&str; 26] = [
    "setUp",
    "tearDown",
    "setUpClass",
    "tearDownClass",
    "setUpModule",
    "tearDownModule",
    "setup_module",
    "teardown_module",
    "setup_method",
    "teardown_method",
    "setup_function",
    "autouse",
    "beforeEach",
    "afterEach",
    "beforeAll",
    "afterAll",
    "before",
    "after",
    "BeforeEach",
    "AfterEach",
    "BeforeAll",
    "AfterAll",
    "TestMain",
    "setup",
    "teardown",
    "TestInitialize",
];
/// Ways to take over which tests run or how they report.
const TAKE_OVER: [&str; 15] = [
    "pytest_plugins",
    "def load_tests",
    "def run",
    "def __getattribute__",
    "def __call__",
    "def debug",
    "def _callTestMethod",
    "def pytest_generate_tests",
    "TestLoader .",
    "defaultTestLoader",
    "TestProgram",
    "def countTestCases",
    "def failureException",
    "failureException =",
    "m . Run",
];
/// Names whose new meaning would hollow out old tests.
const BUILT_IN: [&str; 26] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "expect",
    "test",
    "it",
    "describe",
    "panic",
    "len",
    "sorted",
    "repr",
    "str",
    "abs",
    "round",
    "all",
    "any",
    "sum",
    "isinstance",
    "pytest",
    "unittest",
    "JSON",
    "Object",
    "describe",
    "debug_assert",
    "matches",
    "vec",
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if !matches!(view.role, Role::Test | Role::Inline) || view.restores_seed || view.is_deleted() {
            continue;
        }
        take_over(view, report);
        if view.has_old_tests() && view.in_seed && layout_of(view) == Layout::Other {
            rebound(view, report);
            reaches_in(view, report);
            displaced(view, report);
            compare(view, scene, report);
        }
    }
}

/// Tells what changed in the test code that belongs to no single test.
fn layout_of(view: &View<'_>) -> Layout {
    let asserted = assertions(view.lang, &view.old.tokens);
    let around = Around { lang: view.lang, tokens: &view.old.tokens, asserted: &asserted };
    layout::compare(&view.old.shared(), &view.new.shared(), &around)
}

/// Ways to put something else in the place of what tests exercise, or to let a failure pass, from outside the tests.
const STAND_INS: [&str; 22] = [
    "jest . mock (",
    "jest . doMock (",
    "jest . setMock (",
    "jest . spyOn (",
    "jest . retryTimes (",
    "vi . mock (",
    "vi . doMock (",
    "vi . spyOn (",
    "vi . stubGlobal (",
    "mock . module (",
    "mock . method (",
    "sinon . stub (",
    "sinon . replace (",
    "proxyquire (",
    "expect . extend (",
    "addSnapshotSerializer (",
    "this . retries (",
    "overwriteMethod (",
    "overwriteProperty (",
    "monkeypatch . setattr (",
    "mock . patch",
    "patch . object (",
];

/// What is put into a file of tests beside them, and reaches into those that stood there.
fn reaches_in(view: &View<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    let inside = |at: usize| view.new.cases.iter().any(|case| (case.first..case.end).contains(&at));
    let mut refuse = |at: usize, what: &str| {
        let reason = format!("`{what}` reaches into tests that stood here before");
        report.refuse(Code::WeakensTest, view.path, view.line(at), reason);
    };
    for pattern in STAND_INS {
        for at in view.grown(pattern).into_iter().filter(|at| view.new.region[*at] && !inside(*at)) {
            refuse(at, pattern.trim_end_matches(" ("));
        }
    }
    let old_names = bindings(view, false);
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !view.new.region[at] || inside(at) || !token.is_word() {
            continue;
        }
        let text = |offset: usize| tokens.get(at + offset).map_or("", |t| t.text);
        // `ROWS.length = 2`, `ROWS.splice(…)`: the table of old tests is not what it was.
        let changes = text(1) == "."
            && (text(2) == "length" && text(3) == "="
                || text(3) == "("
                    && matches!(
                        text(2),
                        "splice"
                            | "pop"
                            | "shift"
                            | "clear"
                            | "fill"
                            | "remove"
                            | "popitem"
                            | "retain"
                            | "truncate"
                            | "reverse"
                    ));
        let assigned = text(1) == "[" && tokens.get(close_of(tokens, at + 1)).is_some_and(|t| t.is("="));
        if (changes || assigned) && old_names.contains_key(token.text) {
            refuse(at, token.text);
        }
        // A row of an old loop that is passed over.
        if matches!(token.text, "continue" | "break")
            && let Some(around) = loop_around(view, at)
            && !view.is_added(around)
        {
            refuse(at, token.text);
        }
    }
}

/// Shared assertions whose errors are caught now, names that old tests take and get from somewhere else now, groups
/// that are no longer collected, and rows of a table that another row replaces.
fn displaced(view: &View<'_>, report: &mut Report) {
    let (old, tokens) = (&view.old, &view.new.tokens);
    let inside = |at: usize| view.new.cases.iter().any(|case| (case.first..case.end).contains(&at));
    let asserted = assertions(view.lang, &old.shared());
    for at in view.grown("# [ path =") {
        report.refuse(Code::WeakensTest, view.path, view.line(at), "a module of the tests is taken from another file");
    }
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !view.new.region[at] || inside(at) {
            continue;
        }
        let next = tokens.get(at + 1).map_or("", |t| t.text);
        if matches!(token.text, "try" | "suppress" | "catch_unwind" | "begin") && token.is_word() {
            let guarded = &tokens[at..guarded_end(view.lang, tokens, at)];
            if assertions(view.lang, guarded).iter().any(|text| asserted.contains(text)) {
                report.refuse(Code::SwallowsError, view.path, token.line, "errors of a shared assertion are caught");
            }
        }
        if view.lang == Lang::Python && token.is("def") {
            let class =
                tokens[..at].iter().rposition(|t| t.is("class") && t.col < token.col).map(|i| tokens[i + 1].text);
            let grouped =
                class.is_some_and(|class| old.cases.iter().any(|case| case.name.starts_with(&format!("{class} > "))));
            if matches!(next, "__init__" | "__new__") && grouped {
                report.refuse(
                    Code::SkipsTest,
                    view.path,
                    token.line,
                    format!("a class with `{next}` is not collected"),
                );
            }
            let taken = old.cases.iter().any(|case| is_parameter(&old.tokens[case.first..case.end], next));
            let known = lex::find(&old.tokens, &format!("def {next}")).len();
            if taken && known == 0 {
                let reason = format!("`{next}`, which existing tests are given, is made here now");
                report.refuse(Code::WeakensTest, view.path, token.line, reason);
            }
        }
        let keyed = token.is_str() && next == ":" && matches!(view.lang, Lang::Python | Lang::Js);
        if keyed && let Some(open) = lex::innermost(tokens, at).filter(|open| tokens[*open].is("{")) {
            let close = close_of(tokens, open);
            let again = (open + 1..close).any(|other| {
                other != at
                    && tokens[other].is_str()
                    && tokens[other].value() == token.value()
                    && tokens[other + 1].is(":")
                    && lex::innermost(tokens, other) == Some(open)
            });
            if again {
                report.refuse(
                    Code::WeakensTest,
                    view.path,
                    token.line,
                    format!("a second {} replaces the first", token.text),
                );
            }
        }
    }
}

/// Returns the end of the code whose errors the word at `at` catches.
fn guarded_end(lang: Lang, tokens: &[Token<'_>], at: usize) -> usize {
    if lang == Lang::Python || lang == Lang::Ruby {
        let first = tokens[..at].iter().rposition(|t| t.line < tokens[at].line).map_or(0, |i| i + 1);
        let col = tokens[first].col;
        return (at + 1..tokens.len())
            .find(|i| tokens[*i].line > tokens[*i - 1].line && tokens[*i].col <= col)
            .unwrap_or(tokens.len());
    }
    (at..tokens.len().min(at + 3))
        .find(|i| matches!(tokens[*i].text, "{" | "("))
        .map_or(at + 1, |open| close_of(tokens, open))
}

/// Whether a test of pytest takes `name`.
fn is_parameter(case: &[Token<'_>], name: &str) -> bool {
    let Some(def) = case.iter().position(|t| t.is("def")) else { return false };
    let end = close_of(case, (def + 2).min(case.len()));
    case[(def + 2).min(end)..end].iter().any(|t| t.is_word() && t.text == name)
}

/// Returns the header of the loop that the token stands in.
fn loop_around(view: &View<'_>, at: usize) -> Option<usize> {
    let tokens = &view.new.tokens;
    let is_loop = |index: &usize| matches!(tokens[*index].text, "for" | "while" | "forEach" | "loop");
    if view.lang == Lang::Python {
        return (0..at).rev().filter(|index| tokens[*index].col < tokens[at].col).find(is_loop);
    }
    (0..at).rev().filter(is_loop).find(|index| {
        let header = if tokens[index + 1].is("(") { close_of(tokens, index + 1) } else { *index };
        let open = (header.min(at)..at).find(|i| tokens[*i].is("{"));
        open.is_some_and(|open| close_of(tokens, open) > at)
    })
}

fn take_over(view: &View<'_>, report: &mut Report) {
    for pattern in TAKE_OVER {
        for at in view.grown(pattern) {
            // A helper may have a method of that name; a class of tests may not.
            let method = matches!(pattern, "def run" | "def debug" | "def __call__" | "def __getattribute__");
            if method && view.lang == Lang::Python && !in_test_class(view, at) {
                continue;
            }
            if view.new.region[at] && (pattern != "m . Run" || view.lang == Lang::Go) {
                report.refuse(
                    Code::TampersRunner,
                    view.path,
                    view.line(at),
                    format!("`{pattern}` takes over how tests are found or run"),
                );
            }
        }
    }
    if view.lang == Lang::Go && lex::find(&view.new.tokens, ". Run (").is_empty() {
        for at in view.grown("func TestMain (") {
            report.refuse(Code::TampersRunner, view.path, view.line(at), "`TestMain` runs no test");
        }
    }
    // A method of an assertion's name in a class of tests, or a macro of that name, replaces the assertion. A new file
    // replaces it for itself alone, but for macros; and Go does not compile with two of a name.
    let own = view.lang == Lang::Go || view.old.tokens.is_empty() && view.lang != Lang::Rust;
    for (at, token) in view.new.tokens.iter().enumerate() {
        let defined = at > 0 && matches!(view.new.tokens[at - 1].text, "def" | "function" | "fn" | "func")
            || at > 1 && view.new.tokens[at - 2].is("macro_rules");
        let name = token.text;
        let known = matches!(
            name,
            "assertEqual"
                | "assertEquals"
                | "assertTrue"
                | "assertRaises"
                | "assert_eq"
                | "assert_ne"
                | "assert"
                | "expect"
                | "skipTest"
                | "assertIn"
                | "assertRaisesRegex"
                | "assertSame"
        );
        if defined && known && !own && view.new.region[at] && view.is_added(at) {
            report.refuse(Code::WeakensTest, view.path, token.line, format!("`{name}` is defined anew"));
        }
    }
}

/// Whether the token stands in a class that holds tests or derives from what runs them.
fn in_test_class(view: &View<'_>, at: usize) -> bool {
    let tokens = &view.new.tokens;
    let Some(class) = tokens[..at].iter().rposition(|t| t.is("class") && t.col < tokens[at].col) else { return false };
    let bases = tokens[class..].iter().take_while(|t| !t.is(":"));
    let name = format!("{} > ", tokens[class + 1].text);
    view.new.cases.iter().any(|case| case.name.starts_with(&name) && case.first > class)
        || bases
            .into_iter()
            .skip(2)
            .any(|t| ["Test", "Case", "Suite", "Runner"].iter().any(|word| t.text.contains(word)))
}

/// Returns the names bound outside single tests, and what binds them.
fn bindings(view: &View<'_>, new: bool) -> BTreeMap<String, Vec<String>> {
    let side = if new { &view.new } else { &view.old };
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (text, _) in side.skeleton() {
        for (name, source) in bound(view.lang, &text) {
            out.entry(name).or_default().push(source);
        }
    }
    out
}

fn bound(lang: Lang, line: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = line.split(' ').collect();
    let plain = |word: &str| {
        word.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
            && !word.starts_with(|c: char| c.is_ascii_digit())
    };
    let last_names = |part: &[&str]| -> Vec<String> {
        part.split(|word| matches!(*word, "," | "{" | "}" | "(" | ")"))
            .filter_map(|piece| piece.last())
            .filter(|w| plain(w))
            .map(ToString::to_string)
            .collect()
    };
    let with = |names: Vec<String>, source: String| names.into_iter().map(|name| (name, source.clone())).collect();
    match (lang, words.as_slice()) {
        (Lang::Python, ["import", rest @ ..]) => rest
            .split(|w| *w == ",")
            .filter_map(|piece| {
                Some((
                    (if piece.contains(&"as") { piece.last()? } else { piece.first()? }).to_string(),
                    piece.join(" "),
                ))
            })
            .collect(),
        (Lang::Python, ["from", rest @ ..]) => {
            let at = rest.iter().position(|w| *w == "import").unwrap_or(rest.len());
            with(last_names(&rest[(at + 1).min(rest.len())..]), rest[..at].join(" "))
        }
        (Lang::Python, ["def" | "class", name, ..]) | (Lang::Js, ["function" | "class", name, ..]) => {
            vec![((*name).to_string(), "def".to_string())]
        }
        (Lang::Python | Lang::Ruby | Lang::Js, [name, "=", rest @ ..]) if plain(name) => {
            vec![((*name).to_string(), rest.join(" "))]
        }
        (Lang::Js, ["const" | "let" | "var" | "import", rest @ ..]) => {
            let at = rest.iter().position(|w| matches!(*w, "=" | "from")).unwrap_or(rest.len());
            let source = rest[at..]
                .join(" ")
                .replace("= require ( ", "")
                .replace("from ", "")
                .replace(" )", "")
                .replace([';', ' '], "")
                .replace("node:", "");
            with(last_names(&rest[..at]), source)
        }
        (Lang::Rust, ["use", rest @ ..]) => {
            let names = rest
                .split(|w| matches!(*w, "," | "{" | "}" | ";"))
                .filter_map(|piece| piece.last())
                .filter(|w| plain(w))
                .map(ToString::to_string)
                .collect();
            with(names, "use".to_string())
        }
        (Lang::Rust, ["macro_rules", "!", name, ..]) => vec![((*name).to_string(), "macro".to_string())],
        _ => Vec::new(),
    }
}

fn rebound(view: &View<'_>, report: &mut Report) {
    let (old, new) = (bindings(view, false), bindings(view, true));
    for (name, sources) in &new {
        let before = old.get(name);
        let fresh = sources.iter().any(|source| before.is_none_or(|known| !known.contains(source)));
        // A test framework may be imported by its own names; nothing else may take them.
        let framework = sources.iter().all(|source| {
            ["test", "jest", "chai", "assert", "mocha", "expect", "use"].iter().any(|word| source.contains(word))
                && !source.contains('/')
                || source.contains("assert/strict")
                || source.contains("@jest/")
        });
        if fresh && (before.is_some() || (BUILT_IN.contains(&name.as_str()) && !framework)) {
            report.refuse(
                Code::WeakensTest,
                view.path,
                None,
                format!("`{name}`, which existing tests use, is bound to something else"),
            );
        }
    }
}

fn compare(view: &View<'_>, scene: &Scene<'_>, report: &mut Report) {
    let (old, new) = (view.old.skeleton(), view.new.skeleton());
    let old_text: Vec<&str> = old.iter().map(|(text, _)| text.as_str()).collect();
    let new_text: Vec<&str> = new.iter().map(|(text, _)| text.as_str()).collect();
    let mut removed: Vec<&(String, u32)> = Vec::new();
    let mut added: Vec<&(String, u32)> = Vec::new();
    for op in similar::capture_diff_slices(similar::Algorithm::Myers, &old_text, &new_text) {
        if op.tag() != similar::DiffTag::Equal {
            removed.extend(&old[op.old_range()]);
            added.extend(&new[op.new_range()]);
        }
    }
    // Lines that only moved, and brackets, carry no meaning of their own here.
    removed.retain(|(text, _)| text.chars().any(char::is_alphanumeric) && !new_text.contains(&text.as_str()));
    removed.retain(|(text, _)| !added.iter().any(|(more, _)| widens_import(text, more)));
    removed.retain(|(text, _)| !added.iter().any(|(more, _)| plans_more(text, more)));
    let text = |lines: &[&(String, u32)]| lines.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>().join("\n");
    let asserted = |lines: &[&(String, u32)]| {
        let joined = text(lines);
        assertions(view.lang, &lex::tokens(view.lang, &joined))
    };
    let gone: Vec<String> =
        subtract(&asserted(&removed), &asserted(&added)).into_iter().filter(|one| !is_void(one)).collect();
    let rows = |lines: &[&(String, u32)]| lines.iter().filter(|(text, _)| is_row(text)).count();
    for (header, line) in &removed {
        let group = ["class ", "describe", "context ", "mod ", "RSpec", "suite", "@ Suite", "func ( s "]
            .iter()
            .any(|start| header.trim_start_matches("pub ").starts_with(start));
        if group {
            report.refuse(Code::DeletesTest, view.path, *line, format!("the group `{header}` of tests is changed"));
        }
    }
    let values = |lines: &[&(String, u32)]| {
        let text = text(lines);
        lex::tokens(view.lang, &text).iter().filter(|t| matches!(t.kind, Kind::Str | Kind::Number)).count()
    };
    if rows(&removed) > rows(&added) || values(&removed) > values(&added) {
        report.refuse(Code::DeletesTest, view.path, removed[0].1, "rows of a table of tests are gone");
    }
    if let Some(first) = gone.first() {
        report.refuse(
            Code::WeakensTest,
            view.path,
            removed[0].1,
            format!("the shared assertion `{first}` is gone or changed"),
        );
    }
    if let Some((first, line)) = removed.first() {
        report.refuse(Code::WeakensTest, view.path, *line, format!("shared test code changes: `{first}`"));
        report.refuse(Code::PermissionNeeded, view.path, *line, "shared code of existing tests changes");
        return;
    }
    for (line_text, line) in &added {
        let leaves = matches!(line_text.as_str(), "return" | "return ;" | "return next" | "__END__")
            || line_text.starts_with("# if");
        if leaves || acts_at_once(view, line_text, *line) || takes_over_script(view, line_text, *line) {
            report.refuse(
                Code::WeakensTest,
                view.path,
                *line,
                format!("`{line_text}` acts on the tests of the file when it is loaded"),
            );
        }
        let words: Vec<&str> = line_text.split(' ').collect();
        // A hook is named where it is defined or called with a body, not where a string mentions it.
        let hook = words.iter().enumerate().any(|(at, word)| {
            HOOKS.contains(word)
                && (at == 0
                    || matches!(
                        words[at - 1],
                        "def" | "func" | "fn" | "@" | "[" | "void" | "function" | "," | "(" | "async"
                    ))
                && !matches!(words.get(at + 1), Some(&"."))
        });
        if hook && !scene.context.goal_adds_tests {
            report.refuse(
                Code::PermissionNeeded,
                view.path,
                *line,
                format!("`{line_text}` runs around existing tests"),
            );
        }
        if ["sys . modules", "sys . path", "monkeypatch .", "process . exit"].iter().any(|bad| line_text.contains(bad))
        {
            report.refuse(Code::PermissionNeeded, view.path, *line, format!("`{line_text}` acts on existing tests"));
        }
    }
}

/// Whether an added line of Python is a statement that runs on import, other than a definition.
fn acts_at_once(view: &View<'_>, text: &str, line: u32) -> bool {
    if view.lang != Lang::Python || view.new.tokens.iter().find(|t| t.line == line).is_none_or(|t| t.col > 0) {
        return false;
    }
    let mut words = text.split(' ');
    let first = words.next().unwrap_or_default();
    let defines = matches!(
        first,
        "import" | "from" | "def" | "async" | "class" | "@" | ")" | "]" | "}" | "else" | "except" | "try"
    ) || text.starts_with("if __name__")
        || text.starts_with("if TYPE_CHECKING");
    let second = words.next().unwrap_or_default();
    !(defines || matches!(second, "=" | ":") || first.starts_with(['"', '\'']))
}

/// Whether an added line of a script ends it, takes in another one, or gives a name that its checks use another
/// meaning.
fn takes_over_script(view: &View<'_>, text: &str, line: u32) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let used = |name: &str| view.old.tokens.iter().any(|t| t.is_word() && t.text == name);
    let ends = words.iter().any(|word| matches!(*word, "exit" | "exec" | "trap" | "__END__" | "kill"))
        || words[0] == "return" && !in_new_function(view, line);
    let defined = match (view.lang, words.as_slice()) {
        (Lang::Shell, [name, "(", ")", ..] | ["function" | "alias", name, ..]) | (Lang::Perl, ["sub", name, ..]) => {
            used(name)
        }
        (Lang::Shell, ["." | "source", ..] | ["PATH" | "IFS" | "ENV" | "BASH_ENV", "=", ..])
        | (Lang::Perl, ["*", ..] | ["no", "warnings", ..] | ["close" | "open", "STDOUT" | "STDERR", ..]) => true,
        _ => false,
    };
    matches!(view.lang, Lang::Shell | Lang::Perl) && (ends || defined)
}

/// Whether the function of a script that the line stands in is a new one.
fn in_new_function(view: &View<'_>, line: u32) -> bool {
    let tokens = &view.new.tokens;
    let before = tokens.iter().take_while(|t| t.line < line).count();
    let header = |at: &usize| {
        tokens[*at].is("sub")
            || tokens[*at].is_word() && lex::join(&tokens[*at + 1..tokens.len().min(*at + 4)]) == "( ) {"
    };
    (0..before).rev().find(header).is_some_and(|at| view.is_added(at))
}

/// Whether a line announces more tests than before, and nothing else (`use Test::More tests => 3;`).
fn plans_more(old: &str, new: &str) -> bool {
    let split = |text: &str| {
        let at = text.find("tests => ")? + "tests => ".len();
        let end = text[at..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |len| at + len);
        Some((text[..at].to_string(), text[at..end].parse::<u64>().ok()?, text[end..].to_string()))
    };
    let (Some(was), Some(is)) = (split(old), split(new)) else { return false };
    was.0 == is.0 && was.2 == is.2 && was.1 <= is.1
}

/// Whether an import line takes the same names and more from the same place.
fn widens_import(old: &str, new: &str) -> bool {
    let import = ["import ", "from ", "use ", "const ", "require", "using ", "let "]
        .iter()
        .any(|start| old.starts_with(start) && new.starts_with(start));
    if !import || (old.contains(" = ") && !old.contains("require")) {
        return false;
    }
    let ignored = |word: &&str| matches!(*word, "," | "{" | "}" | "(" | ")" | ";");
    let new_words: Vec<&str> = new.split(' ').filter(|w| !ignored(w)).collect();
    let mut rest = new_words.iter();
    let subsequence = old.split(' ').filter(|w| !ignored(w)).all(|word| rest.any(|other| *other == word));
    // A new `as` would give an old name another meaning.
    subsequence && new.matches(" as ").count() == old.matches(" as ").count()
}

/// Whether a line is a row of a table: starts with a value or a bracket, ends with a comma or its bracket.
fn is_row(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    let value = first == '"'
        || first == '\''
        || first.is_ascii_digit()
        || (matches!(first, '(' | '[' | '{') && text.contains(|c: char| c.is_alphanumeric()));
    value && text.ends_with([',', ')', ']', '}'])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, codes_new};

    const PY: &str = "import unittest\nfrom app import f\n\nROWS = [\n    (1, 2),\n    (2, 3),\n]\n\n\ndef check(x, y):\n    assert f(x) == y\n\n\nclass ATest(unittest.TestCase):\n    def test_a(self):\n        for x, y in ROWS:\n            check(x, y)\n";

    fn changed(from: &str, to: &str) -> Vec<String> {
        assert!(PY.contains(from), "{from}");
        codes("tests/test_a.py", PY, &PY.replacen(from, to, 1))
    }

    #[test]
    fn shared_test_code_cannot_be_hollowed_out() {
        assert!(changed("    (2, 3),\n", "").contains(&"deletes-test".to_string()));
        assert!(changed("    assert f(x) == y\n", "    pass\n").contains(&"weakens-test".to_string()));
        assert!(changed("class ATest(unittest.TestCase)", "class ATest").contains(&"deletes-test".to_string()));
        assert!(changed("from app import f", "from app import g as f").contains(&"weakens-test".to_string()));
        assert!(changed("ROWS = [", "check = lambda *a: None\n\nROWS = [").contains(&"weakens-test".to_string()));
        assert!(
            changed("ROWS = [", "def load_tests(a, b, c):\n    return unittest.TestSuite()\n\n\nROWS = [")
                .contains(&"tampers-runner".to_string())
        );
        assert!(
            changed("    def test_a", "    def setUp(self):\n        pass\n\n    def test_a")
                .contains(&"permission-needed".to_string())
        );
        assert!(
            changed("    def test_a", "    def assertEqual(self, a, b):\n        pass\n\n    def test_a")
                .contains(&"weakens-test".to_string())
        );
        let ts = "import { f } from '../src/f';\n\nit('a', () => {\n  expect(f()).toBe(1);\n});\n";
        assert!(
            codes("src/a.test.ts", ts, &ts.replace("it(", "beforeEach(() => { x(); });\n\nit("))
                .contains(&"permission-needed".to_string())
        );
        assert!(
            codes("src/a.test.ts", ts, &ts.replace("'../src/f'", "'./fake'")).contains(&"weakens-test".to_string())
        );
        let go = "package a\n\nfunc TestA(t *testing.T) {\n\tif F() != 1 {\n\t\tt.Fatal(1)\n\t}\n}\n";
        assert!(
            codes("a_test.go", go, &format!("{go}\nfunc TestMain(m *testing.M) {{\n\tm.Run()\n}}\n"))
                .contains(&"tampers-runner".to_string())
        );
        assert!(
            codes(
                "tests/a.rs",
                "#[test]\nfn a() {\n    assert_eq!(f(), 1);\n}\n",
                "macro_rules! assert_eq {\n    ($($t:tt)*) => {};\n}\n#[test]\nfn a() {\n    assert_eq!(f(), 1);\n}\n"
            )
            .contains(&"weakens-test".to_string())
        );
    }

    #[test]
    fn what_old_tests_stand_on_is_not_displaced() {
        let has = |old: &str, from: &str, to: &str, code: &str| {
            let found = codes("tests/test_a.py", old, &old.replacen(from, to, 1));
            assert!(found.contains(&code.to_string()), "{to}: {found:?}");
        };
        has(
            PY,
            "    assert f(x) == y",
            "    try:\n        assert f(x) == y\n    except AssertionError as error:\n        print(error)",
            "swallows-error",
        );
        let pytest = "import pytest\n\nROWS = {'a': 1}\n\n\nclass TestA:\n    def test_a(self, basket):\n        assert basket == ROWS['a']\n";
        has(pytest, "class TestA", "@pytest.fixture\ndef basket():\n    return 1\n\n\nclass TestA", "weakens-test");
        has(pytest, "    def test_a", "    def __init__(self):\n        pass\n\n    def test_a", "skips-test");
        has(pytest, "'a': 1", "'a': 1, 'a': 2", "weakens-test");
        let more = pytest.replace(
            "class TestA",
            "class Fake:\n    def __init__(self, basket):\n        self.b = {'a': basket}\n\n\nclass TestA",
        );
        assert!(codes("tests/test_a.py", pytest, &more).is_empty());
    }

    #[test]
    fn what_stands_beside_tests_does_not_reach_into_them() {
        for (from, to) in [
            ("class ATest", "ROWS[0] = (1, 1)\n\n\nclass ATest"),
            ("class ATest", "ROWS.pop()\n\n\nclass ATest"),
            ("class ATest", "unittest.mock.patch('app.f', lambda x: x + 1).start()\n\n\nclass ATest"),
        ] {
            assert!(changed(from, to).contains(&"weakens-test".to_string()), "{to}");
        }
        let ts = "import { f } from '../src/f';\n\nconst ROWS = [1];\nfor (const x of ROWS) {\n  it(`a ${x}`, () => {\n    expect(f(x)).toBe(1);\n  });\n}\n";
        for (from, to) in [
            ("for (", "ROWS.length = 0;\nfor ("),
            ("of ROWS) {\n", "of ROWS) {\n  if (x) continue;\n"),
            ("const ROWS", "vi.mock('../src/f', () => ({ f: () => 1 }));\n\nconst ROWS"),
            ("const ROWS", "expect.extend({ toBe: () => ({ pass: true }) });\n\nconst ROWS"),
        ] {
            let found = codes("src/a.test.ts", ts, &ts.replacen(from, to, 1));
            assert!(found.contains(&"weakens-test".to_string()), "{to}: {found:?}");
        }
        let new = format!(
            "{ts}\nit('b', () => {{\n  vi.spyOn(console, 'log');\n  for (const y of [1]) {{ if (y) continue; }}\n  expect(f(2)).toBe(1);\n}});\n"
        );
        assert!(codes("src/a.test.ts", ts, &new).is_empty());
    }

    #[test]
    fn helpers_and_imports_for_new_tests_are_free() {
        assert!(changed("from app import f", "from app import f, g").is_empty());
        assert!(changed("import unittest", "import json\nimport unittest").is_empty());
        assert!(changed("\n\nclass ATest", "\n\ndef make(x):\n    return [x]\n\n\nclass ATest").is_empty());
        assert!(
            codes_new(
                "tests/test_c.py",
                "class Type:\n    def __call__(self, x):\n        return x\n\n\ndef test_c():\n    assert f(Type())\n"
            )
            .is_empty()
        );
        assert!(codes_new("tests/test_b.py", "import unittest\n\nclass B(unittest.TestCase):\n    def setUp(self):\n        self.x = 1\n\n    def test_b(self):\n        self.assertEqual(self.x, 1)\n\n\nif __name__ == '__main__':\n    unittest.main()\n").is_empty());
    }

    #[test]
    fn more_rows_and_more_checks_are_free_wherever_the_table_stands() {
        let go = "package a\n\nfunc TestA(t *testing.T) {\n\tcases := []struct {\n\t\ta, b string\n\t}{\n\t\t{\"a\", \"b\"},\n\t\t{\"c\", \"d\"},\n\t}\n\tfor _, c := range cases {\n\t\tif F(c.a) != c.b {\n\t\t\tt.Error(c)\n\t\t}\n\t}\n}\n";
        let row = "\t\t{\"c\", \"d\"},\n";
        assert!(codes("a_test.go", go, &go.replace(row, &format!("{row}\t\t{{\"e\", \"f\"}},\n"))).is_empty());
        assert!(codes("a_test.go", go, &go.replace(row, "")).contains(&"deletes-test".to_string()));
        let py = "import unittest\n\nfrom app import f\n\n\nclass ATest(unittest.TestCase):\n    ROWS = {\"a\": 1, \"b\": 2}\n\n    def test_a(self):\n        for x, y in self.ROWS.items():\n            self.assertEqual(f(x), y)\n";
        assert!(codes("tests/test_a.py", py, &py.replace("2}", "2, \"c\": 3}")).is_empty());
        assert!(codes("tests/test_a.py", py, &py.replace(", \"b\": 2}", "}")).contains(&"deletes-test".to_string()));
        let perl = "use Test::More tests => 2;\nis f(1), 2, 'a';\nis f(2), 3, 'b';\n";
        let more = perl.replace("=> 2", "=> 3") + "is f(3), 4, 'c';\n";
        assert!(codes("t/a.t", perl, &more).is_empty());
    }

    #[test]
    fn a_new_file_of_tests_may_have_a_helper_of_an_assertions_name() {
        let go = "package a\n\nfunc TestA(t *testing.T) {\n\tassert(t, F() == 1)\n}\n\nfunc assert(t *testing.T, ok bool) {\n\tif !ok {\n\t\tt.Fatal(\"no\")\n\t}\n}\n";
        assert!(codes_new("b_test.go", go).is_empty());
        let js = "test('a', () => expect(f()));\nfunction expect(ok) {\n  if (!ok) throw new Error('no');\n}\n";
        assert!(codes_new("test/b.test.js", js).is_empty());
        let old = "test('a', () => expect(f()).toBe(1));\n";
        let taken = codes("test/a.test.js", old, &format!("{old}function expect() {{ return {{ toBe() {{}} }}; }}\n"));
        assert!(taken.contains(&"weakens-test".to_string()), "{taken:?}");
    }

    #[test]
    fn scripts_of_checks_are_not_taken_over() {
        let shell = "#!/bin/sh\n. ./t/lib.sh\nis \"$(f 1)\" 2 'a'\nfinish\n";
        for line in [
            "exit 0",
            "is() { :; }",
            "PATH=$here/data:$PATH",
            ". ./other.sh",
            "[ -n \"$ALL\" ] || exit",
            "trap 'exit 0' EXIT",
        ] {
            let found = codes("t/a.t", shell, &shell.replace("is \"", &format!("{line}\nis \"")));
            assert!(found.contains(&"weakens-test".to_string()), "{line}: {found:?}");
        }
        let more = shell
            .replace("finish", "twice() {\n  is \"$1\" \"$2\" \"$3\" || return\n}\ntwice \"$(f 2)\" 3 'b'\nfinish");
        assert!(codes("t/a.t", shell, &more).is_empty());
        let perl = "use Test::More;\nis f(1), 2, 'a';\ndone_testing;\n";
        for line in
            ["plan skip_all => 'later';", "local $TODO = 'later';", "__END__", "*main::is = sub { 1 };", "=for later"]
        {
            assert!(!codes("t/a.t", perl, &perl.replace("is f", &format!("{line}\n\nis f"))).is_empty(), "{line}");
        }
    }
}
