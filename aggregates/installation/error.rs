//! Why an installation command is refused.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallationError {
    /// Rows that were removed do not come back by moving the horizon.
    #[error("the horizon only moves forward")]
    HorizonOnlyForward,
}
