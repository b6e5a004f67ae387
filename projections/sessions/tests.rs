//! Given these events, what does the server know of a session?

use chrono::TimeDelta;

use super::*;
use crate::given::{Given, at, session, session_ended};

fn given() -> Given {
    Given::nothing().then("session-1", session("session-1", "alice", 0))
}

async fn found(given: &Given) -> Session {
    find_session(given, "session-1").await.unwrap().unwrap()
}

#[tokio::test]
async fn started() {
    let expected = Session {
        session_id: "session-1".to_owned(),
        subject: "alice".to_owned(),
        methods: vec!["pwd".to_owned()],
        auth_time: at(0),
        started_at: at(0),
        idle_expires_at: at(100),
        ended_at: None,
        expires_at: at(1_000),
    };
    assert_eq!(found(&given()).await, expected);
    assert_eq!(find_session(&given(), "other").await.unwrap(), None);
}

#[tokio::test]
async fn it_stands_until_it_was_idle_for_too_long() {
    let session = found(&given()).await;
    assert!(session.stands(at(100) - TimeDelta::milliseconds(1)));
    assert!(!session.stands(at(100)));
    let renewed = SessionEvent::SessionRenewed { idle_expires_at: at(1_000), at: at(90) };
    let session = found(&given().then("session-1", renewed)).await;
    assert!(session.stands(at(999)) && !session.stands(at(1_000)));
}

#[tokio::test]
async fn it_ends() {
    let session = found(&given().then("session-1", session_ended(5))).await;
    assert_eq!(session.ended_at, Some(at(5)));
    assert!(!session.stands(at(6)));
}

#[tokio::test]
async fn only_standing_sessions_of_the_user_are_listed() {
    let given = given()
        .then("session-2", session("session-2", "alice", 10))
        .then("session-3", session("session-3", "alice", 20))
        .then("session-4", session("session-4", "bob", 30))
        .then("session-3", session_ended(40));
    let listed = async |now| -> Vec<String> {
        let sessions = list_sessions(&given, "alice", now).await.unwrap();
        sessions.into_iter().map(|session| session.session_id).collect()
    };
    assert_eq!(listed(at(50)).await, ["session-2", "session-1"]);
    assert_eq!(listed(at(100)).await, ["session-2"]);
    assert!(listed(at(110)).await.is_empty());
}
