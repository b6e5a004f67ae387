//! F20: two versions of the program on one database, forward and back. The newer one, built with the feature
//! `next-version`, has another version of one read model.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::crash::{machine, until_ready};
use super::ledger::{Ledger, ask, issue};
use super::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request, environment};

const LOAD: Duration = Duration::from_secs(1);
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
struct Proxied {
    apps: [App; 2],
    answered_last: AtomicUsize,
    ledger: Ledger,
    /// What both said to those who were refused by both.
    failed: Mutex<Vec<String>>,
    /// What took longest, in milliseconds.
    longest: AtomicU64,
    pause: AtomicBool,
    stop: AtomicBool,
}

impl Proxied {
    /// Starts those who come through it.
    fn between(apps: [&App; 2]) -> (Arc<Self>, JoinSet<()>) {
        let proxied = Arc::new(Self {
            apps: apps.map(App::clone),
            answered_last: AtomicUsize::new(0),
            ledger: Ledger::default(),
            failed: Mutex::default(),
            longest: AtomicU64::new(0),
            pause: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(Arc::clone(&proxied).ask());
        }
        (proxied, clients)
    }

    async fn ask(self: Arc<Self>) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.pause.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            } else {
                self.once().await;
            }
        }
    }

    async fn once(&self) {
        let begun = Instant::now();
        let first = self.answered_last.load(Ordering::Relaxed);
        let mut refused = Vec::new();
        for node in [first, 1 - first] {
            match ask(&self.apps[node], "/o/token/", &[("grant_type", "client_credentials")]).await {
                Some(answer) if answer.status == 200 => {
                    self.answered_last.store(node, Ordering::Relaxed);
                    let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
                    self.longest.fetch_max(took, Ordering::Relaxed);
                    return self.ledger.promised(answer.token());
                }
                Some(answer) => refused.push(format!("{node}: {} {}", answer.status, answer.body)),
                None => refused.push(format!("{node}: no answer")),
            }
        }
        self.failed.lock().unwrap().push(refused.join(", "));
    }

    /// Ends their load, and judges it: how many were served, and how long that took at most.
    async fn judge(&self, clients: JoinSet<()>, app: &App) -> (usize, u64) {
        self.stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let failed = self.failed.lock().unwrap().clone();
        assert!(failed.is_empty(), "refused by both: {failed:#?}");
        (self.ledger.judge(app).await.issued, self.longest.load(Ordering::Relaxed))
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
    let (proxied, clients) = Proxied::between([&app, &on_new]);
    tokio::time::sleep(LOAD).await;

    // Forward: the older one notices by itself, answers nothing from memory, and writes nothing more.
    replay(&new).await;
    let noticed = until(&app, 503).await;
    let forward = until(&on_new, 200).await;
    let issued = ledger.issued();
    tokio::time::sleep(LOAD).await;
    assert_eq!(ledger.issued(), issued, "the older one wrote into the newer one's tables");
    // What is verified stands still for a moment.
    proxied.pause.store(true, Ordering::Relaxed);
    new.run(&["verify"]).succeeded();
    proxied.pause.store(false, Ordering::Relaxed);

    // And back: the older one goes on without a restart.
    replay(&old).await;
    let back = until(&app, 200).await;
    until(&on_new, 503).await;
    tokio::time::sleep(LOAD).await;
    load.stop().await;
    assert!(ledger.issued() > issued);
    let totals = ledger.judge(&app).await;
    let (served, longest) = proxied.judge(clients, &app).await;
    record(
        "F20",
        &format!(
            "another version of the read models there and back under load: {totals}, nothing lost; the older one \
             stopped {} ms after the newer one's replay, the newer one served after {} ms, the older one again {} \
             ms after its own; behind a proxy {served} requests were served in {longest} ms at most, 0 failed",
            noticed.as_millis(),
            forward.as_millis(),
            back.as_millis()
        ),
    );
    old.run(&["verify"]).succeeded();
    drop((old_server, new_server));
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
    let (proxied, clients) = Proxied::between([&apps[0], &apps[1]]);
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
    let (served, longest) = proxied.judge(clients, &app).await;
    record(
        "F20",
        &format!(
            "restarted one after the other, twice, on tables with something added, and then replayed: {served} \
             requests behind a proxy were served in {longest} ms at most, 0 failed"
        ),
    );
    cli.run(&["verify"]).succeeded();
    drop((one, two));
}
