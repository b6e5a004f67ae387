//! F19, F25: three processes on one PostgreSQL under load, restarted one by one or killed all at once.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::cluster::Cluster;
use super::crash::{is_ready, machine, until_ready};
use super::front::{Front, Told, is_alive, is_refusal, told};
use super::grants::Person;
use super::ledger::Ledger;
use super::machine::Namespace;
use super::oracle::judge;
use super::report::{record, scale};
use crate::harness::postgres::Database;
use crate::harness::process::{UNLIMITED, free_port};
use crate::harness::{App, Cli, Directory, Process, Request};

pub const NODES: usize = 3;
pub const WORKERS: usize = 12;
/// What clients call all of them, wherever they listen.
const ISSUER: &str = "http://127.0.0.1:8000";

/// Three nodes and an application that they all know.
pub struct Nodes {
    pub each: Vec<Node>,
    pub cli: Cli,
    home: Directory,
    // Gone after the processes that use it.
    _database: Box<dyn Any + Send + Sync>,
}

/// One of them, and where it runs.
pub struct Node {
    pub app: App,
    cli: Cli,
    host: String,
    port: u16,
    pub process: RwLock<Option<Process>>,
    // Gone after the process in it.
    pub apart: Option<Apart>,
}

/// A network and a clock of a node's own.
pub struct Apart {
    pub clock: Clock,
    network: Namespace,
    database: u16,
    _home: Directory,
}

impl Apart {
    /// What goes to the database, comes from it, or both, is lost from here on.
    pub fn cut(&self, goes: bool, comes: bool) {
        self.network.cut(self.database, goes, comes);
    }

    pub fn heal(&self) {
        self.network.heal();
    }
}

impl Node {
    fn at(app: &App, cli: Cli, host: &str, port: u16, apart: Option<Apart>) -> Self {
        let app = App { base: format!("http://{host}:{port}"), ..app.clone() };
        Self { app, cli, host: host.to_owned(), port, process: RwLock::new(None), apart }
    }
}

impl Nodes {
    pub async fn start() -> Self {
        let database = Database::empty();
        Self::on(database.url(), Box::new(database)).await
    }

    /// On this database, which is gone after them.
    pub async fn on(url: String, database: Box<dyn Any + Send + Sync>) -> Self {
        let home = Directory::new();
        let cli = Cli::at(home.path(), Some(url));
        let app = machine(&cli, "");
        let each = (0..NODES).map(|_| Node::at(&app, cli.clone(), "127.0.0.1", free_port(), None)).collect();
        Self { each, cli, home, _database: database }.all_up().await
    }

    /// Each in a network and with a clock of its own.
    pub async fn start_apart() -> Self {
        let networks: Vec<Namespace> = (0..NODES).map(|_| Namespace::new()).collect();
        let outside: Vec<String> = networks.iter().map(Namespace::outside).collect();
        let listen = format!("127.0.0.1,{}", outside.join(","));
        // Those of a node that was cut off are still counted for a while.
        let cluster = Cluster::start_with(&listen, None, "-c max_connections=200").await;
        let home = Directory::new();
        let cli = Cli::at(home.path(), Some(cluster.url()));
        let app = machine(&cli, "");
        let apart = |(network, port): (Namespace, u16)| {
            let url = cluster.url().replace("127.0.0.1", &network.outside());
            let own = Directory::new();
            let there = Cli::at(home.path(), Some(url)).run_by(network.prefix());
            let ((clock, there), host) = (Clock::of(&own, there), network.inside());
            let apart = Apart { clock, network, database: cluster.port, _home: own };
            Node::at(&app, there, &host, port, Some(apart))
        };
        let each = networks.into_iter().zip(8_000..).map(apart).collect();
        Self { each, cli, home, _database: Box::new(cluster) }.all_up().await
    }

    async fn all_up(self) -> Self {
        for node in 0..NODES {
            self.up(node).await;
        }
        self
    }

    /// Starts a node and waits until it is ready.
    pub async fn up(&self, node: usize) -> Duration {
        let (begun, node) = (Instant::now(), &self.each[node]);
        *node.process.write().await = Some(self.serve(&node.cli, &node.host, node.port).await);
        until_ready(&node.app).await;
        begun.elapsed()
    }

    async fn serve(&self, cli: &Cli, host: &str, port: u16) -> Process {
        // Seen from its network this machine is a stranger, whose share would be limited.
        let arguments = [&["--issuer", ISSUER, "--drain-delay", "1s"][..], &UNLIMITED].concat();
        Process::start_at(cli, &self.home, host, port, &arguments).await
    }

    /// One more, on this machine.
    pub async fn beside(&self) -> Process {
        self.serve(&self.cli, "127.0.0.1", free_port()).await
    }

    /// The application at one of them.
    pub fn app(&self, turn: usize) -> &App {
        &self.each[turn % NODES].app
    }

    /// kill -9, then waits for the process to be gone.
    pub async fn kill(&self, node: usize) {
        drop(self.each[node].process.write().await.take());
    }

    pub async fn signal(&self, node: usize, name: &str) {
        self.each[node].process.read().await.as_ref().unwrap().signal(name);
    }
}

/// Whom a load balancer would give requests, as it knows from asking each node again and again.
pub struct Balanced {
    pub nodes: Nodes,
    ready: Vec<AtomicBool>,
    turn: AtomicUsize,
    stop: AtomicBool,
}

impl Front for Balanced {
    async fn ask(&self, request: Request) -> Told {
        self.next_ready().await.ask(request).await
    }
}

impl Balanced {
    pub fn between(nodes: Nodes) -> Arc<Self> {
        let ready = (0..NODES).map(|_| AtomicBool::new(true)).collect();
        Arc::new(Self { nodes, ready, turn: AtomicUsize::new(0), stop: AtomicBool::new(false) })
    }

    /// Asks each of them until the end.
    pub fn follow_all(self: &Arc<Self>) -> JoinSet<()> {
        let mut following = JoinSet::new();
        for node in 0..NODES {
            following.spawn(Arc::clone(self).follow(node));
        }
        following
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The application at the first node that is ready from the one on whose turn it is, as soon as one is; after
    /// a second in vain at that one, which will refuse.
    pub async fn next_ready(&self) -> &App {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let is_ready = |turn: &usize| self.ready[turn % NODES].load(Ordering::Relaxed);
        for _ in 0..100 {
            if let Some(turn) = (turn..turn + NODES).find(is_ready) {
                return self.nodes.app(turn);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.nodes.app(turn)
    }

    async fn follow(self: Arc<Self>, node: usize) {
        while !self.stop.load(Ordering::Relaxed) {
            self.ready[node].store(is_ready(self.nodes.app(node)).await, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A load balancer asks each node whether it is ready, and clients go where it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_a_rolling_restart_fails_no_request() {
    let balanced = Balanced::between(Nodes::start().await);
    let nodes = &balanced.nodes;
    let following = balanced.follow_all();
    let ledger = Arc::new(Ledger::with(Person::new(&nodes.cli, &nodes.app(0).base).await));
    let load = ledger.load_through(&balanced, nodes.app(0), 6);
    let times = NODES * scale().min(4);
    for node in 0..times {
        let node = node % NODES;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let process = nodes.each[node].process.write().await.take().unwrap();
        assert_eq!(process.terminate().await, 0);
        nodes.up(node).await;
    }
    load.stop().await;
    balanced.stop();
    following.join_all().await;
    let [totals] = judge("F25", &nodes.cli, nodes.app(0), [&*ledger]).await;
    record("F25", &format!("{times} times a node restarted under load: {totals}"));
    assert_eq!(
        (totals.refused, totals.silent),
        (0, 0),
        "whoever goes where a server is ready notices nothing"
    );
    assert!(totals.issued > 100 && totals.revoked > 0 && totals.ended > 0, "there was a load: {totals}");
}

/// What so many clients were told in a while, each asking again at once: how many living tokens they were
/// told of a second, and when the last of them was sent away.
async fn ask_for(nodes: &Arc<Nodes>, tokens: &Arc<Vec<String>>, clients: usize, lasting: Duration) -> Herd {
    let (begun, mut asking) = (Instant::now(), JoinSet::new());
    for client in 0..clients {
        let (nodes, tokens) = (Arc::clone(nodes), Arc::clone(tokens));
        asking.spawn(async move {
            let (mut served, mut sent_away, mut turn) = (Vec::new(), None, client);
            while begun.elapsed() < lasting {
                // Half of them want the same few.
                turn += 1;
                let token = &tokens[if turn % 2 == 0 { turn % 4 } else { turn % tokens.len() }];
                match told(nodes.app(turn).introspect(token)).await {
                    Ok(answer) if is_alive(&answer) => served.push(begun.elapsed()),
                    Ok(answer) if !is_refusal(&answer) => panic!("a token that nobody ended: {answer:#?}"),
                    Ok(_) | Err(_) => {
                        sent_away = Some(begun.elapsed());
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
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
    let (ledger, mut tokens) = (Ledger::default(), Vec::new());
    for turn in 0..400 {
        let token = nodes.app(turn).client_credentials().send().await.is(200).text("access_token");
        ledger.promised(token.clone());
        tokens.push(token);
    }
    let tokens = Arc::new(tokens);
    let before = ask_for(&nodes, &tokens, WORKERS, Duration::from_secs(4)).await;
    let plateau = before.rate_at(Duration::from_secs(2));
    for node in 0..NODES {
        nodes.kill(node).await;
    }
    let herd = {
        let (nodes, tokens) = (Arc::clone(&nodes), Arc::clone(&tokens));
        tokio::spawn(async move { ask_for(&nodes, &tokens, WORKERS * 4, Duration::from_secs(9)).await })
    };
    let begun = Instant::now();
    let mut starting = JoinSet::new();
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
    judge("F19", &nodes.cli, nodes.app(0), [&ledger]).await;
}

/// One process is all there is. Whoever heeds what it says of itself is answered until it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_an_embedded_server_that_ends_fails_no_request() {
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::at(home.path(), None);
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    server.terminate().await;
    let (times, mut slowest) = (3 * scale().min(4), Duration::ZERO);
    let arguments = [&["--drain-delay", "1s"][..], &UNLIMITED].concat();
    for _ in 0..times {
        let server = Process::start_with(&cli, &home, port, &arguments).await;
        until_ready(&app).await;
        let load = ledger.load(&app, 6);
        tokio::time::sleep(Duration::from_millis(700)).await;
        let begun = Instant::now();
        let heeded = async {
            while is_ready(&app).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            load.stop().await;
        };
        let (ended, ()) = tokio::join!(server.terminate(), heeded);
        assert_eq!(ended, 0);
        slowest = slowest.max(begun.elapsed());
    }
    let [totals] = judge("F25", &cli, &app, [&*ledger]).await;
    let slowest = slowest.as_millis();
    record(
        "F25",
        &format!("SQLite: the server ended {times} times under load: {totals}; gone in {slowest} ms at most"),
    );
    assert_eq!((totals.refused, totals.silent), (0, 0), "whoever heeds what it says is answered");
    assert!(totals.issued > 100 && totals.revoked > 0 && totals.ended > 0, "there was a load: {totals}");
}
