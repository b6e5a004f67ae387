//! F24: what follows the log stops where something is missing, and says so; killed in the middle of its
//! work it goes on where it was. Nothing else is touched by either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::crash::machine;
use super::ledger::Ledger;
use super::oracle::{judge, until_up_to_date};
use super::report::{record, scale};
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_missing_batch_stops_the_reader_and_nothing_else() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        ada.tokens(&app).await;
        let engine = server.state().journal.engine();
        server.state().journal.hurry_projections();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let batches = engine.batches_after(0, i64::MAX).await.unwrap();
        let missing = &batches[batches.len() - 3];
        // As if its writer had been held before it had said what it wrote.
        let behind = "UPDATE checkpoints SET position = $1 WHERE projection = 'timeline'";
        engine.execute(behind, &[(missing.first - 1).into()]).await.unwrap();
        let sql = "DELETE FROM batches WHERE first_position = $1";
        engine.execute(sql, &[missing.first.into()]).await.unwrap();

        let outcome = server.run(&["readmodels"]).await;
        assert_eq!(outcome.code, 1, "{outcome:?}");
        let stopped = outcome.stdout.lines().find(|line| line.starts_with("timeline")).unwrap();
        assert!(stopped.contains(&missing.first.to_string()), "where? {stopped}");
        let more = app.refresh(&tokens.refresh).send().await.is(200);
        assert!(app.sees_active(&more.text("access_token")).await, "what is secure does not wait for it");
        let verified = server.run(&["verify"]).await;
        assert_eq!(verified.code, 1, "{verified:?}");
        record(
            "F24",
            &format!("a batch deleted: {}", stopped.split_whitespace().collect::<Vec<_>>().join(" ")),
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_killed_reader_skips_nothing_and_takes_nothing_twice() {
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::at(home.path(), None);
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let ledger = Arc::new(Ledger::default().of_the_killed());
    let mut server = Process::start_with(&cli, &home, port, &[]).await;
    let load = ledger.load(&app, 4);
    let kills = 5 * scale() as u64;
    for kill in 0..kills {
        // It works every 200 ms.
        tokio::time::sleep(Duration::from_millis(400 + kill * 67 % 200)).await;
        drop(server);
        server = Process::start_with(&cli, &home, port, &[]).await;
    }
    load.stop().await;
    let caught_up = until_up_to_date(&cli).await.as_millis();
    let [totals] = judge("F24", &cli, &app, [&*ledger]).await;
    record(
        "F24",
        &format!(
            "{kills} kills -9 of a following reader: {totals}; up to date {caught_up} ms after the load, every row as its events say"
        ),
    );
    drop(server);
}

/// How many processes wait in the middle of what they write into the table of the reader.
async fn inside_a_batch(connection: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO timeline %'";
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// It has moved its checkpoint, has not yet written its rows, and is gone: neither may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_reader_that_is_killed_inside_a_batch_leaves_nothing_of_it() {
    let (home, database, port) = (Directory::new(), Database::empty(), free_port());
    let cli = Cli::at(home.path(), Some(database.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let ledger = Arc::new(Ledger::default().of_the_killed());
    let mut server = Process::start_with(&cli, &home, port, &[]).await;
    let load = ledger.load(&app, 4);
    let mut looking = PgConnection::connect(&database.url()).await.unwrap();
    let kills = 3 * scale();
    for _ in 0..kills {
        let mut held = PgConnection::connect(&database.url()).await.unwrap();
        // What reads it goes on, what writes waits.
        held.execute("BEGIN; LOCK TABLE timeline IN SHARE MODE").await.unwrap();
        let begun = Instant::now();
        while inside_a_batch(&mut looking).await == 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody reads: {}", server.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(server);
        held.close().await.unwrap();
        server = Process::start_with(&cli, &home, port, &[]).await;
    }
    load.stop().await;
    until_up_to_date(&cli).await;
    let [totals] = judge("F24", &cli, &app, [&*ledger]).await;
    record(
        "F24",
        &format!(
            "PostgreSQL: {kills} kills -9 of a reader inside a batch: {totals}, every row as its events say"
        ),
    );
    assert!(totals.issued > 10, "there was a load: {totals}");
    drop(server);
}
