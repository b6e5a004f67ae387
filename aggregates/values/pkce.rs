//! Proof that whoever redeems a code is whoever asked for it (RFC 7636). S256 only.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Length of a SHA-256 digest in base64url without padding.
const CHALLENGE_CHARACTERS: usize = 43;

/// An S256 code challenge: the transform of a verifier, sent ahead of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads a `code_challenge` of method `S256`: 43 base64url characters, or it can match nothing
    /// (RFC 7636 §4.2).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digest = text.len() == CHALLENGE_CHARACTERS
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        is_digest.then(|| Self(text.to_owned()))
    }

    /// The challenge as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A code verifier: a secret until its code is redeemed, so it is never shown nor compared.
#[derive(Clone)]
pub struct CodeVerifier(String);

impl CodeVerifier {
    /// Reads a `code_verifier`: 43–128 unreserved characters (RFC 7636 §4.1). Anything else is
    /// refused even if its hash would match.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_verifier = (43..=128).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'));
        is_verifier.then(|| Self(text.to_owned()))
    }

    /// The S256 transform (RFC 7636 §4.6), to be compared with the challenge.
    #[must_use]
    pub fn challenge(&self) -> CodeChallenge {
        CodeChallenge(URL_SAFE_NO_PAD.encode(digest(&SHA256, self.0.as_bytes())))
    }
}

impl fmt::Debug for CodeVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CodeVerifier([secret])")
    }
}
