//! The integration tests, one binary: the real `loop-companion`, the real Codex CLI, and a model that answers by script.

mod common;
mod harness;
