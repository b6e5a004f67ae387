//! A person answers once; nothing follows from what was not granted.

use super::*;

fn grant() -> AuthorizationCommand {
    AuthorizationCommand::GrantAuthorization {
        authorization_id: "authorization".to_owned(),
        request: request(),
        code_challenge: Some(challenge("v")),
        nonce: Some("nonce".to_owned()),
        auth_time: at(-10),
        methods: vec!["pwd".to_owned()],
        basis: ConsentBasis::Asked,
        code_expires_at: at(CODE_ENDS),
        at: at(0),
    }
}

fn deny() -> AuthorizationCommand {
    let authorization_id = "authorization".to_owned();
    AuthorizationCommand::DenyAuthorization { authorization_id, request: request(), at: at(0) }
}

#[test]
fn a_person_grants_or_denies() {
    given::<Authorization>(vec![]).when(grant()).then_expect_events(vec![granted()]);
    given::<Authorization>(vec![]).when(deny()).then_expect_events(vec![denied()]);
}

#[test]
fn a_person_answers_once() {
    for answer in [granted(), denied()] {
        for again in [grant(), deny()] {
            assert_eq!(refusal(vec![answer.clone()], again), AuthorizationError::AlreadyDecided);
        }
    }
}

#[test]
fn nothing_can_be_asked_of_what_was_never_granted() {
    let reason = RevocationReason::Client;
    for events in [vec![], vec![denied()]] {
        let commands = [
            code_use().into(),
            refresh_use(1, 10).into(),
            AuthorizationCommand::ReportReuse { reused: Reused::Code, at: at(1) },
            AuthorizationCommand::RevokeAccessToken { token_id: "access-1".to_owned(), reason, at: at(1) },
            AuthorizationCommand::RevokeAuthorization { reason, at: at(1) },
        ];
        for command in commands {
            assert_eq!(refusal(events.clone(), command), AuthorizationError::NotGranted);
        }
    }
}

#[test]
fn the_state_tells_what_an_answer_needs() {
    let state: Authorization = state(refreshed());
    assert_eq!(state.request(), Some(&request()));
    assert_eq!(state.authorization_id(), Some("authorization"));
    assert_eq!(state.nonce(), Some("nonce"));
    assert_eq!(state.auth_time(), Some(at(-10)));
    assert_eq!(state.methods(), ["pwd"]);
    assert_eq!(state.basis(), Some(ConsentBasis::Asked));
    assert_eq!(state.code_expires_at(), Some(at(CODE_ENDS)));
    assert_eq!(state.current().map(|current| current.token.id.as_str()), Some("access-2"));
    assert_eq!(state.generation(), Some(2));
    assert_eq!(state.refreshed_at(), Some(at(100)));
    assert!(state.is_redeemed() && !state.is_revoked());
    assert_eq!(state.revocation(), None);
}

#[test]
fn the_state_of_nothing_tells_nothing() {
    let state = Authorization::default();
    assert!(!state.is_redeemed());
    assert!(state.request().is_none() && state.authorization_id().is_none() && state.nonce().is_none());
    assert!(state.auth_time().is_none() && state.methods().is_empty() && state.basis().is_none());
    assert!(state.code_expires_at().is_none() && state.current().is_none() && state.generation().is_none());
    assert!(!state.is_access_token_alive(at(0)));
}

#[test]
fn a_state_survives_serialization() {
    let before: Authorization = state(refreshed());
    let text = serde_json::to_string(&before).unwrap();
    let again: Authorization = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}
