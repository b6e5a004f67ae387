//! Invariant 4: one winner per code and per refresh generation, on any number of nodes.

use aggregates::authorization::{AuthorizationCommand, RevocationReason};
use chancery::commands::Commands;
use chancery::personal::PersonalData;
use chancery::places::Places;
use prometheus_client::metrics::counter::Counter;

use super::{Node, Place, Refused, keys, verified};

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
/// notice.
#[tokio::test]
async fn who_waits_for_a_stream_takes_no_place_of_those_at_others() {
    const PLACES: usize = 4;
    for place in Place::both() {
        let mut node = place.node().await;
        let id = node.grant().await;
        let personal = PersonalData::new(node.journal.clone(), keys());
        let places = Places::new(PLACES, Counter::default());
        node.commands = Commands::new(node.journal.clone(), personal, node.clock.clone(), places);
        let many = (0..5 * PLACES).map(|_| {
            let (node, id) = (node.clone(), id.clone());
            let command = AuthorizationCommand::RevokeAuthorization {
                reason: RevocationReason::Client,
                at: node.now(),
            };
            tokio::spawn(async move { node.authorize(&id, command).await.is_ok() })
        });
        let many: Vec<_> = many.collect();
        let other = {
            let node = node.clone();
            tokio::spawn(async move { node.issue().await })
        };
        let mut served = 0;
        for one in many {
            served += usize::from(one.await.unwrap());
        }
        assert_eq!(served, 1 + PLACES, "one at work, and as many as may wait");
        other.await.unwrap().unwrap();
        assert_eq!(node.commands.in_progress(), 0);
    }
}
