//! Invariant 8: the same commands on PostgreSQL and SQLite give the same events, rows and chain head. And what
//! postgres-es reads of them is what the journal reads.

use std::collections::BTreeMap;

use aggregates::authorization::Authorization;
use aggregates::client_token::{ClientToken, ClientTokenCommand};
use aggregates::stored::Decide;
use aggregates::values::{NewToken, Scope};
use aggregates::{AnyEvent, StoredEvent};
use chancery::journal::engine::{Append, Claim, NewEvent, Outcome, SecretOp, StateRow, StoredRow};
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::Aggregate as _;
use cqrs_es::persist::{PersistedEventRepository, SerializedEvent};
use postgres_es::PostgresEventRepository;
use projections::TRANSACTIONAL;
use projections::projection::{Recorded, row_ops};
use projections::row::RowOp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::PgPool;

use super::Place;
use crate::harness::postgres::Database;

#[derive(Clone, Debug)]
enum Step {
    Issue { token: u8 },
    Revoke { token: u8 },
    Claim { name: u8 },
    Expire { seconds: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        (0..40u8).prop_map(|token| Step::Issue { token }),
        (0..40u8).prop_map(|token| Step::Revoke { token }),
        (0..8u8).prop_map(|name| Step::Claim { name }),
        (60..90u8).prop_map(|seconds| Step::Expire { seconds }),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..12), 1..24)
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

/// A command as the store would submit it, from a state that the model keeps.
fn append_of(step: &Step, streams: &mut BTreeMap<u8, (ClientToken, i64)>, number: i64) -> Option<Append> {
    let (key, command) = match step {
        Step::Issue { token } => (
            *token,
            ClientTokenCommand::IssueToken {
                client_id: format!("client-{}", token % 3),
                token: NewToken {
                    id: format!("token-{token}"),
                    expires_at: at(number + 60),
                    confirmation: None,
                },
                scope: Scope::parse("read").unwrap(),
                resource: Vec::new(),
                at: at(number),
            },
        ),
        Step::Revoke { token } => (
            *token,
            ClientTokenCommand::RevokeToken {
                reason: aggregates::authorization::RevocationReason::Client,
                at: at(number),
            },
        ),
        Step::Claim { name } => return Some(claim(*name, number)),
        Step::Expire { seconds } => return Some(expiry(i64::from(*seconds), number)),
    };
    let (state, sequence) = streams.entry(key).or_default();
    let events = state.decide(command).ok()?;
    let mut append = written(&format!("token-{key}"), *sequence, &events);
    append.invalidates = matches!(step, Step::Revoke { .. });
    for event in events {
        state.apply(event);
        *sequence += 1;
    }
    (!append.events.is_empty()).then_some(append)
}

pub fn written(id: &str, expected: i64, events: &[aggregates::client_token::ClientTokenEvent]) -> Append {
    let metadata = BTreeMap::from([("actor".to_owned(), "operator — §".to_owned())]);
    let mut append = empty(id, expected);
    for (sequence, event) in (expected + 1..).zip(events) {
        let any: AnyEvent = event.clone().into();
        let recorded = Recorded {
            position: None,
            aggregate_type: "client_token",
            aggregate_id: id,
            sequence,
            event: &any,
            metadata: &metadata,
        };
        append.rows.push(row_ops(TRANSACTIONAL, &recorded));
        let encoded = event.encode().unwrap();
        append.events.push(NewEvent {
            event_type: encoded.event_type,
            event_version: encoded.event_version,
            payload: encoded.payload,
            metadata: serde_json::to_string(&metadata).unwrap().into(),
        });
    }
    append
}

pub fn empty(id: &str, expected: i64) -> Append {
    Append {
        aggregate_type: "client_token",
        aggregate_id: id.to_owned(),
        expected,
        events: Vec::new(),
        rows: Vec::new(),
        claims: Vec::new(),
        secrets: Vec::new(),
        subject_keys: Vec::new(),
        state: None,
        invalidates: false,
    }
}

/// A stream of its own, of one event.
fn alone(id: &str, number: i64, rows: Vec<RowOp>) -> Append {
    let event = aggregates::client_token::ClientTokenEvent::TokenRevoked {
        reason: aggregates::authorization::RevocationReason::Superuser,
        at: at(number),
    };
    Append { rows: vec![rows], ..written(id, 0, &[event]) }
}

/// Takes away what ended before; its state is kept beside it.
fn expiry(seconds: i64, number: i64) -> Append {
    let before = at(seconds).timestamp_millis();
    let rows = vec![RowOp::Expire { table: &projections::tokens::TABLE, before }];
    let state = StateRow { sequence: 1, state: format!("{{\"number\":{number}}}") };
    Append { state: Some(state), ..alone(&format!("horizon-{number}"), number, rows) }
}

/// One that wants a name: the second one to want it loses.
fn claim(name: u8, number: i64) -> Append {
    let mut append = alone(&format!("claimant-{number}"), number, Vec::new());
    append.claims = vec![Claim { kind: "username", value: format!("name-{name}") }];
    append.secrets = vec![SecretOp::Put { id: format!("secret-{number}"), verifier: "v".to_owned() }];
    append
}

/// Plays the steps on an engine, dropping losers as the writer does, and returns all that is left.
async fn play(place: &Place, batches: &[Vec<Append>]) -> impl PartialEq + std::fmt::Debug + use<> {
    let engine = place.engine().await;
    let mut losers = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        let mut appends = batch.clone();
        while !appends.is_empty() {
            match engine.append(i64::try_from(number).unwrap() + 1, 1, &appends).await.unwrap() {
                Outcome::Committed(_) => break,
                Outcome::Lost(mut lost) => {
                    lost.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
                    lost.dedup_by_key(|(index, _)| *index);
                    for (index, why) in lost {
                        losers.push((appends.remove(index).aggregate_id, format!("{why:?}")));
                    }
                }
            }
        }
    }
    let mut rows = Vec::new();
    for table in projections::transactional_tables() {
        rows.push(engine.all_rows(table).await.unwrap());
    }
    let mut beside = Vec::new();
    for sql in [
        "SELECT kind, value, aggregate_id FROM claims ORDER BY kind, value",
        "SELECT id, verifier FROM secrets ORDER BY id",
        "SELECT aggregate_type, aggregate_id, sequence, state FROM stream_states ORDER BY aggregate_id",
    ] {
        beside.push(engine.query(sql, &[]).await.unwrap());
    }
    losers.sort();
    let revision = engine.pulse().await.unwrap().revision;
    let log = (engine.head().await.unwrap(), revision, engine.batches_after(0, 10_000).await.unwrap());
    (log, rows, beside, losers)
}

#[test]
fn invariant_08_postgresql_and_sqlite_are_the_same() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            let mut streams = BTreeMap::new();
            let mut number = 0;
            let batches: Vec<Vec<Append>> = steps
                .iter()
                .map(|batch| {
                    let commands = batch.iter().filter_map(|step| {
                        number += 1;
                        append_of(step, &mut streams, number)
                    });
                    commands.collect()
                })
                .collect();
            let (sqlite, postgres) = runtime.block_on(async {
                let [one, other] = Place::both();
                (play(&one, &batches).await, play(&other, &batches).await)
            });
            prop_assert_eq!(format!("{sqlite:?}"), format!("{postgres:?}"));
            Ok(())
        })
        .unwrap();
}

/// The log keeps the table of postgres-es: its own repository reads every stream that the journal wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_es_reads_what_the_journal_wrote() {
    let place = Place::Postgres(Database::empty());
    let node = place.node().await;
    let id = node.grant().await;
    node.authorize(&id, node.redeem_command()).await.unwrap();
    node.authorize(&id, node.refresh_command(1)).await.unwrap();
    let Place::Postgres(database) = &place else { panic!("it is") };
    let repository = PostgresEventRepository::new(PgPool::connect(&database.url()).await.unwrap());
    for after in 0..4 {
        let theirs = match usize::try_from(after).unwrap() {
            0 => repository.get_events::<Authorization>(&id).await.unwrap(),
            after => repository.get_last_events::<Authorization>(&id, after).await.unwrap(),
        };
        let ours = node.journal.engine().load_stream(Authorization::TYPE, &id, after).await.unwrap();
        assert!(ours.iter().map(|row| row.sequence).eq(after + 1..=4), "{ours:?}");
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let as_theirs = |row: StoredRow| SerializedEvent {
            aggregate_id: row.aggregate_id,
            sequence: usize::try_from(row.sequence).unwrap(),
            aggregate_type: row.aggregate_type,
            event_type: row.event.event_type,
            event_version: row.event.event_version,
            payload: json(&row.event.payload),
            metadata: json(&row.event.metadata),
        };
        assert_eq!(theirs, ours.into_iter().map(as_theirs).collect::<Vec<_>>());
    }
}
