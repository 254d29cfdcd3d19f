//! One call of Codex: files laid out, process run, events followed, outcome classed.
//!
//! It never retries and never looks into the answer. Everything that went in and came out stays in the call's folder.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::command::{Access, Arguments, argv};
use super::events::{Event, EventParser, Usage, activity};
use super::outcome::{Digest, FailureClass, Outcome, classify};
use crate::process::{self, Control, Exit, FirstSignal, Spec};

/// Names of the files in a call's folder.
pub const PROMPT_FILE: &str = "prompt.md";
/// The schema sent along.
pub const SCHEMA_FILE: &str = "schema.json";
/// The event stream as it came.
pub const EVENTS_FILE: &str = "events.jsonl";
/// Standard error as it came.
pub const STDERR_FILE: &str = "stderr.log";
/// The answer's text; there only where there was an answer.
pub const ANSWER_FILE: &str = "answer.json";

/// Between SIGINT, on which Codex ends its own children, and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Most bytes of events and standard error together. Codex caps a command's output in the stream at 1 MiB and puts
/// no cap on their number; this is far above a long honest turn.
const MAX_OUTPUT_BYTES: u64 = 512 << 20;

/// How much of the end of standard error is looked at where the stream says nothing.
const STDERR_TAIL_BYTES: u64 = 16 << 10;

/// Bytes read from the growing stream at a time: with 50 looks a second, far more than Codex writes.
const FOLLOW_BYTES: usize = 1 << 20;

/// What to ask, of whom, and how.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// The Codex executable.
    pub program: PathBuf,
    /// The folder Codex works in.
    pub dir: PathBuf,
    /// An existing folder that takes this call's files. Whatever stands there of an earlier call is replaced.
    pub folder: PathBuf,
    /// The prompt, sent over standard input.
    pub prompt: String,
    /// What the answer has to fit, or `None` for free text.
    pub schema: Option<Value>,
    /// What commands that Codex runs may do.
    pub access: Access,
    /// `None`: Codex's own default.
    pub model: Option<String>,
    /// Reasoning effort. `None`: Codex's own default.
    pub effort: Option<String>,
    /// One of the user's configuration profiles.
    pub profile: Option<String>,
    /// MCP servers to keep out, as Codex lists them in `dir` with this profile: it refuses to start over a name it
    /// does not know.
    pub mcp_off: Vec<String>,
    /// Variables on top of the inherited ones, such as a key handed on.
    pub env: Vec<(OsString, OsString)>,
    /// Wall clock of the whole call, Codex's own retries included.
    pub limit: Duration,
}

/// What a call gave.
#[derive(Debug, Clone)]
pub struct CallOutcome {
    /// The answer or the failure.
    pub outcome: Outcome,
    /// Tokens, marked where they are our estimate.
    pub usage: Usage,
    /// How the process ended.
    pub exit: Exit,
    /// From start to end.
    pub duration: Duration,
    /// Codex's name of the conversation.
    pub thread_id: Option<String>,
    /// Warnings of Codex that did not end the turn.
    pub warnings: Vec<String>,
    /// Number of commands Codex ran to look at the repository.
    pub commands: usize,
}

/// Asks Codex once. `on_activity` is told in a short line whenever Codex turns to something else.
///
/// A failure of Codex is data. Returns an error if the call's files cannot be written or Codex cannot be started.
pub fn call(
    request: &CallRequest,
    control: &mut dyn Control,
    on_activity: &mut dyn FnMut(&str),
) -> anyhow::Result<CallOutcome> {
    let file = |name: &str| request.folder.join(name);
    write(&file(PROMPT_FILE), request.prompt.as_bytes())?;
    let schema = request.schema.as_ref().map(|schema| -> anyhow::Result<PathBuf> {
        // Codex resolves the path in its own working folder.
        let folder = request.folder.canonicalize().with_context(|| format!("find {}", request.folder.display()))?;
        let path = folder.join(SCHEMA_FILE);
        write(&path, &serde_json::to_vec_pretty(schema).context("write a schema")?)?;
        Ok(path)
    });
    // An answer of an earlier attempt must not be taken for this one's.
    match std::fs::remove_file(file(ANSWER_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", file(ANSWER_FILE).display()));
        }
        _ => {}
    }
    let argv = argv(&Arguments {
        program: request.program.clone(),
        dir: request.dir.clone(),
        schema: schema.transpose()?,
        access: request.access,
        model: request.model.clone(),
        effort: request.effort.clone(),
        profile: request.profile.clone(),
        untrusted: super::locate::projects(&request.dir),
        mcp_off: request.mcp_off.clone(),
        features_off: Vec::new(),
    });
    let spec = Spec {
        argv,
        cwd: request.dir.clone(),
        env: super::command::environment(&request.env),
        env_remove: Vec::new(),
        stdin: request.prompt.clone().into_bytes(),
        stdout: file(EVENTS_FILE),
        stderr: file(STDERR_FILE),
        limit: request.limit,
        grace: GRACE,
        first_signal: FirstSignal::Interrupt,
        max_output: MAX_OUTPUT_BYTES,
    };
    let mut follower = Follower {
        control,
        on_activity,
        path: spec.stdout.clone(),
        file: None,
        parser: EventParser::new(),
        digest: Digest::default(),
        shown: String::new(),
    };
    let finished = process::run(&spec, &mut follower)?;
    follower.read_to_end()?;
    let digest = follower.digest;
    let stderr = tail(&spec.stderr)?;
    let outcome = classify(finished.exit, &digest, &stderr, Timestamp::now(), &TimeZone::system());
    if let Outcome::Answer(text) = &outcome {
        write(&file(ANSWER_FILE), text.as_bytes())?;
    }
    let answered = digest.message.as_deref().map_or(0, |text| text.chars().count());
    let usage = digest.usage.unwrap_or_else(|| {
        if unpaid(&outcome, &digest) {
            Usage { estimated: true, ..Usage::default() }
        } else {
            Usage::estimate(request.prompt.chars().count(), answered, digest.commands)
        }
    });
    Ok(CallOutcome {
        outcome,
        usage,
        exit: finished.exit,
        duration: finished.duration,
        thread_id: digest.thread_id,
        warnings: digest.warnings,
        commands: digest.commands,
    })
}

/// Reads the outcome of a call whose caller died, from the event stream in its folder: `None` unless the turn had
/// ended there. What was answered was paid for, and need not be asked again.
///
/// Returns an error if the stream exists but cannot be read.
pub fn recover(folder: &Path) -> anyhow::Result<Option<(Outcome, Usage)>> {
    let path = folder.join(EVENTS_FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let mut parser = EventParser::new();
    let mut digest = Digest::default();
    let mut events = parser.push(&bytes);
    events.extend(parser.finish());
    for event in &events {
        digest.add(event);
    }
    let Some(usage) = digest.usage else { return Ok(None) };
    let outcome = classify(Exit::Code { code: 0 }, &digest, "", Timestamp::now(), &TimeZone::system());
    if let Outcome::Answer(text) = &outcome {
        write(&folder.join(ANSWER_FILE), text.as_bytes())?;
    }
    Ok(matches!(outcome, Outcome::Answer(_)).then_some((outcome, usage)))
}

/// Says whether a call cost nothing: no conversation came about, or its first request was turned down.
fn unpaid(outcome: &Outcome, digest: &Digest) -> bool {
    let Outcome::Failure(failure) = outcome else { return false };
    let turned_down = matches!(
        failure.class,
        FailureClass::SignIn
            | FailureClass::Quota
            | FailureClass::UsageWindow
            | FailureClass::RateLimit
            | FailureClass::ContextTooLong
            | FailureClass::Config
            | FailureClass::TooOld
    );
    digest.thread_id.is_none() || (turned_down && digest.commands == 0 && digest.message.is_none())
}

/// Follows the event stream while Codex writes it.
struct Follower<'a> {
    control: &'a mut dyn Control,
    on_activity: &'a mut dyn FnMut(&str),
    path: PathBuf,
    file: Option<File>,
    parser: EventParser,
    digest: Digest,
    shown: String,
}

impl Follower<'_> {
    /// Reads up to [`FOLLOW_BYTES`] of what is new and returns whether there was anything.
    fn read(&mut self) -> std::io::Result<bool> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path)?),
        };
        let mut bytes = Vec::new();
        Read::by_ref(file).take(FOLLOW_BYTES as u64).read_to_end(&mut bytes)?;
        let events = self.parser.push(&bytes);
        self.take(&events);
        Ok(!bytes.is_empty())
    }

    fn read_to_end(&mut self) -> anyhow::Result<()> {
        while self.read().with_context(|| format!("read {}", self.path.display()))? {}
        let events = self.parser.finish();
        self.take(&events);
        Ok(())
    }

    fn take(&mut self, events: &[Event]) {
        for event in events {
            self.digest.add(event);
            if let Some(line) = activity(event).filter(|line| *line != self.shown) {
                (self.on_activity)(&line);
                self.shown = line;
            }
        }
    }
}

impl Control for Follower<'_> {
    fn stop(&mut self) -> bool {
        self.control.stop()
    }

    fn tick(&mut self) {
        // A failed look is made up for by the next one, or reported by the last.
        let _ = self.read();
        self.control.tick();
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).with_context(|| format!("write {}", path.display()))
}

fn tail(path: &Path) -> anyhow::Result<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(STDERR_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    struct Never;

    impl Control for Never {
        fn stop(&mut self) -> bool {
            false
        }
    }

    fn request(program: PathBuf, dir: &Path, limit: Duration) -> CallRequest {
        CallRequest {
            program,
            dir: dir.to_owned(),
            folder: dir.to_owned(),
            prompt: "what? {{x}} \"q\" `b`\n".repeat(4),
            schema: Some(serde_json::json!({"type": "object"})),
            access: Access::ReadOnly,
            model: None,
            effort: Some("high".to_owned()),
            profile: None,
            mcp_off: Vec::new(),
            env: vec![("CODEX_API_KEY".into(), "k".into())],
            limit,
        }
    }

    /// A stand-in for Codex: a shell script that sees the arguments and standard input.
    fn ask(script: &str, limit: Duration) -> (CallOutcome, Vec<String>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("codex");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o755).open(&program).unwrap();
        write!(file, "#!/bin/sh\n{script}\n").unwrap();
        drop(file);
        let request = request(program, dir.path(), limit);
        let mut lines = Vec::new();
        // Another test's fork may for an instant hold the script open for writing.
        let outcome = loop {
            match call(&request, &mut Never, &mut |line| lines.push(line.to_owned())) {
                Err(error) if format!("{error:#}").contains("busy") => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        (outcome, lines, dir)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_comes_with_its_tokens_and_stands_in_the_folder() {
        let script = r#"cat > got.txt; echo "$@" > args.txt; echo "$CODEX_API_KEY" > key.txt
echo '{"type":"thread.started","thread_id":"t9"}'
echo '{"type":"turn.started"}'
echo '{"type":"item.completed","item":{"type":"error","message":"Model metadata not found"}}'
echo '{"type":"item.completed","item":{"type":"agent_message","text":"{\"a\":1}"}}'
printf '{"type":"turn.completed","usage":{"input_tokens":9,"cached_input_tokens":4,"output_tokens":3,"reasoning_output_tokens":2}}'"#;
        let (outcome, lines, dir) = ask(script, MINUTE);
        assert_eq!(outcome.outcome, Outcome::Answer("{\"a\":1}".to_owned()));
        assert_eq!(outcome.usage, Usage { input: 9, cached_input: 4, output: 3, reasoning: 2, estimated: false });
        assert_eq!(outcome.warnings, ["Model metadata not found"]);
        assert_eq!(outcome.thread_id.as_deref(), Some("t9"));
        assert_eq!(lines, ["thinking", "warning: Model metadata not found", "writing the answer"]);
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(text("got.txt"), text(PROMPT_FILE));
        assert_eq!(text(ANSWER_FILE), "{\"a\":1}");
        assert_eq!(text("key.txt"), "k\n");
        assert!(text("args.txt").ends_with(" -\n"));
    }

    #[test]
    fn a_failed_turn_is_classed_and_its_tokens_estimated_unless_it_was_turned_down() {
        let script = |message: &str| {
            format!(
                r#"echo '{{"type":"thread.started","thread_id":"t"}}'
echo '{{"type":"turn.failed","error":{{"message":"{message}"}}}}'; exit 1"#
            )
        };
        let (outcome, _, _dir) = ask(&script("Quota exceeded. Check your plan and billing details."), MINUTE);
        let Outcome::Failure(failure) = outcome.outcome else { panic!() };
        assert_eq!((failure.class, outcome.usage.input), (FailureClass::Quota, 0));
        let (outcome, _, dir) = ask(&script("stream disconnected before completion"), MINUTE);
        let Outcome::Failure(failure) = outcome.outcome else { panic!() };
        assert_eq!(failure.class, FailureClass::Network);
        assert_eq!(outcome.usage, Usage { input: 9520, estimated: true, ..Usage::default() });
        assert!(!dir.path().join(ANSWER_FILE).exists());
    }

    #[test]
    fn an_answer_that_lies_there_from_before_never_passes_for_this_calls() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("codex");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o755).open(&program).unwrap();
        write!(file, "#!/bin/sh\nexit 1\n").unwrap();
        drop(file);
        std::fs::write(dir.path().join(ANSWER_FILE), "{\"stale\":true}").unwrap();
        std::fs::write(dir.path().join(EVENTS_FILE), "{\"type\":\"turn.completed\"}\n").unwrap();
        let mut request = request(program, dir.path(), MINUTE);
        request.schema = None;
        let outcome = loop {
            match call(&request, &mut Never, &mut |_| ()) {
                Err(error) if format!("{error:#}").contains("busy") => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        let Outcome::Failure(failure) = outcome.outcome else { panic!() };
        assert_eq!(failure.class, FailureClass::Unknown);
        assert!(!dir.path().join(ANSWER_FILE).exists());
    }

    #[test]
    fn silence_ends_at_the_limit() {
        let (outcome, _, _dir) = ask("exec sleep 1000", Duration::from_millis(300));
        let Outcome::Failure(failure) = outcome.outcome else { panic!() };
        assert_eq!((failure.class, outcome.exit), (FailureClass::TimedOut, Exit::TimedOut));
        assert!(outcome.duration < Duration::from_secs(20));
    }

    #[test]
    fn a_codex_that_knows_no_such_flag_is_too_old() {
        let (outcome, _, _dir) = ask("echo \"error: unexpected argument '--json' found\" >&2; exit 2", MINUTE);
        let Outcome::Failure(failure) = outcome.outcome else { panic!() };
        assert_eq!(failure.class, FailureClass::TooOld);
        assert!(failure.message.contains("--json"));
        assert_eq!(outcome.usage, Usage { estimated: true, ..Usage::default() });
    }
}
