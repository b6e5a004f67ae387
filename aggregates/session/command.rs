//! What can be asked of a browser session.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::dated;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The person logged out.
    LoggedOut,
    /// A fresh login in the same browser took its place.
    Replaced,
}

/// Commands of the session aggregate.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named for the events they become")]
pub enum SessionCommand {
    StartSession {
        session_id: String,
        subject: String,
        /// Authentication methods (RFC 8176): `pwd`.
        methods: Vec<String>,
        /// When the person authenticated (`auth_time`, OIDC Core §2).
        auth_time: DateTime<Utc>,
        /// Dead from here on in any case.
        expires_at: DateTime<Utc>,
        /// Dead from here on unless renewed.
        idle_expires_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// The session was used again; asked for seldom, so that reading pages does not write.
    RenewSession {
        idle_expires_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    EndSession {
        reason: EndReason,
        at: DateTime<Utc>,
    },
}

dated!(SessionCommand: StartSession, RenewSession, EndSession);
