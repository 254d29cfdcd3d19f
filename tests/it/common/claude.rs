//! The real Claude Code with the plugin, in a configuration of its own, and in a terminal where a test needs one.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MessagesServer, Run, Running, TestEnvironment, claude_bin};

/// A turn with a scripted model takes a second or two; this only ends what hangs.
const OUTER_LIMIT: Duration = Duration::from_secs(180);

/// What the plugin is made of, by the project's root.
const PARTS: [&str; 10] = [
    ".claude-plugin",
    ".codex-plugin",
    "commands",
    "skills",
    "hooks",
    "bin",
    "README.md",
    "LICENSE",
    "Cargo.toml",
    "Cargo.lock",
];

/// Returns this machine as the launcher names it.
pub(crate) fn platform() -> String {
    let output = Command::new("uname").arg("-sm").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_lowercase().replace(' ', "-")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    }
}

/// Claude Code, the plugin's folder, and the model behind it.
pub(crate) struct Claude {
    pub(crate) environment: TestEnvironment,
    pub(crate) model: MessagesServer,
    /// The staged plugin, with the tested program as the one shipped for this platform.
    pub(crate) plugin: PathBuf,
}

impl Claude {
    /// Where the plugin is staged: a folder whose name has blanks and a quote.
    pub(crate) fn folder(environment: &TestEnvironment) -> PathBuf {
        environment.root().join("Ada's own plugin")
    }

    /// Stages the plugin, and a configuration for Claude Code.
    pub(crate) fn new(mut environment: TestEnvironment, model: MessagesServer) -> Self {
        let plugin = Self::folder(&environment);
        for part in PARTS {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &plugin.join(part));
        }
        let program = plugin.join("bin/platforms").join(platform()).join("loop-companion");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        copy(Path::new(env!("CARGO_BIN_EXE_loop-companion")), &program);
        let config = environment.root().join("claude");
        fs::create_dir_all(&config).unwrap();
        environment.set("CLAUDE_CONFIG_DIR", config.as_os_str());
        environment.set("ANTHROPIC_API_KEY", "fake-key");
        environment.set("ANTHROPIC_BASE_URL", model.url());
        environment.set("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        environment.set("DISABLE_AUTOUPDATER", "1");
        // Bypassing permissions is refused to root elsewhere.
        environment.set("IS_SANDBOX", "1");
        environment.set("TERM", "xterm-256color");
        Self { environment, model, plugin }
    }

    /// Runs `claude` to its end.
    pub(crate) fn claude<A: AsRef<OsStr>>(&self, cwd: &Path, arguments: impl IntoIterator<Item = A>) -> Run {
        let mut command = self.environment.command(claude_bin(), cwd);
        command.args(arguments);
        Running::start(command, "", &self.environment.root().join("tmp")).finish(OUTER_LIMIT)
    }

    /// Adds the plugin's folder as a marketplace and installs the plugin from it.
    pub(crate) fn install(&self) {
        let folder = self.plugin.to_str().unwrap();
        self.claude(self.environment.root(), ["plugin", "marketplace", "add", folder]).expect_code(0);
        self.claude(self.environment.root(), ["plugin", "install", "cloop@codexloop"]).expect_code(0);
    }

    /// Types a prompt in a session without a terminal and returns its final document.
    #[track_caller]
    pub(crate) fn prompt(&self, cwd: &Path, text: &str, arguments: &[&str]) -> Value {
        let all = ["-p", text, "--output-format", "json"];
        self.claude(cwd, all.iter().chain(arguments)).expect_code(0).json()
    }

    /// Starts a session in a terminal of its own, the folder trusted.
    pub(crate) fn session(&self, cwd: &Path, arguments: &[&str]) -> Session {
        let config = self.environment.root().join("claude/.claude.json");
        let mut known: Value =
            fs::read(&config).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_else(|| json!({}));
        known["hasCompletedOnboarding"] = true.into();
        known["theme"] = "dark".into();
        known["customApiKeyResponses"] = json!({"approved": ["fake-key"], "rejected": []});
        known["projects"][cwd.to_str().unwrap()]["hasTrustDialogAccepted"] = true.into();
        fs::write(&config, known.to_string()).unwrap();
        Session::start(self, cwd, arguments)
    }
}

/// Makes a command for the session's own tmux.
type Tmux = Box<dyn Fn(&[&str]) -> Command>;

/// A session of Claude Code in tmux. Dropping it ends the terminal.
pub(crate) struct Session {
    socket: PathBuf,
    tmux: Tmux,
}

impl Session {
    fn start(claude: &Claude, cwd: &Path, arguments: &[&str]) -> Self {
        let root = claude.environment.root().to_owned();
        let env: Vec<_> = claude.environment.env().to_vec();
        let (folder, socket) = (cwd.to_owned(), root.join("tmp/tmux"));
        let own = socket.clone();
        let tmux = move |arguments: &[&str]| {
            let mut command = Command::new("tmux");
            command.env_clear().envs(env.iter().map(|(name, value)| (name, value))).current_dir(&folder);
            command.arg("-S").arg(&own).args(["-f", "/dev/null"]).args(arguments);
            command
        };
        let session = Self { socket, tmux: Box::new(tmux) };
        let program = claude_bin();
        let mut words = vec!["new-session", "-d", "-x", "160", "-y", "60", program.to_str().unwrap()];
        words.extend(arguments);
        let status = (session.tmux)(&words).status().expect("the interactive tests need tmux on PATH");
        assert!(status.success(), "tmux did not start");
        session
    }

    /// What the terminal shows, with what has scrolled away.
    pub(crate) fn screen(&self) -> String {
        let output = (self.tmux)(&["capture-pane", "-p", "-J", "-S", "-500"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a line and presses return.
    pub(crate) fn line(&self, text: &str) {
        assert!((self.tmux)(&["send-keys", "-l", text]).status().unwrap().success());
        // The prompt takes a return in the same burst for a line end.
        self.wait_for("the typed text", |screen| screen.contains(text));
        self.key("Enter");
    }

    /// Presses a key.
    pub(crate) fn key(&self, name: &str) {
        assert!((self.tmux)(&["send-keys", name]).status().unwrap().success());
    }

    /// Waits until the terminal shows what `ready` looks for; fails, showing it, after two minutes.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, ready: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let screen = self.screen();
            if ready(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "no {what} on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = (self.tmux)(&["kill-server"]).output();
        let _ = fs::remove_file(&self.socket);
    }
}
