//! Why a refusal is not recorded.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalError {
    /// One stream a refusal.
    #[error("the refusal was recorded already")]
    AlreadyRecorded,
}
