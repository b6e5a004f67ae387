//! Why an attempt is not let through to the password check.

use chrono::{DateTime, Utc};

/// Reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginAttemptsError {
    /// Wait first (NIST SP 800-63B-4 §3.2.2).
    #[error("too many attempts; the next one is let through at {until}")]
    TooManyAttempts {
        /// When the next attempt is let through.
        until: DateTime<Utc>,
    },
}

impl LoginAttemptsError {
    /// Whole seconds to wait by the clock of whoever is told, at least 1, rounded up so that this is enough:
    /// `Retry-After`.
    #[must_use]
    pub fn retry_after(&self, now: DateTime<Utc>) -> u32 {
        let Self::TooManyAttempts { until } = self;
        let seconds = (*until - now).num_milliseconds().saturating_add(999) / 1000;
        u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
    }
}
