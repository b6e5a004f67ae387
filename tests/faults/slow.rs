//! F9, F10: a database that is far away, that stands still, or that has no connection left. What cannot be
//! done is refused soon, what is known is still told, and nothing piles up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::crash::machine;
use super::ledger::{Ledger, post};
use super::machine::Proxy;
use super::report::record;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request};

const FAR: Duration = Duration::from_millis(150);
const LOAD: Duration = Duration::from_secs(6);
/// How long the log is locked.
const LOCKED: Duration = Duration::from_secs(10);
const TASKS: usize = 100;
/// What a process may grow by under a load it cannot carry, in KiB.
const GROWTH: u64 = 50 * 1024;

/// How long answers of a kind took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn percentile(&mut self, percent: usize) -> u128 {
        self.0.sort_unstable();
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).map_or(0, Duration::as_millis)
    }
}

/// Token requests of many at once: how long each 200 and each 503 took.
async fn storm(app: &App) -> (Times, Times) {
    let until = Instant::now() + LOAD;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let app = app.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                let answer = post(&app, "/o/token/", &[("grant_type", "client_credentials")]).await;
                answers.push((answer.map(|(status, _)| status), begun.elapsed()));
                if answers.last().is_some_and(|(status, _)| *status != Some(200)) {
                    // As `Retry-After` asks, only sooner.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            answers
        });
    }
    let (mut given, mut refused) = (Times::default(), Times::default());
    for (status, took) in tasks.join_all().await.into_iter().flatten() {
        match status {
            Some(200) => given.0.push(took),
            Some(503) => refused.0.push(took),
            other => panic!("{other:?}"),
        }
    }
    (given, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_database_far_away_refuses_what_is_too_much_at_once() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let proxy = Proxy::start(cluster.port, FAR).await;
    let port = free_port();
    let near = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&near, &format!("http://127.0.0.1:{port}"));
    let url = cluster.url().replace(&cluster.port.to_string(), &proxy.port.to_string());
    let far = Cli::at(home.path(), Some(url));
    let server = Process::start_with(&far, &home, port, &["--admission-queue", "32"]).await;
    let begun = Instant::now();
    while app.client_credentials().send().await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(40), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = server.memory();
    let (mut given, mut refused) = storm(&app).await;
    let grown = server.memory().saturating_sub(before);
    let (p99, at_once) = (given.percentile(99), refused.percentile(99));
    record(
        "F9",
        &format!(
            "{} ms from the database, {TASKS} at once, 32 admitted: {} tokens given, {p99} ms (p99); {} refused, {at_once} ms \
             (p99); {} MiB more memory",
            2 * FAR.as_millis(),
            given.0.len(),
            refused.0.len(),
            grown / 1024
        ),
    );
    assert!(given.0.len() > 100 && !refused.0.is_empty());
    assert!(p99 <= 2_000, "{p99} ms");
    assert!(at_once <= 100, "{at_once} ms");
    assert!(grown < GROWTH, "{grown} KiB");
    near.run(&["verify"]).succeeded();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_table_that_is_locked_refuses_and_loses_nothing() {
    let (cluster, home, port) = (Cluster::start().await, Directory::new(), free_port());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let known = app.client_credentials().send().await.is(200).text("access_token");
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 16);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = server.memory();
    let mut connection = cluster.connect().await;
    let mut held = connection.begin().await.unwrap();
    held.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < LOCKED {
        assert!(app.sees_active(&known).await, "what is known is told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    held.rollback().await.unwrap();
    let freed = Instant::now();
    while post(&app, "/o/token/", &[("grant_type", "client_credentials")]).await.map(|(status, _)| status)
        != Some(200)
    {
        assert!(freed.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let again = freed.elapsed().as_millis();
    load.stop().await;
    let grown = server.memory().saturating_sub(before);
    let totals = ledger.judge(&app).await;
    record(
        "F9",
        &format!(
            "the log locked for {} s: {totals}, nothing lost; served again {again} ms later; {} MiB more memory",
            LOCKED.as_secs(),
            grown / 1024
        ),
    );
    assert!(again <= 1_000, "{again} ms");
    assert!(grown < GROWTH, "{grown} KiB");
    cli.run(&["verify"]).succeeded();
}

/// Everybody else's connections are taken, then the server's own are ended and taken as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_without_a_connection_what_is_known_is_still_told() {
    let cluster = Cluster::start_with("127.0.0.1", None, "-c max_connections=16").await;
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let issued = async || app.client_credentials().send().await.is(200).text("access_token");
    let (alive, dead) = (issued().await, issued().await);
    app.revoke(&dead).send().await.is(200);
    assert!(app.sees_active(&alive).await);
    let mut taken = take_all(&cluster).await;
    let sql =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'chancery'";
    assert!(app.sees_active(&alive).await, "others took what is left, and its own still do");
    taken[0].execute(sql).await.unwrap();
    taken.extend(take_all(&cluster).await);
    let health = Request::new(&app.client, "GET", format!("{}/healthz", app.base));
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let begun = Instant::now();
        let answer = post(&app, "/o/token/", &[("grant_type", "client_credentials")]).await;
        assert_eq!(answer.map(|(status, _)| status), Some(503));
        slowest = slowest.max(begun.elapsed());
        assert_eq!(health.clone().send().await.status, 200);
        assert!(!app.sees_active(&dead).await, "what is known to be dead stays dead");
    }
    let count = taken.len();
    drop(taken);
    let freed = Instant::now();
    while post(&app, "/o/token/", &[("grant_type", "client_credentials")]).await.map(|(status, _)| status)
        != Some(200)
    {
        assert!(freed.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (slowest, again) = (slowest.as_millis(), freed.elapsed().as_millis());
    record(
        "F10",
        &format!(
            "all {count} connections taken: refused in {slowest} ms at most, health and the dead still told; served again {again} ms later"
        ),
    );
    assert!(slowest <= 250, "{slowest} ms");
    assert!(again <= 1_000, "{again} ms");
    cli.run(&["verify"]).succeeded();
    drop(server);
}

/// Connects until nobody else can.
async fn take_all(cluster: &Cluster) -> Vec<PgConnection> {
    let mut taken = Vec::new();
    while let Ok(connection) = PgConnection::connect(&cluster.url()).await {
        taken.push(connection);
    }
    taken
}
