//! What happened to a token that a client got for itself.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::authorization::RevocationReason;
use crate::stored::stored_events;
use crate::values::{GrantType, NewToken, Resource, Scope};

/// Events of the client-token stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented at the command that leads to the event")]
pub enum ClientTokenEvent {
    #[serde(rename = "client_token.issued")]
    TokenIssued {
        client_id: String,
        token: NewToken,
        grant_type: GrantType,
        scope: Scope,
        resource: Vec<Resource>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "client_token.revoked")]
    TokenRevoked { reason: RevocationReason, at: DateTime<Utc> },
}

stored_events! { ClientTokenEvent:
    TokenIssued = "client_token.issued",
    TokenRevoked = "client_token.revoked",
}
