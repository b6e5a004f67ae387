//! What does a client learn when its request is refused or fails?
//!
//! Goals: the code is true (clients throw tokens and registrations away on `invalid_grant` and
//! `invalid_client`), so our own faults are never one of those; the description goes out and holds
//! nothing but our words; the cause goes to the log alone, once, with the request's correlation id.
//! RFC 6749 §5.2 and §4.1.2.1, RFC 6750 §3.1, RFC 8707 §2. The other kind of error is a page.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use projections::read::ReadError;
use serde::Serialize;

use crate::commands::CommandError;
use crate::journal::EngineError;
use crate::json;
use crate::password::{AttemptError, PasswordError};
use crate::personal::PersonalError;
use crate::token::MalformedId;

/// Seconds after which a client may try again when the fault was ours.
pub const RETRY_AFTER: u64 = 1;
/// Longer descriptions are cut: they may repeat a name that the client chose.
const LONGEST_DESCRIPTION: usize = 300;

/// Error codes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is its registered name")]
pub enum ErrorCode {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidScope,
    InvalidTarget,
    AccessDenied,
    LoginRequired,
    ConsentRequired,
    InteractionRequired,
    InvalidToken,
    InsufficientScope,
    ServerError,
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidRequest => "invalid_request",
            ErrorCode::InvalidClient => "invalid_client",
            ErrorCode::InvalidGrant => "invalid_grant",
            ErrorCode::UnauthorizedClient => "unauthorized_client",
            ErrorCode::UnsupportedGrantType => "unsupported_grant_type",
            ErrorCode::UnsupportedResponseType => "unsupported_response_type",
            ErrorCode::InvalidScope => "invalid_scope",
            ErrorCode::InvalidTarget => "invalid_target",
            ErrorCode::AccessDenied => "access_denied",
            ErrorCode::LoginRequired => "login_required",
            ErrorCode::ConsentRequired => "consent_required",
            ErrorCode::InteractionRequired => "interaction_required",
            ErrorCode::InvalidToken => "invalid_token",
            ErrorCode::InsufficientScope => "insufficient_scope",
            ErrorCode::ServerError => "server_error",
            ErrorCode::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The status it goes with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
            ErrorCode::InsufficientScope => StatusCode::FORBIDDEN,
            ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::InvalidRequest
            | ErrorCode::InvalidGrant
            | ErrorCode::UnauthorizedClient
            | ErrorCode::UnsupportedGrantType
            | ErrorCode::UnsupportedResponseType
            | ErrorCode::InvalidScope
            | ErrorCode::InvalidTarget
            | ErrorCode::AccessDenied
            | ErrorCode::LoginRequired
            | ErrorCode::ConsentRequired
            | ErrorCode::InteractionRequired => StatusCode::BAD_REQUEST,
        }
    }
}

/// An error as OAuth clients read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// What kind.
    pub code: ErrorCode,
    /// What a developer should read; ASCII without `"` and `\` (RFC 6749 §5.2).
    pub description: Cow<'static, str>,
    /// The status, usually that of the code.
    pub status: StatusCode,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
    /// For the log alone.
    pub cause: Option<String>,
}

impl OAuthError {
    /// An error with one of our own sentences.
    #[must_use]
    pub fn new(code: ErrorCode, description: &'static str) -> Self {
        Self {
            code,
            description: Cow::Borrowed(description),
            status: code.status(),
            retry_after: None,
            cause: None,
        }
    }

    /// An error whose sentence repeats something of the request: what may not be in a description is
    /// left out of it.
    #[must_use]
    pub fn described(code: ErrorCode, description: &str) -> Self {
        let allowed = |one: &char| matches!(one, ' ' | '!' | '#'..='[' | ']'..='~');
        let text = description.chars().filter(allowed).take(LONGEST_DESCRIPTION).collect();
        Self { description: Cow::Owned(text), ..Self::new(code, "") }
    }

    /// The request makes no sense.
    #[must_use]
    pub fn invalid_request(description: &'static str) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// The client is not who it says. One sentence for every reason: which one it was would tell a
    /// stranger which clients exist.
    #[must_use]
    pub fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "Client authentication failed.")
    }

    /// The code or refresh token is not good, or not this client's.
    #[must_use]
    pub fn invalid_grant(description: &'static str) -> Self {
        Self::new(ErrorCode::InvalidGrant, description)
    }

    /// Our fault, and it may be over soon.
    #[must_use]
    pub fn unavailable(cause: impl fmt::Display) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            cause: Some(cause.to_string()),
            ..Self::new(ErrorCode::TemporarilyUnavailable, "Try again in a moment.")
        }
    }

    /// Somebody takes more than their share (RFC 6585 §4).
    #[must_use]
    pub fn too_many(wait: Duration) -> Self {
        Self {
            retry_after: Some(seconds(wait)),
            status: StatusCode::TOO_MANY_REQUESTS,
            ..Self::new(ErrorCode::TemporarilyUnavailable, "Too many requests; try again later.")
        }
    }

    /// Our fault, and somebody must look at it.
    #[must_use]
    pub fn fault(cause: impl fmt::Display) -> Self {
        Self {
            cause: Some(cause.to_string()),
            ..Self::new(ErrorCode::ServerError, "The server failed; the fault is not the client's.")
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// What a refused command means: the aggregate's reason, or an error of ours.
    pub fn reason_of<E: Error>(error: CommandError<E>) -> Result<E, Self> {
        match error {
            CommandError::Refused(reason) => Ok(reason),
            CommandError::Busy => Err(Self::unavailable("too many commands at once")),
            CommandError::Unavailable(cause) => Err(Self::unavailable(cause)),
            CommandError::Claimed(kind) => Err(Self::fault(format!("unexpected claim of {kind}"))),
            CommandError::Damaged(cause) => Err(Self::fault(cause)),
        }
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.as_str(), self.description)
    }
}

impl Error for OAuthError {}

impl From<ReadError> for OAuthError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable { reason } => Self::unavailable(reason),
            ReadError::Damaged { .. } => Self::fault(error),
        }
    }
}

impl From<EngineError> for OAuthError {
    fn from(error: EngineError) -> Self {
        Self::unavailable(error)
    }
}

impl From<PasswordError> for OAuthError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::unavailable(error),
            PasswordError::MalformedVerifier | PasswordError::Failed => Self::fault(error),
        }
    }
}

impl From<AttemptError> for OAuthError {
    fn from(error: AttemptError) -> Self {
        match error {
            AttemptError::TooMany(wait) => Self::too_many(wait),
            AttemptError::Password(error) => error.into(),
        }
    }
}

impl From<PersonalError> for OAuthError {
    fn from(error: PersonalError) -> Self {
        match error {
            PersonalError::Engine(error) => Self::unavailable(error),
            PersonalError::Seal(_) | PersonalError::Erased => Self::fault(error),
        }
    }
}

impl From<MalformedId> for OAuthError {
    fn from(error: MalformedId) -> Self {
        Self::fault(error)
    }
}

/// Whole seconds, rounded up (RFC 9110 §10.2.3).
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What the request's log line says of an error.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The code.
    pub code: ErrorCode,
    /// What is behind it, when it is our fault.
    pub cause: Option<String>,
}

/// The first step of whoever reads in the log that a request failed with this status.
#[must_use]
pub fn what_to_do(status: StatusCode) -> &'static str {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        "See to the cause. Whoever asked may come again."
    } else {
        "Run `chancery verify`. If the history is whole it is a fault of the program: report the line."
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'static str,
    error_description: &'a str,
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.code.as_str(), error_description: &self.description };
        let mut response = json::answer(self.status, &body);
        let headers = response.headers_mut();
        never_stored(headers);
        if self.code == ErrorCode::InvalidClient {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"chancery\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Failure { code: self.code, cause: self.cause });
        response
    }
}

/// Nobody keeps an answer of the token endpoint (RFC 6749 §5.1); `Pragma` is for caches of 1997, and
/// still asked for.
pub fn never_stored(headers: &mut axum::http::HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn body(response: Response) -> String {
        String::from_utf8(to_bytes(response.into_body(), 1 << 16).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn rfc_6749_section_5_2_a_failed_client_gets_401_with_a_challenge() {
        let response = OAuthError::invalid_client().into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"chancery\"");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["pragma"], "no-cache");
        assert_eq!(response.headers()["content-type"], "application/json");
        let expected = r#"{"error": "invalid_client", "error_description": "Client authentication failed."}"#;
        assert_eq!(body(response).await, expected);
    }

    #[tokio::test]
    async fn our_faults_are_never_the_clients() {
        let error = OAuthError::from(ReadError::Unavailable { reason: "connection refused".to_owned() });
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(response.headers().get("www-authenticate").is_none());
        let text = body(response).await;
        assert!(text.contains("temporarily_unavailable") && !text.contains("refused"), "{text}");
    }

    #[test]
    fn rfc_9110_section_10_2_3_retry_after_is_whole_seconds() {
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
    }

    #[test]
    fn rfc_6749_section_5_2_a_description_has_only_the_characters_allowed() {
        let error =
            OAuthError::described(ErrorCode::InvalidRequest, "The parameter \"a\\\r\né\u{7f}b\" is twice.");
        assert_eq!(error.description, "The parameter ab is twice.");
        let long = OAuthError::described(ErrorCode::InvalidRequest, &"x".repeat(10_000));
        assert_eq!(long.description.len(), LONGEST_DESCRIPTION);
    }
}
