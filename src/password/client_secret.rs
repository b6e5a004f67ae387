//! Is this the application's secret?
//!
//! Generated secrets carry 256 bits or more: nobody can try them out, so a
//! keyed SHA-256 (HMAC under the pepper) is enough and takes a microsecond.
//! Secrets chosen by people are Argon2id; each is hashed once a process, and
//! remembered under a key that lives as long as the process.
//! RFC 6749 §2.3.1, OWASP ASVS 10.4.10, 11.4.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aggregates::values::SecretKind;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashlink::LruCache;

use super::{PasswordError, PasswordPool};
use crate::keys::{EpochKeys, Keys};
use crate::secret::{Secret, constant_time_eq, random_bytes};

const KEYED: &str = "keyed-sha256$";
const ARGON2ID: &str = "$argon2id$";
/// Verified secrets remembered; 32 bytes each and the bookkeeping.
const REMEMBERED: usize = 10_000;

/// The kind of a stored verifier; `None` for text that is none.
#[must_use]
pub fn kind_of(stored: &str) -> Option<SecretKind> {
    if stored.starts_with(KEYED) {
        Some(SecretKind::KeyedSha256)
    } else if stored.starts_with(ARGON2ID) {
        Some(SecretKind::Argon2id)
    } else {
        None
    }
}

/// The verifier of a generated secret: `keyed-sha256$<epoch>$<base64url>`.
///
/// Never for a secret that a person chose: it can be tried out quickly by
/// whoever has the pepper.
#[must_use]
pub fn keyed_verifier(keys: &Keys, secret: &Secret) -> String {
    verifier_under(keys.current(), secret)
}

/// Whether `stored` is the verifier of `secret`, under any accepted epoch.
#[must_use]
pub fn verify_keyed(keys: &Keys, secret: &Secret, stored: &str) -> bool {
    stored
        .strip_prefix(KEYED)
        .and_then(|rest| rest.split_once('$'))
        .and_then(|(epoch, _)| keys.epoch(epoch.parse().ok()?))
        .is_some_and(|keys| constant_time_eq(verifier_under(keys, secret).as_bytes(), stored.as_bytes()))
}

fn verifier_under(keys: &EpochKeys, secret: &Secret) -> String {
    let mac = hmac::sign(&keys.pepper, secret.expose().as_bytes());
    let mac = URL_SAFE_NO_PAD.encode(mac);
    format!("{KEYED}{epoch}${mac}", epoch = keys.number())
}

/// Verifies client secrets of both kinds; one a process.
pub struct ClientSecretVerifier {
    keys: Arc<Keys>,
    pool: PasswordPool,
    verified: Mutex<LruCache<[u8; 32], ()>>,
    /// Random, so that a memory image is no list to try secrets against elsewhere.
    cache_key: hmac::Key,
}

impl ClientSecretVerifier {
    /// Verifies under `keys`, and Argon2id secrets on `pool`.
    #[must_use]
    pub fn new(keys: Arc<Keys>, pool: PasswordPool) -> Self {
        Self {
            keys,
            pool,
            verified: Mutex::new(LruCache::new(REMEMBERED)),
            cache_key: hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()),
        }
    }

    /// The verifier to store for a new secret.
    pub async fn verifier(&self, kind: SecretKind, secret: Secret) -> Result<String, PasswordError> {
        match kind {
            SecretKind::KeyedSha256 => Ok(keyed_verifier(&self.keys, &secret)),
            SecretKind::Argon2id => self.pool.hash(secret).await,
        }
    }

    /// Whether `secret` is the one `stored` was made of. `secret_id` names the
    /// row that `stored` came from.
    pub async fn verify(
        &self,
        secret_id: &str,
        secret: &Secret,
        stored: &str,
    ) -> Result<bool, PasswordError> {
        match kind_of(stored).ok_or(PasswordError::MalformedVerifier)? {
            SecretKind::KeyedSha256 => Ok(verify_keyed(&self.keys, secret, stored)),
            SecretKind::Argon2id => self.verify_chosen(secret_id, secret, stored).await,
        }
    }

    async fn verify_chosen(
        &self,
        secret_id: &str,
        secret: &Secret,
        stored: &str,
    ) -> Result<bool, PasswordError> {
        let entry = self.cache_entry(&[secret_id, stored, secret.expose()]);
        if self.remembers(entry) {
            return Ok(true);
        }
        // Wrong secrets are not remembered: a stranger could fill the cache.
        let matches = self.pool.verify(secret.clone(), Some(stored)).await?;
        if let (true, Some(entry)) = (matches, entry) {
            self.lock().insert(entry, ());
        }
        Ok(matches)
    }

    /// The stored verifier is part of it: a rotated secret is not remembered.
    fn cache_entry(&self, parts: &[&str]) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.cache_key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().ok()
    }

    fn remembers(&self, entry: Option<[u8; 32]>) -> bool {
        entry.is_some_and(|entry| self.lock().get(&entry).is_some())
    }

    /// A cache has no state that a panic elsewhere could leave half changed.
    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<[u8; 32], ()>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ClientSecretVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientSecretVerifier")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::RootSecret;
    use crate::secret::new_client_secret;

    fn root() -> RootSecret {
        RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap()
    }

    fn keys() -> Keys {
        Keys::derive(&root()).unwrap()
    }

    #[test]
    fn a_generated_secret_is_verified_by_its_keyed_hash() {
        let secret = new_client_secret();
        let stored = keyed_verifier(&keys(), &secret);
        assert_eq!(kind_of(&stored), Some(SecretKind::KeyedSha256));
        assert!(!stored.contains(secret.expose()));
        assert!(verify_keyed(&keys(), &secret, &stored));
        assert!(!verify_keyed(&keys(), &new_client_secret(), &stored));
        assert!(!verify_keyed(&keys(), &secret, &stored[..stored.len() - 1]));
        let other = Keys::derive(&RootSecret::generate()).unwrap();
        assert!(!verify_keyed(&other, &secret, &stored));
    }

    #[test]
    fn a_keyed_hash_of_a_former_epoch_is_verified() {
        let secret = new_client_secret();
        let stored = keyed_verifier(&keys(), &secret);
        let rotated = Keys::derive_epochs(&root(), 2, &[1]).unwrap();
        assert!(verify_keyed(&rotated, &secret, &stored));
        let relabelled = stored.replace("$1$", "$2$");
        assert!(!verify_keyed(&rotated, &secret, &relabelled));
    }

    #[tokio::test]
    async fn a_chosen_secret_is_hashed_once_a_process() {
        let pool = PasswordPool::default();
        let verifier = ClientSecretVerifier::new(Arc::new(keys()), pool.clone());
        let secret = Secret::new("a secret somebody chose");
        let stored = verifier.verifier(SecretKind::Argon2id, secret.clone()).await.unwrap();
        assert_eq!(kind_of(&stored), Some(SecretKind::Argon2id));
        for _ in 0..3 {
            assert_eq!(verifier.verify("1", &secret, &stored).await, Ok(true));
        }
        assert_eq!(pool.verifications(), 1);
        let wrong = Secret::new("another");
        for _ in 0..2 {
            assert_eq!(verifier.verify("1", &wrong, &stored).await, Ok(false));
        }
        assert_eq!(pool.verifications(), 3);
        let rotated = verifier.verifier(SecretKind::Argon2id, wrong).await.unwrap();
        assert_eq!(verifier.verify("1", &secret, &rotated).await, Ok(false));
    }

    #[tokio::test]
    async fn a_generated_secret_needs_no_pool() {
        let pool = PasswordPool::default();
        let verifier = ClientSecretVerifier::new(Arc::new(keys()), pool.clone());
        let secret = new_client_secret();
        let stored = verifier.verifier(SecretKind::KeyedSha256, secret.clone()).await.unwrap();
        assert_eq!(verifier.verify("1", &secret, &stored).await, Ok(true));
        assert_eq!(pool.verifications(), 0);
        let unknown = verifier.verify("1", &secret, "plain").await;
        assert_eq!(unknown, Err(PasswordError::MalformedVerifier));
    }
}
