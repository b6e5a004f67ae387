//! F24: what follows the log stops where something is missing, and says so; killed in the middle of its
//! work it goes on where it was. Nothing else is touched by either.

use std::sync::Arc;
use std::time::Duration;

use super::crash::machine;
use super::ledger::Ledger;
use super::oracle::{judge, until_up_to_date};
use super::report::{record, scale};
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
