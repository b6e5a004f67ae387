//! F20: two versions of the program on one database, forward and back. The newer one, built with the feature
//! `next-version`, has another version of one read model.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::crash::{is_ready, machine};
use super::ledger::{Ledger, ask, issue};
use super::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, environment};

const LOAD: Duration = Duration::from_secs(1);
/// A node that serves no more notices with one of its next pulses, and says until then that it is ready.
const NOTICED: Duration = Duration::from_millis(250);
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
fn refuses_to_serve(new: &Cli) {
    let refused = new.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("the read model tokens is of version 1"), "{}", refused.stderr);
    assert!(refused.stderr.contains("replay"), "{}", refused.stderr);
}

/// A proxy in front of both versions: who is refused by one asks the other at once (nginx calls it
/// `proxy_next_upstream error http_503`).
struct Proxied {
    apps: [App; 2],
    ledger: Ledger,
    /// Refused by both.
    failed: AtomicUsize,
    /// Though one of them said before and afterwards that it was ready.
    wrong: Mutex<Vec<String>>,
    pause: AtomicBool,
    stop: AtomicBool,
}

impl Proxied {
    fn between(apps: [&App; 2]) -> Self {
        Self {
            apps: apps.map(App::clone),
            ledger: Ledger::default(),
            failed: AtomicUsize::new(0),
            wrong: Mutex::default(),
            pause: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    async fn ask(self: Arc<Self>, client: usize) {
        let mut turn = client;
        while !self.stop.load(Ordering::Relaxed) {
            turn += 1;
            if self.pause.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            } else {
                self.once(turn % 2).await;
            }
        }
    }

    async fn once(&self, first: usize) {
        let before = self.are_ready().await;
        for app in [&self.apps[first], &self.apps[1 - first]] {
            match ask(app, "/o/token/", &[("grant_type", "client_credentials")]).await {
                Some(answer) if answer.status == 200 => return self.ledger.promised(answer.token()),
                Some(answer) if !answer.is_temporary() => {
                    self.wrong.lock().unwrap().push(format!("{} {}", answer.status, answer.body));
                }
                Some(_) | None => {}
            }
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(NOTICED).await;
        let after = self.are_ready().await;
        if (0..2).any(|node| before[node] && after[node]) {
            self.wrong.lock().unwrap().push(format!("ready before {before:?} and afterwards {after:?}"));
        }
    }

    async fn are_ready(&self) -> [bool; 2] {
        let (one, two) = tokio::join!(is_ready(&self.apps[0]), is_ready(&self.apps[1]));
        [one, two]
    }

    /// Ends their load: how many were served, and how many by neither.
    async fn judge(&self, clients: JoinSet<()>, app: &App) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let wrong = self.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "failed by both while one of them was ready: {wrong:?}");
        let served = self.ledger.judge(app).await.issued;
        (served, self.failed.load(Ordering::Relaxed))
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

    refuses_to_serve(&new);
    assert_eq!(issue(&app).await, Some(200), "the older one serves");

    let proxied = Arc::new(Proxied::between([&app, &on_new]));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(Arc::clone(&proxied).ask(client));
    }

    // Forward: the older one notices by itself, answers nothing from memory, and writes nothing more.
    replay(&new).await;
    let noticed = until(&app, 503).await;
    let issued = ledger.issued();
    let new_server = Process::start_with(&new, &home, ports[1], &arguments).await;
    let forward = until(&on_new, 200).await;
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
    let (served, failed) = proxied.judge(clients, &app).await;
    record(
        "F20",
        &format!(
            "another version of the read models there and back under load: {totals}, nothing lost; the older one \
             stopped {} ms after the newer one's replay, the newer one served after {} ms, the older one again {} \
             ms after its own; behind a proxy {served} requests were served, {failed} by neither while neither was ready",
            noticed.as_millis(),
            forward.as_millis(),
            back.as_millis()
        ),
    );
    old.run(&["verify"]).succeeded();
    drop((old_server, new_server));
}
