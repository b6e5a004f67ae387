//! How do very many rows leave at once? In slices, which nobody else's command fails by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aggregates::client_token::ClientTokenEvent;
use aggregates::values::{GrantType, NewToken, Scope};
use chancery::clock::SystemClock;
use chancery::commands::{Actor, Origin};
use chancery::config::{Config, Environment, Flags};
use chancery::journal::Engine;
use chancery::journal::engine::{Append, Outcome};
use chancery::journal::postgres::PostgresEngine;
use chancery::open::open_on;
use chancery::serve::horizon::{SLICE, advance};
use chancery::state::AppState;
use chrono::{DateTime, TimeDelta, Utc};
use projections::row::Value;

use super::differential::written;
use super::{Node, Place, verified};
use crate::harness::directory::Directory;

const EXPIRED: i64 = 40_000;
/// More than a slice that end in one millisecond.
const AT_ONCE: std::ops::Range<i64> = 20_000..25_000;
/// Stored at a time.
const TOGETHER: usize = 4_000;

/// When the token of this number ended: ten a millisecond, but for some that ended all at once.
fn end_of(number: i64) -> DateTime<Utc> {
    let number = if AT_ONCE.contains(&number) { AT_ONCE.start } else { number };
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(number / 10)
}

fn issued(number: i64) -> Append {
    let id = format!("token-{number:06}");
    let event = ClientTokenEvent::TokenIssued {
        client_id: "client".to_owned(),
        grant_type: GrantType::ClientCredentials,
        token: NewToken { id: id.clone(), expires_at: end_of(number), confirmation: None },
        scope: Scope::parse("read").unwrap(),
        resource: Vec::new(),
        at: end_of(number) - TimeDelta::hours(10),
    };
    written(&id, 0, &[event])
}

/// Commands of the process itself.
fn node_of(state: &AppState) -> Node {
    let origin = Origin::internal(Actor::Operator, &state.clock);
    let (journal, commands, clock) = (state.journal.clone(), state.commands.clone(), state.clock.clone());
    Node { journal, commands, clock, origin }
}

/// Where the horizon stood, in order.
async fn horizons(engine: &dyn Engine) -> Vec<i64> {
    let sql =
        "SELECT payload FROM events WHERE event_type = 'installation.horizon_advanced' ORDER BY sequence";
    let rows = engine.query(sql, &[]).await.unwrap();
    let horizon = |value: Value| {
        let Value::Text(payload) = value else { panic!("{value:?}") };
        let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
        let at: DateTime<Utc> = payload["horizon"].as_str().unwrap().parse().unwrap();
        at.timestamp_millis()
    };
    rows.into_iter().flatten().map(horizon).collect()
}

/// An outage of a day, or ten busy minutes: one statement for all of it would exceed the deadline with the commands of
/// others in its batch, and the next one would have more to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_expired_rows_leave_in_slices_and_no_neighbour_fails() {
    for place in Place::both() {
        let mut engine = place.engine().await;
        let appends: Vec<Append> = (0..EXPIRED).map(issued).collect();
        for (batch, appends) in (1..).zip(appends.chunks(TOGETHER)) {
            let outcome = engine.append(batch, 1, appends).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        }
        if let Place::Postgres(database) = &place {
            // With the deadline that a server has.
            engine = Arc::new(PostgresEngine::new(&database.url(), 8, Duration::from_secs(2)).unwrap());
        }
        let home = Directory::new();
        // To the log any is right that names none yet.
        let root_secret = "k".repeat(43);
        let variables = [("CHANCERY_DATA_DIR", home.text()), ("CHANCERY_ROOT_SECRET", &root_secret)];
        let config = Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap();
        let config = Arc::new(config);
        let state = open_on(Arc::clone(&engine), config, SystemClock::shared()).await.unwrap();
        // Beside the horizon in its batches, and on another node.
        let neighbours = [node_of(&state), Node::on(engine).await];
        let has_arrived = AtomicBool::new(false);
        let advancing = async {
            advance(&state).await.unwrap();
            has_arrived.store(true, Ordering::SeqCst);
        };
        let issuing = async {
            let mut rounds = 0;
            while !has_arrived.load(Ordering::SeqCst) {
                let (one, other) = tokio::join!(neighbours[0].issue(), neighbours[1].issue());
                one.unwrap();
                other.unwrap();
                rounds += 1;
            }
            rounds
        };
        let ((), rounds) = tokio::join!(advancing, issuing);

        let horizons = horizons(state.journal.engine()).await;
        let mut slices: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
        for number in 0..EXPIRED {
            let end = end_of(number).timestamp_millis();
            slices.entry(horizons.partition_point(|horizon| *horizon <= end)).or_default().push(end);
        }
        assert!(horizons.is_sorted());
        assert!(!slices.contains_key(&horizons.len()), "all have left");
        for ends in slices.values() {
            assert!(ends.len() <= SLICE || ends.first() == ends.last(), "{} at once", ends.len());
        }
        let full = usize::try_from(EXPIRED).unwrap() / SLICE;
        assert!(horizons.len() <= full + 5, "{} events", horizons.len());
        assert!(rounds >= horizons.len(), "{rounds} rounds beside {} slices", horizons.len());
        verified(state.journal.engine()).await;
    }
}
