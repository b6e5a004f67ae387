//! Which client is this, and what may it do? (RFC 6749 §2)
//!
//! Events: `application.*`. Table `applications`: one row an application, kept after its deletion so
//! that what it did can still be read with a name beside it.

#[cfg(test)]
mod tests;

use aggregates::AnyEvent;
use aggregates::application::{ApplicationEvent, ApplicationSettings, Provenance};
use aggregates::values::SecretRef;
use chrono::{DateTime, Utc};

use crate::memory::Memory;
use crate::projection::{Projection, Recorded};
use crate::read::{Read, ReadError, columns, count};
use crate::row::{Cells, Residency, Row, RowOp, Table, Value, int, json, name, text};

/// One row an application.
pub static TABLE: Table = Table {
    name: "applications",
    key: 1,
    columns: &[
        text("client_id"),
        text("owner"),
        text("name"),
        text("client_type"),
        text("settings"),
        text("secret_id"),
        text("secret_kind"),
        text("provenance"),
        int("disabled"),
        int("deleted"),
        int("grants_valid_from"),
        int("registered_at"),
        int("updated_at"),
    ],
    keep_until: None,
    residency: Residency::Resident { gone: 9 },
};

/// The read model.
pub static PROJECTION: Projection = Projection { name: "applications", version: 1, tables: &[&TABLE], apply };

/// An application as the server knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Its id on the wire.
    pub client_id: String,
    /// Subject of the user who may manage it; `None` = superusers only.
    pub owner: Option<String>,
    /// What its owner may change.
    pub settings: ApplicationSettings,
    /// Where its secret's verifier is kept; `None` for public ones and after deletion.
    pub secret: Option<SecretRef>,
    /// How it came to be.
    pub provenance: Provenance,
    /// Whether it is switched off for now.
    pub disabled: bool,
    /// Whether it is gone for good.
    pub deleted: bool,
    /// What was granted to it before is dead: it was disabled, and enabled again then.
    pub grants_valid_from: Option<DateTime<Utc>>,
    /// When it was registered.
    pub registered_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Application {
    pub(crate) fn from_row(row: &Row) -> Result<Self, ReadError> {
        let mut cells = Cells::new(&TABLE, row);
        let client_id = cells.text()?;
        let owner = cells.optional_text()?;
        // For lists and people with SQL; the settings are what counts.
        let (_name, _client_type) = (cells.text()?, cells.text()?);
        Ok(Self {
            client_id,
            owner,
            settings: cells.json()?,
            secret: cells.secret()?,
            provenance: cells.named()?,
            disabled: cells.truth()?,
            deleted: cells.truth()?,
            grants_valid_from: cells.optional_time()?,
            registered_at: cells.time()?,
            updated_at: cells.time()?,
        })
    }

    /// Whether it may do anything at all: neither switched off nor deleted.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.disabled && !self.deleted
    }

    /// Whether what was granted to it at this instant may still be used.
    #[must_use]
    pub fn admits_grant_of(&self, granted_at: DateTime<Utc>) -> bool {
        self.is_usable() && self.grants_valid_from.is_none_or(|from| granted_at > from)
    }
}

/// The application with this id, usable or not.
pub async fn find_application(read: &dyn Read, client_id: &str) -> Result<Option<Application>, ReadError> {
    read.find(&TABLE, client_id).await?.map(|row| Application::from_row(&row)).transpose()
}

/// Applications that are not deleted, newest first; with an owner, only theirs. `after` is the client
/// id that the former page ended with; one that does not exist starts from the beginning.
pub async fn list_applications(
    read: &dyn Read,
    owner: Option<&str>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Application>, ReadError> {
    let mut parameters: Vec<Value> = Vec::new();
    let mut place = |value: Value| {
        parameters.push(value);
        format!("${}", parameters.len())
    };
    let theirs = owner.map(|owner| format!(" AND a.owner = {}", place(owner.into())));
    let further = find_last(read, after).await?.map(|last| {
        let (time, id) = (place(last.registered_at.into()), place(last.client_id.into()));
        format!(" AND (a.registered_at < {time} OR (a.registered_at = {time} AND a.client_id > {id}))")
    });
    let sql = format!(
        "SELECT {} FROM applications a WHERE a.deleted = 0{}{} \
         ORDER BY a.registered_at DESC, a.client_id LIMIT {}",
        columns(&TABLE, "a"),
        theirs.unwrap_or_default(),
        further.unwrap_or_default(),
        place(limit.into()),
    );
    read.query(&sql, &parameters).await?.iter().map(Application::from_row).collect()
}

/// The applications this node holds in memory, which are all but deleted ones, and some of those, in no order.
pub fn remembered_applications(memory: &Memory) -> impl Iterator<Item = Result<Application, ReadError>> {
    memory.snapshot(&TABLE).into_iter().map(|row| Application::from_row(&row))
}

/// How many applications of an owner there are, without deleted ones.
pub async fn count_of_owner(read: &dyn Read, owner: &str) -> Result<i64, ReadError> {
    count(read, "SELECT count(*) FROM applications a WHERE a.deleted = 0 AND a.owner = $1", &[owner.into()])
        .await
}

async fn find_last(read: &dyn Read, after: Option<&str>) -> Result<Option<Application>, ReadError> {
    match after {
        Some(client_id) => find_application(read, client_id).await,
        None => Ok(None),
    }
}

/// How many applications there are, without deleted ones.
pub async fn count_applications(read: &dyn Read) -> Result<i64, ReadError> {
    count(read, "SELECT count(*) FROM applications WHERE deleted = 0", &[]).await
}

fn apply(recorded: &Recorded<'_>, ops: &mut Vec<RowOp>) {
    match recorded.event {
        AnyEvent::Application(event) => ops.push(application(recorded.aggregate_id, event)),
        AnyEvent::User(_)
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Authorization(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_)
        | AnyEvent::Installation(_) => {}
    }
}

fn application(client_id: &str, event: &ApplicationEvent) -> RowOp {
    match event {
        ApplicationEvent::ApplicationRegistered { client_id, owner, settings, secret, provenance, at } => {
            RowOp::insert(
                &TABLE,
                vec![
                    client_id.as_str().into(),
                    owner.as_deref().into(),
                    settings.name.as_str().into(),
                    settings.client_type.as_str().into(),
                    json(settings),
                    secret.as_ref().map(|secret| secret.id.as_str()).into(),
                    secret.as_ref().map(|secret| name(&secret.kind)).into(),
                    name(provenance),
                    false.into(),
                    false.into(),
                    Value::Null,
                    (*at).into(),
                    (*at).into(),
                ],
            )
        }
        ApplicationEvent::ApplicationUpdated { settings, at } => update(client_id, *at, changed(settings)),
        ApplicationEvent::SecretRotated { secret, retired: _, at } => {
            let set = vec![("secret_id", secret.id.as_str().into()), ("secret_kind", name(&secret.kind))];
            update(client_id, *at, set)
        }
        ApplicationEvent::ApplicationDisabled { at } => {
            update(client_id, *at, vec![("disabled", true.into())])
        }
        ApplicationEvent::ApplicationEnabled { at } => {
            // What died with it stays dead: whoever was told so must not be proved wrong later.
            update(client_id, *at, vec![("disabled", false.into()), ("grants_valid_from", (*at).into())])
        }
        ApplicationEvent::ApplicationDeleted { retired: _, at } => {
            let no_secret = [("secret_id", Value::Null), ("secret_kind", Value::Null)];
            let set = [("deleted", true.into())].into_iter().chain(no_secret).collect();
            update(client_id, *at, set)
        }
    }
}

fn changed(settings: &ApplicationSettings) -> Vec<(&'static str, Value)> {
    vec![
        ("name", settings.name.as_str().into()),
        ("client_type", settings.client_type.as_str().into()),
        ("settings", json(settings)),
    ]
}

fn update(client_id: &str, at: DateTime<Utc>, mut set: Vec<(&'static str, Value)>) -> RowOp {
    set.push(("updated_at", at.into()));
    RowOp::update(&TABLE, client_id, set)
}
