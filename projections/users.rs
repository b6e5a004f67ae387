//! Who is this, and may they log in? (OIDC Core §2 `sub`)
//!
//! Events: `user.*`. Table `users`: one row a user. Name and address stay sealed here; they are found
//! by keyed hashes, so that a copy of the table tells nobody who has an account.

#[cfg(test)]
mod tests;

use aggregates::AnyEvent;
use aggregates::user::{Role, UserEvent};
use aggregates::values::{Sealed, SecretRef};
use chrono::{DateTime, Utc};

use crate::projection::{Projection, Recorded};
use crate::read::{Read, ReadError, count, first_text};
use crate::row::{Cells, Residency, Row, RowOp, Table, Value, int, name, text};

/// One row a user.
pub static TABLE: Table = Table {
    name: "users",
    key: 1,
    columns: &[
        text("subject"),
        text("username"),
        text("username_key"),
        text("email"),
        text("email_key"),
        text("secret_id"),
        text("secret_kind"),
        int("superuser"),
        int("locked"),
        int("sessions_valid_from"),
        text("kept_session"),
        int("grants_valid_from"),
        int("registered_at"),
    ],
    keep_until: None,
    residency: Residency::Cached,
};

/// The read model.
pub static PROJECTION: Projection = Projection { name: "users", version: 1, tables: &[&TABLE], apply };

/// A user as the server knows them.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The identifier that never changes.
    pub subject: String,
    /// The user name, sealed.
    pub username: Sealed,
    /// Keyed hash of the user name.
    pub username_key: String,
    /// The address, sealed.
    pub email: Option<Sealed>,
    /// Keyed hash of the address.
    pub email_key: Option<String>,
    /// Where the password's verifier is kept; `None` = no login by password.
    pub password: Option<SecretRef>,
    /// Whether they see and manage everything.
    pub superuser: bool,
    /// Whether they are shut out.
    pub locked: bool,
    /// Sessions with an older authentication are dead, except `kept_session`.
    pub sessions_valid_from: Option<DateTime<Utc>>,
    /// The session in which the password was changed.
    pub kept_session: Option<String>,
    /// What they granted before is dead: a lock ends it for good, and they were let in again then.
    pub grants_valid_from: Option<DateTime<Utc>>,
    /// When they registered.
    pub registered_at: DateTime<Utc>,
}

impl User {
    /// Whether what this user granted at this instant may still be used.
    #[must_use]
    pub fn admits_grant_of(&self, granted_at: DateTime<Utc>) -> bool {
        !self.locked && self.grants_valid_from.is_none_or(|from| granted_at > from)
    }

    pub(crate) fn from_row(row: &Row) -> Result<Self, ReadError> {
        let mut cells = Cells::new(&TABLE, row);
        Ok(Self {
            subject: cells.text()?,
            username: Sealed::from_ciphertext(cells.text()?),
            username_key: cells.text()?,
            email: cells.optional_text()?.map(Sealed::from_ciphertext),
            email_key: cells.optional_text()?,
            password: cells.secret()?,
            superuser: cells.truth()?,
            locked: cells.truth()?,
            sessions_valid_from: cells.optional_time()?,
            kept_session: cells.optional_text()?,
            grants_valid_from: cells.optional_time()?,
            registered_at: cells.time()?,
        })
    }
}

/// The user with this subject, locked or not.
pub async fn find_user(read: &dyn Read, subject: &str) -> Result<Option<User>, ReadError> {
    read.find(&TABLE, subject).await?.map(|row| User::from_row(&row)).transpose()
}

/// The user whose name has this keyed hash.
pub async fn find_user_by_name_key(read: &dyn Read, key: &str) -> Result<Option<User>, ReadError> {
    find_by(read, "SELECT subject FROM users WHERE username_key = $1", key).await
}

/// The user whose address has this keyed hash.
pub async fn find_user_by_email_key(read: &dyn Read, key: &str) -> Result<Option<User>, ReadError> {
    find_by(read, "SELECT subject FROM users WHERE email_key = $1", key).await
}

/// The index names the subject, memory the rest: what is remembered is never older than the index.
async fn find_by(read: &dyn Read, sql: &str, key: &str) -> Result<Option<User>, ReadError> {
    match first_text(read, sql, &[key.into()]).await? {
        Some(subject) => find_user(read, &subject).await,
        None => Ok(None),
    }
}

/// Whether anybody can manage everything: an installation without a superuser is not set up yet.
pub async fn has_superuser(read: &dyn Read) -> Result<bool, ReadError> {
    let sql = "SELECT subject FROM users WHERE superuser = 1 LIMIT 1";
    Ok(first_text(read, sql, &[]).await?.is_some())
}

/// How many users there are, locked ones included.
pub async fn count_users(read: &dyn Read) -> Result<i64, ReadError> {
    count(read, "SELECT count(*) FROM users", &[]).await
}

fn apply(recorded: &Recorded<'_>, ops: &mut Vec<RowOp>) {
    match recorded.event {
        AnyEvent::User(event) => ops.push(user(recorded.aggregate_id, event)),
        AnyEvent::Application(_)
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Authorization(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_)
        | AnyEvent::Installation(_) => {}
    }
}

fn user(subject: &str, event: &UserEvent) -> RowOp {
    let set = match event {
        UserEvent::UserRegistered {
            subject,
            username,
            username_key,
            email,
            email_key,
            password,
            roles,
            at,
        } => {
            let row = vec![
                subject.as_str().into(),
                username.as_str().into(),
                username_key.as_str().into(),
                email.as_ref().map(Sealed::as_str).into(),
                email_key.as_deref().into(),
                password.as_ref().map(|secret| secret.id.as_str()).into(),
                password.as_ref().map(|secret| name(&secret.kind)).into(),
                roles.contains(&Role::Superuser).into(),
                false.into(),
                Value::Null,
                Value::Null,
                Value::Null,
                (*at).into(),
            ];
            return RowOp::insert(&TABLE, row);
        }
        UserEvent::PasswordChanged { password, retired: _, keep_session, at } => vec![
            ("secret_id", password.id.as_str().into()),
            ("secret_kind", name(&password.kind)),
            ("sessions_valid_from", (*at).into()),
            ("kept_session", keep_session.as_deref().into()),
        ],
        UserEvent::UserLocked { at: _ } => vec![("locked", true.into())],
        // What the lock ended stays dead: whoever was told so must not be proved wrong later.
        UserEvent::UserUnlocked { at } => vec![
            ("locked", false.into()),
            ("sessions_valid_from", (*at).into()),
            ("kept_session", Value::Null),
            ("grants_valid_from", (*at).into()),
        ],
        UserEvent::RoleGranted { role: Role::Superuser, at: _ } => vec![("superuser", true.into())],
        UserEvent::RoleRevoked { role: Role::Superuser, at: _ } => vec![("superuser", false.into())],
    };
    RowOp::update(&TABLE, subject, set)
}
