//! Why an installation command is refused.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallationError {
    /// Nothing that was sealed, claimed or issued before could be read with another one.
    #[error("the log belongs to another root secret")]
    OtherRootSecret,
    /// After 254 roll-backs the root secret itself has to be replaced.
    #[error("there is no key epoch left")]
    NoEpochLeft,
    /// Rows that were removed do not come back by moving the horizon.
    #[error("the horizon only moves forward")]
    HorizonOnlyForward,
}
