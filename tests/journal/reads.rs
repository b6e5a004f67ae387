//! What does a reader wait for when the database hangs? For one answer that does not come, and not for those of
//! everybody before it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use projections::tokens::find_token;
use tokio::task::JoinSet;

use super::outcomes::{Fault, Faulty, HUNG};
use super::{Node, Place};

const READERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_one_row_do_not_queue_for_a_database_that_hangs() {
    for place in Place::both() {
        let id = place.node().await.issue().await.unwrap();
        let faulty = Faulty::new(place.engine().await, Fault::Hung);
        let healed = Arc::clone(&faulty.healed);
        let node = Node::on(Arc::new(faulty)).await;
        let (begun, mut readers) = (Instant::now(), JoinSet::new());
        for _ in 0..READERS {
            let (journal, id) = (node.journal.clone(), id.clone());
            readers.spawn(async move { find_token(&journal, &id).await });
        }
        let found = readers.join_all().await;
        assert!(found.iter().all(Result::is_err), "{found:?}");
        assert!(begun.elapsed() < 2 * HUNG, "one waited behind the other: {:?}", begun.elapsed());
        // Whoever asks after it has failed is not told of it.
        let asked = Instant::now();
        find_token(&node.journal, &id).await.expect_err("it still hangs");
        assert!(asked.elapsed() >= HUNG, "nobody asked: {:?}", asked.elapsed());
        healed.store(true, Ordering::SeqCst);
        assert!(find_token(&node.journal, &id).await.unwrap().is_some());
    }
}
