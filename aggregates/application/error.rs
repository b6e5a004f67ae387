//! Why an application command is refused.

/// Reasons; the texts are shown beside the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationError {
    /// Client ids are never used twice, not even after deletion.
    #[error("Application with this Client ID already exists.")]
    AlreadyRegistered,
    /// No such application.
    #[error("there is no such application")]
    Unknown,
    /// It was deleted.
    #[error("the application was deleted")]
    Deleted,
    /// A confidential application authenticates with a secret (RFC 6749 §2.3).
    #[error("a confidential application needs a client secret")]
    MissingSecret,
    /// A public application cannot keep one (RFC 6749 §2.1).
    #[error("a public application has no client secret")]
    SecretForPublic,
    /// Without a grant type it could do nothing.
    #[error("an application needs at least one grant type")]
    NoGrantType,
    /// The code has nowhere to go.
    #[error("redirect_uris cannot be empty with grant_type authorization-code")]
    NoRedirectUri,
    /// RFC 6749 §4.4: "MUST only be used by confidential clients".
    #[error("client_credentials is for confidential applications only")]
    ClientCredentialsForPublic,
    /// A refresh token comes with a code.
    #[error("refresh_token needs authorization_code")]
    RefreshWithoutCode,
    /// More than 60 seconds.
    #[error("the retry window of refresh tokens is at most 60 seconds")]
    RetryWindowTooLong,
    /// Tokens that are dead when issued.
    #[error("the lifetime of access tokens is at least one second")]
    LifetimeZero,
    /// What was issued to one type must not go on under the rules of the other.
    #[error("the client type cannot be changed")]
    ClientTypeFixed,
}
