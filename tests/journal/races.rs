//! Invariant 4: one winner per code and per refresh generation, on any number of nodes.

use super::{Node, Place, Refused, verified};

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
