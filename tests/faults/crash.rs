//! F1: kill -9 of the server at random moments, on the embedded database, and of one of two on PostgreSQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::grants::Person;
use super::ledger::Ledger;
use super::oracle::judge;
use super::report::{record, scale};
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request};

const KILLS: u64 = 20;
/// A server is ready within so many milliseconds of its start.
const READY: u128 = 2_000;
/// Longer than a lease, and than several ends after it.
const LATER: Duration = Duration::from_millis(2_500);
/// What clients call both servers.
const ISSUER: &str = "http://127.0.0.1:8000";

/// Registers a machine application on the command line.
pub fn machine(cli: &Cli, base: &str) -> App {
    let arguments =
        ["createapplication", "confidential", "client-credentials", "--name", "Nightly", "--json"];
    let answer = cli.run(&arguments).succeeded().json();
    App {
        client: reqwest::Client::new(),
        base: base.to_owned(),
        client_id: answer["client_id"].as_str().unwrap().to_owned(),
        secret: answer["client_secret"].as_str().unwrap().to_owned(),
        redirect_uri: String::new(),
    }
}

/// Whether a server says that it should be given requests.
pub async fn is_ready(app: &App) -> bool {
    let asked = Request::new(&app.client, "GET", format!("{}/readyz", app.base)).try_send();
    let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status() == 200))
}

/// How long until it says so.
pub async fn until_ready(app: &App) -> Duration {
    let begun = Instant::now();
    while !is_ready(app).await {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} is not ready", app.base);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// Where a server runs that is killed again and again.
struct Place<'a> {
    cli: &'a Cli,
    home: &'a Directory,
    app: &'a App,
    port: u16,
}

impl Place<'_> {
    /// Starts it; how long until it is ready.
    async fn start(&self) -> (Process, Duration) {
        let begun = Instant::now();
        let server = Process::start_with(self.cli, self.home, self.port, &["--issuer", ISSUER]).await;
        until_ready(self.app).await;
        (server, begun.elapsed())
    }

    /// Starts it and kills it at moments that do not repeat, 150 to 620 ms apart, or once in five seconds later:
    /// before, no end can be acknowledged, because the one that was killed may still answer for a second. How
    /// long it took to be ready again at most.
    async fn kill_often(&self, kills: u64) -> (Process, Duration) {
        let (mut server, mut slowest) = (self.start().await.0, Duration::ZERO);
        for kill in 0..kills {
            let later = if kill % 5 == 2 { LATER } else { Duration::ZERO };
            tokio::time::sleep(Duration::from_millis(150 + kill * 263 % 470) + later).await;
            drop(server); // kill -9, then waits for the process to be gone
            let (again, took) = self.start().await;
            (server, slowest) = (again, slowest.max(took));
        }
        (server, slowest)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_invariant_01_twenty_kills_of_the_server_lose_nothing_acknowledged() {
    let home = Directory::new();
    let (cli, port) = (Cli::in_home(home.path()), free_port());
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let place = Place { cli: &cli, home: &home, app: &app, port };
    let (server, _) = place.start().await;
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await).of_the_killed());
    drop(server);
    let load = ledger.load(&app, 8);
    let kills = KILLS * scale() as u64;
    let (server, slowest) = place.kill_often(kills).await;
    load.stop().await;
    let [totals] = judge("F1", &cli, &app, [&*ledger]).await;
    let slowest = slowest.as_millis();
    record(
        "F1",
        &format!(
            "{kills} kills -9 of the server: {totals}, nothing lost; ready again in {slowest} ms at most"
        ),
    );
    assert!(totals.issued > 100, "there was a load: {totals}");
    assert!(totals.revoked > 0 && totals.ended > 0, "ends were acknowledged: {totals}");
    assert!(slowest <= READY, "{slowest} ms");
    drop(server);
}

/// The other server waits a moment with revocations, as for any that went without a word, and answers all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_twenty_kills_of_one_server_are_nothing_to_the_other() {
    let (home, database) = (Directory::new(), Database::empty());
    let (cli, port, other) = (Cli::at(home.path(), Some(database.url())), free_port(), free_port());
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let there = App { base: format!("http://127.0.0.1:{other}"), ..app.clone() };
    let place = Place { cli: &cli, home: &home, app: &app, port };
    let (beside, _) = Place { app: &there, port: other, ..place }.start().await;
    let (server, _) = place.start().await;
    let killed = Arc::new(Ledger::with(Person::new(&cli, &app.base).await).of_the_killed());
    drop(server);
    let spared = Arc::new(Ledger::default());
    let loads = [killed.load(&app, 8), spared.load(&there, 8)];
    let kills = KILLS * scale() as u64;
    let (server, slowest) = place.kill_often(kills).await;
    for load in loads {
        load.stop().await;
    }
    let [lost, kept] = judge("F1", &cli, &app, [&*killed, &*spared]).await;
    let (slowest, longest) = (slowest.as_millis(), spared.slowest().as_millis());
    record(
        "F1",
        &format!(
            "{kills} kills -9 of one server of two: {lost}, nothing lost; ready again in {slowest} ms at most; at the \
             other {kept}, in {longest} ms at most"
        ),
    );
    assert!(lost.issued > 100 && kept.issued > 100, "there was a load: {lost}; {kept}");
    assert!(lost.revoked > 0 && lost.ended > 0, "ends were acknowledged: {lost}");
    assert_eq!(kept.refused, 0, "the other one is well: {kept}");
    assert!(slowest <= READY, "{slowest} ms");
    drop((server, beside));
}
