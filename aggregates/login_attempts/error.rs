//! Why an attempt is not let through to the password check.

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginAttemptsError {
    /// Wait first (NIST SP 800-63B-4 §3.2.2).
    #[error("too many attempts; wait {retry_after} seconds")]
    TooManyAttempts {
        /// Whole seconds until the next attempt is let through, at least 1: `Retry-After`.
        retry_after: u32,
    },
}
