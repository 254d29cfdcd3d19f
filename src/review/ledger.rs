//! The list of all reviews on this machine, and what it says about budgets and costs.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Review, Verdict};
use crate::codex::Usage;
use crate::plan::{Money, Price, price_of};

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "type")]
pub enum Entry {
    /// Codex is about to be asked: this counts against the budget, whatever comes of it.
    Begun { at: Timestamp, id: String, root: String, session: Option<String> },
    /// It came to this. The review is masked.
    Ended { key: String, root: String, session: Option<String>, review: Box<Review> },
    /// The same was asked again and answered from the record.
    Repeated { at: Timestamp, id: String, root: String, session: Option<String> },
}

/// Most reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    pub day: u32,
    pub session: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { day: 50, session: 10 }
    }
}

/// Reviews used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    pub day: u32,
    pub session: u32,
}

/// Returns why no more reviews are held, or `None` while some are left. A day is one of the user's own calendar.
pub fn refusal(
    entries: &[Entry],
    limits: Limits,
    session: Option<&str>,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Spent, String> {
    let spent = spent(entries, session, now, zone);
    if spent.day >= limits.day {
        return Err(format!(
            "{} of {} reviews of today are used; raise it with --max-reviews, or wait until tomorrow",
            spent.day, limits.day
        ));
    }
    if session.is_some() && spent.session >= limits.session {
        return Err(format!(
            "{} of {} reviews of this session are used; raise it with --max-reviews, or begin a new session",
            spent.session, limits.session
        ));
    }
    Ok(spent)
}

fn spent(entries: &[Entry], session: Option<&str>, now: Timestamp, zone: &TimeZone) -> Spent {
    let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
    let mut spent = Spent::default();
    for entry in entries {
        let Entry::Begun { at, session: whose, .. } = entry else { continue };
        spent.day += u32::from(day(*at) == day(now));
        spent.session += u32::from(session.is_some() && whose.as_deref() == session);
    }
    spent
}

/// Most bytes of the ledger before its oldest lines go: at 50 reviews a day, months.
pub const MAX_LEDGER_BYTES: u64 = 16 << 20;

/// Bytes of its newest lines that stay then.
const KEPT_BYTES: usize = 8 << 20;

/// How long a review counts against its session's budget at least, whatever was written since.
const COUNTED: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Returns the lines of a ledger that stay when it has become too long: the newest, read or not, and what budgets are
/// counted from.
pub fn kept(ledger: &[u8], now: Timestamp) -> Vec<u8> {
    kept_within(ledger, now, KEPT_BYTES)
}

fn kept_within(ledger: &[u8], now: Timestamp, most: usize) -> Vec<u8> {
    let mut left = Some(most);
    let mut lines: Vec<&[u8]> = Vec::new();
    for line in ledger.split(|byte| *byte == b'\n').rev().filter(|line| !line.is_empty()) {
        left = left.and_then(|left| left.checked_sub(line.len() + 1));
        let counts = || match serde_json::from_slice(line) {
            Ok(Entry::Begun { at, .. }) => now.duration_since(at) < COUNTED,
            _ => false,
        };
        if left.is_some() || counts() {
            lines.push(line);
        }
    }
    let mut text = Vec::new();
    for line in lines.into_iter().rev() {
        text.extend(line);
        text.push(b'\n');
    }
    text
}

/// Sums over some reviews.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Reviews held or attempted.
    pub reviews: u32,
    /// Questions answered from the record.
    pub repeated: u32,
    pub verdicts: BTreeMap<String, u32>,
    pub kinds: BTreeMap<String, u32>,
    /// Why reviews did not take place.
    pub causes: BTreeMap<String, u32>,
    pub tokens: Usage,
    /// What those cost whose model has a price; null where none has.
    #[schemars(with = "Option<f64>")]
    pub cost: Option<Money>,
    pub duration_ms: u64,
}

/// Sums up, by the prices of a million tokens of each model.
pub fn tally<'a>(entries: impl IntoIterator<Item = &'a Entry>, prices: &BTreeMap<String, Price>) -> Tally {
    let mut tally = Tally::default();
    for entry in entries {
        match entry {
            Entry::Begun { .. } => {}
            Entry::Repeated { .. } => tally.repeated += 1,
            Entry::Ended { review, .. } => {
                tally.reviews += 1;
                *tally.verdicts.entry(review.verdict.name().to_owned()).or_default() += 1;
                *tally.kinds.entry(review.kind.name().to_owned()).or_default() += 1;
                if let (Verdict::Unavailable, Some(cause)) = (review.verdict, review.cause) {
                    *tally.causes.entry(cause.name()).or_default() += 1;
                }
                tally.tokens.add(&review.tokens);
                if let Some(price) = price_of(prices, review.model.as_deref()) {
                    let tokens = &review.tokens;
                    let cost = price.of(tokens.input, tokens.cached_input, tokens.output).micros;
                    let sum = tally.cost.unwrap_or_default().micros.saturating_add(cost);
                    tally.cost = Some(Money { micros: sum });
                }
                tally.duration_ms += review.duration_ms;
            }
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(at: &str, session: Option<&str>) -> Entry {
        Entry::Begun { at: at.parse().unwrap(), id: "x".into(), root: "/r".into(), session: session.map(str::to_owned) }
    }

    #[test]
    fn a_long_ledger_loses_its_oldest_lines_but_none_that_a_budget_is_counted_from() {
        let line = |entry: &Entry| serde_json::to_string(entry).unwrap() + "\n";
        let old = line(&begun("2026-01-01T00:00:00Z", None));
        let counted = line(&begun("2026-11-20T00:00:00Z", Some("s")));
        let newest = "{\"type\":\"of a newer program\"}\n";
        let ledger = format!("{old}\n{counted}\n{}\n{newest}", "x".repeat(300));
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        let kept = |most| String::from_utf8(kept_within(ledger.as_bytes(), now, most)).unwrap();
        assert_eq!(kept(100), format!("{counted}{newest}"));
        assert_eq!(kept(ledger.len()), ledger.replace("\n\n", "\n"));
    }

    #[test]
    fn budgets_count_the_users_own_day_and_the_session_alone() {
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        let now = "2026-11-21T03:00:00Z".parse().unwrap();
        let entries = [
            begun("2026-11-20T04:59:59Z", Some("s")),
            begun("2026-11-20T05:00:00Z", Some("t")),
            begun("2026-11-21T02:00:00Z", Some("s")),
        ];
        let check = |day, session, whose| refusal(&entries, Limits { day, session }, whose, now, &zone);
        assert_eq!(check(3, 3, Some("s")), Ok(Spent { day: 2, session: 2 }));
        assert!(check(2, 9, Some("s")).unwrap_err().contains("today"));
        assert!(check(3, 2, Some("s")).unwrap_err().contains("session"));
        assert!(check(3, 2, Some("new")).is_ok());
        assert!(check(3, 0, None).is_ok(), "without a session only the day counts");
    }
}
