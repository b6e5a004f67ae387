//! How often a password was guessed in a row, for one account or one address, and how long to wait
//! (NIST SP 800-63B-4 §3.2.2). Waiting grows and ends: strangers cannot lock anybody out for good.

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use command::LoginAttemptsCommand;
pub use error::LoginAttemptsError;
pub use event::LoginAttemptsEvent;

use crate::stored::{Decide, aggregate};

/// The longest wait, and the idle stretch after which attempts are no longer "in a row".
pub const LONGEST_WAIT: TimeDelta = TimeDelta::seconds(900);

/// After this many attempts in a row the longest wait is due; more of them are for a network alone, where many people
/// may be, and then as many as are free there.
pub const MAX_IN_A_ROW: u32 = 100;

/// State of a login-attempts stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LoginAttempts {
    in_a_row: u32,
    last: Option<DateTime<Utc>>,
    /// The one before, while it is in a row with the last.
    last_but_one: Option<DateTime<Utc>>,
    blocked_until: Option<DateTime<Utc>>,
    latest: DateTime<Utc>,
}

aggregate!(LoginAttempts, "login_attempts", LoginAttemptsCommand, LoginAttemptsEvent, LoginAttemptsError);

impl Decide for LoginAttempts {
    fn decide(&self, command: LoginAttemptsCommand) -> Result<Vec<LoginAttemptsEvent>, LoginAttemptsError> {
        match command {
            LoginAttemptsCommand::RecordAttempt { free, at } => self.record(free, at),
            LoginAttemptsCommand::TakeBack { at } => Ok(self.take_back(at)),
            LoginAttemptsCommand::Reset { at } => Ok(self.reset(at)),
        }
    }
}

impl LoginAttempts {
    fn record(&self, free: u32, at: DateTime<Utc>) -> Result<Vec<LoginAttemptsEvent>, LoginAttemptsError> {
        if let Some(until) = self.blocked_until.filter(|until| at < *until) {
            return Err(LoginAttemptsError::TooManyAttempts { until });
        }
        let is_in_a_row = self.last.is_some_and(|last| at - last < LONGEST_WAIT);
        let count = if is_in_a_row { self.in_a_row.saturating_add(1) } else { 1 };
        let blocked_until = wait_after(count, free).and_then(|wait| at.checked_add_signed(wait));
        Ok(vec![LoginAttemptsEvent::LoginAttempted { count, blocked_until, at }])
    }

    fn take_back(&self, at: DateTime<Utc>) -> Vec<LoginAttemptsEvent> {
        let count = self.in_a_row.checked_sub(1);
        count.map(|count| LoginAttemptsEvent::AttemptTakenBack { count, at }).into_iter().collect()
    }

    fn reset(&self, at: DateTime<Utc>) -> Vec<LoginAttemptsEvent> {
        if self.in_a_row == 0 { Vec::new() } else { vec![LoginAttemptsEvent::LoginAttemptsReset { at }] }
    }

    fn apply_event(&mut self, event: LoginAttemptsEvent) {
        match event {
            LoginAttemptsEvent::LoginAttempted { count, blocked_until, at } => {
                let last_but_one = self.last.filter(|_| count > 1);
                *self =
                    Self { in_a_row: count, last: Some(at), last_but_one, blocked_until, ..Self::default() };
            }
            LoginAttemptsEvent::AttemptTakenBack { count, at: _ } => {
                self.in_a_row = count;
                // Else a login every quarter of an hour would keep the guesses of a whole day in a row.
                self.last = self.last_but_one;
            }
            LoginAttemptsEvent::LoginAttemptsReset { at: _ } => *self = Self::default(),
        }
    }

    /// Attempts in a row.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.in_a_row
    }

    /// Until when no further attempt is let through.
    #[must_use]
    pub fn blocked_until(&self) -> Option<DateTime<Utc>> {
        self.blocked_until
    }
}

/// 2, 4, 8 … seconds once the free attempts are used up.
fn wait_after(count: u32, free: u32) -> Option<TimeDelta> {
    if count >= MAX_IN_A_ROW.max(free) {
        return Some(LONGEST_WAIT);
    }
    let beyond = count.checked_sub(free).filter(|beyond| *beyond > 0)?;
    let seconds = 1_i64.checked_shl(beyond.min(32)).unwrap_or(i64::MAX);
    Some(TimeDelta::seconds(seconds.min(LONGEST_WAIT.num_seconds())))
}
