//! Who may use which connection, and for how long is it waited for? One thread writes; a few connections read, each
//! for one job at a time. A job that was begun goes on to its end: whoever gave it up does not hear of it.

use std::path::Path;
use std::sync::mpsc as threads;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{STATEMENTS_KEPT, sqlite_error};
use crate::journal::engine::{EngineError, LATE};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The thread that writes. Whoever drops it finds its connection closed, and the file may be moved then; unless its
/// last job hangs, for which nobody waits longer than for any other.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Nothing comes from there, until there is nobody: the connection is closed.
    closed: Mutex<threads::Receiver<()>>,
    /// How long another process is waited for that has the file.
    deadline: Duration,
    /// How long the last job is waited for.
    last: Duration,
}

impl Writer {
    pub(super) fn start(connection: Connection, deadline: Duration) -> Result<Self, EngineError> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(64);
        let (closing, closed) = threads::channel();
        let thread = std::thread::Builder::new()
            .name("chancery-sqlite".to_owned())
            .spawn(move || {
                // The later is dropped first, also where a job panics.
                let _closing = closing;
                let mut connection = connection;
                while let Some(job) = waiting.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|error| EngineError::Unavailable(error.to_string()))?;
        let (jobs, thread, closed) = (Some(jobs), Some(thread), Mutex::new(closed));
        Ok(Self { jobs, thread, closed, deadline, last: deadline })
    }

    /// The same with so much time for its last job.
    pub(super) fn patient(mut self, last: Duration) -> Self {
        self.last = last;
        self
    }

    /// What is not answered in time is unknown: it may have been begun, and is not called back.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        until: Instant,
        job: impl FnOnce(&mut Connection) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        let deadline = self.deadline;
        let job: Job = Box::new(move |connection| {
            // Nobody waits for it any more.
            if answer.is_closed() {
                return;
            }
            let left = until.into_std().saturating_duration_since(std::time::Instant::now()).min(deadline);
            // A little less than its caller waits, who then hears that it did not begin, and need not wonder.
            let begun = connection.busy_timeout(left.mul_f64(0.9)).map_err(|error| sqlite_error(&error));
            drop(answer.send(begun.and_then(|()| job(connection))));
        });
        let stopped = || EngineError::Unavailable("the writer thread has stopped".to_owned());
        let queued = timeout_at(until, self.jobs.as_ref().ok_or_else(stopped)?.send(job));
        queued.await.map_err(|_| EngineError::late())?.map_err(|_| stopped())?;
        let unknown = |why: &str| EngineError::Unknown(why.to_owned());
        let answered = timeout_at(until, answered).await.map_err(|_| unknown(LATE))?;
        answered.map_err(|_| unknown("the writer thread has stopped"))?
    }

    /// Waits until the thread has ended, as it does when a job panics.
    pub(super) async fn ended(&self) {
        if let Some(jobs) = &self.jobs {
            jobs.closed().await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let closed = self.closed.get_mut().unwrap_or_else(PoisonError::into_inner);
        let is_closed = closed.recv_timeout(self.last) == Err(threads::RecvTimeoutError::Disconnected);
        if let (true, Some(thread)) = (is_closed, self.thread.take()) {
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
        until: Instant,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, EngineError> {
        let stopped = || EngineError::Unavailable("the readers have stopped".to_owned());
        let permit = timeout_at(until, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| EngineError::late())?.map_err(|_| stopped())?;
        let task = tokio::task::spawn_blocking(move || {
            let connection = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut lent = Lent { connection, readers: self, _permit: permit };
            let connection = lent.connection.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
            job(connection)
        });
        let read = timeout_at(until, task).await.map_err(|_| EngineError::late())?;
        read.map_err(|_| stopped())?.map_err(|error| sqlite_error(&error))
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
