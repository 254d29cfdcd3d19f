//! A home of its own for each test: nothing of the user's set-up gets in, nothing gets out.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use loop_companion::scripted::{Reply, ScriptedServer};

use super::{Repo, Run, Running, codex_bin, process_table, processes_of};

/// A loop with a scripted model takes seconds; this only ends what hangs.
const OUTER_LIMIT: Duration = Duration::from_secs(120);

/// A temporary folder with a home, a CODEX_HOME, a cache folder and a cleared environment that names them.
pub(crate) struct TestEnvironment {
    root: PathBuf,
    env: Vec<(OsString, OsString)>,
    // Last, so that the folder goes when everything else is over.
    _folder: tempfile::TempDir,
}

impl TestEnvironment {
    /// Makes the folders and a CODEX_HOME whose provider is `server`.
    pub(crate) fn new(server: &ScriptedServer) -> Self {
        Self::with_codex_config(&server.codex_config())
    }

    /// Makes the folders and a CODEX_HOME with this `config.toml`.
    pub(crate) fn with_codex_config(config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("cloop-it-").tempdir().unwrap();
        // On macOS the temporary folder is behind a link, and programs report the real path.
        let root = folder.path().canonicalize().unwrap();
        for name in ["home", "codex", "cache", "config", "state", "tmp"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("codex/config.toml"), config).unwrap();
        let inherited = |name: &str| std::env::var_os(name).unwrap_or_default();
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        let mut set = |name: &str, value: &OsStr| env.push((name.into(), value.into()));
        set("PATH", &inherited("PATH"));
        set("HOME", root.join("home").as_os_str());
        set("CODEX_HOME", root.join("codex").as_os_str());
        set("XDG_CACHE_HOME", root.join("cache").as_os_str());
        set("XDG_CONFIG_HOME", root.join("config").as_os_str());
        set("XDG_STATE_HOME", root.join("state").as_os_str());
        set("TMPDIR", root.join("tmp").as_os_str());
        set("LANG", OsStr::new("C.UTF-8"));
        set("LOOP_CODEX_BIN", codex_bin().as_os_str());
        for (name, value) in super::repo::GIT_ENV {
            set(name, OsStr::new(value));
        }
        // Where toolchains are kept below the user's home, programs find them only through these.
        let home = PathBuf::from(inherited("HOME"));
        for (name, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv")] {
            let value = std::env::var_os(name).unwrap_or_else(|| home.join(default).into());
            if Path::new(&value).is_dir() {
                set(name, &value);
            }
        }
        Self { root, env, _folder: folder }
    }

    /// The temporary folder: everything of this test lies in it.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The CODEX_HOME.
    pub(crate) fn codex_home(&self) -> PathBuf {
        self.root.join("codex")
    }

    /// Where `loop-companion` may keep its worktrees.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// All variables a child sees.
    pub(crate) fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// Sets a variable for every later child.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.env.push((name.into(), value.into()));
    }

    /// Takes a variable away from every later child.
    pub(crate) fn unset(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// Makes an empty repository `name` in the temporary folder.
    pub(crate) fn repo(&self, name: &str) -> Repo {
        Repo::init(&self.root.join(name))
    }

    /// A command with nothing but this environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, cwd: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(cwd);
        command
    }

    /// Runs `loop-companion` to its end in `cwd`.
    pub(crate) fn cloop<A: AsRef<OsStr>>(&self, cwd: &Path, arguments: impl IntoIterator<Item = A>) -> Run {
        self.spawn_cloop(cwd, arguments, "").finish(OUTER_LIMIT)
    }

    /// Starts `loop-companion` in `cwd` with this text on standard input.
    pub(crate) fn spawn_cloop<A: AsRef<OsStr>>(
        &self,
        cwd: &Path,
        arguments: impl IntoIterator<Item = A>,
        stdin: &str,
    ) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_loop-companion"), cwd);
        command.args(arguments);
        Running::start(command, stdin, &self.root.join("tmp"))
    }

    /// Starts a shell command of a case or a user in `cwd`.
    pub(crate) fn shell(&self, cwd: &Path, command: &str) -> Run {
        let mut shell = self.command("sh", cwd);
        shell.args(["-c", command]);
        Running::start(shell, "", &self.root.join("tmp")).finish(OUTER_LIMIT)
    }

    /// Starts `codex exec --json` in `cwd` with this prompt on standard input.
    pub(crate) fn spawn_codex<A: AsRef<OsStr>>(
        &self,
        cwd: &Path,
        arguments: impl IntoIterator<Item = A>,
        prompt: &str,
    ) -> Running {
        let mut command = self.command(codex_bin(), cwd);
        command.args(["exec", "--json", "--skip-git-repo-check"]).args(arguments).arg("-");
        Running::start(command, prompt, &self.root.join("tmp"))
    }

    /// Runs `codex exec --json` to its end.
    pub(crate) fn codex<A: AsRef<OsStr>>(
        &self,
        cwd: &Path,
        arguments: impl IntoIterator<Item = A>,
        prompt: &str,
    ) -> Run {
        self.spawn_codex(cwd, arguments, prompt).finish(OUTER_LIMIT)
    }

    /// Fails unless every process of this test is gone within 5 seconds.
    pub(crate) fn assert_no_processes(&self) {
        let left = process_table::wait_until_gone(&self.root, Duration::from_secs(5));
        assert!(left.is_empty(), "processes were left behind: {left:#?}");
    }
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        // Only what a failed test leaves: each of these was started by it, as its environment or folder shows.
        for entry in processes_of(&self.root) {
            entry.kill();
        }
    }
}
