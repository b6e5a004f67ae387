//! How long does it take to walk a whole log? A million events, verified and replayed, on both engines.

use std::sync::Arc;
use std::time::Instant;

use chancery::journal::Engine;
use chancery::journal::replay::Replay;
use chancery::journal::verify::verify;

use crate::Node;
use crate::starts::Starts;

/// Events of the log that is walked.
const EVENTS: i64 = 1_000_000;
const TASKS: usize = 64;

/// Seconds for a whole log.
pub struct Walked {
    pub engine: &'static str,
    pub events: i64,
    pub verified: f64,
    pub replayed: f64,
    pub starts: Starts,
}

/// Fills an empty log, walks it, then starts servers on it.
pub async fn walk(name: &'static str, engine: Arc<dyn Engine>, start: impl Fn() -> Starts) -> Walked {
    engine.migrate().await.unwrap();
    let node = Node::on(Arc::clone(&engine)).await;
    let mut filling = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (node, engine) = (node.clone(), Arc::clone(&engine));
        filling.spawn(async move {
            for round in 0.. {
                if engine.head().await.unwrap().position >= EVENTS {
                    return;
                }
                history(&node, round).await;
            }
        });
    }
    filling.join_all().await;
    drop(node);
    let began = Instant::now();
    let report = verify(engine.as_ref(), &|_, _| {}).await.unwrap();
    let verified = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let rebuilt = Replay::new(Vec::new()).run(engine.as_ref(), &|_, _| {}).await.unwrap();
    assert_eq!(rebuilt.events, report.events);
    let replayed = began.elapsed().as_secs_f64();
    drop(engine);
    Walked { engine: name, events: report.events, verified, replayed, starts: start() }
}

/// Tokens of a client, one of them revoked, and a person's grant that is refreshed: most a few times, some until their
/// stream has a state row.
async fn history(node: &Node, round: u32) {
    for token in 0..6 {
        let id = node.issue().await;
        if token == 0 {
            node.revoke(&id).await;
        }
    }
    let id = node.grant().await;
    let refreshes = if round.is_multiple_of(8) { 40 } else { 3 };
    for generation in 1..=refreshes {
        node.refresh(&id, generation).await;
    }
}
