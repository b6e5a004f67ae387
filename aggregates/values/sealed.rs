//! Personal data as events hold it: sealed under a key of the person it belongs to.

use serde::{Deserialize, Serialize};

/// Ciphertext of personal data. Destroying the subject's key destroys it everywhere at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl Sealed {
    /// Wraps text that is already sealed.
    #[must_use]
    pub fn from_ciphertext(text: String) -> Self {
        Self(text)
    }

    /// The ciphertext, for rows and for opening it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
