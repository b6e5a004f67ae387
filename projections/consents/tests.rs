//! Given these events, need the person be asked again?

use super::*;
use crate::given::{Given, at, scope};

const ID: &str = "alice:https://client.example/id";
const CLIENT: &str = "https://client.example/id";

fn remembered(names: &str, seconds: i64) -> ConsentEvent {
    ConsentEvent::ConsentRemembered {
        subject: "alice".to_owned(),
        client_id: CLIENT.to_owned(),
        scope: scope(names),
        at: at(seconds),
    }
}

fn forgotten() -> ConsentEvent {
    ConsentEvent::ConsentForgotten { at: at(9) }
}

async fn found(given: &Given) -> Option<Consent> {
    find_consent(given, "alice", CLIENT).await.unwrap()
}

#[test]
fn the_stream_of_a_pair_is_its_own() {
    assert_eq!(consent_id("alice", CLIENT), ID);
    assert_eq!(consent_parties(ID), Some(("alice", CLIENT)));
    assert_eq!(consent_parties("alice"), None);
}

#[tokio::test]
async fn remembered_and_added_to() {
    let given = Given::nothing().then(ID, remembered("read", 0));
    let expected = Consent {
        consent_id: ID.to_owned(),
        subject: "alice".to_owned(),
        client_id: CLIENT.to_owned(),
        scope: scope("read"),
        remembered_at: at(0),
    };
    assert_eq!(found(&given).await, Some(expected));
    let consent = found(&given.then(ID, remembered("read write", 5))).await.unwrap();
    assert!(consent.covers(&scope("write read")) && !consent.covers(&scope("admin")));
    assert_eq!(consent.remembered_at, at(5));
}

#[tokio::test]
async fn forgotten_and_given_again() {
    let given = Given::nothing().then(ID, remembered("read", 0)).then(ID, forgotten());
    assert_eq!(found(&given).await, None);
    let given = given.then(ID, remembered("write", 10));
    assert_eq!(found(&given).await.map(|consent| consent.scope), Some(scope("write")));
}

#[tokio::test]
async fn nobody_else_is_meant() {
    let given = Given::nothing().then(ID, remembered("read", 0));
    assert_eq!(find_consent(&given, "bob", CLIENT).await.unwrap(), None);
    assert_eq!(find_consent(&given, "alice", "other").await.unwrap(), None);
}
