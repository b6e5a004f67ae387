//! Does the state of a long stream that can be read come back the same, and does it bear whatever follows?
//!
//! Input: a state (a line), then events in the shape of the golden files, a line each. Whoever writes to the
//! database can put any state beside a stream; a panic there would keep every command on it from its answer.
#![cfg_attr(fuzzing, no_main)]

use aggregates::AnyEvent;
use cqrs_es::Aggregate;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Stored {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    payload: Value,
}

macro_rules! as_each {
    ($state:expr, $events:expr, $($kind:ident => $aggregate:ty),+ $(,)?) => {$(
        let events = $events.iter().filter_map(|event| match event {
            AnyEvent::$kind(event) => Some(event.clone()),
            _ => None,
        });
        is_borne::<$aggregate>($state, events);
    )+};
}

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (state, rest) = text.split_once('\n').unwrap_or((text, ""));
    let events: Vec<AnyEvent> = rest.lines().filter_map(event_of).collect();
    as_each!(
        state, events,
        Application => aggregates::application::Application,
        User => aggregates::user::User,
        Session => aggregates::session::Session,
        LoginAttempts => aggregates::login_attempts::LoginAttempts,
        Authorization => aggregates::authorization::Authorization,
        ClientToken => aggregates::client_token::ClientToken,
        Consent => aggregates::consent::Consent,
        Refusal => aggregates::refusal::Refusal,
        Installation => aggregates::installation::Installation,
    );
}

fn event_of(line: &str) -> Option<AnyEvent> {
    let Stored { aggregate_type, event_type, event_version, payload } = serde_json::from_str(line).ok()?;
    AnyEvent::decode(&aggregate_type, &event_type, &event_version, &payload).ok()
}

fn is_borne<A: Aggregate>(state: &str, events: impl Iterator<Item = A::Event>) {
    let Ok(mut aggregate) = serde_json::from_str::<A>(state) else { return };
    is_kept(&aggregate);
    for event in events {
        aggregate.apply(event);
    }
    is_kept(&aggregate);
}

fn is_kept<A: Aggregate>(aggregate: &A) {
    let written = serde_json::to_string(aggregate).unwrap();
    assert_eq!(serde_json::to_string(&serde_json::from_str::<A>(&written).unwrap()).unwrap(), written);
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
