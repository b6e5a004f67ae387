//! How are passwords and client secrets kept and checked?
//!
//! What people choose is hashed with Argon2id (RFC 9106; 19 MiB, two passes,
//! one lane: OWASP's first choice) on a bounded pool, since one hash takes
//! milliseconds and 19 MiB: a flood of logins must neither take all memory nor
//! stall requests that need no hash. What we draw at random has 256 bits or
//! more and gets a keyed SHA-256. Names are normalised here too, as a password
//! belongs to a name. NIST SP 800-63B-4 §3.1.1, OWASP ASVS 6.2.

mod attempts;
mod client_secret;
mod name;
mod policy;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::places::Places;
use crate::secret::{Secret, random_bytes};

pub use aggregates::values::SecretKind;
pub use client_secret::{AttemptError, Claim, ClientSecretVerifier, keyed_verifier, kind_of, verify_keyed};
pub use name::{LONGEST_USERNAME, NameError, normalise_email, normalise_username};
pub use policy::{
    LONGEST_PASSWORD, PolicyError, SHORTEST_PASSPHRASE, SHORTEST_PASSWORD, check_passphrase, check_policy,
};

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many may wait for each worker: at some 20 ms a hash, well under a second.
const WAITING_PER_WORKER: usize = 32;

/// What a password for an unknown name is verified against, at the cost of a
/// real hash. Salt and hash are random bytes: no password is known to fit.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$tLYKOV3KOwG5OP6PiSs/2A$wJ3hUfAUs3nM6q7BKb3OT9N35ECRfKAxwIyMMFwk+S0";

/// Why a password could not be hashed or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already: answer 503 with `Retry-After`.
    #[error("too many passwords are being checked; try again shortly")]
    Busy,
    /// The stored text is not a verifier that we know.
    #[error("the stored verifier is malformed")]
    MalformedVerifier,
    /// The hash could not be computed, for want of memory most likely.
    #[error("the password could not be hashed")]
    Failed,
}

/// Hashes and verifies passwords on a bounded number of threads. Clones share
/// the bound.
#[derive(Debug, Clone)]
pub struct PasswordPool {
    /// One permit for each hash under way.
    workers: Arc<Semaphore>,
    /// One for each hash under way or waiting.
    places: Places,
    verifications: Arc<AtomicU64>,
}

impl PasswordPool {
    /// A pool that runs `workers` hashes at a time and lets `waiting` more wait; `turned_away` counts all others.
    #[must_use]
    pub fn new(workers: NonZeroUsize, waiting: usize, turned_away: Counter) -> Self {
        Self {
            workers: Arc::new(Semaphore::new(workers.get())),
            places: Places::new(workers.get().saturating_add(waiting), turned_away),
            verifications: Arc::default(),
        }
    }

    /// The PHC string of a password, normalised (NFKC) and under a fresh salt.
    pub async fn hash(&self, password: Secret) -> Result<String, PasswordError> {
        self.run(move || hash(&password)).await?
    }

    /// Whether `password` is the one `stored` was made of.
    ///
    /// Without a stored hash the answer is `false` after the same work, so that
    /// the time does not tell whether a name exists (OWASP ASVS 6.3.8).
    pub async fn verify(&self, password: Secret, stored: Option<&str>) -> Result<bool, PasswordError> {
        self.verify_holding(password, stored, ()).await
    }

    /// The same; `held` is given back when the hash has been computed, whether or not anybody waits for it.
    async fn verify_holding(
        &self,
        password: Secret,
        stored: Option<&str>,
        held: impl Send + 'static,
    ) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(DUMMY).to_owned();
        let verifications = Arc::clone(&self.verifications);
        let matches = self.run(move || {
            verifications.fetch_add(1, Ordering::Relaxed);
            let result = verify(&password, &stored);
            drop(held);
            result
        });
        Ok(matches.await?? && known)
    }

    /// How many verifications have run, dummies included.
    #[must_use]
    pub fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::Relaxed)
    }

    /// How many are being hashed or wait for it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.taken()
    }

    /// The permits go into the blocking task: a client that disconnects stops
    /// the waiting but not the hash, which goes on holding its place.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.places.take().ok_or(PasswordError::Busy)?;
        let worker = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((worker, place));
            result
        });
        task.await.map_err(|_| PasswordError::Failed)
    }
}

impl Default for PasswordPool {
    /// One worker a core.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::new(cores, cores.get().saturating_mul(WAITING_PER_WORKER), Counter::default())
    }
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
    let params = params.map_err(|_| PasswordError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &Secret) -> Result<String, PasswordError> {
    let salt = random_bytes::<16>();
    let hash: PasswordHash = argon2()?
        .hash_password_with_salt(normalised(password.expose()).as_bytes(), &salt)
        .map_err(|_| PasswordError::Failed)?;
    Ok(hash.to_string())
}

fn verify(password: &Secret, stored: &str) -> Result<bool, PasswordError> {
    let hash = PasswordHash::new(stored).map_err(|_| PasswordError::MalformedVerifier)?;
    let password = normalised(password.expose());
    match argon2()?.verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(HashError::OutOfMemory | HashError::Internal) => Err(PasswordError::Failed),
        Err(_) => Err(PasswordError::MalformedVerifier),
    }
}

/// NFKC (SP 800-63B-4 §3.1.1.2), so that one password typed on two keyboards
/// is one. Never cut, never trimmed.
fn normalised(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkc().collect())
}

#[cfg(test)]
mod tests;
