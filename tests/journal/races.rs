//! Invariant 4: one winner per code and per refresh generation, on any number of nodes.

use std::time::Duration;

use aggregates::authorization::{AuthorizationCommand, RevocationReason};
use chancery::commands::Commands;
use chancery::personal::PersonalData;
use chancery::places::Places;
use prometheus_client::metrics::counter::Counter;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Node, Place, Refused, keys, verified};
use crate::harness::postgres::Database;

const ROUNDS: usize = 1000;
const RACERS: usize = 16;

/// Two nodes on one database, whatever the engine: half the racers on each.
async fn race(nodes: &[Node; 2], generation: Option<u32>, id: &str) -> usize {
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..RACERS {
        let node = nodes[racer % 2].clone();
        let id = id.to_owned();
        racers.spawn(async move {
            let command = match generation {
                None => node.redeem_command(),
                Some(generation) => node.refresh_command(generation),
            };
            node.authorize(&id, command).await
        });
    }
    let mut winners = 0;
    while let Some(result) = racers.join_next().await {
        match result.unwrap() {
            Ok(executed) => winners += usize::from(!executed.events.is_empty()),
            Err(Refused::ByTheAggregate(_)) => {}
            Err(Refused::ByUs(reason)) => panic!("a racer must win or lose, not fail: {reason}"),
        }
    }
    winners
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_04_one_code_and_one_refresh_token_have_one_winner_each_on_two_nodes() {
    for place in Place::both() {
        let nodes = [place.node().await, place.node().await];
        for round in 0..ROUNDS / 2 {
            let id = nodes[round % 2].grant().await;
            assert_eq!(race(&nodes, None, &id).await, 1, "redeemed more than once in round {round}");
            assert_eq!(race(&nodes, Some(1), &id).await, 1, "refreshed more than once in round {round}");
        }
        // Granted, redeemed, issued, refreshed: nothing else was written.
        let events = verified(nodes[0].journal.engine()).await;
        assert_eq!(events, i64::try_from(ROUNDS / 2 * 4).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_is_seen_within_250_ms() {
    for place in Place::both() {
        let [one, other] = [place.node().await, place.node().await];
        for _ in 0..20 {
            let client_id = one.id();
            one.register(&client_id).await;
            let committed = std::time::Instant::now();
            let seen = loop {
                let found =
                    projections::applications::find_application(&other.journal, &client_id).await.unwrap();
                if found.is_some() {
                    break committed.elapsed();
                }
                tokio::task::yield_now().await;
            };
            assert!(seen.as_millis() <= 250, "seen after {seen:?}");
        }
    }
}

/// Of many at one stream a few wait, and the others are told to come again; whoever is at another stream does not
/// notice. Who has waited is served, though all places are taken when its turn comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_stream_takes_no_place_of_those_at_others() {
    let place = Place::Postgres(Database::empty());
    let mut node = place.node().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    for places in [2, 4] {
        let id = node.grant().await;
        let personal = PersonalData::new(node.journal.clone(), keys());
        let (admission, clock) = (Places::new(places, Counter::default()), node.clock.clone());
        node.commands = Commands::new(node.journal.clone(), personal, clock, admission);
        // Nobody gets further than into the database.
        let mut locking = PgConnection::connect(&database.url()).await.unwrap();
        let mut locks = locking.begin().await.unwrap();
        locks.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let (mut at_one, mut at_others) = (JoinSet::new(), JoinSet::new());
        for _ in 0..3 * places {
            let (node, id) = (node.clone(), id.clone());
            let reason = RevocationReason::Client;
            let command = AuthorizationCommand::RevokeAuthorization { reason, at: node.now() };
            at_one.spawn(async move { node.authorize(&id, command).await.is_ok() });
            sleep(Duration::from_millis(10)).await;
        }
        for _ in 1..places {
            let node = node.clone();
            at_others.spawn(async move { node.issue().await.is_ok() });
        }
        sleep(Duration::from_millis(100)).await;
        assert_eq!(node.commands.in_progress(), 2 * places, "at work, and as many who wait");
        locks.rollback().await.unwrap();
        assert!(at_others.join_all().await.into_iter().all(|is_served| is_served));
        let served = at_one.join_all().await.into_iter().filter(|is_served| *is_served).count();
        assert_eq!(served, 1 + places, "one was at work, and as many waited as may");
        assert_eq!(node.commands.in_progress(), 0);
    }
}
