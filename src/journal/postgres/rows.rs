//! How do row operations become few statements? All operations on one row are folded into one, and
//! rows of one shape go together: a batch costs a statement per table and shape, not per event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use projections::memory::update;
use projections::row::{Column, ColumnKind, Row, RowOp, Table, Value};
use sqlx::PgConnection;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

/// What is to happen to one row in the end.
#[derive(Default)]
struct Change<'a> {
    delete: bool,
    insert: Option<Cow<'a, Row>>,
    set: BTreeMap<usize, &'a Value>,
}

/// By table and key: statements touch rows in one order on every node, so none waits for another in a
/// circle.
type Changes<'a> = BTreeMap<(&'static str, &'a [Value]), (&'static Table, Change<'a>)>;

/// Executes operations in effect order.
pub(super) async fn execute(connection: &mut PgConnection, ops: &[&RowOp]) -> Result<(), sqlx::Error> {
    let mut changes = Changes::new();
    for op in ops {
        match op {
            RowOp::Insert { table, row } => {
                let key = row.get(..table.key).unwrap_or_default();
                change(&mut changes, table, key).insert = Some(Cow::Borrowed(row));
            }
            RowOp::Update { table, key, set } => {
                let change = change(&mut changes, table, key);
                match &mut change.insert {
                    Some(row) => update(row.to_mut(), set),
                    None if change.delete => {}
                    None => change.set.extend(set.iter().map(|(column, value)| (*column, value))),
                }
            }
            RowOp::Delete { table, key } => {
                *change(&mut changes, table, key) = Change { delete: true, ..Change::default() };
            }
            RowOp::Expire { table, before } => {
                flush(connection, &std::mem::take(&mut changes)).await?;
                expire(connection, table, *before).await?;
            }
        }
    }
    flush(connection, &changes).await
}

fn change<'a, 'b>(
    changes: &'b mut Changes<'a>,
    table: &'static Table,
    key: &'a [Value],
) -> &'b mut Change<'a> {
    &mut changes.entry((table.name, key)).or_insert_with(|| (table, Change::default())).1
}

/// The cells of the rows of one statement, row by row.
type Cells<'a> = Vec<Vec<&'a Value>>;

/// The rows of one statement: a table, what is done, and for updates which columns.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Delete,
    Insert,
    Update(Vec<usize>),
}

async fn flush<'a>(connection: &mut PgConnection, changes: &'a Changes<'a>) -> Result<(), sqlx::Error> {
    let mut statements: BTreeMap<(&'static str, Shape), (&'static Table, Cells<'a>)> = BTreeMap::new();
    for ((name, key), (table, change)) in changes {
        let mut add = |shape: Shape, row: Vec<&'a Value>| {
            statements.entry((*name, shape)).or_insert_with(|| (*table, Vec::new())).1.push(row);
        };
        if change.delete {
            add(Shape::Delete, key.iter().collect());
        }
        if let Some(row) = &change.insert {
            add(Shape::Insert, row.iter().collect());
        } else if !change.set.is_empty() {
            let columns = change.set.keys().copied().collect();
            add(Shape::Update(columns), key.iter().chain(change.set.values().copied()).collect());
        }
    }
    for ((_, shape), (table, rows)) in &statements {
        run(connection, table, shape, rows).await?;
    }
    Ok(())
}

async fn run(
    connection: &mut PgConnection,
    table: &'static Table,
    shape: &Shape,
    rows: &[Vec<&Value>],
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
    rows: &'q [Vec<&'q Value>],
) -> Query<'q, sqlx::Postgres, PgArguments> {
    for (index, column) in columns.iter().enumerate() {
        let cells = rows.iter().map(|row| row.get(index).copied());
        query = match column.kind {
            ColumnKind::Text => query.bind(cells.map(text).collect::<Vec<Option<&str>>>()),
            ColumnKind::Int => query.bind(cells.map(int).collect::<Vec<Option<i64>>>()),
        };
    }
    query
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::Text(text) => Some(text),
        Value::Null | Value::Int(_) => None,
    }
}

fn int(value: Option<&Value>) -> Option<i64> {
    match value? {
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
