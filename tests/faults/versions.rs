//! F20: two versions of the program on one database, forward and back. The newer one, built with the feature
//! `next-version`, has another version of two read models: one that is written with events, and one that follows. The
//! one before is an earlier commit's, whose read models are the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::crash::{machine, until_ready};
use super::front::{Front, Told, is_refusal, issue};
use super::grants::Person;
use super::ledger::{Ledger, Load, Totals};
use super::oracle::judge;
use super::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Browser, Cli, Directory, Process, Request, environment};

const LOAD: Duration = Duration::from_secs(1);
/// Longer than a server takes to stop.
const STOPPED: Duration = Duration::from_secs(10);
/// Of those who have a proxy between them and both versions.
const CLIENTS: usize = 4;

/// How long until the server answers a token request so.
async fn until(app: &App, status: u16) -> Duration {
    let begun = Instant::now();
    while issue(app).await != Some(status) {
        assert!(begun.elapsed() < Duration::from_secs(10), "never {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// A version's replay, beside whatever serves.
async fn replay(cli: &Cli) {
    let cli = cli.clone();
    tokio::task::spawn_blocking(move || cli.run(&["replay"]).succeeded()).await.unwrap();
}

/// The newer one does not touch the older one's tables, and says what to do.
async fn waits(new: &App, server: &Process) {
    let ready = Request::new(&new.client, "GET", format!("{}/readyz", new.base)).send().await.is(503);
    assert!(ready.text("reason").contains("the read model tokens is of version 1"), "{ready:#?}");
    assert_eq!(issue(new).await, Some(503));
    let begun = Instant::now();
    while !server.log().contains("chancery replay") {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A proxy in front of both versions. It asks the one that answered last; who is refused there asks the other
/// at once (nginx calls it `proxy_next_upstream error http_503 non_idempotent`).
struct Proxy {
    apps: [App; 2],
    answered_last: AtomicUsize,
}

impl Front for Proxy {
    async fn ask(&self, request: Request) -> Told {
        let first = self.answered_last.load(Ordering::Relaxed);
        let told = self.apps[first].ask(request.clone()).await;
        if told.as_ref().is_ok_and(|answer| !is_refusal(answer)) {
            return told;
        }
        self.answered_last.store(1 - first, Ordering::Relaxed);
        self.apps[1 - first].ask(request).await
    }
}

/// Who come through it.
struct Proxied {
    proxy: Arc<Proxy>,
    ledger: Arc<Ledger>,
}

impl Proxied {
    async fn between(apps: [&App; 2], cli: &Cli) -> Self {
        let ledger = Arc::new(Ledger::with(Person::new(cli, &apps[0].base).await));
        let proxy = Proxy { apps: apps.map(App::clone), answered_last: AtomicUsize::new(0) };
        Self { proxy: Arc::new(proxy), ledger }
    }

    fn load(&self) -> Load {
        self.ledger.load_through(&self.proxy, &self.proxy.apps[0], CLIENTS)
    }

    /// What they were told; nobody that neither version would serve them.
    fn served(&self, totals: &Totals) -> String {
        assert_eq!((totals.refused, totals.silent), (0, 0), "refused by both: {totals}");
        assert!(totals.revoked > 0 && totals.ended > 0, "there was a load: {totals}");
        format!("{totals}, in {} ms at most", self.ledger.slowest().as_millis())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_neither_of_two_versions_writes_into_the_tables_of_the_other() {
    let (home, database) = (Directory::new(), Database::empty());
    let old = Cli::at(home.path(), Some(database.url()));
    let new = old.of_program(&environment::next_version());
    let ports = [free_port(), free_port()];
    let app = machine(&old, &format!("http://127.0.0.1:{}", ports[0]));
    let on_new = App { base: format!("http://127.0.0.1:{}", ports[1]), ..app.clone() };
    let arguments = ["--issuer", &app.base];
    let old_server = Process::start_with(&old, &home, ports[0], &arguments).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 4);
    tokio::time::sleep(LOAD).await;

    let new_server = Process::start_with(&new, &home, ports[1], &arguments).await;
    waits(&on_new, &new_server).await;
    assert_eq!(issue(&app).await, Some(200), "the older one serves");
    let proxied = Proxied::between([&app, &on_new], &old).await;
    let through = proxied.load();
    tokio::time::sleep(LOAD).await;

    // Forward: the older one notices by itself, answers nothing from memory, and writes nothing more.
    replay(&new).await;
    let noticed = until(&app, 503).await;
    let forward = until(&on_new, 200).await;
    let issued = ledger.issued();
    tokio::time::sleep(LOAD).await;
    assert_eq!(ledger.issued(), issued, "the older one wrote into the newer one's tables");
    // What is verified stands still for a moment.
    through.stop().await;
    new.run(&["verify"]).succeeded();
    let through = proxied.load();

    // And back: the older one goes on without a restart.
    replay(&old).await;
    let back = until(&app, 200).await;
    until(&on_new, 503).await;
    tokio::time::sleep(LOAD).await;
    load.stop().await;
    through.stop().await;
    assert!(ledger.issued() > issued);
    let [totals, served] = judge("F20", &old, &app, [&*ledger, &*proxied.ledger]).await;
    record(
        "F20",
        &format!(
            "another version of the read models there and back under load: {totals}, nothing lost; the older one \
             stopped {} ms after the newer one's replay, the newer one served after {} ms, the older one again {} \
             ms after its own; behind a proxy {}",
            noticed.as_millis(),
            forward.as_millis(),
            back.as_millis(),
            proxied.served(&served)
        ),
    );
    drop((old_server, new_server));
}

/// On the embedded database, as the guide has it: the newer program's replay beside the older server, then a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_neither_of_two_versions_writes_into_the_tables_of_the_other_on_sqlite() {
    let home = Directory::new();
    let old = Cli::at(home.path(), None);
    let new = old.of_program(&environment::next_version());
    let port = free_port();
    let app = machine(&old, &format!("http://127.0.0.1:{port}"));
    let mut server = Process::start_with(&old, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::with(Person::new(&old, &app.base).await));
    let load = ledger.load(&app, CLIENTS);
    tokio::time::sleep(LOAD).await;
    replay(&new).await;
    let noticed = until(&app, 503).await;
    let issued = ledger.issued();
    tokio::time::sleep(LOAD).await;
    assert_eq!(ledger.issued(), issued, "the older one wrote into the newer one's tables");
    load.stop().await;
    new.run(&["verify"]).succeeded();
    assert_eq!(server.terminate_within(STOPPED).await, 0);

    server = Process::start_with(&new, &home, port, &[]).await;
    until_ready(&app).await;
    let load = ledger.load(&app, CLIENTS);
    tokio::time::sleep(LOAD).await;
    load.stop().await;
    assert!(ledger.issued() > issued);
    let [totals] = judge("F20", &new, &app, [&*ledger]).await;
    record(
        "F20",
        &format!(
            "SQLite: another version of the read models, replayed beside the older server, which stopped {} ms later, and a \
             restart: {totals}, nothing lost",
            noticed.as_millis()
        ),
    );
    drop(server);
}

/// Nodes of the version before and of this one take turns: forward, back, and forward again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_the_version_before_and_this_one_change_places_under_load() {
    let (home, database) = (Directory::new(), Database::empty());
    let new = Cli::at(home.path(), Some(database.url()));
    let old = new.of_program(&environment::previous_version());
    let ports = [free_port(), free_port()];
    let app = machine(&old, &format!("http://127.0.0.1:{}", ports[0]));
    let apps = ports.map(|port| App { base: format!("http://127.0.0.1:{port}"), ..app.clone() });
    let arguments = ["--issuer", &app.base];
    let start = async |cli: &Cli, node: usize| {
        let process = Process::start_with(cli, &home, ports[node], &arguments).await;
        until_ready(&apps[node]).await;
        process
    };
    let mut nodes = [start(&old, 0).await, start(&old, 1).await];
    let proxied = Proxied::between([&apps[0], &apps[1]], &old).await;
    let through = proxied.load();
    for version in [&new, &old, &new] {
        for (node, process) in nodes.iter_mut().enumerate() {
            tokio::time::sleep(LOAD).await;
            assert_eq!(process.terminate_within(STOPPED).await, 0);
            *process = start(version, node).await;
        }
        Browser::new(&apps[0].base).login("ada").await;
        tokio::time::sleep(LOAD).await;
    }
    through.stop().await;
    let [served] = judge("F20", &new, &app, [&*proxied.ledger]).await;
    record(
        "F20",
        &format!(
            "the version before this one and this one, forward, back and forward, node by node; behind a proxy {}",
            proxied.served(&served)
        ),
    );
    drop(nodes);
}

/// What a newer version's migration may do: add.
const NEWER: [&str; 4] = [
    "CREATE TABLE newer_things (id text PRIMARY KEY)",
    "ALTER TABLE tokens ADD COLUMN newer text",
    "ALTER TABLE nodes ADD COLUMN newer bigint NOT NULL DEFAULT 0",
    "INSERT INTO schema_migrations (version, name) VALUES (9999, '9999_newer')",
];

/// Nodes that are restarted one after the other, on tables to which a newer version has added something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_an_older_version_runs_on_what_a_newer_one_has_added() {
    let (home, database) = (Directory::new(), Database::empty());
    let cli = Cli::at(home.path(), Some(database.url()));
    let ports = [free_port(), free_port()];
    let app = machine(&cli, &format!("http://127.0.0.1:{}", ports[0]));
    let apps = ports.map(|port| App { base: format!("http://127.0.0.1:{port}"), ..app.clone() });
    let arguments = ["--issuer", &app.base];
    let [mut one, mut two] = [
        Process::start_with(&cli, &home, ports[0], &arguments).await,
        Process::start_with(&cli, &home, ports[1], &arguments).await,
    ];
    let proxied = Proxied::between([&apps[0], &apps[1]], &cli).await;
    let through = proxied.load();
    tokio::time::sleep(LOAD).await;
    for sql in NEWER {
        database.execute(sql).await;
    }
    for round in 0..2 {
        assert_eq!(one.terminate().await, 0, "round {round}");
        one = Process::start_with(&cli, &home, ports[0], &arguments).await;
        until_ready(&apps[0]).await;
        assert_eq!(two.terminate().await, 0, "round {round}");
        two = Process::start_with(&cli, &home, ports[1], &arguments).await;
        until_ready(&apps[1]).await;
    }
    replay(&cli).await;
    through.stop().await;
    let [served] = judge("F20", &cli, &app, [&*proxied.ledger]).await;
    record(
        "F20",
        &format!(
            "restarted one after the other, twice, on tables with something added, and then replayed; behind a proxy {}",
            proxied.served(&served)
        ),
    );
    drop((one, two));
}
