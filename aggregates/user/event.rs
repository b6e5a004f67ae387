//! What happened to a user. Logins are not here: they would make this a hot stream.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::Role;
use crate::stored::stored_events;
use crate::values::{Sealed, SecretRef};

/// Events of the user stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented at the command that leads to the event")]
pub enum UserEvent {
    #[serde(rename = "user.registered")]
    UserRegistered {
        subject: String,
        username: Sealed,
        username_key: String,
        email: Option<Sealed>,
        email_key: Option<String>,
        password: Option<SecretRef>,
        roles: Vec<Role>,
        at: DateTime<Utc>,
    },
    /// `retired` names the verifier whose row is deleted in the same transaction.
    #[serde(rename = "user.password_changed")]
    PasswordChanged {
        password: SecretRef,
        retired: Option<String>,
        keep_session: Option<String>,
        at: DateTime<Utc>,
    },
    #[serde(rename = "user.locked")]
    UserLocked { at: DateTime<Utc> },
    #[serde(rename = "user.unlocked")]
    UserUnlocked { at: DateTime<Utc> },
    #[serde(rename = "user.role_granted")]
    RoleGranted { role: Role, at: DateTime<Utc> },
    #[serde(rename = "user.role_revoked")]
    RoleRevoked { role: Role, at: DateTime<Utc> },
}

stored_events! { UserEvent:
    UserRegistered = "user.registered",
    PasswordChanged = "user.password_changed",
    UserLocked = "user.locked",
    UserUnlocked = "user.unlocked",
    RoleGranted = "user.role_granted",
    RoleRevoked = "user.role_revoked",
}
