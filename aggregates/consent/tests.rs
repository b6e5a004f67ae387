//! Given these events, when this is asked, then that happens.

use super::*;
use crate::given::{at, given, scope, state};

fn remember(names: &str) -> ConsentCommand {
    let (subject, client_id) = ("subject".to_owned(), "client".to_owned());
    ConsentCommand::RememberConsent { subject, client_id, scope: scope(names), at: at(2) }
}

fn remembered_at(seconds: i64, names: &str) -> ConsentEvent {
    let (subject, client_id) = ("subject".to_owned(), "client".to_owned());
    ConsentEvent::ConsentRemembered { subject, client_id, scope: scope(names), at: at(seconds) }
}

fn remembered(names: &str) -> ConsentEvent {
    remembered_at(0, names)
}

fn forgotten() -> ConsentEvent {
    ConsentEvent::ConsentForgotten { at: at(1) }
}

#[test]
fn what_is_allowed_adds_up() {
    given::<Consent>(vec![]).when(remember("read")).then_expect_events(vec![remembered_at(2, "read")]);
    given::<Consent>(vec![remembered("read")])
        .when(remember("write"))
        .then_expect_events(vec![remembered_at(2, "read write")]);
}

#[test]
fn what_is_covered_is_not_written_again() {
    for names in ["read", "write read", ""] {
        given::<Consent>(vec![remembered("read write")]).when(remember(names)).then_expect_events(vec![]);
    }
}

#[test]
fn consent_is_forgotten_once_and_can_be_given_again() {
    let forget = || ConsentCommand::ForgetConsent { at: at(1) };
    given::<Consent>(vec![]).when(forget()).then_expect_events(vec![]);
    given::<Consent>(vec![remembered("read")]).when(forget()).then_expect_events(vec![forgotten()]);
    given::<Consent>(vec![remembered("read"), forgotten()]).when(forget()).then_expect_events(vec![]);
    given::<Consent>(vec![remembered("read"), forgotten()])
        .when(remember("write"))
        .then_expect_events(vec![remembered_at(2, "write")]);
}

#[test]
fn the_state_tells_what_need_not_be_asked_again() {
    let consent: Consent = state(vec![remembered("read write")]);
    assert!(consent.covers(&scope("read")) && !consent.covers(&scope("read admin")));
    assert_eq!(consent.scope(), &scope("read write"));
}
