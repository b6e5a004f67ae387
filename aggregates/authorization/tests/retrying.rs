//! The retry window: a lost answer may be given again, nothing else.

use super::*;

fn retry(seconds: i64) -> RefreshTokenUse {
    RefreshTokenUse { retry_window: 30, ..refresh_use(1, seconds) }
}

#[test]
fn within_the_window_the_former_token_changes_nothing() {
    for seconds in [100, 115, 130] {
        assert_eq!(decide(refreshed(), retry(seconds)), Ok(vec![]), "at {seconds}");
    }
}

#[test]
fn after_the_window_it_is_reuse() {
    assert_eq!(refusal(refreshed(), retry(131)), AuthorizationError::RefreshTokenReused);
}

#[test]
fn without_a_window_it_is_reuse_at_once() {
    assert_eq!(refusal(refreshed(), refresh_use(1, 100)), AuthorizationError::RefreshTokenReused);
}

#[test]
fn no_window_is_longer_than_a_minute() {
    let generous = |seconds| RefreshTokenUse { retry_window: 3600, ..refresh_use(1, seconds) };
    assert_eq!(decide(refreshed(), generous(160)), Ok(vec![]));
    assert_eq!(refusal(refreshed(), generous(161)), AuthorizationError::RefreshTokenReused);
}

#[test]
fn the_use_of_the_successor_closes_the_window() {
    let third = issued("access-3", GrantType::RefreshToken, Some((3, terms(IDLE_ENDS, FAMILY_ENDS))));
    let replaced_token_id = "access-2".to_owned();
    let events = after(
        refreshed(),
        AuthorizationEvent::TokenRefreshed { issued: third, replaced_token_id, at: at(105) },
    );
    assert_eq!(refusal(events.clone(), retry(106)), AuthorizationError::RefreshTokenReused);
    let former = RefreshTokenUse { retry_window: 30, ..refresh_use(2, 106) };
    assert_eq!(decide(events, former), Ok(vec![]));
}

#[test]
fn a_dead_access_token_is_not_given_again() {
    let reason = RevocationReason::Client;
    let token_id = "access-2".to_owned();
    let events = after(refreshed(), AuthorizationEvent::TokenRevoked { token_id, reason, at: at(101) });
    assert_eq!(refusal(events, retry(102)), AuthorizationError::RefreshTokenReused);
    let mut short = refreshed();
    let expired = IssuedToken {
        token: token("access-2", 110),
        ..issued("", GrantType::RefreshToken, Some((2, terms(IDLE_ENDS, FAMILY_ENDS))))
    };
    short[3] =
        AuthorizationEvent::TokenRefreshed { issued: expired, replaced_token_id: String::new(), at: at(100) };
    assert_eq!(decide(short.clone(), retry(109)), Ok(vec![]));
    assert_eq!(refusal(short, retry(110)), AuthorizationError::RefreshTokenReused);
}

#[test]
fn a_retry_must_be_valid_otherwise() {
    let other = RefreshTokenUse { client_id: "other".to_owned(), ..retry(101) };
    assert_eq!(refusal(refreshed(), other), AuthorizationError::WrongClient);
    let wide = RefreshTokenUse { scope: Some(scope("admin")), ..retry(101) };
    assert_eq!(refusal(refreshed(), wide), AuthorizationError::ScopeExceeded);
}
