//! Invariant 10, at the engine's edge: a replay says that it has ended well only if its tables are the live ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chancery::journal::Engine;
use chancery::journal::replay::{Replay, Replayed, find_projection};
use chancery::journal::verify::verify;
use projections::projection::Projection;

use super::outcomes::{Fault, Faulty};
use super::{Node, Place, verified};

/// Some history, and a row that does not follow from it.
async fn forged(place: &Place) -> (Node, Arc<dyn Engine>) {
    let (node, engine) = (place.node().await, place.engine().await);
    node.register("client").await;
    for _ in 0..3 {
        node.issue().await.unwrap();
    }
    engine.execute("UPDATE applications SET name = 'Forged'", &[]).await.unwrap();
    (node, engine)
}

async fn replay(engine: &dyn Engine) -> Result<Replayed, chancery::journal::EngineError> {
    Replay::new(Vec::new()).run(engine, &|_, _| {}).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_a_replay_that_was_overtaken_does_not_end_with_success() {
    for place in Place::both() {
        let (_node, engine) = forged(&place).await;
        let ended = replay(&Faulty::new(Arc::clone(&engine), Fault::FlipOvertaken)).await;
        assert!(ended.is_err(), "nothing of it is live: {ended:?}");
        assert!(verify(engine.as_ref(), &|_, _| ()).await.is_err(), "the forged row is still there");
        replay(engine.as_ref()).await.unwrap();
        verified(engine.as_ref()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_whose_last_answer_was_lost_knows_that_it_has_ended() {
    for place in Place::both() {
        let (_node, engine) = forged(&place).await;
        let before = engine.head().await.unwrap();
        // Twice: what the first one left is no sign of the second.
        for round in 1..=2 {
            let faulty = Faulty::new(Arc::clone(&engine), Fault::FlipUnanswered);
            assert_eq!(replay(&faulty).await.unwrap().events, before.position);
            assert_eq!(engine.head().await.unwrap().epoch, before.epoch + round, "they changed places once");
        }
        verified(engine.as_ref()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_asks_again_where_an_answer_was_lost() {
    for place in Place::both() {
        let (_node, engine) = forged(&place).await;
        let faulty = Faulty::new(Arc::clone(&engine), Fault::Stumbles);
        let applications = Replay::new(vec![find_projection("applications").unwrap()]);
        let ended = applications.run(&faulty, &|_, _| {}).await.unwrap();
        assert_eq!(ended.repaired, Some(2), "the forged row, and what it was");
        assert_eq!(faulty.asked.load(Ordering::SeqCst), 4, "two tries of each: both answers were lost");
        verified(engine.as_ref()).await;
    }
}

/// What a second replay does first, when the first has taken everything and is about to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_tables_that_another_replay_began_anew_do_not_become_the_live_ones() {
    for place in Place::both() {
        let (_node, engine) = forged(&place).await;
        let (before, begun) = (engine.head().await.unwrap(), AtomicBool::new(false));
        let tokens = find_projection("tokens").unwrap();
        let second = Projection { name: "replay of tokens", ..*tokens };
        let second = async || {
            let sql = "DELETE FROM checkpoints WHERE projection LIKE 'replay %'";
            engine.execute(sql, &[]).await.unwrap();
            engine.make_shadows(&second, tokens.tables).await.unwrap();
        };
        let progress = |done: u64, total: u64| {
            if done == total && !begun.swap(true, Ordering::SeqCst) {
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(second()));
            }
        };
        let first = vec![find_projection("applications").unwrap(), tokens];
        let ended = Replay::new(first).run(engine.as_ref(), &progress).await;
        assert!(ended.is_err(), "the second has just begun: {ended:?}");
        assert_eq!(engine.head().await.unwrap().epoch, before.epoch, "nothing changed places");
        replay(engine.as_ref()).await.unwrap();
        verified(engine.as_ref()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_is_gone_is_not_moved() {
    for place in Place::both() {
        let engine = place.engine().await;
        let projection = Projection { name: "replay of a test", ..*find_projection("tokens").unwrap() };
        assert!(!engine.advance(&projection, 5, 6, &[]).await.unwrap(), "somebody has taken it away");
        assert_eq!(engine.checkpoint(&projection).await.unwrap(), 0);
        assert!(engine.advance(&projection, 0, 5, &[]).await.unwrap());
        assert!(engine.advance(&projection, 5, 6, &[]).await.unwrap());
        assert!(!engine.advance(&projection, 0, 7, &[]).await.unwrap());
        assert_eq!(engine.checkpoint(&projection).await.unwrap(), 6);
    }
}
