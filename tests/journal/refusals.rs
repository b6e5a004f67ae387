//! What does PostgreSQL's "no" mean? Of a statement it is an answer: nothing was written, everybody knows it, and
//! the connection is as good as before.

use std::time::Duration;

use aggregates::authorization::Authorization;
use chancery::commands::{CommandError, Stream};
use chancery::journal::engine::{Append, Claim, Lost, NewEvent, Outcome};
use chancery::journal::postgres::PostgresEngine;
use chancery::journal::{Engine, EngineError};
use projections::row::{RowOp, Value};
use projections::tokens;

use super::differential::empty;
use super::{DEADLINE, Node, Place, verified};
use crate::harness::postgres::Database;

fn event(event_type: &str) -> NewEvent {
    NewEvent {
        event_type: event_type.to_owned(),
        event_version: "1".to_owned(),
        payload: "{}".to_owned(),
        metadata: "{}".into(),
    }
}

fn append(id: &str, expected: i64, rows: Vec<RowOp>) -> Append {
    Append { events: vec![event("client_token.tested")], rows: vec![rows], ..empty(id, expected) }
}

async fn engine_on(database: &Database, connections: u32) -> PostgresEngine {
    let engine = PostgresEngine::new(&database.url(), connections, DEADLINE).unwrap();
    engine.migrate().await.unwrap();
    engine
}

/// Whoever sends a key that the database cannot hold must not cost everybody else a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_refused_costs_no_connection() {
    let database = Database::empty();
    let engine = engine_on(&database, 1).await;
    let backend = async || {
        engine.query("SELECT CAST(pg_backend_pid() AS bigint)", &[]).await.unwrap().pop().unwrap().pop()
    };
    let before = backend().await;
    for _ in 0..5 {
        let refused = engine.find_row(&tokens::TABLE, "a\0b").await;
        assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
        assert!(matches!(engine.find_secret("\0").await, Err(EngineError::Refused(_))));
    }
    assert_eq!(backend().await, before, "it was closed and made anew");
}

/// A batch that met a deadlock was rolled back, and whoever says so is not to be asked again. What a server says
/// that ends, or that stands between, says nothing of the batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_the_server_refused_is_not_of_unknown_outcome() {
    let database = Database::empty();
    let engine = engine_on(&database, 1).await;
    let beside = |id: &str| Append {
        claims: vec![Claim { kind: "username", value: id.to_owned() }],
        ..append(id, 0, Vec::new())
    };
    let refuse = async |code: &str, when: &str| {
        database
            .execute(&format!(
                "DROP TRIGGER IF EXISTS refuse ON batches; \
                 CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$; \
                 CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON batches DEFERRABLE {when} FOR EACH ROW \
                 EXECUTE FUNCTION refuse()"
            ))
            .await;
    };
    let mut batch = 0;
    for when in ["INITIALLY IMMEDIATE", "INITIALLY DEFERRED"] {
        for code in ["40P01", "40001", "53200", "57P01", "08006"] {
            refuse(code, when).await;
            for one in [append("a", 0, Vec::new()), beside("b")] {
                batch += 1;
                // What is said before the COMMIT of a longer transaction is known to end it.
                let is_last = one.claims.is_empty() || when == "INITIALLY DEFERRED";
                let written = engine.append(batch, 1, &[one]).await;
                if is_last && ["57P01", "08006"].contains(&code) {
                    assert!(matches!(written, Err(EngineError::Unknown(_))), "{code} {when}: {written:?}");
                } else {
                    assert!(
                        matches!(written, Err(EngineError::Unavailable(_))),
                        "{code} {when}: {written:?}"
                    );
                }
            }
        }
    }
    assert_eq!(verified(&engine).await, 0);
}

/// One batch takes the keys of its events first and the rows second, as every other: so of two that meet one wins
/// and the other loses, and neither waits for the other until the database ends one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_expires_rows_takes_locks_in_the_order_of_all_others() {
    let place = Place::Postgres(Database::empty());
    let node = place.node().await;
    let id = node.issue().await.unwrap();
    let Place::Postgres(database) = &place else { panic!("it is") };
    // Whoever changes a token holds its row for a while.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                PERFORM pg_sleep(0.6); RETURN NEW; END $$; \
                CREATE TRIGGER slow BEFORE UPDATE ON tokens FOR EACH ROW EXECUTE FUNCTION slow()";
    database.execute(slow).await;
    let (one, other) = (place.engine().await, place.engine().await);
    let update = || RowOp::update(&tokens::TABLE, id.as_str(), vec![("revoked_at", Value::Int(7))]);
    let expire = RowOp::Expire { table: &tokens::TABLE, before: 0 };
    let (with_expiry, plain) = ([append(&id, 1, vec![update(), expire])], [append(&id, 1, vec![update()])]);
    let (expired, written) = tokio::join!(one.append(1, 1, &with_expiry), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        other.append(2, 1, &plain).await
    });
    let (expired, written) = (expired.unwrap(), written.unwrap());
    assert!(matches!(expired, Outcome::Committed(_)), "{expired:?}");
    assert_eq!(written, Outcome::Lost(vec![(0, Lost::Conflict)]));
}

/// PostgreSQL's `json` takes what no reader of ours does: that is damage, and damage of one stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_only_the_database_takes_for_json_is_damage_of_its_stream() {
    for place in Place::both() {
        let node = place.node().await;
        let (broken, whole) = (node.grant().await, node.grant().await);
        for payload in [r#"{"at":1e400}"#, r#"{"at":"\ud800"}"#] {
            let sql = format!(
                "UPDATE events SET payload = '{payload}' WHERE aggregate_type = 'authorization' AND aggregate_id = $1"
            );
            node.journal.engine().execute(&sql, &[broken.as_str().into()]).await.unwrap();
            // One that has nothing in memory yet.
            let reader: Node = place.node().await;
            let redeemed = reader
                .commands
                .execute::<Authorization>(
                    Stream::Existing(broken.clone()),
                    reader.redeem_command(),
                    &reader.origin,
                )
                .await;
            assert!(matches!(redeemed, Err(CommandError::Damaged(_))), "{payload}: {:?}", redeemed.err());
        }
        node.authorize(&whole, node.redeem_command()).await.unwrap();
    }
}
