//! Invariants 2, 3, 6 and 11: whole commands, dense positions, rows that are what events say.

use std::time::Duration;

use projections::row::Residency;

use super::{Place, verified};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_03_positions_are_dense_and_the_chain_recomputes() {
    for place in Place::both() {
        let node = place.node().await;
        let mut issuing = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let node = node.clone();
            issuing.spawn(async move {
                for _ in 0..8 {
                    node.issue().await.unwrap();
                }
            });
        }
        issuing.join_all().await;
        let engine = node.journal.engine();
        assert_eq!(engine.head().await.unwrap().position, 512);
        assert_eq!(verified(engine).await, 512);
        let batches = engine.batches_after(0, 1000).await.unwrap();
        assert!(batches.len() < 512, "concurrent commands share a commit");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_06_what_is_remembered_is_what_is_written() {
    for place in Place::both() {
        let node = place.node().await;
        node.register("client").await;
        for generation in 1..=40 {
            if generation == 1 {
                let id = node.grant().await;
                node.authorize(&id, node.redeem_command()).await.unwrap();
                for step in 1..40 {
                    node.authorize(&id, node.refresh_command(step)).await.unwrap();
                }
            }
            node.issue().await.unwrap();
        }
        let engine = node.journal.engine();
        verified(engine).await;
        for table in projections::transactional_tables().filter(|table| table.residency != Residency::Stored)
        {
            let mut remembered: Vec<_> =
                node.journal.memory().snapshot(table).iter().map(|row| (**row).clone()).collect();
            remembered.sort();
            let (mut written, _) = engine.all_rows(table).await.unwrap();
            written.sort();
            assert_eq!(remembered, written, "{}", table.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_stream_is_loaded_from_its_state_row() {
    for place in Place::both() {
        let node = place.node().await;
        let id = node.grant().await;
        node.authorize(&id, node.redeem_command()).await.unwrap();
        for generation in 1..=40 {
            node.authorize(&id, node.refresh_command(generation)).await.unwrap();
        }
        let state = node.journal.engine().find_state("authorization", &id).await.unwrap().unwrap();
        assert!(state.sequence >= 32);
        let other = place.node().await;
        let refreshed = other.authorize(&id, other.refresh_command(41)).await.unwrap();
        assert_eq!(refreshed.state.generation(), Some(42));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_a_caller_that_disconnects_does_not_split_a_command() {
    for place in Place::both() {
        let node = place.node().await;
        for round in 0..200 {
            let id = node.grant().await;
            let redeeming = node.authorize(&id, node.redeem_command());
            // The caller is gone after so many microseconds, at whatever await it was.
            let _ = tokio::time::timeout(Duration::from_micros(round * 25), redeeming).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let engine = node.journal.engine();
        let batches = engine.batches_after(0, 1000).await.unwrap();
        let count = |name: &str| {
            batches.iter().flat_map(|batch| &batch.events).filter(|row| row.event.event_type == name).count()
        };
        assert_eq!(count("authorization.code_redeemed"), count("authorization.token_issued"));
        verified(engine).await;
    }
}

/// A warm token is checked without a query: it is checked as well when there is no database any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_token_is_checked_from_memory_alone() {
    use projections::applications::count_applications;
    use projections::validity::find_live_token;
    let place = Place::Postgres(crate::harness::postgres::Database::empty());
    let node = place.node().await;
    node.register("client").await;
    let (own, revoked) = (node.issue().await.unwrap(), node.issue().await.unwrap());
    let granted = node.grant().await;
    let redeemed = node.authorize(&granted, node.redeem_command()).await.unwrap();
    let of_user = redeemed.state.current().unwrap().token.id.clone();
    let command = aggregates::client_token::ClientTokenCommand::RevokeToken {
        reason: aggregates::authorization::RevocationReason::Client,
        at: node.now(),
    };
    let stream = chancery::commands::Stream::Existing(revoked.clone());
    let execute =
        node.commands.execute::<aggregates::client_token::ClientToken>(stream, command, &node.origin);
    execute.await.unwrap();
    let live = async |id: &str| find_live_token(&node.journal, id, node.now()).await;
    assert!(live(&own).await.unwrap().is_some());
    // Nobody registered its user here, which the first question found out and memory keeps.
    assert!(live(&of_user).await.unwrap().is_none());

    drop(place);
    assert!(live(&own).await.unwrap().is_some(), "alive");
    assert!(live(&revoked).await.unwrap().is_none(), "revoked");
    assert!(live(&of_user).await.unwrap().is_none(), "unknown user");
    // The control: what memory does not have cannot be answered now.
    assert!(live("018f3c5e-7b1a-7000-8000-000000000000").await.is_err());
    assert!(count_applications(&node.journal).await.is_err());
}

/// Expired rows leave tables and memory by an event, so what is rebuilt still equals what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_at_the_horizon_leaves_the_rebuilt_read_models_too() {
    use aggregates::installation::{Installation, InstallationCommand};
    use chancery::commands::Stream;
    use projections::tokens::find_token;
    for place in Place::both() {
        let node = place.node().await;
        let id = node.issue().await.unwrap();
        assert!(find_token(&node.journal, &id).await.unwrap().is_some());
        for (hours, is_there) in [(9, true), (11, false)] {
            let horizon = node.now() + chrono::TimeDelta::hours(hours);
            let command = InstallationCommand::AdvanceHorizon { horizon, at: node.now() };
            let stream = Stream::Existing("installation".to_owned());
            node.commands.execute::<Installation>(stream, command, &node.origin).await.unwrap();
            assert_eq!(find_token(&node.journal, &id).await.unwrap().is_some(), is_there, "{hours} h");
            let (row, _) = node.journal.engine().find_row(&projections::tokens::TABLE, &id).await.unwrap();
            assert_eq!(row.is_some(), is_there, "{hours} h");
            verified(node.journal.engine()).await;
        }
    }
}
