//! Who reads a table for an hour, as `pg_dump` does, holds up the exchange of tables. Does it hold up anybody else?

use std::time::{Duration, Instant};

use chancery::journal::verify::verify;
use projections::row::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::harness::{Engine, Registration, Setup};

/// Longer than two tries of an exchange.
const HELD: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_behind_somebody_who_reads_for_long_holds_nobody_up() {
    let server = Setup::new(Engine::Postgres).start().await;
    let machine = server.user("ada").await.register(&Registration::machine()).await;
    let mut reading = PgConnection::connect(&server.postgres().url()).await.unwrap();
    reading.execute("BEGIN; LOCK TABLE tokens IN ACCESS SHARE MODE").await.unwrap();
    let cli = server.cli();
    let replay = tokio::task::spawn_blocking(move || cli.run(&["replay", "tokens"]));

    let engine = server.state().journal.engine();
    let queues = async || {
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
                   WHERE NOT granted AND mode = 'AccessExclusiveLock' AND d.datname = current_database()";
        engine.query(sql, &[]).await.unwrap() != [[Value::Int(0)]]
    };
    let (begun, mut since): (_, Option<Instant>) = (Instant::now(), None);
    while since.is_none_or(|at| at.elapsed() < HELD) {
        assert!(begun.elapsed() < Duration::from_mins(1), "nobody waits for the table");
        let token = machine.client_credentials().send().await.is(200).text("access_token");
        machine.revoke(&token).send().await.is(200);
        if since.is_none() && queues().await {
            since = Some(Instant::now());
        }
    }
    assert!(!replay.is_finished(), "somebody still reads");
    reading.execute("COMMIT").await.unwrap();
    let replayed = replay.await.unwrap();
    assert_eq!(replayed.code, 0, "{}", replayed.stderr);
    verify(engine, &|_, _| {}).await.unwrap();
}
