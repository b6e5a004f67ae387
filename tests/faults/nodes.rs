//! F19, F25: three processes on one PostgreSQL under load, restarted one by one or killed all at once.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::cluster::Cluster;
use super::crash::{is_ready, machine, until_ready};
use super::ledger::{ask, each_is, post};
use super::machine::Namespace;
use super::report::{count, record, scale};
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process};

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
        let unlimited = ["--requests-per-client", "0", "--requests-per-address", "0"];
        let arguments = [&["--issuer", ISSUER, "--drain-delay", "1s"][..], &unlimited].concat();
        Process::start_at(cli, &self.home, host, port, &arguments).await
    }

    /// One more, which remembers nothing; it ends with what this returns.
    pub async fn another(&self) -> (App, Process) {
        let node = Node::at(&self.each[0].app, self.cli.clone(), "127.0.0.1", free_port(), None);
        let process = self.serve(&node.cli, &node.host, node.port).await;
        until_ready(&node.app).await;
        (node.app, process)
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
    stop: AtomicBool,
}

impl Balanced {
    pub fn between(nodes: Nodes) -> Arc<Self> {
        let ready = (0..NODES).map(|_| AtomicBool::new(true)).collect();
        Arc::new(Self { nodes, ready, stop: AtomicBool::new(false) })
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

    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The application at the first node from this one on that is ready, as soon as one is; after a second in vain at
    /// this one, which will refuse.
    pub async fn next_ready(&self, turn: usize) -> &App {
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

    /// Tokens that were given, and what else was answered.
    async fn ask(self: Arc<Self>, worker: usize) -> (Vec<String>, Vec<String>) {
        let (mut given, mut failed) = (Vec::new(), Vec::new());
        let mut turn = worker;
        while !self.stop.load(Ordering::Relaxed) {
            turn += 1;
            let asked = [("grant_type", "client_credentials")];
            match ask(self.next_ready(turn).await, "/o/token/", &asked).await {
                Some(answer) if answer.status == 200 => given.push(answer.token()),
                other => failed.push(format!("{:?}", other.map(|answer| (answer.status, answer.body)))),
            }
        }
        (given, failed)
    }
}

/// A load balancer asks each node whether it is ready, and clients go where it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_a_rolling_restart_fails_no_request() {
    let balanced = Balanced::between(Nodes::start().await);
    let nodes = &balanced.nodes;
    let (following, mut asking) = (balanced.follow_all(), JoinSet::new());
    for worker in 0..6 {
        asking.spawn(Arc::clone(&balanced).ask(worker));
    }
    for node in 0..NODES * scale().min(4) {
        let node = node % NODES;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let process = nodes.each[node].process.write().await.take().unwrap();
        assert_eq!(process.terminate().await, 0);
        nodes.up(node).await;
    }
    balanced.stop();
    following.join_all().await;
    let (given, failed): (Vec<_>, Vec<_>) = asking.join_all().await.into_iter().unzip();
    let (given, failed) = (given.concat(), failed.concat());
    let answered = given.len();
    record("F25", &format!("every node restarted under load: {answered} requests, {} failed", failed.len()));
    assert!(failed.is_empty(), "{failed:?}");
    assert!(answered > 100, "{answered}");
    each_is(nodes.app(0), given, Some(true)).await;
    count(answered, 0);
    nodes.cli.run(&["verify"]).succeeded();
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
                match post(nodes.app(turn), "/o/introspect/", &[("token", token)]).await {
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
        let issued = post(nodes.app(turn), "/o/token/", &[("grant_type", "client_credentials")]).await;
        tokens.push(issued.unwrap().1["access_token"].as_str().unwrap().to_owned());
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
    nodes.cli.run(&["verify"]).succeeded();
}

/// One process is all there is. Whoever heeds what it says of itself is answered until it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_an_embedded_server_that_ends_fails_no_request() {
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::at(home.path(), None);
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let (times, mut given, mut slowest) = (3 * scale().min(4), Vec::new(), Duration::ZERO);
    for _ in 0..times {
        let server = Process::start_with(&cli, &home, port, &["--drain-delay", "1s"]).await;
        until_ready(&app).await;
        let ready = Arc::new(AtomicBool::new(true));
        let mut asking = JoinSet::new();
        for _ in 0..6 {
            asking.spawn(while_ready(app.clone(), Arc::clone(&ready)));
        }
        let told = tokio::spawn({
            let (app, ready) = (app.clone(), Arc::clone(&ready));
            async move {
                while is_ready(&app).await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                ready.store(false, Ordering::Relaxed);
            }
        });
        tokio::time::sleep(Duration::from_millis(700)).await;
        let begun = Instant::now();
        assert_eq!(server.terminate().await, 0);
        slowest = slowest.max(begun.elapsed());
        told.await.unwrap();
        given.extend(asking.join_all().await.concat());
    }
    let (answered, slowest) = (given.len(), slowest.as_millis());
    record(
        "F25",
        &format!(
            "SQLite: the server ended {times} times under load: {answered} requests, 0 failed; gone in {slowest} ms at most"
        ),
    );
    assert!(answered > 100, "{answered}");
    let _server = Process::start_with(&cli, &home, port, &[]).await;
    each_is(&app, given, Some(true)).await;
    count(answered, 0);
    cli.run(&["verify"]).succeeded();
}

/// Asks for tokens; what was given.
async fn while_ready(app: App, ready: Arc<AtomicBool>) -> Vec<String> {
    let mut given = Vec::new();
    while ready.load(Ordering::Relaxed) {
        given.push(app.client_credentials().send().await.is(200).text("access_token"));
    }
    given
}
