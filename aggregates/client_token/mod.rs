//! An access token that a client got for itself (RFC 6749 §4.4): one stream a token.

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::ClientTokenCommand;
pub use error::ClientTokenError;
pub use event::ClientTokenEvent;

use crate::authorization::RevocationReason;
use crate::stored::{Decide, aggregate};
use crate::values::{GrantType, NewToken};

/// State of a client-token stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClientToken {
    issued: Option<Issued>,
    revoked: bool,
    latest: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Issued {
    client_id: String,
    expires_at: DateTime<Utc>,
}

aggregate!(ClientToken, "client_token", ClientTokenCommand, ClientTokenEvent, ClientTokenError);

impl Decide for ClientToken {
    fn decide(&self, command: ClientTokenCommand) -> Result<Vec<ClientTokenEvent>, ClientTokenError> {
        match command {
            ClientTokenCommand::IssueToken { client_id, token, scope, resource, at } => {
                let grant_type = GrantType::ClientCredentials;
                self.issue(ClientTokenEvent::TokenIssued {
                    client_id,
                    token,
                    grant_type,
                    scope,
                    resource,
                    at,
                })
            }
            ClientTokenCommand::RevokeToken { reason, at } => self.revoke(reason, at),
        }
    }
}

impl ClientToken {
    fn issue(&self, event: ClientTokenEvent) -> Result<Vec<ClientTokenEvent>, ClientTokenError> {
        if self.issued.is_some() { Err(ClientTokenError::AlreadyIssued) } else { Ok(vec![event]) }
    }

    fn revoke(
        &self,
        reason: RevocationReason,
        at: DateTime<Utc>,
    ) -> Result<Vec<ClientTokenEvent>, ClientTokenError> {
        if self.issued.is_none() {
            return Err(ClientTokenError::Unknown);
        }
        Ok(if self.revoked { Vec::new() } else { vec![ClientTokenEvent::TokenRevoked { reason, at }] })
    }

    fn apply_event(&mut self, event: ClientTokenEvent) {
        match event {
            ClientTokenEvent::TokenIssued {
                client_id,
                token,
                grant_type: _,
                scope: _,
                resource: _,
                at: _,
            } => {
                let NewToken { id: _, expires_at, confirmation: _ } = token;
                self.issued = Some(Issued { client_id, expires_at });
            }
            ClientTokenEvent::TokenRevoked { reason: _, at: _ } => self.revoked = true,
        }
    }

    /// Whose token it is.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.issued.as_ref().map(|issued| issued.client_id.as_str())
    }

    /// Whether it may be used at this instant.
    #[must_use]
    pub fn is_alive(&self, at: DateTime<Utc>) -> bool {
        !self.revoked && self.issued.as_ref().is_some_and(|issued| at < issued.expires_at)
    }
}
