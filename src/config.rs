//! The only reader of the environment and of configuration files.
//!
//! What a person types wins over the files. How the repository's `.cloop.toml` and the user's own file go together is
//! the matter of `operations::layers`; here is what they say, and which files of repositories the user trusts.

#![expect(clippy::disallowed_methods, reason = "the reader of the environment")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::error::Failure;
use crate::masking;
use crate::options::{self, Options, ReviewSettings};
use crate::plan::sha256;
use crate::store::write_atomic;

/// Name of the repository's configuration file, at the work-tree root.
pub const REPOSITORY_FILE: &str = ".cloop.toml";

/// Largest configuration file read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `LOOP_CODEX_BIN`: the Codex executable to use.
    pub codex_bin: Option<PathBuf>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// The user's configuration file of this program.
    pub user_file: Option<PathBuf>,
    /// The user's cache folder.
    pub cache: PathBuf,
    /// The user's folder for state that outlives a restart.
    pub state: PathBuf,
    /// `CODEX_TIMEOUT`: seconds a review may take.
    pub codex_timeout: Option<String>,
    /// `CODEX_REVIEW_LOG`: file that takes a line for each review.
    pub review_log: Option<PathBuf>,
    /// The host's session, as Claude Code or Codex names it.
    pub host_session: Option<String>,
    /// `CODEX_HOME`, or its default.
    pub codex_home: Option<PathBuf>,
    /// Whether `OPENAI_API_KEY` and `CODEX_API_KEY` are set.
    pub openai_api_key: Option<OsString>,
    pub codex_api_key: bool,
    /// Variables set for every Codex command, on top of the inherited ones.
    pub codex_env: Vec<(OsString, OsString)>,
    /// `PYTEST_ADDOPTS`, which the checks' own setting is added to.
    pub pytest_addopts: Option<String>,
}

/// Returns the values of the environment's variables that hold secrets, by their names.
pub fn secrets() -> Vec<String> {
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    text.filter(|(name, value)| masking::is_secret_variable(name, value)).map(|(_, value)| value).collect()
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Says whether this process runs inside one that a loop started.
pub fn within_a_loop() -> bool {
    variable(crate::process::WORKER_MARK).is_some()
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> Self {
        let home = variable("HOME").map(PathBuf::from);
        let under_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
        let config = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| under_home(".config"));
        let cache_default = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        let cache = variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| under_home(cache_default))
            .unwrap_or_else(std::env::temp_dir);
        let state = variable("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| under_home(".local/state"))
            .unwrap_or_else(|| cache.clone());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        Self {
            state,
            codex_timeout: text("CODEX_TIMEOUT"),
            review_log: variable("CODEX_REVIEW_LOG").map(PathBuf::from),
            host_session: ["CLOOP_SESSION", "CLAUDE_CODE_SESSION_ID", "CODEX_SESSION_ID", "CODEX_THREAD_ID"]
                .into_iter()
                .find_map(text),
            codex_bin: variable("LOOP_CODEX_BIN").map(PathBuf::from),
            path: variable("PATH"),
            user_file: config.map(|config| config.join("cloop").join("config.toml")),
            cache,
            codex_home: variable("CODEX_HOME").map(PathBuf::from).or_else(|| under_home(".codex")),
            openai_api_key: variable("OPENAI_API_KEY"),
            codex_api_key: variable("CODEX_API_KEY").is_some(),
            pytest_addopts: variable("PYTEST_ADDOPTS").and_then(|value| value.into_string().ok()),
            codex_env: Vec::new(),
            home,
        }
    }
}

/// What the two files say.
#[derive(Debug, Default)]
pub struct Files {
    pub repository: Options,
    pub user: Options,
    /// Whether the user trusts the repository's file as it is now.
    pub trusted: bool,
}

/// Reads the repository's file and the user's.
///
/// Returns a usage error that names file and line if one cannot be read as configuration.
pub fn files(root: &Path, environment: &Environment) -> anyhow::Result<Files> {
    let path = root.join(REPOSITORY_FILE);
    let (repository, trusted) = match read_repository_file(root)? {
        Some(text) => (parse(&path, &text)?, is_trusted(environment, &path, &text)?),
        None => (Options::default(), false),
    };
    if !repository.prices.is_empty() {
        return Err(Failure::usage(
            format!("{REPOSITORY_FILE} names prices, which are the user's to say"),
            "put the table `prices` into your own configuration file",
        )
        .into());
    }
    let user = match &environment.user_file {
        Some(path) => read_file(path)?.map(|text| parse(path, &text)).transpose()?.unwrap_or_default(),
        None => Options::default(),
    };
    Ok(Files { repository, user, trusted })
}

/// Returns what the user's file says of reviews, as far as the repository's does not say less.
///
/// Returns a usage error that names file and line if a file cannot be read as configuration.
pub fn review_settings(root: &Path, environment: &Environment) -> anyhow::Result<ReviewSettings> {
    let files = files(root, environment)?;
    Ok(ReviewSettings::of(&files.user.review, &files.repository.review))
}

/// Reads the repository's file. A link there could show any file of the user's in a message.
fn read_repository_file(root: &Path) -> anyhow::Result<Option<String>> {
    let path = root.join(REPOSITORY_FILE);
    if std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
        return Err(Failure::usage(
            format!(
                "{} is a symbolic link; a repository's configuration is read from a plain file only",
                path.display()
            ),
            "put a plain file there, or move the link away",
        )
        .into());
    }
    read_file(&path)
}

fn read_file(path: &Path) -> anyhow::Result<Option<String>> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot_read(path, &error)),
    };
    if !meta.is_file() || meta.len() > MAX_FILE {
        return Err(Failure::usage(
            format!("{} is no configuration file: it is not a regular file of at most 1 MiB", path.display()),
            "move it away",
        )
        .into());
    }
    std::fs::read_to_string(path).map(Some).map_err(|error| cannot_read(path, &error))
}

/// Returns the usage error of a configuration file that is there and cannot be read.
fn cannot_read(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let (why, hint) = match error.kind() {
        std::io::ErrorKind::InvalidData => {
            ("it is not UTF-8 text".to_owned(), "save it as UTF-8 text, or move it away")
        }
        _ => (error.to_string(), "let yourself read it, or move it away"),
    };
    Failure::usage(format!("{} cannot be read: {why}", path.display()), hint).into()
}

/// Returns the file that says which repositories' files the user trusts: path and digest of each.
fn trust_file(environment: &Environment) -> Option<PathBuf> {
    environment.user_file.as_ref().map(|path| path.with_file_name("trusted.json"))
}

fn trusted_files(environment: &Environment) -> anyhow::Result<BTreeMap<String, String>> {
    let Some(path) = trust_file(environment) else { return Ok(BTreeMap::new()) };
    let Some(text) = read_file(&path)? else { return Ok(BTreeMap::new()) };
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(
            format!("{} cannot be read: {error}", path.display()),
            "move it away and trust each repository again with `loop-companion trust`",
        )
        .into()
    })
}

fn is_trusted(environment: &Environment, path: &Path, text: &str) -> anyhow::Result<bool> {
    let known = trusted_files(environment)?;
    Ok(known.get(&path.display().to_string()).is_some_and(|digest| *digest == sha256(text)))
}

/// Trusts the repository's file with exactly its present content, or takes that back. Returns what it says, or `None`
/// where there is no file.
///
/// Returns an error if the file cannot be read as configuration, or the trust cannot be written down.
pub fn set_trust(root: &Path, environment: &Environment, trusted: bool) -> anyhow::Result<Option<Options>> {
    let path = root.join(REPOSITORY_FILE);
    let text = read_repository_file(root)?;
    let options = text.as_deref().map(|text| parse(&path, text)).transpose();
    let mut known = trusted_files(environment)?;
    let key = path.display().to_string();
    let options = if trusted {
        if let Some(text) = &text {
            known.insert(key, sha256(text));
        }
        options?
    } else {
        known.remove(&key);
        options.ok().flatten()
    };
    let file = trust_file(environment).context("there is no home folder to keep the trust in; set HOME")?;
    if let Some(folder) = file.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    write_atomic(&file, &serde_json::to_vec_pretty(&known).context("write down the trust")?)?;
    Ok(options)
}

fn parse(path: &Path, text: &str) -> anyhow::Result<Options> {
    let options: Options = toml::from_str(text).map_err(|error| {
        let hint = options::nearest_key(error.message())
            .map_or_else(|| options::KEYS_HINT.to_owned(), |near| format!("did you mean `{near}`?"));
        // Place and line first, then what is wrong there.
        let whole = error.to_string();
        let shown = whole.replacen(error.message(), &options::plain(error.message()), 1);
        Failure::usage(format!("{}: {}", path.display(), shown.trim()), hint)
    })?;
    options
        .check()
        .map_err(|cause| Failure::usage(format!("{}: {cause}", path.display()), "correct it in that file"))?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_the_same_options_as_flags() {
        let options =
            parse(Path::new("f"), "test-cmd = \"npm test\"\nmax-time = \"30m\"\nmax-iter = 5\nwhere = \"in-place\"")
                .unwrap();
        assert_eq!(options.test_cmd.as_deref(), Some("npm test"));
        assert_eq!(options.max_time.map(|span| span.ms), Some(1_800_000));
        assert_eq!(options.place, Some(crate::plan::Where::InPlace));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        let error = parse(Path::new("f"), "test-comand = \"x\"").unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.hint.as_deref(), Some("did you mean `test-cmd`?"));
        assert!(failure.message.contains("test-comand"), "{}", failure.message);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_a_usage_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(REPOSITORY_FILE);
        for (content, told) in [
            (&b"test-cmd = \"caf\xe9\""[..], "not UTF-8"),
            (b"jobs = 0\n", "jobs is 0"),
            (b"max-iter = \"5\"\n", "expected a positive whole number"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = files(folder.path(), &Environment::default()).unwrap_err();
            let failure = error.downcast_ref::<Failure>().unwrap();
            assert_eq!(failure.code as u8, 2, "{failure}");
            assert!(failure.message.contains(told) && failure.message.contains(REPOSITORY_FILE), "{failure}");
            assert!(failure.hint.is_some(), "{failure}");
        }
    }
}
