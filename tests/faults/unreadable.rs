//! F14, F20: what becomes of an event that this program cannot read, or does not know yet?

use std::time::Duration;

use chancery::journal::engine::{Append, Engine, NewEvent, Outcome};
use chancery::journal::read_models::list_read_models;
use projections::EVENTUAL;
use projections::projection::Projection;
use projections::row::Value;

use super::report::record;
use crate::harness::{Registration, Server, on_both_engines};
use crate::nodes::{at, metrics};

/// What somebody wrote into the log who is not this program.
fn foreign(kind: &'static str, id: &str, expected: i64, event_type: &str, payload: &str) -> Append {
    Append {
        aggregate_type: kind,
        aggregate_id: id.to_owned(),
        expected,
        events: vec![NewEvent {
            event_type: event_type.to_owned(),
            event_version: "1".to_owned(),
            payload: payload.to_owned(),
            metadata: "{}".into(),
        }],
        rows: vec![Vec::new()],
        claims: Vec::new(),
        secrets: Vec::new(),
        subject_keys: Vec::new(),
        state: None,
        invalidates: false,
    }
}

async fn have_followed<const N: usize>(nodes: [&Server; N], position: i64) {
    for node in nodes {
        let journal = &node.state().journal;
        for _ in 0..100 {
            if journal.applied() >= position {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(journal.applied() >= position, "{:?}", journal.vouch());
    }
}

/// F14, F20: an event that a later version wrote, or that is damaged, is its stream's trouble and nobody
/// else's; also of a node that had the stream in memory.
#[tokio::test(flavor = "multi_thread")]
async fn f14_f20_an_event_that_cannot_be_read_stops_its_stream_and_nothing_else() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        let other = ada.register(&Registration::machine()).await;
        let tokens = ada.tokens(&app).await;
        let there = at(&two, &app);
        assert!(there.sees_active(&tokens.access).await);
        let engine = one.state().journal.engine();
        let sql =
            "SELECT aggregate_id, max(sequence) FROM events WHERE aggregate_type = $1 GROUP BY aggregate_id";
        let stream = async |kind: &str, id: Option<&str>| {
            let rows = engine.query(sql, &[kind.into()]).await.unwrap();
            let mut streams = rows.into_iter().map(|row| match row.as_slice() {
                [Value::Text(id), Value::Int(last)] => (id.clone(), *last),
                other => panic!("{other:?}"),
            });
            streams.rfind(|(found, _)| id.is_none_or(|id| id == found)).unwrap()
        };
        let (authorization, last) = stream("authorization", None).await;
        let (_, of_app) = stream("application", Some(&app.client_id)).await;
        let epoch = engine.head().await.unwrap().epoch;
        let damaged = foreign("authorization", &authorization, last, "authorization.revoked", "{\"at\":7}");
        let unknown = foreign("application", &app.client_id, of_app, "application.painted", "{}");
        for (batch, append) in [(7_000_001, damaged), (7_000_002, unknown)] {
            let written = engine.append(batch, epoch, &[append]).await.unwrap();
            assert!(matches!(written, Outcome::Committed(_)), "{written:?}");
        }
        have_followed([&one, &two], engine.head().await.unwrap().position).await;
        for (server, app) in [(&one, &app), (&two, &there)] {
            // Nothing can be decided on the stream any more, and what its rows say is all that is known.
            assert_eq!(app.refresh(&tokens.refresh).send().await.is(500).error(), "server_error");
            assert!(app.sees_active(&tokens.access).await);
            let new = ada.tokens(app).await;
            assert_eq!(server.resource(&new.access).await.status, 200);
            at(server, &other).client_credentials().send().await.is(200);
            server.get("/readyz").await.is(200);
            let stands_still = || server.state().journal.progress().values().any(|one| one.trouble.is_some());
            while !stands_still() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Met by what follows the log, by a command, and by the timeline. The other one is a later version's,
            // whose rows this one leaves alone.
            assert!(metrics(server).contains("journal_unreadable_total 3\n"), "{}", metrics(server));
        }
        let path = format!("/o/applications/{}/update/", app.client_id);
        let form = ada.get(&path).await.is(200).form(&path);
        ada.submit(&form.set("name", "Another")).await.is(500);
        record(
            "F14",
            &format!(
                "{}: an event that cannot be read, and one of a later version, on two nodes: their two streams stand \
                 still, everything else goes on, and each node counted what it met",
                engine.name()
            ),
        );
    })
    .await;
}

/// F20: the read model of all events would lack for good what an older server passes over; it waits for one that
/// knows the event, says so, and goes on behind it.
#[tokio::test(flavor = "multi_thread")]
async fn f20_an_event_of_a_later_version_is_left_to_it_by_what_follows_the_log() {
    on_both_engines(async |one| {
        let (ada, app) = one.ada_and_app().await;
        let engine = one.state().journal.engine();
        let (timeline, head) = (EVENTUAL[0], engine.head().await.unwrap());
        let unknown = foreign("application", "later", 0, "application.painted", "{}");
        engine.append(7_000_003, head.epoch, &[unknown]).await.unwrap();
        let position = head.position + 1;
        ada.tokens(&app).await;
        until(engine, timeline, position - 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let stopped = list_read_models(engine).await.unwrap().pop().unwrap();
        assert_eq!((stopped.name, stopped.position), (timeline.name, position - 1));
        let trouble = stopped.trouble.unwrap();
        assert!(trouble.contains(&format!("at position {position}")), "{trouble}");
        assert!(trouble.contains("later version of this program knows application.painted"), "{trouble}");
        // A newer server takes it.
        assert!(engine.advance(timeline, position - 1, position, &[]).await.unwrap());
        ada.tokens(&app).await;
        until(engine, timeline, engine.head().await.unwrap().position).await;
        assert_eq!(list_read_models(engine).await.unwrap().pop().unwrap().trouble, None);
        record(
            "F20",
            &format!(
                "{}: an event of a later version: the timeline waits for a server that knows it, says so, and goes on \
                 behind it",
                engine.name()
            ),
        );
    })
    .await;
}

async fn until(engine: &dyn Engine, projection: &Projection, position: i64) {
    for _ in 0..100 {
        if engine.checkpoint(projection).await.unwrap() >= position {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} never came to {position}", projection.name);
}
