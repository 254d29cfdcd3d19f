//! The outside programs that tests need, installed once under `tests/` at pinned versions.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `tests/`, where the pins lie and the tools go.
fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs `work` while no other test process does: each test may be a process of its own, and all start at once.
fn alone<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.lock"));
    let file = fs::File::create(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
    fs2::FileExt::lock_exclusive(&file).unwrap();
    work()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Installs what `tests/package.json` pins with `npm ci`, all of it at once, unless it is there already.
fn npm_tools() {
    let tests = tests_dir();
    alone("npm", || {
        let json = |path: PathBuf| -> serde_json::Value {
            fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
        };
        let pinned = json(tests.join("package.json"))["devDependencies"].clone();
        let pin = |name: &str| {
            pinned[name].as_str().unwrap_or_else(|| panic!("tests/package.json pins no {name}")).to_owned()
        };
        // Codex must run and say so itself: an install that broke off can leave a file of the right name. Claude Code
        // takes its time to start, and npm puts its program in place last.
        let codex = || {
            let version = Command::new(native_codex(&tests)?).arg("--version").output().ok()?;
            String::from_utf8(version.stdout).ok()?.split_whitespace().last().map(String::from)
        };
        let claude = || {
            let manifest = json(tests.join("node_modules/@anthropic-ai/claude-code/package.json"));
            fs::metadata(tests.join(CLAUDE)).ok().filter(|meta| meta.len() > 1_000_000)?;
            manifest["version"].as_str().map(String::from)
        };
        let inspector = || {
            let manifest = json(tests.join("node_modules/@modelcontextprotocol/inspector/package.json"));
            tests.join(INSPECTOR).is_file().then(|| manifest["version"].as_str().map(String::from)).flatten()
        };
        let found = || [codex(), claude(), inspector()];
        let wanted = ["@openai/codex", "@anthropic-ai/claude-code", "@modelcontextprotocol/inspector"]
            .map(|name| Some(pin(name)));
        if found() != wanted {
            run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&tests));
            assert_eq!(found(), wanted, "what npm ci installed is not what is pinned");
        }
    });
}

/// The program of Claude Code, below `tests/`.
const CLAUDE: &str = "node_modules/.bin/claude";

/// The program of the MCP Inspector, below `tests/`.
const INSPECTOR: &str = "node_modules/.bin/mcp-inspector";

/// Returns the pinned MCP Inspector, installed where missing.
pub(crate) fn inspector_bin() -> PathBuf {
    npm_tools();
    tests_dir().join(INSPECTOR)
}

/// Returns the pinned native Codex binary, installed where missing.
pub(crate) fn codex_bin() -> PathBuf {
    npm_tools();
    native_codex(&tests_dir()).expect("the Codex package brings a native binary for this platform")
}

/// Returns the pinned Claude Code, installed where missing.
pub(crate) fn claude_bin() -> PathBuf {
    npm_tools();
    tests_dir().join(CLAUDE)
}

/// Looks for `node_modules/@openai/codex-<platform>/vendor/<triple>/bin/codex`.
fn native_codex(tests: &Path) -> Option<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    folders(&tests.join("node_modules/@openai"))
        .iter()
        .flat_map(|package| folders(&package.join("vendor")))
        .map(|triple| triple.join("bin/codex"))
        .find(|binary| binary.is_file())
}

/// Returns a `PATH` whose first folder holds a Python with the packages of `tests/requirements.txt`.
pub(crate) fn python_env() -> OsString {
    let venv = python_with("requirements.txt", ".venv");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(venv.join("bin")).chain(std::env::split_paths(&rest))).unwrap()
}

/// Returns a Python with the official MCP SDK.
pub(crate) fn mcp_python() -> PathBuf {
    python_with("requirements-mcp.txt", ".venv-mcp").join("bin/python")
}

/// Returns the environment `tests/<folder>` with the packages of `tests/<requirements>`, made where missing.
fn python_with(requirements: &str, folder: &str) -> PathBuf {
    let tests = tests_dir();
    let venv = tests.join(folder);
    alone("pip", || {
        let wanted = fs::read_to_string(tests.join(requirements)).expect("read the list of Python packages");
        // Written last, so a half-made environment is made again.
        let marker = venv.join("requirements.installed");
        if fs::read_to_string(&marker).ok().as_deref() != Some(&wanted) {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
            run(Command::new(venv.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(tests.join(requirements)));
            fs::write(&marker, &wanted).expect("write the marker of the Python environment");
        }
    });
    venv
}
