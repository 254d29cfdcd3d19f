//! Why a loop ends, and what that means for exit codes and resuming.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The reasons a loop can end for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    GoalMet,
    AlreadyMet,
    Converged,
    Blocked,
    NoUsableProposals,
    BudgetIterations,
    BudgetTime,
    BudgetCalls,
    BudgetTokens,
    BudgetCost,
    ChecksTooSlow,
    UserStopped,
    TreeChanged,
    DiskFull,
    ChecksUnusable,
    GoalDrift,
    RateLimited,
    CodexUnavailable,
    Error,
}

impl StopReason {
    /// Every reason, in the order of the reference.
    pub const ALL: [Self; 19] = [
        Self::GoalMet,
        Self::AlreadyMet,
        Self::Converged,
        Self::Blocked,
        Self::NoUsableProposals,
        Self::BudgetIterations,
        Self::BudgetTime,
        Self::BudgetCalls,
        Self::BudgetTokens,
        Self::BudgetCost,
        Self::ChecksTooSlow,
        Self::UserStopped,
        Self::TreeChanged,
        Self::DiskFull,
        Self::ChecksUnusable,
        Self::GoalDrift,
        Self::RateLimited,
        Self::CodexUnavailable,
        Self::Error,
    ];

    /// Returns the name used in JSON and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::GoalMet => "goal-met",
            Self::AlreadyMet => "already-met",
            Self::Converged => "converged",
            Self::Blocked => "blocked",
            Self::NoUsableProposals => "no-usable-proposals",
            Self::BudgetIterations => "budget-iterations",
            Self::BudgetTime => "budget-time",
            Self::BudgetCalls => "budget-calls",
            Self::BudgetTokens => "budget-tokens",
            Self::BudgetCost => "budget-cost",
            Self::ChecksTooSlow => "checks-too-slow",
            Self::UserStopped => "user-stopped",
            Self::TreeChanged => "tree-changed",
            Self::DiskFull => "disk-full",
            Self::ChecksUnusable => "checks-unusable",
            Self::GoalDrift => "goal-drift",
            Self::RateLimited => "rate-limited",
            Self::CodexUnavailable => "codex-unavailable",
            Self::Error => "error",
        }
    }

    /// Returns what a person reads in a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::GoalMet => "goal met",
            Self::AlreadyMet => "goal already met",
            Self::Converged => "no further progress",
            Self::Blocked => "blocked",
            Self::NoUsableProposals => "no usable proposals",
            Self::BudgetIterations => "iterations used up",
            Self::BudgetTime => "time used up",
            Self::BudgetCalls => "calls used up",
            Self::BudgetTokens => "tokens used up",
            Self::BudgetCost => "money used up",
            Self::ChecksTooSlow => "checks too slow",
            Self::UserStopped => "stopped",
            Self::TreeChanged => "work tree changed",
            Self::DiskFull => "disk full",
            Self::ChecksUnusable => "checks unusable",
            Self::GoalDrift => "goal drifted",
            Self::RateLimited => "rate-limited",
            Self::CodexUnavailable => "Codex unavailable",
            Self::Error => "internal fault",
        }
    }

    /// Returns the exit code of a loop that ended for this reason.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::GoalMet | Self::AlreadyMet => 0,
            Self::ChecksUnusable => 3,
            Self::GoalDrift => 5,
            Self::RateLimited | Self::CodexUnavailable => 6,
            Self::Error => 70,
            _ => 1,
        }
    }

    /// Says whether a budget was used up.
    pub fn is_budget(self) -> bool {
        matches!(
            self,
            Self::BudgetIterations | Self::BudgetTime | Self::BudgetCalls | Self::BudgetTokens | Self::BudgetCost
        )
    }

    /// Says whether `resume` can go on from here.
    pub fn resumable(self) -> bool {
        !matches!(self, Self::GoalMet | Self::AlreadyMet | Self::GoalDrift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_serde_writes() {
        for reason in StopReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
        }
    }

    #[test]
    fn only_a_met_goal_exits_zero_and_only_met_or_drifted_goals_are_final() {
        for reason in StopReason::ALL {
            let met = matches!(reason, StopReason::GoalMet | StopReason::AlreadyMet);
            assert_eq!(reason.exit_code() == 0, met, "{}", reason.name());
            assert_eq!(!reason.resumable(), met || reason == StopReason::GoalDrift, "{}", reason.name());
        }
    }

    #[test]
    fn every_reason_has_a_title_of_its_own_in_plain_words() {
        let titles: std::collections::BTreeSet<&str> = StopReason::ALL.into_iter().map(StopReason::title).collect();
        assert_eq!(titles.len(), StopReason::ALL.len());
        assert!(titles.iter().all(|title| title.len() <= 20 && !title.contains("budget")), "{titles:?}");
    }
}
