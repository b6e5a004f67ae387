//! How much of something is in use, by everybody and by one network? Connections, and bytes of bodies and answers:
//! what all share must not be taken by one of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use ipnet::IpNet;

use crate::extract::request_context::networks;

/// A bounded amount of something. Clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    used: Arc<Mutex<Used>>,
    all: usize,
    each: usize,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    /// Those who have some.
    networks: HashMap<IpNet, usize>,
}

/// Why there was no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All of it is in use.
    All,
    /// The network has its share.
    Network,
}

impl Full {
    /// Which of these limits it was, for the metrics.
    #[must_use]
    pub fn limit(self, all: &'static str, network: &'static str) -> &'static str {
        match self {
            Self::All => all,
            Self::Network => network,
        }
    }

    /// What it is answered with. Proxies leave a node out that says 503, and one network's greed is nothing that
    /// another node would mend (RFC 6585 §4).
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::All => StatusCode::SERVICE_UNAVAILABLE,
            Self::Network => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

impl Room {
    /// So much for `all`, and no more than so much for `each` network; a wide one has a few shares.
    #[must_use]
    pub fn new(all: usize, each: usize) -> Self {
        Self { used: Arc::default(), all, each: each.min(all) }
    }

    /// Nothing yet, for a network; without one no share is counted.
    #[must_use]
    pub fn part(&self, network: Option<IpAddr>) -> Part {
        Part { room: self.clone(), network, amount: 0 }
    }

    /// Whether more than half of it is in use.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.in_use() > self.all / 2
    }

    /// How much is in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.lock().all
    }

    /// Additions and subtractions leave no state half changed.
    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody has of it, until dropped.
#[derive(Debug)]
pub struct Part {
    room: Room,
    network: Option<IpAddr>,
    amount: usize,
}

impl Part {
    /// As much of another room, and no more of this one.
    pub fn moved_to(self, room: &Room) -> Result<Self, Full> {
        let mut moved = room.part(self.network);
        moved.grow(self.amount)?;
        Ok(moved)
    }

    /// Takes so much more, or nothing.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        let mut used = self.room.lock();
        let all = used.all.saturating_add(more);
        if all > self.room.all {
            return Err(Full::All);
        }
        let charged = || self.network.into_iter().flat_map(networks);
        let has_share = charged().all(|(network, shares)| {
            let own = used.networks.get(&network).copied().unwrap_or_default();
            own.saturating_add(more) <= self.room.each.saturating_mul(shares)
        });
        if !has_share {
            return Err(Full::Network);
        }
        for (network, _) in charged() {
            *used.networks.entry(network).or_default() += more;
        }
        used.all = all;
        self.amount += more;
        Ok(())
    }

    /// Has so much from now on: gives back what is more, or takes what is missing.
    pub fn resize(&mut self, amount: usize) -> Result<(), Full> {
        match self.amount.checked_sub(amount) {
            Some(more) => {
                self.give_back(more);
                Ok(())
            }
            None => self.grow(amount - self.amount),
        }
    }

    fn give_back(&mut self, less: usize) {
        if less == 0 {
            return;
        }
        let mut used = self.room.lock();
        used.all = used.all.saturating_sub(less);
        for (network, _) in self.network.into_iter().flat_map(networks) {
            let Some(own) = used.networks.get_mut(&network) else { continue };
            *own = own.saturating_sub(less);
            if *own == 0 {
                used.networks.remove(&network);
            }
        }
        self.amount -= less;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn one_network_has_its_share_and_leaves_the_rest_to_others() {
        let room = Room::new(10, 4);
        let mut greedy = room.part(network("192.0.2.1"));
        assert_eq!(greedy.grow(3), Ok(()));
        assert_eq!(greedy.grow(2), Err(Full::Network));
        assert_eq!(room.part(network("192.0.2.1")).grow(2), Err(Full::Network));
        let mut other = room.part(network("192.0.2.2"));
        assert_eq!(other.grow(4), Ok(()));
        let mut unlimited = room.part(None);
        assert_eq!(unlimited.grow(4), Err(Full::All));
        assert_eq!(unlimited.grow(3), Ok(()));
        assert_eq!(room.in_use(), 10);
        drop((greedy, other, unlimited));
        assert_eq!(room.in_use(), 0);
        assert!(room.lock().networks.is_empty(), "nobody is remembered who has nothing");
        assert_eq!(room.part(network("192.0.2.1")).grow(4), Ok(()));
    }

    /// 300 of each of the 256 networks that one line at home has.
    #[test]
    fn all_networks_of_one_line_have_three_shares_and_leave_the_rest_to_others() {
        let room = Room::new(1_000, 100);
        let (mut taken, mut most) = (Vec::new(), 0);
        for line in 0..=255 {
            let mut own = 0;
            for _ in 0..300 {
                let mut part = room.part(network(&format!("2001:db8:1:{line:x}::1")));
                if part.grow(1).is_ok() {
                    own += 1;
                    taken.push(part);
                }
            }
            most = most.max(own);
        }
        assert_eq!((room.in_use(), most), (300, 100));
        for other in ["192.0.2.1", "2001:db8:2::1"] {
            assert_eq!(room.part(network(other)).grow(100), Ok(()), "{other}");
        }
        drop(taken);
        assert!(room.lock().networks.is_empty());
        assert_eq!(room.part(network("2001:db8:1:1::1")).grow(100), Ok(()));
    }

    #[test]
    fn what_moves_leaves_its_place_to_others() {
        let (from, to) = (Room::new(10, 10), Room::new(5, 4));
        let mut part = from.part(network("192.0.2.1"));
        part.grow(3).unwrap();
        let part = part.moved_to(&to).unwrap();
        assert_eq!((from.in_use(), to.in_use()), (0, 3));
        let mut second = from.part(network("192.0.2.1"));
        second.grow(2).unwrap();
        assert_eq!(second.moved_to(&to).err(), Some(Full::Network));
        assert_eq!((from.in_use(), to.in_use()), (0, 3));
        drop(part);
        assert_eq!(to.in_use(), 0);
    }

    #[test]
    fn what_is_given_back_is_for_others() {
        let room = Room::new(10, 6);
        let mut part = room.part(network("192.0.2.1"));
        assert_eq!(part.resize(6), Ok(()));
        assert!(room.is_scarce());
        assert_eq!(part.resize(2), Ok(()));
        assert!(!room.is_scarce());
        let mut second = room.part(network("192.0.2.1"));
        assert_eq!((second.grow(4), second.resize(5)), (Ok(()), Err(Full::Network)));
        assert_eq!(room.in_use(), 6);
        drop((part, second));
        assert_eq!((room.in_use(), room.lock().networks.len()), (0, 0));
    }

    #[test]
    fn a_share_is_never_more_than_there_is() {
        assert_eq!(Room::new(3, 64).part(network("192.0.2.1")).grow(4), Err(Full::All));
        assert_eq!(Room::new(0, 0).part(None).grow(1), Err(Full::All));
        let mut part = Room::new(3, 3).part(None);
        assert_eq!((part.grow(2), part.grow(usize::MAX), part.grow(1)), (Ok(()), Err(Full::All), Ok(())));
    }
}
