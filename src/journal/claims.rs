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

/// What an event does to the verifiers of passwords and client secrets, which are rows of a table of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verifiers<'a> {
    /// The one it refers to from then on, which is written with it.
    pub kept: Option<&'a SecretRef>,
    /// The one it makes useless, which is deleted with it.
    pub retired: Option<&'a str>,
}

/// The verifiers of an event.
#[must_use]
pub fn verifiers(event: &AnyEvent) -> Verifiers<'_> {
    match event {
        AnyEvent::Application(ApplicationEvent::ApplicationRegistered { secret, .. }) => {
            Verifiers { kept: secret.as_ref(), retired: None }
        }
        AnyEvent::Application(ApplicationEvent::SecretRotated { secret, retired, .. }) => {
            Verifiers { kept: Some(secret), retired: retired.as_deref() }
        }
        AnyEvent::Application(ApplicationEvent::ApplicationDeleted { retired, .. }) => {
            Verifiers { kept: None, retired: retired.as_deref() }
        }
        AnyEvent::User(UserEvent::UserRegistered { password, .. }) => {
            Verifiers { kept: password.as_ref(), retired: None }
        }
        AnyEvent::User(UserEvent::PasswordChanged { password, retired, .. }) => {
            Verifiers { kept: Some(password), retired: retired.as_deref() }
        }
        AnyEvent::Application(
            ApplicationEvent::ApplicationUpdated { .. }
            | ApplicationEvent::ApplicationDisabled { .. }
            | ApplicationEvent::ApplicationEnabled { .. },
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
        | AnyEvent::Installation(_) => Verifiers::default(),
    }
}
