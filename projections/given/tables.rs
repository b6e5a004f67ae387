//! Row operations by the book: a map from key to row.

use std::collections::BTreeMap;

use crate::memory::{ended, update};
use crate::row::{ColumnKind, Row, RowOp, Table, Value};

/// The rows of all tables by table and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables(BTreeMap<(&'static str, Vec<Value>), Row>);

impl Tables {
    /// Executes an operation, which must fit its table.
    pub fn apply(&mut self, op: &RowOp) {
        check(op);
        match op {
            RowOp::Insert { table, row } => {
                let former = self.0.insert((table.name, row[..table.key].to_vec()), Row::clone(row));
                assert_eq!(former, None, "table {} has a row with this key", table.name);
            }
            RowOp::Update { table, key, set } => {
                if let Some(row) = self.0.get_mut(&(table.name, key.clone())) {
                    update(row, set);
                }
            }
            RowOp::Expire { table, before } => {
                self.0.retain(|(name, _), row| *name != table.name || !ended(table, row, *before));
            }
        }
    }

    pub fn row(&self, table: &'static Table, key: &[Value]) -> Option<Row> {
        self.0.get(&(table.name, key.to_vec())).cloned()
    }

    /// All rows of a table in key order.
    pub fn rows(&self, table: &'static Table) -> Vec<Row> {
        self.0.iter().filter(|((name, _), _)| *name == table.name).map(|(_, row)| row.clone()).collect()
    }
}

/// Whether an operation has exactly its table's columns and kinds.
pub fn check(op: &RowOp) {
    let table = op.table();
    match op {
        RowOp::Insert { row, .. } => {
            assert_eq!(row.len(), table.columns.len(), "table {}", table.name);
            row.iter().enumerate().for_each(|(index, value)| check_cell(table, index, value));
            assert!(row[..table.key].iter().all(|cell| *cell != Value::Null), "a key is not null");
        }
        RowOp::Update { key, set, .. } => {
            check_key(table, key);
            assert!(!set.is_empty(), "table {}: an update of nothing", table.name);
            for (index, value) in set {
                assert!(*index >= table.key, "table {}: a key does not change", table.name);
                check_cell(table, *index, value);
            }
        }
        RowOp::Expire { .. } => assert!(table.keep_until.is_some(), "rows of {} stay", table.name),
    }
}

fn check_key(table: &Table, key: &[Value]) {
    assert_eq!(key.len(), table.key, "table {}", table.name);
    key.iter().enumerate().for_each(|(index, value)| check_cell(table, index, value));
}

fn check_cell(table: &Table, index: usize, value: &Value) {
    let column = &table.columns[index];
    let fits = match value {
        Value::Null => true,
        Value::Int(_) => column.kind == ColumnKind::Int,
        Value::Text(_) => column.kind == ColumnKind::Text,
    };
    assert!(fits, "column {} of table {} is no place for {value:?}", column.name, table.name);
}
