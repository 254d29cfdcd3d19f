//! Tells a change of layout, and a table that only grows, from a change of what a test demands.
//!
//! Works on tokens of an old and a new version; it never judges.

use super::lex::{Kind, Lang, Token, close_of, innermost};

/// How a piece of test code changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Line breaks, indentation, quotes and trailing commas only.
    Same,
    /// Tables that tests are made of have more rows; every old one stands where it stood.
    Grows,
    /// Anything else.
    Other,
}

/// What stands around a piece of test code, and says what its tables are for.
pub(super) struct Around<'a> {
    pub(super) lang: Lang,
    /// The tokens of the whole file.
    pub(super) tokens: &'a [Token<'a>],
    /// The texts of its assertions.
    pub(super) asserted: &'a [String],
}

/// Compares two versions of a piece of test code.
pub(super) fn compare(old: &[Token<'_>], new: &[Token<'_>], around: &Around<'_>) -> Layout {
    let (before, after) = (pieces(around.lang, old), pieces(around.lang, new));
    if is_same(&before, &after) {
        return Layout::Same;
    }
    if grows(&before, &after, new, around) || has_more_parts(old, new, around) { Layout::Grows } else { Layout::Other }
}

/// Whether the new version is the old one but for further tests inside of it.
fn has_more_parts(old: &[Token<'_>], new: &[Token<'_>], around: &Around<'_>) -> bool {
    let ((old_rest, old_parts), (new_rest, new_parts)) = (parts(old), parts(new));
    let same = |a: &[Token<'_>], b: &[Token<'_>]| is_same(&pieces(around.lang, a), &pieces(around.lang, b));
    let mut wanted = old_parts.iter().peekable();
    for part in &new_parts {
        wanted.next_if(|old| same(old, part));
    }
    new_parts.len() > old_parts.len() && wanted.next().is_none() && same(&old_rest, &new_rest)
}

/// Takes the tests inside a test (`await t.test('…', …);`, `t.Run("…", …)`) out of it.
fn parts<'a>(tokens: &[Token<'a>]) -> (Vec<Token<'a>>, Vec<Vec<Token<'a>>>) {
    let (mut rest, mut out) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let call = at + usize::from(tokens[at].is("await"));
        let part = at > 0
            && (matches!(tokens[at - 1].text, "{" | ";" | "}") || tokens[at - 1].line < tokens[at].line)
            && tokens.get(call + 4).is_some_and(Token::is_str)
            && tokens[call].is_word()
            && tokens[call + 1].is(".")
            && matches!(tokens[call + 2].text, "test" | "it" | "step" | "Run")
            && tokens[call + 3].is("(");
        if part {
            let mut end = close_of(tokens, call + 3);
            end += usize::from(tokens.get(end).is_some_and(|t| t.is(";")));
            out.push(tokens[at..end].to_vec());
            at = end;
        } else {
            rest.push(tokens[at]);
            at += 1;
        }
    }
    (rest, out)
}

/// One token, or the beginning of a statement.
#[derive(Debug, Clone)]
struct Piece {
    /// The token; the one that begins the statement.
    at: usize,
    says: Says,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Says {
    /// A statement begins, so far to the right of the first one.
    Statement(i64),
    /// A token's text.
    Text(String),
}

impl Piece {
    fn is(&self, text: &str) -> bool {
        matches!(&self.says, Says::Text(own) if own == text)
    }
}

fn is_same(old: &[Piece], new: &[Piece]) -> bool {
    old.iter().map(|piece| &piece.says).eq(new.iter().map(|piece| &piece.says))
}

fn pieces(lang: Lang, tokens: &[Token<'_>]) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut imported = None;
    let base = i64::from(tokens.first().map_or(0, |t| t.col));
    for (index, token) in tokens.iter().enumerate() {
        let previous = index.checked_sub(1).map(|i| &tokens[i]);
        let new_line = previous.is_none_or(|t| t.line < token.line);
        if new_line && ends_statement(lang, &open, previous) {
            let column = if lang == Lang::Python { i64::from(token.col) - base } else { 0 };
            out.push(Piece { at: index, says: Says::Statement(column) });
        }
        if lang == Lang::Python && previous.is_some_and(|t| t.is("import")) && token.is("(") {
            imported = Some(close_of(tokens, index) - 1);
        }
        if token.kind == Kind::Punct {
            match token.text {
                "(" | "[" | "{" => open.push(token.text),
                ")" | "]" | "}" => {
                    open.pop();
                }
                _ => {}
            }
            if token.text == "," && (is_trailing(tokens, index) || imported == Some(index + 1)) {
                continue;
            }
        }
        // The brackets round a list of imported names are layout.
        if imported == Some(index) || token.is("(") && previous.is_some_and(|t| t.is("import")) {
            continue;
        }
        out.push(Piece { at: index, says: Says::Text(said(lang, token)) });
    }
    out
}

/// Whether a line break before the next token can end a statement.
fn ends_statement(lang: Lang, open: &[&str], previous: Option<&Token<'_>>) -> bool {
    match lang {
        Lang::Python => open.is_empty(),
        // A semicolon is put in after these words.
        Lang::Js => previous.is_some_and(|t| matches!(t.text, "return" | "throw" | "break" | "continue" | "yield")),
        Lang::Rust | Lang::Java | Lang::CSharp | Lang::C | Lang::Php => false,
        _ => open.last().is_none_or(|bracket| *bracket == "{"),
    }
}

/// Whether the comma at `index` stands before a closing bracket and could as well be left out.
fn is_trailing(tokens: &[Token<'_>], index: usize) -> bool {
    let closes = tokens.get(index + 1).is_some_and(|t| t.kind == Kind::Punct && matches!(t.text, ")" | "]" | "}"));
    let after_value = index > 0
        && !(tokens[index - 1].kind == Kind::Punct && matches!(tokens[index - 1].text, "," | "(" | "[" | "{"));
    if !closes || !after_value {
        return false;
    }
    if !tokens[index + 1].is(")") {
        return true;
    }
    // `(a,)` is a tuple, `(a)` is not: another comma, or a name before the bracket, tells.
    let mut depth = 0;
    for at in (0..index).rev() {
        if tokens[at].kind != Kind::Punct {
            continue;
        }
        match tokens[at].text {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" if depth > 0 => depth -= 1,
            "(" => return at > 0 && (tokens[at - 1].is_word() || tokens[at - 1].is("!") || tokens[at - 1].is(")")),
            "," if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// Returns the token's text, with one kind of quotes where the language makes no difference between two.
fn said(lang: Lang, token: &Token<'_>) -> String {
    let text = token.text;
    if token.is_str() && matches!(lang, Lang::Python | Lang::Js) {
        for quote in ['\'', '"'] {
            if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote))
                && !inner.contains(['\'', '"', '\\'])
            {
                return format!("\"{inner}\"");
            }
        }
        // The rows of `each` in a template: blanks between the columns are layout.
        if lang == Lang::Js && text.starts_with('`') && text.contains('|') && text.contains("${") {
            let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            return lines.collect::<Vec<_>>().join("\n");
        }
    }
    text.to_string()
}

/// Whether the new version is the old one but for rows put into tables that tests are made of.
fn grows(old: &[Piece], new: &[Piece], tokens: &[Token<'_>], around: &Around<'_>) -> bool {
    let (mut i, mut j) = (0, 0);
    while let (Some(before), Some(after)) = (old.get(i), new.get(j)) {
        let at = after.at;
        if before.says == after.says {
            let opens = ["(", "[", "{"].iter().any(|bracket| after.is(bracket));
            if opens && is_table(tokens, at, around) {
                let ((rows, i_close), (more, j_close)) = (rows(old, i), rows(new, j));
                if !has_rows(around.lang, &rows, &more, tokens, at) {
                    return false;
                }
                (i, j) = (i_close, j_close);
            }
        } else {
            let each = around.lang == Lang::Js && at > 0 && tokens[at - 1].is("each");
            let (Says::Text(before), Says::Text(after)) = (&before.says, &after.says) else { return false };
            if !(each && template_grows(before, after)) {
                return false;
            }
        }
        (i, j) = (i + 1, j + 1);
    }
    i == old.len() && j == new.len()
}

/// Returns what stands between the commas in the bracket at `open`, and the place of the closing bracket.
fn rows(pieces: &[Piece], open: usize) -> (Vec<&[Piece]>, usize) {
    let (mut out, mut depth, mut first) = (Vec::new(), 0, open + 1);
    for (index, piece) in pieces.iter().enumerate().skip(open) {
        let Says::Text(text) = &piece.says else { continue };
        match text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    if first < index {
                        out.push(&pieces[first..index]);
                    }
                    // Where a line begins is layout here.
                    let starts = |piece: &&Piece| matches!(piece.says, Says::Statement(_));
                    for row in &mut out {
                        let before = row.iter().take_while(starts).count();
                        let behind = row[before..].iter().rev().take_while(starts).count();
                        *row = &row[before..row.len() - behind];
                    }
                    out.retain(|row| !row.is_empty());
                    return (out, index);
                }
            }
            "," if depth == 1 => {
                out.push(&pieces[first..index]);
                first = index + 1;
            }
            _ => {}
        }
    }
    (out, pieces.len().saturating_sub(1))
}

/// Whether every old row stands in the new table, in order, and every other row only adds to it.
fn has_rows(lang: Lang, old: &[&[Piece]], new: &[&[Piece]], tokens: &[Token<'_>], open: usize) -> bool {
    let mut wanted = old.iter().peekable();
    for row in new {
        if wanted.next_if(|old| is_same(old, row)).is_some() {
            continue;
        }
        let (Some(first), Some(last)) = (row.first(), row.last()) else { return false };
        let replaces = tokens[open].is("{") && lang == Lang::Python && {
            let keyed = matches!(tokens[first.at].kind, Kind::Str | Kind::Number);
            !keyed || new.iter().filter(|other| other.first().is_some_and(|key| key.says == first.says)).count() > 1
        };
        if replaces || !is_plain(&tokens[first.at..=last.at]) {
            return false;
        }
    }
    wanted.next().is_none()
}

/// Whether a table in a template keeps its header and every row, in order.
fn template_grows(old: &str, new: &str) -> bool {
    let mut rows = new.lines().filter(|line| !line.trim().is_empty());
    let mut wanted = old.lines().filter(|line| !line.trim().is_empty());
    old.starts_with('`')
        && old.contains('|')
        && wanted.next() == rows.next()
        && wanted.next() == rows.next()
        && wanted.all(|line| rows.any(|other| other == line))
}

/// Whether the bracket at `open` holds the rows that tests are made of, and nothing asserts about the table itself.
fn is_table(tokens: &[Token<'_>], open: usize, around: &Around<'_>) -> bool {
    let lang = around.lang;
    let before = |offset: usize| open.checked_sub(offset).map(|at| &tokens[at]);
    let Some(previous) = before(1) else { return false };
    let keyword = matches!(previous.text, "in" | "of" | "return");
    let value = (previous.is_word() && !keyword) || previous.is_str() || previous.is(")") || previous.is("]");
    let fits = match tokens[open].text {
        "[" => !value,
        "{" if lang == Lang::Go => go_value(tokens, open).is_some(),
        "{" | "(" => !value && lang == Lang::Python,
        _ => false,
    };
    if !fits {
        return false;
    }
    let close = close_of(tokens, open);
    let looped = keyword && previous.text != "return" && {
        let head = tokens[..open].iter().rev().take_while(|t| !matches!(t.text, ";" | "{" | "}" | "assert"));
        head.take(12).any(|t| t.is("for"))
    };
    let walked = tokens.get(close).is_some_and(|t| t.is("."))
        && tokens.get(close + 1).is_some_and(|t| matches!(t.text, "forEach" | "each"));
    let given = previous.is("(") && before(2).is_some_and(|t| matches!(t.text, "each" | "for"))
        || innermost(tokens, open).is_some_and(|outer| {
            outer > 0
                && tokens[outer].is("(")
                && matches!(tokens[outer - 1].text, "parametrize" | "expand" | "parameterized" | "cases")
                && tokens[outer..open].iter().any(|t| t.is(","))
        });
    if looped || walked || given {
        return true;
    }
    if tokens[open].is("{") && lang == Lang::Go {
        let name = go_value(tokens, open).unwrap_or_default();
        let named = |at: usize| around.tokens[at].is_word() && around.tokens[at].text == name;
        return name == "range" || (0..around.tokens.len()).any(|at| named(at) && is_walked(around.tokens, at));
    }
    // `ROWS = […]` at the outermost level, walked through somewhere and asserted nowhere.
    if innermost(tokens, open).is_some() && lang != Lang::Go {
        return false;
    }
    let Some(name) = bound_name(tokens, open) else { return false };
    let named = |at: usize| around.tokens[at].is_word() && around.tokens[at].text == name;
    !around.asserted.iter().any(|text| text.split(' ').any(|word| word == name))
        && (0..around.tokens.len()).any(|at| named(at) && is_walked(around.tokens, at))
}

/// Returns the name that the Go literal whose values begin at `open` is bound to (`cases := []T{…}`), or `range` where
/// it is gone through where it stands.
fn go_value<'t>(tokens: &[Token<'t>], open: usize) -> Option<&'t str> {
    /// Tokens of a type before its values: a struct with a dozen fields.
    const LONGEST: usize = 60;
    if tokens[open.checked_sub(1)?].is("struct") {
        return None;
    }
    let first = open.saturating_sub(LONGEST);
    let bound = (first..open).rev().find(|at| matches!(tokens[*at].text, ":=" | "=" | "range"))?;
    let typed = tokens.get(bound + 1).is_some_and(|t| matches!(t.text, "[" | "map"));
    let whole = innermost(tokens, open) == innermost(tokens, bound);
    let name = if tokens[bound].is("range") { bound } else { bound.checked_sub(1)? };
    (typed && whole).then(|| tokens[name].text)
}

/// Returns the name that the literal at `open` is bound to.
fn bound_name<'t>(tokens: &[Token<'t>], open: usize) -> Option<&'t str> {
    let line = tokens[..open].iter().rposition(|t| t.is("=") || t.is(":="))?;
    let between = &tokens[line + 1..open];
    if !between.iter().all(|t| matches!(t.text, "&" | "vec" | "!" | "mut")) {
        return None;
    }
    // `const NAME: &[(T, T)] = …` names it before the type.
    let mut depth = 0;
    let start = tokens[..line].iter().rposition(|t| {
        match t.text {
            ")" | "]" => depth += 1,
            "(" | "[" => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(t.text, ";" | "{" | "}" | "const" | "let" | "var" | "static" | "=")
    });
    let start = start.map_or(0, |at| at + 1);
    let own = (start..line).find(|at| tokens[*at].line == tokens[line].line).unwrap_or(start);
    let head = &tokens[own..line];
    if head.iter().any(|t| t.is(":")) { head.first() } else { head.last() }.filter(|t| t.is_word()).map(|t| t.text)
}

/// Whether the name at `at` is gone through here, row by row.
fn is_walked(tokens: &[Token<'_>], at: usize) -> bool {
    // `self.ROWS` is gone through as `ROWS` is.
    let own = at > 1 && tokens[at - 1].is(".") && matches!(tokens[at - 2].text, "self" | "cls" | "this");
    let from = if own { at - 2 } else { at };
    let before = |offset: usize| from.checked_sub(offset).map_or("", |i| tokens[i].text);
    let previous = if matches!(before(1), "&" | "*") { before(2) } else { before(1) };
    let next = tokens.get(at + 2).filter(|_| tokens[at + 1].is(".")).map_or("", |t| t.text);
    matches!(previous, "in" | "of" | "range") && !before(3).starts_with("assert")
        || matches!(next, "forEach" | "iter" | "into_iter" | "each")
        || before(1) == "(" && before(2) == "each"
        || innermost(tokens, at).is_some_and(|open| open > 0 && tokens[open - 1].is("parametrize"))
}

/// Whether a row is made of values alone, so that putting it in does nothing else.
fn is_plain(row: &[Token<'_>]) -> bool {
    let harmless = |token: &Token<'_>| match token.kind {
        Kind::Punct => {
            matches!(
                token.text,
                "(" | ")" | "[" | "]" | "{" | "}" | "," | ":" | "." | "-" | "+" | "*" | "=" | "&" | "!" | "::"
            )
        }
        Kind::Word => !matches!(
            token.text,
            "lambda"
                | "function"
                | "func"
                | "def"
                | "await"
                | "yield"
                | "delete"
                | "del"
                | "exit"
                | "_exit"
                | "skip"
                | "eval"
        ),
        Kind::Str | Kind::Number => true,
    };
    // A method of a value may change it; one of a module or a type makes a new one.
    let method = |at: usize| {
        row[at].is("(")
            && at >= 3
            && row[at - 2].is(".")
            && !matches!(row[at - 3].text, "pytest" | "datetime" | "decimal" | "math" | "np" | "path")
            && !(row[at - 3].text.starts_with(char::is_uppercase) && row[at - 3].text.contains(char::is_lowercase))
    };
    row.iter().all(harmless) && !(0..row.len()).any(method)
}

#[cfg(test)]
mod tests {
    use super::super::lex::tokens;
    use super::*;

    fn of(lang: Lang, old: &str, new: &str) -> Layout {
        let (old, new) = (tokens(lang, old), tokens(lang, new));
        compare(&old, &new, &Around { lang, tokens: &old, asserted: &[] })
    }

    #[test]
    fn line_breaks_quotes_and_trailing_commas_are_layout() {
        for (lang, old, new) in [
            (
                Lang::Python,
                "assert f(1, 'a') == [1, 2]\n",
                "assert f(\n    1,\n    \"a\",\n) == [\n    1,\n    2,\n]\n",
            ),
            (Lang::Js, "it('a', () => { b({ c: 1 }); });", "it('a', () => {\n  b({\n    c: 1,\n  });\n});"),
            (Lang::Rust, "assert_eq!(a, [1, 2]);", "assert_eq!(\n    a,\n    [1, 2],\n);"),
        ] {
            assert_eq!(of(lang, old, new), Layout::Same, "{new}");
        }
        for (lang, old, new) in [
            (Lang::Python, "if a:\n    b()\n    c()\n", "if a:\n    b()\nc()\n"),
            (Lang::Python, "return a\n", "return\na\n"),
            (Lang::Js, "return a;", "return\na;"),
            (Lang::Python, "x = (a)\n", "x = (a,)\n"),
            (Lang::Js, "a('it\\'s')", "a('its')"),
        ] {
            assert_eq!(of(lang, old, new), Layout::Other, "{new}");
        }
    }

    #[test]
    fn a_table_of_tests_may_grow_and_nothing_else_in_it_may_change() {
        let py = "@pytest.mark.parametrize('x, y', [(1, 2), (3, 4)])\ndef test_a(x, y):\n    assert f(x) in [y, 0]\n";
        assert_eq!(of(Lang::Python, py, &py.replace("(3, 4)", "(3, 4), (5, 6)")), Layout::Grows);
        assert_eq!(of(Lang::Python, py, &py.replace("(1, 2)", "(0, 0), (1, 2)")), Layout::Grows);
        assert_eq!(of(Lang::Python, py, &py.replace("(3, 4)", "pytest.param(5, 6, id='a'), (3, 4)")), Layout::Grows);
        for (from, to) in [
            ("(3, 4)", "(3, 5)"),
            (", (3, 4)", ""),
            ("[y, 0]", "[y, 0, 1]"),
            ("(3, 4)", "(3, 4, 5)"),
            ("(1, 2)", "(2, 1), (1, 3)"),
        ] {
            assert_eq!(of(Lang::Python, py, &py.replace(from, to)), Layout::Other, "{to}");
        }
        let dict = "GOOD = {'a': 1}\nfor k, v in GOOD.items():\n    check(k, v)\n";
        assert_eq!(of(Lang::Python, dict, &dict.replace("'a': 1", "'a': 1, 'b': 2")), Layout::Grows);
        assert_eq!(of(Lang::Python, dict, &dict.replace("'a': 1", "'a': 1, 'a': 2")), Layout::Other);
        let js = "const ROWS = [\n  { a: 1 },\n];\nfor (const r of ROWS) {\n  it('x', () => {});\n}\n";
        assert_eq!(of(Lang::Js, js, &js.replace("  { a: 1 },\n", "  { a: 1 },\n  { a: 2 },\n")), Layout::Grows);
        assert_eq!(of(Lang::Js, js, &js.replace("{ a: 1 }", "{ a: 1, a: 2 }")), Layout::Other);
        assert_eq!(of(Lang::Js, js, &js.replace("{ a: 1 },", "{ a: 1 }, ROWS.pop(),")), Layout::Other);
        let rust = "const A: &[(u8, u8)] = &[(1, 2)];\nfor (a, b) in A {\n    x(a, b);\n}\n";
        assert_eq!(of(Lang::Rust, rust, &rust.replace("[(1, 2)]", "[(1, 2), (3, 4)]")), Layout::Grows);
        let each = "test.each`\n  a | b\n  ${1} | ${2}\n`('x', () => {});";
        assert_eq!(of(Lang::Js, each, &each.replace("${2}\n", "${2}\n  ${3}   | ${4}\n")), Layout::Grows);
        assert_eq!(of(Lang::Js, each, &each.replace("${2}", "${3}")), Layout::Other);
    }

    #[test]
    fn a_list_that_an_assertion_names_is_what_is_asserted() {
        let text = "ALLOWED = ['a']\nfor x in ALLOWED:\n    pass\n";
        let more = text.replace("'a'", "'a', 'b'");
        let (old, new) = (tokens(Lang::Python, text), tokens(Lang::Python, &more));
        let around = |asserted| Around { lang: Lang::Python, tokens: &old, asserted };
        let asserted = ["assert f ( ) in ALLOWED".to_string()];
        assert_eq!(compare(&old, &new, &around(&asserted)), Layout::Other);
        assert_eq!(compare(&old, &new, &around(&[])), Layout::Grows);
    }

    #[test]
    fn a_test_may_have_more_tests_inside() {
        let js = "test('a', async (t) => {\n  await t.test('b', () => { f(); });\n});\n";
        let more = js.replace("});\n});", "});\n  await t.test('c', () => { g(); });\n});");
        assert_eq!(of(Lang::Js, js, &more), Layout::Grows);
        assert_eq!(of(Lang::Js, js, &more.replace("f()", "g()")), Layout::Other);
        assert_eq!(of(Lang::Js, js, &more.replace("  await t.test('c'", "  await 0; t.test('c'")), Layout::Other);
        let go = "func TestA(t *testing.T) {\n\tt.Run(\"a\", func(t *testing.T) { f() })\n}\n";
        assert_eq!(
            of(Lang::Go, go, &go.replace("})\n", "})\n\tt.Run(\"b\", func(t *testing.T) { g() })\n")),
            Layout::Grows
        );
    }
}
