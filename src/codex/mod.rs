//! The OpenAI Codex CLI: where it is, how it is called, what its event stream means, what it may answer.
//!
//! Everything that knows a flag, an event or an error text of Codex is in here. It never decides what a step does
//! with an answer, never retries, and never reads the environment: what it needs is handed in.

pub mod answer;
pub mod call;
pub mod command;
pub mod events;
pub mod locate;
pub mod outcome;
pub mod prompt;
pub mod schema;

pub use answer::{Misfit, parse};
pub use call::{CallOutcome, CallRequest, call, recover};
pub use command::Access;
pub use events::Usage;
pub use outcome::{Failure, FailureClass, Outcome};
