//! What the integration tests stand on. It fails where something is missing; it never skips.
#![allow(dead_code, unused_imports, reason = "a toolbox: not every tool is in use at every time")]

mod cases;
mod claude;
mod environment;
pub(crate) mod lab;
mod messages;
mod process_table;
mod repo;
mod run;
pub(crate) mod scene;
mod sequence;
mod terminal;
mod tools;

pub(crate) use cases::{Case, CasePatch, Hostile, Malformed, cases, hostile, own_cases};
pub(crate) use claude::{Claude, platform};
pub(crate) use environment::TestEnvironment;
pub(crate) use loop_companion::scripted::script::{evaluation, issue, proposal, ranking, suggestion};
pub(crate) use messages::{MessagesServer, Step, Turn, TurnRequest};
pub(crate) use process_table::{Entry, processes_of, wait_until_gone};
pub(crate) use repo::{Repo, tree_fingerprint};
pub(crate) use run::{Run, Running};
pub(crate) use scene::Scene;
pub(crate) use sequence::{RankBy, SequenceModel, agent_report, is_agent};
pub(crate) use terminal::Terminal;
pub(crate) use tools::{claude_bin, codex_bin, inspector_bin, mcp_python, python_env};
