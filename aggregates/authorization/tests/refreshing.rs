//! RFC 6749 §6: rotation, expiry, narrowing.

use super::*;

#[test]
fn a_refresh_rotates_the_refresh_token_and_replaces_the_access_token() {
    let expected = IssuedToken {
        token: token("access-next", 36_100),
        ..issued("", GrantType::RefreshToken, Some((2, terms(IDLE_ENDS + 100, FAMILY_ENDS))))
    };
    given::<Authorization>(redeemed()).when(refresh_use(1, 100).into()).then_expect_events(vec![
        AuthorizationEvent::TokenRefreshed {
            issued: expected,
            replaced_token_id: "access-1".to_owned(),
            at: at(100),
        },
    ]);
}

#[test]
fn the_family_ends_when_it_was_going_to() {
    let late = RefreshTokenUse { idle_expires_at: at(FAMILY_ENDS + 9), ..refresh_use(1, 100) };
    let refresh = token_of(redeemed(), late).refresh.unwrap();
    assert_eq!(refresh.terms, terms(FAMILY_ENDS, FAMILY_ENDS));
}

#[test]
fn another_client_cannot_refresh() {
    let other = RefreshTokenUse { client_id: "other".to_owned(), ..refresh_use(1, 100) };
    assert_eq!(refusal(redeemed(), other), AuthorizationError::WrongClient);
}

#[test]
fn a_revoked_authorization_is_not_refreshed() {
    let events = after(refreshed(), revoked(RevocationReason::Client));
    for generation in 1..=2 {
        let within = RefreshTokenUse { retry_window: 60, ..refresh_use(generation, 110) };
        assert_eq!(refusal(events.clone(), within), AuthorizationError::Revoked);
    }
}

#[test]
fn without_a_refresh_token_there_is_nothing_to_refresh() {
    let bare = issued("access-1", GrantType::AuthorizationCode, None);
    let events = vec![granted(), AuthorizationEvent::TokenIssued { issued: bare, at: at(5) }];
    assert_eq!(refusal(events, refresh_use(1, 10)), AuthorizationError::NoRefreshToken);
    assert_eq!(refusal(vec![granted()], refresh_use(1, 10)), AuthorizationError::NoRefreshToken);
}

#[test]
fn a_generation_that_was_never_issued_is_unknown() {
    for generation in [0, 3, u32::MAX] {
        assert_eq!(refusal(refreshed(), refresh_use(generation, 110)), AuthorizationError::UnknownGeneration);
    }
}

#[test]
fn a_refresh_token_is_dead_from_its_idle_end_on() {
    assert!(decide(redeemed(), refresh_use(1, IDLE_ENDS - 1)).is_ok());
    for seconds in [IDLE_ENDS, IDLE_ENDS + 1] {
        assert_eq!(refusal(redeemed(), refresh_use(1, seconds)), AuthorizationError::RefreshTokenExpired);
    }
}

#[test]
fn a_family_is_dead_from_its_absolute_end_on() {
    let crooked = issued("access-1", GrantType::AuthorizationCode, Some((1, terms(900, 300))));
    let events = vec![granted(), AuthorizationEvent::TokenIssued { issued: crooked, at: at(5) }];
    assert!(decide(events.clone(), refresh_use(1, 299)).is_ok());
    assert_eq!(refusal(events, refresh_use(1, 300)), AuthorizationError::RefreshTokenExpired);
}

#[test]
fn a_narrower_scope_narrows_the_access_token_only() {
    let narrow = RefreshTokenUse { scope: Some(scope("read")), ..refresh_use(1, 100) };
    let events = decide(redeemed(), narrow).unwrap();
    let narrowed = redeemed().into_iter().chain(events).collect::<Vec<_>>();
    assert_eq!(state::<Authorization>(narrowed.clone()).current().unwrap().scope, scope("read"));
    assert_eq!(token_of(narrowed, refresh_use(2, 200)).scope, scope("read write"));
}

#[test]
fn a_wider_scope_is_refused() {
    let wide = RefreshTokenUse { scope: Some(scope("read admin")), ..refresh_use(1, 100) };
    assert_eq!(refusal(redeemed(), wide), AuthorizationError::ScopeExceeded);
}

#[test]
fn an_empty_scope_is_as_good_as_none() {
    let empty = RefreshTokenUse { scope: Some(Scope::default()), ..refresh_use(1, 100) };
    assert_eq!(token_of(redeemed(), empty).scope, scope("read write"));
}

#[test]
fn a_scope_taken_away_from_the_application_is_dropped() {
    let less = RefreshTokenUse { allowed_scope: scope("write"), ..refresh_use(1, 100) };
    assert_eq!(token_of(redeemed(), less).scope, scope("write"));
    let none = RefreshTokenUse { allowed_scope: scope("admin"), ..refresh_use(1, 100) };
    assert_eq!(refusal(redeemed(), none), AuthorizationError::NothingLeft);
}

#[test]
fn what_was_granted_without_scope_is_refreshed_without() {
    let mut events = redeemed();
    events[0] = granted_with(AuthorizationRequest { scope: Scope::default(), ..request() }, None);
    assert_eq!(token_of(events, refresh_use(1, 100)).scope, Scope::default());
}

#[test]
fn a_resource_that_was_not_granted_is_refused() {
    let mut events = redeemed();
    let resource = resources(&["https://a.example/"]);
    events[0] = granted_with(AuthorizationRequest { resource, ..request() }, None);
    let other = RefreshTokenUse { resource: resources(&["https://b.example/"]), ..refresh_use(1, 100) };
    assert_eq!(refusal(events, other), AuthorizationError::InvalidTarget);
}
