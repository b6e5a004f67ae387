//! What happened to an authorization: code and token family in one stream, so that redeem and issue
//! are one step and exactly one racer wins.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::{AuthorizationRequest, ConsentBasis, Reused, RevocationReason};
use crate::stored::stored_events;
use crate::values::{CodeChallenge, GrantType, NewToken, RefreshTerms, Resource, Scope};

/// A refresh token as an event knows it: its generation and its end, nothing that could be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshGeneration {
    /// Counted from 1 within the authorization.
    pub generation: u32,
    /// How long it lives.
    pub terms: RefreshTerms,
}

/// An issued access token with what it may be used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// The client it was issued to.
    pub client_id: String,
    /// The resource owner it speaks for.
    pub subject: String,
    /// Id, expiry, `cnf`.
    pub token: NewToken,
    /// The grant that led to it.
    pub grant_type: GrantType,
    /// What it allows.
    pub scope: Scope,
    /// What it is meant for; empty = not restricted.
    pub resource: Vec<Resource>,
    /// When the person authenticated.
    pub auth_time: DateTime<Utc>,
    /// The refresh token that came with it.
    pub refresh: Option<RefreshGeneration>,
}

/// Events of the authorization stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented at the command that leads to the event")]
pub enum AuthorizationEvent {
    #[serde(rename = "authorization.granted")]
    AuthorizationGranted {
        authorization_id: String,
        request: AuthorizationRequest,
        code_challenge: Option<CodeChallenge>,
        nonce: Option<String>,
        auth_time: DateTime<Utc>,
        methods: Vec<String>,
        basis: ConsentBasis,
        code_expires_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "authorization.denied")]
    AuthorizationDenied { authorization_id: String, request: AuthorizationRequest, at: DateTime<Utc> },
    #[serde(rename = "authorization.code_redeemed")]
    CodeRedeemed { at: DateTime<Utc> },
    #[serde(rename = "authorization.token_issued")]
    TokenIssued { issued: IssuedToken, at: DateTime<Utc> },
    /// The former access token dies in the same step.
    #[serde(rename = "authorization.token_refreshed")]
    TokenRefreshed { issued: IssuedToken, replaced_token_id: String, at: DateTime<Utc> },
    #[serde(rename = "authorization.reuse_detected")]
    ReuseDetected { reused: Reused, at: DateTime<Utc> },
    #[serde(rename = "authorization.token_revoked")]
    TokenRevoked { token_id: String, reason: RevocationReason, at: DateTime<Utc> },
    #[serde(rename = "authorization.revoked")]
    AuthorizationRevoked { reason: RevocationReason, at: DateTime<Utc> },
}

stored_events! { AuthorizationEvent:
    AuthorizationGranted = "authorization.granted",
    AuthorizationDenied = "authorization.denied",
    CodeRedeemed = "authorization.code_redeemed",
    TokenIssued = "authorization.token_issued",
    TokenRefreshed = "authorization.token_refreshed",
    ReuseDetected = "authorization.reuse_detected",
    TokenRevoked = "authorization.token_revoked",
    AuthorizationRevoked = "authorization.revoked",
}
