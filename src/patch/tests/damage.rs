//! Damage done to true diffs.
