//! F3, F4: kill -9 of a backend of PostgreSQL and of all of it, under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::crash::machine;
use super::ledger::{Ledger, issue, until_served};
use super::report::{is_long, record, scale};
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process};

const KILLS: u64 = 5;
const PROMISED: usize = 300_000;
const LONGEST: Duration = Duration::from_mins(15);
/// How long PostgreSQL stays away once in five kills.
const DOWN: Duration = Duration::from_secs(5);
/// How long a database call may take before its connection is given up, as it is without any setting.
const DEADLINE: Duration = Duration::from_secs(2);

/// Whether it was killed often enough, and in a long run enough was promised meanwhile.
fn is_enough(kills: u64, ledger: &Ledger, begun: Instant) -> bool {
    let goes_on = is_long() && begun.elapsed() < LONGEST;
    kills >= KILLS * scale() as u64 && (!goes_on || ledger.issued() >= PROMISED)
}

/// Asks for tokens, which nobody can give, for so long; how long a refusal took at most.
async fn refused_for(app: &App, lasting: Duration) -> Duration {
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
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 8);
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
    let totals = ledger.judge(&app).await;
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
    assert!(refused <= DEADLINE.as_millis() + 250, "{refused} ms");
    assert!(again <= 1_000, "{again} ms");
    cli.run(&["verify"]).succeeded();
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_killed_backends_lose_nothing_acknowledged() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let port = free_port();
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 8);
    let (begun, mut kills, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while !is_enough(kills, &ledger, begun) {
        tokio::time::sleep(Duration::from_millis(700 + kills * 137 % 900)).await;
        let accepts = cluster.kill_a_backend().await;
        // Served again: a token is given.
        while app.client_credentials().send().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest = slowest.max(accepts.elapsed());
        kills += 1;
    }
    load.stop().await;
    let totals = ledger.judge(&app).await;
    let slowest = slowest.as_millis();
    record(
        "F3",
        &format!(
            "{kills} backends killed -9: {totals}, nothing lost; served again {slowest} ms after PostgreSQL at most"
        ),
    );
    assert!(totals.issued > 100, "there was a load: {totals}");
    assert!(slowest <= 1_000, "{slowest} ms");
    cli.run(&["verify"]).succeeded();
    drop(server);
}
