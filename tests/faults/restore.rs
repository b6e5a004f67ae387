//! F21: PostgreSQL is brought back to a moment before a revocation, with a base backup and the archive of its
//! write-ahead log. Nothing is revived. And what a copy of the embedded database holds that was made while everybody
//! wrote.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chancery::journal::Engine as _;
use chancery::journal::engine::StoredBatch;
use chancery::journal::sqlite::SqliteEngine;
use chancery::journal::verify::verify;

use super::cluster::{Cluster, give_to_postgres};
use super::crash::machine;
use super::front::until_served;
use super::grants::Person;
use super::ledger::Ledger;
use super::oracle::{each_is, judge};
use super::report::{record, scale};
use crate::harness::process::{UNLIMITED, free_port};
use crate::harness::{App, Cli, Directory, Process};

const TOKENS: usize = 20;
/// How many ask at once while copies are made.
const TASKS: usize = 8;

async fn tokens(app: &App) -> Vec<String> {
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        tokens.push(app.client_credentials().send().await.is(200).text("access_token"));
    }
    tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_a_moment_of_postgresql_before_a_revocation_revives_nothing() {
    let (archive, backups, home) = (Directory::new(), Directory::new(), Directory::new());
    let (cluster, port) = (Cluster::start_archiving(&archive).await, free_port());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &UNLIMITED).await;
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    let load = ledger.load(&app, TASKS);
    while ledger.issued() < TOKENS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    give_to_postgres(backups.text());
    let backup = format!("{}/base", backups.text());
    cluster.base_backup(&backup, &[]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    load.stop().await;
    let revoked = tokens(&app).await;
    let mut connection = cluster.connect().await;
    let moment: String = sqlx::query_scalar("SELECT now()::text").fetch_one(&mut connection).await.unwrap();
    drop(connection);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for token in &revoked {
        app.revoke(token).send().await.is(200);
        ledger.has_ended(token.clone());
    }
    each_is(&app, revoked.clone(), Some(false)).await;
    assert_eq!(server.terminate().await, 0);

    cluster.bring_back(&backup, &archive, &moment).await;
    let refused = ["--listen", &format!("127.0.0.1:{port}")];
    cli.run(&refused).failed_about("older than what this node has seen");
    cli.run(&["verify"]).failed_about("older than what this node has seen");
    let accepted = cli.run(&["acceptrollback"]).succeeded().stdout;
    let gone = format!("{} events are gone", revoked.len());
    assert!(accepted.contains(&gone), "{accepted}");

    let _server = Process::start_with(&cli, &home, port, &UNLIMITED).await;
    until_served(&app).await;
    ledger.all_has_ended();
    for token in tokens(&app).await {
        ledger.promised(token);
    }
    let [totals] = judge("F21", &cli, &app, [&*ledger]).await;
    record(
        "F21",
        &format!(
            "PostgreSQL brought back to a moment before {} revocations: a start is refused until an operator accepts \
             it, and then all of before is over, and only that: {totals}",
            revoked.len()
        ),
    );
    assert!(totals.ended > 0, "there was a load: {totals}");
}

/// Every batch of an embedded database, which leads to all its rows.
async fn batches(file: &Path) -> Vec<StoredBatch> {
    let engine = SqliteEngine::open(file, Duration::from_secs(20)).unwrap();
    verify(&engine, &|_, _| ()).await.unwrap();
    engine.batches_after(0, i64::MAX).await.unwrap()
}

/// Each is the history up to some moment between the beginning and the end of the command, with all its rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_a_backup_that_is_made_under_load_is_the_history_of_one_moment() {
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::at(home.path(), None);
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &UNLIMITED).await;
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    let early = tokens(&app).await;
    let load = ledger.load(&app, TASKS);
    while ledger.issued() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Below the home, where they are searched.
    let (copies, times, mut made) = (home.path().join("copies"), 3 * scale(), Vec::new());
    fs::create_dir(&copies).unwrap();
    for copy in 0..times {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (file, before) = (format!("{}/{copy}.db", copies.display()), ledger.issued());
        let (backup, to) = (cli.clone(), file.clone());
        tokio::task::spawn_blocking(move || backup.run(&["backup", &to]).succeeded()).await.unwrap();
        made.push((file, before, ledger.issued()));
    }
    load.stop().await;
    let [totals] = judge("F21", &cli, &app, [&*ledger]).await;
    let last = tokens(&app).await;
    assert_eq!(server.terminate().await, 0);
    let live = batches(&home.path().join("chancery.db")).await;
    for (file, before, after) in &made {
        let (before, after, held) = (*before, *after, batches(Path::new(file)).await);
        assert_eq!(held[..], live[..held.len()], "another history");
        let types = held.iter().flat_map(|batch| &batch.events).map(|row| row.event.event_type.as_str());
        let tokens = types.filter(|name| *name == "client_token.issued").count();
        // Those of the load that have been written and not yet answered count as well, and some that were refused.
        let most = after + TOKENS + TASKS + totals.refused;
        assert!(before > 0 && (before..=most).contains(&tokens), "{tokens}, of {before} to {most}");
    }
    record(
        "F21",
        &format!(
            "SQLite: {times} backups under load: {totals}; each is the history of one moment, with all its rows"
        ),
    );
    assert!(totals.issued > 100, "there was a load: {totals}");
    let ended = early.into_iter().chain(last);
    is_put_back(&cli, &app, &home, port, &made[0].0, ended.collect()).await;
}

/// All of before is over then, be it in the backup or not, and only that.
async fn is_put_back(cli: &Cli, app: &App, home: &Directory, port: u16, backup: &str, ended: Vec<String>) {
    cli.run(&["restore", backup, "--replace"]).succeeded();
    cli.run(&["--listen", &format!("127.0.0.1:{port}")]).failed_about("older than what this node has seen");
    cli.run(&["acceptrollback"]).succeeded();
    let _server = Process::start_with(cli, home, port, &UNLIMITED).await;
    until_served(app).await;
    let ledger = Ledger::default();
    for token in ended {
        ledger.has_ended(token);
    }
    for token in tokens(app).await {
        ledger.promised(token);
    }
    let [totals] = judge("F21", cli, app, [&ledger]).await;
    record("F21", &format!("SQLite: one of them put back, and accepted: {totals}"));
}
