//! How many may be at work or wait for it at once? Who finds no place is turned away at once, and counted:
//! waiting behind those would take longer than anybody waits.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of places. Clones share them.
#[derive(Clone, Debug)]
pub struct Places {
    all: usize,
    free: Arc<Semaphore>,
    turned_away: Counter,
}

/// Held by whoever has a place.
pub type Place = OwnedSemaphorePermit;

impl Places {
    /// So many; `turned_away` counts who found none.
    #[must_use]
    pub fn new(all: usize, turned_away: Counter) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        Self { all, free: Arc::new(Semaphore::new(all)), turned_away }
    }

    /// As many other places; who finds none of either is counted together.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::new(self.all, self.turned_away.clone())
    }

    /// A place, if there is one now.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok();
        if place.is_none() {
            self.turned_away.inc();
        }
        place
    }

    /// A place, as soon as there is one, in the order of those who wait.
    pub async fn wait(&self) -> Option<Place> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_place_is_counted() {
        let turned_away = Counter::default();
        let places = Places::new(1, turned_away.clone());
        let place = places.take();
        assert!(place.is_some());
        assert!(places.clone().take().is_none());
        assert_eq!((places.taken(), turned_away.get()), (1, 1));
        drop(place);
        assert!(places.take().is_some());
        assert_eq!((places.taken(), turned_away.get()), (0, 1));
    }
}
