//! F9, F10: a database that is far away, that stands still, or that has no connection left. What cannot be
//! done is refused soon, what is known is still told, and nothing piles up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::crash::machine;
use super::front::{issue, says, until_served};
use super::grants::Person;
use super::ledger::Ledger;
use super::machine::Proxy;
use super::oracle::judge;
use super::report::record;
use super::times::Times;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request};

const FAR: Duration = Duration::from_millis(150);
const LOAD: Duration = Duration::from_secs(6);
/// How long the log is locked.
const LOCKED: Duration = Duration::from_secs(10);
/// Whoever comes within this is answered before that is over.
const STORM: Duration = Duration::from_secs(7);
const TASKS: usize = 100;
/// How many commands a server is told to bear at a time.
const BORNE: usize = 32;
/// How soon what is too much is refused.
const AT_ONCE: Duration = Duration::from_millis(100);
/// How long a call of the database may take.
const DEADLINE: u128 = 2_000;
/// What a client sees beside that.
const MARGIN: u128 = 100;
/// Longer than any lease.
const LEASE: Duration = Duration::from_millis(1_100);
/// All there are: enough for a server and commands.
const CONNECTIONS: usize = 32;
/// How long there is no connection.
const TAKEN: Duration = Duration::from_secs(6);
/// What a process may grow by under a load it cannot carry, in KiB.
const GROWTH: u64 = 50 * 1024;

/// Token requests of many at once, for so long: how long each 200 and each 503 took.
async fn storm(app: &App, lasting: Duration) -> (Times, Times) {
    let until = Instant::now() + lasting;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let app = app.clone();
        tasks.spawn(async move {
            let mut answers = Vec::new();
            while Instant::now() < until {
                let begun = Instant::now();
                answers.push((issue(&app).await, begun.elapsed()));
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
            Some(200) => given.push(took),
            Some(503) => refused.push(took),
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
    let server = Process::start_with(&far, &home, port, &["--admission-queue", &BORNE.to_string()]).await;
    // One that has ended says why.
    let begun = Instant::now();
    while issue(&app).await != Some(200) {
        assert!(begun.elapsed() < Duration::from_secs(40), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 1);
    let before = server.memory();
    let (given, refused) = storm(&app, LOAD).await;
    let grown = server.memory().saturating_sub(before);
    load.stop().await;
    let [totals] = judge("F9", &near, &app, [&*ledger]).await;
    let (p99, at_once) = (given.percentile(99).as_millis(), refused.percentile(99));
    record(
        "F9",
        &format!(
            "{} ms from the database, {TASKS} at once, {BORNE} admitted: {} tokens given, {p99} ms (p99); {} refused, {} ms \
             (p99); of one more {totals}, nothing lost; {} MiB more memory",
            2 * FAR.as_millis(),
            given.count(),
            refused.count(),
            at_once.as_millis(),
            grown / 1024
        ),
    );
    assert!(given.count() > 100 && refused.count() > 0);
    assert!(p99 <= 2_000, "{p99} ms");
    assert!(at_once <= AT_ONCE, "{at_once:?}");
    assert!(grown < GROWTH, "{grown} KiB");
    assert!(totals.issued > 0, "{totals}");
}

/// What is admitted waits for the log until its deadline; whatever comes beside that is refused at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_table_that_is_locked_refuses_and_loses_nothing() {
    let (cluster, home, port) = (Cluster::start().await, Directory::new(), free_port());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &["--admission-queue", &BORNE.to_string()]).await;
    let known = app.client_credentials().send().await.is(200).text("access_token");
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 16);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = server.memory();
    let mut connection = cluster.connect().await;
    let mut held = connection.begin().await.unwrap();
    held.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begun = Instant::now();
    let storm = tokio::spawn({
        let app = app.clone();
        async move { storm(&app, STORM).await }
    });
    while begun.elapsed() < LOCKED {
        assert_eq!(says(&app, &known).await, Some(true), "what is known is told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    held.rollback().await.unwrap();
    let again = until_served(&app).await.as_millis();
    let (given, refused) = storm.await.unwrap();
    load.stop().await;
    let grown = server.memory().saturating_sub(before);
    let [totals] = judge("F9", &cli, &app, [&*ledger]).await;
    let (at_once, waited) = refused.split(AT_ONCE);
    let (soon, late) = (at_once.percentile(100).as_millis(), waited.percentile(99).as_millis());
    record(
        "F9",
        &format!(
            "the log locked for {} s, {TASKS} more at once, {BORNE} admitted: {totals}, nothing lost; {} refused in {soon} ms \
             at most; {} had been admitted and waited for a call's deadline, which is {DEADLINE} ms, before they were: {late} \
             ms (p99); served again {again} ms later; {} MiB more memory",
            LOCKED.as_secs(),
            at_once.count(),
            waited.count(),
            grown / 1024
        ),
    );
    assert_eq!(given.count(), 0, "tokens given with the log locked");
    // Not more have waited than the server was told to bear, once a deadline.
    let most = BORNE * (LOCKED.as_millis() / DEADLINE) as usize;
    assert!(at_once.count() > most && waited.count() <= most, "{} of {most} waited", waited.count());
    assert!(late <= DEADLINE + MARGIN, "{late} ms");
    assert!(again <= 1_000, "{again} ms");
    assert!(grown < GROWTH, "{grown} KiB");
}

/// Everybody else's connections are taken, then the server's own are ended and taken as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_without_a_connection_what_is_known_is_still_told() {
    let options = format!("-c max_connections={CONNECTIONS}");
    let cluster = Cluster::start_with("127.0.0.1", None, &options).await;
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let issued = async || app.client_credentials().send().await.is(200).text("access_token");
    let (alive, dead) = (issued().await, issued().await);
    app.revoke(&dead).send().await.is(200);
    // Others ask meanwhile, not so many that they are waited for.
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    let load = ledger.load(&app, 2);
    tokio::time::sleep(LEASE).await;
    let (mut taken, begun, mut warm) = (take_all(&cluster).await, Instant::now(), 0);
    while begun.elapsed() < LEASE {
        assert_eq!(says(&app, &alive).await, Some(true), "others took what is left, and its own still do");
        warm += 1;
    }
    // The last pulse that came back is a quarter of a second old at most, and the lease has the rest of a second.
    let begun = Instant::now();
    take_from_the_server(&cluster, &mut taken).await;
    // No pulse comes back from here on.
    let ended = Instant::now();
    let mut refused = Times::default();
    while begun.elapsed() < TAKEN {
        let (asked, since, said) = (begun.elapsed(), ended.elapsed(), says(&app, &alive).await);
        warm += usize::from(said == Some(true));
        assert!(said.is_none() || since < LEASE && said == Some(true), "{said:?} {since:?} later");
        assert!(
            said == Some(true) || asked > LEASE * 6 / 10,
            "refused {asked:?} later: its lease was not over"
        );
        assert_eq!(says(&app, &dead).await, Some(false), "what is known to be dead stays dead");
        Request::new(&app.client, "GET", format!("{}/healthz", app.base)).send().await.is(200);
        let asked = Instant::now();
        assert_eq!(issue(&app).await, Some(503));
        refused.push(asked.elapsed());
    }
    drop(taken);
    let (usual, slowest) = (refused.percentile(50).as_millis(), refused.percentile(100).as_millis());
    let again = until_served(&app).await.as_millis();
    load.stop().await;
    // Its connections are those of the server that is asked next.
    assert_eq!(server.terminate().await, 0);
    let [totals] = judge("F10", &cli, &app, [&*ledger]).await;
    record(
        "F10",
        &format!(
            "all {CONNECTIONS} connections taken for {} s: {totals}, nothing lost; {} tokens refused in {usual} ms (p50), {slowest} ms \
             at most, health and the dead still told, and {warm} times the living; served again {again} ms later",
            TAKEN.as_secs(),
            refused.count()
        ),
    );
    assert!(refused.count() > 10, "{} refused", refused.count());
    assert!(slowest <= 250, "{slowest} ms");
    assert!(usual <= 50, "what has just been heard is not waited for again: {usual} ms");
    assert!(again <= 1_000, "{again} ms");
    assert!(totals.issued > 10 && totals.refused > 0, "there was a load: {totals}");
}

/// Connects until nobody else can.
async fn take_all(cluster: &Cluster) -> Vec<PgConnection> {
    let mut taken = Vec::new();
    while let Ok(connection) = PgConnection::connect(&cluster.url()).await {
        taken.push(connection);
    }
    taken
}

/// Ends its connections and takes their places, until it has none. One that is just being made has no name yet.
async fn take_from_the_server(cluster: &Cluster, taken: &mut Vec<PgConnection>) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'chancery'";
    let begun = Instant::now();
    while taken.len() < CONNECTIONS {
        assert!(begun.elapsed() < TAKEN, "{} taken", taken.len());
        sqlx::query(end).execute(&mut taken[0]).await.unwrap();
        taken.extend(take_all(cluster).await);
    }
}
