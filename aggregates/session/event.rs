//! What happened to a browser session.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::EndReason;
use crate::stored::stored_events;

/// Events of the session stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented at the command that leads to the event")]
pub enum SessionEvent {
    #[serde(rename = "session.started")]
    SessionStarted {
        session_id: String,
        subject: String,
        methods: Vec<String>,
        auth_time: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        idle_expires_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "session.renewed")]
    SessionRenewed { idle_expires_at: DateTime<Utc>, at: DateTime<Utc> },
    #[serde(rename = "session.ended")]
    SessionEnded { reason: EndReason, at: DateTime<Utc> },
}

stored_events! { SessionEvent:
    SessionStarted = "session.started",
    SessionRenewed = "session.renewed",
    SessionEnded = "session.ended",
}
