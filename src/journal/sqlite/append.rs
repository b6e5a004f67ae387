//! How does a batch become one SQLite transaction? Row by row through prepared statements: in one
//! process that is faster than sets, and the head is known before the first row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use projections::row::{RowOp, Table, Value};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params, params_from_iter};

use super::{Cell, sqlite_error};
use crate::journal::chain::{fold, leaf};
use crate::journal::engine::{
    Advanced, Append, Committed, EngineError, LANE, Lost, Outcome, SecretOp, last_invalidating, sql,
};

/// What a batch came to before its commit.
enum Written {
    All(Committed),
    Lost(Vec<(usize, Lost)>),
    EpochMoved,
}

pub(super) fn append(
    connection: &mut Connection,
    batch: i64,
    epoch: i64,
    appends: &[Append],
) -> Result<Outcome, EngineError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| sqlite_error(&error))?;
    match write(&transaction, batch, epoch, appends).map_err(|error| sqlite_error(&error))? {
        Written::All(committed) => {
            transaction.commit().map_err(|error| EngineError::Unknown(error.to_string()))?;
            Ok(Outcome::Committed(committed))
        }
        Written::Lost(lost) => Ok(Outcome::Lost(lost)),
        Written::EpochMoved => Err(EngineError::EpochMoved),
    }
}

fn write(
    transaction: &Transaction<'_>,
    batch: i64,
    epoch: i64,
    appends: &[Append],
) -> Result<Written, rusqlite::Error> {
    let (head, mut chain, stored_epoch): (i64, [u8; 32], i64) = transaction
        .prepare_cached(sql::HEAD)?
        .query_row([LANE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if stored_epoch != epoch {
        return Ok(Written::EpochMoved);
    }
    let mut texts = Texts::default();
    let mut lost = Vec::new();
    let mut index = 0;
    for (command, append) in appends.iter().enumerate() {
        if let Some(why) = insert_events(transaction, batch, &mut index, append)? {
            lost.push((command, why));
        }
    }
    if !lost.is_empty() {
        return Ok(Written::Lost(lost));
    }
    for append in appends {
        for (sequence, event) in (append.expected + 1..).zip(&append.events) {
            let leaf = leaf(append.aggregate_type, &append.aggregate_id, sequence, event);
            chain = fold(&chain, &leaf);
        }
        write_beside(transaction, append)?;
        for op in append.rows.iter().flatten() {
            execute(transaction, op, &mut texts)?;
        }
    }
    transaction
        .prepare_cached(
            "UPDATE lanes SET head = head + ?2, chain = ?3, \
             revision = CASE WHEN ?4 > 0 THEN head + ?4 ELSE revision END WHERE lane = ?1",
        )?
        .execute(params![LANE, index, chain, last_invalidating(appends)])?;
    transaction
        .prepare_cached(
            "INSERT INTO batches (lane, first_position, batch, event_count, chain) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![LANE, head + 1, batch, index, chain])?;
    Ok(Written::All(Committed { first: head + 1, chain }))
}

/// Inserts a command's events and claims, or says why it lost.
fn insert_events(
    transaction: &Transaction<'_>,
    batch: i64,
    index: &mut i64,
    append: &Append,
) -> Result<Option<Lost>, rusqlite::Error> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         lane, batch, batch_index) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
         ON CONFLICT (aggregate_type, aggregate_id, sequence) DO NOTHING",
    )?;
    for (sequence, event) in (append.expected + 1..).zip(&append.events) {
        let inserted = statement.execute(params![
            append.aggregate_type,
            append.aggregate_id,
            sequence,
            event.event_type,
            event.event_version,
            event.payload,
            event.metadata,
            LANE,
            batch,
            *index,
        ])?;
        if inserted == 0 {
            return Ok(Some(Lost::Conflict));
        }
        *index += 1;
    }
    for claim in &append.claims {
        let taken = transaction
            .prepare_cached(
                "INSERT INTO claims (kind, value, aggregate_type, aggregate_id) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![claim.kind, claim.value, append.aggregate_type, append.aggregate_id])?;
        if taken == 0 {
            return Ok(Some(Lost::Claimed(claim.kind)));
        }
    }
    Ok(None)
}

fn write_beside(transaction: &Transaction<'_>, append: &Append) -> Result<(), rusqlite::Error> {
    for op in &append.secrets {
        match op {
            SecretOp::Put { id, verifier } => {
                transaction.prepare_cached(sql::PUT_SECRET)?.execute(params![id, verifier])?
            }
            SecretOp::Delete { id } => transaction.prepare_cached(sql::DELETE_SECRET)?.execute([id])?,
        };
    }
    for key in &append.subject_keys {
        transaction.prepare_cached(sql::PUT_SUBJECT_KEY)?.execute(params![key.subject, key.wrapped])?;
    }
    if let Some(state) = &append.state {
        transaction.prepare_cached(sql::PUT_STATE)?.execute(params![
            append.aggregate_type,
            append.aggregate_id,
            state.sequence,
            state.state
        ])?;
    }
    Ok(())
}

/// Writes rows of an eventual projection and moves its checkpoint.
pub(super) fn advance(
    connection: &mut Connection,
    projection: &str,
    version: i64,
    from: i64,
    to: i64,
    ops: &[RowOp],
) -> Result<Advanced, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let reached: Option<i64> =
        transaction.query_row(sql::CHECKPOINT, [projection], |row| row.get(0)).optional()?;
    if reached.unwrap_or(0) != from {
        return Ok(Advanced::Overtaken);
    }
    let other: Option<i64> = transaction
        .query_row(sql::OTHER_VERSION, params![projection, version], |row| row.get(0))
        .optional()?;
    if let Some(stored) = other {
        return Ok(Advanced::OfOtherVersion(stored));
    }
    let mut texts = Texts::default();
    for op in ops {
        execute(&transaction, op, &mut texts)?;
    }
    transaction.execute(sql::PUT_CHECKPOINT, params![projection, LANE, to])?;
    transaction.commit()?;
    Ok(Advanced::Written)
}

/// The statements of a batch by what they do to which table: most rows of a batch have the same one.
#[derive(Default)]
pub(super) struct Texts(HashMap<(&'static str, Vec<usize>), String>);

impl Texts {
    fn get(
        &mut self,
        table: &'static Table,
        columns: Vec<usize>,
        make: impl FnOnce(&[usize]) -> String,
    ) -> &str {
        match self.0.entry((table.name, columns)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let text = make(&new.key().1);
                new.insert(text)
            }
        }
    }
}

pub(super) fn execute(
    transaction: &Transaction<'_>,
    op: &RowOp,
    texts: &mut Texts,
) -> Result<(), rusqlite::Error> {
    let (sql, values): (&str, Vec<&Value>) = match op {
        RowOp::Insert { table, row } => {
            (texts.get(table, Vec::new(), |_| insert_sql(table)), row.iter().collect())
        }
        RowOp::Update { table, key, set } => {
            let columns = set.iter().map(|(column, _)| *column).collect();
            let sql = texts.get(table, columns, |columns| update_sql(table, columns));
            (sql, set.iter().map(|(_, value)| value).chain(key).collect())
        }
        RowOp::Expire { table, before } => return expire(transaction, table, *before),
    };
    transaction.prepare_cached(sql)?.execute(params_from_iter(values.into_iter().map(Cell)))?;
    Ok(())
}

fn insert_sql(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), places.join(", "))
}

fn update_sql(table: &Table, set: &[usize]) -> String {
    let columns = set.iter().filter_map(|index| table.columns.get(*index));
    let assignments: Vec<String> =
        columns.zip(1..).map(|(column, place)| format!("{} = ?{place}", column.name)).collect();
    format!("UPDATE {} SET {} WHERE {}", table.name, assignments.join(", "), on_key(table, set.len() + 1))
}

fn on_key(table: &Table, first: usize) -> String {
    let parts: Vec<String> = table
        .columns
        .iter()
        .take(table.key)
        .zip(first..)
        .map(|(column, place)| format!("{} = ?{place}", column.name))
        .collect();
    parts.join(" AND ")
}

fn expire(transaction: &Transaction<'_>, table: &'static Table, before: i64) -> Result<(), rusqlite::Error> {
    if let Some(column) = table.keep_until.and_then(|index| table.columns.get(index)) {
        let sql = format!("DELETE FROM {} WHERE {} < ?1", table.name, column.name);
        transaction.prepare_cached(&sql)?.execute([before])?;
    }
    Ok(())
}
