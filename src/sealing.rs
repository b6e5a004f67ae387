//! How is text made unreadable, and unchangeable, for everybody but us?
//!
//! Three uses of one AEAD (AES-256-GCM-SIV, RFC 8452, random nonces):
//! 1. [`SealedBox`]: a request in progress travels through the browser as one
//!    field, bound to a purpose, to the browser and to an expiry. No table, and
//!    any node can go on with it.
//! 2. [`seal_personal`]: personal data in events, under the key of its subject.
//!    Destroying that key erases the person from a log that cannot change.
//! 3. [`seal_at_rest`]: keys in the database, under a key that is not in it.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::keys::Keys;
use crate::secret::random_bytes;

/// No request body is larger, so no sealed field can be.
const LONGEST_SEAL: usize = 64 * 1024;
/// The format of sealed personal data and keys; stored for ever.
const VERSION: &str = "v1.";

/// Why a seal could not be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not in the form of a seal, or what was in it is of another shape.
    #[error("the sealed text is malformed")]
    Malformed,
    /// Changed, or sealed for another purpose, browser or subject, or under another key.
    #[error("the sealed text was not sealed by us for this use")]
    Forged,
    /// Genuine, but too old.
    #[error("the sealed text has expired")]
    Expired,
    /// The value cannot be written, or the cryptographic library refused.
    #[error("the value cannot be sealed")]
    Unsealable,
}

/// Seals requests in progress: the authorization request in the consent form,
/// the place to go after login, the prefilled registration form.
#[derive(Debug, Clone)]
pub struct SealedBox {
    keys: Arc<Keys>,
}

impl SealedBox {
    /// Seals under the request sealing keys of `keys`.
    #[must_use]
    pub fn new(keys: Arc<Keys>) -> Self {
        Self { keys }
    }

    /// Seals `value` for one purpose and one browser until `expires_at`.
    pub fn seal(
        &self,
        purpose: &'static str,
        bound_to: &str,
        expires_at: DateTime<Utc>,
        value: &impl Serialize,
    ) -> Result<String, SealError> {
        let current = self.keys.current();
        let mut text = expires_at.timestamp_millis().to_be_bytes().to_vec();
        serde_json::to_writer(&mut text, value).map_err(|_| SealError::Unsealable)?;
        let epoch = [current.number()];
        let context = context(&[b"request", &epoch, purpose.as_bytes(), bound_to.as_bytes()]);
        let sealed = encrypt(&current.request_sealing, &context, text)?;
        Ok(URL_SAFE_NO_PAD.encode([&epoch, sealed.as_slice()].concat()))
    }

    /// Opens what [`Self::seal`] made for the same purpose and browser.
    pub fn open<T: DeserializeOwned>(
        &self,
        purpose: &'static str,
        bound_to: &str,
        now: DateTime<Utc>,
        sealed: &str,
    ) -> Result<T, SealError> {
        if sealed.len() > LONGEST_SEAL {
            return Err(SealError::Malformed);
        }
        let bytes = decode(sealed)?;
        let (epoch, bytes) = bytes.split_first().ok_or(SealError::Malformed)?;
        let keys = self.keys.minted(*epoch).ok_or(SealError::Forged)?;
        let context = context(&[b"request", &[*epoch], purpose.as_bytes(), bound_to.as_bytes()]);
        let opened = decrypt(&keys.request_sealing, &context, bytes)?;
        let (expiry, value) = opened.split_first_chunk().ok_or(SealError::Malformed)?;
        if now.timestamp_millis() >= i64::from_be_bytes(*expiry) {
            return Err(SealError::Expired);
        }
        serde_json::from_slice(value).map_err(|_| SealError::Malformed)
    }
}

/// The key of one subject's personal data; destroying it erases the subject.
#[derive(Clone)]
pub struct SubjectKey(Zeroizing<[u8; 32]>);

impl SubjectKey {
    /// A fresh random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(random_bytes()))
    }

    /// The key as it is stored: sealed under the server's sealing key.
    pub fn wrap(&self, keys: &Keys) -> Result<String, SealError> {
        seal_at_rest(keys, "subject_key", self.0.as_slice())
    }

    /// Opens what [`Self::wrap`] made.
    pub fn unwrap(keys: &Keys, wrapped: &str) -> Result<Self, SealError> {
        let opened = open_at_rest(keys, "subject_key", wrapped)?;
        let bytes = opened.as_slice().try_into();
        Ok(Self(Zeroizing::new(bytes.map_err(|_| SealError::Malformed)?)))
    }

    fn aead(&self) -> Result<RandomizedNonceKey, SealError> {
        RandomizedNonceKey::new(&AES_256_GCM_SIV, self.0.as_slice()).map_err(|_| SealError::Unsealable)
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// Seals one piece of a subject's personal data: `v1.` and base64url.
///
/// `subject` is the user id, or [`month_subject`] where there is none yet. The
/// text opens for that subject only, so one row cannot pose as another's.
pub fn seal_personal(key: &SubjectKey, subject: &str, plaintext: &str) -> Result<String, SealError> {
    let context = context(&[b"personal", subject.as_bytes()]);
    let sealed = encrypt(&key.aead()?, &context, plaintext.as_bytes().to_vec())?;
    Ok(format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(sealed)))
}

/// Opens what [`seal_personal`] made for the same subject.
pub fn open_personal(key: &SubjectKey, subject: &str, sealed: &str) -> Result<String, SealError> {
    let sealed = sealed.strip_prefix(VERSION).ok_or(SealError::Malformed)?;
    let context = context(&[b"personal", subject.as_bytes()]);
    let opened = decrypt(&key.aead()?, &context, &decode(sealed)?)?;
    std::str::from_utf8(&opened).map(str::to_owned).map_err(|_| SealError::Malformed)
}

/// The subject of personal data that belongs to nobody known: `month:2026-11`.
#[must_use]
pub fn month_subject(at: DateTime<Utc>) -> String {
    at.format("month:%Y-%m").to_string()
}

/// Seals a key that is stored in the database; `name` says which one it is.
pub fn seal_at_rest(keys: &Keys, name: &str, plaintext: &[u8]) -> Result<String, SealError> {
    let current = keys.current();
    let epoch = [current.number()];
    let context = context(&[b"at_rest", &epoch, name.as_bytes()]);
    let sealed = encrypt(&current.sealing, &context, plaintext.to_vec())?;
    let bytes = [&epoch, sealed.as_slice()].concat();
    Ok(format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Opens what [`seal_at_rest`] made under the same name.
pub fn open_at_rest(keys: &Keys, name: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let sealed = sealed.strip_prefix(VERSION).ok_or(SealError::Malformed)?;
    let bytes = decode(sealed)?;
    let (epoch, bytes) = bytes.split_first().ok_or(SealError::Malformed)?;
    let keys = keys.epoch(*epoch).ok_or(SealError::Forged)?;
    let context = context(&[b"at_rest", &[*epoch], name.as_bytes()]);
    decrypt(&keys.sealing, &context, bytes)
}

/// What a seal is bound to: each part behind its length, so that no two lists
/// of parts read the same.
fn context(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Nonce, ciphertext and tag.
fn encrypt(key: &RandomizedNonceKey, context: &[u8], mut text: Vec<u8>) -> Result<Vec<u8>, SealError> {
    let nonce =
        key.seal_in_place_append_tag(Aad::from(context), &mut text).map_err(|_| SealError::Unsealable)?;
    Ok([nonce.as_ref(), text.as_slice()].concat())
}

fn decrypt(key: &RandomizedNonceKey, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Malformed)?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut text)
        .map_err(|_| SealError::Forged)?
        .len();
    text.truncate(length);
    Ok(text)
}

fn decode(text: &str) -> Result<Vec<u8>, SealError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Malformed)
}

#[cfg(test)]
mod tests;
