//! How is a read model asked? Memory first for a row by its key, one portable SQL text for the rest.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::row::{Row, Table, Value};

/// Why a question has no answer. Never a reason to refuse a client: it is our fault, not theirs.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database does not answer (in time).
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// For the log.
        reason: String,
    },
    /// A row does not have the shape its table promises.
    #[error("column {column} of table {table} is damaged")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The first column that does not fit.
        column: &'static str,
    },
}

/// What the journal offers to read models.
#[async_trait]
pub trait Read: Send + Sync {
    /// The row with this key: from memory when it is warm, else from the database, once.
    async fn find(&self, table: &'static Table, key: &str) -> Result<Option<Arc<Row>>, ReadError>;

    /// Rows of a query. Placeholders are `$1`, `$2`, … in any order; only text,
    /// 64-bit integers and nulls come back.
    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, ReadError>;
}

/// `a.client_id, a.name, …` for a select list.
#[must_use]
pub fn columns(table: &Table, alias: &str) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| format!("{alias}.{}", column.name)).collect();
    names.join(", ")
}

/// The number that a `SELECT count(*)` answers.
pub(crate) async fn count(read: &dyn Read, sql: &str, parameters: &[Value]) -> Result<i64, ReadError> {
    let rows = read.query(sql, parameters).await?;
    match rows.first().and_then(|row| row.first()) {
        Some(Value::Int(count)) => Ok(*count),
        Some(Value::Null | Value::Text(_)) | None => {
            Err(ReadError::Unavailable { reason: "a count came back as something else".to_owned() })
        }
    }
}

/// Of what there can be any number of nobody counts more: what a page costs must not grow with it.
pub const COUNTED: u32 = 1_000;

/// How many rows a query of two parameters has, whose and when, up to [`COUNTED`].
pub(crate) async fn count_some(
    read: &dyn Read,
    sql: &str,
    whose: &str,
    now: DateTime<Utc>,
) -> Result<i64, ReadError> {
    let sql = format!("SELECT count(*) FROM ({sql} LIMIT $3) AS counted");
    count(read, &sql, &[whose.into(), now.into(), COUNTED.into()]).await
}

/// The text in the first column of the first row, if there is a row.
pub(crate) async fn first_text(
    read: &dyn Read,
    sql: &str,
    parameters: &[Value],
) -> Result<Option<String>, ReadError> {
    let row = read.query(sql, parameters).await?.into_iter().next();
    match row.and_then(|row| row.into_iter().next()) {
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(Value::Null | Value::Int(_)) | None => Ok(None),
    }
}
