//! What does a projection do to its tables? Row operations: typed, pure, the same for memory and for
//! every engine, so that a new read model touches no engine file.

mod cells;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use cells::Cells;

/// A cell. Two types and null are enough, and mean the same on every engine: truth values are 0 and 1,
/// times are milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A 64-bit integer.
    Int(i64),
    /// Text.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Int(i64::from(number))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Int(i64::from(truth))
    }
}

impl From<DateTime<Utc>> for Value {
    fn from(time: DateTime<Utc>) -> Self {
        Value::Int(time.timestamp_millis())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `text`
    Text,
    /// `bigint`
    Int,
}

/// A column of a read-model table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnKind,
}

/// A text column.
#[must_use]
pub const fn text(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Text }
}

/// An integer column (numbers, truth values, times).
#[must_use]
pub const fn int(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Int }
}

/// How much of a table memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// All of it, before the node is ready. What is missing is still asked for: another node may have just
    /// written it.
    Resident {
        /// The column that is 1 in rows that are gone for good. Of those memory holds the latest, as they are never
        /// fewer and everybody's may be among them.
        gone: usize,
    },
    /// Rows on first use, least recently used ones leave.
    Cached,
    /// Nothing: lists and histories are read with SQL.
    Stored,
}

/// A read-model table. `migrations/` creates it with exactly these columns in this order.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How many of the first columns are the primary key. Tables held in memory have one.
    pub key: usize,
    /// All columns.
    pub columns: &'static [Column],
    /// The column (milliseconds) after which a row may leave; `None` = rows stay.
    pub keep_until: Option<usize>,
    /// How much of it memory holds.
    pub residency: Residency,
}

impl Table {
    /// Whether memory holds all of it, but for what is gone for good.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        matches!(self.residency, Residency::Resident { .. })
    }

    /// Whether a row of it is gone for good.
    #[must_use]
    pub fn is_gone(&self, row: &Row) -> bool {
        match self.residency {
            Residency::Resident { gone } => row.get(gone) == Some(&Value::Int(1)),
            Residency::Cached | Residency::Stored => false,
        }
    }

    /// Index of a column by name; the projections' own tests cover every name used.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// Cells in the order of the table's columns.
pub type Row = Vec<Value>;

/// One change of one table.
#[derive(Clone, Debug)]
pub enum RowOp {
    /// Adds a row; there is none with this key.
    Insert {
        /// Where.
        table: &'static Table,
        /// All cells; the database writes them and memory keeps them.
        row: Arc<Row>,
    },
    /// Changes cells of the row with this key; nothing happens when it has left.
    Update {
        /// Where.
        table: &'static Table,
        /// The key's cells.
        key: Vec<Value>,
        /// Column index and new cell.
        set: Vec<(usize, Value)>,
    },
    /// Removes every row whose `keep_until` lies before this time (milliseconds).
    Expire {
        /// Where.
        table: &'static Table,
        /// The horizon.
        before: i64,
    },
}

impl RowOp {
    /// The table it changes.
    #[must_use]
    pub fn table(&self) -> &'static Table {
        match self {
            RowOp::Insert { table, .. } | RowOp::Update { table, .. } | RowOp::Expire { table, .. } => table,
        }
    }

    /// A new row.
    #[must_use]
    pub fn insert(table: &'static Table, row: Row) -> Self {
        RowOp::Insert { table, row: Arc::new(row) }
    }

    /// An update by column names. A name that does not exist changes nothing, so a program in which
    /// checks are on stops there.
    #[must_use]
    pub fn update(table: &'static Table, key: impl Into<Value>, set: Vec<(&str, Value)>) -> Self {
        let column = |name: &str| {
            let index = table.column(name);
            debug_assert!(index.is_some(), "table {} has no column {name}", table.name);
            index
        };
        let set = set.into_iter().filter_map(|(name, value)| Some((column(name)?, value))).collect();
        RowOp::Update { table, key: vec![key.into()], set }
    }
}

/// The JSON text of a value for a cell; a value that cannot be written is null.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_string(value).map_or(Value::Null, Value::Text)
}

/// The serde name of a unit variant for a cell, without the quotes of JSON.
#[must_use]
pub fn name(value: &impl serde::Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Value::Text(name),
        Ok(_) | Err(_) => Value::Null,
    }
}
