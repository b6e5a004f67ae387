//! How often may the chosen secret of a client be tried, and by how many at once?
//!
//! - One network tries one secret after the other, and after [`FREE`] wrong ones it waits, before anything
//!   is hashed: whoever has no secret costs a handful of hashes, whatever they open.
//! - All networks of one line of IPv6 together have three times as many.
//! - Other networks are counted apart, and nothing locks a client out: whoever guesses in its name would
//!   otherwise decide whether it may work.
//! - All networks together have a share of the pool, so that guesses at one client leave room for others.
//!
//! Counted on each node alone and in memory, like requests (`src/middleware/rate_limit.rs`). RFC 6749
//! §2.3.1 ("MUST protect any endpoint utilizing it against brute force attacks"), OWASP ASVS 6.3.1.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::PasswordError;
use crate::extract::request_context::networks;
use crate::places::{Place, Places};

/// Wrong secrets that a network may send for a client before it must wait: more than a person who sets up
/// an application types, and at 20 ms each a fifth of a second of one processor.
const FREE: u32 = 10;
/// After this long one more is free.
const EACH: Duration = Duration::from_secs(6);
/// Networks that may wait for their turn at one client: more are told to come again.
const WAITING: usize = 64;
/// Pairs of client and network that are remembered; a few hundred bytes each. Whoever has more networks
/// than this has that many times [`FREE`] guesses, and the client's share of the pool for them.
const REMEMBERED: usize = 20_000;

type Key = (String, Option<IpNet>);

/// What is known of those who try.
pub(super) struct Attempts {
    networks: Mutex<LruCache<Key, Arc<AsyncMutex<Failures>>>>,
    clients: Mutex<LruCache<String, Share>>,
    at_once: usize,
    turned_away: Counter,
}

/// The turn of one network at one client, and of the wide one that it is in, each with its number of shares.
pub(super) struct Turn(Vec<(OwnedMutexGuard<Failures>, u32)>);

/// What a hash for a client holds for as long as it runs.
pub(super) type Held = (Place, OwnedSemaphorePermit);

/// A client's part of the pool.
#[derive(Clone)]
struct Share {
    running: Arc<Semaphore>,
    places: Places,
}

impl Attempts {
    /// `at_once` hashes may run for one client; `turned_away` counts those for whom it has no place.
    pub(super) fn new(at_once: usize, turned_away: Counter) -> Self {
        Self {
            networks: Mutex::new(LruCache::new(REMEMBERED)),
            clients: Mutex::new(LruCache::new(REMEMBERED)),
            at_once,
            turned_away,
        }
    }

    /// Waits until nobody else of this network tries a secret of this client. Many who have the right one
    /// wait for the first of them, and find it remembered then; many who have not wait for [`FREE`] hashes
    /// at most, and are refused then.
    pub(super) async fn turn(&self, client_id: &str, network: Option<IpAddr>) -> Turn {
        let charged = network.into_iter().flat_map(networks).map(|(own, shares)| (Some(own), shares));
        let unknown = network.is_none().then_some((None, 1));
        let mut turns = Vec::new();
        // The wide one last: whoever has its turn waits for nobody.
        for (network, shares) in charged.chain(unknown) {
            let key = (client_id.to_owned(), network);
            let turn = Arc::clone(lock(&self.networks).entry(key).or_insert_with(Arc::default));
            turns.push((turn.lock_owned().await, u32::try_from(shares).unwrap_or(u32::MAX)));
        }
        Turn(turns)
    }

    /// Waits for one of the client's places in the pool.
    pub(super) async fn place(&self, client_id: &str) -> Result<Held, PasswordError> {
        let share = lock(&self.clients).entry(client_id.to_owned()).or_insert_with(|| self.share()).clone();
        let place = share.places.take().ok_or(PasswordError::Busy)?;
        let running = share.running.acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        Ok((place, running))
    }

    fn share(&self) -> Share {
        Share {
            running: Arc::new(Semaphore::new(self.at_once)),
            places: Places::new(self.at_once.saturating_add(WAITING), self.turned_away.clone()),
        }
    }
}

/// A map has no state that a panic elsewhere could leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// How long the next attempt must wait, if it must.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.0.iter().filter_map(|(failures, shares)| failures.wait(now, *shares)).max()
    }

    /// Before the hash: a caller that leaves while it is computed has had its guess all the same.
    pub(super) fn count(&mut self, now: Instant) {
        for (failures, _) in &mut self.0 {
            failures.count(now);
        }
    }

    /// The secret that was counted was the right one.
    pub(super) fn take_back(&mut self) {
        for (failures, _) in &mut self.0 {
            failures.take_back();
        }
    }
}

/// The wrong secrets of one network for one client.
#[derive(Debug, Default)]
struct Failures {
    /// When all of them will be forgotten.
    forgotten: Option<Instant>,
}

impl Failures {
    fn wait(&self, now: Instant, shares: u32) -> Option<Duration> {
        let kept = self.forgotten?.saturating_duration_since(now);
        kept.checked_sub(EACH * (FREE * shares - 1)).filter(|wait| !wait.is_zero())
    }

    fn count(&mut self, now: Instant) {
        self.forgotten = Some(self.forgotten.map_or(now, |until| until.max(now)) + EACH);
    }

    fn take_back(&mut self) {
        self.forgotten = self.forgotten.and_then(|until| until.checked_sub(EACH));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_waits_after_ten_wrong_secrets_and_has_one_more_every_six_seconds() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..FREE {
            assert_eq!(failures.wait(now, 1), None);
            failures.count(now);
        }
        assert_eq!(failures.wait(now, 1), Some(EACH));
        assert_eq!(failures.wait(now + EACH, 1), None);
        failures.count(now + EACH);
        assert_eq!(failures.wait(now + EACH, 1), Some(EACH));
        assert_eq!(failures.wait(now + EACH * (FREE + 1), 1), None);
        // Long ago is no credit.
        for _ in 0..FREE {
            failures.count(now + EACH * 100);
        }
        assert_eq!(failures.wait(now + EACH * 100, 1), Some(EACH));
    }

    #[test]
    fn right_secrets_do_not_count() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(failures.wait(now, 1), None);
            failures.count(now);
            failures.take_back();
        }
    }

    #[tokio::test]
    async fn a_hundred_networks_of_one_line_have_three_times_as_many() {
        let (attempts, now) = (Attempts::new(1, Counter::default()), Instant::now());
        let turn = async |address: String| attempts.turn("shop", address.parse().ok()).await;
        let mut guessed = 0;
        for guess in 0..1_000 {
            let mut turn = turn(format!("2001:db8:1:{:x}::1", guess % 100)).await;
            if turn.wait(now).is_none() {
                turn.count(now);
                guessed += 1;
            }
        }
        assert_eq!(guessed, 3 * FREE);
        for other in ["2001:db8:2::1", "192.0.2.1", "nowhere"] {
            assert_eq!(turn(other.to_owned()).await.wait(now), None, "{other}");
        }
    }

    #[tokio::test]
    async fn networks_of_one_client_wait_for_its_share_and_those_of_another_do_not() {
        let attempts = Attempts::new(1, Counter::default());
        let first = attempts.place("shop").await.unwrap();
        let share = lock(&attempts.clients).get("shop").unwrap().clone();
        let waiting = (0..WAITING).map(|_| share.places.take().unwrap());
        let waiting: Vec<_> = waiting.collect();
        assert_eq!(attempts.place("shop").await.err(), Some(PasswordError::Busy));
        assert!(attempts.place("other").await.is_ok());
        drop((first, waiting));
        assert!(attempts.place("shop").await.is_ok());
    }
}
