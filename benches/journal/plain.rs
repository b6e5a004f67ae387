//! The limit: the rows of the same commands, prepared beforehand, written by plain statements in batches
//! as large as there are tasks. No decision, no conflict, no chain, no position, no memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use aggregates::authorization::Authorization;
use aggregates::client_token::ClientToken;
use aggregates::stored::Decide;
use aggregates::{AnyEvent, StoredEvent};
use chancery::clock::{SharedClock, SystemClock};
use chancery::secret::new_id;
use cqrs_es::Aggregate;
use projections::TRANSACTIONAL;
use projections::projection::{Recorded, row_ops};
use projections::row::{ColumnKind, RowOp, Table, Value};
use sqlx::{Connection, Executor};

use super::{
    Kind, Measured, RUN, STREAMS, cpu, grant_command, issue_command, metadata, redeem_command,
    refresh_command, token,
};

/// What one command writes: an event row, and what follows from it in the read models.
struct Prepared {
    event: [String; 6],
    sequence: i64,
    ops: Vec<RowOp>,
}

/// Decides the commands of a run, in memory.
struct Source {
    clock: SharedClock,
    streams: Vec<Stream>,
    next: usize,
}

struct Stream {
    id: String,
    aggregate: Authorization,
    sequence: i64,
    generation: u32,
}

impl Source {
    /// With what the streams hold before the run, if it goes to streams with a history.
    fn new(kind: Kind) -> (Self, Vec<Prepared>) {
        let mut source = Self { clock: SystemClock::shared(), streams: Vec::new(), next: 0 };
        let mut before = Vec::new();
        if kind == Kind::Loaded {
            for _ in 0..STREAMS {
                let id = new_id(source.clock.now());
                let commands = [grant_command(&id, &source.clock), redeem_command(&source.clock)];
                let mut stream =
                    Stream { id, aggregate: Authorization::default(), sequence: 0, generation: 1 };
                for command in commands {
                    before.extend(stream.decide(command, &source.clock));
                }
                source.streams.push(stream);
            }
        }
        (source, before)
    }

    fn next(&mut self) -> Prepared {
        if self.streams.is_empty() {
            let token = token(&self.clock);
            let id = token.id.clone();
            let events = ClientToken::default().decide(issue_command(token, &self.clock)).unwrap();
            return prepared(&id, 1, events.into_iter().next().unwrap(), &self.clock);
        }
        self.next += 1;
        let stream = &mut self.streams[self.next % STREAMS];
        let command = refresh_command(stream.generation, &self.clock);
        stream.generation += 1;
        stream.decide(command, &self.clock).into_iter().next().unwrap()
    }

    fn batches(&mut self, tasks: usize) -> Vec<Vec<Prepared>> {
        (0..(2048 / tasks).min(512)).map(|_| (0..tasks).map(|_| self.next()).collect()).collect()
    }
}

impl Stream {
    fn decide(
        &mut self,
        command: aggregates::authorization::AuthorizationCommand,
        clock: &SharedClock,
    ) -> Vec<Prepared> {
        let events = self.aggregate.decide(command).unwrap();
        events
            .into_iter()
            .map(|event| {
                self.sequence += 1;
                self.aggregate.apply(event.clone());
                prepared(&self.id, self.sequence, event, clock)
            })
            .collect()
    }
}

fn prepared<E: StoredEvent + Into<AnyEvent>>(
    id: &str,
    sequence: i64,
    event: E,
    clock: &SharedClock,
) -> Prepared {
    let encoded = event.encode().unwrap();
    let any: AnyEvent = event.into();
    let metadata = metadata(clock);
    let recorded = Recorded {
        position: None,
        aggregate_type: any.aggregate_type(),
        aggregate_id: id,
        sequence,
        event: &any,
        metadata: &metadata,
    };
    Prepared {
        ops: row_ops(TRANSACTIONAL, &recorded),
        event: [
            // Beside the rows of the journal in the same tables.
            format!("plain_{}", any.aggregate_type()),
            id.to_owned(),
            encoded.event_type,
            encoded.event_version,
            encoded.payload,
            serde_json::to_string(&metadata).unwrap(),
        ],
        sequence,
    }
}

/// A batch id that no other batch has.
fn batch_id(clock: &SharedClock, number: usize) -> i64 {
    (clock.now().timestamp_millis() << 16) + number as i64
}

/// PostgreSQL, in the same tables.
pub async fn postgres(url: &str, kind: Kind, tasks: usize) -> Measured {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let (mut source, before) = Source::new(kind);
    if !before.is_empty() {
        postgres_batch(&mut connection, &before, batch_id(&source.clock, 1 << 15)).await;
    }
    let (mut done, mut spent, mut cpu_spent) = (0_usize, 0.0, 0.0);
    while spent < RUN.as_secs_f64() {
        let batches = source.batches(tasks);
        let (started, before) = (Instant::now(), cpu());
        for (number, rows) in batches.iter().enumerate() {
            postgres_batch(&mut connection, rows, batch_id(&source.clock, number)).await;
            done += rows.len();
        }
        spent += started.elapsed().as_secs_f64();
        cpu_spent += cpu() - before;
    }
    measured("PostgreSQL", kind, tasks, done, spent, cpu_spent)
}

async fn postgres_batch(connection: &mut sqlx::PgConnection, rows: &[Prepared], batch: i64) {
    let column = |index: usize| rows.iter().map(|row| row.event[index].as_str()).collect::<Vec<_>>();
    connection.execute("BEGIN").await.unwrap();
    sqlx::query(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         lane, batch, batch_index) SELECT a, b, c, d, e, f::json, g::json, 99, $8, h FROM UNNEST($1::text[], \
         $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $9::bigint[]) \
         AS v(a, b, c, d, e, f, g, h)",
    )
    .bind(column(0))
    .bind(column(1))
    .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .bind(column(2))
    .bind(column(3))
    .bind(column(4))
    .bind(column(5))
    .bind(batch)
    .bind((0..rows.len() as i64).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await
    .unwrap();
    let mut statements: BTreeMap<(&str, Vec<usize>), Vec<&RowOp>> = BTreeMap::new();
    for op in rows.iter().flat_map(|row| &row.ops) {
        statements.entry(shape(op)).or_default().push(op);
    }
    for ops in statements.into_values() {
        postgres_rows(connection, &ops).await;
    }
    connection.execute("COMMIT").await.unwrap();
}

/// Table, and for an update its columns.
fn shape(op: &RowOp) -> (&'static str, Vec<usize>) {
    match op {
        RowOp::Insert { table, .. } => (table.name, Vec::new()),
        RowOp::Update { table, set, .. } => (table.name, set.iter().map(|(column, _)| *column).collect()),
        RowOp::Expire { .. } => unreachable!("these commands delete nothing"),
    }
}

/// The cells of an operation, an update's new ones before its key, as its statement takes them.
fn cells(op: &RowOp) -> Vec<&Value> {
    match op {
        RowOp::Insert { row, .. } => row.iter().collect(),
        RowOp::Update { key, set, .. } => set.iter().map(|(_, value)| value).chain(key).collect(),
        RowOp::Expire { .. } => Vec::new(),
    }
}

fn columns(table: &'static Table, set: &[usize]) -> Vec<usize> {
    if set.is_empty() { (0..table.columns.len()).collect() } else { set.iter().copied().chain([0]).collect() }
}

async fn postgres_rows(connection: &mut sqlx::PgConnection, ops: &[&RowOp]) {
    let (table, (_, set)) = (ops[0].table(), shape(ops[0]));
    let columns = columns(table, &set);
    let (mut arrays, mut names) = (Vec::new(), Vec::new());
    for (index, place) in columns.iter().zip(1..) {
        let kind = match table.columns[*index].kind {
            ColumnKind::Text => "text",
            ColumnKind::Int => "bigint",
        };
        arrays.push(format!("${place}::{kind}[]"));
        names.push(table.columns[*index].name);
    }
    let (arrays, list) = (arrays.join(", "), names.join(", "));
    let sql = if set.is_empty() {
        format!("INSERT INTO {} ({list}) SELECT * FROM UNNEST({arrays})", table.name)
    } else {
        let changes: Vec<String> =
            names.iter().take(set.len()).map(|name| format!("{name} = v.{name}")).collect();
        format!(
            "UPDATE {} t SET {} FROM UNNEST({arrays}) AS v({list}) WHERE t.{2} = v.{2}",
            table.name,
            changes.join(", "),
            table.columns[0].name
        )
    };
    let rows: Vec<Vec<&Value>> = ops.iter().map(|op| cells(op)).collect();
    let mut query = sqlx::query(&sql);
    for (place, index) in columns.iter().enumerate() {
        let column = rows.iter().map(|row| row[place]);
        query = match table.columns[*index].kind {
            ColumnKind::Text => query.bind(
                column
                    .map(|cell| match cell {
                        Value::Text(text) => Some(text.as_str()),
                        Value::Null | Value::Int(_) => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            ColumnKind::Int => query.bind(
                column
                    .map(|cell| match cell {
                        Value::Int(number) => Some(*number),
                        Value::Null | Value::Text(_) => None,
                    })
                    .collect::<Vec<_>>(),
            ),
        };
    }
    query.execute(connection).await.unwrap();
}

/// SQLite, with the same tables and durability.
pub fn sqlite(path: &Path, kind: Kind, tasks: usize) -> Measured {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.set_prepared_statement_cache_capacity(64);
    for sql in [
        include_str!("../../migrations/sqlite/0001_journal.sql"),
        include_str!("../../migrations/sqlite/0002_read_models.sql"),
    ] {
        // The second round finds the tables there.
        let _ = connection.execute_batch(sql);
    }
    let (mut source, before) = Source::new(kind);
    let mut statements = BTreeMap::new();
    sqlite_batch(&connection, &mut statements, &before, batch_id(&source.clock, 1 << 15));
    let (mut done, mut spent, mut cpu_spent) = (0_usize, 0.0, 0.0);
    while spent < RUN.as_secs_f64() {
        let batches = source.batches(tasks);
        let (started, before) = (Instant::now(), cpu());
        for (number, rows) in batches.iter().enumerate() {
            sqlite_batch(&connection, &mut statements, rows, batch_id(&source.clock, number));
            done += rows.len();
        }
        spent += started.elapsed().as_secs_f64();
        cpu_spent += cpu() - before;
    }
    measured("SQLite", kind, tasks, done, spent, cpu_spent)
}

fn sqlite_batch(
    connection: &rusqlite::Connection,
    statements: &mut BTreeMap<(&'static str, Vec<usize>), String>,
    rows: &[Prepared],
    batch: i64,
) {
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    for (index, row) in rows.iter().enumerate() {
        let [aggregate, id, event_type, version, payload, metadata] = &row.event;
        connection
            .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 99, ?8, ?9)")
            .unwrap()
            .execute(rusqlite::params![
                aggregate,
                id,
                row.sequence,
                event_type,
                version,
                payload,
                metadata,
                batch,
                index as i64
            ])
            .unwrap();
        for op in &row.ops {
            let sql = statements.entry(shape(op)).or_insert_with(|| sqlite_statement(op));
            let cells = cells(op).into_iter().map(|cell| match cell {
                Value::Null => rusqlite::types::ToSqlOutput::from(rusqlite::types::Null),
                Value::Int(number) => rusqlite::types::ToSqlOutput::from(*number),
                Value::Text(text) => rusqlite::types::ToSqlOutput::from(text.as_str()),
            });
            connection.prepare_cached(sql).unwrap().execute(rusqlite::params_from_iter(cells)).unwrap();
        }
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn sqlite_statement(op: &RowOp) -> String {
    let (table, (_, set)) = (op.table(), shape(op));
    if set.is_empty() {
        let places: Vec<String> = (1..=table.columns.len()).map(|place| format!("?{place}")).collect();
        return format!("INSERT INTO {} VALUES ({})", table.name, places.join(", "));
    }
    let changes: Vec<String> = set
        .iter()
        .zip(1..)
        .map(|(index, place)| format!("{} = ?{place}", table.columns[*index].name))
        .collect();
    format!(
        "UPDATE {} SET {} WHERE {} = ?{}",
        table.name,
        changes.join(", "),
        table.columns[0].name,
        set.len() + 1
    )
}

fn measured(
    engine: &'static str,
    kind: Kind,
    tasks: usize,
    done: usize,
    spent: f64,
    cpu_spent: f64,
) -> Measured {
    let (per_second, cpu_micros) = (done as f64 / spent, cpu_spent * 1e6 / done as f64);
    Measured { engine, system: "limit", kind, tasks, per_second, cpu_micros }
}
