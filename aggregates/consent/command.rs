//! What can be asked of a remembered consent.

use chrono::{DateTime, Utc};

use crate::stored::dated;
use crate::values::Scope;

/// Commands of the consent aggregate: one stream per user and client.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named for the events they become")]
pub enum ConsentCommand {
    /// Adds to what is remembered; nothing happens when it is covered already.
    RememberConsent {
        subject: String,
        client_id: String,
        scope: Scope,
        at: DateTime<Utc>,
    },
    ForgetConsent {
        at: DateTime<Utc>,
    },
}

dated!(ConsentCommand: RememberConsent, ForgetConsent);
