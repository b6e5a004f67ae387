//! What a person allowed a client in a session, with the code and the tokens that came of it
//! (RFC 6749 §1.3.1, §1.5). One stream, so of two racers with the same code exactly one wins.

pub mod command;
pub mod error;
pub mod event;

mod code;
mod token;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::{AuthorizationCommand, AuthorizationRequest, ConsentBasis, Reused, RevocationReason};
pub use error::AuthorizationError;
pub use event::{AuthorizationEvent, IssuedToken, RefreshGeneration};

use crate::stored::{Decide, aggregate};
use crate::values::{CodeChallenge, Resource};

/// State of an authorization stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Authorization {
    granted: Option<Granted>,
    denied: bool,
    redeemed: bool,
    current: Option<IssuedToken>,
    access_token_revoked: bool,
    refreshed_at: Option<DateTime<Utc>>,
    revoked: Option<RevocationReason>,
    latest: DateTime<Utc>,
}

/// What was granted; nothing of it changes afterwards.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Granted {
    authorization_id: String,
    request: AuthorizationRequest,
    code_challenge: Option<CodeChallenge>,
    nonce: Option<String>,
    auth_time: DateTime<Utc>,
    methods: Vec<String>,
    basis: ConsentBasis,
    code_expires_at: DateTime<Utc>,
}

aggregate!(Authorization, "authorization", AuthorizationCommand, AuthorizationEvent, AuthorizationError);

type Decision = Result<Vec<AuthorizationEvent>, AuthorizationError>;

impl Decide for Authorization {
    #[rustfmt::skip]
    fn decide(&self, command: AuthorizationCommand) -> Decision {
        match command {
            AuthorizationCommand::GrantAuthorization {
                authorization_id, request, code_challenge, nonce, auth_time, methods, basis, code_expires_at, at,
            } => self.settle(AuthorizationEvent::AuthorizationGranted {
                authorization_id, request, code_challenge, nonce, auth_time, methods, basis, code_expires_at, at,
            }),
            AuthorizationCommand::DenyAuthorization { authorization_id, request, at } => {
                self.settle(AuthorizationEvent::AuthorizationDenied { authorization_id, request, at })
            }
            AuthorizationCommand::RedeemCode { client_id, redirect_uri, verifier, resource, access, refresh, at } => {
                self.redeem(code::CodeUse { client_id, redirect_uri, verifier, resource, access, refresh, at })
            }
            AuthorizationCommand::RefreshToken {
                client_id, generation, scope, allowed_scope, resource, access, idle_expires_at, retry_window, at,
            } => self.refresh(token::RefreshTokenUse {
                client_id, generation, scope, allowed_scope, resource, access, idle_expires_at, retry_window, at,
            }),
            AuthorizationCommand::ReportReuse { reused, at } => self.report_reuse(reused, at),
            AuthorizationCommand::RevokeAccessToken { token_id, reason, at } => {
                self.revoke_access_token(token_id, reason, at)
            }
            AuthorizationCommand::RevokeAuthorization { reason, at } => self.revoke(reason, at),
        }
    }
}

impl Authorization {
    /// The person answers once.
    fn settle(&self, answer: AuthorizationEvent) -> Decision {
        if self.granted.is_some() || self.denied {
            return Err(AuthorizationError::AlreadyDecided);
        }
        Ok(vec![answer])
    }

    fn granted(&self) -> Result<&Granted, AuthorizationError> {
        self.granted.as_ref().ok_or(AuthorizationError::NotGranted)
    }

    /// What was granted, provided that this client asked for it.
    fn granted_to(&self, client_id: &str) -> Result<&Granted, AuthorizationError> {
        let granted = self.granted()?;
        if granted.request.client_id == client_id {
            Ok(granted)
        } else {
            Err(AuthorizationError::WrongClient)
        }
    }

    fn apply_event(&mut self, event: AuthorizationEvent) {
        match event {
            AuthorizationEvent::AuthorizationGranted {
                authorization_id,
                request,
                code_challenge,
                nonce,
                auth_time,
                methods,
                basis,
                code_expires_at,
                at: _,
            } => {
                self.granted = Some(Granted {
                    authorization_id,
                    request,
                    code_challenge,
                    nonce,
                    auth_time,
                    methods,
                    basis,
                    code_expires_at,
                });
            }
            AuthorizationEvent::AuthorizationDenied { authorization_id: _, request: _, at: _ } => {
                self.denied = true;
            }
            AuthorizationEvent::CodeRedeemed { at: _ } => self.redeemed = true,
            AuthorizationEvent::TokenIssued { issued, at: _ } => self.current = Some(issued),
            AuthorizationEvent::TokenRefreshed { issued, replaced_token_id: _, at } => {
                self.current = Some(issued);
                self.access_token_revoked = false;
                self.refreshed_at = Some(at);
            }
            AuthorizationEvent::ReuseDetected { reused: _, at: _ } => {}
            AuthorizationEvent::TokenRevoked { token_id, reason: _, at: _ } => {
                self.access_token_revoked |= self.is_current(&token_id);
            }
            AuthorizationEvent::AuthorizationRevoked { reason, at: _ } => self.revoked = Some(reason),
        }
    }

    fn is_current(&self, token_id: &str) -> bool {
        self.current.as_ref().is_some_and(|current| current.token.id == token_id)
    }

    /// Who asked for what; `None` unless granted.
    #[must_use]
    pub fn request(&self) -> Option<&AuthorizationRequest> {
        self.granted.as_ref().map(|granted| &granted.request)
    }

    /// The id of the stream; `None` unless granted.
    #[must_use]
    pub fn authorization_id(&self) -> Option<&str> {
        self.granted.as_ref().map(|granted| granted.authorization_id.as_str())
    }

    /// `nonce` of the authentication request (OIDC Core §3.1.2.1).
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        self.granted.as_ref()?.nonce.as_deref()
    }

    /// When the person authenticated.
    #[must_use]
    pub fn auth_time(&self) -> Option<DateTime<Utc>> {
        self.granted.as_ref().map(|granted| granted.auth_time)
    }

    /// How the person authenticated (RFC 8176).
    #[must_use]
    pub fn methods(&self) -> &[String] {
        self.granted.as_ref().map_or(&[], |granted| &granted.methods)
    }

    /// How consent came about.
    #[must_use]
    pub fn basis(&self) -> Option<ConsentBasis> {
        self.granted.as_ref().map(|granted| granted.basis)
    }

    /// First instant at which the code is dead.
    #[must_use]
    pub fn code_expires_at(&self) -> Option<DateTime<Utc>> {
        self.granted.as_ref().map(|granted| granted.code_expires_at)
    }

    /// The access token of the last issue or refresh, with the refresh token that came with it:
    /// what an answer is made of, also the repeated one within the retry window.
    #[must_use]
    pub fn current(&self) -> Option<&IssuedToken> {
        self.current.as_ref()
    }

    /// The only refresh generation that can be used; `None` when there is no refresh token.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        self.current.as_ref()?.refresh.as_ref().map(|refresh| refresh.generation)
    }

    /// When a refresh token was last used.
    #[must_use]
    pub fn refreshed_at(&self) -> Option<DateTime<Utc>> {
        self.refreshed_at
    }

    /// Whether the code was used.
    #[must_use]
    pub fn is_redeemed(&self) -> bool {
        self.redeemed
    }

    /// Whether everything it gave is dead.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.is_some()
    }

    /// Why everything it gave is dead.
    #[must_use]
    pub fn revocation(&self) -> Option<RevocationReason> {
        self.revoked
    }

    /// Whether the current access token may be used at this instant.
    #[must_use]
    pub fn is_access_token_alive(&self, at: DateTime<Utc>) -> bool {
        let unexpired = self.current.as_ref().is_some_and(|current| at < current.token.expires_at);
        unexpired && !self.access_token_revoked && !self.is_revoked()
    }
}

impl Granted {
    /// The resources of a token: those asked for, which must have been granted, or all that were
    /// (RFC 8707 §2.2). A grant without resources does not restrict them.
    fn resources_for(&self, asked: Vec<Resource>) -> Result<Vec<Resource>, AuthorizationError> {
        let granted = &self.request.resource;
        if asked.is_empty() {
            return Ok(granted.clone());
        }
        let is_granted = |one: &Resource| granted.iter().any(|other| other.same_as(one));
        if granted.is_empty() || asked.iter().all(is_granted) {
            Ok(asked)
        } else {
            Err(AuthorizationError::InvalidTarget)
        }
    }
}
