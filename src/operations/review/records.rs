//! Looking at reviews held, and the switch of the gate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entry, Limits, Place, Review, SCHEMA_VERSION, Session, Tally, Verdict, config, review};
use crate::error::Failure;
use crate::review::{Cause, Kind};

/// Reviews of one repository or folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewList {
    pub schema_version: u32,
    /// Newest first.
    pub reviews: Vec<ReviewRow>,
}

/// One review in a list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewRow {
    pub id: String,
    #[schemars(with = "String")]
    pub at: Timestamp,
    pub kind: Kind,
    pub topic: String,
    pub verdict: Verdict,
    pub cause: Option<Cause>,
    pub confidence: Option<f64>,
    pub response_file: Option<String>,
}

/// What reviews came to and cost, here.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewStats {
    pub schema_version: u32,
    pub total: Tally,
    /// The reviews of each session of a host, newest last.
    pub sessions: Vec<SessionTally>,
    /// Reviews begun today, everywhere, and the most allowed.
    pub today: u32,
    pub limits: Limits,
    /// What followed each verdict where the tree tells: `unchanged` since the review, or `changed`.
    pub followed: BTreeMap<String, BTreeMap<String, u32>>,
}

/// Sums of one session.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionTally {
    /// Null for reviews asked for outside any host.
    pub session: Option<String>,
    pub tally: Tally,
}

fn held(session: &Session) -> anyhow::Result<(Place, Vec<Entry>)> {
    let place = Place::find(session)?;
    let entries = place.ledger().read()?;
    Ok((place, entries))
}

fn reviews_of(entries: Vec<Entry>, root: &str) -> Vec<Review> {
    let ours = entries.into_iter().filter_map(|entry| match entry {
        Entry::Ended { root: whose, review, .. } if whose == root => Some(*review),
        _ => None,
    });
    ours.collect()
}

/// Returns the reviews held here, newest first.
pub fn review_list(session: &Session) -> anyhow::Result<ReviewList> {
    let (place, entries) = held(session)?;
    let rows = reviews_of(entries, &place.shown_root()).into_iter().rev().map(|review| ReviewRow {
        id: review.id,
        at: review.at,
        kind: review.kind,
        topic: review.topic,
        verdict: review.verdict,
        cause: review.cause,
        confidence: review.confidence,
        response_file: review.response_file,
    });
    Ok(ReviewList { schema_version: SCHEMA_VERSION, reviews: rows.collect() })
}

/// Returns one review; its name may be shortened as long as it is the only one.
pub fn review_show(session: &Session, id: &str) -> anyhow::Result<Review> {
    let (place, entries) = held(session)?;
    let mut found: Vec<Review> =
        reviews_of(entries, &place.shown_root()).into_iter().filter(|review| review.id.starts_with(id)).collect();
    if let Some(exact) = found.iter().position(|review| review.id == id) {
        return Ok(found.swap_remove(exact));
    }
    match (found.pop(), found.len()) {
        (Some(review), 0) => Ok(review),
        (None, _) => {
            Err(Failure::usage(format!("no review here is named {id}"), "`loop-companion review list` names them")
                .into())
        }
        (Some(_), more) => {
            Err(Failure::usage(format!("{} reviews here begin with {id}", more + 1), "write more of the name").into())
        }
    }
}

/// Returns what the reviews held here came to.
pub fn review_stats(session: &Session) -> anyhow::Result<ReviewStats> {
    let (place, entries) = held(session)?;
    let settings = config::review_settings(&place.root, &session.environment)?;
    let prices = config::files(&place.root, &session.environment)?.user.prices;
    let root = place.shown_root();
    let unlimited = Limits { day: u32::MAX, session: u32::MAX };
    let spent = review::refusal(&entries, unlimited, None, Timestamp::now(), &TimeZone::system()).unwrap_or_default();
    let ours: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| match entry {
            Entry::Begun { root: whose, .. }
            | Entry::Ended { root: whose, .. }
            | Entry::Repeated { root: whose, .. } => *whose == root,
        })
        .collect();
    let mut names: Vec<Option<String>> = Vec::new();
    for entry in &ours {
        let name = session_of(entry);
        if !names.iter().any(|known| known.as_deref() == name) {
            names.push(name.map(str::to_owned));
        }
    }
    let sessions = names.into_iter().map(|name| SessionTally {
        tally: review::tally(ours.iter().filter(|entry| session_of(entry) == name.as_deref()), &prices),
        session: name,
    });
    let now = place.tree_hash().unwrap_or_default();
    let mut followed: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for entry in &ours {
        if let Entry::Ended { review, .. } = entry
            && let (true, Some(then), Some(now)) = (review.success, &review.tree_hash, &now)
        {
            let word = if then == now { "unchanged" } else { "changed" };
            let row = followed.entry(review.verdict.name().to_owned()).or_default();
            *row.entry(word.to_owned()).or_default() += 1;
        }
    }
    Ok(ReviewStats {
        schema_version: SCHEMA_VERSION,
        total: review::tally(&ours, &prices),
        sessions: sessions.collect(),
        today: spent.day,
        limits: settings.limits(),
        followed,
    })
}

fn session_of(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::Begun { session, .. } | Entry::Ended { session, .. } | Entry::Repeated { session, .. } => {
            session.as_deref()
        }
    }
}
