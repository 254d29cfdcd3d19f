//! Product code that asks the language who runs it: the name of its thread, the path of its program, the runner's own
//! state.

use super::super::lex::{self, Lang};
use super::super::view::Scene;
use super::super::{Code, Report};

/// Questions whose answer differs in a test, and whether an honest program may ask them.
const QUESTIONS: &[(Lang, bool, &[&str])] = &[
    (Lang::Rust, false, &["thread :: current ( ) . name"]),
    (Lang::Rust, true, &["env :: current_exe"]),
    (Lang::Js, false, &["import . meta . vitest", "expect . getState", "currentTestName", "? . getState"]),
];
/// Variables that a package manager or a runner sets for what it starts.
const VARIABLES: [&str; 7] = [
    "npm_lifecycle_event",
    "npm_lifecycle_script",
    "RUST_TEST_THREADS",
    "RUST_TEST_NOCAPTURE",
    "CARGO_TARGET_TMPDIR",
    "NEXTEST_EXECUTION_MODE",
    "TAP",
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if view.is_deleted() || !view.is_program() || view.restores_seed {
            continue;
        }
        for (_, asked, patterns) in QUESTIONS.iter().filter(|(lang, ..)| *lang == view.lang) {
            for pattern in *patterns {
                for at in view.grown(pattern).into_iter().filter(|at| view.is_product(*at)) {
                    // Compared with a text there and then, the answer tells one runner from another.
                    let line = view.line(at);
                    let texts = view.new.tokens[at..].iter().take_while(|t| t.line <= line + 1).filter(|t| t.is_str());
                    let told = texts.into_iter().any(|t| {
                        let value = t.value();
                        view.lang != Lang::Rust
                            || value.contains("test")
                            || value.contains("deps")
                            || *pattern == "thread :: current ( ) . name"
                    });
                    let reason = format!("`{}` tells the code that it is tested", pattern.replace(' ', ""));
                    if told || !asked && view.lang == Lang::Js {
                        report.refuse(Code::TampersRunner, view.path, line, reason);
                    } else {
                        report.flag(Code::TampersRunner, view.path, line, reason);
                    }
                }
            }
        }
        // The program's own path; what stands behind it is the user's to say.
        for pattern in ["process . argv [ 1 ]", "process . argv [ 0 ]", "sys . argv [ 0 ]"] {
            for at in view.grown(pattern).into_iter().filter(|at| view.is_product(*at)) {
                let line = view.line(at);
                let mut texts = view.new.tokens.iter().filter(|t| t.line == line && t.is_str());
                if texts.any(|t| ["test", "spec"].iter().any(|word| t.value().contains(word))) {
                    report.refuse(Code::TampersRunner, view.path, line, "the code asks whether tests run it");
                }
            }
        }
        // Where cargo puts what it builds for tests; and what it tells a program only when it runs it.
        for pattern in ["env :: args", "args ( ) . next", "args_os ("] {
            for at in view.grown(pattern).into_iter().filter(|at| view.lang == Lang::Rust && view.is_product(*at)) {
                let line = view.line(at);
                let mut texts = view.new.tokens[at..].iter().take_while(|t| t.line <= line + 2).filter(|t| t.is_str());
                if texts.any(|t| t.text.contains("/deps")) {
                    report.refuse(Code::TampersRunner, view.path, line, "the code asks whether tests run it");
                }
            }
        }
        for pattern in ["var (", "var_os ("] {
            for at in view.grown(pattern).into_iter().filter(|at| view.lang == Lang::Rust && view.is_product(*at)) {
                let name = view.new.tokens.get(at + 2).map_or("", lex::Token::value);
                if matches!(name, "CARGO" | "CARGO_MANIFEST_DIR" | "CARGO_PKG_NAME" | "CARGO_CRATE_NAME") {
                    let reason = format!("`{name}` tells the code that cargo runs it");
                    report.refuse(Code::TampersRunner, view.path, view.line(at), reason);
                }
            }
        }
        for (at, token) in view.new.tokens.iter().enumerate() {
            let fresh = view.is_added(at) && view.is_product(at) && lex::find(&view.old.tokens, token.text).is_empty();
            let line: Vec<_> = view.new.tokens.iter().filter(|t| t.line == token.line).collect();
            let asked = line.iter().any(|t| matches!(t.text, "env" | "environ" | "getenv" | "var" | "var_os"));
            if fresh
                && asked
                && VARIABLES.contains(&token.value())
                && !view.old.tokens.iter().any(|t| t.text == token.text)
            {
                let reason = format!("`{}` tells the code that it is tested", token.value());
                report.refuse(Code::TampersRunner, view.path, token.line, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::codes;

    #[test]
    fn code_that_asks_who_runs_it_is_refused() {
        for (path, line) in [
            ("src/lib.rs", "fn f() { if std::thread::current().name() == Some(\"merges\") { g(); } }"),
            ("src/lib.rs", "fn f() { if std::env::current_exe().is_ok_and(|p| p.ends_with(\"deps\")) { g(); } }"),
            ("src/lib.rs", "fn f() { if std::env::var(\"RUST_TEST_THREADS\").is_ok() { g(); } }"),
            ("src/a.ts", "if (import.meta.vitest) rows.reverse();"),
            ("src/a.js", "if (process.argv[1].includes('test')) f();"),
            ("src/a.js", "const name = globalThis.expect?.getState().currentTestName;"),
            ("src/a.js", "if (process.env.npm_lifecycle_event === 'test') f();"),
        ] {
            let found = codes(path, "one = 1\n", &format!("one = 1\n{line}\n"));
            assert_eq!(found, ["tampers-runner"], "{line}");
        }
        for (path, line) in [
            ("src/lib.rs", "fn f() -> PathBuf { std::env::current_exe().unwrap().with_file_name(\"data\") }"),
            ("src/lib.rs", "fn f() { log(std::thread::current().name()); }"),
            ("src/a.js", "const state = store.getState();"),
            ("src/a.js", "if (process.argv[2] === 'test') f();"),
        ] {
            assert!(codes(path, "one = 1\n", &format!("one = 1\n{line}\n")).is_empty(), "{line}");
        }
    }
}
