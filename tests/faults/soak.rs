//! Soak: in every minute a server is killed (F1), a backend of PostgreSQL is killed (F3), and a server is ended and
//! started (F25); hardly a request fails outside of that. A third server is left alone, and must not grow
//! without end. As many minutes as the scale says: `tests/run soak` takes thirty.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::ledger::{Answered, Ledger, ask, until_served};
use super::nodes::{Balanced, NODES, Nodes};
use super::report::{record, scale};

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
    ledger: Ledger,
    asked: AtomicUsize,
    failed: Mutex<Vec<Window>>,
}

impl Soak {
    async fn client(self: Arc<Self>, client: usize) {
        let mut turn = client;
        while !self.balanced.is_over() {
            turn += 1;
            self.round(turn).await;
        }
    }

    /// A token that is issued on one node, told of on another, and in one of three rounds ended on a third.
    async fn round(&self, turn: usize) {
        let Some(issued) = self.ask(turn, "/o/token/", &[("grant_type", "client_credentials")]).await else {
            return;
        };
        let token = issued.token();
        if let Some(told) = self.ask(turn + 1, "/o/introspect/", &[("token", &token)]).await {
            assert_eq!(told.body["active"], true, "a token that nobody ended: {}", told.body);
        }
        if !turn.is_multiple_of(3) {
            return self.ledger.promised(token);
        }
        match self.ask(turn + 2, "/o/revoke_token/", &[("token", &token)]).await {
            Some(_) => self.ledger.has_ended(token),
            None => self.ledger.in_doubt(token),
        }
    }

    /// The answer of the next node that is ready, or nothing when it failed.
    async fn ask(&self, turn: usize, path: &str, fields: &[(&str, &str)]) -> Option<Answered> {
        let app = self.balanced.next_ready(turn).await;
        let begun = Instant::now();
        let answer = ask(app, path, fields).await;
        self.asked.fetch_add(1, Ordering::Relaxed);
        match answer {
            Some(answer) if answer.status == 200 => return Some(answer),
            Some(answer) => assert!(answer.is_temporary(), "{path}: {} {}", answer.status, answer.body),
            None => {}
        }
        self.failed.lock().unwrap().push(Window { begun, ended: Instant::now() });
        tokio::time::sleep(Duration::from_millis(20)).await;
        None
    }

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
    let soak = Arc::new(Soak {
        balanced: Arc::clone(&balanced),
        ledger: Ledger::default(),
        asked: AtomicUsize::new(0),
        failed: Mutex::default(),
    });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(Arc::clone(&soak).client(client));
    }
    let (times, mut minutes, mut sizes) = (scale().max(1), Vec::new(), Vec::new());
    for number in 0..times {
        minutes.push(minute(&balanced.nodes, &cluster, number).await);
        sizes.push(size(&balanced.nodes).await);
    }
    balanced.stop();
    clients.join_all().await;
    following.join_all().await;
    let broken: Vec<Window> = minutes.iter().flat_map(|minute| minute.broken).collect();
    let restarted: Vec<Window> = minutes.iter().map(|minute| minute.restarted).collect();
    let longest = broken.iter().map(|one| one.ended - one.begun).max().unwrap();
    let (asked, failed) = (soak.asked.load(Ordering::Relaxed), soak.failed.lock().unwrap().len());
    let outside = failed - soak.failed_in(&broken);
    let totals = soak.ledger.judge(balanced.nodes.app(SPARED)).await;
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
    balanced.nodes.cli.run(&["verify"]).succeeded();
}
