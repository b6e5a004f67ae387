//! How does a node hear that another one has ended something? PostgreSQL says so, to all but the one who did.

use std::time::Duration;

use aggregates::authorization::RevocationReason;
use aggregates::client_token::ClientTokenEvent;
use chancery::journal::Engine;
use chancery::journal::engine::{Append, Outcome};
use chancery::journal::postgres::PostgresEngine;
use chrono::DateTime;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::timeout;

use super::Place;
use super::connections::Line;
use super::differential::written;
use crate::harness::postgres::Database;

const DEADLINE: Duration = Duration::from_secs(2);
/// With as many programs as processors.
const SOON: Duration = Duration::from_secs(1);
/// A connection that has died without a word is found by asking after ten seconds, and made anew.
const LOST: Duration = Duration::from_secs(20);

async fn is_told(engine: &dyn Engine, within: Duration) -> bool {
    timeout(within, engine.hint()).await.is_ok()
}

/// Listens, and has taken every hint so far.
async fn listens(engine: &dyn Engine, within: Duration) {
    let listening = async {
        while !engine.hears_hints() {
            is_told(engine, Duration::from_millis(10)).await;
        }
    };
    timeout(within, listening).await.expect("a connection that listens");
    while is_told(engine, Duration::from_millis(100)).await {}
}

/// Writes an event that ends something, or another one.
async fn writes(engine: &dyn Engine, batch: i64, invalidates: bool) {
    let (reason, at) = (RevocationReason::Superuser, DateTime::from_timestamp(batch, 0).unwrap());
    let event = ClientTokenEvent::TokenRevoked { reason, at };
    let append = Append { invalidates, ..written(&format!("stream-{batch}"), 0, &[event]) };
    let epoch = engine.head().await.unwrap().epoch;
    let outcome = engine.append(batch, epoch, &[append]).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_ends_something_tells_the_others_and_not_itself() {
    let place = Place::Postgres(Database::empty());
    let (own, other) = (place.engine().await, place.engine().await);
    for engine in [&own, &other] {
        listens(engine.as_ref(), SOON).await;
    }
    writes(own.as_ref(), 1, false).await;
    assert!(!is_told(other.as_ref(), SOON / 4).await, "nothing has ended");
    writes(own.as_ref(), 2, true).await;
    assert!(is_told(other.as_ref(), SOON).await);
    assert!(!is_told(own.as_ref(), SOON / 4).await, "it knows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_come_again_after_the_server_has_ended_the_connection() {
    let place = Place::Postgres(Database::empty());
    let (one, other) = (place.engine().await, place.engine().await);
    listens(other.as_ref(), SOON).await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    let mut ending = PgConnection::connect(&database.url()).await.unwrap();
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    assert_eq!(ending.execute(sql).await.unwrap().rows_affected(), 1);
    while other.hears_hints() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    listens(other.as_ref(), 3 * SOON).await;
    writes(one.as_ref(), 1, true).await;
    assert!(is_told(other.as_ref(), SOON).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_come_again_after_their_connection_was_lost_without_a_word() {
    let place = Place::Postgres(Database::empty());
    let one = place.engine().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    let (line, url) = Line::before(database, Duration::ZERO).await;
    let other = PostgresEngine::new(&url, 2, DEADLINE).unwrap();
    listens(&other, SOON).await;
    line.mute(true);
    writes(one.as_ref(), 1, true).await;
    assert!(!is_told(&other, SOON).await, "nothing arrives");
    line.mute(false);
    let lost = async {
        while other.hears_hints() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LOST, lost).await.expect("it is found out");
    listens(&other, 3 * SOON).await;
    writes(one.as_ref(), 2, true).await;
    assert!(is_told(&other, SOON).await);
}
