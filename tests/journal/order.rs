//! Do processes that touch the same things at once wait for each other in a circle, or refuse each other? PostgreSQL
//! lets them meet; the embedded database has one writer at a time.

use std::sync::Arc;

use aggregates::authorization::RevocationReason;
use aggregates::client_token::ClientTokenEvent;
use chancery::clock::{Clock as _, SystemClock};
use chancery::journal::Engine;
use chancery::journal::engine::{Append, Outcome, SecretOp, StateRow};
use chancery::journal::postgres::PostgresEngine;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::differential::written;
use super::{DEADLINE, Place, verified};
use crate::harness::postgres::Database;

/// Commands of a batch.
const TOGETHER: usize = 48;
const ROUNDS: i64 = 20;
/// That start at once.
const NODES: usize = 8;

fn append(id: &str, expected: i64) -> Append {
    let event = ClientTokenEvent::TokenRevoked { reason: RevocationReason::Superuser, at: SystemClock.now() };
    Append { rows: vec![Vec::new()], ..written(id, expected, &[event]) }
}

fn secret_of(number: usize, round: i64) -> String {
    format!("secret-{number:02}-{round}")
}

/// All that will be deleted.
fn secrets() -> Append {
    let of_round = |round| (0..TOGETHER).map(move |number| secret_of(number, round));
    let put = |id| SecretOp::Put { id, verifier: "verifier".to_owned() };
    Append { secrets: (0..ROUNDS).flat_map(of_round).map(put).collect(), ..append("secrets", 0) }
}

/// A secret leaves.
fn deletion(number: usize, round: i64) -> Append {
    let secrets = vec![SecretOp::Delete { id: secret_of(number, round) }];
    Append { secrets, ..append(&format!("rotated-{number:02}"), round) }
}

/// The stream has become long.
fn state_row(number: usize, round: i64) -> Append {
    let state = Some(StateRow { sequence: round + 1, state: "{}".to_owned() });
    Append { state, ..append(&format!("long-{number:02}"), round) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_touch_the_same_things_in_opposite_orders_do_not_wait_in_a_circle() {
    let place = Place::Postgres(Database::empty());
    let nodes = [place.engine().await, place.engine().await];
    nodes[0].append(1, 1, &[secrets()]).await.unwrap();
    let mut batch = 0;
    for make in [deletion, state_row] {
        for round in 0..ROUNDS {
            let forwards: Vec<Append> = (0..TOGETHER).map(|number| make(number, round)).collect();
            let backwards: Vec<Append> = forwards.iter().rev().cloned().collect();
            batch += 2;
            let (one, other) =
                tokio::join!(nodes[0].append(batch, 1, &forwards), nodes[1].append(batch + 1, 1, &backwards));
            let won = |outcome| matches!(outcome, Outcome::Committed(_));
            let (one, other) = (one.unwrap(), other.unwrap());
            assert!(won(one) != won(other), "one was first, in round {round}");
        }
    }
    let events = 1 + i64::try_from(TOGETHER).unwrap() * ROUNDS * 2;
    assert_eq!(verified(nodes[0].as_ref()).await, events);
    let left = nodes[0].query("SELECT count(*) FROM secrets", &[]).await.unwrap();
    assert_eq!(left, [[0_i64.into()]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_on_an_empty_database_all_start() {
    for round in 0..5 {
        let database = Database::empty();
        let all_are_there = Arc::new(Barrier::new(NODES));
        let mut starting = JoinSet::new();
        for _ in 0..NODES {
            let engine = PostgresEngine::new(&database.url(), 2, DEADLINE).unwrap();
            let all_are_there = Arc::clone(&all_are_there);
            starting.spawn(async move {
                engine.connect().await.unwrap();
                all_are_there.wait().await;
                let ran = engine.migrate().await.expect("it finds its tables, or makes them");
                (ran > 0, engine.pending_migrations().await.unwrap())
            });
        }
        let mut started = starting.join_all().await;
        started.sort_unstable();
        let mut expected = vec![(false, 0); NODES - 1];
        expected.push((true, 0));
        assert_eq!(started, expected, "one makes the tables, in round {round}");
    }
}
