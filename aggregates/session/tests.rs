//! Given these events, when this is asked, then that happens.

use super::*;
use crate::given::{at, given, state};

fn start(idle_expires: i64) -> SessionCommand {
    SessionCommand::StartSession {
        session_id: "session".to_owned(),
        subject: "subject".to_owned(),
        methods: vec!["pwd".to_owned()],
        auth_time: at(0),
        expires_at: at(1000),
        idle_expires_at: at(idle_expires),
        at: at(0),
    }
}

fn started() -> SessionEvent {
    SessionEvent::SessionStarted {
        session_id: "session".to_owned(),
        subject: "subject".to_owned(),
        methods: vec!["pwd".to_owned()],
        auth_time: at(0),
        expires_at: at(1000),
        idle_expires_at: at(100),
        at: at(0),
    }
}

fn renew(seconds: i64, idle_expires: i64) -> SessionCommand {
    SessionCommand::RenewSession { idle_expires_at: at(idle_expires), at: at(seconds) }
}

fn renewed(seconds: i64, idle_expires: i64) -> SessionEvent {
    SessionEvent::SessionRenewed { idle_expires_at: at(idle_expires), at: at(seconds) }
}

fn end() -> SessionCommand {
    SessionCommand::EndSession { reason: EndReason::LoggedOut, at: at(10) }
}

fn ended() -> SessionEvent {
    SessionEvent::SessionEnded { reason: EndReason::LoggedOut, at: at(10) }
}

fn decide(events: Vec<SessionEvent>, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
    given::<Session>(events).when(command).inspect_result()
}

#[test]
fn a_session_starts_once() {
    assert_eq!(decide(vec![], start(100)), Ok(vec![started()]));
    assert_eq!(decide(vec![started()], start(100)), Err(SessionError::AlreadyStarted));
    assert_eq!(decide(vec![started(), ended()], start(100)), Err(SessionError::AlreadyStarted));
}

#[test]
fn a_session_is_never_idle_beyond_its_end() {
    let events = decide(vec![], start(5000)).unwrap();
    assert!(!state::<Session>(events).is_alive(at(1000)));
    assert_eq!(decide(vec![started()], renew(50, 5000)), Ok(vec![renewed(50, 1000)]));
}

#[test]
fn use_keeps_a_session_alive() {
    assert_eq!(decide(vec![started()], renew(50, 150)), Ok(vec![renewed(50, 150)]));
    assert!(state::<Session>(vec![started(), renewed(50, 150)]).is_alive(at(149)));
}

#[test]
fn a_renewal_that_gains_nothing_is_not_written() {
    for idle_expires in [50, 100] {
        assert_eq!(decide(vec![started()], renew(10, idle_expires)), Ok(vec![]));
    }
}

#[test]
fn a_session_that_has_ended_or_expired_is_not_renewed() {
    assert_eq!(decide(vec![], renew(10, 150)), Err(SessionError::Unknown));
    assert_eq!(decide(vec![started(), ended()], renew(20, 150)), Err(SessionError::Ended));
    assert!(decide(vec![started()], renew(99, 150)).is_ok());
    assert_eq!(decide(vec![started()], renew(100, 150)), Err(SessionError::Expired));
    let long = vec![started(), renewed(50, 2000)];
    assert_eq!(decide(long, renew(1000, 3000)), Err(SessionError::Expired));
}

#[test]
fn a_session_ends_once() {
    assert_eq!(decide(vec![], end()), Err(SessionError::Unknown));
    assert_eq!(decide(vec![started()], end()), Ok(vec![ended()]));
    assert_eq!(decide(vec![started(), ended()], end()), Ok(vec![]));
}

#[test]
fn a_session_is_alive_before_its_end_and_dead_from_then_on() {
    let session: Session = state(vec![started()]);
    assert!(session.is_alive(at(99)) && !session.is_alive(at(100)) && !session.is_alive(at(101)));
    assert!(!state::<Session>(vec![started(), ended()]).is_alive(at(11)));
    assert!(!Session::default().is_alive(at(0)));
}

#[test]
fn the_state_tells_who_logged_in_and_how() {
    let session: Session = state(vec![started(), ended()]);
    assert_eq!((session.session_id(), session.subject()), (Some("session"), Some("subject")));
    assert_eq!((session.methods(), session.auth_time()), (["pwd".to_owned()].as_slice(), Some(at(0))));
    assert_eq!(session.end_reason(), Some(EndReason::LoggedOut));
    let none: Session = state(vec![renewed(1, 2)]);
    assert!(none.session_id().is_none() && none.subject().is_none() && none.auth_time().is_none());
    assert!(none.methods().is_empty());
}
