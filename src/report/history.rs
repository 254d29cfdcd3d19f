//! The loops of a work tree, one row each.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LoopStatus;
use crate::engine::StopReason;

/// One earlier loop.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRow {
    pub run_id: String,
    /// Null where the run cannot be read.
    pub goal: Option<String>,
    pub status: Option<LoopStatus>,
    pub stop_reason: Option<StopReason>,
    pub iterations: u32,
    pub calls: u32,
    /// Input plus output.
    pub tokens: u64,
    pub time_ms: u64,
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// Why the run cannot be read, or null.
    pub error: Option<String>,
}

/// The loops of this work tree, newest first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryReport {
    pub schema_version: u32,
    pub runs: Vec<HistoryRow>,
}
