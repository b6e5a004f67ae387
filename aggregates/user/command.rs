//! What can be asked of a user.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::dated;
use crate::values::{Sealed, SecretRef};

/// What a user may do beyond managing their own applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and manages everything.
    Superuser,
}

/// Commands of the user aggregate. Personal data arrives sealed; `*_key` are HMACs of it.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named for the events they become")]
pub enum UserCommand {
    RegisterUser {
        subject: String,
        username: Sealed,
        /// Keyed hash of the normalised user name: claimed, so that it is unique.
        username_key: String,
        email: Option<Sealed>,
        /// Keyed hash of the normalised address: claimed likewise.
        email_key: Option<String>,
        password: Option<SecretRef>,
        roles: Vec<Role>,
        at: DateTime<Utc>,
    },
    /// Ends every session that began before `at`, except the one that asked.
    ChangePassword {
        password: SecretRef,
        keep_session: Option<String>,
        at: DateTime<Utc>,
    },
    LockUser {
        at: DateTime<Utc>,
    },
    UnlockUser {
        at: DateTime<Utc>,
    },
    GrantRole {
        role: Role,
        at: DateTime<Utc>,
    },
    RevokeRole {
        role: Role,
        at: DateTime<Utc>,
    },
}

dated!(UserCommand: RegisterUser, ChangePassword, LockUser, UnlockUser, GrantRole, RevokeRole);
