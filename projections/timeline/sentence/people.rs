//! What happened to users, their sessions and consents, in words.

use aggregates::consent::ConsentEvent;
use aggregates::login_attempts::LoginAttemptsEvent;
use aggregates::session::{EndReason, SessionEvent};
use aggregates::user::{Role, UserEvent};

use super::{SealKind, Sentence, listed, time};

pub(super) fn user(event: &UserEvent) -> Sentence {
    match event {
        UserEvent::UserRegistered { subject, password, roles, .. } => {
            Sentence::new(SealKind::Live, "User registered.")
                .with("user", subject)
                .with_optional("password", password.as_ref().map(|secret| &secret.id))
                .with_optional("roles", listed(roles.iter().copied().map(role_name)))
        }
        UserEvent::PasswordChanged { password, retired, keep_session, at: _ } => {
            let text = match keep_session {
                Some(_) => "Password changed; every other session ended.",
                None => "Password changed; every session ended.",
            };
            Sentence::new(SealKind::Live, text)
                .with("password", &password.id)
                .with_optional("former password", retired.as_ref())
                .with_optional("session kept", keep_session.as_ref())
        }
        UserEvent::UserLocked { at: _ } => Sentence::new(
            SealKind::Revoked,
            "User locked; logins are refused and sessions and tokens count for nothing until unlocked.",
        ),
        UserEvent::UserUnlocked { at: _ } => Sentence::new(
            SealKind::Live,
            "User unlocked; sessions and tokens that have not ended count again.",
        ),
        UserEvent::RoleGranted { role, at: _ } => {
            Sentence::new(SealKind::Live, "User made a superuser; they see and manage everything.")
                .with("role", role_name(*role))
        }
        UserEvent::RoleRevoked { role, at: _ } => {
            Sentence::new(SealKind::Revoked, "User is no longer a superuser; they manage what is their own.")
                .with("role", role_name(*role))
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Superuser => "superuser",
    }
}

pub(super) fn session(event: &SessionEvent) -> Sentence {
    match event {
        SessionEvent::SessionStarted {
            session_id,
            subject,
            methods,
            auth_time: _,
            expires_at,
            idle_expires_at,
            at: _,
        } => Sentence::new(SealKind::Live, "Logged in; a session began.")
            .with("session", session_id)
            .with("user", subject)
            .with_optional("by", listed(methods))
            .with("ends unless used", time(*idle_expires_at))
            .with("ends", time(*expires_at)),
        SessionEvent::SessionRenewed { idle_expires_at, at: _ } => {
            Sentence::new(SealKind::Live, "Session used again; it stays open for longer.")
                .with("ends unless used", time(*idle_expires_at))
        }
        SessionEvent::SessionEnded { reason, at: _ } => Sentence::new(SealKind::Used, ended(*reason)),
    }
}

fn ended(reason: EndReason) -> &'static str {
    match reason {
        EndReason::LoggedOut => "Logged out; the session ended.",
        EndReason::Replaced => "Session ended; a new login in the same browser took its place.",
    }
}

pub(super) fn login_attempts(event: LoginAttemptsEvent) -> Sentence {
    match event {
        LoginAttemptsEvent::LoginAttempted { count, blocked_until, at: _ } => {
            let (kind, text) = match blocked_until {
                Some(_) => (SealKind::Refused, "Login attempted; the next attempt has to wait."),
                None => (SealKind::Neutral, "Login attempted."),
            };
            Sentence::new(kind, text)
                .with("attempts in a row", count.to_string())
                .with_optional("next attempt from", blocked_until.map(time))
        }
        LoginAttemptsEvent::AttemptTakenBack { count, at: _ } => {
            Sentence::new(SealKind::Neutral, "Login succeeded; this attempt no longer counts.")
                .with("attempts in a row", count.to_string())
        }
        LoginAttemptsEvent::LoginAttemptsReset { at: _ } => {
            Sentence::new(SealKind::Neutral, "Login succeeded; earlier attempts no longer count.")
        }
    }
}

pub(super) fn consent(event: &ConsentEvent) -> Sentence {
    match event {
        ConsentEvent::ConsentRemembered { subject, client_id, scope, at: _ } => {
            Sentence::new(SealKind::Live, "Consent remembered; the user is not asked again for this scope.")
                .with("user", subject)
                .with("application", client_id)
                .with("scope", scope.to_string())
        }
        ConsentEvent::ConsentForgotten { at: _ } => {
            Sentence::new(SealKind::Revoked, "Consent forgotten; the user is asked again next time.")
        }
    }
}
