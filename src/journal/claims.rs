//! Which names does an event claim for its stream? Uniqueness across streams is a row per name,
//! written in the transaction of the event that needs it.
//!
//! Client ids need no claim: the stream of an application is named by its client id, so the primary
//! key of the log is the claim, and a deleted id stays taken.

use aggregates::AnyEvent;
use aggregates::application::ApplicationEvent;
use aggregates::user::UserEvent;
use aggregates::values::SecretRef;

use super::engine::Claim;

/// The names an event needs; each value is a keyed hash.
#[must_use]
pub fn claims(event: &AnyEvent) -> Vec<Claim> {
    match event {
        AnyEvent::User(UserEvent::UserRegistered { username_key, email_key, .. }) => {
            let username = Claim { kind: "username", value: username_key.clone() };
            let email = email_key.clone().map(|value| Claim { kind: "email", value });
            std::iter::once(username).chain(email).collect()
        }
        AnyEvent::User(
            UserEvent::PasswordChanged { .. }
            | UserEvent::UserLocked { .. }
            | UserEvent::UserUnlocked { .. }
            | UserEvent::RoleGranted { .. }
            | UserEvent::RoleRevoked { .. },
        )
        | AnyEvent::Application(_)
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Authorization(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_)
        | AnyEvent::Installation(_) => Vec::new(),
    }
}

/// The verifier an event refers to from then on, which is written with it.
#[must_use]
pub fn kept(event: &AnyEvent) -> Option<&SecretRef> {
    match event {
        AnyEvent::Application(ApplicationEvent::SecretRotated { secret, .. }) => Some(secret),
        AnyEvent::User(UserEvent::PasswordChanged { password, .. }) => Some(password),
        AnyEvent::Application(ApplicationEvent::ApplicationRegistered { secret, .. }) => secret.as_ref(),
        AnyEvent::User(UserEvent::UserRegistered { password, .. }) => password.as_ref(),
        AnyEvent::Application(
            ApplicationEvent::ApplicationUpdated { .. }
            | ApplicationEvent::ApplicationDisabled { .. }
            | ApplicationEvent::ApplicationEnabled { .. }
            | ApplicationEvent::ApplicationDeleted { .. },
        )
        | AnyEvent::User(
            UserEvent::UserLocked { .. }
            | UserEvent::UserUnlocked { .. }
            | UserEvent::RoleGranted { .. }
            | UserEvent::RoleRevoked { .. },
        )
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Authorization(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_)
        | AnyEvent::Installation(_) => None,
    }
}

/// The verifiers an event makes useless: their rows are deleted with it.
#[must_use]
pub fn retired(event: &AnyEvent) -> Option<&str> {
    match event {
        AnyEvent::Application(
            ApplicationEvent::SecretRotated { retired, .. }
            | ApplicationEvent::ApplicationDeleted { retired, .. },
        )
        | AnyEvent::User(UserEvent::PasswordChanged { retired, .. }) => retired.as_deref(),
        AnyEvent::Application(
            ApplicationEvent::ApplicationRegistered { .. }
            | ApplicationEvent::ApplicationUpdated { .. }
            | ApplicationEvent::ApplicationDisabled { .. }
            | ApplicationEvent::ApplicationEnabled { .. },
        )
        | AnyEvent::User(
            UserEvent::UserRegistered { .. }
            | UserEvent::UserLocked { .. }
            | UserEvent::UserUnlocked { .. }
            | UserEvent::RoleGranted { .. }
            | UserEvent::RoleRevoked { .. },
        )
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Authorization(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_)
        | AnyEvent::Installation(_) => None,
    }
}
