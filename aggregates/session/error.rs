//! Why a session command is refused.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The id is taken.
    #[error("the session was started already")]
    AlreadyStarted,
    /// No such session.
    #[error("there is no such session")]
    Unknown,
    /// It was ended.
    #[error("the session has ended")]
    Ended,
    /// Idle for too long, or too old.
    #[error("the session has expired")]
    Expired,
}
