//! RFC 6749 §4.1.3, RFC 7636 §4.6: each check alone, and the replay.

use super::*;

#[test]
fn a_code_is_redeemed_for_a_first_pair() {
    given::<Authorization>(vec![granted()])
        .when(code_use().into())
        .then_expect_events(redeemed().split_off(1));
}

#[test]
fn without_refresh_terms_there_is_no_refresh_token() {
    let issued = token_of(vec![granted()], CodeUse { refresh: None, ..code_use() });
    assert_eq!(issued.refresh, None);
}

#[test]
fn a_refresh_token_never_outlives_its_family() {
    let issued = token_of(vec![granted()], CodeUse { refresh: Some(terms(900, 300)), ..code_use() });
    assert_eq!(issued.refresh.unwrap().terms, terms(300, 300));
}

#[test]
fn another_client_cannot_redeem() {
    let other = CodeUse { client_id: "other".to_owned(), ..code_use() };
    assert_eq!(refusal(vec![granted()], other), AuthorizationError::WrongClient);
}

#[test]
fn a_redirect_uri_that_was_sent_must_be_repeated() {
    let silent = CodeUse { redirect_uri: None, ..code_use() };
    assert_eq!(refusal(vec![granted()], silent), AuthorizationError::RedirectUriMissing);
}

#[test]
fn a_redirect_uri_that_was_not_sent_may_be_left_out() {
    let not_sent =
        || vec![granted_with(AuthorizationRequest { redirect_uri_sent: false, ..request() }, None)];
    let silent = CodeUse { redirect_uri: None, verifier: None, ..code_use() };
    assert!(decide(not_sent(), silent).is_ok());
    assert!(decide(not_sent(), CodeUse { verifier: None, ..code_use() }).is_ok());
    let other =
        CodeUse { redirect_uri: Some("https://app.example/".to_owned()), verifier: None, ..code_use() };
    assert_eq!(refusal(not_sent(), other), AuthorizationError::RedirectUriMismatch);
}

#[test]
fn another_redirect_uri_is_a_mismatch() {
    let other = CodeUse { redirect_uri: Some(format!("{CALLBACK}/")), ..code_use() };
    assert_eq!(refusal(vec![granted()], other), AuthorizationError::RedirectUriMismatch);
}

#[test]
fn a_verifier_is_needed_if_and_only_if_there_was_a_challenge() {
    let plain = || vec![granted_with(request(), None)];
    let missing = CodeUse { verifier: None, ..code_use() };
    assert_eq!(refusal(vec![granted()], missing), AuthorizationError::VerifierMissing);
    let wrong = CodeUse { verifier: Some(challenge("w")), ..code_use() };
    assert_eq!(refusal(vec![granted()], wrong), AuthorizationError::VerifierWrong);
    assert_eq!(refusal(plain(), code_use()), AuthorizationError::VerifierUnexpected);
    assert!(decide(plain(), CodeUse { verifier: None, ..code_use() }).is_ok());
}

#[test]
fn a_code_is_alive_before_its_end_and_dead_from_then_on() {
    for (seconds, expected) in
        [(59, None), (60, Some(AuthorizationError::CodeExpired)), (61, Some(AuthorizationError::CodeExpired))]
    {
        let answer = decide(vec![granted()], CodeUse { at: at(seconds), ..code_use() });
        assert_eq!(answer.err(), expected, "at {seconds}");
    }
}

#[test]
fn a_code_of_a_revoked_authorization_is_dead() {
    let events = vec![granted(), revoked(RevocationReason::ResourceOwner)];
    assert_eq!(refusal(events, code_use()), AuthorizationError::Revoked);
}

#[test]
fn a_replay_is_one_however_late_it_comes() {
    assert_eq!(refusal(redeemed(), code_use()), AuthorizationError::AlreadyRedeemed);
    let late = CodeUse { at: at(CODE_ENDS + 1), ..code_use() };
    assert_eq!(refusal(redeemed(), late), AuthorizationError::AlreadyRedeemed);
}

#[test]
fn a_replay_with_a_wrong_proof_is_a_wrong_proof() {
    let wrong = CodeUse { verifier: Some(challenge("w")), ..code_use() };
    assert_eq!(refusal(redeemed(), wrong), AuthorizationError::VerifierWrong);
    let other = CodeUse { client_id: "other".to_owned(), ..code_use() };
    assert_eq!(refusal(redeemed(), other), AuthorizationError::WrongClient);
}

/// `adv_13`: of client, redirect URI, verifier and time each right or wrong, only all right will do.
#[test]
fn each_check_stands_alone() {
    for case in 0..16_u8 {
        let wrong = |bit: u8| case & (1 << bit) != 0;
        let mut code_use = code_use();
        if wrong(0) {
            code_use.client_id = "other".to_owned();
        }
        if wrong(1) {
            code_use.redirect_uri = Some("https://other.example/cb".to_owned());
        }
        if wrong(2) {
            code_use.verifier = Some(challenge("w"));
        }
        if wrong(3) {
            code_use.at = at(CODE_ENDS);
        }
        assert_eq!(decide(vec![granted()], code_use).is_ok(), case == 0, "case {case:04b}");
    }
}

#[test]
fn the_token_request_may_only_narrow_the_resources() {
    let bound = || {
        let resource = resources(&["https://a.example", "https://b.example/"]);
        vec![granted_with(AuthorizationRequest { resource, ..request() }, None)]
    };
    let asking = |uris: &[&str]| CodeUse { verifier: None, resource: resources(uris), ..code_use() };
    assert_eq!(
        token_of(bound(), asking(&[])).resource,
        resources(&["https://a.example", "https://b.example/"])
    );
    assert_eq!(
        token_of(bound(), asking(&["https://A.example/"])).resource,
        resources(&["https://A.example/"])
    );
    let wider = asking(&["https://a.example", "https://c.example"]);
    assert_eq!(refusal(bound(), wider), AuthorizationError::InvalidTarget);
    let unbound = vec![granted_with(request(), None)];
    assert_eq!(token_of(unbound, asking(&["https://c.example"])).resource, resources(&["https://c.example"]));
}
