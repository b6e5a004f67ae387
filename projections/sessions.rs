//! Is this browser logged in, as whom, since when?
//!
//! Events: `session.*`. Table `sessions`: one row a session. Whether its user is locked or changed the
//! password since is asked of the user's row: see [`crate::validity`].

#[cfg(test)]
mod tests;

use aggregates::AnyEvent;
use aggregates::session::SessionEvent;
use chrono::{DateTime, Utc};

use crate::projection::{Projection, Recorded};
use crate::read::{Read, ReadError, columns};
use crate::row::{Cells, Residency, Row, RowOp, Table, Value, int, json, text};

/// One row a session.
pub static TABLE: Table = Table {
    name: "sessions",
    key: 1,
    columns: &[
        text("session_id"),
        text("subject"),
        text("methods"),
        int("auth_time"),
        int("started_at"),
        int("idle_expires_at"),
        int("ended_at"),
        int("expires_at"),
    ],
    keep_until: Some(7),
    residency: Residency::Cached,
};

/// The read model.
pub static PROJECTION: Projection = Projection { name: "sessions", version: 1, tables: &[&TABLE], apply };

/// A session as the server knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its id; the cookie holds a secret of its own beside it.
    pub session_id: String,
    /// Who logged in.
    pub subject: String,
    /// Authentication methods (RFC 8176).
    pub methods: Vec<String>,
    /// When the person authenticated.
    pub auth_time: DateTime<Utc>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// First instant at which it is dead unless renewed.
    pub idle_expires_at: DateTime<Utc>,
    /// When it ended by logout or replacement.
    pub ended_at: Option<DateTime<Utc>>,
    /// First instant at which it is dead in any case.
    pub expires_at: DateTime<Utc>,
}

impl Session {
    pub(crate) fn from_row(row: &Row) -> Result<Self, ReadError> {
        let mut cells = Cells::new(&TABLE, row);
        Ok(Self {
            session_id: cells.text()?,
            subject: cells.text()?,
            methods: cells.json()?,
            auth_time: cells.time()?,
            started_at: cells.time()?,
            idle_expires_at: cells.time()?,
            ended_at: cells.optional_time()?,
            expires_at: cells.time()?,
        })
    }

    /// Whether the session itself has neither ended nor expired at this instant.
    #[must_use]
    pub fn stands(&self, now: DateTime<Utc>) -> bool {
        self.ended_at.is_none() && now < self.idle_expires_at && now < self.expires_at
    }
}

/// The session with this id, alive or not.
pub async fn find_session(read: &dyn Read, session_id: &str) -> Result<Option<Session>, ReadError> {
    read.find(&TABLE, session_id).await?.map(|row| Session::from_row(&row)).transpose()
}

/// The standing sessions of a user, latest login first. Those that a change of password ended are
/// among them: hold them against the user's row.
pub async fn list_sessions(
    read: &dyn Read,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Session>, ReadError> {
    let sql = format!(
        "SELECT {} FROM sessions s WHERE s.subject = $1 AND s.ended_at IS NULL AND s.expires_at > $2 \
         AND s.idle_expires_at > $2 ORDER BY s.started_at DESC, s.session_id",
        columns(&TABLE, "s")
    );
    read.query(&sql, &[subject.into(), now.into()]).await?.iter().map(Session::from_row).collect()
}

fn apply(recorded: &Recorded<'_>, ops: &mut Vec<RowOp>) {
    match recorded.event {
        AnyEvent::Session(event) => ops.push(session(recorded.aggregate_id, event)),
        AnyEvent::Installation(event) => crate::projection::expire(&TABLE, event, ops),
        AnyEvent::Application(_)
        | AnyEvent::User(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Authorization(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_) => {}
    }
}

fn session(session_id: &str, event: &SessionEvent) -> RowOp {
    match event {
        SessionEvent::SessionStarted {
            session_id,
            subject,
            methods,
            auth_time,
            expires_at,
            idle_expires_at,
            at,
        } => RowOp::insert(
            &TABLE,
            vec![
                session_id.as_str().into(),
                subject.as_str().into(),
                json(methods),
                (*auth_time).into(),
                (*at).into(),
                (*idle_expires_at).into(),
                Value::Null,
                (*expires_at).into(),
            ],
        ),
        SessionEvent::SessionRenewed { idle_expires_at, at: _ } => {
            RowOp::update(&TABLE, session_id, vec![("idle_expires_at", (*idle_expires_at).into())])
        }
        SessionEvent::SessionEnded { reason: _, at } => {
            RowOp::update(&TABLE, session_id, vec![("ended_at", (*at).into())])
        }
    }
}
