//! What did a person allow a client, and does it still stand? (RFC 6749 §1.3.1)
//!
//! Events: `authorization.*`. Table `authorizations`: one row an authorization, for as long as
//! anything that it gave could still be presented.

#[cfg(test)]
mod tests;

use aggregates::AnyEvent;
use aggregates::authorization::{AuthorizationEvent, AuthorizationRequest, IssuedToken, RevocationReason};
use aggregates::values::{Resource, Scope};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::projection::{Projection, Recorded};
use crate::read::{Read, ReadError, columns, count_some};
use crate::row::{Cells, Residency, Row, RowOp, Table, Value, int, json, name, text};

/// One row an authorization.
pub static TABLE: Table = Table {
    name: "authorizations",
    key: 1,
    columns: &[
        text("authorization_id"),
        text("client_id"),
        text("subject"),
        text("session_id"),
        text("scope"),
        text("resource"),
        text("status"),
        text("redirect_uri"),
        int("granted_at"),
        int("redeemed_at"),
        int("revoked_at"),
        text("revocation"),
        int("generation"),
        int("refreshed_at"),
        int("keep_until"),
    ],
    keep_until: Some(14),
    residency: Residency::Cached,
};

/// The read model.
pub static PROJECTION: Projection =
    Projection { name: "authorizations", version: 1, tables: &[&TABLE], apply };

/// How an authorization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The person said yes, and nobody took it back.
    Granted,
    /// The person said no.
    Denied,
    /// It was granted and taken back; everything it gave is dead.
    Revoked,
}

/// An authorization as the server knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorization {
    /// Its id.
    pub authorization_id: String,
    /// The client that asked.
    pub client_id: String,
    /// The resource owner.
    pub subject: String,
    /// The browser session in which it was asked.
    pub session_id: String,
    /// What was asked for.
    pub scope: Scope,
    /// What the tokens are meant for; empty = not restricted.
    pub resource: Vec<Resource>,
    /// How it stands.
    pub status: Status,
    /// Where the answer went.
    pub redirect_uri: String,
    /// When the person decided, either way.
    pub granted_at: DateTime<Utc>,
    /// When the code was redeemed.
    pub redeemed_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Why it was revoked.
    pub revocation: Option<RevocationReason>,
    /// The live generation of its refresh token; `None` = there is no refresh token.
    pub generation: Option<i64>,
    /// When it was last refreshed.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// First instant at which nothing that it gave can live any more.
    pub keep_until: DateTime<Utc>,
}

impl Authorization {
    pub(crate) fn from_row(row: &Row) -> Result<Self, ReadError> {
        let mut cells = Cells::new(&TABLE, row);
        Ok(Self {
            authorization_id: cells.text()?,
            client_id: cells.text()?,
            subject: cells.text()?,
            session_id: cells.text()?,
            scope: cells.parsed(|text| Scope::parse(text).ok())?,
            resource: cells.json()?,
            status: cells.named()?,
            redirect_uri: cells.text()?,
            granted_at: cells.time()?,
            redeemed_at: cells.optional_time()?,
            revoked_at: cells.optional_time()?,
            revocation: cells.optional_named()?,
            generation: cells.optional_int()?,
            refreshed_at: cells.optional_time()?,
            keep_until: cells.time()?,
        })
    }

    /// Whether it was granted and not taken back. Its tokens have ends of their own.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.status == Status::Granted
    }

    /// Whether something that it gave may still be alive at this instant.
    #[must_use]
    pub fn stands(&self, now: DateTime<Utc>) -> bool {
        self.is_granted() && now < self.keep_until
    }
}

/// The authorization with this id, however it stands.
pub async fn find_authorization(
    read: &dyn Read,
    authorization_id: &str,
) -> Result<Option<Authorization>, ReadError> {
    read.find(&TABLE, authorization_id).await?.map(|row| Authorization::from_row(&row)).transpose()
}

/// The standing authorizations of a user, newest first. `after` is the id that the former page ended
/// with; one that does not exist starts from the beginning.
pub async fn list_authorizations(
    read: &dyn Read,
    subject: &str,
    now: DateTime<Utc>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Authorization>, ReadError> {
    list(read, "subject", subject, now, after, limit).await
}

/// The standing authorizations of an application, newest first; paging as for a user.
pub async fn list_authorizations_of_client(
    read: &dyn Read,
    client_id: &str,
    now: DateTime<Utc>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Authorization>, ReadError> {
    list(read, "client_id", client_id, now, after, limit).await
}

/// Standing authorizations: neither taken back nor over, and neither their application nor their user
/// is shut out, or was since: the same conditions as in [`crate::validity`]. $1 says whose, $2 when.
const STANDING: &str = "FROM authorizations a \
     JOIN applications c ON c.client_id = a.client_id JOIN users u ON u.subject = a.subject \
     WHERE a.status = 'granted' AND a.keep_until > $2 \
     AND c.disabled = 0 AND c.deleted = 0 AND u.locked = 0 \
     AND a.granted_at > coalesce(c.grants_valid_from, 0) \
     AND a.granted_at > coalesce(u.grants_valid_from, 0)";

/// A user's authorizations that do not stand any more, the latest end first, for as long as their rows
/// are kept.
pub async fn list_ended_authorizations(
    read: &dyn Read,
    subject: &str,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Authorization>, ReadError> {
    let sql = format!(
        "SELECT {} FROM authorizations a WHERE a.subject = $1 \
         AND a.authorization_id NOT IN (SELECT a.authorization_id {STANDING} AND a.subject = $1) \
         ORDER BY coalesce(a.revoked_at, a.granted_at) DESC, a.authorization_id LIMIT $3",
        columns(&TABLE, "a")
    );
    let parameters = [subject.into(), now.into(), limit.into()];
    read.query(&sql, &parameters).await?.iter().map(Authorization::from_row).collect()
}

/// How many standing authorizations a user has given, up to [`COUNTED`](crate::read::COUNTED).
pub async fn count_authorizations_of_user(
    read: &dyn Read,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<i64, ReadError> {
    count_some(read, &format!("SELECT 1 {STANDING} AND a.subject = $1"), subject, now).await
}

/// How many standing authorizations an application has, up to [`COUNTED`](crate::read::COUNTED).
pub async fn count_authorizations_of_client(
    read: &dyn Read,
    client_id: &str,
    now: DateTime<Utc>,
) -> Result<i64, ReadError> {
    count_some(read, &format!("SELECT 1 {STANDING} AND a.client_id = $1"), client_id, now).await
}

async fn list(
    read: &dyn Read,
    column: &'static str,
    whose: &str,
    now: DateTime<Utc>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Authorization>, ReadError> {
    let last = match after {
        Some(authorization_id) => find_authorization(read, authorization_id).await?,
        None => None,
    };
    let mut parameters: Vec<Value> = vec![whose.into(), now.into()];
    let mut further = "";
    if let Some(last) = last {
        parameters.extend([last.granted_at.into(), last.authorization_id.into()]);
        further = "AND (a.granted_at < $3 OR (a.granted_at = $3 AND a.authorization_id > $4)) ";
    }
    parameters.push(limit.into());
    let sql = format!(
        "SELECT {} {STANDING} AND a.{column} = $1 {further}ORDER BY a.granted_at DESC, a.authorization_id LIMIT ${}",
        columns(&TABLE, "a"),
        parameters.len()
    );
    read.query(&sql, &parameters).await?.iter().map(Authorization::from_row).collect()
}

fn apply(recorded: &Recorded<'_>, ops: &mut Vec<RowOp>) {
    match recorded.event {
        AnyEvent::Authorization(event) => ops.extend(authorization(recorded.aggregate_id, event)),
        AnyEvent::Installation(event) => crate::projection::expire(&TABLE, event, ops),
        AnyEvent::Application(_)
        | AnyEvent::User(_)
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::ClientToken(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_) => {}
    }
}

fn authorization(id: &str, event: &AuthorizationEvent) -> Option<RowOp> {
    let set = match event {
        AuthorizationEvent::AuthorizationGranted { request, code_expires_at, at, .. } => {
            return Some(decided(id, request, Status::Granted, *at, *code_expires_at));
        }
        AuthorizationEvent::AuthorizationDenied { request, at, .. } => {
            return Some(decided(id, request, Status::Denied, *at, *at));
        }
        AuthorizationEvent::CodeRedeemed { at } => vec![("redeemed_at", (*at).into())],
        AuthorizationEvent::TokenIssued { issued, at: _ } => given(issued),
        AuthorizationEvent::TokenRefreshed { issued, replaced_token_id: _, at } => {
            let mut set = given(issued);
            set.push(("refreshed_at", (*at).into()));
            set
        }
        AuthorizationEvent::AuthorizationRevoked { reason, at } => vec![
            ("status", name(&Status::Revoked)),
            ("revoked_at", (*at).into()),
            ("revocation", name(reason)),
        ],
        AuthorizationEvent::ReuseDetected { .. } | AuthorizationEvent::TokenRevoked { .. } => return None,
    };
    Some(RowOp::update(&TABLE, id, set))
}

fn decided(
    authorization_id: &str,
    request: &AuthorizationRequest,
    status: Status,
    at: DateTime<Utc>,
    keep_until: DateTime<Utc>,
) -> RowOp {
    RowOp::insert(
        &TABLE,
        vec![
            authorization_id.into(),
            request.client_id.as_str().into(),
            request.subject.as_str().into(),
            request.session_id.as_str().into(),
            request.scope.to_string().into(),
            json(&request.resource),
            name(&status),
            request.redirect_uri.as_str().into(),
            at.into(),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            keep_until.into(),
        ],
    )
}

/// What it gave moves its end: to the last end of the access token and the refresh tokens, which a
/// refresh leaves where it was.
fn given(issued: &IssuedToken) -> Vec<(&'static str, Value)> {
    let refresh = issued.refresh.as_ref();
    let end = refresh.map_or(issued.token.expires_at, |refresh| {
        refresh.terms.absolute_expires_at.max(issued.token.expires_at)
    });
    vec![("generation", refresh.map(|refresh| refresh.generation).into()), ("keep_until", end.into())]
}
