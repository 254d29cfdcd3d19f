//! Finds the single tests in a file and what belongs to none of them.
//!
//! Works on tokens, language family by language family; a file it cannot read has no cases and everything in it
//! is skeleton. It never judges.

use super::lex::{Kind, Lang, Token, close_of, join};

/// One test.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Name with the names of what it stands in, unique but for repeated names.
    pub(crate) name: String,
    /// First token, marks and attributes included.
    pub(crate) first: usize,
    /// Token after the last.
    pub(crate) end: usize,
    pub(crate) line: u32,
}

impl Case {
    pub(crate) fn text(&self, tokens: &[Token<'_>]) -> String {
        join(&tokens[self.first..self.end])
    }
}

struct Container {
    name: String,
    end: usize,
}

/// Returns the tests in `tokens`, in order, none inside another.
pub(crate) fn cases(lang: Lang, tokens: &[Token<'_>]) -> Vec<Case> {
    match lang {
        Lang::Python => python(tokens),
        Lang::Js => calls(tokens),
        Lang::Rust => rust(tokens),
        Lang::Go | Lang::Java | Lang::CSharp | Lang::C | Lang::Php => methods(lang, tokens),
        Lang::Ruby | Lang::Elixir => blocks(tokens),
        Lang::Shell => shell(tokens),
        Lang::Perl | Lang::Hash | Lang::Plain => Vec::new(),
    }
}

/// Returns the parts of a file that are tests: the whole of a test file, the marked items of a product file.
/// One flag per token.
pub(crate) fn test_region(lang: Lang, tokens: &[Token<'_>], whole: bool) -> Vec<bool> {
    let mut region = vec![whole; tokens.len()];
    if whole {
        return region;
    }
    for case in cases(lang, tokens) {
        region[case.first..case.end].fill(true);
    }
    let items = match lang {
        Lang::Rust => cfg_test_items(tokens),
        Lang::Python => python_test_classes(tokens),
        Lang::Js => super::lex::find(tokens, "if ( import . meta . vitest )")
            .into_iter()
            .filter(|at| tokens.get(at + 8).is_some_and(|t| t.is("{")))
            .map(|at| (at, close_of(tokens, at + 8)))
            .collect(),
        _ => Vec::new(),
    };
    for (first, end) in items {
        region[first..end].fill(true);
    }
    region
}

/// Returns `(first, end)` of each Rust item under `#[cfg(test)]`, outermost only.
pub(crate) fn cfg_test_items(tokens: &[Token<'_>]) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let Some((after, test)) = attributes(tokens, at, is_cfg_test) else {
            at += 1;
            continue;
        };
        if test {
            let end = item_end(tokens, after);
            out.push((at, end));
            at = end;
        } else {
            at = after;
        }
    }
    out
}

fn is_cfg_test(attribute: &[Token<'_>]) -> bool {
    let text = join(attribute);
    text.starts_with("cfg ( test") || text.starts_with("cfg ( all ( test")
}

/// Reads a run of `#[…]` at `at`; returns the position after it and whether one of them satisfies `wanted`.
fn attributes(tokens: &[Token<'_>], mut at: usize, wanted: fn(&[Token<'_>]) -> bool) -> Option<(usize, bool)> {
    let start = at;
    let mut found = false;
    while tokens.get(at).is_some_and(|t| t.is("#")) && tokens.get(at + 1).is_some_and(|t| t.is("[")) {
        let end = close_of(tokens, at + 1);
        found |= end > at + 2 && wanted(&tokens[at + 2..end - 1]);
        at = end;
    }
    (at > start).then_some((at, found))
}

/// Returns the position after the Rust item at `at`.
fn item_end(tokens: &[Token<'_>], at: usize) -> usize {
    let mut index = at;
    while index < tokens.len() {
        let token = &tokens[index];
        if token.kind == Kind::Punct {
            match token.text {
                ";" => return index + 1,
                "{" => return close_of(tokens, index),
                "(" | "[" => {
                    index = close_of(tokens, index);
                    continue;
                }
                _ => {}
            }
        }
        index += 1;
    }
    tokens.len()
}

const RUST_MODIFIERS: [&str; 7] = ["pub", "async", "const", "extern", "crate", "default", "unsafe"];

fn is_rust_test(attribute: &[Token<'_>]) -> bool {
    let path_end = attribute.iter().position(|t| !(t.is_word() || t.is("::"))).unwrap_or(attribute.len());
    attribute[..path_end].last().is_some_and(|last| {
        matches!(
            last.text,
            "test"
                | "rstest"
                | "test_case"
                | "quickcheck"
                | "wasm_bindgen_test"
                | "proptest"
                | "case"
                | "bench"
                | "test_log"
                | "googletest"
        )
    })
}

fn rust(tokens: &[Token<'_>]) -> Vec<Case> {
    let mut out = Vec::new();
    let mut containers: Vec<Container> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        containers.retain(|c| c.end > at);
        if tokens[at].is("mod") && tokens.get(at + 2).is_some_and(|t| t.is("{")) {
            containers.push(Container { name: tokens[at + 1].text.to_string(), end: close_of(tokens, at + 2) });
            at += 3;
            continue;
        }
        let Some((after, test)) = attributes(tokens, at, is_rust_test) else {
            at += 1;
            continue;
        };
        let mut index = after;
        while tokens.get(index).is_some_and(|t| RUST_MODIFIERS.contains(&t.text) || t.is_str()) {
            index += 1;
            if tokens.get(index).is_some_and(|t| t.is("(")) {
                index = close_of(tokens, index);
            }
        }
        if test && tokens.get(index).is_some_and(|t| t.is("fn")) && index + 1 < tokens.len() {
            let name = qualified(&containers, tokens[index + 1].text);
            let end = item_end(tokens, index);
            out.push(Case { name, first: at, end, line: tokens[at].line });
            at = end;
        } else {
            at = after;
        }
    }
    out
}

fn qualified(containers: &[Container], name: &str) -> String {
    let mut out = String::new();
    for container in containers {
        out.push_str(&container.name);
        out.push_str(" > ");
    }
    out.push_str(name);
    out
}

/// Logical lines of Python: positions of tokens that start a line outside brackets.
fn python_lines(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut depth = 0i32;
    let mut out = Vec::new();
    let mut line_end = 0;
    for (index, token) in tokens.iter().enumerate() {
        if depth <= 0 && token.line > line_end {
            out.push(index);
        }
        if token.kind == Kind::Punct {
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
        }
        line_end = token.line + token.text.bytes().filter(|b| *b == b'\n').count() as u32;
    }
    out
}

/// Returns the token after the indented block whose header is logical line `index`.
fn python_block_end(tokens: &[Token<'_>], lines: &[usize], index: usize) -> usize {
    let col = tokens[lines[index]].col;
    lines[index + 1..].iter().find(|at| tokens[**at].col <= col).copied().unwrap_or(tokens.len())
}

fn python(tokens: &[Token<'_>]) -> Vec<Case> {
    let lines = python_lines(tokens);
    let mut out = Vec::new();
    let mut containers: Vec<Container> = Vec::new();
    let mut decorated: Option<usize> = None;
    let mut skip_to = 0;
    for (index, &at) in lines.iter().enumerate() {
        if at < skip_to {
            continue;
        }
        containers.retain(|c| c.end > at);
        let token = &tokens[at];
        if token.is("@") {
            decorated.get_or_insert(at);
            continue;
        }
        let first = decorated.take().unwrap_or(at);
        let def = if token.is("async") { at + 1 } else { at };
        let Some(name) = tokens.get(def + 1) else { continue };
        let end = python_block_end(tokens, &lines, index);
        if token.is("class") {
            containers.push(Container { name: name.text.to_string(), end });
        } else if tokens[def].is("def") {
            if name.text.starts_with("test") {
                out.push(Case { name: qualified(&containers, name.text), first, end, line: token.line });
            }
            skip_to = end;
        }
    }
    out
}

fn python_test_classes(tokens: &[Token<'_>]) -> Vec<(usize, usize)> {
    let lines = python_lines(tokens);
    let mut out = Vec::new();
    for (index, &at) in lines.iter().enumerate() {
        if tokens[at].is("class") {
            let header_end = lines.get(index + 1).copied().unwrap_or(tokens.len());
            if tokens[at..header_end].iter().any(|t| t.is_word() && t.text.ends_with("TestCase")) {
                out.push((at, python_block_end(tokens, &lines, index)));
            }
        }
    }
    out
}

const JS_CASES: [&str; 12] =
    ["test", "it", "specify", "xit", "xtest", "xspecify", "fit", "ftest", "bench", "property", "testWidgets", "step"];
const JS_CONTAINERS: [&str; 9] =
    ["describe", "suite", "context", "xdescribe", "xcontext", "fdescribe", "fcontext", "group", "xsuite"];

/// Tests written as calls: `test('name', () => …)`, `describe.each(…)('…', …)`.
fn calls(tokens: &[Token<'_>]) -> Vec<Case> {
    let mut out = Vec::new();
    let mut containers: Vec<Container> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        containers.retain(|c| c.end > at);
        let Some(found) = call_at(tokens, at) else {
            at += 1;
            continue;
        };
        let (open, end, container) = found;
        let title_end = (open + 1..end).find(|i| tokens[*i].is(",")).unwrap_or(open + 2).min(end);
        let title = tokens[open + 1..title_end].iter().map(Token::value).collect::<Vec<_>>().join(" ");
        if container {
            containers.push(Container { name: title, end });
            at = open + 1;
        } else {
            out.push(Case { name: qualified(&containers, &title), first: at, end, line: tokens[at].line });
            at = end;
        }
    }
    out
}

/// Returns the opening bracket, the end, and whether it groups, of a test call whose first word is at `at`.
fn call_at(tokens: &[Token<'_>], at: usize) -> Option<(usize, usize, bool)> {
    let word = tokens[at];
    if !word.is_word() {
        return None;
    }
    let case = JS_CASES.contains(&word.text);
    let mut container = JS_CONTAINERS.contains(&word.text);
    if !case && !container {
        return None;
    }
    // `pattern.test(x)` is no test; `Deno.test(…)` is one, and so is any call that states a title and a function.
    let method = at > 0 && (tokens[at - 1].is(".") || tokens[at - 1].is("?."));
    if method && !(at > 1 && matches!(tokens[at - 2].text, "Deno" | "QUnit" | "t" | "bun")) {
        return None;
    }
    if at > 0 && matches!(tokens[at - 1].text, "function" | "const" | "let" | "var" | "def" | "class") {
        return None;
    }
    let mut index = at + 1;
    let mut called = None;
    loop {
        let next = tokens.get(index)?;
        if next.is(".") || next.is("?.") {
            if tokens.get(index + 1).is_some_and(|t| matches!(t.text, "describe" | "suite" | "context")) {
                container = true;
            }
            index += 2;
        } else if next.is("(") {
            called = Some(index);
            index = close_of(tokens, index);
            // `.each(rows)(title, body)`: the last call counts.
            if !tokens.get(index).is_some_and(|t| t.is("(")) {
                break;
            }
        } else if next.is_str() && called.is_none() && tokens.get(index + 1).is_some_and(|t| t.is("(")) {
            index += 1;
        } else {
            break;
        }
    }
    let open = called?;
    Some((open, close_of(tokens, open), container))
}

const ANNOTATIONS: [&str; 20] = [
    "Test",
    "ParameterizedTest",
    "RepeatedTest",
    "TestFactory",
    "TestTemplate",
    "Fact",
    "Theory",
    "TestMethod",
    "DataTestMethod",
    "TestCase",
    "TestCaseSource",
    "SkippableFact",
    "SkippableTheory",
    "Property",
    "Benchmark",
    "Example",
    "DataProvider",
    "TestWith",
    "WpfFact",
    "StaFact",
];

/// Tests written as functions or methods with a body in braces.
fn methods(lang: Lang, tokens: &[Token<'_>]) -> Vec<Case> {
    let mut out: Vec<Case> = Vec::new();
    let mut containers: Vec<Container> = Vec::new();
    let mut at = 0;
    while at + 1 < tokens.len() {
        containers.retain(|c| c.end > at);
        let token = tokens[at];
        if matches!(token.text, "class" | "object" | "struct" | "namespace") && tokens[at + 1].is_word() {
            if let Some(open) = (at + 1..tokens.len().min(at + 60)).find(|i| tokens[*i].is("{") || tokens[*i].is(";"))
                && tokens[open].is("{")
            {
                containers.push(Container { name: tokens[at + 1].text.to_string(), end: close_of(tokens, open) });
            }
            at += 1;
            continue;
        }
        let Some((body, end)) = body_of(tokens, at) else {
            at += 1;
            continue;
        };
        let first = header_start(tokens, at);
        if is_test_method(lang, tokens, first, at, body) {
            let name = if lang == Lang::C { join(&tokens[at..body]) } else { token.value().to_string() };
            out.push(Case { name: qualified(&containers, &name), first, end, line: tokens[first].line });
            at = end;
        } else {
            // Classes nest methods: look inside, but not into the parameters again.
            at = body;
        }
    }
    out
}

/// Returns the body and end of the function whose name is at `at`: `name ( … ) … {`.
fn body_of(tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
    let name = tokens[at];
    if !(name.is_word() || name.is_str() && name.text.starts_with('`')) || !tokens[at + 1].is("(") {
        return None;
    }
    if at > 0 && tokens[at - 1].is("@") {
        return None;
    }
    if matches!(
        name.text,
        "if" | "for" | "while" | "switch" | "catch" | "return" | "func" | "function" | "using" | "lock" | "foreach"
    ) {
        return None;
    }
    let mut index = close_of(tokens, at + 1);
    for _ in 0..24 {
        let next = tokens.get(index)?;
        match next.text {
            "{" => return Some((index, close_of(tokens, index))),
            ";" | "}" | "." | ")" | "]" | "+" | "-" | "&&" | "||" | "==" | "?" => return None,
            "=" | "=>" => {
                // An expression body ends with its line.
                let end = (index..tokens.len()).find(|i| tokens[*i].is(";")).map_or(tokens.len(), |i| i + 1);
                let line = tokens[index].line;
                let line_end = (index..tokens.len()).find(|i| tokens[*i].line > line).unwrap_or(tokens.len());
                return Some((index, end.min(line_end).max(index + 1)));
            }
            "(" | "[" => index = close_of(tokens, index),
            _ => index += 1,
        }
    }
    None
}

/// Returns the first token of the declaration whose name is at `at`: after the last `;`, `{` or `}`.
fn header_start(tokens: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0i32;
    let mut index = at;
    while index > 0 {
        let token = &tokens[index - 1];
        if token.kind == Kind::Punct {
            match token.text {
                ")" | "]" => depth += 1,
                "(" | "[" => depth -= 1,
                ";" | "{" | "}" if depth == 0 => break,
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
        index -= 1;
    }
    index
}

fn is_test_method(lang: Lang, tokens: &[Token<'_>], first: usize, at: usize, body: usize) -> bool {
    let name = tokens[at].value();
    let header = &tokens[first..at];
    let capital = |prefix: &str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || !rest.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    match lang {
        Lang::Go => {
            header.iter().any(|t| t.is("func"))
                && ["Test", "Benchmark", "Fuzz", "Example"].iter().any(|prefix| capital(prefix))
        }
        Lang::C => {
            matches!(
                name,
                "TEST"
                    | "TEST_F"
                    | "TEST_P"
                    | "TYPED_TEST"
                    | "TEST_CASE"
                    | "SCENARIO"
                    | "SECTION"
                    | "BOOST_AUTO_TEST_CASE"
                    | "START_TEST"
            ) || (name.starts_with("test_") && !header.is_empty() && body > at)
        }
        _ => {
            let marked = header.windows(2).any(|pair| {
                (pair[0].is("@") || pair[0].is("[") || pair[0].is(","))
                    && pair[1].is_word()
                    && ANNOTATIONS.contains(&pair[1].text)
            });
            let declared = header.iter().any(|t| matches!(t.text, "void" | "function" | "func" | "fun" | "public"));
            marked || (declared && (capital("test") || name.starts_with("test_")))
        }
    }
}

const RUBY_CASES: [&str; 12] =
    ["it", "test", "specify", "scenario", "example", "should", "xit", "fit", "xspecify", "its", "property", "xtest"];
const RUBY_CONTAINERS: [&str; 8] =
    ["describe", "context", "feature", "xdescribe", "fdescribe", "xcontext", "fcontext", "describe_enum"];

/// Tests written as `it "…" do … end` or `def test_x … end`.
fn blocks(tokens: &[Token<'_>]) -> Vec<Case> {
    let starts: Vec<usize> = (0..tokens.len()).filter(|i| *i == 0 || tokens[*i].line > tokens[*i - 1].line).collect();
    let mut out = Vec::new();
    let mut containers: Vec<Container> = Vec::new();
    let mut skip_to = 0;
    for (index, &at) in starts.iter().enumerate() {
        if at < skip_to {
            continue;
        }
        containers.retain(|c| c.end > at);
        let word = if tokens[at].is("RSpec") { at + 2 } else { at };
        let Some(head) = tokens.get(word) else { continue };
        let line_end = starts.get(index + 1).copied().unwrap_or(tokens.len());
        let method = head.is("def") && tokens.get(word + 1).is_some_and(|t| t.text.starts_with("test"));
        let class = matches!(head.text, "class" | "module" | "defmodule");
        let container = class || RUBY_CONTAINERS.contains(&head.text);
        if !(method || container || RUBY_CASES.contains(&head.text)) || !head.is_word() {
            continue;
        }
        let end = ruby_end(tokens, &starts, index);
        let title = if method || class {
            tokens.get(word + 1).map_or_else(String::new, |t| t.text.to_string())
        } else {
            let stop = (word + 1..line_end).find(|i| matches!(tokens[*i].text, "do" | "{" | ",")).unwrap_or(line_end);
            tokens[word + 1..stop].iter().map(Token::value).collect::<Vec<_>>().join(" ")
        };
        if container {
            containers.push(Container { name: title, end });
        } else {
            out.push(Case { name: qualified(&containers, &title), first: at, end, line: tokens[at].line });
            skip_to = end;
        }
    }
    out
}

fn ruby_end(tokens: &[Token<'_>], starts: &[usize], index: usize) -> usize {
    let header = starts[index];
    let next = starts.get(index + 1).copied().unwrap_or(tokens.len());
    let line = &tokens[header..next];
    // The block opened on this line is closed on it, or there is none.
    let opens = line
        .iter()
        .filter(|t| matches!(t.text, "do" | "{" | "def" | "class" | "module" | "defmodule") && !t.is_str())
        .count();
    let closes = line.iter().filter(|t| matches!(t.text, "end" | "}") && !t.is_str()).count();
    if opens <= closes {
        return next;
    }
    for start in &starts[index + 1..] {
        let token = &tokens[*start];
        if token.col <= tokens[header].col {
            return if matches!(token.text, "end" | "}") { *start + 1 } else { *start };
        }
    }
    tokens.len()
}

fn shell(tokens: &[Token<'_>]) -> Vec<Case> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts_line = at == 0 || tokens[at].line > tokens[at - 1].line;
        let bats = tokens[at].is("@") && tokens.get(at + 1).is_some_and(|t| t.is("test"));
        let keyword = tokens[at].is("function");
        let name = if bats { at + 2 } else { at + usize::from(keyword) };
        let function = tokens.get(name).is_some_and(|t| t.text.starts_with("test"))
            && (keyword || tokens.get(name + 1).is_some_and(|t| t.is("(")));
        let open = (name..tokens.len().min(name + 6)).find(|i| tokens[*i].is("{"));
        if starts_line
            && (bats || function)
            && let Some(open) = open
        {
            let col = tokens[at].col;
            let end = (open + 1..tokens.len())
                .find(|i| tokens[*i].is("}") && tokens[*i].col <= col)
                .map_or(tokens.len(), |i| i + 1);
            out.push(Case { name: tokens[name].value().to_string(), first: at, end, line: tokens[at].line });
            at = end;
        } else {
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::lex;
    use super::*;

    fn names(lang: Lang, text: &str) -> Vec<String> {
        cases(lang, &lex::tokens(lang, text)).into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn tests_are_found_in_every_language() {
        assert_eq!(
            names(
                Lang::Python,
                "class A(T):\n    @x(1)\n    def test_a(self):\n        def test_in(): pass\n        f(\n1)\n\n    def help(self): pass\n\ndef test_b():\n    pass\n"
            ),
            ["A > test_a", "test_b"]
        );
        assert_eq!(
            names(
                Lang::Js,
                "describe('d', () => {\n  it('a', () => { x(/a/.test('b')) })\n  test.each([1,2])('n %s', (n) => {})\n})\ntest.skip('b', f)"
            ),
            ["d > a", "d > n %s", "b"]
        );
        assert_eq!(
            names(
                Lang::Rust,
                "mod tests { use super::*; #[test] fn a() { x(); } #[tokio::test(flavor = \"x\")] pub async fn b() {} fn c() {} }"
            ),
            ["tests > a", "tests > b"]
        );
        assert_eq!(
            names(
                Lang::Go,
                "package a\nfunc TestA(t *testing.T) {\n}\nfunc (s *Suite) TestB() {}\nfunc Testify() {}\n"
            ),
            ["TestA", "TestB"]
        );
        assert_eq!(
            names(
                Lang::Java,
                "class PTest { @Test void a() throws E { x(); } @ParameterizedTest @ValueSource(ints = {1, 2}) void b(int x) {} void help() { if (a(1)) { b(); } } public void testOld() {} }"
            ),
            ["PTest > a", "PTest > b", "PTest > testOld"]
        );
        assert_eq!(
            names(
                Lang::CSharp,
                "class T { [Fact] public void A() { } [Theory][InlineData(1)] public void B(int x) => C(x); }"
            ),
            ["T > A", "T > B"]
        );
        assert_eq!(
            names(
                Lang::Php,
                "class T extends TestCase { public function testA(): void { } #[Test] public function b() {} function c() {} }"
            ),
            ["T > testA", "T > b"]
        );
        assert_eq!(
            names(
                Lang::Ruby,
                "class TA < T\n  def test_a\n    x { 1 }\n  end\n  test \"b\" do\n    y\n  end\nend\ndescribe \"d\" do\n  it \"c\" do\n  end\n  it(\"e\") { z }\nend\n"
            ),
            ["TA > test_a", "TA > b", "d > c", "d > ( e )"]
        );
        assert_eq!(
            names(Lang::Shell, "@test \"a\" {\n  run x\n}\ntest_b() {\n  y\n}\nhelp() {\n z\n}\n"),
            ["a", "test_b"]
        );
        assert_eq!(
            names(
                Lang::C,
                "TEST(A, B) { x(); }\nTEST_CASE(\"c\") { }\nstatic void test_d(void) { }\nint main(void) { test_d(); }"
            ),
            ["TEST ( A , B )", "TEST_CASE ( \"c\" )", "test_d ( void )"]
        );
        assert_eq!(names(Lang::Elixir, "defmodule T do\n  test \"a\" do\n    assert x\n  end\nend\n"), ["T > a"]);
    }

    #[test]
    fn rust_test_items_are_regions() {
        let text = "fn a() {}\n#[cfg(test)]\nmod t { fn b() {} }\nfn c() {}\n#[cfg(test)]\nuse x;\n";
        let tokens = lex::tokens(Lang::Rust, text);
        let region = test_region(Lang::Rust, &tokens, false);
        let inside: Vec<&str> =
            tokens.iter().zip(region).filter(|(t, on)| *on && t.is_word()).map(|(t, _)| t.text).collect();
        assert_eq!(inside, ["cfg", "test", "mod", "t", "fn", "b", "cfg", "test", "use", "x"]);
    }
}
