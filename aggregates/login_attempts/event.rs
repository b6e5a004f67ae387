//! What happened at the login form, for one account or one address.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::stored_events;

/// Events of a login-attempts stream, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum LoginAttemptsEvent {
    /// An attempt was let through to the password check.
    #[serde(rename = "login_attempts.attempted")]
    LoginAttempted {
        /// Attempts in a row, this one included.
        count: u32,
        /// No further attempt is let through before this instant.
        blocked_until: Option<DateTime<Utc>>,
        /// The time of the attempt.
        at: DateTime<Utc>,
    },
    /// An attempt turned out to be a login: it no longer counts. Whoever had to wait because of it still has to.
    #[serde(rename = "login_attempts.taken_back")]
    AttemptTakenBack {
        /// Attempts in a row, without this one.
        count: u32,
        /// The time of the login.
        at: DateTime<Utc>,
    },
    /// The count was forgotten after a login.
    #[serde(rename = "login_attempts.reset")]
    LoginAttemptsReset {
        /// The time of the login.
        at: DateTime<Utc>,
    },
}

stored_events! { LoginAttemptsEvent:
    LoginAttempted = "login_attempts.attempted",
    AttemptTakenBack = "login_attempts.taken_back",
    LoginAttemptsReset = "login_attempts.reset",
}
