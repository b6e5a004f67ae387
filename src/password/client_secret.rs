//! Is this the application's secret?
//!
//! Generated secrets carry 256 bits or more: nobody can try them out, so a
//! keyed SHA-256 (HMAC under the pepper) is enough and takes a microsecond.
//! Secrets chosen by people are Argon2id; each is hashed once a process, and
//! remembered under a key that lives as long as the process. Anybody may send
//! wrong ones, so they are hashed on a pool of their own, which people who log
//! in do not wait for, and no oftener than `attempts.rs` allows.
//! RFC 6749 §2.3.1, OWASP ASVS 10.4.10, 11.4.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregates::values::SecretKind;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashlink::LruCache;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::attempts::Attempts;
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

/// Somebody says that this secret is a client's.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Whose.
    pub client_id: &'a str,
    /// The network it comes from, as far as that is known.
    pub network: Option<IpAddr>,
    /// The row that `stored` came from.
    pub secret_id: &'a str,
    /// What was sent.
    pub secret: &'a Secret,
    /// The verifier of the right one.
    pub stored: &'a str,
}

/// Why a client secret was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttemptError {
    /// This network has sent too many wrong ones for this client: answer 429 with `Retry-After`.
    #[error("too many wrong secrets; the next is looked at in {0:?}")]
    TooMany(Duration),
    /// It could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// Verifies client secrets of both kinds; one a process.
pub struct ClientSecretVerifier {
    keys: Arc<Keys>,
    pool: PasswordPool,
    attempts: Attempts,
    verified: Mutex<LruCache<[u8; 32], ()>>,
    /// Random, so that a memory image is no list to try secrets against elsewhere.
    cache_key: hmac::Key,
}

impl ClientSecretVerifier {
    /// Verifies under `keys`, and Argon2id secrets on `workers` threads, with so many more `waiting`.
    #[must_use]
    pub fn new(keys: Arc<Keys>, workers: NonZeroUsize, waiting: usize, turned_away: Counter) -> Self {
        Self {
            keys,
            // One client has half of them at most, so that there is room for another beside it.
            attempts: Attempts::new(workers.get().div_ceil(2), turned_away.clone()),
            pool: PasswordPool::new(workers, waiting, turned_away),
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

    /// Whether the secret is the one `stored` was made of.
    pub async fn verify(&self, claim: Claim<'_>) -> Result<bool, AttemptError> {
        match kind_of(claim.stored).ok_or(PasswordError::MalformedVerifier)? {
            SecretKind::KeyedSha256 => Ok(verify_keyed(&self.keys, claim.secret, claim.stored)),
            SecretKind::Argon2id => self.verify_chosen(claim).await,
        }
    }

    /// How many chosen secrets are being hashed or wait for it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// A secret that was right before is so without a turn: whoever has it notices nothing of those who
    /// guess, even beside them.
    async fn verify_chosen(&self, claim: Claim<'_>) -> Result<bool, AttemptError> {
        let Claim { client_id, network, secret_id, secret, stored } = claim;
        let entry = self.cache_entry(&[secret_id, stored, secret.expose()]);
        if self.remembers(entry) {
            return Ok(true);
        }
        let mut failures = self.attempts.turn(client_id, network).await;
        // Whoever had the turn before may have had the same.
        if self.remembers(entry) {
            return Ok(true);
        }
        if let Some(wait) = failures.wait(Instant::now()) {
            return Err(AttemptError::TooMany(wait));
        }
        let place = self.attempts.place(client_id).await?;
        failures.count(Instant::now());
        let matches = self.pool.verify_holding(secret.clone(), Some(stored), place).await;
        if matches != Ok(false) {
            failures.take_back();
        }
        // Wrong ones are not remembered: a stranger could fill the cache.
        if let (Ok(true), Some(entry)) = (matches, entry) {
            self.lock().insert(entry, ());
        }
        Ok(matches?)
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

    const CHOSEN: &str = "a secret somebody chose";

    fn verifier() -> ClientSecretVerifier {
        ClientSecretVerifier::new(Arc::new(keys()), NonZeroUsize::MIN, 8, Counter::default())
    }

    impl ClientSecretVerifier {
        async fn chosen(&self) -> String {
            self.verifier(SecretKind::Argon2id, Secret::new(CHOSEN)).await.unwrap()
        }

        async fn tried(&self, from: &str, secret: &str, stored: &str) -> Result<bool, AttemptError> {
            let network = Some(from.parse().unwrap());
            let secret = &Secret::new(secret);
            self.verify(Claim { client_id: "shop", network, secret_id: "1", secret, stored }).await
        }
    }

    #[tokio::test]
    async fn a_chosen_secret_is_hashed_once_a_process() {
        let verifier = verifier();
        let stored = verifier.chosen().await;
        assert_eq!(kind_of(&stored), Some(SecretKind::Argon2id));
        for _ in 0..3 {
            assert_eq!(verifier.tried("192.0.2.1", CHOSEN, &stored).await, Ok(true));
        }
        assert_eq!(verifier.pool.verifications(), 1);
        for _ in 0..2 {
            assert_eq!(verifier.tried("192.0.2.1", "another", &stored).await, Ok(false));
        }
        assert_eq!(verifier.pool.verifications(), 3);
        let rotated = verifier.verifier(SecretKind::Argon2id, Secret::new("another")).await.unwrap();
        assert_eq!(verifier.tried("192.0.2.1", CHOSEN, &rotated).await, Ok(false));
    }

    #[tokio::test]
    async fn wrong_secrets_of_one_network_are_refused_before_they_are_hashed() {
        let verifier = verifier();
        let stored = verifier.chosen().await;
        let mut answers = Vec::new();
        for guess in 0..30 {
            answers.push(verifier.tried("192.0.2.1", &format!("guess {guess}"), &stored).await);
        }
        let hashed = answers.iter().filter(|answer| **answer == Ok(false)).count();
        // One more may have become free meanwhile, on a slow machine.
        assert!((10..13).contains(&hashed), "{answers:?}");
        assert!(matches!(answers[29], Err(AttemptError::TooMany(_))), "{answers:?}");
        assert_eq!(verifier.pool.verifications(), hashed as u64);
        assert!(matches!(verifier.tried("192.0.2.1", CHOSEN, &stored).await, Err(AttemptError::TooMany(_))));
        // The client itself, elsewhere; and from then on beside whoever guesses.
        assert_eq!(verifier.tried("192.0.2.2", CHOSEN, &stored).await, Ok(true));
        assert_eq!(verifier.tried("192.0.2.1", CHOSEN, &stored).await, Ok(true));
    }

    #[tokio::test]
    async fn guesses_whose_sender_leaves_are_counted() {
        let verifier = Arc::new(verifier());
        let stored = verifier.chosen().await;
        for guess in 0..30_u64 {
            let (asked, stored) = (Arc::clone(&verifier), stored.clone());
            let asked = tokio::spawn(async move { asked.tried("192.0.2.1", "guess", &stored).await });
            while verifier.pool.verifications() <= guess && !asked.is_finished() {
                tokio::task::yield_now().await;
            }
            asked.abort();
        }
        let hashed = verifier.pool.verifications();
        assert!((10..13).contains(&hashed), "{hashed} were hashed");
    }

    #[tokio::test]
    async fn many_with_the_right_secret_at_once_are_hashed_once() {
        let verifier = Arc::new(verifier());
        let stored = verifier.chosen().await;
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (verifier, stored) = (Arc::clone(&verifier), stored.clone());
            asked.spawn(async move { verifier.tried("192.0.2.1", CHOSEN, &stored).await });
        }
        assert!(asked.join_all().await.iter().all(|answer| *answer == Ok(true)));
        assert_eq!(verifier.pool.verifications(), 1);
    }

    #[tokio::test]
    async fn a_generated_secret_needs_no_pool() {
        let verifier = verifier();
        let secret = &new_client_secret();
        let stored = verifier.verifier(SecretKind::KeyedSha256, secret.clone()).await.unwrap();
        let claim = Claim { client_id: "shop", network: None, secret_id: "1", secret, stored: &stored };
        assert_eq!(verifier.verify(claim).await, Ok(true));
        assert_eq!(verifier.pool.verifications(), 0);
        let unknown = verifier.verify(Claim { stored: "plain", ..claim }).await;
        assert_eq!(unknown, Err(PasswordError::MalformedVerifier.into()));
    }
}
