//! Given these events, when this is asked, then that happens.

use super::*;
use crate::given::{at, given, resources, scope, state, token};

fn issue() -> ClientTokenCommand {
    ClientTokenCommand::IssueToken {
        client_id: "client".to_owned(),
        token: token("token", 100),
        scope: scope("read"),
        resource: resources(&["https://api.example"]),
        at: at(0),
    }
}

fn issued() -> ClientTokenEvent {
    ClientTokenEvent::TokenIssued {
        client_id: "client".to_owned(),
        token: token("token", 100),
        grant_type: GrantType::ClientCredentials,
        scope: scope("read"),
        resource: resources(&["https://api.example"]),
        at: at(0),
    }
}

fn revoke() -> ClientTokenCommand {
    ClientTokenCommand::RevokeToken { reason: RevocationReason::Client, at: at(1) }
}

fn revoked() -> ClientTokenEvent {
    ClientTokenEvent::TokenRevoked { reason: RevocationReason::Client, at: at(1) }
}

#[test]
fn a_token_is_issued_once() {
    given::<ClientToken>(vec![]).when(issue()).then_expect_events(vec![issued()]);
    given::<ClientToken>(vec![issued()]).when(issue()).then_expect_error(ClientTokenError::AlreadyIssued);
}

#[test]
fn a_token_is_revoked_once() {
    given::<ClientToken>(vec![]).when(revoke()).then_expect_error(ClientTokenError::Unknown);
    given::<ClientToken>(vec![issued()]).when(revoke()).then_expect_events(vec![revoked()]);
    given::<ClientToken>(vec![issued(), revoked()]).when(revoke()).then_expect_events(vec![]);
}

#[test]
fn a_token_is_alive_until_it_expires_or_is_revoked() {
    let token: ClientToken = state(vec![issued()]);
    assert!(token.is_alive(at(99)) && !token.is_alive(at(100)));
    assert_eq!(token.client_id(), Some("client"));
    assert!(!state::<ClientToken>(vec![issued(), revoked()]).is_alive(at(2)));
    assert!(!ClientToken::default().is_alive(at(0)) && ClientToken::default().client_id().is_none());
}
