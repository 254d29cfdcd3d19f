//! The real Claude Code with the plugin, in a configuration of its own, and in a terminal where a test needs one.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::terminal::PROMPT;
use super::{MessagesServer, Run, Running, Terminal, TestEnvironment, claude_bin};

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
    pub(crate) fn new(environment: TestEnvironment, model: MessagesServer) -> Self {
        let plugin = Self::folder(&environment);
        Self::staged(environment, model, plugin)
    }

    /// Stages the plugin in this folder, and a configuration for Claude Code.
    pub(crate) fn staged(mut environment: TestEnvironment, model: MessagesServer, plugin: PathBuf) -> Self {
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

    /// Starts a session without a terminal that takes one prompt after the other.
    pub(crate) fn conversation(&self, cwd: &Path, arguments: &[&str]) -> Conversation {
        let mut command = self.environment.command(claude_bin(), cwd);
        command.args(["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, events) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Conversation { input: child.stdin.take(), child, events, introduction: Value::Null }
    }

    /// Starts a session in a terminal of its own, the folder trusted. The plugin's hooks have answered its beginning and
    /// what they had watched is watched.
    pub(crate) fn session(&self, cwd: &Path, arguments: &[&str]) -> Terminal {
        let config = self.environment.root().join("claude/.claude.json");
        let mut known: Value =
            fs::read(&config).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_else(|| json!({}));
        known["hasCompletedOnboarding"] = true.into();
        known["theme"] = "dark".into();
        known["customApiKeyResponses"] = json!({"approved": ["fake-key"], "rejected": []});
        known["projects"][cwd.to_str().unwrap()]["hasTrustDialogAccepted"] = true.into();
        fs::write(&config, known.to_string()).unwrap();
        let log = tempfile::Builder::new().suffix(".log").tempfile_in(self.environment.root()).unwrap();
        let log = log.into_temp_path().keep().unwrap();
        let mut command = self.environment.command(claude_bin(), cwd);
        command.arg("--debug-file").arg(&log).args(arguments);
        let session = Terminal::start(command, Some(log));
        session.wait_for("prompt", |screen| screen.contains(PROMPT));
        // Before that no change of the watched file is seen, however long the machine takes to get there.
        session.wait_for_log("FileChanged: watching");
        session
    }
}

/// A session without a terminal. Dropping it closes its input and waits for its end.
pub(crate) struct Conversation {
    child: Child,
    input: Option<ChildStdin>,
    events: Receiver<String>,
    /// What the session says of itself, after the first prompt.
    pub(crate) introduction: Value,
}

impl Conversation {
    /// Types a prompt and returns the final document of its turns.
    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) -> Value {
        let message = json!({"type": "user", "message": {"role": "user", "content": text}});
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
        loop {
            let line = self.events.recv_timeout(OUTER_LIMIT).expect("the session answers every prompt");
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
            match (event["type"].as_str(), event["subtype"].as_str()) {
                (Some("result"), _) => return event,
                (Some("system"), Some("init")) => self.introduction = event,
                _ => {}
            }
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        drop(self.input.take());
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = (self.child.kill(), self.child.wait());
    }
}
