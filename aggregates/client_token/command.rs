//! What can be asked of a token that a client got for itself (RFC 6749 §4.4).

use chrono::{DateTime, Utc};

use crate::authorization::RevocationReason;
use crate::stored::dated;
use crate::values::{NewToken, Resource, Scope};

/// Commands of the client-token aggregate: one stream a token.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named for the events they become")]
pub enum ClientTokenCommand {
    IssueToken {
        client_id: String,
        token: NewToken,
        scope: Scope,
        resource: Vec<Resource>,
        at: DateTime<Utc>,
    },
    RevokeToken {
        reason: RevocationReason,
        at: DateTime<Utc>,
    },
}

dated!(ClientTokenCommand: IssueToken, RevokeToken);
