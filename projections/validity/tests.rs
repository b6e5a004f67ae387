//! What ends what: one change of one row, and everything that hangs on it is dead.

use aggregates::AnyEvent;
use aggregates::application::ApplicationEvent;
use aggregates::user::UserEvent;

use super::*;
use crate::given::{
    Given, application, at, client_token, client_token_at, granted, horizon, password_changed, revoked,
    session, session_ended, token_issued, user,
};

fn given() -> Given {
    Given::nothing()
        .then("client", application("client", None, 0))
        .then("alice", user("alice"))
        .then("grant", granted("grant", "client", "alice", 0))
        .then("grant", token_issued("token-1", 0, 100, None))
        .then("token-2", client_token("client", "token-2", 100))
        .then("session-1", session("session-1", "alice", 0))
        .then("session-2", session("session-2", "alice", 20))
}

/// Which of the two tokens and two sessions may be used.
async fn live(given: &Given, now: DateTime<Utc>) -> [bool; 4] {
    [
        find_live_token(given, "token-1", now).await.unwrap().is_some(),
        find_live_token(given, "token-2", now).await.unwrap().is_some(),
        find_live_session(given, "session-1", now).await.unwrap().is_some(),
        find_live_session(given, "session-2", now).await.unwrap().is_some(),
    ]
}

async fn after(stream: &str, event: impl Into<AnyEvent>) -> [bool; 4] {
    live(&given().then(stream, event), at(50)).await
}

#[tokio::test]
async fn everything_is_live_until_it_expires() {
    assert_eq!(live(&given(), at(50)).await, [true, true, true, true]);
    assert_eq!(live(&given(), at(100)).await, [false, false, false, true]);
}

#[tokio::test]
async fn a_live_token_comes_with_whom_it_concerns() {
    let token = find_live_token(&given(), "token-1", at(50)).await.unwrap().unwrap();
    assert_eq!(token.application.client_id, "client");
    assert_eq!(token.user.map(|user| user.subject).as_deref(), Some("alice"));
    let own = find_live_token(&given(), "token-2", at(50)).await.unwrap().unwrap();
    assert_eq!(own.user, None);
    let (session, user) = find_live_session(&given(), "session-1", at(50)).await.unwrap().unwrap();
    assert_eq!(session.subject, user.subject);
}

#[tokio::test]
async fn an_application_ends_its_tokens() {
    let disabled = ApplicationEvent::ApplicationDisabled { at: at(30) };
    assert_eq!(after("client", disabled.clone()).await, [false, false, true, true]);
    let again =
        given().then("client", disabled).then("client", ApplicationEvent::ApplicationEnabled { at: at(31) });
    assert_eq!(live(&again, at(50)).await, [false, false, true, true], "what died with it stays dead");
    let since = again.then("token-3", client_token_at("client", "token-3", 32, 100));
    assert!(find_live_token(&since, "token-3", at(50)).await.unwrap().is_some());
    let deleted = ApplicationEvent::ApplicationDeleted { retired: None, at: at(30) };
    assert_eq!(after("client", deleted).await, [false, false, true, true]);
}

#[tokio::test]
async fn a_revoked_authorization_ends_its_tokens() {
    assert_eq!(after("grant", revoked(30)).await, [false, true, true, true]);
}

#[tokio::test]
async fn a_locked_user_ends_what_is_theirs() {
    let locked = UserEvent::UserLocked { at: at(30) };
    assert_eq!(after("alice", locked).await, [false, true, false, false]);
    let again = given()
        .then("alice", UserEvent::UserLocked { at: at(30) })
        .then("alice", UserEvent::UserUnlocked { at: at(31) });
    assert_eq!(live(&again, at(50)).await, [false, true, false, false], "what the lock ended stays dead");
    let since = again
        .then("new grant", granted("new grant", "client", "alice", 32))
        .then("new grant", token_issued("token-3", 33, 100, None))
        .then("session-3", session("session-3", "alice", 32));
    assert!(find_live_token(&since, "token-3", at(50)).await.unwrap().is_some());
    assert!(find_live_session(&since, "session-3", at(50)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_change_of_password_ends_older_sessions_but_its_own() {
    assert_eq!(after("alice", password_changed(None, 30)).await, [true, true, false, false]);
    assert_eq!(after("alice", password_changed(Some("session-1"), 30)).await, [true, true, true, false]);
    assert_eq!(after("alice", password_changed(None, 19)).await, [true, true, false, true]);
    let at_once = after("alice", password_changed(None, 20)).await;
    assert_eq!(at_once, [true, true, false, false], "the same millisecond is no proof of the new password");
}

#[tokio::test]
async fn a_login_with_the_old_password_that_began_after_the_change_is_dead() {
    let late = aggregates::session::SessionEvent::SessionStarted {
        session_id: "session-3".to_owned(),
        subject: "alice".to_owned(),
        methods: Vec::new(),
        auth_time: at(29),
        expires_at: at(1_000),
        idle_expires_at: at(1_000),
        at: at(31),
    };
    let given = given().then("alice", password_changed(None, 30)).then("session-3", late);
    assert_eq!(find_live_session(&given, "session-3", at(50)).await.unwrap(), None);
}

#[tokio::test]
async fn an_ended_session_is_dead() {
    assert_eq!(after("session-1", session_ended(30)).await, [true, true, false, true]);
}

#[tokio::test]
async fn what_is_missing_is_dead() {
    let given = Given::nothing()
        .then("grant", granted("grant", "client", "alice", 0))
        .then("grant", token_issued("token-1", 0, 100, None))
        .then("session-1", session("session-1", "alice", 0));
    assert_eq!(live(&given, at(50)).await, [false; 4]);
}

#[tokio::test]
async fn an_authorization_never_leaves_before_its_tokens() {
    for now in [60, 61, 99, 100] {
        assert!(
            find_authorization(&given().then("installation", horizon(now)), "grant").await.unwrap().is_some()
        );
    }
}

/// The node that shut out had a clock that is ahead of the one that gives afterwards.
#[tokio::test]
async fn what_is_given_after_a_lock_lives_by_whichever_clock() {
    let shut_out = given()
        .then("client", ApplicationEvent::ApplicationDisabled { at: at(30) })
        .then("client", ApplicationEvent::ApplicationEnabled { at: at(32) });
    let from = find_application(&shut_out, "client").await.unwrap().unwrap().grants_valid_from;
    let given_at = given_at(at(29), &[from, None]);
    assert_eq!(given_at, at(32) + TimeDelta::milliseconds(1));
    let AnyEvent::ClientToken(ClientTokenEvent::TokenIssued {
        client_id,
        token,
        grant_type,
        scope,
        resource,
        ..
    }) = client_token("client", "token-3", 100)
    else {
        unreachable!("the helper makes one")
    };
    let issued =
        ClientTokenEvent::TokenIssued { client_id, token, grant_type, scope, resource, at: given_at };
    let after = shut_out.then("token-3", issued);
    assert!(find_live_token(&after, "token-3", at(33)).await.unwrap().is_some());
    assert!(
        find_live_token(&after, "token-2", at(33)).await.unwrap().is_none(),
        "what was before stays dead"
    );
}

#[test]
fn a_lock_by_a_clock_that_was_wrong_does_not_date_what_is_given() {
    assert_eq!(given_at(at(40), &[Some(at(50))]), at(40));
    assert_eq!(given_at(at(40), &[Some(at(30)), None]), at(40));
    assert_eq!(given_at(at(40), &[]), at(40));
}
