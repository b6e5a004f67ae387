//! How do row operations become few statements? All operations on one row are folded into one, and
//! rows of one shape go together: a batch costs a statement per table and shape, not per event.

use std::collections::BTreeMap;

use projections::memory::update;
use projections::row::{Column, ColumnKind, Row, RowOp, Table, Value};
use sqlx::PgConnection;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

/// What is to happen to one row in the end.
#[derive(Default)]
struct Change {
    delete: bool,
    insert: Option<Row>,
    set: BTreeMap<usize, Value>,
}

type Changes = BTreeMap<(&'static str, Vec<Value>), (&'static Table, Change)>;

/// Executes operations in effect order.
pub(super) async fn execute(connection: &mut PgConnection, ops: &[&RowOp]) -> Result<(), sqlx::Error> {
    let mut changes = Changes::new();
    for op in ops {
        match op {
            RowOp::Insert { table, row } => {
                let key = row.iter().take(table.key).cloned().collect();
                change(&mut changes, table, key).insert = Some(row.clone());
            }
            RowOp::Update { table, key, set } => {
                let change = change(&mut changes, table, key.clone());
                match &mut change.insert {
                    Some(row) => update(row, set),
                    None if change.delete => {}
                    None => change.set.extend(set.iter().cloned()),
                }
            }
            RowOp::Delete { table, key } => {
                *change(&mut changes, table, key.clone()) = Change { delete: true, ..Change::default() };
            }
            RowOp::Expire { table, before } => {
                flush(connection, std::mem::take(&mut changes)).await?;
                expire(connection, table, *before).await?;
            }
        }
    }
    flush(connection, changes).await
}

fn change<'a>(changes: &'a mut Changes, table: &'static Table, key: Vec<Value>) -> &'a mut Change {
    &mut changes.entry((table.name, key)).or_insert_with(|| (table, Change::default())).1
}

/// The rows of one statement: a table, what is done, and for updates which columns.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Delete,
    Insert,
    Update(Vec<usize>),
}

async fn flush(connection: &mut PgConnection, changes: Changes) -> Result<(), sqlx::Error> {
    let mut statements: BTreeMap<(&'static str, Shape), (&'static Table, Vec<Row>)> = BTreeMap::new();
    for ((name, key), (table, change)) in changes {
        let mut add = |shape: Shape, row: Row| {
            statements.entry((name, shape)).or_insert_with(|| (table, Vec::new())).1.push(row);
        };
        if change.delete {
            add(Shape::Delete, key.clone());
        }
        if let Some(row) = change.insert {
            add(Shape::Insert, row);
        } else if !change.set.is_empty() {
            let (columns, values): (Vec<usize>, Vec<Value>) = change.set.into_iter().unzip();
            add(Shape::Update(columns), key.into_iter().chain(values).collect());
        }
    }
    for ((_, shape), (table, rows)) in statements {
        run(connection, table, &shape, rows).await?;
    }
    Ok(())
}

async fn run(
    connection: &mut PgConnection,
    table: &'static Table,
    shape: &Shape,
    rows: Vec<Row>,
) -> Result<(), sqlx::Error> {
    let keys: Vec<Column> = table.columns.iter().take(table.key).copied().collect();
    let columns: Vec<Column> = match shape {
        Shape::Insert => table.columns.to_vec(),
        Shape::Delete => keys.clone(),
        Shape::Update(set) => keys
            .iter()
            .copied()
            .chain(set.iter().filter_map(|index| table.columns.get(*index).copied()))
            .collect(),
    };
    let names = |columns: &[Column], prefix: &str| {
        columns.iter().map(|column| format!("{prefix}{}", column.name)).collect::<Vec<_>>().join(", ")
    };
    let source = format!("UNNEST({})", parameters(&columns));
    let on_key = keys.iter().map(|key| format!("t.{0} = v.{0}", key.name)).collect::<Vec<_>>().join(" AND ");
    let all = names(&columns, "");
    let sql = match shape {
        Shape::Insert => format!("INSERT INTO {} ({all}) SELECT * FROM {source}", table.name),
        Shape::Delete => format!("DELETE FROM {} t USING {source} AS v({all}) WHERE {on_key}", table.name),
        Shape::Update(_) => {
            let set = columns.iter().skip(table.key).map(|column| format!("{0} = v.{0}", column.name));
            let set = set.collect::<Vec<_>>().join(", ");
            format!("UPDATE {} t SET {set} FROM {source} AS v({all}) WHERE {on_key}", table.name)
        }
    };
    bind(sqlx::query(&sql), &columns, rows).execute(connection).await?;
    Ok(())
}

fn parameters(columns: &[Column]) -> String {
    let parameters: Vec<String> = columns
        .iter()
        .zip(1..)
        .map(|(column, number)| match column.kind {
            ColumnKind::Text => format!("${number}::text[]"),
            ColumnKind::Int => format!("${number}::bigint[]"),
        })
        .collect();
    parameters.join(", ")
}

/// Binds rows as one array a column.
fn bind<'q>(
    mut query: Query<'q, sqlx::Postgres, PgArguments>,
    columns: &[Column],
    rows: Vec<Row>,
) -> Query<'q, sqlx::Postgres, PgArguments> {
    let mut cells: Vec<std::vec::IntoIter<Value>> = rows.into_iter().map(Vec::into_iter).collect();
    for column in columns {
        let values = cells.iter_mut().map(|row| row.next().unwrap_or(Value::Null));
        query = match column.kind {
            ColumnKind::Text => query.bind(values.map(text).collect::<Vec<_>>()),
            ColumnKind::Int => query.bind(values.map(|value| int(&value)).collect::<Vec<_>>()),
        };
    }
    query
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Null | Value::Int(_) => None,
    }
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Null | Value::Text(_) => None,
    }
}

async fn expire(
    connection: &mut PgConnection,
    table: &'static Table,
    before: i64,
) -> Result<(), sqlx::Error> {
    let Some(column) = table.keep_until.and_then(|index| table.columns.get(index)) else { return Ok(()) };
    let sql = format!("DELETE FROM {} WHERE {} < $1", table.name, column.name);
    sqlx::query(&sql).bind(before).execute(connection).await?;
    Ok(())
}
