//! Code that patches the test framework, its assertions or what the language itself gives.

use super::super::lex::{self, Kind, Lang, Token, close_of};
use super::super::role::Role;
use super::super::view::{Scene, View};
use super::super::{Code, Report};

/// Roots of frameworks and built-in objects that no patch may assign into.
const ROOTS: &[(Lang, &[&str])] = &[
    (
        Lang::Python,
        &[
            "pytest",
            "_pytest",
            "unittest",
            "TestCase",
            "builtins",
            "__builtins__",
            "pluggy",
            "doctest",
            "TestResult",
            "TextTestRunner",
            "TextTestResult",
            "TestSuite",
            "TestLoader",
        ],
    ),
    (
        Lang::Js,
        &[
            "assert",
            "expect",
            "jest",
            "vi",
            "chai",
            "mocha",
            "JSON",
            "Object",
            "Array",
            "String",
            "Number",
            "Reflect",
            "Math",
            "Map",
            "Set",
            "Promise",
            "Symbol",
            "RegExp",
            "Date",
            "Function",
            "Error",
            "Buffer",
            "process",
            "globalThis",
            "global",
            "console",
        ],
    ),
    (Lang::Ruby, &["Minitest", "RSpec", "Test", "Kernel", "Object"]),
];
/// Modules of frameworks by the names product code could import them by.
const FRAMEWORKS: [&str; 22] = [
    "node:assert",
    "node:assert/strict",
    "assert",
    "assert/strict",
    "node:test",
    "chai",
    "vitest",
    "@jest/globals",
    "jest",
    "expect",
    "mocha",
    "@playwright/test",
    "ava",
    "tap",
    "sinon",
    "node:test/reporters",
    "bun:test",
    "should",
    "power-assert",
    "expect.js",
    "jasmine",
    "uvu",
];
/// Patterns that patch whatever surrounds them.
const ALWAYS: &[(Lang, &[&str])] = &[
    (
        Lang::Python,
        &[
            "import _pytest",
            "from _pytest",
            "setattr ( unittest",
            "setattr ( pytest",
            "setattr ( builtins",
            "setattr ( TestCase",
            "setattr ( importlib",
            "setattr ( __import__",
            "setattr ( sys . modules",
            "patch . object ( unittest",
            "gc . get_objects",
            "gc . get_referrers",
            "sys . settrace",
            "sys . setprofile",
            "sys . meta_path",
            "sys . path_hooks",
            "sys . unraisablehook =",
            "ctypes . pythonapi",
            "__builtins__ [",
            "sys . breakpointhook",
        ],
    ),
    (
        Lang::Js,
        &[
            "require . cache",
            "Module . _load",
            "Module . prototype",
            "Module . _extensions",
            "Module . _resolveFilename",
            "isDeepStrictEqual =",
            "expect . extend (",
            "jest . mock (",
            "vi . mock (",
            "mock . module (",
            "Object . prototype .",
            "Array . prototype .",
            "setUncaughtExceptionCaptureCallback",
            "Error . prepareStackTrace",
            "registerHooks (",
            "asymmetricMatch",
        ],
    ),
    (
        Lang::Rust,
        &[
            "# ! [ no_main",
            "# ! [ test_runner",
            "custom_test_frameworks",
            "# [ panic_handler",
            "panic :: set_hook",
            "# ! [ feature ( test",
            "as assert_eq",
            "as assert",
            "as assert_ne",
        ],
    ),
    (
        Lang::Ruby,
        &[
            "Minitest :: Test . class_eval",
            "module Minitest",
            "class Minitest",
            "module RSpec",
            "Minitest :: Assertions",
            "RSpec :: Expectations",
            "Test :: Unit",
            "Minitest . after_run",
            "Minitest . autorun",
        ],
    ),
    (
        Lang::Perl,
        &[
            "Test :: Builder",
            "Test :: More",
            "Test2 ::",
            "More -> builder",
            "eq => sub { 1",
            "== => sub { 1",
            "ne => sub { 0",
            "!= => sub { 0",
        ],
    ),
    (Lang::Go, &["flag . Set (", "testing . Init", "os . Args ="]),
    (
        Lang::Java,
        &[
            "System . setSecurityManager",
            "package org . junit",
            "package junit . framework",
            "package org . testng",
            "package org . assertj",
        ],
    ),
    (Lang::CSharp, &["namespace Xunit", "namespace NUnit", "namespace Microsoft . VisualStudio . TestTools"]),
    (Lang::Php, &["namespace PHPUnit", "class_alias (", "runkit_function_redefine", "uopz_"]),
    (
        Lang::C,
        &[
            "# define assert",
            "# define ASSERT_",
            "# define EXPECT_",
            "# undef assert",
            "# define TEST",
            "# define NDEBUG",
            "# define REQUIRE",
            "# define CHECK",
        ],
    ),
];
const MACROS: [&str; 14] = [
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "panic",
    "matches",
    "unreachable",
    "assert_matches",
    "prop_assert",
    "prop_assert_eq",
    "todo",
    "unimplemented",
];

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    for view in &scene.views {
        if view.is_deleted()
            || view.restores_seed
            || !view.lang.is_code()
            || matches!(view.role, Role::TestData | Role::MixedConfig)
        {
            continue;
        }
        always(view, report);
        assigned(view, report);
        if matches!(view.role, Role::Source | Role::Inline) {
            imported(view, report);
        }
        if view.lang == Lang::C && view.is_program() {
            redefined(view, scene, report);
        }
        if view.lang == Lang::Rust {
            for at in view.grown("macro_rules ! *") {
                let name = view.new.tokens[at + 2].text;
                if MACROS.contains(&name) {
                    report.refuse(
                        Code::TampersRunner,
                        view.path,
                        view.line(at),
                        format!("the macro `{name}!` is defined anew"),
                    );
                    report.refuse(
                        Code::WeakensTest,
                        view.path,
                        view.line(at),
                        format!("tests that use `{name}!` no longer assert"),
                    );
                }
            }
        }
    }
}

/// Functions of the C library that tests compare and report with.
const LIBRARY: [&str; 12] = [
    "strcmp",
    "strncmp",
    "memcmp",
    "strcasecmp",
    "exit",
    "abort",
    "printf",
    "fprintf",
    "puts",
    "fputs",
    "raise",
    "__assert_fail",
];

/// Product code of C that gives the library's functions, or the macros of the tests, another meaning.
fn redefined(view: &View<'_>, scene: &Scene<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate().filter(|(at, _)| view.is_added(*at) && view.is_product(*at)) {
        let text = |offset: usize| tokens.get(at + offset).map_or("", |t| t.text);
        let function = LIBRARY.contains(&token.text)
            && text(1) == "("
            && at > 0
            && (tokens[at - 1].is_word() || tokens[at - 1].is("*"))
            && !matches!(tokens[at - 1].text, "return" | "else" | "do" | "void" | "case")
            && tokens.get(close_of(tokens, at + 1)).is_some_and(|t| t.is("{"));
        let directive = at > 1
            && tokens[at - 2].is("#")
            && matches!(tokens[at - 1].text, "define" | "undef")
            && (LIBRARY.contains(&token.text)
                || scene.seed_tests().iter().any(|path| {
                    let version = scene.context.seed.read(path).ok().flatten();
                    let text = version.as_ref().and_then(|v| v.text()).unwrap_or_default();
                    text.contains(&format!("define {}", token.text))
                }));
        if function || directive {
            let reason = format!("`{}`, which tests use, is defined anew", token.text);
            report.refuse(Code::TampersRunner, view.path, token.line, reason);
        }
    }
}

fn always(view: &View<'_>, report: &mut Report) {
    if view.lang == Lang::Python {
        for at in view.grown("def *").into_iter().filter(|at| view.new.tokens[at + 1].text.starts_with("pytest_")) {
            let hook = view.new.tokens[at + 1].text;
            report.refuse(Code::TampersRunner, view.path, view.line(at), format!("`{hook}` hooks into the runner"));
        }
    }
    for (lang, patterns) in ALWAYS {
        if *lang != view.lang {
            continue;
        }
        for pattern in *patterns {
            for at in view.grown(pattern) {
                // Tests may mock modules; old tests are guarded elsewhere.
                let mocking = pattern.contains("mock")
                    || pattern.starts_with("expect . extend")
                    || pattern.starts_with("flag")
                    || pattern.starts_with("Test")
                    || pattern.contains("set_hook");
                if mocking && !view.is_product(at) {
                    continue;
                }
                // A test of a program gives it arguments; outside of a test they would be the runner's own.
                let in_case = || view.new.cases.iter().any(|case| (case.first..case.end).contains(&at));
                if pattern.starts_with("os . Args") && in_case() {
                    continue;
                }
                // Reading `Array.prototype.slice.call(…)` patches nothing.
                if pattern.ends_with("prototype .") && !is_assigned(&view.new.tokens, at) {
                    continue;
                }
                report.refuse(
                    Code::TampersRunner,
                    view.path,
                    view.line(at),
                    format!("`{pattern}` reaches into the runner or the language"),
                );
            }
        }
    }
}

/// Whether the chain `a.b[c].d` at `at` is assigned to.
fn is_assigned(tokens: &[Token<'_>], at: usize) -> bool {
    let mut index = at + 1;
    let mut reached = false;
    while let Some(token) = tokens.get(index) {
        if token.kind == Kind::Punct {
            match token.text {
                "." | "::" | "?." => {
                    reached = true;
                    index += 1;
                    if tokens.get(index).is_some_and(Token::is_word) {
                        index += 1;
                    }
                    continue;
                }
                "[" => {
                    reached = true;
                    index = close_of(tokens, index);
                    continue;
                }
                "(" => {
                    index = close_of(tokens, index);
                    continue;
                }
                "=" | "||=" | "??=" | "&&=" | "+=" => return reached,
                _ => return false,
            }
        }
        return false;
    }
    false
}

/// Names in this file that stand for a framework or an assertion.
fn roots(view: &View<'_>) -> Vec<String> {
    let mut out: Vec<String> = ROOTS
        .iter()
        .filter(|(lang, _)| *lang == view.lang)
        .flat_map(|(_, names)| names.iter().map(ToString::to_string))
        .collect();
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate() {
        if view.lang == Lang::Python && token.is("as") && at > 0 {
            let line: Vec<&Token<'_>> = tokens.iter().filter(|t| t.line == token.line).collect();
            if line.iter().any(|t| matches!(t.text, "unittest" | "pytest" | "_pytest" | "builtins"))
                && let Some(alias) = tokens.get(at + 1)
            {
                out.push(alias.text.to_string());
            }
        }
        // `from unittest import case`
        let framework = |t: &Token<'_>| matches!(t.text, "unittest" | "pytest" | "_pytest" | "doctest" | "builtins");
        let head = tokens[..at].iter().rev().take_while(|t| t.line == token.line).collect::<Vec<_>>();
        if view.lang == Lang::Python
            && token.is("import")
            && head.last().is_some_and(|first| first.is("from"))
            && head.iter().any(|t| framework(t))
        {
            let names = tokens[at + 1..].iter().take_while(|t| t.line == token.line && !t.is("as"));
            out.extend(names.filter(|t| t.is_word()).map(|t| t.text.to_string()));
        }
        if view.lang == Lang::Js && token.is_str() && FRAMEWORKS.contains(&token.value()) {
            // `const a = require('assert')`, `import a from 'assert'`.
            let line: Vec<&Token<'_>> = tokens.iter().filter(|t| t.line == token.line).collect();
            if line.first().is_some_and(|t| matches!(t.text, "const" | "let" | "var" | "import")) {
                // `{ Assertion }`, `* as a`, `{ default: a }` name it too.
                let names = line[1..].iter().take_while(|t| !matches!(t.text, "=" | "from"));
                let names = names.filter(|t| t.is_word() && !matches!(t.text, "default" | "as" | "type"));
                out.extend(names.map(|t| t.text.to_string()));
            }
        }
    }
    out
}

fn assigned(view: &View<'_>, report: &mut Report) {
    let roots = roots(view);
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) {
            continue;
        }
        let line = token.line;
        let attribute = at > 0 && (tokens[at - 1].is(".") || tokens[at - 1].is("?."));
        let known = token.is_word() && !attribute && roots.iter().any(|root| root == token.text);
        if known && is_assigned(tokens, at) {
            let next = tokens.get(at + 2).map_or("", |t| t.text);
            let harmless = (token.text == "process" && matches!(next, "exitCode" | "env" | "title"))
                || (matches!(token.text, "globalThis" | "global") && !is_test_global(next));
            let mocked = view.role == Role::Test
                && matches!(token.text, "console" | "Date" | "process" | "Math" | "globalThis" | "global");
            if !harmless && !mocked {
                report.refuse(Code::TampersRunner, view.path, line, format!("`{}` is assigned into", token.text));
            }
        }
        // `require('node:assert')[name] = …`, `Object.assign(require('assert'), …)`
        if view.lang == Lang::Js
            && token.is("require")
            && tokens.get(at + 2).is_some_and(|t| t.is_str() && !t.value().starts_with('.'))
            && is_assigned(tokens, at)
        {
            report.refuse(Code::TampersRunner, view.path, line, "a library that others share is assigned into");
        }
        // `(globalThis as any).expect = …`
        if view.lang == Lang::Js
            && matches!(token.text, "globalThis" | "global")
            && at > 0
            && tokens[at - 1].is("(")
            && let close = close_of(tokens, at - 1)
            && is_assigned(tokens, close.saturating_sub(1))
            && tokens.get(close + 1).is_some_and(|t| is_test_global(t.value()))
            && view.is_product(at)
        {
            report.refuse(Code::TampersRunner, view.path, line, "a name that tests use is assigned for everybody");
        }
        // Where runners keep their matchers.
        if view.lang == Lang::Js
            && token.is_str()
            && (token.value().contains("$$jest") || token.value().contains("jest-matchers"))
        {
            report.refuse(Code::TampersRunner, view.path, line, "the runner's own state is reached into");
        }
        if view.lang == Lang::Js
            && (token.is("Object") || token.is("Reflect"))
            && tokens.get(at + 2).is_some_and(|t| {
                matches!(t.text, "assign" | "defineProperty" | "defineProperties" | "setPrototypeOf" | "set")
            })
        {
            let argument =
                &tokens[(at + 4).min(tokens.len())..close_of(tokens, (at + 3).min(tokens.len())).min(tokens.len())];
            let prototype = argument.iter().take(4).any(|t| t.is("prototype"));
            let library = argument.first().is_some_and(|t| {
                t.is_word()
                    && matches!(t.text, "assert" | "expect" | "JSON" | "Object" | "Array" | "globalThis" | "global")
                    || roots.iter().any(|root| root == t.text) && t.text != "process"
            }) || argument.iter().take(4).any(|t| t.is_str() && FRAMEWORKS.contains(&t.value()));
            if prototype
                && argument.first().is_some_and(|t| {
                    matches!(t.text, "Object" | "Array" | "String" | "Number" | "Function" | "Boolean" | "Map" | "Set")
                })
                || library
            {
                report.refuse(Code::TampersRunner, view.path, line, "a test library or a built-in object is changed");
            }
        }
        if view.lang == Lang::Python
            && token.is("setattr")
            && tokens.get(at + 1).is_some_and(|t| t.is("("))
            && tokens.get(at + 2).is_some_and(|t| roots.iter().any(|root| root == t.text))
        {
            report.refuse(Code::TampersRunner, view.path, line, "a test library or a built-in name is changed");
        }
        if view.lang == Lang::Ruby
            && matches!(token.text, "class" | "module")
            && tokens.get(at + 1).is_some_and(|t| {
                matches!(
                    t.text,
                    "Object"
                        | "BasicObject"
                        | "Integer"
                        | "String"
                        | "Array"
                        | "Hash"
                        | "Float"
                        | "Kernel"
                        | "NilClass"
                )
            })
            && view.is_product(at)
        {
            report.flag(Code::TampersRunner, view.path, line, "a class of the language is reopened");
        }
    }
    if view.lang == Lang::Python {
        for at in view.grown("sys . modules [") {
            let end = close_of(tokens, at + 3);
            if tokens.get(end).is_some_and(|t| t.is("=")) && view.is_product(at) {
                report.refuse(Code::TampersRunner, view.path, view.line(at), "a module is replaced for everybody");
            }
        }
    }
}

fn is_test_global(name: &str) -> bool {
    matches!(
        name,
        "test"
            | "it"
            | "describe"
            | "expect"
            | "assert"
            | "beforeEach"
            | "JSON"
            | "Object"
            | "process"
            | "suite"
            | "Array"
            | "Promise"
            | "console"
            | "Date"
            | "Error"
            | "Math"
            | "Number"
            | "String"
            | "Function"
            | "Reflect"
    )
}

/// Product code has no use for a test framework, except for the assertions of the standard library.
fn imported(view: &View<'_>, report: &mut Report) {
    let tokens = &view.new.tokens;
    for (at, token) in tokens.iter().enumerate() {
        if !view.is_added(at) || !view.is_product(at) {
            continue;
        }
        let python = view.lang == Lang::Python
            && token.is_word()
            && matches!(token.text, "pytest" | "unittest")
            && at > 0
            && matches!(tokens[at - 1].text, "import" | "from");
        let js = view.lang == Lang::Js
            && token.is_str()
            && FRAMEWORKS.contains(&token.value())
            && !token.value().contains("assert")
            && at > 0
            && (tokens[at - 1].is("from")
                || tokens[at - 1].is("import")
                || (at > 1 && matches!(tokens[at - 2].text, "require" | "import")));
        let go = view.lang == Lang::Go && token.is_str() && token.value() == "testing";
        if (python || js || go) && lex::find(&view.old.tokens, token.text).is_empty() {
            let text = format!("product code imports the test framework {}", token.value());
            if python && token.text == "unittest" || go {
                report.flag(Code::TampersRunner, view.path, token.line, text);
            } else {
                report.refuse(Code::TampersRunner, view.path, token.line, text);
            }
        }
        if python && lex::find(tokens, "import ANY").iter().any(|i| view.is_added(*i)) {
            report.refuse(Code::TampersRunner, view.path, token.line, "product code returns what equals everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::codes;

    fn tampers(path: &str, line: &str) -> bool {
        let found = codes(path, "one = 1\n", &format!("one = 1\n{line}\n"));
        found.contains(&"tampers-runner".to_string())
    }

    #[test]
    fn patches_of_the_runner_are_refused() {
        for line in [
            "import unittest\nunittest.TestCase.assertEqual = lambda *a: None",
            "import unittest as u\nu.TestCase.run = x",
            "from unittest import TestCase\nTestCase.run = x",
            "import builtins\nbuiltins.len = x",
            "setattr(unittest.TestCase, 'run', x)",
            "from _pytest import python",
            "sys.modules['app'] = Fake()",
            "from unittest.mock import ANY",
        ] {
            assert!(tampers("app/a.py", line), "{line}");
        }
        for line in [
            "assert.equal = () => {};",
            "require('node:assert')['equal'] = f;",
            "const a = require('assert/strict');\na.deepEqual = f;",
            "JSON.stringify = () => 'x';",
            "Object.prototype.valueOf = f;",
            "Object.assign(require('assert'), { equal() {} });",
            "globalThis.expect = f;",
            "global.it = (n, f) => {};",
            "Object.defineProperty(Array.prototype, 'x', {});",
            "import { expect } from 'vitest';",
            "Array.prototype.map = f;",
            "import * as a from 'assert';\nObject.assign(a.default.strict, { equal: f });",
            "const { Assertion } = require('chai');\nAssertion.prototype.assert = f;",
            "const { default: a } = await import('node:assert/strict');\na.equal = f;",
            "Reflect.set(require('assert'), 'equal', f);",
            "(globalThis as any).expect = f;",
            "globalThis.Date = f;",
            "global[Symbol.for('$$jest-matchers-object')].matchers.toBe = f;",
            "for (const k of Object.keys(require('node:assert'))) require('node:assert')[k] = f;",
        ] {
            assert!(tampers("src/a.ts", line), "{line}");
        }
        assert!(tampers("src/lib.rs", "macro_rules! assert_eq { ($($t:tt)*) => {}; }"));
        assert!(tampers("lib/a.rb", "module Minitest\nend"));
        assert!(tampers("src/A.java", "package org.junit;"));
    }

    #[test]
    fn ordinary_code_is_not_a_patch() {
        for line in [
            "const assert = require('node:assert');\nassert.equal(one, 1);",
            "Array.prototype.slice.call(x);",
            "process.env.A = '1';",
            "const o = Object.assign({}, x);",
            "this.expect = 1;",
            "Object.keys(x).map(f);",
            "const { join } = require('node:path');\nconst x = {};\nx.join = join;",
            "globalThis.fetch ??= f;",
            "module.exports.assert = f;",
        ] {
            assert!(!tampers("src/a.js", line), "{line}");
        }
        for line in ["import sys\nsys.modules[__name__]", "self.pytest = 1", "x.unittest.y = 1"] {
            assert!(!tampers("app/a.py", line), "{line}");
        }
        assert!(!tampers("src/lib.rs", "macro_rules! my_vec { ($($t:tt)*) => {}; }\nfn f() { assert_eq!(1, 1); }"));
    }

    #[test]
    fn a_test_of_a_program_may_give_it_arguments_and_a_test_file_not_the_runner() {
        let codes = |text: &str| super::super::testing::codes_new("a_test.go", &format!("package a\n\n{text}\n"));
        assert!(codes("func TestA(t *testing.T) {\n\tos.Args = []string{\"a\", \"-v\"}\n\tif F() != 1 {\n\t\tt.Fatal()\n\t}\n}").is_empty());
        let found = codes("func init() {\n\tos.Args = append(os.Args, \"-test.run=^$\")\n}");
        assert!(found.contains(&"tampers-runner".to_string()), "{found:?}");
    }

    #[test]
    fn what_tests_in_c_and_perl_stand_on_keeps_its_meaning() {
        let tree = [("test/check.h", "#define SAME(a, b) do { if (strcmp(a, b)) failures++; } while (0)\n")];
        for (path, text) in [
            ("src/a.c", "int strcmp(const char *a, const char *b) { return 0; }"),
            ("src/a.h", "#undef SAME"),
            ("src/a.h", "#define SAME(a, b) (void) (a)"),
            ("lib/A.pm", "*Test::Builder::ok = sub { 1 };"),
            ("lib/A.pm", "use overload eq => sub { 1 };"),
            ("app/a.py", "from unittest import case\ncase._Outcome.success = True"),
        ] {
            let new = format!("one;\n{text}\n");
            let judged = super::super::testing::judged_in(&[(path, Some("one;\n"), Some(&new))], &tree, &[], &[]);
            let found = super::super::testing::unique(&judged);
            assert!(found.contains(&"tampers-runner".to_string()), "{text}: {found:?}");
        }
        for (path, text) in [
            ("src/a.c", "int f(char *a) { return strcmp(a, \"b\"); }"),
            ("lib/A.pm", "use overload eq => sub { $_[0]->is($_[1]) };"),
        ] {
            let new = format!("one;\n{text}\n");
            let judged = super::super::testing::judged_in(&[(path, Some("one;\n"), Some(&new))], &tree, &[], &[]);
            assert!(super::super::testing::unique(&judged).is_empty(), "{text}");
        }
    }
}
