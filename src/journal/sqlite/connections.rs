//! Who may use which connection? One thread writes; a few connections read, each for one job at a time.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{STATEMENTS_KEPT, sqlite_error};
use crate::journal::engine::EngineError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread that writes. Whoever drops it finds its connection closed: the file may be moved then.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(mut connection: Connection) -> Result<Self, EngineError> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(64);
        let thread = std::thread::Builder::new()
            .name("chancery-sqlite".to_owned())
            .spawn(move || {
                while let Some(job) = waiting.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|error| EngineError::Unavailable(error.to_string()))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| drop(answer.send(job(connection))));
        let stopped = || EngineError::Unavailable("the writer thread has stopped".to_owned());
        self.jobs.as_ref().ok_or_else(stopped)?.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| EngineError::Unknown("the writer thread has stopped".to_owned()))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A job that panicked has been told to whoever waited for it.
            drop(thread.join());
        }
    }
}

/// Connections that read, each for one job at a time.
pub(super) struct Readers {
    free: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(
        count: usize,
        connect: impl Fn() -> Result<Connection, rusqlite::Error>,
    ) -> Result<Arc<Self>, rusqlite::Error> {
        let free: Vec<Connection> = (0..count).map(|_| connect()).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { free: Mutex::new(free), permits: Arc::new(Semaphore::new(count)) }))
    }

    /// Whoever asked may leave: connection and permit are the job's until it ends.
    pub(super) async fn run<T: Send + 'static>(
        self: Arc<Self>,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, EngineError> {
        let stopped = || EngineError::Unavailable("the readers have stopped".to_owned());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopped())?;
        let task = tokio::task::spawn_blocking(move || {
            let connection = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut lent = Lent { connection, readers: self, _permit: permit };
            let connection = lent.connection.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
            job(connection)
        });
        task.await.map_err(|_| stopped())?.map_err(|error| sqlite_error(&error))
    }
}

/// A connection that is given back however its job ends, and then its permit.
struct Lent {
    connection: Option<Connection>,
    readers: Arc<Readers>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let connection = self.connection.take();
        self.readers.free.lock().unwrap_or_else(PoisonError::into_inner).extend(connection);
    }
}

pub(super) fn connect(
    path: &Path,
    deadline: Duration,
    flags: OpenFlags,
) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(deadline)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A deleted verifier must be gone from the file, not only from the table.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}
