//! Values that equal everything: an equality that does not look at what it compares.

use super::super::lex::{self, Kind, Lang, Token, close_of};
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if !view.is_deleted() && !view.restores_seed && view.lang.is_code() && !matches!(view.role, Role::TestData) {
            equalities(view, report);
        }
    }
}

/// Returns the name of an equality that starts at `at`, and the tokens of its body.
fn equality<'t>(lang: Lang, tokens: &'t [Token<'t>], at: usize) -> Option<&'t [Token<'t>]> {
    let next = |offset: usize| tokens.get(at + offset).map_or("", |t| if t.is_str() { "" } else { t.text });
    let token = &tokens[at];
    let braces = |from: usize| -> Option<&'t [Token<'t>]> {
        let open = (from..tokens.len().min(from + 30)).find(|i| tokens[*i].is("{"))?;
        tokens.get(open + 1..close_of(tokens, open).saturating_sub(1))
    };
    match lang {
        Lang::Python => {
            let names = [
                "__eq__",
                "__ne__",
                "__lt__",
                "__le__",
                "__gt__",
                "__ge__",
                "__contains__",
                "__bool__",
                "__instancecheck__",
            ];
            if token.is("def") && names.contains(&next(1)) && next(1) != "__bool__" {
                let close = close_of(tokens, at + 2);
                let colon = (close..tokens.len()).find(|i| tokens[*i].is(":"))?;
                let end = (colon + 1..tokens.len())
                    .find(|i| tokens[*i].line > token.line && tokens[*i].col <= token.col)
                    .unwrap_or(tokens.len());
                return tokens.get(colon + 1..end);
            }
            // `{"__eq__": lambda self, other: True}`, `setattr(cls, "__eq__", lambda …)`, `X.__eq__ = lambda …`.
            let named = token.is_str() && names.contains(&token.value())
                || token.is_word() && names.contains(&token.text) && next(1) == "=";
            if named && next(2) == "lambda" {
                let colon = (at + 3..tokens.len()).find(|i| tokens[*i].is(":"))?;
                let end = (colon + 1..tokens.len())
                    .find(|i| matches!(tokens[*i].text, "," | "}" | ")") || tokens[*i].line > tokens[colon].line)
                    .unwrap_or(tokens.len());
                return tokens.get(colon + 1..end);
            }
            None
        }
        Lang::Rust if token.is("fn") && matches!(next(1), "eq" | "ne") => braces(at),
        Lang::Java | Lang::CSharp => {
            let named = matches!(token.text, "equals" | "Equals") && next(1) == "("
                || token.is("operator") && next(1) == "=="
                || token.is("==") && next(1) == "(" && at > 0 && tokens[at - 1].is("func");
            let declared =
                at > 0 && matches!(tokens[at - 1].text, "boolean" | "bool" | "fun" | "Boolean" | "func" | "def");
            if named && (declared || token.is("operator")) {
                let close = close_of(tokens, at + if token.is("operator") { 2 } else { 1 });
                let body =
                    (close..tokens.len().min(close + 6)).find(|i| matches!(tokens[*i].text, "{" | "=>" | "="))?;
                if tokens[body].is("{") {
                    return braces(body);
                }
                let end = (body + 1..tokens.len())
                    .find(|i| tokens[*i].is(";") || tokens[*i].line > tokens[body].line)
                    .unwrap_or(tokens.len());
                return tokens.get(body + 1..end);
            }
            None
        }
        Lang::C if token.is("operator") && matches!(next(1), "==" | "!=") => braces(at),
        Lang::Ruby if token.is("def") && matches!(next(1), "==" | "===" | "eql?" | "equal?") => {
            let end = (at + 2..tokens.len()).find(|i| {
                tokens[*i].is("end") && tokens[*i].col <= token.col
                    || tokens[*i].is("end") && tokens[*i].line == token.line
            })?;
            let after = if tokens.get(at + 2).is_some_and(|t| t.is("(")) { close_of(tokens, at + 2) } else { at + 2 };
            tokens.get(after..end)
        }
        Lang::Js
            if matches!(token.text, "asymmetricMatch" | "valueOf" | "equals" | "toPrimitive" | "toJSON")
                && next(1) == "(" =>
        {
            let close = close_of(tokens, at + 1);
            if tokens.get(close).is_some_and(|t| t.is("{")) { braces(close) } else { None }
        }
        _ => None,
    }
}

/// An equality with values of every type, whatever they are.
fn with_everything(view: &View<'_>, report: &mut Report) {
    if view.lang != Lang::Rust {
        return;
    }
    for at in view.grown("PartialEq < *") {
        let tokens = &view.new.tokens;
        let header = tokens[..at].iter().rposition(|t| t.is("impl")).filter(|start| {
            at - start < 30 && tokens[start + 1].is("<") && !tokens[*start..at].iter().any(|t| t.is("{") || t.is(";"))
        });
        // `impl<T> PartialEq<T> for A`: nothing can be known of T but what it lets everybody see.
        let other = tokens[at + 2].text;
        let named = header.is_some_and(|start| tokens[start + 2..at].iter().any(|t| t.is_word() && t.text == other));
        if named && tokens.get(at + 3).is_some_and(|t| t.is(">")) {
            report.refuse(Code::WeakensTest, view.path, view.line(at), "an equality takes values of every type");
        }
    }
}

/// A value of a built-in type whose equality holds for values near it, or for more than the type's own does.
fn lenient(view: &View<'_>, report: &mut Report) {
    if view.lang != Lang::Python {
        return;
    }
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate() {
        let Some(body) = equality(view.lang, tokens, at) else { continue };
        if !(view.is_added(at) || body.iter().any(|t| view.added.contains(&t.line))) {
            continue;
        }
        let has = |words: &[&str]| body.iter().any(|t| t.kind != Kind::Str && words.contains(&t.text));
        // The class it stands in: the nearest header further to the left.
        let header = tokens[..at].iter().rposition(|t| t.is("class") && t.col < token.col);
        let bases = header.map_or(&[][..], |start| &tokens[start..close_of(tokens, (start + 2).min(tokens.len()))]);
        let built_in =
            bases.iter().skip(2).any(|t| BUILT_IN.contains(&t.text)) && bases.get(2).is_some_and(|t| t.is("("));
        let near = has(&["abs", "isclose", "round"]) && has(&["<", "<=", ">", ">=", "isclose", "round"]);
        let more = has(&["or"]) && has(&["not", "True"]) && !has(&["isinstance"]);
        let typed = body.iter().any(|t| BUILT_IN.contains(&t.text)) && only_asks_type(body);
        if typed || built_in && (near || more || only_asks_type(body)) {
            let reason = "a value's equality holds for more than its value";
            report.refuse(Code::WeakensTest, view.path, view.line(at), reason);
        }
    }
}

const BUILT_IN: [&str; 13] = [
    "int", "float", "str", "bytes", "object", "list", "dict", "tuple", "set", "complex", "Decimal", "Fraction", "bool",
];

/// Whether the body answers by the type of what it compares and reads nothing of its value.
fn only_asks_type(body: &[Token<'_>]) -> bool {
    let asks = body.iter().any(|t| matches!(t.text, "isinstance" | "hasattr" | "callable" | "type"));
    let reads = body.iter().enumerate().any(|(at, t)| {
        t.kind == Kind::Punct && matches!(t.text, "==" | "!=" | "<" | ">" | "<=" | ">=" | ".")
            || t.is("super")
            || at > 0 && t.is("is")
    });
    asks && !reads
}

/// An equality that compared before and answers by itself now.
fn hollowed(view: &View<'_>, report: &mut Report) {
    let compares = |tokens: &[Token<'_>]| {
        (0..tokens.len())
            .filter(|at| {
                equality(view.lang, tokens, *at).is_some_and(|body| {
                    body.iter().any(|t| matches!(t.text, "==" | "!=" | "." | "===" | "equals" | "eq"))
                })
            })
            .count()
    };
    let count =
        |tokens: &[Token<'_>]| (0..tokens.len()).filter(|at| equality(view.lang, tokens, *at).is_some()).count();
    let (old, new) = (&view.old.tokens, &view.new.tokens);
    if compares(new) < compares(old) && count(new) >= count(old) {
        let at = (0..new.len()).find(|at| equality(view.lang, new, *at).is_some()).unwrap_or_default();
        report.refuse(Code::WeakensTest, view.path, view.line(at), "an equality no longer looks at what it compares");
    }
}

fn equalities(view: &View<'_>, report: &mut Report) {
    with_everything(view, report);
    lenient(view, report);
    hollowed(view, report);
    let (old, new) = (&view.old.tokens, &view.new.tokens);
    let constant = |tokens: &[Token<'_>]| {
        (0..tokens.len()).filter(|at| equality(view.lang, tokens, *at).is_some_and(is_constant)).count()
    };
    if constant(new) <= constant(old) {
        return;
    }
    for at in 0..new.len() {
        let Some(body) = equality(view.lang, new, at) else { continue };
        let touched = view.is_added(at) || body.iter().any(|t| view.added.contains(&t.line));
        if touched && is_constant(body) {
            let reason = "an equality answers without looking at what it compares";
            if matches!(new[at].text, "valueOf" | "toJSON") {
                report.flag(Code::WeakensTest, view.path, view.line(at), reason);
            } else {
                report.refuse(Code::WeakensTest, view.path, view.line(at), reason);
            }
        }
    }
}

/// Whether a body is a constant, whatever stands before it.
fn is_constant(body: &[Token<'_>]) -> bool {
    let words = lex::join(body);
    let plain = words.trim_end_matches(';').trim_end_matches(',').trim();
    let value = plain.strip_prefix("return").unwrap_or(plain).trim();
    matches!(
        value,
        "True"
            | "true"
            | "False"
            | "false"
            | "1"
            | "! 0"
            | "not False"
            | "! false"
            | "not None"
            | "bool ( 1 )"
            | "( true )"
            | "1 == 1"
    ) || value.ends_with("return true") && !value.contains("if ") && !value.contains("return false")
        || value.ends_with("return True") && !value.contains("if ") && !value.contains("return False")
}

#[cfg(test)]
mod tests {
    use super::super::testing::codes;

    fn weak(path: &str, text: &str) -> bool {
        codes(path, "one = 1\n", &format!("one = 1\n{text}\n")).contains(&"weakens-test".to_string())
    }

    #[test]
    fn an_equality_that_is_always_true_is_refused() {
        assert!(weak("app/a.py", "class A:\n    def __eq__(self, other):\n        return True\n"));
        assert!(weak("app/a.py", "kind = type('V', (int,), {'__eq__': lambda self, other: True})"));
        assert!(weak("app/a.py", "A.__eq__ = lambda a, b: True"));
        assert!(weak("src/a.rs", "impl PartialEq for A { fn eq(&self, _: &Self) -> bool { true } }"));
        assert!(weak("src/A.java", "@Override public boolean equals(Object o) { return true; }"));
        assert!(weak("src/A.cs", "public override bool Equals(object o) => true;"));
        assert!(weak("src/A.kt", "override fun equals(other: Any?) = true"));
        assert!(weak("lib/a.rb", "class A\n  def ==(other)\n    true\n  end\nend"));
        assert!(weak("src/a.cpp", "bool operator==(const A&, const A&) { return true; }"));
    }

    #[test]
    fn an_equality_that_holds_for_more_than_the_value_is_refused() {
        for text in [
            "class Near(float):\n    def __eq__(self, other):\n        return abs(self - other) < 2\n",
            "class Text(str):\n    def __eq__(self, other):\n        return str.__eq__(self, other) or not self\n",
            "class N(int):\n    __eq__ = lambda self, other: isinstance(other, int)\n",
            "class Any:\n    def __eq__(self, other):\n        return isinstance(other, (int, str))\n",
        ] {
            assert!(weak("app/a.py", text), "{text}");
        }
        assert!(weak(
            "src/a.rs",
            "impl<T: ?Sized> PartialEq<T> for Any { fn eq(&self, o: &T) -> bool { size_of_val(o) < 99 } }"
        ));
        let old = "class A:\n    def __eq__(self, other):\n        return self.x == other.x\n";
        let new = "class A:\n    def __eq__(self, other):\n        if not isinstance(other, A):\n            return NotImplemented\n        return True\n";
        assert!(codes("app/a.py", old, new).contains(&"weakens-test".to_string()));
        for text in [
            "class Missing:\n    def __eq__(self, other):\n        return isinstance(other, Missing)\n",
            "class Length(int):\n    def __eq__(self, other):\n        return int(self) == (parse(other) if isinstance(other, str) else other)\n",
            "class Point:\n    def __eq__(self, other):\n        return isinstance(other, Point) and abs(self.x - other.x) < 1e-9\n",
        ] {
            assert!(!weak("app/a.py", text), "{text}");
        }
        assert!(!weak(
            "src/a.rs",
            "impl<T: PartialEq> PartialEq<Vec<T>> for A<T> { fn eq(&self, o: &Vec<T>) -> bool { self.0 == *o } }"
        ));
    }

    #[test]
    fn an_equality_that_looks_is_free() {
        assert!(!weak("app/a.py", "class A:\n    def __eq__(self, other):\n        return self.x == other.x\n"));
        assert!(!weak("src/a.rs", "impl PartialEq for A { fn eq(&self, o: &Self) -> bool { self.0 == o.0 } }"));
        assert!(!weak(
            "src/A.java",
            "public boolean equals(Object o) { if (this == o) return true; return o instanceof A a && a.x == x; }"
        ));
        assert!(!weak("lib/a.rb", "class A\n  def ==(other)\n    x == other.x\n  end\nend"));
    }
}
