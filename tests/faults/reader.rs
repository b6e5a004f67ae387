//! F24: what follows the log stops where something is missing, and says so; killed in the middle of its
//! work it goes on where it was. Nothing else is touched by either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregates::authorization::Authorization;
use chancery::commands::Stream;
use chancery::journal::replay::{Replay, find_projection};
use projections::authorizations::find_authorization;
use projections::tokens::find_token;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::crash::machine;
use super::ledger::Ledger;
use super::oracle::{judge, until_up_to_date};
use super::report::{record, scale};
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::server::on_both_engines_with;
use crate::harness::{Cli, Directory, Process, Setup};
use crate::journal::{Place, verified};

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_missing_batch_stops_the_reader_and_nothing_else() {
    let operators = |setup: Setup| setup.set("metrics-listen", "127.0.0.1:0");
    on_both_engines_with(operators, async |server| {
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
        // What an alarm is made of: with something new to follow it is seen that it stands still.
        let timeline = async |name: &str| {
            let metric = format!("chancery_projection_{name}{{projection=\"timeline\"}}");
            server.shown_metrics().await.metric(&metric)
        };
        let begun = Instant::now();
        while timeline("stopped").await < 1.0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody is alarmed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(timeline("lag_events").await > 0.0, "it is behind");
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
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO timeline %'";
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// How far the reader is, and how much it has written.
async fn followed(connection: &mut PgConnection) -> (i64, i64) {
    let sql = "SELECT coalesce((SELECT position FROM checkpoints WHERE projection = 'timeline'), 0), (SELECT count(*) FROM timeline)";
    sqlx::query_as(sql).fetch_one(connection).await.unwrap()
}

/// Until a killed server's connections are gone, and with them whatever was not committed.
async fn has_gone(connection: &mut PgConnection) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chancery'";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut *connection).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
        let before = followed(&mut looking).await;
        drop(server);
        held.close().await.unwrap();
        has_gone(&mut looking).await;
        assert_eq!(
            followed(&mut looking).await,
            before,
            "half a batch is left, or one that nobody committed"
        );
        server = Process::start_with(&cli, &home, port, &[]).await;
    }
    load.stop().await;
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

/// Numbers that are given out before a commit come out of order, and a reader that follows them skips: here a batch
/// takes long, others are written meanwhile by another node, and a third only reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f24_a_writer_that_is_held_before_it_has_its_positions_is_not_skipped() {
    let place = Place::Postgres(Database::empty());
    let (slow, quick, reader) = (place.node().await, place.node().await, place.node().await);
    reader.journal.start_projecting();
    let late = slow.id();
    let slowly = format!(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.aggregate_id = '{late}' THEN PERFORM pg_sleep(0.3); END IF; RETURN NEW; END $$"
    );
    let engine = slow.journal.engine();
    engine.execute(&slowly, &[]).await.unwrap();
    let trigger = "CREATE TRIGGER slowly BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION slowly()";
    engine.execute(trigger, &[]).await.unwrap();
    let command = slow.grant_command(&late);
    let granting = async {
        let (begun, stream) = (Instant::now(), Stream::Fresh(late.clone()));
        slow.commands.execute::<Authorization>(stream, command, &slow.origin).await.unwrap();
        begun.elapsed()
    };
    let issuing = async {
        let mut issued = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(600) {
            issued.push(quick.issue().await.unwrap());
        }
        issued
    };
    let (took, issued) = tokio::join!(granting, issuing);
    assert!(took >= Duration::from_millis(300), "it was not held: {took:?}");
    let head = engine.head().await.unwrap().position;
    assert_eq!(head, i64::try_from(issued.len()).unwrap() + 1);
    let begun = Instant::now();
    while reader.journal.applied() < head {
        assert!(begun.elapsed() < Duration::from_secs(10), "{} of {head}", reader.journal.applied());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for id in &issued {
        assert!(find_token(&reader.journal, id).await.unwrap().is_some(), "{id} was skipped");
    }
    assert!(find_authorization(&reader.journal, &late).await.unwrap().is_some(), "it was skipped");
    let timeline = find_projection("timeline").unwrap();
    while engine.checkpoint(timeline).await.unwrap() < head {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not follow");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let replayed = Replay::new(vec![timeline]).run(engine, &|_, _| {}).await.unwrap();
    assert_eq!((replayed.events, replayed.repaired), (head, Some(0)));
    verified(engine).await;
    record(
        "F24",
        &format!(
            "PostgreSQL: a writer held for {} ms beside {} others: nothing skipped",
            took.as_millis(),
            issued.len()
        ),
    );
}
