//! What does a reader wait for when the database hangs? For one answer that does not come, and not for those of
//! everybody before it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aggregates::application::{Application, ApplicationCommand};
use chancery::commands::Stream;
use chancery::journal::engine::LIVING_PAGE;
use projections::applications::{find_application, remembered_applications};
use projections::authorizations::find_authorization;
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

/// A connection may lead to a standby, or to a primary that was replaced (F8): what it says is from before what
/// this process has applied, and nothing would ever change it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_that_is_behind_answers_is_not_remembered() {
    for place in Place::both() {
        let other = place.node().await;
        let (first, authorization) = (other.issue().await.unwrap(), other.grant().await);
        let faulty = Faulty::new(place.engine().await, Fault::Behind);
        let healed = Arc::clone(&faulty.healed);
        let node = Node::on(Arc::new(faulty)).await;
        assert!(find_token(&node.journal, &first).await.unwrap().is_some(), "nothing has happened since");
        // Here it is applied, and over there it is not known.
        let second = node.issue().await.unwrap();
        let redeemed = other.authorize(&authorization, other.redeem_command()).await;
        redeemed.unwrap();
        while node.journal.applied() < other.journal.applied() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refused = find_authorization(&node.journal, &authorization).await;
        let refused = refused.expect_err("it was asked before it was redeemed");
        assert!(refused.to_string().contains("a server that is behind"), "{refused}");
        healed.store(true, Ordering::SeqCst);
        let found = find_authorization(&node.journal, &authorization).await.unwrap();
        assert!(found.is_some_and(|found| found.redeemed_at.is_some()), "it is asked again");
        assert!(find_token(&node.journal, &second).await.unwrap().is_some());
    }
}

/// More than two pages of them, and among them some of which nobody needs to know any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_holds_every_application_but_those_that_are_deleted() {
    let count = 2 * usize::try_from(LIVING_PAGE).unwrap() + 40;
    let mut living: Vec<String> = (0..count).map(|number| format!("client-{number}")).collect();
    let deleted = living.split_off(count - 30);
    living.sort();
    for place in Place::both() {
        let node = place.node().await;
        let mut registering = JoinSet::new();
        for id in living.iter().chain(&deleted) {
            let (node, id) = (node.clone(), id.clone());
            registering.spawn(async move { node.register(&id).await });
        }
        registering.join_all().await;
        for id in &deleted {
            let command = ApplicationCommand::DeleteApplication { at: node.now() };
            let stream = Stream::Existing(id.clone());
            node.commands.execute::<Application>(stream, command, &node.origin).await.unwrap();
        }
        let started = place.node().await;
        let held = remembered_applications(started.journal.memory());
        let mut held: Vec<_> = held.map(|application| application.unwrap().client_id).collect();
        held.sort();
        assert_eq!(held, living);
        let found = find_application(&started.journal, &deleted[0]).await.unwrap();
        assert!(found.is_some_and(|found| found.deleted), "who asks for it hears that it is deleted");
    }
}
