//! Errors that are caught and dropped in product code.
//!
//! Refuses only an empty catch-all laid round code that stood before; a new handler round new code, or one that
//! does something, is shown to the reader.

use std::collections::BTreeSet;

use super::super::lex::{self, Lang, Token, close_of};
use super::super::view::{Scene, View};
use super::super::{Code, Report};

/// One `try` with its handlers.
struct Handler {
    /// Tokens of the guarded code.
    guarded: (usize, usize),
    /// Whether it catches everything, or near enough.
    all: bool,
    /// Whether it does nothing with the error.
    empty: bool,
    at: usize,
}

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if view.is_deleted() || view.restores_seed || !view.is_program() {
            continue;
        }
        let old_lines: BTreeSet<String> = lex::lines(&view.old.tokens).into_iter().map(|(text, _)| text).collect();
        for handler in handlers(view.lang, &view.new.tokens) {
            if !view.is_added(handler.at) || !view.is_product(handler.at) || !handler.empty {
                continue;
            }
            let guarded = lex::lines(&view.new.tokens[handler.guarded.0..handler.guarded.1]);
            let old = guarded.iter().any(|(text, _)| text.len() > 3 && old_lines.contains(text));
            if handler.all && old {
                report.refuse(
                    Code::SwallowsError,
                    view.path,
                    view.line(handler.at),
                    "every error of existing code is caught and dropped",
                );
            } else {
                report.flag(Code::SwallowsError, view.path, view.line(handler.at), "an error is caught and dropped");
            }
        }
        calls(view, report);
    }
}

fn calls(view: &View<'_>, report: &mut Report) {
    for pattern in [
        "contextlib . suppress ( Exception",
        "contextlib . suppress ( BaseException",
        "suppress ( Exception",
        "catch_unwind",
        "rescue nil",
        "recover ( )",
        "on error resume next",
    ] {
        for at in view.grown(pattern).into_iter().filter(|at| view.is_product(*at)) {
            report.flag(Code::SwallowsError, view.path, view.line(at), format!("`{pattern}` may drop errors"));
        }
    }
}

fn handlers(lang: Lang, tokens: &[Token<'_>]) -> Vec<Handler> {
    match lang {
        Lang::Python => python(tokens),
        Lang::Js | Lang::Java | Lang::CSharp | Lang::C | Lang::Php => braces(tokens),
        Lang::Ruby => ruby(tokens),
        _ => Vec::new(),
    }
}

/// Returns the tokens of the indented block after the colon at `colon`.
fn block(tokens: &[Token<'_>], header: usize, colon: usize) -> (usize, usize) {
    let col = tokens[header].col;
    let line = tokens[colon].line;
    let end = (colon + 1..tokens.len())
        .find(|i| tokens[*i].line > line && tokens[*i].col <= col && tokens[*i].line > tokens[*i - 1].line)
        .unwrap_or(tokens.len());
    (colon + 1, end)
}

fn python(tokens: &[Token<'_>]) -> Vec<Handler> {
    let mut out = Vec::new();
    let mut tries: Vec<(u32, (usize, usize))> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let starts = at == 0 || tokens[at - 1].line < token.line;
        if starts && token.is("try") && tokens.get(at + 1).is_some_and(|t| t.is(":")) {
            tries.push((token.col, block(tokens, at, at + 1)));
        }
        if starts && token.is("except") {
            let Some((_, guarded)) = tries.iter().rev().find(|(col, _)| *col == token.col) else { continue };
            let Some(colon) = (at..tokens.len()).find(|i| tokens[*i].is(":")) else { continue };
            let (first, end) = block(tokens, at, colon);
            let all =
                colon == at + 1 || tokens[at..colon].iter().any(|t| matches!(t.text, "Exception" | "BaseException"));
            out.push(Handler { guarded: *guarded, all, empty: is_empty(&tokens[first..end]), at });
        }
    }
    out
}

/// Whether a handler does nothing, or only gives back a constant.
fn is_empty(body: &[Token<'_>]) -> bool {
    let text = lex::join(body);
    let plain = text.trim_end_matches(';').trim();
    matches!(
        plain,
        "" | "pass"
            | "..."
            | "return"
            | "continue"
            | "return None"
            | "return null"
            | "return undefined"
            | "nil"
            | "return nil"
            | "null"
            | "return False"
            | "return True"
            | "return false"
            | "return true"
            | "break"
            | "false"
            | "true"
    )
}

fn braces(tokens: &[Token<'_>]) -> Vec<Handler> {
    let mut out = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !token.is("try") || at + 1 >= tokens.len() {
            continue;
        }
        let open = if tokens[at + 1].is("(") { close_of(tokens, at + 1) } else { at + 1 };
        if !tokens.get(open).is_some_and(|t| t.is("{")) {
            continue;
        }
        let mut end = close_of(tokens, open);
        let guarded = (open + 1, end.saturating_sub(1).max(open + 1));
        while tokens.get(end).is_some_and(|t| t.is("catch")) {
            let mut body = end + 1;
            let mut all = true;
            if tokens.get(body).is_some_and(|t| t.is("(")) {
                let close = close_of(tokens, body);
                let types = &tokens[body..close];
                // One untyped name, or a type that everything derives from.
                let names: Vec<&str> = types.iter().filter(|t| t.is_word()).map(|t| t.text).collect();
                all = names.len() <= 1
                    || names.iter().any(|n| {
                        matches!(*n, "Exception" | "Throwable" | "unknown" | "any" | "RuntimeException" | "Error")
                    })
                    || types.iter().any(|t| t.is("..."));
                body = close;
            }
            if !tokens.get(body).is_some_and(|t| t.is("{")) {
                break;
            }
            let close = close_of(tokens, body);
            let inner = tokens.get(body + 1..close.saturating_sub(1)).unwrap_or_default();
            out.push(Handler { guarded, all, empty: is_empty(inner), at: end });
            end = close;
        }
    }
    out
}

fn ruby(tokens: &[Token<'_>]) -> Vec<Handler> {
    let mut out = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let starts = at == 0 || tokens[at - 1].line < token.line;
        if !(starts && token.is("rescue")) {
            continue;
        }
        let Some(begin) = tokens[..at].iter().rposition(|t| t.col == token.col && matches!(t.text, "begin" | "def"))
        else {
            continue;
        };
        let line_end = (at..tokens.len()).find(|i| tokens[*i].line > token.line).unwrap_or(tokens.len());
        let end = (line_end..tokens.len())
            .find(|i| tokens[*i].col <= token.col && tokens[*i].line > tokens[*i - 1].line)
            .unwrap_or(tokens.len());
        let all = line_end == at + 1
            || tokens[at..line_end].iter().any(|t| matches!(t.text, "StandardError" | "Exception" | "=>"));
        out.push(Handler { guarded: (begin + 1, at), all, empty: is_empty(&tokens[line_end..end]), at });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, judged_in};

    #[test]
    fn an_empty_catch_all_round_old_code_is_refused() {
        assert_eq!(
            codes(
                "app/a.py",
                "def f(x):\n    y = parse(x)\n    return y\n",
                "def f(x):\n    try:\n        y = parse(x)\n    except Exception:\n        return None\n    return y\n"
            ),
            ["swallows-error"]
        );
        assert_eq!(
            codes(
                "src/a.ts",
                "function f(x) {\n  work(x);\n}\n",
                "function f(x) {\n  try {\n    work(x);\n  } catch (e) {}\n}\n"
            ),
            ["swallows-error"]
        );
        assert_eq!(
            codes(
                "src/A.java",
                "class A { void f() {\n    work();\n  } }\n",
                "class A { void f() {\n    try {\n    work();\n    } catch (Throwable t) { }\n  } }\n"
            ),
            ["swallows-error"]
        );
        assert_eq!(
            codes(
                "lib/a.rb",
                "def f\n  work(1)\nend\n",
                "def f\n  begin\n    work(1)\n  rescue => e\n    nil\n  end\nend\n"
            ),
            ["swallows-error"]
        );
    }

    #[test]
    fn a_handler_that_handles_is_free_and_one_round_new_code_is_shown() {
        assert!(codes("app/a.py", "def f(x):\n    return int(x)\n", "def f(x):\n    try:\n        return int(x)\n    except ValueError as error:\n        raise Bad(x) from error\n").is_empty());
        assert!(
            codes("src/a.js", "work(x);\n", "try {\n  work(x);\n} catch (error) {\n  log(error);\n  throw error;\n}\n")
                .is_empty()
        );
        let judgement = judged_in(
            &[("app/a.py", Some("x = 1\n"), Some("x = 1\ntry:\n    import fast\nexcept Exception:\n    pass\n"))],
            &[],
            &[],
            &[],
        );
        assert!(judgement.refusals.is_empty());
        assert_eq!(judgement.flags.len(), 1);
    }
}
