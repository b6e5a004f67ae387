//! F3, F4: kill -9 of a backend of PostgreSQL and of all of it, under load, and under a replay. T4: what is told
//! while it is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chancery::journal::Engine as _;
use chancery::journal::postgres::PostgresEngine;
use tokio::task::JoinSet;

use super::cluster::Cluster;
use super::crash::machine;
use super::front::{is_dead, issue, says, told, until_served};
use super::grants::Person;
use super::ledger::Ledger;
use super::oracle::{is_the_same_embedded, judge};
use super::report::{is_long, record, scale};
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request};
use crate::journal::Node;
use crate::replay::taken;

const KILLS: u64 = 5;
const PROMISED: usize = 300_000;
const LONGEST: Duration = Duration::from_mins(15);
/// How long PostgreSQL stays away once in five kills.
const DOWN: Duration = Duration::from_secs(5);
/// Longer than any lease.
const LEASE: Duration = Duration::from_millis(1_100);
/// What a server may grow by while it has no database, in KiB.
const GROWTH: u64 = 50 * 1024;
/// How soon a refusal comes while there is no database, in milliseconds.
pub const REFUSED: u128 = 500;

/// Whether it was killed often enough, and in a long run enough was promised meanwhile.
fn is_enough(kills: u64, ledger: &Ledger, begun: Instant) -> bool {
    let goes_on = is_long() && begun.elapsed() < LONGEST;
    kills >= KILLS * scale() as u64 && (!goes_on || ledger.issued() >= PROMISED)
}

/// Asks for tokens, which nobody can give, for so long; how long a refusal took at most.
pub async fn refused_for(app: &App, lasting: Duration) -> Duration {
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < lasting {
        let asked = Instant::now();
        assert_eq!(issue(app).await, Some(503), "there is no database");
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_invariant_01_five_kills_of_postgresql_lose_nothing_acknowledged() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let port = free_port();
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    let (load, before) = (ledger.load(&app, 8), server.memory());
    let (begun, mut kills) = (Instant::now(), 0);
    let (mut refused, mut again) = (Duration::ZERO, Duration::ZERO);
    while !is_enough(kills, &ledger, begun) {
        tokio::time::sleep(Duration::from_millis(700 + kills * 137 % 900)).await;
        cluster.kill();
        // Once in five it stays away for longer than any deadline.
        if kills % KILLS == 2 {
            refused = refused.max(refused_for(&app, DOWN).await);
        } else {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        cluster.up().await;
        again = again.max(until_served(&app).await);
        kills += 1;
    }
    load.stop().await;
    let grown = server.memory().saturating_sub(before);
    let [totals] = judge("F4", &cli, &app, [&*ledger]).await;
    let (refused, again) = (refused.as_millis(), again.as_millis());
    record(
        "F4",
        &format!(
            "{kills} kills -9 of PostgreSQL: {totals}, nothing lost; refused in {refused} ms at most while it was down for \
             {} s; served again {again} ms after PostgreSQL at most",
            DOWN.as_secs()
        ),
    );
    assert!(totals.issued > 100, "there was a load: {totals}");
    assert!(refused <= REFUSED, "{refused} ms");
    // Tokens are remembered, and in a long run there are very many.
    assert!(is_long() || grown < GROWTH, "{grown} KiB: something piles up");
    assert!(again <= 1_000, "{again} ms");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_killed_backends_lose_nothing_acknowledged() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let port = free_port();
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    let load = ledger.load(&app, 8);
    let (begun, mut kills, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while !is_enough(kills, &ledger, begun) {
        tokio::time::sleep(Duration::from_millis(700 + kills * 137 % 900)).await;
        let accepts = cluster.kill_a_backend().await;
        until_served(&app).await;
        slowest = slowest.max(accepts.elapsed());
        kills += 1;
    }
    load.stop().await;
    let [totals] = judge("F3", &cli, &app, [&*ledger]).await;
    drop(server);
    let (slowest, events) = (slowest.as_millis(), is_the_same_embedded(&cli));
    record(
        "F3",
        &format!(
            "{kills} backends killed -9: {totals}, nothing lost; served again {slowest} ms after PostgreSQL at most; its {events} \
             events are the same history in the embedded database"
        ),
    );
    assert!(totals.issued > 100, "there was a load: {totals}");
    assert!(slowest <= 1_000, "{slowest} ms");
}

/// Events of a history that a replay needs a while for.
const LONG_HISTORY: usize = 24_000;

/// It fails and says so, nothing of it shows, and the next one goes on where it was, beside two nodes that go on
/// writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_invariant_10_a_replay_that_loses_its_database_does_not_end_with_success() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{}", free_port()));
    long_history(&Node::on(Arc::new(PostgresEngine::new(&cluster.url(), 8, DOWN).unwrap())).await).await;
    let ledger = Arc::new(Ledger::default());
    let (mut servers, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let server = Process::start_with(&cli, &home, free_port(), &["--issuer", &app.base]).await;
        loads.push(ledger.load(&App { base: server.base.clone(), ..app.clone() }, 4));
        servers.push(server);
    }
    let looking = PostgresEngine::new(&cluster.url(), 8, DOWN).unwrap();
    let mut replay = cli.command(&["replay", "--json"]).spawn().unwrap();
    while taken(&looking).await == 0 {
        assert!(replay.try_wait().unwrap().is_none(), "it ended before it had begun");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    cluster.kill();
    let killed = Instant::now();
    let ended = tokio::task::spawn_blocking(move || replay.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code().is_some_and(|code| code > 0) && ended.stdout.is_empty(), "{ended:?}");
    assert!(said.contains("the database is not available"), "{said}");
    let took = killed.elapsed().as_millis();
    cluster.up().await;
    until_served(&App { base: servers[0].base.clone(), ..app.clone() }).await;
    let interrupted = taken(&looking).await;
    let head = looking.head().await.unwrap().position;
    assert!((1..head).contains(&interrupted), "{interrupted} of {head}");
    let resuming = cli.clone();
    let resumed = tokio::task::spawn_blocking(move || resuming.run(&["replay", "--json"]).succeeded().json());
    let resumed = resumed.await.unwrap();
    let ended_at = resumed["events"].as_i64().unwrap();
    assert!(ended_at >= head && resumed["resumed_at"] == interrupted, "{interrupted} of {head}: {resumed}");
    assert_eq!(taken(&looking).await, 0, "{resumed}");
    for load in loads {
        load.stop().await;
    }
    let [totals] = judge("F4", &cli, &app, [&*ledger]).await;
    record(
        "F4",
        &format!(
            "kill -9 of PostgreSQL under a replay beside two nodes, at {interrupted} of {head} events: it failed {took} ms later, \
             and the next one went on there, up to {ended_at}: {totals}, nothing lost"
        ),
    );
    assert!(totals.issued > 10, "there was a load: {totals}");
}

/// More than one page of a replay.
async fn long_history(node: &Node) {
    let mut issuing = JoinSet::new();
    for _ in 0..32 {
        let node = node.clone();
        issuing.spawn(async move {
            for _ in 0..LONG_HISTORY / 32 {
                node.issue().await.unwrap();
            }
        });
    }
    issuing.join_all().await;
}

/// What is known to be dead is dead, with or without a database; nothing else is told, and health is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t4_without_a_database_only_the_dead_are_told() {
    let (cluster, home, port) = (Cluster::start().await, Directory::new(), free_port());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let _server = Process::start_with(&cli, &home, port, &[]).await;
    let token = async || app.client_credentials().send().await.is(200).text("access_token");
    let (alive, dead) = (token().await, token().await);
    app.revoke(&dead).send().await.is(200);
    assert!(app.sees_active(&alive).await);
    // Others ask all the while, not so many that they are waited for.
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    let load = ledger.load(&app, 2);
    tokio::time::sleep(LEASE).await;
    cluster.kill();
    tokio::time::sleep(LEASE).await;
    let lasting = if is_long() { Duration::from_mins(1) } else { Duration::from_secs(5) };
    let (begun, mut times, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while begun.elapsed() < lasting {
        let mut answered = |asked: Instant| slowest = slowest.max(asked.elapsed());
        let asked = Instant::now();
        assert_eq!(says(&app, &dead).await, Some(false), "it was revoked");
        answered(asked);
        let asked = Instant::now();
        let shown = told(app.resource(&dead)).await.unwrap();
        assert!(is_dead(&shown), "it was revoked: {shown:#?}");
        answered(asked);
        let asked = Instant::now();
        assert_eq!(says(&app, &alive).await, None, "nobody can know");
        answered(asked);
        let asked = Instant::now();
        assert_eq!(issue(&app).await, Some(503));
        answered(asked);
        Request::new(&app.client, "GET", format!("{}/healthz", app.base)).send().await.is(200);
        times += 1;
    }
    cluster.up().await;
    let again = until_served(&app).await.as_millis();
    assert_eq!((says(&app, &alive).await, says(&app, &dead).await), (Some(true), Some(false)));
    load.stop().await;
    ledger.promised(alive);
    ledger.has_ended(dead);
    let [totals] = judge("T4", &cli, &app, [&*ledger]).await;
    record(
        "T4",
        &format!(
            "no database for {} s: the dead told {times} times, all else refused, {} ms a request at most; served again {again} ms \
             after it was back; {totals}, nothing lost",
            lasting.as_secs(),
            slowest.as_millis()
        ),
    );
    assert!(times > 10, "{times}");
    assert!(totals.issued > 10 && totals.refused > 10, "there was a load: {totals}");
    assert!(slowest.as_millis() <= REFUSED, "{slowest:?}");
    assert!(again <= 1_000, "{again} ms");
}
