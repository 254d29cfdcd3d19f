//! CodexLoop: drives the Codex CLI round a measured improvement loop.
//!
//! The modules, from the pure core outwards; ARCHITECTURE.md draws the map.

pub mod answers;
pub mod change;
pub mod checks;
pub mod codex;
pub mod guards;
pub mod patch;
pub mod process;
