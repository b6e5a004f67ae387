//! Given these events, what does the server know of an authorization?

use aggregates::application::ApplicationEvent;
use aggregates::authorization::Reused;
use aggregates::user::UserEvent;

use super::*;
use crate::given::{
    Given, application, at, granted, request, revoked, scope, token_issued, token_refreshed, user,
};

fn given() -> Given {
    Given::nothing().then("grant", granted("grant", "client", "alice", 0))
}

async fn found(given: &Given) -> Authorization {
    find_authorization(given, "grant").await.unwrap().unwrap()
}

#[tokio::test]
async fn granted_until_the_code_expires() {
    let expected = Authorization {
        authorization_id: "grant".to_owned(),
        client_id: "client".to_owned(),
        subject: "alice".to_owned(),
        session_id: "session-1".to_owned(),
        scope: scope("read write"),
        resource: request("client", "alice").resource,
        status: Status::Granted,
        redirect_uri: "https://app.example/cb".to_owned(),
        granted_at: at(0),
        redeemed_at: None,
        revoked_at: None,
        revocation: None,
        generation: None,
        refreshed_at: None,
        keep_until: at(60),
    };
    assert_eq!(found(&given()).await, expected);
    assert!(expected.stands(at(59)) && !expected.stands(at(60)));
    assert_eq!(find_authorization(&given(), "other").await.unwrap(), None);
}

#[tokio::test]
async fn denied() {
    let request = request("client", "alice");
    let event =
        AuthorizationEvent::AuthorizationDenied { authorization_id: "grant".to_owned(), request, at: at(3) };
    let authorization = found(&Given::nothing().then("grant", event)).await;
    assert_eq!((authorization.status, authorization.keep_until), (Status::Denied, at(3)));
    assert!(!authorization.is_granted());
}

#[tokio::test]
async fn an_access_token_without_refresh_token_keeps_it_until_it_expires() {
    let given = given()
        .then("grant", AuthorizationEvent::CodeRedeemed { at: at(5) })
        .then("grant", token_issued("token-1", 5, 3_605, None));
    let authorization = found(&given).await;
    assert_eq!((authorization.redeemed_at, authorization.generation), (Some(at(5)), None));
    assert_eq!(authorization.keep_until, at(3_605));
}

#[tokio::test]
async fn refresh_tokens_keep_it_until_their_absolute_end() {
    let given = given().then("grant", token_issued("token-1", 5, 105, Some((1, 9_000))));
    assert_eq!(found(&given).await.keep_until, at(9_000));
    let given = given.then("grant", token_refreshed("token-1", "token-2", 50, (2, 9_000)));
    let authorization = found(&given).await;
    assert_eq!((authorization.generation, authorization.refreshed_at), (Some(2), Some(at(50))));
    assert_eq!(authorization.keep_until, at(9_000));
    let outlived = given.then("grant", token_refreshed("token-2", "token-3", 8_950, (3, 9_000)));
    assert_eq!(found(&outlived).await.keep_until, at(9_050), "the access token lives longest");
}

#[tokio::test]
async fn revoked_with_its_reason() {
    let authorization = found(&given().then("grant", revoked(5))).await;
    assert_eq!((authorization.status, authorization.revoked_at), (Status::Revoked, Some(at(5))));
    assert_eq!(authorization.revocation, Some(RevocationReason::ResourceOwner));
    assert!(!authorization.stands(at(6)));
}

#[tokio::test]
async fn what_concerns_one_token_only_leaves_it_alone() {
    let reason = RevocationReason::Client;
    let given_more = given()
        .then("grant", AuthorizationEvent::TokenRevoked { token_id: "token-1".to_owned(), reason, at: at(5) })
        .then("grant", AuthorizationEvent::ReuseDetected { reused: Reused::Code, at: at(6) });
    assert_eq!(found(&given_more).await, found(&given()).await);
}

fn several() -> Given {
    Given::nothing()
        .then("client", application("client", None, 0))
        .then("other", application("other", None, 0))
        .then("alice", user("alice"))
        .then("bob", user("bob"))
        .then("a", granted("a", "client", "alice", 0))
        .then("b", granted("b", "client", "alice", 1))
        .then("c", granted("c", "other", "alice", 1))
        .then("d", granted("d", "client", "bob", 2))
        .then("e", granted("e", "client", "alice", 3))
        .then("e", revoked(4))
}

fn ids(authorizations: Vec<Authorization>) -> String {
    authorizations.into_iter().map(|one| one.authorization_id).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn standing_ones_of_a_user_page_by_page() {
    let given = several();
    let listed =
        async |now, after, limit| ids(list_authorizations(&given, "alice", now, after, limit).await.unwrap());
    assert_eq!(listed(at(5), None, 10).await, "bca");
    assert_eq!(listed(at(5), None, 2).await, "bc");
    assert_eq!(listed(at(5), Some("c"), 2).await, "a");
    assert_eq!(listed(at(5), Some("unknown"), 2).await, "bc");
    assert_eq!(listed(at(60), None, 10).await, "bc", "a's code has expired");
}

#[tokio::test]
async fn standing_ones_of_an_application_page_by_page() {
    let given = several();
    let listed = async |after, limit| {
        ids(list_authorizations_of_client(&given, "client", at(5), after, limit).await.unwrap())
    };
    assert_eq!(listed(None, 10).await, "dba");
    assert_eq!(listed(Some("d"), 1).await, "b");
}

#[tokio::test]
async fn nothing_stands_while_its_application_is_disabled() {
    let given = several().then("client", ApplicationEvent::ApplicationDisabled { at: at(1) });
    assert_eq!(count_authorizations_of_client(&given, "client", at(5)).await.unwrap(), 0);
    assert_eq!(count_authorizations_of_user(&given, "alice", at(5)).await.unwrap(), 1);
    assert_eq!(ids(list_authorizations(&given, "alice", at(5), None, 10).await.unwrap()), "c");
    let ended = list_ended_authorizations(&given, "alice", at(5), 10).await.unwrap();
    assert!(ids(ended).contains('b'));
}

#[tokio::test]
async fn those_from_before_a_lock_or_a_disabling_do_not_stand() {
    let given = several()
        .then("client", ApplicationEvent::ApplicationDisabled { at: at(1) })
        .then("client", ApplicationEvent::ApplicationEnabled { at: at(2) })
        .then("f", granted("f", "client", "alice", 3));
    let listed =
        async |given: &Given| ids(list_authorizations(given, "alice", at(5), None, 10).await.unwrap());
    assert_eq!(listed(&given).await, "fc");
    assert_eq!(count_authorizations_of_client(&given, "client", at(5)).await.unwrap(), 1);
    let locked = given.then("alice", UserEvent::UserLocked { at: at(4) });
    assert_eq!(listed(&locked).await, "", "nor while it lasts");
    let given = locked.then("alice", UserEvent::UserUnlocked { at: at(4) });
    assert_eq!(listed(&given).await, "");
    let ended = list_ended_authorizations(&given, "alice", at(5), 10).await.unwrap();
    assert_eq!(ids(ended), "efbca", "whatever ended, the latest end first");
}
