//! Is this access token alive, and for what? (RFC 7662 §2.2, RFC 6750 §3.1)
//!
//! Events: `authorization.token_issued`, `.token_refreshed`, `.token_revoked`; `client_token.*`.
//! Table `tokens`: one row an access token, its id and never the token. A row says what the token's own
//! stream knows; whether its authorization, application and user still stand is asked of their rows,
//! so that ending one of those touches one row and not every token.

#[cfg(test)]
mod tests;

use aggregates::AnyEvent;
use aggregates::authorization::{AuthorizationEvent, IssuedToken};
use aggregates::client_token::ClientTokenEvent;
use aggregates::values::{Confirmation, GrantType, Resource, Scope};
use chrono::{DateTime, Utc};

use crate::projection::{Projection, Recorded};
use crate::read::{Read, ReadError, columns, count_some};
use crate::row::{Cells, Residency, Row, RowOp, Table, Value, int, json, text};

/// One row an access token.
pub static TABLE: Table = Table {
    name: "tokens",
    key: 1,
    columns: &[
        text("token_id"),
        text("authorization_id"),
        text("client_id"),
        text("subject"),
        text("grant_type"),
        text("scope"),
        text("resource"),
        text("confirmation"),
        int("issued_at"),
        int("expires_at"),
        int("revoked_at"),
    ],
    keep_until: Some(9),
    residency: Residency::Cached,
};

/// Of a program that is not there yet, for the tests, it is another one.
const VERSION: u32 = if cfg!(feature = "next-version") { 2 } else { 1 };

/// The read model.
pub static PROJECTION: Projection = Projection { name: "tokens", version: VERSION, tables: &[&TABLE], apply };

/// An access token as the server knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id (`jti`).
    pub token_id: String,
    /// The authorization it came from; `None` for a client's own token.
    pub authorization_id: Option<String>,
    /// The client it was issued to.
    pub client_id: String,
    /// The resource owner it speaks for; `None` for a client's own token.
    pub subject: Option<String>,
    /// The grant that led to it.
    pub grant_type: GrantType,
    /// What it allows.
    pub scope: Scope,
    /// What it is meant for; empty = not restricted.
    pub resource: Vec<Resource>,
    /// The key it is bound to.
    pub confirmation: Option<Confirmation>,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// First instant at which it is dead.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked or replaced.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Token {
    pub(crate) fn from_row(row: &Row) -> Result<Self, ReadError> {
        let mut cells = Cells::new(&TABLE, row);
        Ok(Self {
            token_id: cells.text()?,
            authorization_id: cells.optional_text()?,
            client_id: cells.text()?,
            subject: cells.optional_text()?,
            grant_type: cells.parsed(GrantType::parse)?,
            scope: cells.parsed(|text| Scope::parse(text).ok())?,
            resource: cells.json()?,
            confirmation: cells.json()?,
            issued_at: cells.time()?,
            expires_at: cells.time()?,
            revoked_at: cells.optional_time()?,
        })
    }

    /// Whether the token itself is neither expired nor revoked at this instant.
    #[must_use]
    pub fn stands(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// The token with this id, alive or not.
pub async fn find_token(read: &dyn Read, token_id: &str) -> Result<Option<Token>, ReadError> {
    read.find(&TABLE, token_id).await?.map(|row| Token::from_row(&row)).transpose()
}

/// A token counts when it stands and its authorization, its application and its user let it be: the
/// same conditions as in [`crate::validity`], but for one that has lost the last of its scopes.
const LIVE: &str = "SELECT 1 FROM tokens t \
     JOIN applications c ON c.client_id = t.client_id \
     LEFT JOIN authorizations a ON a.authorization_id = t.authorization_id \
     LEFT JOIN users u ON u.subject = t.subject \
     WHERE t.revoked_at IS NULL AND (t.authorization_id IS NULL OR a.status = 'granted') \
     AND c.disabled = 0 AND c.deleted = 0 AND (t.subject IS NULL OR u.locked = 0) \
     AND coalesce(a.granted_at, t.issued_at) > coalesce(c.grants_valid_from, 0) \
     AND coalesce(a.granted_at, t.issued_at) > coalesce(u.grants_valid_from, 0)";

/// How many live tokens an application has, up to [`COUNTED`](crate::read::COUNTED).
pub async fn count_live_tokens_of_client(
    read: &dyn Read,
    client_id: &str,
    now: DateTime<Utc>,
) -> Result<i64, ReadError> {
    count_some(read, &format!("{LIVE} AND t.client_id = $1 AND t.expires_at > $2"), client_id, now).await
}

/// How many live tokens an authorization has, up to [`COUNTED`](crate::read::COUNTED).
pub async fn count_live_tokens_of_authorization(
    read: &dyn Read,
    authorization_id: &str,
    now: DateTime<Utc>,
) -> Result<i64, ReadError> {
    let sql = format!("{LIVE} AND t.authorization_id = $1 AND t.expires_at > $2");
    count_some(read, &sql, authorization_id, now).await
}

/// How many live tokens speak for a user, up to [`COUNTED`](crate::read::COUNTED). They are found by the user's
/// authorizations, which spares every new token an index entry.
pub async fn count_live_tokens_of_user(
    read: &dyn Read,
    subject: &str,
    now: DateTime<Utc>,
) -> Result<i64, ReadError> {
    count_some(read, &format!("{LIVE} AND a.subject = $1 AND t.expires_at > $2"), subject, now).await
}

/// The access tokens of an authorization, newest first, alive or not.
pub async fn list_tokens_of_authorization(
    read: &dyn Read,
    authorization_id: &str,
    limit: u32,
) -> Result<Vec<Token>, ReadError> {
    let sql = format!(
        "SELECT {} FROM tokens t WHERE t.authorization_id = $1 ORDER BY t.issued_at DESC, t.token_id DESC LIMIT $2",
        columns(&TABLE, "t")
    );
    read.query(&sql, &[authorization_id.into(), limit.into()]).await?.iter().map(Token::from_row).collect()
}

fn apply(recorded: &Recorded<'_>, ops: &mut Vec<RowOp>) {
    match recorded.event {
        AnyEvent::Authorization(event) => authorization(recorded.aggregate_id, event, ops),
        AnyEvent::ClientToken(event) => client_token(recorded.aggregate_id, event, ops),
        AnyEvent::Installation(event) => crate::projection::expire(&TABLE, event, ops),
        AnyEvent::Application(_)
        | AnyEvent::User(_)
        | AnyEvent::Session(_)
        | AnyEvent::LoginAttempts(_)
        | AnyEvent::Consent(_)
        | AnyEvent::Refusal(_) => {}
    }
}

fn authorization(authorization_id: &str, event: &AuthorizationEvent, ops: &mut Vec<RowOp>) {
    match event {
        AuthorizationEvent::TokenIssued { issued, at } => {
            ops.push(insert_issued(authorization_id, issued, *at));
        }
        AuthorizationEvent::TokenRefreshed { issued, replaced_token_id, at } => {
            ops.push(revoke(replaced_token_id, *at));
            ops.push(insert_issued(authorization_id, issued, *at));
        }
        AuthorizationEvent::TokenRevoked { token_id, at, .. } => ops.push(revoke(token_id, *at)),
        AuthorizationEvent::AuthorizationGranted { .. }
        | AuthorizationEvent::AuthorizationDenied { .. }
        | AuthorizationEvent::CodeRedeemed { .. }
        | AuthorizationEvent::ReuseDetected { .. }
        | AuthorizationEvent::AuthorizationRevoked { .. } => {}
    }
}

fn client_token(token_id: &str, event: &ClientTokenEvent, ops: &mut Vec<RowOp>) {
    match event {
        ClientTokenEvent::TokenIssued { client_id, token, grant_type, scope, resource, at } => {
            ops.push(RowOp::insert(
                &TABLE,
                vec![
                    token.id.as_str().into(),
                    Value::Null,
                    client_id.as_str().into(),
                    Value::Null,
                    grant_type.as_str().into(),
                    scope.to_string().into(),
                    json(resource),
                    json(&token.confirmation),
                    (*at).into(),
                    token.expires_at.into(),
                    Value::Null,
                ],
            ));
        }
        ClientTokenEvent::TokenRevoked { at, .. } => ops.push(revoke(token_id, *at)),
    }
}

fn insert_issued(authorization_id: &str, issued: &IssuedToken, at: DateTime<Utc>) -> RowOp {
    RowOp::insert(
        &TABLE,
        vec![
            issued.token.id.as_str().into(),
            authorization_id.into(),
            issued.client_id.as_str().into(),
            issued.subject.as_str().into(),
            issued.grant_type.as_str().into(),
            issued.scope.to_string().into(),
            json(&issued.resource),
            json(&issued.token.confirmation),
            at.into(),
            issued.token.expires_at.into(),
            Value::Null,
        ],
    )
}

fn revoke(token_id: &str, at: DateTime<Utc>) -> RowOp {
    RowOp::update(&TABLE, token_id, vec![("revoked_at", at.into())])
}
