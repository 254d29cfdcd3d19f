//! The list of rules. A rule looks at the scene and reports; it never asks another rule.

mod config;
mod deleted;
mod doctests;
mod equality;
mod exit;
mod limits;
mod literals;
mod patching;
mod paths;
mod peeking;
mod shadow;
mod shared;
mod skipped;
mod surroundings;
mod swallow;
mod weakened;

use super::Report;
use super::view::Scene;

/// Every rule, in the order of the findings a reader cares for first.
pub(super) const RULES: &[fn(&Scene<'_>, &mut Report)] = &[
    paths::judge,
    limits::judge,
    deleted::judge,
    doctests::judge,
    skipped::judge,
    weakened::judge,
    shared::judge,
    config::judge,
    shadow::judge,
    patching::judge,
    equality::judge,
    peeking::judge,
    surroundings::judge,
    exit::judge,
    swallow::judge,
    literals::judge,
];

#[cfg(test)]
pub(super) mod testing;
