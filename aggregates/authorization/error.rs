//! Why an authorization command is refused. Each endpoint maps these to its own error codes.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// The person was asked and has answered already.
    #[error("the authorization was decided already")]
    AlreadyDecided,
    /// No authorization was given here.
    #[error("no authorization was granted")]
    NotGranted,
    /// The code or token belongs to another client.
    #[error("the authorization belongs to another client")]
    WrongClient,
    /// It was part of the authorization request and must be repeated (RFC 6749 §4.1.3).
    #[error("the redirect URI of the authorization request is missing")]
    RedirectUriMissing,
    /// Not the one of the authorization request (RFC 6749 §4.1.3).
    #[error("the redirect URI is not that of the authorization request")]
    RedirectUriMismatch,
    /// A challenge was sent, the verifier was not (RFC 7636 §4.6).
    #[error("the code verifier is missing")]
    VerifierMissing,
    /// The verifier does not belong to the challenge (RFC 7636 §4.6).
    #[error("the code verifier does not match")]
    VerifierWrong,
    /// A verifier without a challenge is a downgrade (RFC 9700 §4.8.2).
    #[error("a code verifier without a challenge")]
    VerifierUnexpected,
    /// It was revoked, with everything it gave.
    #[error("the authorization was revoked")]
    Revoked,
    /// An otherwise valid second presentation of the code: report it (RFC 6749 §4.1.2).
    #[error("the code was redeemed already")]
    AlreadyRedeemed,
    /// Too late.
    #[error("the code has expired")]
    CodeExpired,
    /// Not among the resources that were granted (RFC 8707 §2.2).
    #[error("the resource was not granted")]
    InvalidTarget,
    /// No refresh token was given.
    #[error("there is no refresh token")]
    NoRefreshToken,
    /// A generation that was never issued.
    #[error("the refresh token was never issued")]
    UnknownGeneration,
    /// Unused for too long, or the family is too old.
    #[error("the refresh token has expired")]
    RefreshTokenExpired,
    /// A generation that was used before: report it (RFC 9700 §4.14.2).
    #[error("the refresh token was used already")]
    RefreshTokenReused,
    /// More than the person granted (RFC 6749 §6).
    #[error("the scope exceeds what was granted")]
    ScopeExceeded,
    /// Everything that was asked for was taken away from the application meanwhile.
    #[error("no scope is left")]
    NothingLeft,
}
