//! A terminal of a test's own: a program on a pseudo terminal, and what its screen shows.

use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pty_process::blocking::{self, Pty};
use rustix::process::{Pid, Signal, kill_process_group};

/// Rows and columns: tall enough that nothing scrolls away.
const SIZE: (u16, u16) = (240, 160);

/// What the screen shows does not change for longer than this unless something hangs.
const LIMIT: Duration = Duration::from_secs(120);

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
}

impl Terminal {
    /// Starts the command as the leader of a session of its own in a new terminal.
    pub(crate) fn start(command: Command) -> Self {
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
        Self { child, pty, seen }
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
        let deadline = Instant::now() + LIMIT;
        while row(&self.screen()).is_some() {
            assert!(Instant::now() < deadline, "{question} takes no {label}:\n{}", self.screen());
            self.settle();
            self.press(&key);
            // Long: a key pressed twice would answer the next question too.
            self.changes_within(Duration::from_secs(15), |screen| row(screen).is_none());
        }
        shown
    }

    /// What the screen shows.
    pub(crate) fn screen(&self) -> String {
        self.seen.0.lock().unwrap().screen.screen().contents()
    }

    /// Waits until nothing more is written for a moment: a dialog that has just opened takes no key yet, so that nobody
    /// answers what he has not read.
    fn settle(&self) {
        let mut seen = self.seen.0.lock().unwrap();
        for _ in 0..20 {
            let written = seen.raw.len();
            let more = |seen: &mut Seen| seen.raw.len() == written;
            let (next, quiet) = self.seen.1.wait_timeout_while(seen, Duration::from_millis(600), more).unwrap();
            seen = next;
            if quiet.timed_out() {
                return;
            }
        }
    }

    /// Waits for the screen to be as `ready` wants it, but not for long.
    fn changes_within(&self, limit: Duration, ready: impl Fn(&str) -> bool) {
        let seen = self.seen.0.lock().unwrap();
        let _ = self.seen.1.wait_timeout_while(seen, limit, |seen| !ready(&seen.screen.screen().contents())).unwrap();
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
                panic!("no {what} on the screen:\n{screen}");
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

    /// Types a line and presses return.
    #[track_caller]
    pub(crate) fn line(&self, text: &str) {
        self.settle();
        self.press(text);
        // A return in the same burst would be taken for a line end within the text. The program may fold a long one.
        let end: String = text.split_whitespace().last().unwrap_or_default().to_owned();
        self.wait_for("the typed text", |screen| screen.contains(&end));
        self.press("\r");
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
