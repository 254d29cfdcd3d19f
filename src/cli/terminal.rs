//! Progress on standard error: a live line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::engine::State;
use crate::engine::event::Record;
use crate::masking;
use crate::report::{self, step_of};
use crate::runtime::Observer;

/// Plain lines about what a call is doing come at most this often; every change would flood a log.
const ACTIVITY_EVERY: Duration = Duration::from_secs(15);

/// Shows a loop's progress.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    last_activity: Option<Instant>,
}

impl Progress {
    /// Returns progress for this process's standard error.
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, last_activity: None }
    }

    fn line(&self, text: &str) {
        let text = &masking::shown().text(text);
        match &self.bar {
            // A person reads these: broken between words, the rest indented. A log keeps one line for each.
            Some(bar) => bar.println(report::wrap("", "    ", text).trim_end()),
            None => eprintln!("{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Returns the live line: step, time, budget, and what is going on.
fn live(state: &State, activity: &str) -> String {
    let now = Timestamp::now();
    let budget = &state.plan.budget;
    format!(
        "{} · iteration {}/{} · {} of {} · {}/{} calls · {activity}",
        step_of(state).unwrap_or("end"),
        state.used.iterations,
        budget.max_iterations,
        report::duration(state.time_used_ms(now)),
        report::duration(budget.max_time_ms),
        state.used.calls,
        budget.max_calls,
    )
}

impl Observer for Progress {
    fn event(&mut self, state: &State, _: &Record, line: Option<&str>) {
        if let Some(line) = line {
            self.line(line);
        }
        if let Some(bar) = &self.bar {
            bar.set_message(live(state, ""));
        }
    }

    fn activity(&mut self, state: &State, text: &str) {
        let text: String = masking::shown().text(text).split_whitespace().collect::<Vec<_>>().join(" ");
        match &self.bar {
            Some(bar) => bar.set_message(live(state, &text)),
            None if self.last_activity.is_none_or(|last| last.elapsed() >= ACTIVITY_EVERY) => {
                self.last_activity = Some(Instant::now());
                let text: String = text.chars().take(100).collect();
                eprintln!("    {}", live(state, &text));
            }
            None => {}
        }
    }
}
