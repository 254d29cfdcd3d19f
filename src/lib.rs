//! CodexLoop: drives the Codex CLI round a measured improvement loop.
//!
//! The modules, from the pure core outwards; ARCHITECTURE.md draws the map.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests bring their own ground"))]

pub mod answers;
pub mod change;
pub mod checks;
pub mod cli;
pub mod codex;
pub mod config;
pub mod demo;
pub mod detect;
pub mod engine;
pub mod error;
pub mod guards;
pub mod masking;
pub mod mcp;
pub mod operations;
pub mod options;
pub mod patch;
pub mod paths;
pub mod plan;
pub mod process;
pub mod report;
pub mod review;
pub mod runtime;
pub mod scripted;
pub mod store;
pub mod workspace;
