//! A terminal of a test's own: a program on a pseudo terminal, and what its screen shows.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pty_process::blocking::{self, Pty};
use rustix::process::{Pid, Signal, kill_process_group};

/// Rows and columns: tall enough that nothing scrolls away.
const SIZE: (u16, u16) = (240, 160);

/// What is waited for comes sooner than this, on the busiest machine too, unless something hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// What the line begins with that is typed into.
pub(crate) const PROMPT: char = '❯';

/// How long a program is watched before it counts as having nothing left to do.
const MOMENT: Duration = Duration::from_millis(400);

/// Returns what a process is doing, as `ps` abbreviates it: `S` and `I` sleep. `None` where it is gone.
fn state_of(pid: u32) -> Option<char> {
    let state = if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        stat.rsplit_once(") ")?.1.to_owned()
    } else {
        let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().ok()?;
        String::from_utf8(output.stdout).ok()?
    };
    state.trim_start().chars().next()
}

/// What the program has written so far.
struct Seen {
    screen: vt100::Parser,
    raw: Vec<u8>,
    over: bool,
}

/// A program in a terminal. Dropping it ends the program and what it started in its group.
pub(crate) struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    /// Where the program writes what it does, if anywhere.
    log: Option<PathBuf>,
}

impl Terminal {
    /// Starts the command as the leader of a session of its own in a new terminal; it writes this log.
    pub(crate) fn start(command: Command, log: Option<PathBuf>) -> Self {
        let (pty, pts) = blocking::open().unwrap();
        pty.resize(pty_process::Size::new(SIZE.0, SIZE.1)).unwrap();
        let child = blocking::Command::from(command).spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let seen = Seen { screen: vt100::Parser::new(SIZE.0, SIZE.1, 0), raw: Vec::new(), over: false };
        let seen = Arc::new((Mutex::new(seen), Condvar::new()));
        let (reader, shared) = (Arc::clone(&pty), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            loop {
                // The last program that has the terminal open ends it, on Linux with an error.
                let read = (&*reader).read(&mut bytes).unwrap_or(0);
                let mut seen = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                seen.screen.process(&bytes[..read]);
                seen.raw.extend(&bytes[..read]);
                seen.over = read == 0;
                shared.1.notify_all();
                if seen.over {
                    return;
                }
            }
        });
        Self { child, pty, seen, log }
    }

    /// Presses keys, as a terminal sends them.
    pub(crate) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Picks one of the numbered choices below a question, when it is shown.
    #[track_caller]
    pub(crate) fn choose(&self, question: &str, label: &str) -> String {
        let row = |screen: &str| -> Option<String> {
            let (_, below) = screen.rsplit_once(question)?;
            let row = below.lines().find(|line| line.trim_end().ends_with(&format!(". {label}")))?;
            row.chars().find(char::is_ascii_digit).map(String::from)
        };
        let shown = self.wait_for(question, |screen| row(screen).is_some());
        let key = row(&shown).unwrap();
        self.press_until(question, &key, |screen| row(screen).is_none());
        shown
    }

    /// Presses keys until the screen shows that they were taken. A dialog that has just opened takes none, so that
    /// nobody answers what he has not read; they are pressed again only where the program has nothing left to do and
    /// still waits, however slow the machine is: a key that is merely late must not answer the next question too.
    #[track_caller]
    fn press_until(&self, what: &str, keys: &str, taken: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.press(keys);
            loop {
                if self.changes_within(MOMENT, &taken) {
                    return;
                }
                assert!(Instant::now() < deadline, "{what} takes no {keys:?}:\n{}", self.shown());
                if self.is_idle() {
                    break;
                }
            }
        }
    }

    /// Whether the program sleeps, at every look of a moment. One that is only kept waiting for a processor does not.
    fn is_idle(&self) -> bool {
        (0..20).all(|_| {
            std::thread::sleep(MOMENT / 20);
            state_of(self.child.id()).is_none_or(|state| state == 'S' || state == 'I')
        })
    }

    /// What the screen shows.
    pub(crate) fn screen(&self) -> String {
        self.seen.0.lock().unwrap().screen.screen().contents()
    }

    /// Waits for the screen to be as `ready` wants it, but not for long; says whether it is.
    fn changes_within(&self, limit: Duration, ready: impl Fn(&str) -> bool) -> bool {
        let seen = self.seen.0.lock().unwrap();
        let waiting = |seen: &mut Seen| !ready(&seen.screen.screen().contents());
        !self.seen.1.wait_timeout_while(seen, limit, waiting).unwrap().1.timed_out()
    }

    /// Waits until the screen, or every byte the program wrote, is as `ready` wants it; fails, showing the screen, when
    /// the program ends before, or after two minutes.
    #[track_caller]
    fn wait(&self, what: &str, ready: impl Fn(&str, &[u8]) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            let screen = seen.screen.screen().contents();
            if ready(&screen, &seen.raw) {
                return screen;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if seen.over || left.is_zero() {
                drop(seen);
                panic!("no {what} on the screen:\n{}", self.shown());
            }
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// Waits until the screen shows what `ready` looks for, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, ready: impl Fn(&str) -> bool) -> String {
        self.wait(what, |screen, _| ready(screen))
    }

    /// Waits until the program has written these bytes, shown or not.
    #[track_caller]
    pub(crate) fn wait_for_bytes(&self, what: &str, bytes: &[u8]) {
        self.wait(what, |_, raw| raw.windows(bytes.len()).any(|window| window == bytes));
    }

    /// Waits until the program's own log has a line with this text.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.logged().contains(text) {
            let over = self.seen.0.lock().unwrap().over;
            assert!(!over && Instant::now() < deadline, "no {text} in the log:\n{}", self.shown());
            std::thread::sleep(MOMENT / 20);
        }
    }

    /// What the program has written into its log.
    fn logged(&self) -> String {
        let bytes = self.log.as_ref().and_then(|log| std::fs::read(log).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The screen, and the end of the log, for a failure.
    fn shown(&self) -> String {
        let log = self.logged();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        format!("{}\n--- the end of its log ---\n{}", self.screen(), last.join("\n"))
    }

    /// Types a line and presses return.
    #[track_caller]
    pub(crate) fn line(&self, text: &str) {
        // A return in the same burst would be taken for a line end within the text. The program may fold a long one.
        let end = text.split_whitespace().last().unwrap_or_default();
        let typed =
            |screen: &str| screen.lines().rfind(|line| line.starts_with(PROMPT)).is_some_and(|line| line.contains(end));
        self.press(text);
        self.wait_for("the typed text", typed);
        // Commands that are still being loaded are not taken.
        self.press_until("the prompt", "\r", |screen| !typed(screen));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // As a terminal that is closed; then for good.
        let _ = kill_process_group(group, Signal::HUP);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}
