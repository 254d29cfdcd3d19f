//! How a worker is told to stop: a signal, or the stop file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::process::Control;

/// Between two looks at the stop file: quick enough for a person, few enough system calls.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The wish that the worker stops.
#[derive(Debug, Clone)]
pub struct StopSignal {
    signal: Arc<AtomicUsize>,
    file: PathBuf,
}

impl StopSignal {
    /// Listens for SIGINT, SIGTERM and, unless `detached`, SIGHUP, and watches the stop file.
    ///
    /// Returns an error if the handlers cannot be installed.
    pub fn listen(file: &Path, detached: bool) -> anyhow::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM] {
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        // A worker of its own session has no terminal to lose; one in the foreground ends with its terminal.
        let hangup = if detached { Arc::new(AtomicUsize::new(0)) } else { Arc::clone(&signal) };
        signal_hook::flag::register_usize(SIGHUP, hangup, SIGHUP as usize)?;
        Ok(Self { signal, file: file.to_owned() })
    }

    /// Says whether the worker is to stop.
    pub fn requested(&self) -> bool {
        self.signal().is_some() || self.file.exists()
    }

    /// Returns the signal that asked for it, if one did.
    pub fn signal(&self) -> Option<i32> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }

    /// Returns one sentence on who asked.
    pub fn reason(&self) -> String {
        match self.signal() {
            Some(SIGINT) => "Stopped from the keyboard (SIGINT).".into(),
            Some(SIGTERM) => "Stopped by SIGTERM.".into(),
            Some(SIGHUP) => "Stopped because the terminal closed (SIGHUP).".into(),
            _ => "Stopped as asked.".into(),
        }
    }

    /// Returns a watch for one running process.
    pub fn watch(&self) -> Watch {
        Watch { stop: self.clone(), looked: None, stopped: false }
    }
}

/// Ends a running process when the worker is to stop.
#[derive(Debug)]
pub struct Watch {
    stop: StopSignal,
    looked: Option<Instant>,
    stopped: bool,
}

impl Control for Watch {
    fn stop(&mut self) -> bool {
        if self.stopped || self.stop.signal().is_some() {
            return true;
        }
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            self.stopped = self.stop.requested();
        }
        self.stopped
    }
}
