//! Views of a loop's state: typed documents for programs, text for people. Pure; printing is the command line's.

mod forecast;
mod history;
mod progress;
mod result;
mod stats;
mod status;
mod text;

pub use forecast::{FORECAST_LOOPS, Forecast, forecast};
pub use history::{HistoryReport, HistoryRow};
pub use progress::{clock, progress_line};
pub use result::{ChangedFile, ProposalReport, ResultReport, result_report};
pub use stats::{CodeCount, FavouriteStats, ProposalStats, StatsReport, stats_report, stats_text};
pub use status::{LoopStatus, StatusReport, status_report, step_of};
pub use text::{history_text, plan_text, result_text, shorten, status_text, wrap};

/// Version of every JSON document this program prints.
pub const SCHEMA_VERSION: u32 = 1;

/// Returns a duration as a person says it: `850 ms`, `12 s`, `3 min 20 s`, `1 h 12 min`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match (ms, seconds) {
        (0..1000, _) => format!("{ms} ms"),
        (_, 0..10) if ms % 1000 < 100 => format!("{seconds} s"),
        (_, 0..10) => format!("{}.{} s", seconds, ms % 1000 / 100),
        (_, 10..60) => format!("{seconds} s"),
        (_, 60..3600) if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        (_, 60..3600) => format!("{} min {} s", seconds / 60, seconds % 60),
        _ if seconds % 3600 / 60 == 0 => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Returns a duration as it is typed, rounded up: `90s`, `45m`, `2h`.
pub fn typed_duration(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds.div_ceil(60) {
        _ if seconds <= 120 => format!("{seconds}s"),
        minutes if minutes.is_multiple_of(60) => format!("{}h", minutes / 60),
        minutes => format!("{minutes}m"),
    }
}

/// Returns a count of tokens as a person reads it: `950`, `12k`, `3.4M`.
pub fn count(tokens: u64) -> String {
    match tokens {
        0..10_000 => tokens.to_string(),
        10_000..1_000_000 => format!("{}k", tokens / 1000),
        _ => format!("{}.{}M", tokens / 1_000_000, tokens % 1_000_000 / 100_000),
    }
}

/// Returns a number with its noun, which takes an `s` for any but one: `1 path`, `3 paths`.
pub fn many(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let cases = [
            (850, "850 ms"),
            (5_000, "5 s"),
            (9_400, "9.4 s"),
            (12_000, "12 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
            (3_600_000, "1 h"),
            (4_320_000, "1 h 12 min"),
        ];
        for (ms, text) in cases {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn one_of_a_thing_is_no_plural() {
        assert_eq!([many(0_u32, "path"), many(1_u32, "path"), many(2_u32, "path")], ["0 paths", "1 path", "2 paths"]);
    }

    #[test]
    fn token_counts_are_short() {
        assert_eq!([count(950), count(12_345), count(3_456_789)], ["950", "12k", "3.4M"]);
    }
}
