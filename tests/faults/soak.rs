//! Soak: in every minute a server is killed (F1), a backend of PostgreSQL is killed (F3), and a server is ended and
//! started (F25); hardly a request fails outside of that. A third server is left alone, and must not grow
//! without end. As many minutes as the scale says: `tests/run soak` takes thirty.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::front::{Front, Told, is_refusal, until_served};
use super::grants::Person;
use super::ledger::Ledger;
use super::nodes::{Balanced, NODES, Nodes};
use super::oracle::judge;
use super::report::{record, scale};
use crate::harness::Request;

const CLIENTS: usize = 6;
/// What is left alone.
const SPARED: usize = NODES - 1;
/// One request in so many may fail outside.
const ONE_IN: usize = 10_000;
/// As much as what is remembered may take, in KiB.
const LARGEST: u64 = 400 * 1024;
/// Beside those that were open after the first minute.
const MORE_FILES: usize = 64;
/// A server that was killed is ready again, or the database served from again, by then.
const MENDED: Duration = Duration::from_secs(4);

/// From when until when something went on.
#[derive(Clone, Copy)]
struct Window {
    begun: Instant,
    ended: Instant,
}

/// What one minute did.
struct Minute {
    /// From a kill until all are well again.
    broken: [Window; 2],
    /// From the signal until the next one is ready: nothing may fail.
    restarted: Window,
}

/// What clients saw whom a load balancer sends to whoever is ready.
struct Soak {
    balanced: Arc<Balanced>,
    asked: AtomicUsize,
    failed: Mutex<Vec<Window>>,
}

impl Front for Soak {
    async fn ask(&self, request: Request) -> Told {
        // Waiting for one that is ready is no part of it.
        let app = self.balanced.next_ready().await;
        let begun = Instant::now();
        let told = app.ask(request).await;
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !told.as_ref().is_ok_and(|answer| !is_refusal(answer)) {
            self.failed.lock().unwrap().push(Window { begun, ended: Instant::now() });
        }
        told
    }
}

impl Soak {
    /// How many failed that were asked while one of these lasted.
    fn failed_in(&self, windows: &[Window]) -> usize {
        let failed = self.failed.lock().unwrap();
        let is_inside =
            |failed: &&Window| windows.iter().any(|one| failed.begun < one.ended && failed.ended > one.begun);
        failed.iter().filter(is_inside).count()
    }
}

/// While this lasts.
async fn during(what: impl Future<Output = ()>) -> Window {
    let begun = Instant::now();
    what.await;
    Window { begun, ended: Instant::now() }
}

async fn minute(nodes: &Nodes, cluster: &Cluster, number: usize) -> Minute {
    let (one, other) = (number % SPARED, (number + 1) % SPARED);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let killed = during(async {
        nodes.kill(one).await;
        nodes.up(one).await;
    });
    let killed = killed.await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let without_database = during(async {
        cluster.kill_a_backend().await;
        for node in 0..NODES {
            until_served(nodes.app(node)).await;
        }
    });
    let without_database = without_database.await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let restarted = during(async {
        let ending = nodes.each[other].process.write().await.take().unwrap();
        assert_eq!(ending.terminate().await, 0);
        nodes.up(other).await;
    });
    let restarted = restarted.await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    Minute { broken: [killed, without_database], restarted }
}

/// Memory of the spared server in KiB, and how many files it has open.
async fn size(nodes: &Nodes) -> (u64, usize) {
    let process = nodes.each[SPARED].process.read().await;
    let process = process.as_ref().unwrap();
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count();
    (process.memory(), files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_f3_f25_every_minute_and_hardly_a_request_fails_outside() {
    let cluster = Arc::new(Cluster::start().await);
    let nodes = Nodes::on(cluster.url(), Box::new(Arc::clone(&cluster))).await;
    let balanced = Balanced::between(nodes);
    let following = balanced.follow_all();
    let cli = &balanced.nodes.cli;
    let person = Person::new(cli, &balanced.nodes.app(SPARED).base).await;
    let ledger = Arc::new(Ledger::with(person).of_the_killed());
    let soak = Arc::new(Soak {
        balanced: Arc::clone(&balanced),
        asked: AtomicUsize::new(0),
        failed: Mutex::default(),
    });
    let load = ledger.load_through(&soak, balanced.nodes.app(SPARED), CLIENTS);
    let (times, mut minutes, mut sizes) = (scale().max(1), Vec::new(), Vec::new());
    for number in 0..times {
        minutes.push(minute(&balanced.nodes, &cluster, number).await);
        sizes.push(size(&balanced.nodes).await);
    }
    load.stop().await;
    balanced.stop();
    following.join_all().await;
    let broken: Vec<Window> = minutes.iter().flat_map(|minute| minute.broken).collect();
    let restarted: Vec<Window> = minutes.iter().map(|minute| minute.restarted).collect();
    let longest = broken.iter().map(|one| one.ended - one.begun).max().unwrap();
    let (asked, failed) = (soak.asked.load(Ordering::Relaxed), soak.failed.lock().unwrap().len());
    let outside = failed - soak.failed_in(&broken);
    let [totals] = judge("Soak", cli, balanced.nodes.app(SPARED), [&*ledger]).await;
    let ((first, files), (last, files_now)) = (sizes[0], sizes[times - 1]);
    record(
        "Soak",
        &format!(
            "{times} minutes with F1, F3 and F25 in each: {totals}, nothing lost; of {asked} requests {failed} failed, \
             {outside} of them outside of F1 and F3, which were over in {} ms at most; a server that was left alone had \
             {} MiB after the first minute and {} MiB at the end, {files} and {files_now} files",
            longest.as_millis(),
            first / 1024,
            last / 1024
        ),
    );
    assert!(asked > 1_000 * times, "there was a load: {asked}");
    assert!(outside * ONE_IN <= asked, "{outside} of {asked} failed");
    assert_eq!(soak.failed_in(&restarted), 0, "whoever goes where a server is ready notices no restart");
    assert!(longest <= MENDED, "{longest:?}");
    assert!(last <= LARGEST, "{last} KiB");
    assert!(files_now <= files + MORE_FILES, "{files_now} files");
}
