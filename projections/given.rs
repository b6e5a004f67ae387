//! What tests start from: what happened before, folded into rows in two ways — by a few lines of a map,
//! and by a database with the tables of `migrations/`.

mod events;
mod tables;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use aggregates::AnyEvent;
use async_trait::async_trait;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;

pub use events::*;
pub use tables::Tables;

use crate::projection::{Projection, Recorded, row_ops};
use crate::read::{Read, ReadError};
use crate::row::{Row, RowOp, Table, Value};
use crate::{EVENTUAL, TRANSACTIONAL};

const MIGRATION: &str = include_str!("../migrations/sqlite/0002_read_models.sql");

/// The row operations of an event that is the `sequence`th of its stream.
pub fn ops(aggregate_id: &str, sequence: i64, position: i64, event: &AnyEvent) -> Vec<RowOp> {
    let all: Vec<_> = TRANSACTIONAL.iter().chain(EVENTUAL).copied().collect();
    ops_of(&all, aggregate_id, sequence, position, event)
}

/// Those of some read models.
pub fn ops_of(
    projections: &[&Projection],
    aggregate_id: &str,
    sequence: i64,
    position: i64,
    event: &AnyEvent,
) -> Vec<RowOp> {
    let metadata = BTreeMap::new();
    let recorded = Recorded {
        position: Some(position),
        aggregate_type: event.aggregate_type(),
        aggregate_id,
        sequence,
        event,
        metadata: &metadata,
    };
    row_ops(projections, &recorded)
}

/// Read models after some events.
pub struct Given {
    pub tables: Tables,
    database: Mutex<Connection>,
    sequences: HashMap<(&'static str, String), i64>,
    position: i64,
}

impl Given {
    pub fn nothing() -> Self {
        let database = Connection::open_in_memory().unwrap();
        database.execute_batch(MIGRATION).unwrap();
        Self {
            tables: Tables::default(),
            database: Mutex::new(database),
            sequences: HashMap::new(),
            position: 0,
        }
    }

    /// Adds an event to a stream.
    pub fn then(mut self, aggregate_id: &str, event: impl Into<AnyEvent>) -> Self {
        let event = event.into();
        let sequence = self.sequences.entry((event.aggregate_type(), aggregate_id.to_owned())).or_default();
        *sequence += 1;
        self.position += 1;
        for op in ops(aggregate_id, *sequence, self.position, &event) {
            self.tables.apply(&op);
            execute(&self.database.lock().unwrap(), &op);
        }
        self
    }

    /// The row with this key.
    pub fn row(&self, table: &'static Table, key: &str) -> Option<Row> {
        self.tables.row(table, &[key.into()])
    }

    /// All rows of a table as the database has them, in key order.
    pub fn stored(&self, table: &'static Table) -> Vec<Row> {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let sql = format!(
            "SELECT {} FROM {} ORDER BY {}",
            names.join(", "),
            table.name,
            names[..table.key].join(", ")
        );
        select(&self.database.lock().unwrap(), &sql, &[])
    }
}

#[async_trait]
impl Read for Given {
    async fn find(&self, table: &'static Table, key: &str) -> Result<Option<Arc<Row>>, ReadError> {
        Ok(self.row(table, key).map(Arc::new))
    }

    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, ReadError> {
        Ok(select(&self.database.lock().unwrap(), sql, parameters))
    }
}

fn select(database: &Connection, sql: &str, parameters: &[Value]) -> Vec<Row> {
    // As in the engine: `$2` is a name to SQLite, `?2` the second parameter.
    let mut statement =
        database.prepare(&sql.replace('$', "?")).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let width = statement.column_count();
    let read = |row: &rusqlite::Row<'_>| (0..width).map(|index| Ok(value(row.get(index)?))).collect();
    let rows = statement.query_map(rusqlite::params_from_iter(parameters.iter().map(cell)), read);
    rows.unwrap().map(|row: rusqlite::Result<Row>| row.unwrap()).collect()
}

fn execute(database: &Connection, op: &RowOp) {
    let (sql, cells) = statement(op);
    database
        .execute(&sql, rusqlite::params_from_iter(cells.iter().map(cell)))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn statement(op: &RowOp) -> (String, Vec<Value>) {
    match op {
        RowOp::Insert { table, row } => {
            let places = vec!["?"; row.len()].join(", ");
            (format!("INSERT INTO {} VALUES ({places})", table.name), Row::clone(row))
        }
        RowOp::Update { table, key, set } => {
            let cells: Vec<String> =
                set.iter().map(|(index, _)| format!("{} = ?", table.columns[*index].name)).collect();
            let values = set.iter().map(|(_, value)| value.clone()).chain(key.iter().cloned()).collect();
            (format!("UPDATE {} SET {} WHERE {}", table.name, cells.join(", "), key_of(table)), values)
        }
        RowOp::Expire { table, before } => {
            let column = table.columns[table.keep_until.unwrap()].name;
            (format!("DELETE FROM {} WHERE {column} < ?", table.name), vec![(*before).into()])
        }
    }
}

fn key_of(table: &Table) -> String {
    let cells: Vec<String> =
        table.columns[..table.key].iter().map(|column| format!("{} = ?", column.name)).collect();
    cells.join(" AND ")
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Int(number) => Cell::Integer(*number),
        Value::Text(text) => Cell::Text(text.clone()),
    }
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => Value::Int(number),
        Cell::Text(text) => Value::Text(text),
        Cell::Real(_) | Cell::Blob(_) => panic!("neither text nor integer"),
    }
}
