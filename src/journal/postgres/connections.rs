//! How does a call get a connection, and what when there is none, or it is broken?
//!
//! - Connections are not tested before they are used, which would take as long as using them: one that is broken
//!   shows by being asked, and another is.
//! - A connection whose call was not answered is closed, whoever gave the call up.
//! - A pool that the server refuses goes on connecting until it is late, and does not say why. So whoever has
//!   waited for a while asks the server beside the pool, one for all: a refusal is then the answer.

use std::future::Future;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgPoolOptions, PgSeverity};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use super::engine_error;
use crate::journal::engine::EngineError;

/// How often a call is made that meets broken connections.
pub(super) const TRIES: usize = 3;
/// How long a connection may take to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(1);
/// How long a connection is waited for before the server is asked whether it gives any.
const PATIENCE: Duration = Duration::from_millis(150);

/// Asks on one of these connections until `$limit`, and again where one is broken: so what is asked may be
/// asked twice. It begins no transaction: after a refusal the connection goes on with the next question. A macro,
/// because a closure that borrows both its surroundings and the connection has no `Send` future.
macro_rules! asked_on {
    ($connections:expr, $until:expr, $limit:expr, $connection:ident, $work:expr) => {{
        let mut tries = 0;
        loop {
            tries += 1;
            let mut held = $connections.acquire_after($until, tries > 1).await?;
            let $connection: &mut PgConnection = &mut held;
            let asked = tokio::time::timeout_at($limit, $work).await;
            match $connections.heard(held, asked) {
                ControlFlow::Break(result) => break result,
                ControlFlow::Continue(error)
                    if tries == $crate::journal::postgres::connections::TRIES || Instant::now() >= $until =>
                {
                    break Err(error);
                }
                ControlFlow::Continue(_) => {}
            }
        }
    }};
}

/// Runs a block of driver calls on a connection for reads, in time.
macro_rules! on_connection {
    ($engine:expr, $connection:ident, $work:block) => {{
        let until = $engine.until();
        asked_on!($engine.reads, until, $engine.work_until(until), $connection, async { $work })
    }};
}

/// A pool, and when it was last of use.
#[derive(Clone)]
pub(super) struct Connections {
    pool: PgPool,
    server: Arc<Server>,
    answered: Arc<Mutex<Option<Instant>>>,
}

/// A connection of a pool, and whether its last call was answered. One that was not is closed with this value, however
/// its caller ended: given back, it would keep its place in the pool until TCP gives up, or the transaction it is in.
pub(super) struct Held {
    connection: PoolConnection<Postgres>,
    is_answered: bool,
}

impl Held {
    fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, is_answered: false }
    }

    /// Nothing is under way on it.
    pub(super) fn was_answered(&mut self) {
        self.is_answered = true;
    }

    /// Gives it back, or closes it when its state is unknown.
    pub(super) fn release<T>(mut self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        self.is_answered = result.is_ok();
        result
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It takes the connection with it: whatever ends this before its end closes that, and frees the place.
        let giving_back = self.connection.return_to_pool();
        if self.is_answered
            && let Ok(runtime) = Handle::try_current()
        {
            // The driver asks a connection that is given back once more.
            runtime.spawn(timeout(GIVEN_BACK, giving_back));
        }
    }
}

/// The server, as whoever has no connection sees it.
pub(super) struct Server {
    options: PgConnectOptions,
    /// When it was last asked for a connection, and why it gave none.
    asked: AsyncMutex<Option<(Instant, Option<String>)>>,
}

impl Connections {
    /// At most so many, made when they are needed.
    pub(super) fn to(server: &Arc<Server>, most: u32) -> Self {
        Self { pool: server.pool(most), server: Arc::clone(server), answered: Arc::default() }
    }

    /// Whether one waits.
    pub(super) fn has_idle(&self) -> bool {
        self.pool.num_idle() > 0
    }

    /// One that waits, or a new one.
    pub(super) async fn acquire(&self, until: Instant) -> Result<Held, EngineError> {
        self.acquire_after(until, false).await
    }

    /// The same for who may have met one that was `broken`: after a refusal they need not wait to hear it themselves,
    /// and nobody needs to where there is no connection at all.
    pub(super) async fn acquire_after(&self, until: Instant, broken: bool) -> Result<Held, EngineError> {
        // What they have heard was as old then as one may be that is passed on.
        let recent = if broken { 2 * PATIENCE } else { PATIENCE };
        if (broken || self.pool.size() == 0)
            && let Some(why) = self.server.refused_within(recent)
            && !self.have_answered_lately()
        {
            let idle = self.pool.try_acquire();
            return idle.map(Held::new).ok_or(EngineError::Unavailable(why));
        }
        match self.unless_refused(within(until, self.pool.acquire())).await {
            Ok(connection) => Ok(Held::new(connection)),
            // Who is connecting does not look at what is given back meanwhile. Who is late leaves it alone: it would
            // be late for whatever is asked, too, and closed.
            Err(error) if Instant::now() < until => self.pool.try_acquire().map(Held::new).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// What a call came to, and what becomes of its connection; to be gone on with on another one where this one
    /// was broken.
    pub(super) fn heard<T>(
        &self,
        mut held: Held,
        asked: Result<Result<T, sqlx::Error>, Elapsed>,
    ) -> ControlFlow<Result<T, EngineError>, EngineError> {
        let error = match asked {
            Ok(Ok(answer)) => {
                held.was_answered();
                self.have_answered();
                return ControlFlow::Break(Ok(answer));
            }
            Ok(Err(error)) => error,
            Err(_) => return ControlFlow::Break(Err(EngineError::late())),
        };
        if was_refused(&error) {
            // Or whoever asks for what cannot be would cost everybody a connection.
            held.was_answered();
            self.have_answered();
        }
        if is_broken(&error) {
            self.forget_idle();
            return ControlFlow::Continue(engine_error(&error));
        }
        ControlFlow::Break(Err(engine_error(&error)))
    }

    /// Waits for what needs a connection, as long as the server gives any, or those that there are are of use.
    async fn unless_refused<T>(
        &self,
        waiting: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let mut waiting = pin!(waiting);
        loop {
            if let Ok(result) = timeout(PATIENCE, &mut waiting).await {
                return result;
            }
            let refusal = tokio::select! {
                result = &mut waiting => return result,
                refusal = self.server.refusal() => refusal,
            };
            if let Some(why) = refusal
                && !self.have_answered_lately()
            {
                return Err(EngineError::Unavailable(why));
            }
        }
    }

    /// A call has had its answer.
    pub(super) fn have_answered(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn have_answered_lately(&self) -> bool {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.is_some_and(|at| at.elapsed() < PATIENCE)
    }

    /// One was broken: those that wait were most likely broken with it.
    fn forget_idle(&self) {
        while let Some(idle) = self.pool.try_acquire() {
            drop(idle.detach());
        }
    }
}

impl Server {
    pub(super) fn of(options: PgConnectOptions) -> Arc<Self> {
        Arc::new(Self { options, asked: AsyncMutex::default() })
    }

    /// At most so many connections, made when they are needed.
    pub(super) fn pool(&self, most: u32) -> PgPool {
        let options = PgPoolOptions::new().max_connections(most).test_before_acquire(false);
        options.connect_lazy_with(self.options.clone())
    }

    /// Whether it gives a connection, which is closed again.
    pub(super) async fn connect(&self) -> Result<(), sqlx::Error> {
        drop(PgConnection::connect_with(&self.options).await?.close().await);
        Ok(())
    }

    /// What the one who asked last was told, if it was no, and not longer ago.
    fn refused_within(&self, recent: Duration) -> Option<String> {
        let asked = self.asked.try_lock().ok()?;
        let (at, why) = asked.as_ref()?;
        if at.elapsed() < recent { why.clone() } else { None }
    }

    /// Why it gives no connection, if it does not: asked once for all who wait.
    async fn refusal(&self) -> Option<String> {
        let mut asked = self.asked.lock().await;
        if let Some((at, why)) = asked.as_ref()
            && at.elapsed() < PATIENCE
        {
            return why.clone();
        }
        let why = self.connect().await.err().map(|error| error.to_string());
        *asked = Some((Instant::now(), why.clone()));
        why
    }
}

/// Whether the server has answered that the statement failed: nothing of it is left, and the connection goes on. What
/// comes from a server that ends (57P), from its system (58), or from whoever stands between (08), is no answer.
pub(super) fn was_refused(error: &sqlx::Error) -> bool {
    let spoken = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    spoken.is_some_and(|error| {
        error.severity() == PgSeverity::Error
            && !["08", "57P", "58"].iter().any(|class| error.code().starts_with(class))
    })
}

/// Whether the server has ended a transaction, and its connection, because nothing came in it for too long.
pub(super) fn has_stood_still(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("25P03")
}

/// Whether a connection has ended, and not only a call: on another one the same may succeed.
fn is_broken(error: &sqlx::Error) -> bool {
    // The server was shut down, or had to end all its connections.
    let is_ended = |code: &str| matches!(code, "57P01" | "57P02");
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_)) || code.as_deref().is_some_and(is_ended)
}

/// The result of the driver, or that there was none in time.
pub(super) async fn within<T>(
    until: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, EngineError> {
    match timeout_at(until, work).await {
        Ok(result) => result.map_err(|error| engine_error(&error)),
        Err(_) => Err(EngineError::late()),
    }
}
