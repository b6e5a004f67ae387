//! What a person allowed a client, remembered for next time.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::stored_events;
use crate::values::Scope;

/// Events of the consent stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented at the command that leads to the event")]
pub enum ConsentEvent {
    /// `scope` is all that is remembered from here on, not only what was added.
    #[serde(rename = "consent.remembered")]
    ConsentRemembered { subject: String, client_id: String, scope: Scope, at: DateTime<Utc> },
    #[serde(rename = "consent.forgotten")]
    ConsentForgotten { at: DateTime<Utc> },
}

stored_events! { ConsentEvent:
    ConsentRemembered = "consent.remembered",
    ConsentForgotten = "consent.forgotten",
}
