//! How does SQLite keep the log? One writer thread, `synchronous=FULL`, and a few reading connections
//! beside it (WAL: readers and the writer do not wait for each other).
//!
//! A command-line tool beside the server is a second writer on the same file: `BEGIN IMMEDIATE` makes
//! the two take turns, and every batch reads the head it extends inside its own transaction.
//!
//! Every call has a deadline. The system's calls have none: a job that a slow disk holds goes on without its caller,
//! and what was written by it is found in the log.

mod append;
mod connections;
mod flip;
mod log;
mod look;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ToSql, params, params_from_iter};
use tokio::time::Instant;

use self::connections::{Readers, Writer, connect};
use self::log::batches_after;
use super::engine::{
    Append, Committed, Engine, EngineError, Flip, Head, LANE, Outcome, Pulse, StoredBatch, SubjectKeyRow, sql,
};
use super::migrations::{SQLITE, TABLE};

const READERS: usize = 4;
/// A pulse that takes longer is none: whoever waits for it is told so.
const PULSE_DEADLINE: Duration = Duration::from_millis(500);
/// How long work may take that no request waits for: a migration, a comparison of whole tables.
const MAINTENANCE: Duration = Duration::from_mins(10);
const STATEMENTS_KEPT: usize = 128;

/// An embedded database.
pub struct SqliteEngine {
    connections: Connections,
    /// From a call to its answer.
    deadline: Duration,
    /// Let go of when there are no connections any more.
    _lock: Option<File>,
}

enum Connections {
    /// To one file: whoever calls waits for another thread.
    File {
        /// None where the file is only looked at.
        writer: Option<Writer>,
        readers: Arc<Readers>,
        /// For the pulse alone: never behind other work.
        pulse: Arc<Readers>,
    },
    /// To memory: whoever calls does the work, and waits for nobody.
    Memory(Mutex<Connection>),
}

impl SqliteEngine {
    fn new(connections: Connections, deadline: Duration) -> Self {
        Self { connections, deadline, _lock: None }
    }

    /// Opens or creates the file. Another process may hold it for at most `deadline`, and a call takes no longer.
    pub fn open(path: &Path, deadline: Duration) -> Result<Self, EngineError> {
        let writer =
            connect(path, deadline, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
                .map_err(|error| sqlite_error(&error))?;
        keep_private(path)?;
        writer.execute_batch(TABLE).map_err(|error| sqlite_error(&error))?;
        let open = |count, deadline| {
            Readers::open(count, || connect(path, deadline, OpenFlags::SQLITE_OPEN_READ_WRITE))
                .map_err(|error| sqlite_error(&error))
        };
        let (readers, pulse) = (open(READERS, deadline)?, open(1, PULSE_DEADLINE)?);
        let writer = Some(Writer::start(writer, deadline)?);
        Ok(Self::new(Connections::File { writer, readers, pulse }, deadline))
    }

    /// Opens a file that is there, to look at it and nothing else: it keeps its mode, its tables and its
    /// neighbours, whether or not a server is at work on it. Whoever does so looks at all of it, and is patient.
    pub fn open_to_read(path: &Path, deadline: Duration) -> Result<Self, EngineError> {
        // Asked once: the first connection makes one, and the last takes it away if all of them might write.
        let has_log = look::has_log(path);
        let open = |count, deadline| {
            Readers::open(count, || look::connect(path, has_log, deadline))
                .map_err(|error| sqlite_error(&error))
        };
        let (readers, pulse) = (open(READERS, deadline)?, open(1, PULSE_DEADLINE)?);
        Ok(Self::new(Connections::File { writer: None, readers, pulse }, MAINTENANCE))
    }

    /// For commands that look at whole tables, and keep no request waiting.
    #[must_use]
    pub fn patient(self) -> Self {
        let connections = match self.connections {
            Connections::File { writer, readers, pulse } => {
                let writer = writer.map(|writer| writer.patient(MAINTENANCE));
                Connections::File { writer, readers, pulse }
            }
            memory @ Connections::Memory(_) => memory,
        };
        Self { connections, deadline: MAINTENANCE, ..self }
    }

    /// Keeps a lock for as long as it has connections: under them nobody may exchange the file.
    #[must_use]
    pub fn under(self, lock: Option<File>) -> Self {
        Self { _lock: lock, ..self }
    }

    /// A database that is gone with the process, for simulations: everything happens on the caller's
    /// thread, in the order of the calls.
    pub fn in_memory() -> Result<Self, EngineError> {
        let open = || {
            let connection = Connection::open_in_memory()?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            connection.execute_batch(TABLE)?;
            Ok(connection)
        };
        let connection = open().map_err(|error: rusqlite::Error| sqlite_error(&error))?;
        Ok(Self::new(Connections::Memory(Mutex::new(connection)), MAINTENANCE))
    }

    /// When a call that begins now must have been answered.
    fn until(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Runs a job on the connection that writes, in time.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.write_until(self.until(), job).await
    }

    async fn write_until<T: Send + 'static>(
        &self,
        until: Instant,
        job: impl FnOnce(&mut Connection) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        match &self.connections {
            Connections::File { writer: Some(writer), .. } => writer.run(until, job).await,
            Connections::File { writer: None, .. } => {
                Err(EngineError::Refused("the database was opened to be read only".to_owned()))
            }
            Connections::Memory(connection) => {
                job(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// Runs a job on a reading connection, in time.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, EngineError> {
        match &self.connections {
            Connections::File { readers, .. } => Arc::clone(readers).run(self.until(), job).await,
            Connections::Memory(connection) => {
                let result = job(&connection.lock().unwrap_or_else(PoisonError::into_inner));
                result.map_err(|error| sqlite_error(&error))
            }
        }
    }
}

/// Verifiers and sealed data are in this file: nobody else reads it.
#[cfg(unix)]
fn keep_private(path: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| EngineError::Unavailable(format!("{}: {error}", path.display())))
}

#[cfg(not(unix))]
fn keep_private(_path: &Path) -> Result<(), EngineError> {
    Ok(())
}

/// What an error of the driver means for work that has not reached its commit.
fn sqlite_error(error: &rusqlite::Error) -> EngineError {
    let text = error.to_string();
    if let rusqlite::Error::Utf8Error(..) | rusqlite::Error::InvalidColumnType(..) = error {
        return EngineError::Damaged(text);
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
            EngineError::Refused(text)
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => EngineError::Damaged(text),
        _ => EngineError::Unavailable(text),
    }
}

/// A cell as the driver binds it.
struct Cell<'a>(&'a Value);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn value_of(row: &rusqlite::Row<'_>, index: usize) -> Result<Value, rusqlite::Error> {
    let wrong = |kind| rusqlite::Error::InvalidColumnType(index, String::new(), kind);
    match row.get_ref(index)? {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Int(number)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(index, error))?;
            Ok(Value::Text(text.to_owned()))
        }
        ValueRef::Real(_) => Err(wrong(rusqlite::types::Type::Real)),
        ValueRef::Blob(_) => Err(wrong(rusqlite::types::Type::Blob)),
    }
}

fn cells(row: &rusqlite::Row<'_>, count: usize) -> Result<Row, rusqlite::Error> {
    (0..count).map(|index| value_of(row, index)).collect()
}

#[async_trait]
impl Engine for SqliteEngine {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn may_be_replaced(&self) -> bool {
        false
    }

    async fn ended(&self) -> &'static str {
        if let Connections::File { writer: Some(writer), .. } = &self.connections {
            writer.ended().await;
            return "the thread that writes to the database has ended";
        }
        std::future::pending().await
    }

    async fn migrate(&self) -> Result<usize, EngineError> {
        let until = Instant::now() + MAINTENANCE;
        self.write_until(until, |connection| migrate(connection).map_err(|error| sqlite_error(&error))).await
    }

    async fn pending_migrations(&self) -> Result<usize, EngineError> {
        self.read(|connection| {
            let sql =
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'";
            let has_any = connection.query_row(sql, [], |row| row.get::<_, i64>(0))? > 0;
            let done = if has_any { migrations_done(connection)? } else { Vec::new() };
            Ok(SQLITE.iter().filter(|migration| !done.contains(&migration.version)).count())
        })
        .await
    }

    async fn append(&self, batch: i64, epoch: i64, appends: &[Append]) -> Result<Outcome, EngineError> {
        let appends = appends.to_vec();
        self.write(move |connection| append::append(connection, batch, epoch, &appends)).await
    }

    async fn find_batch(&self, batch: i64) -> Result<Option<Committed>, EngineError> {
        self.read(move |connection| {
            connection
                .prepare_cached(sql::BATCH)?
                .query_row([LANE, batch], |row| Ok(Committed { first: row.get(0)?, chain: row.get(1)? }))
                .optional()
        })
        .await
    }

    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<StoredBatch>, EngineError> {
        self.read(move |connection| batches_after(connection, position, limit)).await
    }

    async fn head(&self) -> Result<Head, EngineError> {
        self.read(|connection| {
            connection.prepare_cached(sql::HEAD)?.query_row([LANE], |row| {
                Ok(Head { position: row.get(0)?, chain: row.get(1)?, epoch: row.get(2)? })
            })
        })
        .await
    }

    async fn pulse(&self) -> Result<Pulse, EngineError> {
        let Connections::File { pulse, .. } = &self.connections else { return self.read(read_pulse).await };
        Arc::clone(pulse).run(Instant::now() + PULSE_DEADLINE, read_pulse).await
    }

    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, EngineError> {
        // `$2` is a name to SQLite, numbered by where it first stands; `?2` is the second parameter.
        let (sql, parameters) = (sql.replace('$', "?"), parameters.to_vec());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let count = statement.column_count();
            let rows = statement
                .query_map(params_from_iter(parameters.iter().map(Cell)), |row| cells(row, count))?;
            rows.collect()
        })
        .await
    }

    async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64, EngineError> {
        let (sql, parameters) = (sql.replace('$', "?"), parameters.to_vec());
        self.write(move |connection| {
            let changed = connection
                .prepare_cached(&sql)
                .and_then(|mut statement| statement.execute(params_from_iter(parameters.iter().map(Cell))));
            changed.map(|rows| u64::try_from(rows).unwrap_or(u64::MAX)).map_err(|error| sqlite_error(&error))
        })
        .await
    }

    async fn keep_subject_key(&self, key: &SubjectKeyRow) -> Result<String, EngineError> {
        let key = key.clone();
        self.write(move |connection| {
            let keep = |connection: &Connection| {
                connection.execute(sql::KEEP_SUBJECT_KEY, params![key.subject, key.wrapped])?;
                connection.query_row(sql::SUBJECT_KEY, [&key.subject], |row| row.get(0))
            };
            keep(connection).map_err(|error| sqlite_error(&error))
        })
        .await
    }

    async fn advance(
        &self,
        projection: &Projection,
        from: i64,
        to: i64,
        ops: &[RowOp],
    ) -> Result<bool, EngineError> {
        let (name, version, ops) = (projection.name, i64::from(projection.version), ops.to_vec());
        let advanced = self.write(move |connection| {
            append::advance(connection, name, version, from, to, &ops).map_err(|error| sqlite_error(&error))
        });
        advanced.await?.into_result(projection)
    }

    /// One reading transaction: writers go on beside it.
    async fn copy_to(&self, file: &Path) -> Result<(), EngineError> {
        let file = file.to_string_lossy().into_owned();
        self.read(move |connection| connection.execute("VACUUM INTO ?1", [file]).map(drop)).await
    }

    async fn make_shadows(&self, replay: &Projection, tables: &[&'static Table]) -> Result<(), EngineError> {
        let (replay, tables) = (replay.name, tables.to_vec());
        self.write(move |connection| {
            flip::make_shadows(connection, replay, &tables).map_err(|error| sqlite_error(&error))
        })
        .await
    }

    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError> {
        let flip = flip.clone();
        self.write(move |connection| flip::flip(connection, &flip)).await
    }
}

fn read_pulse(connection: &Connection) -> Result<Pulse, rusqlite::Error> {
    connection
        .prepare_cached("SELECT head, revision, projection_epoch, chain FROM lanes WHERE lane = ?1")?
        .query_row([LANE], |row| {
            Ok(Pulse {
                position: row.get(0)?,
                revision: row.get(1)?,
                epoch: row.get(2)?,
                clock: None,
                chain: row.get(3)?,
            })
        })
}

fn migrations_done(connection: &Connection) -> Result<Vec<i64>, rusqlite::Error> {
    let mut statement = connection.prepare("SELECT version FROM schema_migrations")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

fn migrate(connection: &mut Connection) -> Result<usize, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = migrations_done(&transaction)?;
    let mut ran = 0;
    for migration in SQLITE.iter().filter(|migration| !done.contains(&migration.version)) {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(sql::PUT_MIGRATION, params![migration.version, migration.name])?;
        ran += 1;
    }
    transaction.commit()?;
    Ok(ran)
}
