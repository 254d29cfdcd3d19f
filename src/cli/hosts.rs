//! The hidden commands that hosts run: hooks, command files, monitors. They exit 0 whatever happens: a host takes
//! anything else for a reason to stop what the user is doing.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::arguments::{Arguments, Command, Hook, HookEvent, Host, HostService};
use super::hook::{self, Event, Typed};
use super::{commands, output};
use crate::config::{self, Environment};
use crate::error;
use crate::operations::{self, Session, TurnEnd, Watch};
use crate::runtime::StopSignal;

/// Longest document of an event that is read.
const MAX_EVENT: u64 = 4 << 20;

/// How often a monitor looks for an end; a look reads the journal.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs `hook` or `host` and exits 0.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    // Within a loop of our own nothing is answered: its Codex and its checks are no session of the user.
    if !config::within_a_loop() {
        let _ = catch_unwind(AssertUnwindSafe(|| match Arguments::try_parse_from(arguments) {
            Ok(parsed) => {
                let session = Session { dir: parsed.dir, environment: Environment::read(), worker_log: None };
                match parsed.command {
                    Command::Hook(event) => hook(&event),
                    Command::Host(service) => host(service, &session),
                    _ => {}
                }
            }
            Err(error) => {
                let _ = error.print();
            }
        }));
    }
    ExitCode::SUCCESS
}

/// Answers a hook.
fn hook(hook: &Hook) {
    let mut text = Vec::new();
    let _ = std::io::stdin().take(MAX_EVENT).read_to_end(&mut text);
    let event = Event::read(&String::from_utf8_lossy(&text));
    let dir = event.cwd.clone().unwrap_or_else(|| PathBuf::from("."));
    let answer = match hook.event {
        HookEvent::Prompt => match hook::typed(&event) {
            Typed::Run(arguments) => Some(hook::answered(&show(*arguments, &dir))),
            Typed::Say(said) => Some(hook::answered(&said)),
            Typed::Context(text) => Some(hook::beside(&text)),
            Typed::Start(arguments) => {
                let args = &arguments["args"];
                let id = args.is_object().then(|| operations::keep_typed(&dir, args)).flatten();
                hook::kept(id.as_deref(), &arguments).map(|text| hook::beside(&text))
            }
            Typed::Review(words) => {
                let id = operations::keep_typed(&dir, &words.into());
                hook::review_kept(id.as_deref(), &event).map(|text| hook::beside(&text))
            }
            Typed::Pass => None,
        },
        HookEvent::SessionStart => {
            hook::session_start(operations::watched(&dir).as_deref(), operations::news(&dir).as_ref())
        }
        HookEvent::TurnStart => {
            operations::turn_begins(&dir, &event.session_id, &event.prompt);
            None
        }
        HookEvent::Stop => {
            let session = Session { dir: dir.clone(), environment: Environment::read(), worker_log: None };
            let end = TurnEnd {
                session: &event.session_id,
                sent_back: event.stop_hook_active,
                said: event.last_assistant_message.as_deref().unwrap_or_default(),
            };
            let gate = operations::turn_ended(&session, end, &mut Quiet::default());
            hook::turn_ended(operations::news(&dir).as_ref(), gate.as_ref())
        }
        HookEvent::FileChanged => hook::file_changed(operations::news(&dir).as_ref()),
    };
    if let Some(answer) = answer {
        output::text(&answer.to_string());
    }
}

/// Waits for a review without a word; a signal, such as a host sends that gives up, ends it.
#[derive(Default)]
struct Quiet(Option<StopSignal>);

impl Watch for Quiet {
    fn activity(&mut self, _: &str) {}

    fn stop(&mut self) -> bool {
        if self.0.is_none() {
            // Only now: a hook that waits for nothing is better ended by the signal itself.
            self.0 = StopSignal::listen(Path::new("/nonexistent/stop"), false).ok();
        }
        self.0.as_ref().is_some_and(|stop| stop.signal().is_some())
    }
}

/// Serves a host.
fn host(host: Host, session: &Session) {
    match host.service {
        HostService::Show { words } => {
            let argv = ["loop-companion".to_owned()].into_iter().chain(words);
            let text = match Arguments::try_parse_from(argv) {
                Ok(arguments) => show(arguments, &session.dir),
                Err(error) => error.render().to_string(),
            };
            output::text(&text);
        }
        HostService::Typed { id } => {
            let kept = operations::typed::<Vec<String>>(session, &id).map(Arguments::try_parse_from);
            let text = match kept {
                // What was kept is from a folder that other programs write to as well: nothing else is run.
                Ok(Ok(arguments @ Arguments { command: Command::Review(_), .. })) => show(arguments, &session.dir),
                Ok(Ok(_)) => "That is no review.".into(),
                Ok(Err(error)) => error.render().to_string(),
                Err(error) => error.to_string(),
            };
            output::text(&text);
        }
        HostService::Monitor => monitor(session),
    }
}

/// Runs a command in a session's folder and returns what it printed, its error too.
fn show(arguments: Arguments, session_dir: &Path) -> String {
    let Arguments { dir, json, command } = arguments;
    let session = Session { dir: session_dir.join(dir), environment: Environment::read(), worker_log: None };
    let (ran, mut text) = output::captured(|| commands::run(command, &session, json));
    if let Err(error) = ran {
        let (_, document) = error::describe(&error);
        if json {
            return serde_json::to_string_pretty(&document).unwrap_or_default();
        }
        let _ = writeln!(text, "error: {}", document.error.message);
        if let Some(hint) = document.error.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
    }
    text
}

/// Prints a line whenever a loop that was seen running has ended or waits, until the host is gone. Each line costs
/// the user a turn of the model, so nothing else is printed.
fn monitor(session: &Session) {
    let parent = rustix::process::getppid();
    let mut before: Option<operations::News> = operations::news(&session.dir);
    while rustix::process::getppid() == parent {
        std::thread::sleep(LOOK_EVERY);
        let now = operations::news(&session.dir);
        let seen = before.as_ref().map(|before| before.mark.as_str());
        if let Some(news) = now.as_ref().filter(|now| (now.ended || now.paused) && seen != Some(now.mark.as_str())) {
            if writeln!(std::io::stdout(), "{}", news.line).is_err() {
                return;
            }
            // The session shows the line, so its next turn need not say it again.
            hook::unseen(news);
        }
        before = now;
    }
}
