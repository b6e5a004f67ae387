//! Why a client-token command is refused.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientTokenError {
    /// The id is taken.
    #[error("the token was issued already")]
    AlreadyIssued,
    /// No such token.
    #[error("there is no such token")]
    Unknown,
}
