//! Given these events, when this is asked, then that happens.

use proptest::prelude::*;

use super::*;
use crate::given::{at, given, state};

const FREE: u32 = 5;

fn attempted(count: u32, blocked_until: Option<i64>, seconds: i64) -> LoginAttemptsEvent {
    LoginAttemptsEvent::LoginAttempted { count, blocked_until: blocked_until.map(at), at: at(seconds) }
}

fn attempt(seconds: i64) -> LoginAttemptsCommand {
    LoginAttemptsCommand::RecordAttempt { free: FREE, at: at(seconds) }
}

fn decide(
    events: Vec<LoginAttemptsEvent>,
    command: LoginAttemptsCommand,
) -> Result<Vec<LoginAttemptsEvent>, LoginAttemptsError> {
    given::<LoginAttempts>(events).when(command).inspect_result()
}

#[test]
fn the_first_attempts_are_free() {
    assert_eq!(decide(vec![], attempt(0)), Ok(vec![attempted(1, None, 0)]));
    assert_eq!(decide(vec![attempted(4, None, 0)], attempt(1)), Ok(vec![attempted(5, None, 1)]));
}

#[test]
fn waiting_doubles_up_to_a_quarter_of_an_hour() {
    let waits = [(5, 2), (6, 4), (7, 8), (12, 256), (13, 512), (14, 900), (15, 900), (60, 900)];
    for (count, wait) in waits {
        let expected = attempted(count + 1, Some(1 + wait), 1);
        assert_eq!(decide(vec![attempted(count, None, 0)], attempt(1)), Ok(vec![expected]), "after {count}");
    }
}

#[test]
fn who_does_not_wait_is_told_how_long() {
    let blocked = || vec![attempted(7, Some(8), 4)];
    let until = LoginAttemptsError::TooManyAttempts { until: at(8) };
    assert_eq!(decide(blocked(), attempt(4)), Err(until));
    assert_eq!(until.retry_after(at(4)), 4);
    for (early, seconds) in [(1, 1), (1000, 1), (1001, 2), (1500, 2)] {
        let at = at(8) - TimeDelta::milliseconds(early);
        let refused = decide(blocked(), LoginAttemptsCommand::RecordAttempt { free: FREE, at });
        assert_eq!(refused.unwrap_err().retry_after(at), seconds);
    }
    assert_eq!(decide(blocked(), attempt(8)), Ok(vec![attempted(8, Some(16), 8)]));
}

/// The attempt that blocks was made at a node whose clock is ahead of the one that refuses.
#[test]
fn who_is_told_by_another_clock_waits_long_enough() {
    let refused = decide(vec![attempted(7, Some(8), 4)], attempt(2)).unwrap_err();
    assert_eq!(refused.retry_after(at(2)), 6);
}

#[test]
fn a_quarter_of_an_hour_without_attempts_forgets_the_count() {
    assert_eq!(decide(vec![attempted(5, None, 0)], attempt(899)), Ok(vec![attempted(6, Some(901), 899)]));
    assert_eq!(decide(vec![attempted(5, None, 0)], attempt(900)), Ok(vec![attempted(1, None, 900)]));
}

#[test]
fn a_login_forgets_the_count() {
    let reset = LoginAttemptsCommand::Reset { at: at(9) };
    let forgotten = LoginAttemptsEvent::LoginAttemptsReset { at: at(9) };
    assert_eq!(decide(vec![attempted(7, Some(8), 4)], reset), Ok(vec![forgotten]));
    assert_eq!(
        decide(vec![attempted(7, Some(8), 4), forgotten], attempt(10)),
        Ok(vec![attempted(1, None, 10)])
    );
    assert_eq!(decide(vec![], reset), Ok(vec![]));
    assert_eq!(decide(vec![attempted(1, None, 0), forgotten], reset), Ok(vec![]));
}

#[test]
fn a_login_takes_its_own_attempt_back_and_no_other() {
    let take_back = LoginAttemptsCommand::TakeBack { at: at(9) };
    let without = |count| LoginAttemptsEvent::AttemptTakenBack { count, at: at(9) };
    assert_eq!(decide(vec![attempted(3, None, 4)], take_back), Ok(vec![without(2)]));
    let after = vec![attempted(2, None, 3), attempted(3, None, 4), without(2)];
    assert_eq!(decide(after, attempt(10)), Ok(vec![attempted(3, None, 10)]));
    // Who must wait still must, also for what somebody else did.
    let blocked = || vec![attempted(6, None, 3), attempted(7, Some(20), 4), without(6)];
    assert_eq!(decide(blocked(), attempt(10)), Err(LoginAttemptsError::TooManyAttempts { until: at(20) }));
    assert_eq!(decide(blocked(), attempt(20)), Ok(vec![attempted(7, Some(24), 20)]));
    // Who logs in again and again does not keep old guesses in a row.
    let morning = vec![attempted(1, None, 0), attempted(2, None, 600), without(1)];
    assert_eq!(decide(morning, attempt(900)), Ok(vec![attempted(1, None, 900)]));
    // The count was forgotten meanwhile.
    assert_eq!(decide(vec![], take_back), Ok(vec![]));
    assert_eq!(decide(vec![attempted(1, None, 4), without(0)], take_back), Ok(vec![]));
}

/// A site behind one address may be given as many as it needs.
#[test]
fn what_is_free_is_free_beyond_a_hundred_as_well() {
    let attempt = LoginAttemptsCommand::RecordAttempt { free: 500, at: at(1) };
    assert_eq!(decide(vec![attempted(498, None, 0)], attempt), Ok(vec![attempted(499, None, 1)]));
    assert_eq!(decide(vec![attempted(499, None, 0)], attempt), Ok(vec![attempted(500, Some(901), 1)]));
}

#[test]
fn counting_stops_at_nothing() {
    let endless = vec![attempted(u32::MAX, None, 0)];
    assert_eq!(decide(endless, attempt(1)), Ok(vec![attempted(u32::MAX, Some(901), 1)]));
}

#[test]
fn the_state_tells_the_count_and_the_block() {
    let attempts: LoginAttempts = state(vec![attempted(7, Some(8), 4)]);
    assert_eq!((attempts.count(), attempts.blocked_until()), (7, Some(at(8))));
}

proptest! {
    /// NIST SP 800-63B-4 §3.2.2: whatever is free for an account and however fast the guesses come, never more than
    /// a hundred in a row without the longest wait.
    #[test]
    fn a_hundred_guesses_in_a_row_at_most(free in 0..=MAX_IN_A_ROW, pauses in proptest::collection::vec(0..3_i64, 600)) {
        let mut attempts = LoginAttempts::default();
        let (mut now, mut in_a_row) = (0, 0);
        for pause in pauses {
            now += pause;
            match attempts.decide(LoginAttemptsCommand::RecordAttempt { free, at: at(now) }) {
                Ok(events) => {
                    for event in events {
                        attempts.apply_event(event);
                    }
                    in_a_row += 1;
                    prop_assert!(in_a_row <= MAX_IN_A_ROW);
                }
                Err(error) => {
                    let retry_after = error.retry_after(at(now));
                    if retry_after >= 890 {
                        in_a_row = 0;
                    }
                    now += i64::from(retry_after);
                    let let_through = attempts.decide(LoginAttemptsCommand::RecordAttempt { free, at: at(now) });
                    prop_assert!(let_through.is_ok(), "waiting as told is enough");
                }
            }
        }
    }
}
