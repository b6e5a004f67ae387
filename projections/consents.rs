//! Need the person be asked again? (OIDC Core §3.1.2.4)
//!
//! Events: `consent.*`. Table `consents`: one row a user and client. A consent that was forgotten
//! leaves an empty row, because it may be given again on the same stream.

#[cfg(test)]
mod tests;

use aggregates::AnyEvent;
use aggregates::consent::ConsentEvent;
use aggregates::values::Scope;
use chrono::{DateTime, Utc};

use crate::projection::{Projection, Recorded};
use crate::read::{Read, ReadError};
use crate::row::{Cells, Residency, Row, RowOp, Table, Value, int, text};

/// One row a user and client.
pub static TABLE: Table = Table {
    name: "consents",
    key: 1,
    columns: &[text("consent_id"), text("subject"), text("client_id"), text("scope"), int("remembered_at")],
    keep_until: None,
    residency: Residency::Cached,
};

/// The read model.
pub static PROJECTION: Projection = Projection { name: "consents", version: 1, tables: &[&TABLE], apply };

/// What a person allowed a client once.
#[derive(Clone, Debug, PartialEq)]
pub struct Consent {
    /// Its stream.
    pub consent_id: String,
    /// Who allowed it.
    pub subject: String,
    /// Which client.
    pub client_id: String,
    /// All that need not be asked again.
    pub scope: Scope,
    /// When it was last added to.
    pub remembered_at: DateTime<Utc>,
}

impl Consent {
    /// `None` = it was forgotten.
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>, ReadError> {
        let mut cells = Cells::new(&TABLE, row);
        let (consent_id, subject, client_id) = (cells.text()?, cells.text()?, cells.text()?);
        let scope = cells.parsed(|text| Scope::parse(text).ok())?;
        let remembered_at = cells.optional_time()?;
        Ok(remembered_at.map(|remembered_at| Self { consent_id, subject, client_id, scope, remembered_at }))
    }

    /// Whether all of `asked` was allowed before.
    #[must_use]
    pub fn covers(&self, asked: &Scope) -> bool {
        self.scope.contains_all(asked)
    }
}

/// The stream of a user's consent to a client. A subject is an id of our own and has no colon, so two
/// pairs never share a stream.
#[must_use]
pub fn consent_id(subject: &str, client_id: &str) -> String {
    format!("{subject}:{client_id}")
}

/// The user and client of a consent stream.
#[must_use]
pub fn consent_parties(consent_id: &str) -> Option<(&str, &str)> {
    consent_id.split_once(':')
}

/// What the user allowed the client, if that is remembered.
pub async fn find_consent(
    read: &dyn Read,
    subject: &str,
    client_id: &str,
) -> Result<Option<Consent>, ReadError> {
    let row = read.find(&TABLE, &consent_id(subject, client_id)).await?;
    row.map_or(Ok(None), |row| Consent::from_row(&row))
}

fn apply(recorded: &Recorded<'_>, ops: &mut Vec<RowOp>) {
    match recorded.event {
        AnyEvent::Consent(event) => ops.push(consent(recorded.aggregate_id, recorded.sequence, event)),
        AnyEvent::Application(_)
        | AnyEvent::User(_)
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Authorization(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Refusal(_)
        | AnyEvent::Installation(_) => {}
    }
}

/// The first event of a stream makes the row, later ones change it: one operation an event, so that
/// nobody ever sees it missing in between.
fn consent(id: &str, sequence: i64, event: &ConsentEvent) -> RowOp {
    match event {
        ConsentEvent::ConsentRemembered { subject, client_id, scope, at } if sequence <= 1 => RowOp::insert(
            &TABLE,
            vec![
                id.into(),
                subject.as_str().into(),
                client_id.as_str().into(),
                scope.to_string().into(),
                (*at).into(),
            ],
        ),
        ConsentEvent::ConsentRemembered { subject: _, client_id: _, scope, at } => RowOp::update(
            &TABLE,
            id,
            vec![("scope", scope.to_string().into()), ("remembered_at", (*at).into())],
        ),
        ConsentEvent::ConsentForgotten { at: _ } => {
            RowOp::update(&TABLE, id, vec![("scope", "".into()), ("remembered_at", Value::Null)])
        }
    }
}
