//! What an event says of a secret: which verifier to look up, never the verifier.

use serde::{Deserialize, Serialize};

/// How a secret is kept in the secrets table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretKind {
    /// Generated here with at least 256 bits: a keyed hash is enough and costs nothing to check.
    #[serde(rename = "keyed-sha256")]
    KeyedSha256,
    /// Chosen by a person: Argon2id (RFC 9106).
    #[serde(rename = "argon2id")]
    Argon2id,
}

/// A reference to a row of the secrets table. A rotated secret is a new reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Key of the row.
    pub id: String,
    /// How to check against it.
    pub kind: SecretKind,
}
