//! Which Codex is installed, and what it says about itself: version, models, MCP servers, sign-in, sandbox.
//!
//! All of it by short local commands; none of them asks a model anything. It decides which account pays for a call
//! and never stores or prints a key.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use crate::process::{Capture, Captured, Control, Exit, capture_watched};

/// The oldest Codex that knows every flag and event used here.
pub const OLDEST: Version = Version { major: 0, minor: 169, patch: 0 };

/// How to get a new Codex.
pub const INSTALL_HINT: &str = "npm install -g @openai/codex@latest";

/// Limit of one short command. `doctor` tries the network, everything else takes milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// A version of Codex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// Reads the first `N.N.N` of a text, such as `codex-cli 0.169.0`; what follows, as in `-alpha.2`, is ignored.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
            let mut parts = word.trim_matches('.').split('.').map(|part| part.parse().ok());
            Some(Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// An installed Codex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codex {
    /// The executable to call.
    pub program: PathBuf,
    /// What the user's command name leads to, where that is npm's launcher and `program` the native binary beside it.
    pub launcher: Option<PathBuf>,
    /// Its version, at least [`OLDEST`].
    pub version: Version,
    /// Variables set for every command, on top of the inherited ones.
    pub env: Vec<(OsString, OsString)>,
    /// When whoever asks has no more time; every command ends then at the latest.
    pub until: Option<Instant>,
}

/// Finds Codex: `named` (the value of `LOOP_CODEX_BIN`) if given, else `codex` on `path`.
///
/// The native binary beside npm's launcher is preferred: it starts faster, and there is no Node process that could be
/// killed without it. Every command ends at `until`, and when `control` says so. Returns an error that says what to do if there is none, it does not run, or it is too old.
pub fn find(
    named: Option<&OsStr>,
    path: Option<&OsStr>,
    cwd: &Path,
    env: &[(OsString, OsString)],
    until: Option<Instant>,
    control: &mut dyn Control,
) -> anyhow::Result<Codex> {
    // An entry that is empty or relative would mean the repository's own folder: nothing there is run unasked.
    let folders = std::env::split_paths(path.unwrap_or_default()).filter(|folder| folder.is_absolute());
    let folders = std::env::join_paths(folders).context("read PATH")?;
    let path = Some(folders.as_os_str());
    let found = match named.filter(|name| !name.is_empty()) {
        Some(name) => which::which_in(name, path, cwd)
            .with_context(|| format!("find the Codex that LOOP_CODEX_BIN names: {}", name.display()))?,
        None => which::which_in("codex", path, cwd)
            .with_context(|| format!("find `codex` on PATH; install it with `{INSTALL_HINT}` or set LOOP_CODEX_BIN"))?,
    };
    let native = native_beside(&found);
    let (program, launcher) = match native {
        Some(native) => (native, Some(found)),
        None => (found, None),
    };
    let captured = run(&program, cwd, &["--version"], &[], env, until, control)?;
    let text = String::from_utf8_lossy(&captured.stdout).into_owned();
    let version = Version::find(&text)
        .filter(|_| captured.exit.success())
        .with_context(|| format!("`{} --version` names no version: {}", program.display(), said(&captured)))?;
    anyhow::ensure!(
        version >= OLDEST,
        "{} is Codex {version}; at least {OLDEST} is needed: update it with `{INSTALL_HINT}`",
        program.display()
    );
    Ok(Codex { program, launcher, version, env: env.to_vec(), until })
}

/// Returns the native binary that npm's launcher would start, or `None` where `found` is no such launcher.
fn native_beside(found: &Path) -> Option<PathBuf> {
    let script = found.canonicalize().ok()?;
    if script.file_name()? != "codex.js" {
        return None;
    }
    let package = script.parent()?.parent()?;
    let (os, os_in_triple) = match std::env::consts::OS {
        "linux" | "android" => ("linux", "linux"),
        "macos" => ("darwin", "apple-darwin"),
        _ => return None,
    };
    let arch = std::env::consts::ARCH;
    let short = match arch {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return None,
    };
    // Beside the package (npm, pnpm), inside it (nested installs), or in the package itself (older releases).
    let name = format!("codex-{os}-{short}");
    let homes = [package.parent()?.join(&name), package.join("node_modules/@openai").join(&name), package.to_owned()];
    homes.iter().find_map(|home| {
        let triples = std::fs::read_dir(home.join("vendor")).ok()?.flatten();
        let fitting = triples.filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|triple| triple.starts_with(arch) && triple.contains(os_in_triple))
        });
        fitting
            .map(|entry| entry.path().join("bin/codex"))
            .find(|path| which::which_in(path, None::<&OsStr>, home).is_ok())
    })
}

/// Returns the folders under which Codex may keep its trust in a folder: it and all above it, and the repository whose
/// linked work tree it is.
pub(super) fn projects(dir: &Path) -> Vec<PathBuf> {
    let dir = dir.canonicalize().or_else(|_| std::path::absolute(dir)).unwrap_or_else(|_| dir.to_owned());
    let mut folders: Vec<PathBuf> = dir.ancestors().map(Path::to_owned).collect();
    for folder in dir.ancestors() {
        let link = std::fs::read_to_string(folder.join(".git")).unwrap_or_default();
        let main = link.strip_prefix("gitdir: ").and_then(|path| path.split("/.git/worktrees/").next()).map(str::trim);
        if let Some(main) = main.filter(|main| Path::new(main).is_absolute()) {
            folders.push(main.into());
        }
    }
    folders
}

fn run(
    program: &Path,
    cwd: &Path,
    arguments: &[&str],
    env_remove: &[&str],
    env: &[(OsString, OsString)],
    until: Option<Instant>,
    control: &mut dyn Control,
) -> anyhow::Result<Captured> {
    let mut argv: Vec<OsString> = vec![program.into()];
    argv.extend(arguments.iter().map(OsString::from));
    let left = until.map_or(LIMIT, |until| LIMIT.min(until.saturating_duration_since(Instant::now())));
    let command = Capture {
        argv,
        cwd: cwd.to_owned(),
        env: super::command::environment(env),
        env_remove: env_remove.iter().map(OsString::from).collect(),
        // None at all would stand for the longest.
        limit: left.max(Duration::from_millis(1)),
        ..Capture::default()
    };
    capture_watched(&command, control).with_context(|| format!("run {} {}", program.display(), arguments.join(" ")))
}

/// Says how a short command went wrong: its error lines, or how it ended.
fn said(captured: &Captured) -> String {
    let text = String::from_utf8_lossy(&captured.stderr);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("WARNING"))
        .take_while(|line| !line.starts_with("Stack backtrace"))
        .take(6)
        .collect();
    if lines.is_empty() {
        return match captured.exit {
            Exit::TimedOut => "no end within its time limit".to_owned(),
            Exit::Code { code } => {
                let text = String::from_utf8_lossy(&captured.stdout);
                match text.lines().map(str::trim).find(|line| !line.is_empty()) {
                    Some(line) => format!("it says \"{}\"", line.chars().take(200).collect::<String>()),
                    None => format!("exit status {code}, no message"),
                }
            }
            other => format!("{other:?}"),
        };
    }
    lines.join(" ").chars().take(500).collect()
}

/// The models this Codex knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    pub models: Vec<Model>,
}

/// A model this Codex knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What `-m` takes.
    pub slug: String,
    /// Whether Codex offers it to users.
    pub listed: bool,
    /// Reasoning efforts, weakest first.
    pub efforts: Vec<String>,
    /// The effort Codex takes by itself.
    pub default_effort: Option<String>,
}

impl Catalog {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_slice(bytes).context("read the list of models")?;
        let list = value.get("models").and_then(Value::as_array).context("the list of models has no models")?;
        let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let models = list.iter().filter_map(|model| {
            let levels = model.get("supported_reasoning_levels").and_then(Value::as_array);
            Some(Model {
                slug: word(model, "slug")?,
                listed: word(model, "visibility").is_none_or(|visibility| visibility == "list"),
                efforts: levels.into_iter().flatten().filter_map(|level| word(level, "effort")).collect(),
                default_effort: word(model, "default_reasoning_level"),
            })
        });
        Ok(Self { models: models.collect() })
    }

    /// Returns the model of this name, hidden ones included.
    pub fn model(&self, slug: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.slug == slug)
    }

    /// Returns the efforts that a call with this model may ask for; for Codex's own default (`None`), those that
    /// every listed model has. `None` where nothing is known about the model.
    pub fn efforts(&self, slug: Option<&str>) -> Option<Vec<String>> {
        let Some(slug) = slug else {
            let mut listed = self.models.iter().filter(|model| model.listed);
            let mut common = listed.next()?.efforts.clone();
            for model in listed {
                common.retain(|effort| model.efforts.contains(effort));
            }
            return Some(common);
        };
        self.model(slug).map(|model| model.efforts.clone()).filter(|efforts| !efforts.is_empty())
    }
}

/// One row of what Codex finds out about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whether it needs nothing.
    pub ok: bool,
    /// What was found.
    pub summary: String,
    /// What to do, where something is to be done.
    pub remedy: Option<String>,
}

/// What `codex doctor` says, as far as it matters here. Its overall verdict does not: it fails over things that no
/// call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doctor {
    pub credentials: Row,
    pub reachability: Row,
    pub config: Row,
    /// What kind of sign-in is stored, or `None`.
    pub stored: Option<Stored>,
    /// The name of the provider, `openai` unless the user set another.
    pub provider: String,
    /// Codex's own folder.
    pub home: Option<PathBuf>,
}

/// A stored sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// A ChatGPT plan.
    ChatGpt,
    /// A key given to `codex login`.
    ApiKey,
    /// Another identity Codex knows.
    Other,
}

impl Doctor {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_slice(bytes).context("read what `codex doctor` says")?;
        let checks = value.get("checks").context("`codex doctor` names no checks")?;
        let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let row = |name: &str| match checks.get(name).filter(|check| check.is_object()) {
            Some(check) => Row {
                ok: word(check, "status").is_some_and(|status| status == "ok" || status == "warning"),
                summary: word(check, "summary").unwrap_or_default(),
                remedy: word(check, "remediation"),
            },
            None => Row { ok: false, summary: format!("`codex doctor` has no row {name}"), remedy: None },
        };
        let details = |name: &str| checks.get(name).and_then(|check| check.get("details")).cloned().unwrap_or_default();
        let auth = details("auth.credentials");
        let stored = |key: &str| word(&auth, key).is_some_and(|text| text == "true");
        let config = details("config.load");
        Ok(Self {
            credentials: row("auth.credentials"),
            reachability: row("network.provider_reachability"),
            config: row("config.load"),
            stored: if stored("stored ChatGPT tokens") {
                Some(Stored::ChatGpt)
            } else if stored("stored API key") {
                Some(Stored::ApiKey)
            } else {
                stored("stored agent identity").then_some(Stored::Other)
            },
            provider: word(&config, "model provider").unwrap_or_else(|| "openai".to_owned()),
            home: word(&config, "CODEX_HOME").map(PathBuf::from),
        })
    }
}

/// Who pays for the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// The user's own provider, with whatever it asks for.
    OwnProvider { name: String },
    /// The key in `CODEX_API_KEY`, which Codex prefers to a stored sign-in.
    CodexApiKey,
    /// The sign-in that Codex has stored.
    StoredSignIn(Stored),
    /// The key in `OPENAI_API_KEY`, handed on as `CODEX_API_KEY`, since Codex by itself does not use it.
    OpenAiApiKey,
    /// Nobody: no call will work.
    Nobody,
}

impl Account {
    /// Decides it. `profile_provider` is the provider that the chosen profile sets.
    pub fn decide(doctor: &Doctor, profile_provider: Option<&str>, codex_key: bool, openai_key: bool) -> Self {
        let provider = profile_provider.unwrap_or(&doctor.provider);
        if provider != "openai" {
            Self::OwnProvider { name: provider.to_owned() }
        } else if codex_key {
            Self::CodexApiKey
        } else if let Some(stored) = doctor.stored {
            Self::StoredSignIn(stored)
        } else if openai_key {
            Self::OpenAiApiKey
        } else {
            Self::Nobody
        }
    }

    /// Returns the variables to set for every call, `openai_key` being the value of `OPENAI_API_KEY`.
    pub fn variables(&self, openai_key: Option<&OsStr>) -> Vec<(OsString, OsString)> {
        match (self, openai_key) {
            (Self::OpenAiApiKey, Some(key)) => vec![("CODEX_API_KEY".into(), key.to_owned())],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnProvider { name } => write!(formatter, "own provider `{name}`"),
            Self::CodexApiKey => formatter.write_str("API key in CODEX_API_KEY"),
            Self::StoredSignIn(Stored::ChatGpt) => formatter.write_str("ChatGPT sign-in stored by Codex"),
            Self::StoredSignIn(Stored::ApiKey) => formatter.write_str("API key stored by Codex"),
            Self::StoredSignIn(Stored::Other) => formatter.write_str("sign-in stored by Codex"),
            Self::OpenAiApiKey => formatter.write_str("API key in OPENAI_API_KEY"),
            Self::Nobody => formatter.write_str("none: run `codex login` or set CODEX_API_KEY"),
        }
    }
}

/// What came of reading a file inside Codex's sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxProbe {
    /// Whether commands can be run in the sandbox; if not, prompts have to carry the files themselves.
    pub works: bool,
    /// What went wrong; empty where nothing did.
    pub detail: String,
}

impl Codex {
    /// Returns the models built into this Codex.
    ///
    /// Returns an error if it cannot say.
    pub fn catalog(&self, cwd: &Path, control: &mut dyn Control) -> anyhow::Result<Catalog> {
        let captured = run(&self.program, cwd, &["debug", "models", "--bundled"], &[], &self.env, self.until, control)?;
        anyhow::ensure!(captured.exit.success(), "list Codex's models: {}", said(&captured));
        Catalog::parse(&captured.stdout)
    }

    /// Returns the names of the user's MCP servers that are switched on, as a call in the folder `cwd` with this
    /// profile would see them: those of plugins are not among them, as plugins are off in every call.
    ///
    /// Returns an error if the user's configuration cannot be read; no call would work then.
    pub fn mcp_servers(
        &self,
        cwd: &Path,
        profile: Option<&str>,
        control: &mut dyn Control,
    ) -> anyhow::Result<Vec<String>> {
        let mut arguments: Vec<&str> = profile.map(|profile| vec!["-p", profile]).unwrap_or_default();
        let untrusted = super::command::untrusted(&projects(cwd));
        arguments.extend(untrusted.iter().flat_map(|projects| ["-c", projects]));
        // A server of a plugin has no entry in the configuration, and switching it off there would make one that
        // Codex refuses to load.
        arguments.extend(["--disable", "plugins", "mcp", "list", "--json"]);
        let captured = run(&self.program, cwd, &arguments, &[], &self.env, self.until, control)?;
        anyhow::ensure!(captured.exit.success(), "list Codex's MCP servers: {}", said(&captured));
        parse_mcp_servers(&captured.stdout)
    }

    /// Asks Codex about its credentials, network and configuration.
    ///
    /// Returns an error if it says nothing readable.
    pub fn doctor(&self, cwd: &Path, control: &mut dyn Control) -> anyhow::Result<Doctor> {
        // With that key set, Codex reports credentials that its calls then do not use.
        let untrusted = super::command::untrusted(&projects(cwd));
        let mut arguments: Vec<&str> = untrusted.iter().flat_map(|projects| ["-c", projects]).collect();
        arguments.extend(["doctor", "--json"]);
        let captured = run(&self.program, cwd, &arguments, &["OPENAI_API_KEY"], &self.env, self.until, control)?;
        Doctor::parse(&captured.stdout).with_context(|| said(&captured))
    }

    /// Tries to read a file inside the read-only sandbox that a call's commands run in.
    ///
    /// Returns an error if the probe itself cannot be laid out.
    pub fn sandbox_probe(&self, cwd: &Path, control: &mut dyn Control) -> anyhow::Result<SandboxProbe> {
        const MARKER: &str = "readable inside the sandbox\n";
        let mut file = tempfile::NamedTempFile::new().context("create a file to read")?;
        file.write_all(MARKER.as_bytes()).context("write a file to read")?;
        let path = file.path().to_str().context("the temporary folder's path is not UTF-8")?;
        let captured = run(
            &self.program,
            cwd,
            &["sandbox", "-P", ":read-only", "--", "cat", path],
            &[],
            &self.env,
            self.until,
            control,
        )?;
        let works = captured.exit.success() && captured.stdout == MARKER.as_bytes();
        Ok(SandboxProbe { works, detail: if works { String::new() } else { said(&captured) } })
    }
}

fn parse_mcp_servers(bytes: &[u8]) -> anyhow::Result<Vec<String>> {
    let value: Value = serde_json::from_slice(bytes).context("read the list of MCP servers")?;
    let list = value.as_array().context("the list of MCP servers is no list")?;
    let on = list.iter().filter(|server| server.get("enabled").and_then(Value::as_bool) != Some(false));
    Ok(on.filter_map(|server| server.get("name").and_then(Value::as_str).map(str::to_owned)).collect())
}

/// Returns the provider that a profile of the user's sets, or `None` where it sets none or does not exist; what a
/// missing profile means is for Codex to say.
///
/// Returns an error if the profile's file is not TOML.
pub fn profile_provider(codex_home: &Path, profile: &str) -> anyhow::Result<Option<String>> {
    let path = codex_home.join(format!("{profile}.config.toml"));
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    let table: toml::Table = text.parse().with_context(|| format!("read {}", path.display()))?;
    Ok(table.get("model_provider").and_then(toml::Value::as_str).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir_all};
    use std::os::unix::fs::OpenOptionsExt;

    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn script(path: &Path, text: &str) {
        create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o755).open(path).unwrap();
        write!(file, "#!/bin/sh\n{text}\n").unwrap();
    }

    /// Another test's fork may for an instant hold a new script open for writing.
    fn patiently<T>(mut work: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
        loop {
            match work() {
                Err(error) if format!("{error:#}").contains("busy") => std::thread::yield_now(),
                other => return other,
            }
        }
    }

    fn version(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    #[test]
    fn versions_are_found_and_compared_by_number() {
        assert_eq!(Version::find("codex-cli 0.169.0\n"), Some(version(0, 169, 0)));
        assert_eq!(Version::find("codex-cli 1.2.3-alpha.4 (abc)"), Some(version(1, 2, 3)));
        assert_eq!(Version::find("built 2026-11-20, v0.170.12."), Some(version(0, 170, 12)));
        for text in ["", "codex", "1.2", "99999999999.1.1"] {
            assert_eq!(Version::find(text), None, "{text}");
        }
        assert!(version(0, 1000, 0) > OLDEST && version(0, 99, 9) < OLDEST);
    }

    #[test]
    fn codex_is_taken_from_the_path_or_from_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        script(&dir.path().join("bin/codex"), "echo codex-cli 0.200.1");
        script(&dir.path().join("own/mine"), "echo codex-cli 0.169.0");
        let path = dir.path().join("bin");
        let found = patiently(|| find(None, Some(path.as_os_str()), dir.path(), &[], None, &mut ())).unwrap();
        assert_eq!(
            found,
            Codex {
                program: path.join("codex"),
                launcher: None,
                version: version(0, 200, 1),
                env: Vec::new(),
                until: None
            }
        );
        let named = dir.path().join("own/mine");
        let found = patiently(|| find(Some(named.as_os_str()), Some(path.as_os_str()), dir.path(), &[], None, &mut ()))
            .unwrap();
        assert_eq!(found.program, named);
    }

    #[test]
    fn the_native_binary_beside_the_launcher_is_preferred() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let modules = root.join("node_modules/@openai");
        script(&modules.join("codex/bin/codex.js"), "echo launcher >&2; exit 1");
        let (os, triple) =
            if cfg!(target_os = "macos") { ("darwin", "apple-darwin") } else { ("linux", "unknown-linux-musl") };
        let short = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let arch = std::env::consts::ARCH;
        let native = modules.join(format!("codex-{os}-{short}/vendor/{arch}-{triple}/bin/codex"));
        script(&native, "echo codex-cli 0.169.0");
        create_dir_all(root.join("bin")).unwrap();
        std::os::unix::fs::symlink("../node_modules/@openai/codex/bin/codex.js", root.join("bin/codex")).unwrap();
        let path = root.join("bin");
        let found = patiently(|| find(None, Some(path.as_os_str()), &root, &[], None, &mut ())).unwrap();
        assert_eq!((found.program, found.launcher), (native, Some(path.join("codex"))));
    }

    #[test]
    fn every_way_of_having_no_codex_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let find_with = |name: &str| {
            let error = patiently(|| find(Some(OsStr::new(name)), None, dir.path(), &[], None, &mut ())).unwrap_err();
            format!("{error:#}")
        };
        let empty = dir.path().as_os_str();
        let missing = format!("{:#}", find(None, Some(empty), dir.path(), &[], None, &mut ()).unwrap_err());
        assert!(missing.contains(INSTALL_HINT), "{missing}");
        assert!(find_with("./nowhere").contains("LOOP_CODEX_BIN"));
        script(&dir.path().join("old"), "echo codex-cli 0.168.9");
        let old = find_with("./old");
        assert!(old.contains("0.168.9") && old.contains("0.169.0") && old.contains(INSTALL_HINT), "{old}");
        script(&dir.path().join("broken"), "echo cannot load library >&2; exit 127");
        assert!(find_with("./broken").contains("cannot load library"));
    }

    #[test]
    fn the_catalog_gives_models_and_efforts() {
        let text = json!({"models": [
            {"slug": "gpt-a", "visibility": "list", "default_reasoning_level": "low", "supported_reasoning_levels":
                [{"effort": "low", "description": "x"}, {"effort": "high"}, {"effort": "max"}]},
            {"slug": "gpt-b", "visibility": "list", "supported_reasoning_levels": [{"effort": "low"}, {"effort": "high"}]},
            {"slug": "gpt-h", "visibility": "hide", "supported_reasoning_levels": [{"effort": "low"}]},
            {"slug": "gpt-n", "visibility": "hide"}
        ]});
        let catalog = Catalog::parse(text.to_string().as_bytes()).unwrap();
        let efforts = |slug: Option<&str>| catalog.efforts(slug).map(|list| list.join(" "));
        assert_eq!(efforts(Some("gpt-a")).as_deref(), Some("low high max"));
        assert_eq!(efforts(None).as_deref(), Some("low high"));
        assert_eq!(efforts(Some("gpt-n")), None);
        assert_eq!(efforts(Some("other")), None);
        assert!(!catalog.model("gpt-h").unwrap().listed);
        assert!(Catalog::parse(b"{}").is_err());
    }

    #[test]
    fn only_servers_that_are_on_are_named() {
        let text = json!([{"name": "a b", "enabled": true}, {"name": "off", "enabled": false}, {"name": "old"}]);
        assert_eq!(parse_mcp_servers(text.to_string().as_bytes()).unwrap(), ["a b", "old"]);
        assert!(parse_mcp_servers(b"Not JSON").is_err());
    }

    fn doctor(auth: &Value, provider: &str) -> Doctor {
        let text = json!({"overallStatus": "fail", "checks": {
            "auth.credentials": auth,
            "network.provider_reachability": {"status": "fail", "summary": "unreachable", "remediation": "Check proxy."},
            "config.load": {"status": "ok", "summary": "config loaded", "remediation": null,
                "details": {"CODEX_HOME": "/h", "model provider": provider, "config.toml": ["/h/config.toml", "missing"]}}
        }});
        Doctor::parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_doctor_is_read_row_by_row() {
        let stored = json!({"status": "ok", "summary": "auth is configured", "remediation": null,
            "details": {"stored API key": "false", "stored ChatGPT tokens": "true"}});
        let found = doctor(&stored, "openai");
        assert_eq!(found.credentials, Row { ok: true, summary: "auth is configured".to_owned(), remedy: None });
        assert_eq!(found.reachability.remedy.as_deref(), Some("Check proxy."));
        assert_eq!((found.stored, found.provider.as_str()), (Some(Stored::ChatGpt), "openai"));
        assert_eq!(found.home, Some(PathBuf::from("/h")));
        let broken = json!({"checks": {"config.load": {"status": "fail", "summary": "config could not be loaded"}}});
        let broken = Doctor::parse(broken.to_string().as_bytes()).unwrap();
        assert!(!broken.config.ok && !broken.credentials.ok && broken.stored.is_none());
    }

    #[test]
    fn the_openai_key_is_handed_on_only_where_nothing_else_would_pay() {
        let none = json!({"status": "fail", "summary": "no Codex credentials were found", "details": {}});
        let key = json!({"status": "ok", "summary": "auth is configured", "details": {"stored API key": "true"}});
        let own = || Account::OwnProvider { name: "x".to_owned() };
        let rows = [
            (doctor(&none, "openai"), None, false, true, Account::OpenAiApiKey),
            (doctor(&none, "openai"), None, true, true, Account::CodexApiKey),
            (doctor(&key, "openai"), None, false, true, Account::StoredSignIn(Stored::ApiKey)),
            (doctor(&key, "openai"), None, true, true, Account::CodexApiKey),
            (doctor(&none, "x"), None, false, true, own()),
            (doctor(&none, "openai"), Some("x"), false, true, own()),
            (doctor(&none, "x"), Some("openai"), false, true, Account::OpenAiApiKey),
            (doctor(&none, "openai"), None, false, false, Account::Nobody),
        ];
        let secret = OsStr::new("sk-1");
        for (doctor, profile, codex_key, openai_key, wanted) in rows {
            let account = Account::decide(&doctor, profile, codex_key, openai_key);
            assert_eq!(account, wanted);
            let handed = account.variables(Some(secret));
            assert_eq!(!handed.is_empty(), wanted == Account::OpenAiApiKey);
            assert!(!account.to_string().contains("sk-1"));
        }
    }

    #[test]
    fn a_profile_may_set_a_provider() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("local.config.toml"), "model_provider = \"ollama\"\n").unwrap();
        std::fs::write(dir.path().join("plain.config.toml"), "model = \"m\"\n").unwrap();
        std::fs::write(dir.path().join("bad.config.toml"), "x = [").unwrap();
        assert_eq!(profile_provider(dir.path(), "local").unwrap().as_deref(), Some("ollama"));
        assert_eq!(profile_provider(dir.path(), "plain").unwrap(), None);
        assert_eq!(profile_provider(dir.path(), "absent").unwrap(), None);
        assert!(profile_provider(dir.path(), "bad").is_err());
    }

    #[test]
    fn the_sandbox_probe_believes_only_what_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let codex = |text: &str, name: &str| {
            let program = dir.path().join(name);
            script(&program, text);
            Codex { program, launcher: None, version: OLDEST, env: Vec::new(), until: None }
        };
        let good = codex("shift 4; exec \"$@\"", "good");
        assert!(patiently(|| good.sandbox_probe(dir.path(), &mut ())).unwrap().works);
        let empty = codex("exit 0", "empty");
        assert!(!patiently(|| empty.sandbox_probe(dir.path(), &mut ())).unwrap().works);
        let broken = codex("echo bwrap: no permissions >&2; exit 1", "broken");
        let probe = patiently(|| broken.sandbox_probe(dir.path(), &mut ())).unwrap();
        assert_eq!(probe, SandboxProbe { works: false, detail: "bwrap: no permissions".to_owned() });
    }
}
