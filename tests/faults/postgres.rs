//! F3, F4: kill -9 of a backend of PostgreSQL and of all of it, under load.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::Cluster;
use super::crash::machine;
use super::ledger::Ledger;
use super::report::{record, scale};
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process};

const KILLS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_invariant_01_five_kills_of_postgresql_lose_nothing_acknowledged() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let port = free_port();
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 8);
    let kills = KILLS * scale() as u64;
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(700 + kill * 137)).await;
        cluster.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.up().await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    load.stop().await;
    let totals = ledger.judge(&app).await;
    record("F4", &format!("{kills} kills -9 of PostgreSQL: {totals}, nothing lost"));
    assert!(totals.issued > 100, "there was a load: {totals}");
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
    let kills = KILLS * scale() as u64;
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(700 + kill * 137 % 900)).await;
        let accepts = cluster.kill_a_backend().await;
        // Served again: a token is given.
        while app.client_credentials().send().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest = slowest.max(accepts.elapsed());
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
