//! Why a user command is refused.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The subject exists.
    #[error("the user is registered already")]
    AlreadyRegistered,
    /// No such user.
    #[error("there is no such user")]
    Unknown,
}
