//! The integration tests, one binary: the real `loop-companion`, the real Codex CLI, and a model that answers by script.
#![allow(clippy::disallowed_methods, reason = "tests bring their own ground")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that cannot go on fails its test")]

mod again;
mod attack;
mod awkward;
mod bad_input;
mod budgets;
mod cases;
mod common;
mod configuration;
mod demo;
mod dependencies;
mod faults;
mod fuzz;
mod gate;
mod harness;
mod hostile;
mod hosts;
mod kill;
mod lifecycle;
mod mcp;
mod plugin;
mod processes;
mod reference;
mod review;
mod schemas;
mod secrets;
mod storm;
mod trust;
