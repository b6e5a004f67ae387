//! How does SQLite keep the log? One writer thread, `synchronous=FULL`, and a few reading connections
//! beside it (WAL: readers and the writer do not wait for each other).
//!
//! A command-line tool beside the server is a second writer on the same file: `BEGIN IMMEDIATE` makes
//! the two take turns, and every batch reads the head it extends inside its own transaction.

mod append;
mod connections;
mod flip;
mod log;
mod look;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ToSql, params, params_from_iter};

use self::connections::{Readers, Writer, connect};
use self::log::batches_after;
use super::engine::{
    Append, Committed, Engine, EngineError, Flip, Head, LANE, Outcome, Pulse, StoredBatch, SubjectKeyRow, sql,
};
use super::migrations::{SQLITE, TABLE};

const READERS: usize = 4;
/// A pulse that takes longer is none: whoever waits for it is told so.
const PULSE_DEADLINE: Duration = Duration::from_millis(500);
const STATEMENTS_KEPT: usize = 128;

/// An embedded database.
pub struct SqliteEngine(Connections);

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
    /// Opens or creates the file. Another process may hold it for at most `deadline`.
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
        let writer = Some(Writer::start(writer)?);
        Ok(Self(Connections::File { writer, readers, pulse }))
    }

    /// Opens a file that is there, to look at it and nothing else: it keeps its mode, its tables and its
    /// neighbours, whether or not a server is at work on it.
    pub fn open_to_read(path: &Path, deadline: Duration) -> Result<Self, EngineError> {
        // Asked once: the first connection makes one, and the last takes it away if all of them might write.
        let has_log = look::has_log(path);
        let open = |count, deadline| {
            Readers::open(count, || look::connect(path, has_log, deadline))
                .map_err(|error| sqlite_error(&error))
        };
        let (readers, pulse) = (open(READERS, deadline)?, open(1, PULSE_DEADLINE)?);
        Ok(Self(Connections::File { writer: None, readers, pulse }))
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
        Ok(Self(Connections::Memory(Mutex::new(connection))))
    }

    /// Runs a job on the connection that writes.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        match &self.0 {
            Connections::File { writer: Some(writer), .. } => writer.run(job).await,
            Connections::File { writer: None, .. } => {
                Err(EngineError::Refused("the database was opened to be read only".to_owned()))
            }
            Connections::Memory(connection) => {
                job(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// Runs a job on a reading connection.
    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, EngineError> {
        match &self.0 {
            Connections::File { readers, .. } => Arc::clone(readers).run(job).await,
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

    async fn migrate(&self) -> Result<usize, EngineError> {
        self.write(|connection| migrate(connection).map_err(|error| sqlite_error(&error))).await
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
        let Connections::File { pulse, .. } = &self.0 else { return self.read(read_pulse).await };
        match tokio::time::timeout(PULSE_DEADLINE, Arc::clone(pulse).run(read_pulse)).await {
            Ok(result) => result,
            Err(_) => Err(EngineError::Unavailable(format!("no answer within {PULSE_DEADLINE:?}"))),
        }
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

    async fn make_shadows(&self, tables: &[&'static Table]) -> Result<(), EngineError> {
        let tables = tables.to_vec();
        self.write(move |connection| {
            flip::make_shadows(connection, &tables).map_err(|error| sqlite_error(&error))
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
