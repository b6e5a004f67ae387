//! How does PostgreSQL keep the log? Set-based statements in one transaction, the lane row last;
//! every call under a deadline, after which the connection is closed and never cancelled: a cancelled
//! COMMIT may have committed.

mod append;
#[macro_use]
mod connections;
mod flip;
mod hazards;
mod hints;
mod log;
mod pulse;
mod rows;
mod session;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use sqlx::postgres::PgRow;
use sqlx::{Column, Executor, PgConnection, Postgres, Row as _, TypeInfo, ValueRef};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use self::connections::{Connections, Server, within};
use self::hints::Hints;
use self::log::{batch_rows, batches_of};
use super::engine::{
    Advanced, Append, Committed, Engine, EngineError, Flip, Hazards, Head, LANE, Outcome, Pulse, StoredBatch,
    SubjectKeyRow, sql,
};
use super::migrations::{POSTGRES, TABLE};

/// How long the first connections may take, for which no request waits either: each is half a dozen messages, and
/// as many round trips.
const FIRST: Duration = Duration::from_secs(10);
/// How long work may take that no request waits for: a migration, a comparison of whole tables.
const MAINTENANCE: Duration = Duration::from_mins(10);
/// A projection that has taken nothing yet may have none, and there must be one to lock.
const NEW_CHECKPOINT: &str =
    "INSERT INTO checkpoints (projection, lane, position) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";

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
    /// Held by whoever makes a connection for the pulse.
    connecting: Arc<AsyncMutex<()>>,
    server: Arc<Server>,
    hints: Hints,
    /// From a call to its answer, waiting for a connection included; half as long again if that took all of it.
    deadline: Duration,
    /// Whether an answer may take longer than that once there is a connection.
    is_patient: bool,
}

impl PostgresEngine {
    /// Connects lazily: the first call finds out whether the server is there.
    pub fn new(url: &str, connections: u32, deadline: Duration) -> Result<Self, EngineError> {
        let server = Server::of(session::options(url)?);
        let pool = |most| Connections::to(&server, most);
        let (reads, writing, pulse, register) = (pool(connections), pool(2), pool(2), pool(2));
        let (connecting, hints) = (Arc::default(), Hints::new());
        Ok(Self { reads, writing, pulse, register, connecting, server, hints, deadline, is_patient: false })
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
}

/// What an error of the driver means for a command that has not reached its commit.
fn engine_error(error: &sqlx::Error) -> EngineError {
    match error.as_database_error() {
        Some(database) if is_refusal(database.code().as_deref()) => {
            EngineError::Refused(database.to_string())
        }
        _ if matches!(error, sqlx::Error::ColumnDecode { .. }) => EngineError::Damaged(error.to_string()),
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

#[async_trait]
impl Engine for PostgresEngine {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    async fn connect(&self) -> Result<(), EngineError> {
        let until = Instant::now() + FIRST;
        for connections in [&self.reads, &self.writing] {
            connections.acquire(until).await?.was_answered();
        }
        Ok(())
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
            make_table_of_migrations(connection).await?;
            connection.execute("BEGIN; LOCK TABLE schema_migrations IN EXCLUSIVE MODE").await?;
            let done = migrations_done(connection).await?;
            let mut ran = 0;
            for migration in POSTGRES.iter().filter(|migration| !done.contains(&migration.version)) {
                connection.execute(migration.sql).await?;
                sqlx::query(sql::PUT_MIGRATION)
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
        held.release(result)
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
            sqlx::query(sql::BATCH)
                .bind(LANE)
                .bind(batch)
                .fetch_optional(connection)
                .await?
                .map(|row| committed(&row))
                .transpose()
        })
    }

    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<StoredBatch>, EngineError> {
        let rows = on_connection!(self, connection, { batch_rows(connection, position, limit).await })?;
        batches_of(&rows)
    }

    async fn head(&self) -> Result<Head, EngineError> {
        on_connection!(self, connection, {
            let row = sqlx::query(sql::HEAD).bind(LANE).fetch_one(connection).await?;
            Ok(Head { position: row.try_get(0)?, chain: chain(&row, 1)?, epoch: row.try_get(2)? })
        })
    }

    async fn pulse(&self) -> Result<Pulse, EngineError> {
        pulse::pulse(self).await
    }

    async fn hint(&self) {
        self.hints.next(&self.server).await;
    }

    fn hears_hints(&self) -> bool {
        self.hints.are_heard()
    }

    async fn beat(&self, node: &str, applied: i64) -> Result<Option<Pulse>, EngineError> {
        pulse::beat(self, node, applied).await
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

    async fn keep_subject_key(&self, key: &SubjectKeyRow) -> Result<String, EngineError> {
        on_connection!(self, connection, {
            sqlx::query(sql::KEEP_SUBJECT_KEY)
                .bind(&key.subject)
                .bind(&key.wrapped)
                .execute(&mut *connection)
                .await?;
            sqlx::query_scalar(sql::SUBJECT_KEY).bind(&key.subject).fetch_one(connection).await
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
            if from == 0 {
                sqlx::query(NEW_CHECKPOINT)
                    .bind(projection.name)
                    .bind(LANE)
                    .execute(&mut *connection)
                    .await?;
            }
            let moved =
                sqlx::query("UPDATE checkpoints SET position = $3 WHERE projection = $1 AND position = $2")
                    .bind(projection.name)
                    .bind(from)
                    .bind(to)
                    .execute(&mut *connection)
                    .await?;
            if moved.rows_affected() == 0 {
                connection.execute("ROLLBACK").await?;
                return Ok(Advanced::Overtaken);
            }
            // After the lock on the checkpoint, which a flip holds: only a later statement sees what it did.
            let other = sqlx::query_scalar(sql::OTHER_VERSION).bind(projection.name);
            let own = i64::from(projection.version);
            let other = other.bind(own).fetch_optional(&mut *connection).await?;
            if let Some(stored) = other {
                connection.execute("ROLLBACK").await?;
                return Ok(Advanced::OfOtherVersion(stored));
            }
            rows::execute(connection, &ops).await?;
            connection.execute("COMMIT").await?;
            Ok(Advanced::Written)
        })
        .await;
        held.release(result)?.into_result(projection)
    }

    async fn copy_to(&self, _file: &Path) -> Result<(), EngineError> {
        Err(EngineError::Refused(
            "PostgreSQL is backed up by its own tools: pg_basebackup with an archive of its log, or pg_dump"
                .to_owned(),
        ))
    }

    async fn make_shadows(&self, replay: &Projection, tables: &[&'static Table]) -> Result<(), EngineError> {
        on_connection!(self, connection, { flip::make_shadows(connection, replay, tables).await })
    }

    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError> {
        flip::flip(self, flip).await
    }
}

/// `IF NOT EXISTS` does not see what another process is about to commit: of two that make the table at once one is told
/// that its name is taken. Then it is there.
async fn make_table_of_migrations(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let made = connection.execute(TABLE).await;
    let is_taken = |code: &str| matches!(code, "23505" | "42710" | "42P07");
    match made {
        Err(sqlx::Error::Database(error)) if error.code().as_deref().is_some_and(is_taken) => {
            connection.execute(TABLE).await.map(drop)
        }
        made => made.map(drop),
    }
}

async fn migrations_done(connection: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT version FROM schema_migrations").fetch_all(connection).await
}
