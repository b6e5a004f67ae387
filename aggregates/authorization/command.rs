//! What can be asked of an authorization: a grant by a person to a client, its code and its tokens.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::dated;
use crate::values::{CodeChallenge, NewToken, RefreshTerms, Resource, Scope};

/// How the person's consent came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentBasis {
    /// The person pressed *Authorize*.
    Asked,
    /// An earlier consent covers the request.
    Remembered,
    /// A superuser marked the application as trusted.
    Skipped,
}

/// Why an authorization or a token was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// The client asked (RFC 7009).
    Client,
    /// The person asked, on the page of authorized applications.
    ResourceOwner,
    /// A superuser asked.
    Superuser,
    /// A code was presented twice (RFC 6749 §4.1.2).
    CodeReplayed,
    /// A refresh token was presented again after its use (RFC 9700 §4.14.2).
    RefreshTokenReused,
}

/// What was presented a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Reused {
    /// The authorization code.
    Code,
    /// A refresh token of an earlier generation.
    RefreshToken {
        /// Which one; the first refresh token of a family is generation 1.
        generation: u32,
    },
}

/// Who asks for what, common to a grant and a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The client that asks.
    pub client_id: String,
    /// The resource owner.
    pub subject: String,
    /// The browser session in which it was asked.
    pub session_id: String,
    /// What is asked for, defaults filled in.
    pub scope: Scope,
    /// Protected resources the tokens are meant for (RFC 8707); empty = not restricted.
    pub resource: Vec<Resource>,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// Whether the request named it: if so, the token request must repeat it (RFC 6749 §4.1.3).
    pub redirect_uri_sent: bool,
}

/// Commands of the authorization aggregate.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named for the events they become")]
pub enum AuthorizationCommand {
    GrantAuthorization {
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
    DenyAuthorization {
        authorization_id: String,
        request: AuthorizationRequest,
        at: DateTime<Utc>,
    },
    /// RFC 6749 §4.1.3.
    RedeemCode {
        client_id: String,
        redirect_uri: Option<String>,
        /// The S256 transform of the verifier that was sent, if one was.
        verifier: Option<CodeChallenge>,
        /// Narrows the resources granted (RFC 8707 §2.2); empty = all of them.
        resource: Vec<Resource>,
        access: NewToken,
        /// `None` when the application may not refresh.
        refresh: Option<RefreshTerms>,
        at: DateTime<Utc>,
    },
    /// RFC 6749 §6 with rotation.
    RefreshToken {
        client_id: String,
        generation: u32,
        /// Narrows the new access token only.
        scope: Option<Scope>,
        /// What the application may have today: scopes taken away from it are dropped.
        allowed_scope: Scope,
        resource: Vec<Resource>,
        access: NewToken,
        /// When the new refresh token expires unless used; never beyond the family's end.
        idle_expires_at: DateTime<Utc>,
        /// Seconds in which the previous generation yields the same successor.
        retry_window: u32,
        at: DateTime<Utc>,
    },
    /// The second command after a refusal for reuse: everything this authorization gave dies.
    ReportReuse {
        reused: Reused,
        at: DateTime<Utc>,
    },
    RevokeAccessToken {
        token_id: String,
        reason: RevocationReason,
        at: DateTime<Utc>,
    },
    RevokeAuthorization {
        reason: RevocationReason,
        at: DateTime<Utc>,
    },
}

dated! { AuthorizationCommand:
    GrantAuthorization,
    DenyAuthorization,
    RedeemCode,
    RefreshToken,
    ReportReuse,
    RevokeAccessToken,
    RevokeAuthorization,
}
