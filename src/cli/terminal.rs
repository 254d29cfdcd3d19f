//! Progress on standard error: a live line on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::output;
use crate::engine::State;
use crate::engine::event::Record;
use crate::masking;
use crate::operations::Ended;
use crate::report::{self, step_of};
use crate::runtime::Observer;

/// Plain lines about what a call is doing come at most this often; every change would flood a log.
const ACTIVITY_EVERY: Duration = Duration::from_secs(15);

/// Shows a loop's progress. The live line is there from the first thing a loop says until this is dropped: earlier it
/// would wipe the question whether to start, later it would stand in the report.
pub(super) struct Progress {
    live: bool,
    bar: Option<ProgressBar>,
    last_activity: Option<Instant>,
}

impl Progress {
    /// Returns progress for this process's standard error.
    pub(super) fn new() -> Self {
        Self { live: std::io::stderr().is_terminal(), bar: None, last_activity: None }
    }

    /// Ends the live line, prints the end of the loop and returns its exit code.
    pub(super) fn finish(self, ended: &Ended, json: bool) -> u8 {
        drop(self);
        let mut report = report::status_report(&ended.state, false, Timestamp::now());
        output::again(&mut report.next);
        if json {
            output::json(&report);
        } else {
            output::text(&report::status_text(&report));
        }
        ended.exit_code()
    }

    /// Returns the live line, which this begins; `None` elsewhere than on a terminal.
    fn bar(&mut self) -> Option<&ProgressBar> {
        self.live.then(|| {
            &*self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            })
        })
    }

    fn line(&mut self, text: &str) {
        let text = &masking::shown().text(text);
        match self.bar() {
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
        if let Some(bar) = self.bar() {
            bar.set_message(live(state, ""));
        }
    }

    fn activity(&mut self, state: &State, text: &str) {
        let text: String = masking::shown().text(text).split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(bar) = self.bar() {
            bar.set_message(live(state, &text));
        } else if self.last_activity.is_none_or(|last| last.elapsed() >= ACTIVITY_EVERY) {
            self.last_activity = Some(Instant::now());
            let text: String = text.chars().take(100).collect();
            eprintln!("    {}", live(state, &text));
        }
    }
}
