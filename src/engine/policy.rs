//! What a failed call means for the loop.

use jiff::{SignedDuration, Timestamp};

use super::event::{CallFailure, FailureClass};

/// What to do after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Policy {
    /// End the loop: nothing the loop can do helps.
    Stop,
    /// Ask again at this time.
    RetryAt(Timestamp),
    /// Ask again with the validator's message.
    Repair,
    /// Ask again with a prompt half as long.
    Shrink,
    /// Give the step up.
    GiveUp,
}

/// Waits before a failed call is tried again, in seconds; after the last the loop stops. Long enough for a passing
/// overload, short enough that an outage is told within two minutes.
const BACKOFF_S: [i64; 3] = [5, 20, 60];

/// Added to a known reset, so that a clock that runs a little ahead does not find the limit still shut; doubled each
/// time it did.
const RESET_MARGIN_S: i64 = 2;

/// Times running that a named reset is believed: a limit that is still shut after them does not open at any.
const RESETS_BELIEVED: usize = 5;

/// Returns what the loop does about a failure of this class, as a person reads it.
pub fn remedy(class: FailureClass) -> &'static str {
    match class {
        FailureClass::SignIn | FailureClass::Quota | FailureClass::Config | FailureClass::TooOld => "stops at once",
        FailureClass::UsageWindow => {
            "waits until the named reset where the time budget holds it, asking nothing meanwhile; else stops"
        }
        FailureClass::RateLimit => {
            "waits until the named reset where the time budget holds it; without one, waits 5, 20 and 60 s, then stops"
        }
        FailureClass::Overloaded | FailureClass::Network => "asks again after 5, 20 and 60 s, then stops",
        FailureClass::ContextTooLong => "asks with half the prompt, then with a quarter, then gives the step up",
        FailureClass::BadAnswer => "asks once more with what is wrong with the answer, then gives the step up",
        FailureClass::TimedOut | FailureClass::Killed | FailureClass::Unknown => {
            "asks once more, then gives the step up"
        }
        FailureClass::Refused => "gives the step up",
        FailureClass::Stopped => "asks again when the loop goes on",
    }
}

/// Returns what to do about the last failure, given all failures of the same question so far.
///
/// `seen` is empty only where nothing failed; then the step is given up.
pub(super) fn policy(seen: &[(Timestamp, CallFailure)]) -> Policy {
    let Some((at, last)) = seen.last() else { return Policy::GiveUp };
    let times = seen.iter().filter(|(_, failure)| failure.class == last.class).count();
    let backoff = || {
        let steps = seen.iter().filter(|(_, failure)| transient(failure.class)).count();
        BACKOFF_S.get(steps.saturating_sub(1)).map_or(Policy::Stop, |seconds| {
            Policy::RetryAt(at.saturating_add(SignedDuration::from_secs(*seconds)).unwrap_or(*at))
        })
    };
    match last.class {
        FailureClass::SignIn | FailureClass::Quota | FailureClass::Config | FailureClass::TooOld => Policy::Stop,
        FailureClass::UsageWindow | FailureClass::RateLimit => match last.reset {
            Some(_) if times > RESETS_BELIEVED => Policy::Stop,
            Some(reset) => {
                let margin = SignedDuration::from_secs(RESET_MARGIN_S << (times - 1));
                Policy::RetryAt(reset.saturating_add(margin).unwrap_or(reset).max(*at))
            }
            None if last.class == FailureClass::UsageWindow => Policy::Stop,
            None => backoff(),
        },
        FailureClass::Overloaded | FailureClass::Network => backoff(),
        FailureClass::ContextTooLong if times <= 2 => Policy::Shrink,
        FailureClass::BadAnswer if times <= 1 => Policy::Repair,
        // One silent or unexplained failure may be chance; two are not.
        FailureClass::TimedOut | FailureClass::Killed | FailureClass::Unknown if times <= 1 => Policy::RetryAt(*at),
        // Whoever stopped it, a worker that asks again is one that goes on.
        FailureClass::Stopped => Policy::RetryAt(*at),
        FailureClass::ContextTooLong
        | FailureClass::BadAnswer
        | FailureClass::TimedOut
        | FailureClass::Killed
        | FailureClass::Unknown
        | FailureClass::Refused => Policy::GiveUp,
    }
}

fn transient(class: FailureClass) -> bool {
    matches!(class, FailureClass::Overloaded | FailureClass::Network | FailureClass::RateLimit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(classes: &[FailureClass]) -> Vec<(Timestamp, CallFailure)> {
        classes
            .iter()
            .map(|class| {
                let failure = CallFailure::new(*class, "");
                (Timestamp::UNIX_EPOCH, failure)
            })
            .collect()
    }

    #[test]
    fn overload_is_retried_three_times_and_then_stops() {
        let after = |n| policy(&failures(&vec![FailureClass::Overloaded; n]));
        assert_eq!(after(1), Policy::RetryAt(Timestamp::from_second(5).unwrap()));
        assert_eq!(after(3), Policy::RetryAt(Timestamp::from_second(60).unwrap()));
        assert_eq!(after(4), Policy::Stop);
    }

    #[test]
    fn a_bad_answer_is_repaired_once() {
        assert_eq!(policy(&failures(&[FailureClass::BadAnswer])), Policy::Repair);
        assert_eq!(policy(&failures(&[FailureClass::BadAnswer, FailureClass::BadAnswer])), Policy::GiveUp);
    }

    #[test]
    fn a_known_reset_is_waited_for_and_an_unknown_window_stops() {
        let mut seen = failures(&[FailureClass::UsageWindow]);
        assert_eq!(policy(&seen), Policy::Stop);
        seen[0].1.reset = Some(Timestamp::from_second(100).unwrap());
        assert_eq!(policy(&seen), Policy::RetryAt(Timestamp::from_second(102).unwrap()));
    }

    #[test]
    fn a_reset_that_never_holds_is_not_believed_for_ever() {
        let mut seen = failures(&[FailureClass::RateLimit; 5]);
        for (_, failure) in &mut seen {
            failure.reset = Some(Timestamp::from_second(100).unwrap());
        }
        assert_eq!(policy(&seen), Policy::RetryAt(Timestamp::from_second(132).unwrap()));
        seen.push(seen[0].clone());
        assert_eq!(policy(&seen), Policy::Stop);
    }

    #[test]
    fn what_a_person_is_told_of_a_class_is_what_is_done() {
        for class in FailureClass::ALL {
            let first = policy(&failures(&[class]));
            let words = match first {
                Policy::Stop if class == FailureClass::UsageWindow => "else stops",
                Policy::Stop => "stops at once",
                Policy::RetryAt(at) if at == Timestamp::UNIX_EPOCH => "asks",
                Policy::RetryAt(_) => "5, 20 and 60 s",
                Policy::Repair => "what is wrong",
                Policy::Shrink => "half the prompt",
                Policy::GiveUp => "gives the step up",
            };
            assert!(remedy(class).contains(words), "{class:?}: {}", remedy(class));
        }
    }

    #[test]
    fn sign_in_and_quota_stop_at_once() {
        for class in [FailureClass::SignIn, FailureClass::Quota, FailureClass::Config, FailureClass::TooOld] {
            assert_eq!(policy(&failures(&[class])), Policy::Stop);
        }
    }

    #[test]
    fn a_call_whose_worker_died_is_asked_again_however_often_that_happened() {
        for times in 1..5 {
            let seen = failures(&vec![FailureClass::Stopped; times]);
            assert_eq!(policy(&seen), Policy::RetryAt(Timestamp::UNIX_EPOCH));
        }
    }
}
