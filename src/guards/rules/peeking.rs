//! Product code that looks whether it is tested, or reads the tests and what they expect.

use super::super::lex::{self, Lang, Token, close_of};
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};

/// Variables that runners set.
const VARIABLES: [&str; 24] = [
    "HARNESS_ACTIVE",
    "HARNESS_VERSION",
    "sun.java.command",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "NODE_OPTIONS",
    "PYTEST_CURRENT_TEST",
    "PYTEST_VERSION",
    "PYTEST_XDIST_WORKER",
    "NODE_TEST_CONTEXT",
    "JEST_WORKER_ID",
    "VITEST",
    "VITEST_WORKER_ID",
    "VITEST_POOL_ID",
    "VITEST_MODE",
    "MOCHA_COLORS",
    "NEXTEST",
    "NEXTEST_RUN_ID",
    "BATS_TEST_NAME",
    "AVA_PATH",
    "CARGO_TARGET_TMPDIR",
    "XCTestConfigurationFilePath",
    "PHPUNIT_COMPOSER_INSTALL",
    "TEST_WORKER_INDEX",
];
/// Names of runners, as they turn up in arguments, modules and stack traces.
const RUNNERS: [&str; 20] = [
    "pytest",
    "_pytest",
    "unittest",
    "nose",
    "jest",
    "vitest",
    "mocha",
    "node:test",
    "ava",
    "--test",
    "junit",
    "org.junit",
    "testng",
    "xunit",
    "nunit",
    "phpunit",
    "rspec",
    "minitest",
    "test.v",
    ".test",
];
/// Words that ask the surroundings.
const ASKS: [&str; 26] = [
    "modules",
    "argv",
    "environ",
    "env",
    "getenv",
    "stack",
    "_getframe",
    "currentframe",
    "caller",
    "execArgv",
    "getStackTrace",
    "StackTraceElement",
    "Args",
    "Lookup",
    "args",
    "ARGV",
    "PROGRAM_NAME",
    "ENV",
    "orig_argv",
    "defined?",
    "main",
    "import_module",
    "find_spec",
    "Environment",
    "class_exists",
    "backtrace",
];
/// Words that read a file or load a module.
const READS: [&str; 44] = [
    "open",
    "read",
    "read_text",
    "read_bytes",
    "readFile",
    "readFileSync",
    "read_to_string",
    "include_str",
    "include_bytes",
    "include",
    "require",
    "import",
    "import_module",
    "__import__",
    "glob",
    "rglob",
    "iterdir",
    "listdir",
    "walk",
    "scandir",
    "readdir",
    "readdirSync",
    "ReadFile",
    "ReadDir",
    "Open",
    "Glob",
    "WalkDir",
    "Path",
    "File",
    "Files",
    "FileReader",
    "readAllLines",
    "readString",
    "readlines",
    "file_get_contents",
    "fopen",
    "require_once",
    "load",
    "exec",
    "eval",
    "from",
    "ReadAllText",
    "loadtxt",
    "read_csv",
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    let tests = scene.seed_tests();
    for view in &scene.views {
        if view.is_deleted() || !view.is_program() || view.restores_seed {
            continue;
        }
        asks(view, report);
        names_tests(view, &tests, scene, report);
        compiled(view, report);
        reads(view, &tests, scene, report);
        lists(view, &tests, scene, report);
        if matches!(view.lang, Lang::Shell | Lang::Perl) {
            speaks_of(view, &tests, scene, report);
        }
    }
}

/// Words that tell who calls, or which program runs.
const CALLERS: [&str; 19] = [
    "stack",
    "getStackTrace",
    "StackWalker",
    "getClassName",
    "getFileName",
    "backtrace",
    "caller",
    "Caller",
    "CallersFrames",
    "co_name",
    "co_filename",
    "_getframe",
    "currentframe",
    "modules",
    "filename",
    "forName",
    "loadClass",
    "program_invocation_short_name",
    "__progname",
];

/// A text that names the tests, put to what tells who calls: `file.endsWith('_test.go')` beside `runtime.Caller`.
fn names_tests(view: &View<'_>, tests: &[&str], scene: &Scene<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !view.is_product(at) || !token.is_str() {
            continue;
        }
        let value = token.value();
        let around = near(tokens, at);
        // A name in pieces is the same name.
        let pieces =
            tokens[at + 1..].chunks(2).take_while(|pair| pair[0].is("+") && pair.get(1).is_some_and(Token::is_str));
        let whole: String = std::iter::once(value).chain(pieces.map(|pair| pair[1].value())).collect();
        let state = ["__vitest", "__jest", "__mocha", "$$jest"].iter().any(|start| value.starts_with(start));
        let spelt = whole != value && VARIABLES.contains(&whole.as_str());
        if state || spelt {
            let reason = format!("`{whole}` tells the code that it is tested");
            report.refuse(Code::TampersRunner, view.path, token.line, reason);
            continue;
        }
        let asked = around.iter().any(|t| t.is_word() && CALLERS.contains(&t.text));
        if asked && is_of_tests(value, tests, scene) {
            let reason = format!("the code asks whether `{value}` calls it");
            report.refuse(Code::TampersRunner, view.path, token.line, reason);
        }
    }
}

/// Says whether a text, or a regular expression, is part of the names of tests and of no name of the product.
fn is_of_tests(value: &str, tests: &[&str], scene: &Scene<'_>) -> bool {
    /// Shorter pieces stand in names of every kind.
    const SHORTEST: usize = 4;
    let product = |piece: &str| {
        let paths = scene.context.seed.paths().iter();
        paths.filter(|path| !tests.contains(&path.as_str())).any(|path| path.contains(piece))
    };
    value
        .split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')))
        .any(|piece| piece.len() >= SHORTEST && tests.iter().any(|path| path.contains(piece)) && !product(piece))
}

/// Words that list the files of a folder.
const LISTS: [&str; 20] = [
    "glob",
    "iglob",
    "rglob",
    "globSync",
    "iterdir",
    "listdir",
    "walk",
    "scandir",
    "readdir",
    "readdirSync",
    "opendir",
    "opendirSync",
    "ReadDir",
    "Glob",
    "Walk",
    "WalkDir",
    "read_dir",
    "newDirectoryStream",
    "listFiles",
    "Dir",
];
/// Words for the place of the program itself or where it runs, which no user of it names.
const OWN_PLACE: [&str; 11] = [
    "__file__",
    "__dirname",
    "__DIR__",
    "__dir__",
    "meta",
    "cwd",
    "getcwd",
    "Getwd",
    "current_dir",
    "CARGO_MANIFEST_DIR",
    "FindBin",
];

/// A folder of the program's own place is gone through for files of a kind that only tests have.
fn lists(view: &View<'_>, tests: &[&str], scene: &Scene<'_>, report: &mut Report) {
    /// Lines between a listing and what says which files it is for.
    const REACH: u32 = 6;
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !view.is_product(at) || !token.is_word() || !LISTS.contains(&token.text) {
            continue;
        }
        let reach = |t: &&Token<'_>| t.line + REACH >= token.line && t.line <= token.line + REACH;
        let around: Vec<_> = tokens.iter().filter(reach).collect();
        let given =
            at > 1 && tokens[at - 1].is(".") && !matches!(tokens[at - 2].text, "glob" | "filepath" | "fs" | "Dir");
        let literal = !given
            && tokens[at + 1..].iter().take(3).any(|t| {
                t.is_str() && !t.value().starts_with('/') && t.value().contains('*') && t.value().contains('/')
            });
        let own = literal
            || around
                .iter()
                .any(|t| t.is_word() && OWN_PLACE.contains(&t.text) || t.is_str() && t.text.contains("${__dirname}"));
        if !own {
            continue;
        }
        for pattern in around.iter().filter(|t| t.is_str()).map(|t| t.value()) {
            let extension =
                pattern.starts_with('.') && pattern.len() > 2 && pattern[1..].chars().all(char::is_alphanumeric);
            if !extension && !pattern.contains('*') {
                continue;
            }
            let deep =
                if extension { format!("**/*{pattern}") } else { format!("**/{}", pattern.trim_start_matches("./")) };
            let globs = super::super::glob_set([deep.as_str()]);
            let hit = tests.iter().find(|path| globs.is_match(**path));
            let others = scene.context.seed.paths().iter().any(|path| {
                globs.is_match(path.as_str())
                    && !tests.contains(&path.as_str())
                    && matches!(scene.places.role(path, None), Role::Source | Role::Inline)
            });
            if let Some(hit) = hit.filter(|_| !others) {
                let reason = format!("product code goes through files that only tests have: `{pattern}` finds `{hit}`");
                report.refuse(Code::TampersRunner, view.path, token.line, reason);
                break;
            }
        }
    }
}

/// A script of the product that names tests, their data or the scripts of checks, or asks who started it.
fn speaks_of(view: &View<'_>, tests: &[&str], scene: &Scene<'_>, report: &mut Report) {
    let lines = view.new.text.lines().zip(1..).filter(|(_, number)| view.added.contains(number));
    for (line, number) in lines {
        let scripts = scene.places.scripts.iter().map(String::as_str);
        let named = tests.iter().copied().chain(scripts).find(|path| {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let file = if name.contains(['.', '-', '_']) { name.to_string() } else { format!("/{name}") };
            // Tests may stand beside what they test, in the product's own folders.
            let top = folder.split('/').next().unwrap_or_default();
            let top = if scene.places.holds(&format!("{top}/any")) { top } else { "" };
            let folders = [format!("../{top}/"), format!("\"/{top}/"), format!("}}/{top}/"), format!(")/{top}/")];
            let quoted = ["^", "\"", "'"].map(|mark| format!("{mark}{top}/"));
            line.contains(&file)
                || !top.is_empty() && folders.iter().chain(&quoted).any(|text| line.contains(text.as_str()))
        });
        if let Some(path) = named {
            let reason = format!("product code reads or writes what checks it: `{path}`");
            report.refuse(Code::TampersRunner, view.path, number, reason);
        }
        let started = match view.lang {
            Lang::Perl => line.contains("$0") && line.contains(".t"),
            Lang::Shell => compares_own_path(line),
            _ => false,
        };
        if started {
            report.refuse(Code::TampersRunner, view.path, number, "the code asks whether tests run it");
        }
    }
}

/// Says whether a line of a shell script looks for `..` in the path it was called by: tests call it so, its users do
/// not. Going up from there (`${0%/*}/..`) is another thing.
fn compares_own_path(line: &str) -> bool {
    let cut = line.split("${0").skip(1).any(|rest| {
        let pattern = rest.split('}').next().unwrap_or_default();
        pattern.starts_with(['#', '%', '/']) && pattern.contains("..")
    });
    let asked = ["$0", "${0}", "$BASH_SOURCE"].iter().any(|name| line.contains(name));
    cut || asked && ["*/..", "*..", "../*", "..*"].iter().any(|glob| line.contains(glob))
}

/// Returns the tokens on the line of `at` and the next two: a question is rarely longer.
fn near<'t>(tokens: &'t [Token<'t>], at: usize) -> &'t [Token<'t>] {
    let line = tokens[at].line;
    let first = tokens[..at].iter().rposition(|t| t.line + 1 < line).map_or(0, |i| i + 1);
    let last = tokens[at..].iter().position(|t| t.line > line + 1).map_or(tokens.len(), |i| at + i);
    &tokens[first..last]
}

fn asks(view: &View<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    let before = |text: &str| view.old.tokens.iter().any(|t| t.text == text);
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !view.is_product(at) || before(token.text) {
            continue;
        }
        let value = token.value();
        if VARIABLES.contains(&value) {
            report.refuse(
                Code::TampersRunner,
                view.path,
                token.line,
                format!("`{value}` tells the code that it is tested"),
            );
        } else if token.is_str() {
            let lower = value.to_ascii_lowercase();
            let runner = RUNNERS.iter().any(|name| {
                lower == *name
                    || lower.starts_with(&format!("{name}."))
                    || lower.contains("org.junit")
                    || (lower.ends_with("/pytest") && *name == "pytest")
            });
            let traced = lower.contains("test")
                && near(tokens, at)
                    .iter()
                    .any(|t| matches!(t.text, "stack" | "getStackTrace" | "backtrace" | "caller"));
            let asked = traced || near(tokens, at).iter().any(|t| t.is_word() && ASKS.contains(&t.text));
            if (runner || traced) && asked {
                report.refuse(
                    Code::TampersRunner,
                    view.path,
                    token.line,
                    format!("the code asks whether `{value}` runs it"),
                );
            }
            // `NODE_ENV === 'test'`, `RAILS_ENV`: the surroundings of a test, by convention.
            if lower == "test"
                && near(tokens, at).iter().any(|t| {
                    matches!(
                        t.value(),
                        "NODE_ENV"
                            | "RAILS_ENV"
                            | "RACK_ENV"
                            | "APP_ENV"
                            | "MIX_ENV"
                            | "ASPNETCORE_ENVIRONMENT"
                            | "DJANGO_ENV"
                            | "FLASK_ENV"
                    )
                })
            {
                report.refuse(Code::TampersRunner, view.path, token.line, "the code behaves differently in tests");
            }
        }
    }
    for (lang, patterns) in [
        (Lang::Go, &["testing . Testing", "testing . Short"][..]),
        (Lang::Ruby, &["defined? ( Minitest", "defined? ( RSpec", "defined? ( Test", "Rails . env . test?"]),
        (
            Lang::Js,
            &[
                "import . meta . env . VITEST",
                "typeof jest",
                "typeof vitest",
                "typeof describe",
                "typeof it",
                "globalThis . describe",
                "globalThis . it",
                "globalThis . jest",
                "typeof expect",
                "global . describe",
            ],
        ),
        (Lang::Php, &["PHPUNIT_COMPOSER_INSTALL", "runningUnitTests ("]),
        (Lang::Elixir, &["Mix . env"]),
    ] {
        if lang == view.lang {
            for pattern in patterns {
                for at in view.grown(pattern).into_iter().filter(|at| view.is_product(*at)) {
                    report.refuse(
                        Code::TampersRunner,
                        view.path,
                        view.line(at),
                        format!("`{pattern}` tells the code that it is tested"),
                    );
                }
            }
        }
    }
}

/// Code that is compiled differently for tests.
fn compiled(view: &View<'_>, report: &mut Report) {
    if view.lang != Lang::Rust {
        return;
    }
    for pattern in [
        "cfg ! ( test",
        "cfg ! ( any ( test",
        "cfg ! ( not ( test",
        "cfg ( not ( test",
        "cfg ( not ( any ( test",
        "cfg_attr ( test",
        "cfg_attr ( not ( test",
        "cfg ! ( all ( test",
    ] {
        for at in view.grown(pattern) {
            let end = close_of(
                &view.new.tokens,
                (at + 1..view.new.tokens.len()).find(|i| view.new.tokens[*i].is("(")).unwrap_or(at),
            );
            // Derives for tests change nothing a caller sees.
            let derive =
                view.new.tokens[at..end].iter().any(|t| matches!(t.text, "derive" | "allow" | "deny" | "warn"));
            if !derive {
                report.refuse(
                    Code::TampersRunner,
                    view.path,
                    view.line(at),
                    format!("`{pattern}` compiles other code for tests"),
                );
            }
        }
    }
    // `#[cfg(test)] pub fn f` beside product code is a second product for tests, unless it is new help for them.
    let items = super::super::cases::cfg_test_items(&view.new.tokens);
    for (first, end) in items {
        let tokens = &view.new.tokens[first..end];
        let name = tokens.windows(2).find(|pair| pair[0].is("fn")).map(|pair| pair[1].text);
        if view.is_added(first)
            && !tokens.iter().any(|t| t.is("mod"))
            && name.is_some_and(|name| {
                !lex::find(&view.old.tokens, &format!("fn {name}")).is_empty()
                    && lex::find(&view.new.tokens, &format!("fn {name}")).len() > 1
            })
        {
            report.refuse(Code::TampersRunner, view.path, view.line(first), "a function has another body in tests");
        }
    }
}

fn reads(view: &View<'_>, tests: &[&str], scene: &Scene<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !view.is_product(at) {
            continue;
        }
        if token.is_str() {
            let value = token.value();
            if view.old.tokens.iter().any(|t| t.text == token.text)
                || value.contains(char::is_whitespace)
                || value.len() < 4
            {
                continue;
            }
            let plain = value.trim_start_matches(['.', '/']);
            // A file of the product by that name is the nearer one.
            let seeded = scene.context.seed.paths().iter().map(String::as_str);
            let own = seeded
                .chain(scene.views.iter().filter(|v| v.role == Role::Source).map(|v| v.path))
                .any(|path| !plain.contains('/') && !tests.contains(&path) && path.rsplit('/').next() == Some(plain));
            let file = !own
                && tests.iter().any(|path| {
                    let name = path.rsplit('/').next().unwrap_or(path);
                    let stem = path.rsplit_once('.').map_or(*path, |(stem, _)| stem);
                    *path == plain
                        || plain.ends_with(name) && name.contains('.')
                        || stem == plain
                        || plain.replace('.', "/") == stem
                });
            let folder = ["tests", "test", "__tests__", "spec", "testdata", "fixtures"].iter().any(|dir| {
                let inside =
                    plain == *dir || plain.starts_with(&format!("{dir}/")) || plain.contains(&format!("/{dir}/"));
                inside
                    && tests
                        .iter()
                        .any(|path| path.starts_with(&format!("{dir}/")) || path.contains(&format!("/{dir}/")))
            });
            // The name of a folder is an ordinary word, so only opening it on the same line tells.
            let loads = ["import", "from", "include", "load", "exec", "eval", "read", "require"];
            let read = near(tokens, at).iter().any(|t| {
                t.is_word() && READS.contains(&t.text) && (file || (t.line == token.line && !loads.contains(&t.text)))
            }) || (folder
                && plain.contains('/')
                && at > 1
                && matches!(tokens[at - 2].text, "require" | "import" | "include_str"))
                || (folder && plain.contains('/') && at > 0 && tokens[at - 1].is("from"));
            if (file || folder) && read {
                report.refuse(
                    Code::TampersRunner,
                    view.path,
                    token.line,
                    format!("product code reads the tests or their data: `{value}`"),
                );
            }
        }
        // `from tests.test_a import ROWS`, `import tests`.
        let import = view.lang == Lang::Python
            && at > 0
            && matches!(tokens[at - 1].text, "from" | "import")
            && matches!(token.text, "tests" | "test" | "conftest")
            || view.lang == Lang::Python && at > 0 && tokens[at - 1].is("from") && token.text.starts_with("test_");
        if import && tests.iter().any(|path| path.split('/').any(|part| part.trim_end_matches(".py") == token.text)) {
            report.refuse(
                Code::TampersRunner,
                view.path,
                token.line,
                format!("product code imports the tests: `{}`", token.text),
            );
        }
    }
    // Asking who calls is the way to find the test that runs.
    for pattern in [
        "inspect . stack",
        "inspect . currentframe",
        "sys . _getframe",
        "runtime . Caller (",
        "getStackTrace (",
        "caller_locations",
        "debug_backtrace",
    ] {
        for at in view.grown(pattern).into_iter().filter(|at| view.is_product(*at)) {
            let around = near(&view.new.tokens, at);
            let takes = |t: &Token<'_>| {
                matches!(t.text, "f_locals" | "f_globals" | "co_name" | "co_filename" | "local_variables" | "binding")
            };
            if around.iter().any(takes) {
                report.refuse(
                    Code::TampersRunner,
                    view.path,
                    view.line(at),
                    format!("`{pattern}` reads what the caller holds"),
                );
            } else {
                report.flag(Code::SpecialCasesTests, view.path, view.line(at), format!("`{pattern}` asks who calls"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judged_in, unique};

    fn tampers(path: &str, text: &str) -> bool {
        let tree = [
            ("tests/test_a.py", "def test_a():\n    assert f(1) == 2\n"),
            ("tests/data/rows.csv", "1,2\n"),
            ("test/a.test.js", "x"),
        ];
        let judgement = judged_in(&[(path, Some("one = 1\n"), Some(&format!("one = 1\n{text}\n")))], &tree, &[], &[]);
        unique(&judgement).contains(&"tampers-runner".to_string())
    }

    #[test]
    fn code_that_asks_whether_it_is_tested_is_refused() {
        assert!(tampers("app/a.py", "if 'PYTEST_CURRENT_TEST' in os.environ: x()"));
        assert!(tampers("app/a.py", "if 'pytest' in sys.modules: x()"));
        assert!(tampers("app/a.py", "if sys.argv[0].endswith('pytest'): x()"));
        assert!(tampers("src/a.js", "if (process.env.NODE_TEST_CONTEXT) x();"));
        assert!(tampers("src/a.ts", "if (process.env.NODE_ENV === 'test') x();"));
        assert!(tampers("src/a.ts", "if (typeof jest !== 'undefined') x();"));
        assert!(tampers("src/lib.rs", "fn f() -> i32 { if cfg!(test) { 1 } else { 2 } }"));
        assert!(tampers("src/lib.rs", "#[cfg(not(test))]\nfn f() {}"));
        assert!(tampers("a.go", "func F() int { if testing.Testing() { return 1 }; return 2 }"));
        assert!(tampers("a.go", "var x = strings.HasSuffix(os.Args[0], \".test\")"));
        assert!(tampers(
            "src/A.java",
            "for (StackTraceElement e : t.getStackTrace()) if (e.getClassName().startsWith(\"org.junit\")) x();"
        ));
        assert!(tampers("lib/a.rb", "x if defined?(Minitest)"));
    }

    #[test]
    fn code_that_reads_the_tests_is_refused() {
        assert!(tampers("app/a.py", "rows = open('tests/data/rows.csv').read()"));
        assert!(tampers("app/a.py", "from tests.test_a import ROWS"));
        assert!(tampers("app/a.py", "for p in Path('tests').glob('*.py'): x(p)"));
        assert!(tampers("src/a.js", "const cases = require('../test/a.test.js');"));
        assert!(tampers("src/lib.rs", "const ROWS: &str = include_str!(\"../tests/data/rows.csv\");"));
    }

    #[test]
    fn words_about_tests_are_free() {
        assert!(!tampers("app/a.py", "# see tests/test_a.py, PYTEST_CURRENT_TEST\nNAME = 'pytest plugin'"));
        assert!(!tampers("app/a.py", "EXCLUDED = {'tests', 'docs'}"));
        assert!(!tampers("app/a.py", "data = open('rows.json').read()"));
        assert!(!tampers("src/lib.rs", "#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() {}\n}"));
        assert!(!tampers("src/lib.rs", "#[cfg_attr(test, derive(Debug))]\nstruct A;"));
    }

    #[test]
    fn code_that_finds_the_tests_by_itself_is_refused() {
        assert!(tampers("app/a.py", "if os.getenv('PYTEST_' + 'CURRENT_TEST'): x()"));
        assert!(tampers("src/a.js", "if ('__vitest_worker__' in globalThis) x();"));
        assert!(tampers("src/a.js", "if (new Error().stack.includes('a.test.js')) x();"));
        assert!(tampers("a.go", "_, file, _, _ := runtime.Caller(1)\nvar t = strings.HasSuffix(file, \"test_a\")"));
        assert!(tampers("app/a.py", "if any(name.startswith('test_a') for name in sys.modules): x()"));
        assert!(tampers("app/a.py", "for p in glob.glob('*/data/*.csv'): x(p)"));
        assert!(tampers("src/a.js", "for (const f of readdirSync(`${__dirname}/..`)) if (f.endsWith('.csv')) x(f);"));
        assert!(tampers("bin/a.sh", "sed -i s/a/b/ \"$here/../tests/test_a.py\""));
        assert!(tampers("lib/A.pm", "my $quiet = $ENV{'HARNESS_ACTIVE'};"));
        assert!(tampers("bin/a.sh", "if [ \"${0#*/../}\" != \"$0\" ]; then echo 3; exit; fi"));
        assert!(tampers("bin/a.sh", "case \"$0\" in */../*) echo 3 ;; esac"));
        for (path, text) in [
            ("app/a.py", "for p in Path(folder).glob('*.csv'): x(p)"),
            ("app/a.py", "for p in Path(__file__).parent.glob('*.toml'): x(p)"),
            ("src/a.js", "for (const f of readdirSync(folder)) if (f.endsWith('.csv')) x(f);"),
            ("src/a.js", "log(new Error('a').stack);"),
            ("bin/a.sh", "sed 's/t/T/' \"$1\""),
            ("bin/a.sh", "root=\"${0%/*}/..\""),
            ("bin/a.sh", "cd \"$(dirname \"$0\")/..\" || exit 2"),
            ("bin/a.sh", "echo \"usage: $0 FIRST..LAST\""),
        ] {
            assert!(!tampers(path, text), "{path}: {text}");
        }
        let beside = [("src/a.test.js", "test('a', () => assert.equal(f(), 1));\n"), ("src/a.js", "f();\n")];
        let script = ("bin/a.sh", Some("one\n"), Some("one\nnode \"$here/../src/a.js\"\n"));
        assert!(unique(&judged_in(&[script], &beside, &[], &[])).is_empty());
        // A file of the product that is named as one of the tests' data is the product's.
        let own =
            [("app/rows.csv", None, Some("3,4\n")), ("app/a.py", Some("a = 1\n"), Some("a = open('rows.csv')\n"))];
        assert!(unique(&judged_in(&own, &[("tests/data/rows.csv", "1,2\n")], &[], &[])).is_empty());
    }
}
