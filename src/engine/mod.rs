//! The loop as a pure function: events fold into a state, and the state says what to do next.
//!
//! Nothing here touches a process, a file or a clock; the time comes in as an argument.

pub mod compare;
mod decide;
pub mod event;
mod policy;
pub mod ranking;
pub mod state;
mod stop;
#[cfg(test)]
mod tests;

pub use decide::{
    Effect, STALL_WINDOW, decide, favourites, proof_reserve_ms, survivors, time_for_calls_ms, tries_before_rank,
};
pub use policy::remedy;
pub use state::State;
pub use stop::StopReason;

use serde::{Deserialize, Serialize};

/// How a proof's reason ends that alone does not meet the goal; once the goal is met, what it asks for has happened.
pub const TO_BE_AGREED: &str = "so a second evaluation has to agree";

/// What becomes of the user's own edits after an in-place loop stopped for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeAnswer {
    /// The loop goes on from them.
    Adopt,
    /// The work tree goes back to the loop's best state; the edits stay in their ref.
    Discard,
}
