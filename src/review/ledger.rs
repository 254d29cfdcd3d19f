//! The list of all reviews on this machine, and what it says about budgets and costs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Review, Verdict};
use crate::codex::Usage;

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

/// What a million tokens cost, in the account's currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Price {
    pub input: f64,
    pub output: f64,
    /// Input that the provider took from its cache; null for the price of input.
    #[serde(default)]
    pub cached_input: Option<f64>,
}

impl Price {
    /// Returns what these tokens cost.
    pub fn of(&self, usage: &Usage) -> f64 {
        let cached = usage.cached_input.min(usage.input);
        let fresh = usage.input - cached;
        (fresh as f64 * self.input
            + cached as f64 * self.cached_input.unwrap_or(self.input)
            + usage.output as f64 * self.output)
            / 1_000_000.0
    }
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
    /// Null where no price is set.
    pub money: Option<f64>,
    pub duration_ms: u64,
}

/// Sums up.
pub fn tally<'a>(entries: impl IntoIterator<Item = &'a Entry>, price: Option<Price>) -> Tally {
    let mut tally = Tally { money: price.map(|_| 0.0), ..Tally::default() };
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
                if let (Some(money), Some(price)) = (&mut tally.money, price) {
                    *money += price.of(&review.tokens);
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

    #[test]
    fn cached_input_has_its_own_price() {
        let usage = Usage { input: 1_000_000, cached_input: 400_000, output: 100_000, ..Usage::default() };
        let price = Price { input: 2.0, output: 10.0, cached_input: Some(0.5) };
        assert!((price.of(&usage) - 2.4).abs() < 1e-9);
        assert!((Price { cached_input: None, ..price }.of(&usage) - 3.0).abs() < 1e-9);
    }
}
