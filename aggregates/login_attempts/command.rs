//! What can be asked of the count of failed logins of one account or one address.

use chrono::{DateTime, Utc};

use crate::stored::dated;

/// Commands of the login-attempts aggregate.
#[derive(Clone, Copy, Debug)]
pub enum LoginAttemptsCommand {
    /// Counts an attempt before the password is looked at, so that parallel guesses are counted too.
    RecordAttempt {
        /// Attempts in a row that need no waiting.
        free: u32,
        /// The time of the attempt.
        at: DateTime<Utc>,
    },
    /// The right password was given: the attempt counted for a network no longer counts, those of others do.
    TakeBack {
        /// The time of the login.
        at: DateTime<Utc>,
    },
    /// The right password was given: forget the count.
    Reset {
        /// The time of the login.
        at: DateTime<Utc>,
    },
}

dated!(LoginAttemptsCommand: RecordAttempt, TakeBack, Reset);
