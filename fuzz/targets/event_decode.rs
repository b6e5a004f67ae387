//! Does every stored event that can be read come back the same, and does whatever reads the log bear it?
//!
//! Input: a golden file (`tests/events`). An import, or whoever writes to the database, can put any event
//! into the log whose columns can be read; a panic there would keep every node from starting.
#![cfg_attr(fuzzing, no_main)]

use std::collections::BTreeMap;

use aggregates::AnyEvent;
use cqrs_es::Aggregate;
use projections::projection::{Recorded, row_ops};
use projections::timeline::sentence;
use projections::{EVENTUAL, TRANSACTIONAL};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Stored {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    payload: Value,
}

pub fn run(data: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Stored>(data) else { return };
    let Stored { aggregate_type, event_type, event_version, payload } = stored;
    let Ok(event) = AnyEvent::decode(&aggregate_type, &event_type, &event_version, &payload) else { return };
    let written = event.encode().unwrap();
    assert_eq!(event.aggregate_type(), aggregate_type);
    assert_eq!((&written.event_type, &written.event_version), (&event_type, &event_version));
    let payload = serde_json::from_str(&written.payload).unwrap();
    let again = AnyEvent::decode(&aggregate_type, &event_type, &event_version, &payload).unwrap();
    assert_eq!(again, event);
    assert_eq!(again.encode().unwrap(), written);
    is_projected(&event);
    is_applied(event);
}

fn is_projected(event: &AnyEvent) {
    let metadata = BTreeMap::new();
    let (position, aggregate_type) = (Some(1), event.aggregate_type());
    let recorded =
        Recorded { position, aggregate_type, aggregate_id: "id", sequence: 1, event, metadata: &metadata };
    drop((row_ops(TRANSACTIONAL, &recorded), row_ops(EVENTUAL, &recorded)));
    assert!(!sentence(event).text.is_empty());
}

/// Whatever the stream was before, also if it was nothing.
fn is_applied(event: AnyEvent) {
    match event {
        AnyEvent::Application(event) => twice::<aggregates::application::Application>(event),
        AnyEvent::User(event) => twice::<aggregates::user::User>(event),
        AnyEvent::Session(event) => twice::<aggregates::session::Session>(event),
        AnyEvent::LoginAttempts(event) => twice::<aggregates::login_attempts::LoginAttempts>(event),
        AnyEvent::Authorization(event) => twice::<aggregates::authorization::Authorization>(event),
        AnyEvent::ClientToken(event) => twice::<aggregates::client_token::ClientToken>(event),
        AnyEvent::Consent(event) => twice::<aggregates::consent::Consent>(event),
        AnyEvent::Refusal(event) => twice::<aggregates::refusal::Refusal>(event),
        AnyEvent::Installation(event) => twice::<aggregates::installation::Installation>(event),
    }
}

fn twice<A: Aggregate>(event: A::Event)
where
    A::Event: Clone,
{
    let mut state = A::default();
    state.apply(event.clone());
    state.apply(event);
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
