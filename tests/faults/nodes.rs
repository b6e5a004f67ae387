//! T1, T2, F16, F19, F25: three processes on one PostgreSQL under load, while processes are frozen, killed
//! and restarted, one by one or all at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;

use super::crash::machine;
use super::ledger::post;
use super::report::{record, scale};
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request};

const NODES: usize = 3;
const WORKERS: usize = 12;

/// Three nodes and an application that they all know.
struct Nodes {
    home: Directory,
    cli: Cli,
    ports: Vec<u16>,
    apps: Vec<App>,
    processes: Vec<RwLock<Option<Process>>>,
    // Gone after the processes that use it.
    _database: Database,
}

impl Nodes {
    async fn start() -> Self {
        let (home, database) = (Directory::new(), Database::empty());
        let cli = Cli::at(home.path(), Some(database.url()));
        let ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let app = machine(&cli, "");
        let apps = ports.iter().map(|port| App { base: format!("http://127.0.0.1:{port}"), ..app.clone() });
        let nodes = Self {
            apps: apps.collect(),
            processes: (0..NODES).map(|_| RwLock::new(None)).collect(),
            home,
            cli,
            ports,
            _database: database,
        };
        for node in 0..NODES {
            nodes.up(node).await;
        }
        nodes
    }

    /// Starts a node and waits until it is ready.
    async fn up(&self, node: usize) -> Duration {
        let begun = Instant::now();
        let issuer = self.apps[0].base.clone();
        let arguments = ["--issuer", &issuer, "--requests-per-client", "0", "--drain-delay", "1s"];
        let process = Process::start_with(&self.cli, &self.home, self.ports[node], &arguments).await;
        *self.processes[node].write().await = Some(process);
        while !self.is_ready(node).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    async fn is_ready(&self, node: usize) -> bool {
        let url = format!("{}/readyz", self.apps[node].base);
        let asked = Request::new(&self.apps[node].client, "GET", url).try_send();
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == 200))
    }

    async fn signal(&self, node: usize, name: &str) {
        self.processes[node].read().await.as_ref().unwrap().signal(name);
    }
}

/// What the revocations came to.
#[derive(Default)]
struct Tally {
    revoked: AtomicUsize,
    answers: AtomicUsize,
    stale: AtomicUsize,
    unavailable: AtomicUsize,
    took: Mutex<Vec<Duration>>,
}

impl Tally {
    fn percentile(&self, percent: usize) -> Duration {
        let mut took = self.took.lock().unwrap().clone();
        took.sort();
        took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn text(&self) -> String {
        format!(
            "{} revocations, {} answers on {NODES} nodes begun after their 200: {} stale, {} of them 503 or none; \
             revoking took {} ms (p50), {} ms (p99)",
            self.revoked.load(Ordering::Relaxed),
            self.answers.load(Ordering::Relaxed),
            self.stale.load(Ordering::Relaxed),
            self.unavailable.load(Ordering::Relaxed),
            self.percentile(50).as_millis(),
            self.percentile(99).as_millis(),
        )
    }
}

/// Issues a token, lets every node remember it, revokes it on one, and asks all of them at once (R1).
async fn revoke_once(nodes: &Nodes, tally: &Tally, turn: usize) {
    let issued = post(&nodes.apps[turn % NODES], "/o/token/", &[("grant_type", "client_credentials")]).await;
    let Some((200, body)) = issued else { return };
    let token = body["access_token"].as_str().unwrap().to_owned();
    for app in &nodes.apps {
        post(app, "/o/introspect/", &[("token", &token)]).await;
    }
    let begun = Instant::now();
    let revoked = post(&nodes.apps[(turn / NODES) % NODES], "/o/revoke_token/", &[("token", &token)]).await;
    let Some((200, _)) = revoked else { return };
    tally.took.lock().unwrap().push(begun.elapsed());
    tally.revoked.fetch_add(1, Ordering::Relaxed);
    let mut asking = tokio::task::JoinSet::new();
    for app in nodes.apps.clone() {
        let token = token.clone();
        asking.spawn(async move { post(&app, "/o/introspect/", &[("token", &token)]).await });
    }
    for answer in asking.join_all().await {
        tally.answers.fetch_add(1, Ordering::Relaxed);
        match answer {
            Some((200, body)) if body["active"] == true => {
                tally.stale.fetch_add(1, Ordering::Relaxed);
            }
            Some((200, _)) => {}
            Some((503, _)) | None => {
                tally.unavailable.fetch_add(1, Ordering::Relaxed);
            }
            Some((status, body)) => panic!("a fault of ours is not the client's: {status} {body}"),
        }
    }
}

/// Revokes until told to stop, or so many times.
async fn revoke_many(nodes: &Arc<Nodes>, tally: &Arc<Tally>, stop: &Arc<AtomicBool>, most: usize) {
    let turns = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let (nodes, tally, stop, turns) =
            (Arc::clone(nodes), Arc::clone(tally), Arc::clone(stop), Arc::clone(&turns));
        workers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let turn = turns.fetch_add(1, Ordering::Relaxed);
                if turn >= most {
                    return;
                }
                revoke_once(&nodes, &tally, turn).await;
            }
        });
    }
    workers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_f16_after_a_revocation_no_node_says_active_whatever_happens_to_the_others() {
    let nodes = Arc::new(Nodes::start().await);
    let (well, stop) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    revoke_many(&nodes, &well, &stop, 600 * scale()).await;
    record("T1", &format!("all nodes well: {}", well.text()));
    assert_eq!(well.stale.load(Ordering::Relaxed), 0, "{}", well.text());
    assert!(well.revoked.load(Ordering::Relaxed) > 500, "{}", well.text());
    assert_eq!(well.unavailable.load(Ordering::Relaxed), 0, "{}", well.text());

    let hurt = Arc::new(Tally::default());
    let load = {
        let (nodes, hurt, stop) = (Arc::clone(&nodes), Arc::clone(&hurt), Arc::clone(&stop));
        tokio::spawn(async move { revoke_many(&nodes, &hurt, &stop, usize::MAX).await })
    };
    let mut recovered = Vec::new();
    for round in 0..3 * scale() {
        let frozen = round % NODES;
        nodes.signal(frozen, "STOP").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        nodes.signal(frozen, "CONT").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let killed = (round + 1) % NODES;
        // kill -9, then waits for the process to be gone.
        drop(nodes.processes[killed].write().await.take());
        recovered.push(nodes.up(killed).await);
    }
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let slowest = recovered.iter().max().copied().unwrap_or_default();
    record(
        "T2, F16, F1",
        &format!(
            "{} times a node frozen for 5 s and another killed: {}; ready again in {} ms at most",
            recovered.len(),
            hurt.text(),
            slowest.as_millis()
        ),
    );
    assert_eq!(hurt.stale.load(Ordering::Relaxed), 0, "{}", hurt.text());
    assert!(hurt.revoked.load(Ordering::Relaxed) > 20, "{}", hurt.text());
    nodes.cli.run(&["verify"]).succeeded();
}

/// A load balancer asks each node whether it is ready, and clients go where it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_a_rolling_restart_fails_no_request() {
    let nodes = Arc::new(Nodes::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let ready: Arc<Vec<AtomicBool>> = Arc::new((0..NODES).map(|_| AtomicBool::new(true)).collect());
    let mut tasks = tokio::task::JoinSet::new();
    for node in 0..NODES {
        let (nodes, ready, stop) = (Arc::clone(&nodes), Arc::clone(&ready), Arc::clone(&stop));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                ready[node].store(nodes.is_ready(node).await, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (0, Vec::new())
        });
    }
    for worker in 0..6 {
        let (nodes, ready, stop) = (Arc::clone(&nodes), Arc::clone(&ready), Arc::clone(&stop));
        tasks.spawn(async move {
            let (mut answered, mut failed) = (0, Vec::new());
            let mut turn = worker;
            while !stop.load(Ordering::Relaxed) {
                turn += 1;
                let node = turn % NODES;
                if !ready[node].load(Ordering::Relaxed) {
                    continue;
                }
                let app = &nodes.apps[node];
                match post(app, "/o/token/", &[("grant_type", "client_credentials")]).await {
                    Some((200, _)) => answered += 1,
                    other => failed.push(format!("{other:?}")),
                }
            }
            (answered, failed)
        });
    }
    for node in 0..NODES * scale().min(4) {
        let node = node % NODES;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let process = nodes.processes[node].write().await.take().unwrap();
        assert_eq!(process.terminate().await, 0);
        nodes.up(node).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut failed) = (0, Vec::new());
    for (more, wrong) in tasks.join_all().await {
        answered += more;
        failed.extend(wrong);
    }
    record("F25", &format!("every node restarted under load: {answered} requests, {} failed", failed.len()));
    assert!(failed.is_empty(), "{failed:?}");
    assert!(answered > 100, "{answered}");
    nodes.cli.run(&["verify"]).succeeded();
}

/// What so many clients were told in a while, each asking again at once: how many living tokens they were
/// told of a second, and when the last of them was sent away.
async fn ask_for(nodes: &Arc<Nodes>, tokens: &Arc<Vec<String>>, clients: usize, lasting: Duration) -> Herd {
    let (begun, mut asking) = (Instant::now(), tokio::task::JoinSet::new());
    for client in 0..clients {
        let (nodes, tokens) = (Arc::clone(nodes), Arc::clone(tokens));
        asking.spawn(async move {
            let (mut served, mut sent_away, mut turn) = (Vec::new(), None, client);
            while begun.elapsed() < lasting {
                // Half of them want the same few.
                turn += 1;
                let token = &tokens[if turn % 2 == 0 { turn % 4 } else { turn % tokens.len() }];
                match post(&nodes.apps[turn % NODES], "/o/introspect/", &[("token", token)]).await {
                    Some((200, body)) => {
                        assert_eq!(body["active"], true, "a token that nobody ended");
                        served.push(begun.elapsed());
                    }
                    Some((503, _)) | None => {
                        sent_away = Some(begun.elapsed());
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Some((status, body)) => panic!("a fault of ours is not the client's: {status} {body}"),
                }
            }
            (served, sent_away)
        });
    }
    let mut herd = Herd::default();
    for (served, sent_away) in asking.join_all().await {
        herd.served.extend(served);
        herd.sent_away = herd.sent_away.max(sent_away);
    }
    herd
}

#[derive(Default)]
struct Herd {
    served: Vec<Duration>,
    sent_away: Option<Duration>,
}

impl Herd {
    /// Served in a second that begins then.
    fn rate_at(&self, from: Duration) -> usize {
        self.served.iter().filter(|at| (from..from + Duration::from_secs(1)).contains(*at)).count()
    }
}

/// Every node is killed and comes back with nothing in memory, while four times as many clients as before ask
/// for what was in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_a_herd_that_meets_cold_nodes_is_served() {
    let nodes = Arc::new(Nodes::start().await);
    let mut tokens = Vec::new();
    for turn in 0..400 {
        let issued =
            post(&nodes.apps[turn % NODES], "/o/token/", &[("grant_type", "client_credentials")]).await;
        tokens.push(issued.unwrap().1["access_token"].as_str().unwrap().to_owned());
    }
    let tokens = Arc::new(tokens);
    let before = ask_for(&nodes, &tokens, WORKERS, Duration::from_secs(4)).await;
    let plateau = before.rate_at(Duration::from_secs(2));
    for node in 0..NODES {
        drop(nodes.processes[node].write().await.take());
    }
    let herd = {
        let (nodes, tokens) = (Arc::clone(&nodes), Arc::clone(&tokens));
        tokio::spawn(async move { ask_for(&nodes, &tokens, WORKERS * 4, Duration::from_secs(9)).await })
    };
    let begun = Instant::now();
    let mut starting = tokio::task::JoinSet::new();
    for node in 0..NODES {
        let nodes = Arc::clone(&nodes);
        starting.spawn(async move { nodes.up(node).await });
    }
    starting.join_all().await;
    let ready = begun.elapsed();
    let herd = herd.await.unwrap();
    let sent_away = herd.sent_away.unwrap_or_default().saturating_sub(ready);
    // Within five seconds it is as fast as before.
    let seconds = (0..=8).map(|half| herd.rate_at(ready + Duration::from_millis(500 * half)));
    let after = seconds.max().unwrap_or_default();
    record(
        "F19",
        &format!(
            "three nodes killed and started under {} clients: ready in {} ms, the last was sent away {} ms later; \
             {after} answers a second within 5 s, {plateau} before",
            WORKERS * 4,
            ready.as_millis(),
            sent_away.as_millis()
        ),
    );
    assert!(sent_away <= Duration::from_secs(3), "{sent_away:?}");
    assert!(after * 10 >= plateau * 8, "{after} of {plateau} a second");
    nodes.cli.run(&["verify"]).succeeded();
}
