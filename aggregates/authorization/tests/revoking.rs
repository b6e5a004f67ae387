//! RFC 7009, RFC 9700 §4.14.2: reuse and revocation, each once.

use super::*;

fn report(reused: Reused) -> AuthorizationCommand {
    AuthorizationCommand::ReportReuse { reused, at: at(110) }
}

fn revoke_token(token_id: &str) -> AuthorizationCommand {
    let token_id = token_id.to_owned();
    AuthorizationCommand::RevokeAccessToken { token_id, reason: RevocationReason::Client, at: at(110) }
}

#[test]
fn a_replayed_code_revokes_the_authorization() {
    given::<Authorization>(redeemed()).when(report(Reused::Code)).then_expect_events(vec![
        AuthorizationEvent::ReuseDetected { reused: Reused::Code, at: at(110) },
        revoked(RevocationReason::CodeReplayed),
    ]);
}

#[test]
fn a_reused_refresh_token_revokes_the_authorization() {
    let reused = Reused::RefreshToken { generation: 1 };
    given::<Authorization>(refreshed()).when(report(reused)).then_expect_events(vec![
        AuthorizationEvent::ReuseDetected { reused, at: at(110) },
        revoked(RevocationReason::RefreshTokenReused),
    ]);
}

#[test]
fn reuse_is_reported_once() {
    let events = after(refreshed(), revoked(RevocationReason::RefreshTokenReused));
    for reused in [Reused::Code, Reused::RefreshToken { generation: 1 }] {
        assert_eq!(decide(events.clone(), report(reused)), Ok(vec![]));
    }
}

#[test]
fn a_report_that_is_not_true_changes_nothing() {
    assert_eq!(decide(vec![granted()], report(Reused::Code)), Ok(vec![]));
    assert_eq!(decide(vec![granted()], report(Reused::RefreshToken { generation: 1 })), Ok(vec![]));
    assert_eq!(decide(refreshed(), report(Reused::RefreshToken { generation: 2 })), Ok(vec![]));
}

#[test]
fn revoking_an_access_token_leaves_the_refresh_token() {
    let events = decide(redeemed(), revoke_token("access-1")).unwrap();
    let token_id = "access-1".to_owned();
    let reason = RevocationReason::Client;
    assert_eq!(events, [AuthorizationEvent::TokenRevoked { token_id, reason, at: at(110) }]);
    let all = after(redeemed(), events[0].clone());
    assert!(!state::<Authorization>(all.clone()).is_access_token_alive(at(111)));
    let refreshed = decide(all.clone(), refresh_use(1, 120)).unwrap();
    assert!(state::<Authorization>(after(all, refreshed[0].clone())).is_access_token_alive(at(121)));
}

#[test]
fn an_access_token_that_is_dead_or_foreign_is_not_revoked_again() {
    assert_eq!(decide(refreshed(), revoke_token("access-1")), Ok(vec![]));
    assert_eq!(decide(redeemed(), revoke_token("foreign")), Ok(vec![]));
    assert_eq!(decide(vec![granted()], revoke_token("access-1")), Ok(vec![]));
    let token_id = "access-1".to_owned();
    let reason = RevocationReason::Client;
    let once = after(redeemed(), AuthorizationEvent::TokenRevoked { token_id, reason, at: at(109) });
    assert_eq!(decide(once, revoke_token("access-1")), Ok(vec![]));
    let all = after(redeemed(), revoked(reason));
    assert_eq!(decide(all, revoke_token("access-1")), Ok(vec![]));
}

#[test]
fn revoking_an_authorization_kills_everything_once() {
    let reason = RevocationReason::ResourceOwner;
    let revoke = || AuthorizationCommand::RevokeAuthorization { reason, at: at(110) };
    for events in [vec![granted()], redeemed(), refreshed()] {
        assert_eq!(decide(events.clone(), revoke()), Ok(vec![revoked(reason)]));
        let dead = after(events, revoked(reason));
        assert_eq!(decide(dead.clone(), revoke()), Ok(vec![]));
        let state: Authorization = state(dead);
        assert!(state.is_revoked() && !state.is_access_token_alive(at(111)));
        assert_eq!(state.revocation(), Some(reason));
    }
}

#[test]
fn an_access_token_is_alive_before_its_end_and_dead_from_then_on() {
    let state: Authorization = state(redeemed());
    assert!(state.is_access_token_alive(at(35_999)));
    assert!(!state.is_access_token_alive(at(36_000)));
}
