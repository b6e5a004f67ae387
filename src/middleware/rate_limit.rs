//! Does one address, or one client, take more than its share? Then it is told when to come again.
//! (RFC 6585 §4) The networks of one line of IPv6 have three shares together.
//!
//! Counted on each node alone and in memory: this protects the node, while guesses at passwords are
//! counted durably and everywhere (`src/pages/credentials.rs`). Programs of this machine are not limited;
//! a proxy on it is, as whoever it speaks for, or as itself.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;

use crate::error::OAuthError;
use crate::extract::request_context::{Peer, WIDE, limited_network, networks};
use crate::router::is_api;
use crate::state::AppState;

/// After so many checks, keys that are full again are forgotten.
const SWEEP: u32 = 10_000;

/// How often one key may come.
#[derive(Debug)]
struct Share<K: Hash + Eq + Clone> {
    limiter: Option<DefaultKeyedRateLimiter<K>>,
    checks: AtomicU32,
    clock: DefaultClock,
}

impl<K: Hash + Eq + Clone> Share<K> {
    /// `per_second` on average, twice as many at once; zero is no limit.
    fn new(per_second: usize) -> Self {
        let rate = u32::try_from(per_second).ok().and_then(NonZeroU32::new);
        let quota = rate.map(|rate| {
            Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::MIN.saturating_add(1)))
        });
        Self {
            limiter: quota.map(RateLimiter::keyed),
            checks: AtomicU32::new(0),
            clock: DefaultClock::default(),
        }
    }

    /// How long the key must wait, if it must.
    fn wait(&self, key: &K) -> Option<Duration> {
        let limiter = self.limiter.as_ref()?;
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            limiter.retain_recent();
        }
        limiter.check_key(key).err().map(|until| until.wait_time_from(self.clock.now()))
    }
}

/// The shares of a node.
#[derive(Debug)]
pub struct RateLimits {
    addresses: Share<IpNet>,
    /// Many networks of IPv6 that are one line.
    wide: Share<IpNet>,
    clients: Share<String>,
}

impl RateLimits {
    /// Requests a second; zero is no limit.
    #[must_use]
    pub fn new(per_address: usize, per_client: usize) -> Self {
        Self {
            addresses: Share::new(per_address),
            wide: Share::new(per_address.saturating_mul(WIDE)),
            clients: Share::new(per_client),
        }
    }

    /// How long an address must wait, if it must.
    fn wait(&self, address: IpAddr) -> Option<Duration> {
        networks(address).find_map(|(network, shares)| {
            let share = if shares == 1 { &self.addresses } else { &self.wide };
            share.wait(&network)
        })
    }

    /// A client that has proved, or claims, to be this one asks for something.
    pub fn admit_client(&self, client_id: &str) -> Result<(), OAuthError> {
        self.clients.wait(&client_id.to_owned()).map_or(Ok(()), |wait| Err(OAuthError::too_many(wait)))
    }
}

/// Turns away an address that comes too often, before anything else is done for it.
pub async fn enforce(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    let network =
        peer.and_then(|peer| limited_network(peer.0, request.headers(), &state.config.trusted_proxies));
    let wait = network.and_then(|network| state.rate_limits.wait(network));
    match wait {
        None => next.run(request).await,
        Some(wait) => {
            state.metrics.shed("address");
            let error = OAuthError::too_many(wait);
            if is_api(request.uri().path()) {
                return error.into_response();
            }
            // Pages of errors are made further inside, at a cost.
            let headers = [(header::RETRY_AFTER, HeaderValue::from(error.retry_after.unwrap_or_default()))];
            (error.status, headers, "Too many requests from your address; try again in a moment.")
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_spent_by_its_key_alone() {
        let share = Share::new(5);
        let spent = (0..100).find(|_| share.wait(&"greedy").is_some());
        assert!(spent.is_some_and(|spent| (10..13).contains(&spent)), "{spent:?}");
        assert!(share.wait(&"modest").is_none());
        assert!(Share::new(0).wait(&"anybody").is_none());
    }

    #[test]
    fn a_hundred_networks_of_one_line_have_three_shares() {
        let limits = RateLimits::new(5, 0);
        let address = |text: String| text.parse().unwrap();
        let asked = (0..1_000).map(|turn| address(format!("2001:db8:1:{:x}::{turn:x}", turn % 100)));
        let admitted = asked.filter(|own| limits.wait(*own).is_none()).count();
        assert!((30..40).contains(&admitted), "{admitted}");
        for other in ["2001:db8:2::1", "192.0.2.1"] {
            assert!(limits.wait(address(other.to_owned())).is_none(), "{other}");
        }
    }
}
