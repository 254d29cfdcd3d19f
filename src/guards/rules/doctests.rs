//! Examples in documentation that are run as tests: doctests of Python and Rust.

use super::super::lex::Lang;
use super::super::role::{Role, is_doc};
use super::super::view::{Scene, View};
use super::super::{Code, Report};

/// One example.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    line: u32,
    /// What is run or asserted.
    code: String,
    /// What it must print; empty in Rust.
    expected: String,
}

pub(super) fn judge(scene: &Scene<'_>, report: &mut Report) {
    let python = runs_python_doctests(scene);
    for view in &scene.views {
        if view.restores_seed || !view.in_seed || view.is_created() || !matches!(view.role, Role::Source | Role::Inline)
        {
            continue;
        }
        match view.lang {
            Lang::Rust => compare(view, &rust(view.old.text), &rust(view.new.text), report),
            Lang::Python if python => compare(view, &prompts(view.old.text), &prompts(view.new.text), report),
            _ if python && is_doc(view.path) => {
                compare(view, &prompts(view.old.text), &prompts(view.new.text), report);
            }
            _ => {}
        }
    }
}

/// Whether a command or a setting of the seed has Python run its examples.
fn runs_python_doctests(scene: &Scene<'_>) -> bool {
    /// Where runners of Python are told so.
    const TELL: [&str; 9] = [
        "pytest.ini",
        ".pytest.ini",
        "pytest.toml",
        "pyproject.toml",
        "setup.cfg",
        "tox.ini",
        "noxfile.py",
        "Makefile",
        "conftest.py",
    ];
    let told = |path: &String| {
        let version = scene.context.seed.read(path).ok().flatten();
        version.as_ref().and_then(|v| v.text()).is_some_and(|text| text.contains("doctest"))
    };
    let loads = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or(path);
        TELL.contains(&name) || name.starts_with("test") && name.ends_with(".py")
    };
    scene.context.commands.iter().any(|command| command.contains("doctest"))
        || scene.views.iter().any(|view| view.lang == Lang::Python || is_doc(view.path))
            && scene.context.seed.paths().iter().filter(|path| loads(path)).take(60).any(told)
}

fn compare(view: &View<'_>, old: &[Example], new: &[Example], report: &mut Report) {
    let mut left: Vec<&Example> = new.iter().collect();
    for example in old {
        let same = |other: &&Example| other.code == example.code && other.expected == example.expected;
        if let Some(at) = left.iter().position(same) {
            left.remove(at);
            continue;
        }
        let shown = example.code.lines().next().unwrap_or_default();
        let again = new.iter().find(|other| bare(&other.code) == bare(&example.code));
        let (code, line, what) = match again {
            Some(other) if other.code.contains("+SKIP") => (Code::SkipsTest, other.line, "is skipped"),
            Some(other) => (Code::WeakensTest, other.line, "expects something else"),
            None => (Code::DeletesTest, example.line, "no longer runs"),
        };
        report.touches_tests = true;
        report.refuse(code, view.path, line, format!("the example `{shown}` in the documentation {what}"));
    }
}

/// Returns an example without its directives.
fn bare(code: &str) -> String {
    let lines = code.lines().map(|line| line.split("# doctest:").next().unwrap_or_default().trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

/// Reads `>>>` examples: code with its continuation lines, and what follows up to a blank line or the next example.
fn prompts(text: &str) -> Vec<Example> {
    let mut out: Vec<Example> = Vec::new();
    let mut within = false;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(code) = trimmed.strip_prefix(">>> ") {
            out.push(Example { line: index as u32 + 1, code: code.trim_end().to_string(), expected: String::new() });
            within = true;
        } else if !within {
        } else if let (Some(more), Some(last)) =
            (trimmed.strip_prefix("... "), out.last_mut().filter(|e| e.expected.is_empty()))
        {
            last.code.push('\n');
            last.code.push_str(more);
        } else if trimmed.is_empty() || trimmed.starts_with("\"\"\"") || trimmed.starts_with("```") {
            within = false;
        } else if let Some(last) = out.last_mut() {
            last.expected.push_str(trimmed);
            last.expected.push('\n');
        }
    }
    // What expects nothing only prepares, so it may change with what it prepares.
    out.retain(|example| !example.expected.is_empty());
    out
}

/// Reads the assertions of code blocks in doc comments that rustdoc runs.
fn rust(text: &str) -> Vec<Example> {
    let mut out = Vec::new();
    // Inside a fence: whether it is run.
    let mut fence: Option<bool> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let Some(doc) = trimmed.strip_prefix("///").or_else(|| trimmed.strip_prefix("//!")) else {
            fence = None;
            continue;
        };
        let doc = doc.trim();
        if let Some(info) = doc.strip_prefix("```") {
            fence = match fence {
                Some(_) => None,
                None => Some(info.split(',').all(|word| {
                    let word = word.trim();
                    word.is_empty() || word == "rust" || word.starts_with("edition") || word == "should_panic"
                })),
            };
        } else if fence == Some(true)
            && ["assert", "debug_assert", "panic!", "unreachable!"].iter().any(|word| doc.contains(word))
        {
            out.push(Example { line: index as u32 + 1, code: doc.to_string(), expected: String::new() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judged_in, unique};

    fn codes_with(path: &str, old: &str, new: &str) -> Vec<String> {
        let others = [("pytest.ini", "[pytest]\naddopts = --doctest-modules\n")];
        unique(&judged_in(&[(path, Some(old), Some(new))], &others, &[], &[]))
    }

    #[test]
    fn examples_that_are_run_are_tests() {
        let py = "def f(x):\n    \"\"\"Adds.\n\n    >>> f(1)\n    2\n    \"\"\"\n    return x\n";
        assert_eq!(codes_with("app/a.py", py, &py.replace("    2\n", "    1\n")), ["weakens-test"]);
        assert_eq!(codes_with("app/a.py", py, &py.replace("f(1)", "f(1)  # doctest: +SKIP")), ["skips-test"]);
        assert_eq!(codes_with("app/a.py", py, &py.replace(">>> f", "f")), ["deletes-test"]);
        assert!(codes_with("app/a.py", py, &py.replace("    2\n", "    2\n    >>> f(2)\n    3\n")).is_empty());
        assert!(
            codes_with(
                "app/a.py",
                py,
                &py.replace("Adds.", "Adds; skips nothing.").replace("return x", "return x + 1")
            )
            .is_empty()
        );
        assert_eq!(codes_with("README.md", ">>> f(1)\n2\n", "f\n"), ["deletes-test"]);
        // Nobody runs them here.
        assert!(
            unique(&judged_in(&[("app/a.py", Some(py), Some(&py.replace(">>> f", "f")))], &[], &[], &[])).is_empty()
        );
    }

    #[test]
    fn assertions_in_doc_comments_of_rust_are_tests() {
        let rust = "/// Adds.\n///\n/// ```\n/// assert_eq!(a::f(1), 2);\n/// ```\npub fn f(x: u8) -> u8 {\n    x\n}\n";
        for (from, to) in [
            ("/// ```\n/// assert", "/// ```ignore\n/// assert"),
            ("/// ```\n/// assert", "/// ```no_run\n/// assert"),
            ("/// assert_eq!(a::f(1), 2);\n", ""),
            ("2);", "1);"),
        ] {
            assert!(!codes_with("src/lib.rs", rust, &rust.replacen(from, to, 1)).is_empty(), "{to}");
        }
        assert!(
            codes_with("src/lib.rs", rust, &rust.replace("Adds.", "Adds one.").replace("    x\n", "    x + 1\n"))
                .is_empty()
        );
        assert!(
            codes_with("src/lib.rs", rust, &rust.replace("2);\n", "2);\n/// assert_eq!(a::f(2), 3);\n")).is_empty()
        );
    }
}
