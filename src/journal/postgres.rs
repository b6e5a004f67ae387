//! How does PostgreSQL keep the log? Set-based statements in one transaction, the lane row last;
//! every call under a deadline, after which the connection is closed and never cancelled: a cancelled
//! COMMIT may have committed.

mod append;
#[macro_use]
mod connections;
mod flip;
mod hazards;
mod log;
mod rows;
mod streams;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postgres_es::PostgresEventRepository;
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Column, Executor, PgConnection, Postgres, Row as _, TypeInfo, ValueRef};
use tokio::time::Instant;

use self::connections::{Connections, Server, late, within};
use self::log::{batch_rows, batches_of};
use super::engine::{
    Advanced, Append, AsOf, Committed, Engine, EngineError, Flip, Hazards, Head, LANE, Outcome, Pulse,
    StateRow, StoredBatch, StoredRow, SubjectKeyRow,
};
use super::migrations::{POSTGRES, TABLE};

/// How long work may take that no request waits for: a migration, a comparison of whole tables.
const MAINTENANCE: Duration = Duration::from_mins(10);
/// A pulse that takes longer is none: whoever waits for it is told so.
const PULSE_DEADLINE: Duration = Duration::from_millis(500);

/// PostgreSQL 15 or newer.
pub struct PostgresEngine {
    /// For reads, and for what may be done twice.
    reads: Connections,
    /// For batches. What is not one statement begins with `BEGIN`, which is the test; a batch that is one has
    /// nothing written when its connection turns out to be broken.
    writing: Connections,
    /// For the pulse alone: never behind other work, and on connections that know its statement. From far away
    /// another statement's would have to learn it first, and be late.
    pulse: Connections,
    /// For what depends on the pulse: signs of life, and a revision that is moved.
    register: Connections,
    /// Whether a connection for the pulse is being made.
    connecting: Arc<AtomicBool>,
    streams: PostgresEventRepository,
    server: Arc<Server>,
    /// From a call to its answer, waiting for a connection included; half as long again if that took all of it.
    deadline: Duration,
    /// Whether an answer may take longer than that once there is a connection.
    is_patient: bool,
}

impl PostgresEngine {
    /// Connects lazily: the first call finds out whether the server is there.
    pub fn new(url: &str, connections: u32, deadline: Duration) -> Result<Self, EngineError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| EngineError::Refused("the database URL cannot be read".to_owned()))?
            .application_name("chancery");
        let server = Server::of(options);
        let pool = |most| Connections::to(&server, most, deadline);
        let reads = pool(connections);
        let streams = PostgresEventRepository::new(reads.pool.clone());
        let (writing, pulse, register) = (pool(2), pool(2), pool(2));
        Ok(Self {
            reads,
            writing,
            pulse,
            register,
            connecting: Arc::default(),
            streams,
            server,
            deadline,
            is_patient: false,
        })
    }

    /// For commands that look at whole tables, and keep no request waiting.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// When a call that begins now must have ended.
    fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// When work on a connection that has just been got must have ended. Far from the database making one
    /// takes most of the time: what was won with it must not be thrown away at every call.
    fn work_until(&self, until: Instant) -> Instant {
        let lasting = if self.is_patient { MAINTENANCE } else { self.deadline / 2 };
        until.max(Instant::now() + lasting)
    }

    /// Far from the database connecting and preparing take longer than a pulse may: they go on for the next
    /// one.
    fn connect_for_next_pulse(&self) {
        if self.connecting.swap(true, Ordering::Relaxed) {
            return;
        }
        let (pool, connecting) = (self.pulse.pool.clone(), Arc::clone(&self.connecting));
        tokio::spawn(async move {
            // Asked once, its statement is prepared.
            if let Ok(mut connection) = pool.acquire().await {
                drop(pulse(&mut connection).await);
            }
            connecting.store(false, Ordering::Relaxed);
        });
    }

    /// Gives a connection back, or closes it when its state is unknown.
    fn release<T>(held: PoolConnection<Postgres>, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if result.is_err() {
            drop(held.detach());
        }
        result
    }
}

/// What an error of the driver means for a command that has not reached its commit.
fn engine_error(error: &sqlx::Error) -> EngineError {
    match error.as_database_error() {
        Some(database) if is_refusal(database.code().as_deref()) => {
            EngineError::Refused(database.to_string())
        }
        _ => EngineError::Unavailable(error.to_string()),
    }
}

/// Whether an SQLSTATE speaks of the statement, and not of the server's condition: connection (08),
/// transaction rollback (40), resources (53), operator intervention (57) and system errors (58) pass.
fn is_refusal(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        !["08", "25", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
    })
}

fn value_of(row: &PgRow, index: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let is_text = matches!(row.column(index).type_info().name(), "TEXT" | "VARCHAR" | "NAME" | "JSON");
    if is_text { Ok(Value::Text(row.try_get_unchecked(index)?)) } else { Ok(Value::Int(row.try_get(index)?)) }
}

fn bound<'q>(
    sql: &'q str,
    parameters: &'q [Value],
) -> sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments> {
    parameters.iter().fold(sqlx::query(sql), |query, parameter| match parameter {
        Value::Null => query.bind(None::<String>),
        Value::Int(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.as_str()),
    })
}

async fn pulse(connection: &mut PgConnection) -> Result<Pulse, sqlx::Error> {
    let row = sqlx::query(
        "SELECT head, revision, projection_epoch, \
         CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint), chain, pg_is_in_recovery() \
         FROM lanes WHERE lane = $1",
    )
    .bind(LANE)
    .fetch_one(connection)
    .await?;
    if row.try_get(5)? {
        return Err(sqlx::Error::Protocol("the server is a standby".to_owned()));
    }
    Ok(Pulse {
        position: row.try_get(0)?,
        revision: row.try_get(1)?,
        epoch: row.try_get(2)?,
        clock: Some(row.try_get(3)?),
        chain: chain(&row, 4)?,
    })
}

fn chain(row: &PgRow, index: usize) -> Result<[u8; 32], sqlx::Error> {
    let bytes: &[u8] = row.try_get(index)?;
    bytes.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Of a row with a first position and a chain.
fn committed(row: &PgRow) -> Result<Committed, sqlx::Error> {
    Ok(Committed { first: row.try_get(0)?, chain: chain(row, 1)? })
}

fn cells(row: &PgRow, count: usize) -> Result<Row, sqlx::Error> {
    (0..count).map(|index| value_of(row, index)).collect()
}

/// In the columns behind the row's own.
fn as_of_at(row: &PgRow, column: usize) -> Result<AsOf, sqlx::Error> {
    Ok(AsOf { position: row.try_get(column)?, epoch: row.try_get(column + 1)? })
}

fn select_list(table: &Table) -> String {
    projections::read::columns(table, "t")
}

#[async_trait]
impl Engine for PostgresEngine {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    /// A pool tries until it is late, and then says only that.
    async fn reach(&self) -> Result<(), EngineError> {
        within(self.until(), self.server.connect()).await
    }

    async fn hazards(&self) -> Result<Hazards, EngineError> {
        on_connection!(self, connection, { hazards::hazards(connection).await })
    }

    async fn migrate(&self) -> Result<usize, EngineError> {
        let mut held = self.reads.acquire(self.until()).await?;
        let connection: &mut PgConnection = &mut held;
        let result = within(Instant::now() + MAINTENANCE, async {
            connection.execute(TABLE).await?;
            connection.execute("BEGIN; LOCK TABLE schema_migrations IN EXCLUSIVE MODE").await?;
            let done = migrations_done(connection).await?;
            let mut ran = 0;
            for migration in POSTGRES.iter().filter(|migration| !done.contains(&migration.version)) {
                connection.execute(migration.sql).await?;
                sqlx::query("INSERT INTO schema_migrations (version, name) VALUES ($1, $2)")
                    .bind(migration.version)
                    .bind(migration.name)
                    .execute(&mut *connection)
                    .await?;
                ran += 1;
            }
            connection.execute("COMMIT").await?;
            Ok(ran)
        })
        .await;
        Self::release(held, result)
    }

    async fn pending_migrations(&self) -> Result<usize, EngineError> {
        on_connection!(self, connection, {
            let there: Option<String> = sqlx::query_scalar("SELECT to_regclass('schema_migrations')::text")
                .fetch_one(&mut *connection)
                .await?;
            let done = if there.is_some() { migrations_done(connection).await? } else { Vec::new() };
            Ok(POSTGRES.iter().filter(|migration| !done.contains(&migration.version)).count())
        })
    }

    async fn append(&self, batch: i64, epoch: i64, appends: &[Append]) -> Result<Outcome, EngineError> {
        append::append(self, batch, epoch, appends).await
    }

    async fn find_batch(&self, batch: i64) -> Result<Option<Committed>, EngineError> {
        on_connection!(self, connection, {
            sqlx::query("SELECT first_position, chain FROM batches WHERE lane = $1 AND batch = $2")
                .bind(LANE)
                .bind(batch)
                .fetch_optional(connection)
                .await?
                .map(|row| committed(&row))
                .transpose()
        })
    }

    async fn load_stream(
        &self,
        kind: &'static str,
        id: &str,
        after: i64,
    ) -> Result<Vec<StoredRow>, EngineError> {
        streams::load(self, kind, id, after).await
    }

    async fn find_state(&self, kind: &'static str, id: &str) -> Result<Option<StateRow>, EngineError> {
        on_connection!(self, connection, {
            let row = sqlx::query(
                "SELECT sequence, state FROM stream_states WHERE aggregate_type = $1 AND aggregate_id = $2",
            )
            .bind(kind)
            .bind(id)
            .fetch_optional(connection)
            .await?;
            row.map(|row| Ok(StateRow { sequence: row.try_get(0)?, state: row.try_get(1)? })).transpose()
        })
    }

    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<StoredBatch>, EngineError> {
        let rows = on_connection!(self, connection, { batch_rows(connection, position, limit).await })?;
        batches_of(&rows)
    }

    async fn head(&self) -> Result<Head, EngineError> {
        on_connection!(self, connection, {
            let row = sqlx::query("SELECT head, chain, projection_epoch FROM lanes WHERE lane = $1")
                .bind(LANE)
                .fetch_one(connection)
                .await?;
            Ok(Head { position: row.try_get(0)?, chain: chain(&row, 1)?, epoch: row.try_get(2)? })
        })
    }

    async fn pulse(&self) -> Result<Pulse, EngineError> {
        let until = Instant::now() + PULSE_DEADLINE;
        let asked = async { asked_on!(self.pulse, until, until, connection, pulse(connection)) }.await;
        if asked.is_err() {
            self.connect_for_next_pulse();
        }
        asked
    }

    async fn find_row(&self, table: &'static Table, key: &str) -> Result<(Option<Row>, AsOf), EngineError> {
        let sql = format!(
            "SELECT {}, l.head, l.projection_epoch FROM lanes l LEFT JOIN {} t ON t.{} = $1 WHERE l.lane = {LANE}",
            select_list(table),
            table.name,
            table.columns.first().map_or("", |column| column.name)
        );
        on_connection!(self, connection, {
            let row = sqlx::query(&sql).bind(key).fetch_one(connection).await?;
            let found = cells(&row, table.columns.len())?;
            let exists = found.first().is_some_and(|key| *key != Value::Null);
            Ok((exists.then_some(found), as_of_at(&row, table.columns.len())?))
        })
    }

    async fn all_rows(&self, table: &'static Table) -> Result<(Vec<Row>, AsOf), EngineError> {
        let order: Vec<String> = (1..=table.key).map(|column| column.to_string()).collect();
        let sql = format!(
            "SELECT {}, l.head, l.projection_epoch FROM lanes l LEFT JOIN {} t ON true WHERE l.lane = {LANE} ORDER BY {}",
            select_list(table),
            table.name,
            order.join(", ")
        );
        on_connection!(self, connection, {
            let rows = sqlx::query(&sql).fetch_all(connection).await?;
            let mut as_of = AsOf::default();
            let mut found = Vec::with_capacity(rows.len());
            for row in &rows {
                as_of = as_of_at(row, table.columns.len())?;
                let row = cells(row, table.columns.len())?;
                if row.first().is_some_and(|key| *key != Value::Null) {
                    found.push(row);
                }
            }
            Ok((found, as_of))
        })
    }

    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, EngineError> {
        on_connection!(self, connection, {
            let rows = bound(sql, parameters).fetch_all(connection).await?;
            rows.iter().map(|row| cells(row, row.columns().len())).collect()
        })
    }

    async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64, EngineError> {
        let until = self.until();
        asked_on!(self.register, until, self.work_until(until), connection, async {
            Ok(bound(sql, parameters).execute(connection).await?.rows_affected())
        })
    }

    async fn find_secret(&self, id: &str) -> Result<Option<String>, EngineError> {
        on_connection!(self, connection, {
            sqlx::query_scalar("SELECT verifier FROM secrets WHERE id = $1")
                .bind(id)
                .fetch_optional(connection)
                .await
        })
    }

    async fn find_subject_key(&self, subject: &str) -> Result<Option<String>, EngineError> {
        on_connection!(self, connection, {
            sqlx::query_scalar("SELECT wrapped FROM subject_keys WHERE subject = $1")
                .bind(subject)
                .fetch_optional(connection)
                .await
        })
    }

    async fn keep_subject_key(&self, key: &SubjectKeyRow) -> Result<String, EngineError> {
        on_connection!(self, connection, {
            sqlx::query("INSERT INTO subject_keys (subject, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(&key.subject)
                .bind(&key.wrapped)
                .execute(&mut *connection)
                .await?;
            sqlx::query_scalar("SELECT wrapped FROM subject_keys WHERE subject = $1")
                .bind(&key.subject)
                .fetch_one(connection)
                .await
        })
    }

    async fn checkpoint(&self, projection: &Projection) -> Result<i64, EngineError> {
        on_connection!(self, connection, {
            let position = sqlx::query_scalar("SELECT position FROM checkpoints WHERE projection = $1")
                .bind(projection.name)
                .fetch_optional(connection)
                .await?;
            Ok(position.unwrap_or(0))
        })
    }

    async fn advance(
        &self,
        projection: &Projection,
        from: i64,
        to: i64,
        ops: &[RowOp],
    ) -> Result<bool, EngineError> {
        let ops: Vec<&RowOp> = ops.iter().collect();
        // Not twice: the second time it would look as if another node had been there.
        let until = self.until();
        let mut held = self.reads.acquire(until).await?;
        let connection: &mut PgConnection = &mut held;
        let result = within(self.work_until(until), async {
            connection.execute("BEGIN").await?;
            let moved = sqlx::query(
                "INSERT INTO checkpoints (projection, lane, position) VALUES ($1, $2, $4) \
                 ON CONFLICT (projection) DO UPDATE SET position = $4 WHERE checkpoints.position = $3",
            )
            .bind(projection.name)
            .bind(LANE)
            .bind(from)
            .bind(to)
            .execute(&mut *connection)
            .await?;
            if moved.rows_affected() == 0 {
                connection.execute("ROLLBACK").await?;
                return Ok(Advanced::Overtaken);
            }
            // After the lock on the checkpoint, which a flip holds: only a later statement sees what it did.
            let other =
                sqlx::query_scalar("SELECT version FROM read_models WHERE projection = $1 AND version <> $2");
            let own = i64::from(projection.version);
            let other = other.bind(projection.name).bind(own).fetch_optional(&mut *connection).await?;
            if let Some(stored) = other {
                connection.execute("ROLLBACK").await?;
                return Ok(Advanced::OfOtherVersion(stored));
            }
            rows::execute(connection, &ops).await?;
            connection.execute("COMMIT").await?;
            Ok(Advanced::Written)
        })
        .await;
        Self::release(held, result)?.into_result(projection)
    }

    async fn copy_to(&self, _file: &Path) -> Result<(), EngineError> {
        Err(EngineError::Refused(
            "PostgreSQL is backed up by its own tools: pg_basebackup with an archive of its log, or pg_dump"
                .to_owned(),
        ))
    }

    async fn make_shadows(&self, tables: &[&'static Table]) -> Result<(), EngineError> {
        on_connection!(self, connection, { flip::make_shadows(connection, tables).await })
    }

    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError> {
        flip::flip(self, flip).await
    }
}

async fn migrations_done(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT version FROM schema_migrations").fetch_all(connection).await
}
