//! A refusal that matters is recorded by a command of its own: a refused command leaves no events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::dated;

/// The rule that refused. Stored by name: a public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each names its rule")]
pub enum Rule {
    WrongSecret,
    UnknownClient,
    ApplicationDisabled,
    GrantNotAllowed,
    ScopeNotAllowed,
    ResourceNotAllowed,
    WrongClient,
    CodeExpired,
    CodeReplayed,
    RedirectUriMismatch,
    VerifierMissing,
    VerifierWrong,
    VerifierUnexpected,
    RefreshTokenExpired,
    RefreshTokenReused,
    AuthorizationRevoked,
    UserLocked,
    WrongPassword,
    TooManyAttempts,
    WrongSession,
    RequestExpired,
    RequestForged,
    RedirectUriNotRegistered,
    PkceRequired,
    LoginRequired,
    ConsentRequired,
    NotPermitted,
    CrossSiteRequest,
    AlreadyUsed,
}

/// What was refused, by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequest {
    /// The rule.
    pub rule: Rule,
    /// Where: `token`, `authorize`, `introspect`, `revoke`, `resource`, `login`, `pages`.
    pub endpoint: String,
    /// The error code that went out (RFC 6749 §5.2, §4.1.2.1), if one did.
    pub error: Option<String>,
    /// The client concerned.
    pub client_id: Option<String>,
    /// The user concerned.
    pub subject: Option<String>,
    /// The authorization concerned.
    pub authorization_id: Option<String>,
    /// The token concerned, by id.
    pub token_id: Option<String>,
    /// Shown to the person and written to the log, so that all three can be brought together.
    pub correlation_id: String,
}

/// The command of the refusal aggregate: one stream a refusal.
#[derive(Clone, Debug)]
pub enum RefusalCommand {
    /// Puts the refusal on the roll.
    RecordRefusal {
        /// What was refused.
        refused: RefusedRequest,
        /// When.
        at: DateTime<Utc>,
    },
}

dated!(RefusalCommand: RecordRefusal);
