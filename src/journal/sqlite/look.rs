//! How is a database looked at without changing anything about it?

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use url::Url;

use super::STATEMENTS_KEPT;

/// Whether somebody is at work on the file, or was killed at it.
pub(super) fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).exists()
}

/// A connection that changes nothing. Beside a file in WAL mode SQLite needs two others. Where they are, a
/// connection that may only read leaves them alone; where they are not, it would make and leave them, while
/// one that might write takes them away with it. On a medium that bears neither nobody else writes either.
pub(super) fn connect(path: &Path, has_log: bool, deadline: Duration) -> Result<Connection, rusqlite::Error> {
    if has_log {
        return look(path.as_os_str(), deadline, OpenFlags::SQLITE_OPEN_READ_ONLY);
    }
    match look(path.as_os_str(), deadline, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
            ) =>
        {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            look(immutable(path)?.as_ref(), deadline, flags)
        }
        looked => looked,
    }
}

/// Whether a file can be read is only known when it is.
fn look(path: &OsStr, deadline: Duration, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(deadline)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// The address of a file that nobody changes.
fn immutable(path: &Path) -> Result<String, rusqlite::Error> {
    let url = std::path::absolute(path).ok().and_then(|path| Url::from_file_path(path).ok());
    let url = url.ok_or_else(|| rusqlite::Error::InvalidPath(path.to_owned()))?;
    Ok(format!("{url}?immutable=1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::sqlite::SqliteEngine;
    use crate::journal::{Engine, EngineError};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn who_only_looks_reads_and_cannot_write() {
        let directory = std::env::temp_dir().join(format!("chancery look ?#% é {}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("chancery.db");
        SqliteEngine::open(&path, SECOND).unwrap().migrate().await.unwrap();
        let files = || std::fs::read_dir(&directory).unwrap().count();
        assert_eq!(files(), 1);
        {
            let engine = SqliteEngine::open_to_read(&path, SECOND).unwrap();
            assert_eq!(engine.pending_migrations().await.unwrap(), 0);
            assert_eq!(engine.head().await.unwrap().position, 0);
            assert_eq!(engine.pulse().await.unwrap().position, 0);
            for refused in [engine.execute("DELETE FROM lanes", &[]).await, engine.migrate().await.map(|_| 0)]
            {
                assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
            }
            let written = engine.query("DELETE FROM lanes RETURNING lane", &[]).await;
            assert!(written.is_err(), "{written:?}");
        }
        assert_eq!(files(), 1, "what it needed beside the file went with it");
        // As on a medium that nobody writes: nothing is made in the first place.
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = look(immutable(&path).unwrap().as_ref(), SECOND, flags).unwrap();
        let head: i64 = connection.query_row("SELECT head FROM lanes", [], |row| row.get(0)).unwrap();
        assert_eq!((head, files()), (0, 1));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
