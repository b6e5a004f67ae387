//! Revocations under whatever a test does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::nodes::{Nodes, WORKERS};
use super::revocations::{Tally, revoke_while_asked};

/// So many more have come by then.
const LONGEST: Duration = Duration::from_mins(5);

/// Revocations one after the other, each asked about throughout, until told to stop.
pub struct Ending {
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

impl Ending {
    pub fn begin(nodes: &Arc<Nodes>) -> Self {
        let (tally, stop) = (Arc::<Tally>::default(), Arc::new(AtomicBool::new(false)));
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let (nodes, tally, stop) = (Arc::clone(nodes), Arc::clone(&tally), Arc::clone(&stop));
            workers.spawn(async move {
                let mut turn = worker;
                while !stop.load(Ordering::Relaxed) {
                    revoke_while_asked(Arc::clone(&nodes), Arc::clone(&tally), turn, Duration::ZERO).await;
                    turn += WORKERS;
                }
            });
        }
        Self { tally, stop, workers }
    }

    /// Waits for so many more.
    pub async fn revoked(&mut self, more: usize) {
        let (begun, wanted) = (Instant::now(), self.tally.revoked() + more);
        while self.tally.revoked() < wanted {
            assert!(begun.elapsed() < LONGEST, "{}", self.tally.text());
            if let Some(ended) = self.workers.try_join_next() {
                ended.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What they came to.
    pub async fn finish(self) -> Arc<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await;
        self.tally
    }
}
