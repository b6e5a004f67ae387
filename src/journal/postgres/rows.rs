//! How do row operations become few statements? All operations on one row are folded into one, and
//! rows of one shape go together: a batch costs a clause per table and shape, not per event.

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
    insert: Option<Cow<'a, Row>>,
    set: BTreeMap<usize, &'a Value>,
}

/// By table and key: statements touch rows in one order on every node, so none waits for another in a
/// circle.
type Changes<'a> = BTreeMap<(&'static str, &'a [Value]), (&'static Table, Change<'a>)>;

/// What a transaction does to the rows of read models in the end.
#[derive(Default)]
pub(super) struct Folded<'a>(Changes<'a>);

impl<'a> Folded<'a> {
    /// `Expire` speaks of rows nobody has seen: see [`after_expiry`].
    fn add(&mut self, op: &'a RowOp) {
        match op {
            RowOp::Insert { table, row } => {
                let key = row.get(..table.key).unwrap_or_default();
                self.change(table, key).insert = Some(Cow::Borrowed(row));
            }
            RowOp::Update { table, key, set } => {
                let change = self.change(table, key);
                match &mut change.insert {
                    Some(row) => update(row.to_mut(), set),
                    None => change.set.extend(set.iter().map(|(column, value)| (*column, value))),
                }
            }
            RowOp::Expire { .. } => {}
        }
    }

    fn change(&mut self, table: &'static Table, key: &'a [Value]) -> &mut Change<'a> {
        &mut self.0.entry((table.name, key)).or_insert_with(|| (table, Change::default())).1
    }

    /// The statements that do it: one for each table and shape.
    pub(super) fn statements(&self) -> Vec<Statement<'_>> {
        let mut statements: BTreeMap<(&'static str, Shape), Statement<'_>> = BTreeMap::new();
        for ((name, key), (table, change)) in &self.0 {
            let mut add = |shape: Shape, row| {
                let new = |shape: &(&'static str, Shape)| Statement::new(table, shape.1.clone());
                statements.entry((*name, shape)).or_insert_with_key(new).rows.push(row);
            };
            if let Some(row) = &change.insert {
                add(Shape::Insert, row.iter().collect());
            } else if !change.set.is_empty() {
                let columns = change.set.keys().copied().collect();
                add(Shape::Update(columns), key.iter().chain(change.set.values().copied()).collect());
            }
        }
        statements.into_values().collect()
    }
}

/// What is done to rows, and for updates to which columns.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Insert,
    Update(Vec<usize>),
}

/// Rows of one table to which the same is done.
pub(super) struct Statement<'a> {
    table: &'static Table,
    shape: Shape,
    columns: Vec<Column>,
    /// Cells in the order of `columns`, row by row.
    rows: Vec<Vec<&'a Value>>,
}

impl<'a> Statement<'a> {
    fn new(table: &'static Table, shape: Shape) -> Self {
        let keys = table.columns.iter().take(table.key).copied();
        let columns = match &shape {
            Shape::Insert => table.columns.to_vec(),
            Shape::Update(set) => {
                keys.chain(set.iter().filter_map(|index| table.columns.get(*index).copied())).collect()
            }
        };
        Self { table, shape, columns, rows: Vec::new() }
    }

    /// How many parameters it takes.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Its text; the first parameter has this number.
    pub(super) fn sql(&self, first: usize) -> String {
        let Self { table, shape, columns, .. } = self;
        let all = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let source = format!("UNNEST({})", parameters(columns, first));
        let keys = table.columns.iter().take(table.key);
        let on_key = keys.map(|key| format!("t.{0} = v.{0}", key.name)).collect::<Vec<_>>().join(" AND ");
        match shape {
            Shape::Insert => format!("INSERT INTO {} ({all}) SELECT * FROM {source}", table.name),
            Shape::Update(_) => {
                let set = columns.iter().skip(table.key).map(|column| format!("{0} = v.{0}", column.name));
                let set = set.collect::<Vec<_>>().join(", ");
                format!("UPDATE {} t SET {set} FROM {source} AS v({all}) WHERE {on_key}", table.name)
            }
        }
    }

    /// Binds its rows as one array a column.
    pub(super) fn bind(
        &'a self,
        mut query: Query<'a, sqlx::Postgres, PgArguments>,
    ) -> Query<'a, sqlx::Postgres, PgArguments> {
        for (index, column) in self.columns.iter().enumerate() {
            let cells = self.rows.iter().map(|row| row.get(index).copied());
            query = match column.kind {
                ColumnKind::Text => query.bind(cells.map(text).collect::<Vec<Option<&str>>>()),
                ColumnKind::Int => query.bind(cells.map(int).collect::<Vec<Option<i64>>>()),
            };
        }
        query
    }
}

/// Executes operations one statement after the other, in effect order also where rows expire.
pub(super) async fn execute(connection: &mut PgConnection, ops: &[&RowOp]) -> Result<(), sqlx::Error> {
    let rest = after_expiry(connection, ops).await?;
    execute_folded(connection, rest).await
}

/// Executes what is to be done up to the last rows that expire, and folds the rest. Table by table, which leaves each
/// its order, so that also where rows expire tables come in one order on every node.
pub(super) async fn after_expiry<'a>(
    connection: &mut PgConnection,
    ops: &[&'a RowOp],
) -> Result<Folded<'a>, sqlx::Error> {
    let mut ops = ops.to_vec();
    ops.sort_by_key(|op| op.table().name);
    let mut folded = Folded::default();
    for op in ops {
        if let RowOp::Expire { table, before } = op {
            execute_folded(connection, std::mem::take(&mut folded)).await?;
            expire(connection, table, *before).await?;
        } else {
            folded.add(op);
        }
    }
    Ok(folded)
}

async fn execute_folded(connection: &mut PgConnection, folded: Folded<'_>) -> Result<(), sqlx::Error> {
    for statement in folded.statements() {
        let sql = statement.sql(1);
        statement.bind(sqlx::query(&sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

fn parameters(columns: &[Column], first: usize) -> String {
    let parameters: Vec<String> = columns
        .iter()
        .zip(first..)
        .map(|(column, number)| match column.kind {
            ColumnKind::Text => format!("${number}::text[]"),
            ColumnKind::Int => format!("${number}::bigint[]"),
        })
        .collect();
    parameters.join(", ")
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
