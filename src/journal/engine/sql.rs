//! What is asked of both databases in the same words? Placeholders stand in the order of their numbers: to SQLite
//! `$2` is a name, which gets its number from where it first stands.

use projections::read::columns;
use projections::row::{Residency, Row, Table, Value};
use projections::{EVENTUAL, TRANSACTIONAL};

use super::{AsOf, EngineError, LANE, NewEvent, StateRow, StoredRow};

pub const HEAD: &str = "SELECT head, chain, projection_epoch FROM lanes WHERE lane = $1";
pub const BATCH: &str = "SELECT first_position, chain FROM batches WHERE lane = $1 AND batch = $2";
pub const STATE: &str =
    "SELECT sequence, state FROM stream_states WHERE aggregate_type = $1 AND aggregate_id = $2";
pub const STREAM: &str = "SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata \
     FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3 ORDER BY sequence";
pub const SECRET: &str = "SELECT verifier FROM secrets WHERE id = $1";
pub const SUBJECT_KEY: &str = "SELECT wrapped FROM subject_keys WHERE subject = $1";
/// A sign of life, of who was not told that it will be counted out.
pub const BEAT: &str = "UPDATE nodes SET applied = $2, beats = beats + 1 WHERE node = $1 AND beats > 0";
pub const CHECKPOINT: &str = "SELECT position FROM checkpoints WHERE projection = $1";
/// The version of a read model's tables, if it is not this one.
pub const OTHER_VERSION: &str = "SELECT version FROM read_models WHERE projection = $1 AND version <> $2";

pub const PUT_SECRET: &str = "INSERT INTO secrets (id, verifier) VALUES ($1, $2)";
pub const DELETE_SECRET: &str = "DELETE FROM secrets WHERE id = $1";
pub const PUT_SUBJECT_KEY: &str = "INSERT INTO subject_keys (subject, wrapped) VALUES ($1, $2)";
pub const KEEP_SUBJECT_KEY: &str =
    "INSERT INTO subject_keys (subject, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING";
pub const PUT_STATE: &str = "INSERT INTO stream_states (aggregate_type, aggregate_id, sequence, state) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET sequence = excluded.sequence, state = excluded.state";
pub const PUT_CHECKPOINT: &str = "INSERT INTO checkpoints (projection, lane, position) VALUES ($1, $2, $3) \
     ON CONFLICT (projection) DO UPDATE SET position = excluded.position";
pub const DELETE_CHECKPOINT: &str = "DELETE FROM checkpoints WHERE projection = $1";
pub const TAKE_CHECKPOINT: &str = "DELETE FROM checkpoints WHERE projection = $1 AND position = $2";
pub const TAKE_REPLAYS: &str = "DELETE FROM checkpoints WHERE projection LIKE 'replay %'";
pub const PUT_VERSION: &str = "INSERT INTO read_models (projection, version) VALUES ($1, $2) \
     ON CONFLICT (projection) DO UPDATE SET version = excluded.version";
pub const MOVE_EPOCH: &str = "UPDATE lanes SET projection_epoch = projection_epoch + 1 WHERE lane = $1";
pub const PUT_MIGRATION: &str = "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)";

/// Read models that this program does not know: what it writes is not in them, and whoever does know them is to make
/// them anew.
pub fn delete_other_versions() -> String {
    let known: Vec<String> =
        TRANSACTIONAL.iter().chain(EVENTUAL).map(|projection| format!("'{}'", projection.name)).collect();
    format!("DELETE FROM read_models WHERE projection NOT IN ({})", known.join(", "))
}

/// Whole batches with their events, in order: of a lane, after a position, that begin up to another, and so many at
/// most. `greatest` is what the database calls the greater of two numbers.
pub fn batches_after(greatest: &str) -> String {
    format!(
        "SELECT b.first_position, b.event_count, b.chain, e.batch_index, e.aggregate_type, e.aggregate_id, \
         e.sequence, e.event_type, e.event_version, e.payload, e.metadata \
         FROM (SELECT * FROM batches WHERE lane = $1 AND first_position > $2 AND first_position <= {greatest}($3, \
               (SELECT min(first_position) FROM batches WHERE lane = $1 AND first_position > $2)) \
               ORDER BY first_position LIMIT $4) b \
         LEFT JOIN events e ON e.lane = b.lane AND e.batch = b.batch \
         ORDER BY b.first_position, e.batch_index"
    )
}

/// A row by its key, and what it is as of: one row in any case.
pub fn row_of(table: &Table) -> String {
    let key = table.columns.first().map_or("", |column| column.name);
    rows_as_of(table, table.name, &format!("t.{key} = $1"), "")
}

/// All rows in key order, and what they are as of.
pub fn rows_of(table: &Table) -> String {
    let order: Vec<String> = (1..=table.key).map(|column| column.to_string()).collect();
    rows_as_of(table, table.name, "true", &format!(" ORDER BY {}", order.join(", ")))
}

/// The rows after a key that are not gone for good, so many at most, in key order, and what they are as of.
pub fn living_rows_of(table: &Table) -> String {
    let column = |index: usize| table.columns.get(index).map_or("", |column| column.name);
    let is_living = match table.residency {
        Residency::Resident { gone } => format!(" AND t.{} = 0", column(gone)),
        Residency::Cached | Residency::Stored => String::new(),
    };
    let key = column(0);
    let page =
        format!("(SELECT * FROM {} t WHERE t.{key} > $1{is_living} ORDER BY t.{key} LIMIT $2)", table.name);
    rows_as_of(table, &page, "true", " ORDER BY 1")
}

fn rows_as_of(table: &Table, from: &str, on: &str, order: &str) -> String {
    let columns = columns(table, "t");
    format!(
        "SELECT {columns}, l.head, l.projection_epoch FROM lanes l LEFT JOIN {from} t ON {on} WHERE l.lane = {LANE}{order}"
    )
}

/// What these three answer. The lane is there whether or not the table has a row.
pub fn found_as_of(rows: Vec<Row>) -> Result<(Vec<Row>, AsOf), EngineError> {
    let mut as_of = None;
    let mut found = Vec::with_capacity(rows.len());
    for mut row in rows {
        let (Some(Value::Int(epoch)), Some(Value::Int(position))) = (row.pop(), row.pop()) else {
            return Err(other_shape("lanes"));
        };
        as_of = Some(AsOf { position, epoch });
        if row.first().is_some_and(|key| *key != Value::Null) {
            found.push(row);
        }
    }
    as_of.map(|as_of| (found, as_of)).ok_or_else(|| other_shape("lanes"))
}

/// The only cell of the only row, if there is a row.
pub fn only(rows: Vec<Row>) -> Option<Value> {
    rows.into_iter().next()?.into_iter().next()
}

pub fn text(rows: Vec<Row>, table: &str) -> Result<Option<String>, EngineError> {
    match only(rows) {
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(Value::Null | Value::Int(_)) => Err(other_shape(table)),
        None => Ok(None),
    }
}

pub fn number(rows: Vec<Row>, table: &str) -> Result<Option<i64>, EngineError> {
    match only(rows) {
        Some(Value::Int(number)) => Ok(Some(number)),
        Some(Value::Null | Value::Text(_)) => Err(other_shape(table)),
        None => Ok(None),
    }
}

/// What [`STATE`] answers.
pub fn state(rows: Vec<Row>) -> Result<Option<StateRow>, EngineError> {
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    match <[Value; 2]>::try_from(row) {
        Ok([Value::Int(sequence), Value::Text(state)]) => Ok(Some(StateRow { sequence, state })),
        _ => Err(other_shape("stream_states")),
    }
}

/// An event of a stream, from the seven columns of [`STREAM`].
pub fn event(row: Row) -> Result<StoredRow, EngineError> {
    match <[Value; 7]>::try_from(row) {
        Ok(
            [
                Value::Text(aggregate_type),
                Value::Text(aggregate_id),
                Value::Int(sequence),
                Value::Text(event_type),
                Value::Text(event_version),
                Value::Text(payload),
                Value::Text(metadata),
            ],
        ) => {
            let event = NewEvent { event_type, event_version, payload, metadata: metadata.into() };
            Ok(StoredRow { position: 0, aggregate_type, aggregate_id, sequence, event })
        }
        _ => Err(other_shape("events")),
    }
}

/// Of what a table holds that no program has written there.
pub fn other_shape(table: &str) -> EngineError {
    EngineError::Damaged(format!("a row of the table {table} has another shape"))
}
