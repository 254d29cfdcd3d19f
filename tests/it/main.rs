//! The integration tests, one binary: the real `loop-companion`, the real Codex CLI, and a model that answers by script.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that cannot go on fails its test")]

mod common;
mod harness;
mod trust;
