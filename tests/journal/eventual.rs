//! What follows the log: what stops it, and what only holds it up?

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chancery::journal::Engine;
use projections::EVENTUAL;

use super::outcomes::{Fault, Faulty};
use super::{Node, Place};

/// An alarm that every hiccup of the database raises is not looked at when an event cannot be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_no_trouble_of_a_projection() {
    for place in Place::both() {
        let faulty = Arc::new(Faulty::new(place.engine().await, Fault::Unprojected));
        let node = Node::on(Arc::clone(&faulty) as Arc<dyn Engine>).await;
        node.journal.start_projecting();
        node.issue().await.unwrap();
        while faulty.asked.load(Ordering::SeqCst) < 3 {
            node.journal.hurry_projections();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let name = EVENTUAL[0].name;
        assert_eq!(node.journal.progress()[name].trouble, None);
        assert_eq!(node.journal.metrics().unreadable.get(), 0);
        faulty.healed.store(true, Ordering::SeqCst);
        while node.journal.progress()[name].position < node.journal.applied() {
            node.journal.hurry_projections();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
