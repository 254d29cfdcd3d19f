//! Calls that end the process before the tests can tell, outside the entry points of programs.

use super::super::lex::{Lang, Token, close_of};
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};

/// Patterns that end a process, and whether they have a use in an entry point.
const EXITS: &[(Lang, bool, &[&str])] = &[
    (Lang::Python, true, &["sys . exit (", "SystemExit", "exit (", "quit ("]),
    (
        Lang::Python,
        false,
        &[
            "os . _exit",
            "* . _exit (",
            "os . abort",
            "os . kill ( os . getpid",
            "os . kill ( os . getppid",
            "os . killpg",
            "os . execve",
            "os . execlp",
            "os . posix_spawn",
            "sys . exit =",
            "os . _exit =",
            "raise SkipTest",
            "raise unittest . SkipTest",
            "raise Skipped",
            "os . execv",
            "os . execvp",
            "os . execl",
            "signal . raise_signal",
            "_exit (",
        ],
    ),
    (Lang::Js, true, &["process . exit (", "process . exitCode =", "Deno . exit (", "process . exitCode ="]),
    (
        Lang::Js,
        false,
        &[
            "process . reallyExit",
            "process . abort (",
            "process . kill ( process . pid",
            "process . kill ( process . ppid",
            "process . _exit",
        ],
    ),
    (Lang::Rust, true, &["process :: exit", "exit ("]),
    (Lang::Rust, false, &["libc :: _exit", "process :: abort", "libc :: exit"]),
    (Lang::Go, true, &["os . Exit ("]),
    (Lang::Go, false, &["syscall . Exit (", "runtime . Goexit ("]),
    (Lang::Java, true, &["System . exit (", "exitProcess ("]),
    (Lang::Java, false, &["getRuntime ( ) . halt (", "getRuntime ( ) . exit ("]),
    (Lang::CSharp, true, &["Environment . Exit (", "Environment . ExitCode ="]),
    (Lang::CSharp, false, &["Environment . FailFast ("]),
    (Lang::C, true, &["exit ("]),
    (Lang::C, false, &["_exit (", "quick_exit (", "_Exit (", "atexit ("]),
    (Lang::Ruby, true, &["exit", "abort"]),
    (Lang::Ruby, false, &["exit!", "Process . exit!"]),
    (Lang::Php, true, &["exit (", "die (", "exit ;"]),
    (Lang::Elixir, true, &["System . halt (", "System . stop ("]),
    (Lang::Perl, true, &["exit (", "exit 0", "exit ;"]),
    (Lang::Perl, false, &["POSIX :: _exit", "_exit (", "END {", "CORE :: GLOBAL :: exit"]),
];
/// Hooks at the end of the process: harmless unless they end it their own way.
const HOOKS: &[(Lang, &[&str])] = &[
    (Lang::Python, &["atexit . register", "signal . signal", "sys . excepthook ="]),
    (Lang::Js, &["process . on (", "process . once (", "process . addListener ("]),
    (Lang::Ruby, &["at_exit", "trap"]),
    (Lang::Php, &["register_shutdown_function ("]),
    (Lang::Java, &["addShutdownHook ("]),
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        let code = matches!(view.role, Role::Source | Role::Inline | Role::Test);
        if view.is_deleted() || view.restores_seed || !code || !view.lang.is_code() {
            continue;
        }
        for (lang, entry, patterns) in EXITS {
            if *lang == view.lang {
                for pattern in *patterns {
                    calls(view, pattern, *entry, report);
                }
            }
        }
        hooks(view, report);
        stand_ins(view, report);
        kills(view, report);
    }
}

/// Ends whoever started the program, in whatever language or shell line; and the call that ends the process handed on
/// as a value.
fn kills(view: &View<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    let parent = |text: &str| {
        let lower = text.to_ascii_lowercase();
        lower.contains("ppid") || lower == "parent_id"
    };
    for (at, token) in tokens.iter().enumerate().filter(|(at, _)| view.is_added(*at)) {
        let line = |other: &&Token<'_>| other.line + 1 >= token.line && other.line <= token.line + 1;
        let near = tokens[at.saturating_sub(24)..tokens.len().min(at + 24)].iter().filter(line);
        let text = token.value();
        let spelt = token.is_str()
            && text.split(|c: char| !c.is_alphanumeric()).any(|word| matches!(word, "kill" | "pkill" | "killall"))
            && (parent(text) || text.contains("process.pid") || text.contains("$$"));
        let found = spelt
            || parent(text.trim_matches(|c: char| !c.is_alphanumeric() && c != '_'))
                && (view.lang == Lang::Shell
                    || near.into_iter().any(|t| matches!(t.text, "kill" | "Kill" | "killpg" | "raise" | "signal")));
        let handed = view.lang == Lang::Js
            && token.is("exit")
            && at > 1
            && tokens[at - 1].is(".")
            && tokens[at - 2].is("process")
            && tokens.get(at + 1).is_some_and(|t| matches!(t.text, "." | "," | ")" | ";"))
            && place(view, at) == Place::Library;
        if found || handed {
            let what = if found { "the program ends what started it" } else { "`process.exit` is handed on" };
            report.refuse(Code::EarlyExit, view.path, token.line, what);
        }
    }
}

/// The same calls by other names: imported, renamed, declared anew, or the status held in place.
fn stand_ins(view: &View<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    let text = |at: usize| tokens.get(at).map_or("", |t| t.text);
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !token.is_word() {
            continue;
        }
        let found = match view.lang {
            // `getattr(os, "_ex" + "it")`
            Lang::Python if token.is("getattr") && matches!(text(at + 2), "os" | "sys") => {
                let call = &tokens[at..close_of(tokens, at + 1)];
                let name: String = call.iter().filter(|t| t.is_str()).map(Token::value).collect();
                matches!(name.as_str(), "exit" | "_exit" | "abort" | "kill" | "execv")
            }
            Lang::Js if token.is("defineProperty") => {
                text(at + 2) == "process"
                    && tokens
                        .get(at + 4)
                        .is_some_and(|t| matches!(t.value(), "exitCode" | "exit" | "reallyExit" | "emit"))
            }
            Lang::Js if token.is("exit") && !text(at.saturating_sub(1)).ends_with('.') => {
                is_from_process(tokens) && !in_import(tokens, at) && place(view, at) == Place::Library
            }
            // `use std::process as p;` and then `p::exit(0)`.
            Lang::Rust if token.is("exit") && at > 1 && tokens[at - 1].is("::") => {
                let module = tokens[at - 2].text;
                tokens.windows(3).any(|w| w[0].is("process") && w[1].is("as") && w[2].text == module)
                    && place(view, at) == Place::Library
            }
            Lang::Rust
                if token.is("fn")
                    && matches!(text(at + 1), "exit" | "_exit" | "_Exit" | "quick_exit" | "abort" | "raise") =>
            {
                let open = (0..at).rev().find(|index| tokens[*index].is("{"));
                open.is_some_and(|open| open > 1 && tokens[open - 1].is_str() && tokens[open - 2].is("extern"))
            }
            // Code that runs before the program's own beginning.
            Lang::Rust => matches!(token.text, "link_section") && at > 1 && tokens[at - 1].is("["),
            _ => false,
        };
        if found {
            report.refuse(
                Code::EarlyExit,
                view.path,
                token.line,
                format!("`{}` decides how the process ends", token.text),
            );
        }
    }
}

/// Whether the file takes `exit` out of the module of the process.
fn is_from_process(tokens: &[Token<'_>]) -> bool {
    (0..tokens.len()).any(|at| {
        tokens[at].is("exit") && in_import(tokens, at) && {
            let line = tokens[at].line;
            let rest = tokens[at..].iter().take_while(|t| t.line == line);
            rest.into_iter().any(|t| matches!(t.value(), "node:process" | "process"))
        }
    })
}

fn in_import(tokens: &[Token<'_>], at: usize) -> bool {
    let line = tokens[at].line;
    tokens[..at]
        .iter()
        .rev()
        .take_while(|t| t.line == line)
        .any(|t| matches!(t.text, "import" | "const" | "let" | "var"))
}

fn calls(view: &View<'_>, pattern: &str, entry: bool, report: &mut Report) {
    let tokens = &view.new.tokens;
    for at in view.grown(pattern) {
        let single = !pattern.contains(' ')
            || matches!(pattern, "exit (" | "quit (" | "die (" | "_exit (" | "exit ;" | "exitProcess (");
        // `x.exit(1)`, `def exit(`, `fn exit(` are other things of that name; so is a key or a parameter.
        let previous = if at > 0 { tokens[at - 1].text } else { "" };
        let starts_statement = at == 0
            || tokens[at - 1].line < tokens[at].line
            || matches!(
                previous,
                ";" | "{"
                    | "}"
                    | ":"
                    | "then"
                    | "do"
                    | "or"
                    | "and"
                    | "&&"
                    | "||"
                    | ")"
                    | "=>"
                    | "else"
                    | "?"
                    | "("
                    | "return"
            );
        if single
            && (matches!(
                previous,
                "." | "::"
                    | "def"
                    | "fn"
                    | "func"
                    | "function"
                    | "->"
                    | "?."
                    | "void"
                    | "int"
                    | "new"
                    | "import"
                    | "from"
                    | ","
                    | "except"
                    | "["
                    | "="
                    | "use"
            ) || previous == "(" && pattern == "SystemExit"
                || previous == "catch")
        {
            continue;
        }
        if single && view.lang == Lang::Ruby && !starts_statement {
            continue;
        }
        if view.lang == Lang::Rust
            && pattern == "exit ("
            && !tokens.windows(3).any(|w| w[0].is("process") && w[1].is("::") && (w[2].is("exit") || w[2].is("{")))
        {
            continue;
        }
        if pattern == "SystemExit" && (previous != "raise" || !tokens[at].is_word()) {
            continue;
        }
        // A test that starts a program may speak of its exit; only a bare call ends the test's own process.
        let test = view.role == Role::Test || view.new.region[at];
        let status = status(tokens, at);
        let place = if entry { place(view, at) } else { Place::Library };
        let reason = format!("`{}` ends the process", pattern.trim_end_matches([' ', '(']));
        match (place, status) {
            (Place::Entry, _) => {}
            (Place::Function, _) if !test => report.flag(Code::EarlyExit, view.path, view.line(at), reason),
            // Ending with an error cannot make a run look good.
            (_, Status::Failure) if entry => report.flag(Code::EarlyExit, view.path, view.line(at), reason),
            _ => report.refuse(Code::EarlyExit, view.path, view.line(at), reason),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Failure,
    Other,
}

/// Reads the status that the call at `at` ends with, where it is a literal.
fn status(tokens: &[Token<'_>], at: usize) -> Status {
    let line = tokens[at].line;
    let literal = tokens[at..]
        .iter()
        .take_while(|t| t.line == line)
        .skip(1)
        .find(|t| t.kind == super::super::lex::Kind::Number || t.is_str());
    match literal {
        Some(token) if token.is_str() || token.text.chars().any(|c| ('1'..='9').contains(&c)) => Status::Failure,
        _ => Status::Other,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The part of a program that only runs when it is started as one.
    Entry,
    /// A function of a program's main file or of that name: not run on import.
    Function,
    Library,
}

fn place(view: &View<'_>, at: usize) -> Place {
    let tokens = &view.new.tokens;
    let path = view.path;
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    let folder = path
        .split('/')
        .rev()
        .skip(1)
        .any(|folder| matches!(folder, "bin" | "cmd" | "cli" | "exe" | "commands" | "examples" | "scripts"));
    // A module that tests import ends their process too, so it counts as a program only where it is run as one.
    let program = view.new.text.starts_with("#!")
        || folder
        || matches!(stem, "main" | "__main__" | "cli" | "Main" | "Program" | "manage" | "app_cli");
    if view.role == Role::Test {
        return if view.lang == Lang::Python && in_main_guard(tokens, at) { Place::Entry } else { Place::Library };
    }
    match view.lang {
        Lang::Python => {
            if in_main_guard(tokens, at)
                || (view.new.text.starts_with("#!") && !name.ends_with(".py"))
                || name == "__main__.py"
            {
                return Place::Entry;
            }
            let function = enclosing_def(tokens, at);
            match function {
                Some(name)
                    if matches!(name, "main" | "cli" | "run" | "usage" | "die" | "fail" | "abort") || program =>
                {
                    Place::Function
                }
                None if view.new.text.starts_with("#!") && folder => Place::Entry,
                _ => Place::Library,
            }
        }
        Lang::Js => {
            let guarded = tokens[..at].windows(3).any(|w| w[0].is("require") && w[1].is(".") && w[2].is("main"));
            let exports = tokens.iter().any(|t| t.is("export") || t.is("exports")) && !view.new.text.starts_with("#!");
            if guarded || (program && !exports) {
                Place::Entry
            } else if program {
                Place::Function
            } else {
                Place::Library
            }
        }
        Lang::Go => {
            let main = tokens.windows(2).any(|w| w[0].is("package") && w[1].is("main"));
            let inside = enclosing_brace_function(tokens, at);
            if (main || program) && inside.is_some_and(|name| name != "init") {
                if main && inside == Some("main") { Place::Entry } else { Place::Function }
            } else {
                Place::Library
            }
        }
        _ => {
            let main = enclosing_brace_function(tokens, at).is_some_and(|name| matches!(name, "main" | "Main"));
            if program || main { Place::Entry } else { Place::Library }
        }
    }
}

/// Whether the token stands under `if __name__ == "__main__":`.
fn in_main_guard(tokens: &[Token<'_>], at: usize) -> bool {
    let mut col = u32::MAX;
    let mut line = tokens[at].line + 1;
    for token in tokens[..=at].iter().rev() {
        let first = tokens.iter().find(|t| t.line == token.line).is_some_and(|t| t.at == token.at);
        if !first || token.line >= line {
            continue;
        }
        line = token.line;
        if token.col < col {
            col = token.col;
            if token.is("if") && tokens.iter().any(|t| t.line == token.line && t.is("__name__")) {
                return true;
            }
        }
    }
    false
}

/// Returns the name of the innermost Python function around the token.
fn enclosing_def<'t>(tokens: &[Token<'t>], at: usize) -> Option<&'t str> {
    let start = tokens.iter().find(|t| t.line == tokens[at].line)?;
    let mut col = start.col;
    for (index, token) in tokens[..at].iter().enumerate().rev() {
        let first = index == 0 || tokens[index - 1].line < token.line;
        if first && token.line < start.line && token.col < col {
            col = token.col;
            let def = if token.is("async") { index + 1 } else { index };
            if tokens[def].is("def") {
                return tokens.get(def + 1).map(|t| t.text);
            }
        }
    }
    None
}

/// Returns the name of the innermost named function around the token, in a language with braces.
fn enclosing_brace_function<'t>(tokens: &[Token<'t>], at: usize) -> Option<&'t str> {
    let mut depth = 0i32;
    for index in (0..at).rev() {
        match tokens[index].text {
            "}" if !tokens[index].is_str() => depth += 1,
            "{" if !tokens[index].is_str() => {
                if depth > 0 {
                    depth -= 1;
                    continue;
                }
                // Look back over the header for `name ( … )`.
                let mut back = index;
                let mut parens = 0i32;
                while back > 0 {
                    back -= 1;
                    match tokens[back].text {
                        ")" => parens += 1,
                        "(" => {
                            parens -= 1;
                            if parens == 0
                                && back > 0
                                && tokens[back - 1].is_word()
                                && !matches!(
                                    tokens[back - 1].text,
                                    "if" | "for" | "while" | "switch" | "match" | "catch"
                                )
                            {
                                return Some(tokens[back - 1].text);
                            }
                        }
                        ";" | "{" | "}" => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    None
}

fn hooks(view: &View<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    for (lang, patterns) in HOOKS {
        if *lang != view.lang {
            continue;
        }
        for pattern in *patterns {
            for at in view.grown(pattern) {
                let open = (at..tokens.len().min(at + 8)).find(|i| matches!(tokens[*i].text, "(" | "{" | "do" | "="));
                let end = open.map_or(at + 1, |open| {
                    if tokens[open].is("=") || tokens[open].is("do") {
                        (open + 14).min(tokens.len())
                    } else {
                        close_of(tokens, open)
                    }
                });
                let ends = tokens[at..end].iter().any(|t| {
                    t.is_word()
                        && matches!(
                            t.text,
                            "_exit" | "exit" | "exit!" | "exitCode" | "reallyExit" | "kill" | "halt" | "abort"
                        )
                });
                let dropped = pattern.contains("excepthook")
                    || tokens[at..end].iter().any(|t| matches!(t.value(), "uncaughtException" | "unhandledRejection"));
                // A program that ends when it is told to: the tests do not interrupt it.
                let told = tokens[at..end]
                    .iter()
                    .any(|t| matches!(t.value(), "SIGINT" | "SIGTERM" | "SIGHUP" | "INT" | "TERM"));
                if ends && told && place(view, at) == Place::Entry {
                    report.flag(Code::EarlyExit, view.path, view.line(at), "a signal ends the program");
                } else if ends {
                    report.refuse(
                        Code::EarlyExit,
                        view.path,
                        view.line(at),
                        format!("`{}` decides the exit status", pattern.trim_end_matches(" (")),
                    );
                } else if dropped {
                    report.refuse(
                        Code::SwallowsError,
                        view.path,
                        view.line(at),
                        "errors that nobody catches are dropped for the whole process",
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{codes, codes_new};

    fn early(path: &str, text: &str) -> bool {
        let old = if text.starts_with("#!") { "" } else { "one = 1\n" };
        codes(path, old, &format!("{old}{text}\n")).contains(&"early-exit".to_string())
    }

    #[test]
    fn ending_the_process_from_product_code_is_refused() {
        for (path, text) in [
            ("app/a.py", "import sys\nsys.exit(0)"),
            ("app/a.py", "import os\ndef f():\n    os._exit(0)"),
            ("app/a.py", "import atexit, os\natexit.register(os._exit, 0)"),
            ("app/a.py", "atexit.register(lambda: os._exit(0))"),
            ("app/a.py", "raise SystemExit"),
            ("app/cli.py", "import sys\nsys.exit(0)"),
            ("src/a.js", "process.exit(0);"),
            ("src/a.js", "process.exitCode = 0;"),
            ("src/a.ts", "process.on('exit', () => { process.exitCode = 0; });"),
            ("src/lib.rs", "fn f() { std::process::exit(0); }"),
            ("src/lib.rs", "use std::process::exit;\nfn f() { exit(0); }"),
            ("a.go", "package a\nfunc init() { os.Exit(0) }"),
            ("src/A.java", "class A { static { System.exit(0); } }"),
            ("lib/a.rb", "exit 0"),
            ("lib/a.rb", "at_exit { exit! 0 }"),
            ("src/A.cs", "class A { void F() { Environment.Exit(0); } }"),
            ("src/A.php", "<?php\nexit(0);"),
            ("app/a.py", "import os\nos.kill(os.getppid(), 9)"),
            ("app/a.py", "import os\ngetattr(os, '_ex' + 'it')(0)"),
            ("app/a.py", "import os as system\nsystem._exit(0)"),
            ("app/a.py", "import sys\nsys.exit = print"),
            ("app/a.py", "raise SkipTest('later')"),
            ("src/a.js", "import { exit } from 'node:process';\nsetTimeout(exit, 0, 0);"),
            ("src/a.js", "Object.defineProperty(process, 'exitCode', { get: () => 0 });"),
            ("src/lib.rs", "use std::process as p;\nfn f() { p::exit(0); }"),
            ("src/lib.rs", "extern \"C\" { fn _exit(code: i32) -> !; }"),
            ("src/lib.rs", "#[link_section = \".init_array\"]\nstatic A: extern fn() = f;"),
            ("bin/a.sh", "kill -TERM \"$PPID\""),
        ] {
            assert!(early(path, text), "{path}: {text}");
        }
        assert!(
            codes_new("tests/test_new.py", "import os\ndef test_a():\n    os._exit(0)\n")
                .contains(&"early-exit".to_string())
        );
    }

    #[test]
    fn entry_points_may_exit() {
        for (path, text) in [
            (
                "bin/tool",
                "#!/usr/bin/env python3\nimport sys\ndef main():\n    return 2\nif __name__ == '__main__':\n    sys.exit(main())",
            ),
            ("app/a.py", "import sys\ndef main():\n    return 0\nif __name__ == '__main__':\n    sys.exit(main())"),
            ("app/__main__.py", "import sys\nsys.exit(run())"),
            ("app/cli.py", "import sys\ndef show(x):\n    sys.exit(2)"),
            ("bin/a.js", "if (!x) { process.exit(2); }"),
            ("src/main.rs", "fn main() { std::process::exit(2); }"),
            ("cmd/a/main.go", "package main\nfunc main() { os.Exit(run()) }"),
            ("cmd/cmd.go", "package cmd\nfunc add(c *Context) error {\n\tos.Exit(0)\n\treturn nil\n}"),
            ("src/A.java", "class A { public static void main(String[] a) { System.exit(0); } }"),
            ("app/a.py", "class A:\n    def exit(self, code):\n        self.pool.exit(code)"),
            ("app/a.py", "# sys.exit(0)\ns = 'os._exit(0)'"),
            ("src/a.ts", "process.on('SIGINT', () => { stop(); });"),
        ] {
            assert!(!early(path, text), "{path}: {text}");
        }
        assert!(codes_new("tests/test_new.py", "import sys\nimport pytest\ndef test_a():\n    with pytest.raises(SystemExit):\n        main([])\nif __name__ == '__main__':\n    sys.exit(pytest.main())\n").is_empty());
    }

    #[test]
    fn whoever_started_the_program_is_not_ended_by_it() {
        for (path, text) in [
            ("src/a.js", "execSync(`kill ${process.ppid}`);"),
            ("src/a.js", "spawnSync('sh', ['-c', `kill -TERM ${process.pid}`]);"),
            ("src/a.js", "setTimeout(process.exit.bind(process, 0), 5);"),
            ("src/a.js", "done.then(process.exit);"),
            ("a.go", "package a\n\nfunc init() { _ = syscall.Kill(os.Getppid(), syscall.SIGTERM) }"),
            ("src/a.c", "void f(void) { kill(getppid(), 15); }"),
            ("bin/a.sh", "kill -TERM \"$PPID\""),
            ("lib/A.pm", "END { $? = 0 }"),
        ] {
            assert!(early(path, text), "{path}: {text}");
        }
        for (path, text) in
            [("src/a.js", "log(`skills of ${process.pid}`);"), ("a.go", "package a\n\nvar parent = os.Getppid()")]
        {
            assert!(!early(path, text), "{path}: {text}");
        }
    }
}
