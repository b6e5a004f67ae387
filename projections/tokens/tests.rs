//! Given these events, what does the server know of an access token?

use aggregates::authorization::RevocationReason;
use chrono::TimeDelta;

use super::*;
use crate::given::{
    Given, application, at, client_token, granted, revoked, scope, token_issued, token_refreshed, user,
};
use crate::read::COUNTED;

async fn found(given: &Given, token_id: &str) -> Token {
    find_token(given, token_id).await.unwrap().unwrap()
}

fn given() -> Given {
    Given::nothing()
        .then("client", application("client", None, 0))
        .then("alice", user("alice"))
        .then("grant", granted("grant", "client", "alice", 0))
        .then("grant", token_issued("token-1", 5, 105, Some((1, 900))))
}

#[tokio::test]
async fn issued_by_an_authorization() {
    let expected = Token {
        token_id: "token-1".to_owned(),
        authorization_id: Some("grant".to_owned()),
        client_id: "client".to_owned(),
        subject: Some("alice".to_owned()),
        grant_type: GrantType::AuthorizationCode,
        scope: scope("read"),
        resource: Vec::new(),
        confirmation: None,
        issued_at: at(5),
        expires_at: at(105),
        revoked_at: None,
    };
    assert_eq!(found(&given(), "token-1").await, expected);
    assert!(expected.stands(at(105) - TimeDelta::milliseconds(1)) && !expected.stands(at(105)));
}

#[tokio::test]
async fn a_refresh_ends_the_former_token() {
    let given = given().then("grant", token_refreshed("token-1", "token-2", 50, (2, 900)));
    assert_eq!(found(&given, "token-1").await.revoked_at, Some(at(50)));
    assert!(found(&given, "token-2").await.stands(at(60)));
}

#[tokio::test]
async fn revoked_alone() {
    let (token_id, reason) = ("token-1".to_owned(), RevocationReason::Client);
    let event = AuthorizationEvent::TokenRevoked { token_id, reason, at: at(9) };
    assert!(!found(&given().then("grant", event), "token-1").await.stands(at(10)));
}

#[tokio::test]
async fn a_clients_own_token() {
    let given = Given::nothing().then("token-3", client_token("client", "token-3", 50));
    let token = found(&given, "token-3").await;
    assert_eq!((&token.authorization_id, &token.subject), (&None, &None));
    assert!(token.stands(at(49)));
    let event = ClientTokenEvent::TokenRevoked { reason: RevocationReason::Client, at: at(9) };
    assert_eq!(found(&given.then("token-3", event), "token-3").await.revoked_at, Some(at(9)));
}

#[tokio::test]
async fn an_unknown_token_is_none() {
    assert_eq!(find_token(&given(), "token-9").await.unwrap(), None);
}

#[tokio::test]
async fn live_tokens_are_counted() {
    let given = given()
        .then("grant", token_refreshed("token-1", "token-2", 50, (2, 900)))
        .then("grant-2", granted("grant-2", "client", "alice", 0))
        .then("grant-2", token_issued("token-4", 5, 105, None))
        .then("token-3", client_token("client", "token-3", 120))
        .then("token-5", client_token("other", "token-5", 120));
    let counts = async |given: &Given, now| {
        (
            count_live_tokens_of_client(given, "client", now).await.unwrap(),
            count_live_tokens_of_authorization(given, "grant", now).await.unwrap(),
            count_live_tokens_of_user(given, "alice", now).await.unwrap(),
        )
    };
    assert_eq!(counts(&given, at(60)).await, (3, 1, 2), "token-1 was replaced");
    assert_eq!(counts(&given, at(105)).await, (2, 1, 1), "token-4 has expired");
    assert_eq!(counts(&given, at(150)).await, (0, 0, 0));
    let given = given.then("grant", revoked(60));
    assert_eq!(counts(&given, at(60)).await, (2, 0, 1));
}

#[tokio::test]
async fn live_tokens_are_counted_so_far_and_no_further() {
    let most = usize::try_from(COUNTED).unwrap();
    let mut given = given();
    for number in 0..most + 5 {
        let id = format!("token-{number:04}");
        given = given.then(&id, client_token("client", &id, 100));
    }
    let counted = count_live_tokens_of_client(&given, "client", at(60)).await.unwrap();
    assert_eq!(counted, i64::from(COUNTED));
}
