//! A person who can log in, known by a subject that never changes (OIDC Core §2 `sub`).

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::{Role, UserCommand};
pub use error::UserError;
pub use event::UserEvent;

use crate::stored::{Decide, aggregate};
use crate::values::SecretRef;

/// State of a user stream. Personal data is not needed to decide, so it is not kept here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct User {
    subject: Option<String>,
    password: Option<SecretRef>,
    roles: BTreeSet<Role>,
    locked: bool,
    latest: DateTime<Utc>,
}

aggregate!(User, "user", UserCommand, UserEvent, UserError);

impl Decide for User {
    fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
        match command {
            UserCommand::RegisterUser {
                subject,
                username,
                username_key,
                email,
                email_key,
                password,
                roles,
                at,
            } => {
                let roles = each_once(&roles);
                self.register(UserEvent::UserRegistered {
                    subject,
                    username,
                    username_key,
                    email,
                    email_key,
                    password,
                    roles,
                    at,
                })
            }
            UserCommand::ChangePassword { password, keep_session, at } => {
                self.change_password(password, keep_session, at)
            }
            UserCommand::LockUser { at } => self.when(!self.locked, UserEvent::UserLocked { at }),
            UserCommand::UnlockUser { at } => self.when(self.locked, UserEvent::UserUnlocked { at }),
            UserCommand::GrantRole { role, at } => {
                self.when(!self.roles.contains(&role), UserEvent::RoleGranted { role, at })
            }
            UserCommand::RevokeRole { role, at } => {
                self.when(self.roles.contains(&role), UserEvent::RoleRevoked { role, at })
            }
        }
    }
}

impl User {
    fn register(&self, event: UserEvent) -> Result<Vec<UserEvent>, UserError> {
        if self.subject.is_some() { Err(UserError::AlreadyRegistered) } else { Ok(vec![event]) }
    }

    fn change_password(
        &self,
        password: SecretRef,
        keep_session: Option<String>,
        at: DateTime<Utc>,
    ) -> Result<Vec<UserEvent>, UserError> {
        let retired = self.password.as_ref().map(|former| former.id.clone());
        self.when(true, UserEvent::PasswordChanged { password, retired, keep_session, at })
    }

    /// The event when it changes something, for a user that exists.
    fn when(&self, changes: bool, event: UserEvent) -> Result<Vec<UserEvent>, UserError> {
        if self.subject.is_none() {
            return Err(UserError::Unknown);
        }
        Ok(if changes { vec![event] } else { Vec::new() })
    }

    fn apply_event(&mut self, event: UserEvent) {
        match event {
            UserEvent::UserRegistered {
                subject,
                username: _,
                username_key: _,
                email: _,
                email_key: _,
                password,
                roles,
                at: _,
            } => {
                self.subject = Some(subject);
                self.password = password;
                self.roles = roles.into_iter().collect();
            }
            UserEvent::PasswordChanged { password, retired: _, keep_session: _, at: _ } => {
                self.password = Some(password);
            }
            UserEvent::UserLocked { at: _ } => self.locked = true,
            UserEvent::UserUnlocked { at: _ } => self.locked = false,
            UserEvent::RoleGranted { role, at: _ } => {
                self.roles.insert(role);
            }
            UserEvent::RoleRevoked { role, at: _ } => {
                self.roles.remove(&role);
            }
        }
    }

    /// The subject, once registered.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Where the password's verifier is kept; `None` for a user who cannot log in by password.
    #[must_use]
    pub fn password(&self) -> Option<&SecretRef> {
        self.password.as_ref()
    }

    /// Whether the user has the role.
    #[must_use]
    pub fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the user is locked.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locked
    }
}

fn each_once(roles: &[Role]) -> Vec<Role> {
    roles.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}
