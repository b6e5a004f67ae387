//! How is a database opened, and who may have an embedded one open at the same time?

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{OpenError, make_private_directory};
use crate::config::{Config, Database};
use crate::journal::Engine;
use crate::journal::postgres::PostgresEngine;
use crate::journal::sqlite::SqliteEngine;

/// For reads alone; writes, pulses and the register of nodes have their own beside them.
const POSTGRES_CONNECTIONS: u32 = 16;

/// For how long a call is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// For the deadline that is configured.
    InTime,
    /// For minutes.
    Patient,
}

/// Opens the database without looking at its tables. While it is open nobody exchanges an embedded one.
pub fn open_engine(config: &Config) -> Result<Arc<dyn Engine>, OpenError> {
    open_engine_under(lock_shared(config)?, config, Pace::InTime)
}

/// The same for a command that reads or rebuilds all of it: its statements may take minutes.
pub fn open_patient_engine(config: &Config) -> Result<Arc<dyn Engine>, OpenError> {
    open_engine_under(lock_shared(config)?, config, Pace::Patient)
}

/// The same for a command that only looks: nothing is made or changed, not even a file's mode.
pub fn open_engine_to_read(config: &Config) -> Result<Arc<dyn Engine>, OpenError> {
    match &config.database {
        Database::Embedded(path) => {
            let lock = lock_to_read(config)?;
            let engine = SqliteEngine::open_to_read(path, config.database_deadline)
                .map_err(|error| OpenError::Database { engine: "SQLite", error })?;
            Ok(Arc::new(engine.under(lock)))
        }
        Database::Postgres(_) => open_patient_engine(config),
    }
}

pub(super) fn open_engine_under(
    lock: Option<File>,
    config: &Config,
    pace: Pace,
) -> Result<Arc<dyn Engine>, OpenError> {
    match &config.database {
        Database::Embedded(path) => {
            make_private_directory(path.parent().unwrap_or(Path::new(".")))?;
            let engine = SqliteEngine::open(path, config.database_deadline)
                .map_err(|error| OpenError::Database { engine: "SQLite", error })?
                .under(lock);
            Ok(Arc::new(if pace == Pace::Patient { engine.patient() } else { engine }))
        }
        Database::Postgres(url) => {
            let engine = PostgresEngine::new(url.expose(), POSTGRES_CONNECTIONS, config.database_deadline)
                .map_err(|error| OpenError::Database { engine: "PostgreSQL", error })?;
            Ok(Arc::new(if pace == Pace::Patient { engine.patient() } else { engine }))
        }
    }
}

/// Servers and commands on the embedded database hold this together; whoever exchanges the file must be alone. What is
/// written through a connection to a file that was put aside is lost, and SQLite takes by their names away what stands
/// beside it: the new one's log.
fn lock_shared(config: &Config) -> Result<Option<File>, OpenError> {
    let Database::Embedded(_) = config.database else { return Ok(None) };
    let (path, file) = lock_file(config)?;
    locked(path, file.try_lock_shared()).map(|()| Some(file))
}

/// The same for who makes nothing, and that file neither: where there is none, no server was.
fn lock_to_read(config: &Config) -> Result<Option<File>, OpenError> {
    let path = lock_path(config);
    match File::open(&path) {
        Ok(file) => locked(path, file.try_lock_shared()).map(|()| Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(reason) => Err(OpenError::DataDirectory { path, reason }),
    }
}

/// Makes sure that nobody else has the embedded database open, for as long as the file is held.
pub fn lock_exclusively(config: &Config) -> Result<File, OpenError> {
    let (path, file) = lock_file(config)?;
    locked(path, file.try_lock()).map(|()| file)
}

fn locked(path: PathBuf, tried: Result<(), TryLockError>) -> Result<(), OpenError> {
    tried.map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse,
        TryLockError::Error(reason) => OpenError::DataDirectory { path, reason },
    })
}

fn lock_path(config: &Config) -> PathBuf {
    config.data_dir.join("chancery.lock")
}

fn lock_file(config: &Config) -> Result<(PathBuf, File), OpenError> {
    make_private_directory(&config.data_dir)?;
    let path = lock_path(config);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|reason| OpenError::DataDirectory { path: path.clone(), reason })?;
    Ok((path, file))
}
