//! How does a call get a connection, and what when there is none, or it is broken?
//!
//! - Connections are not tested before they are used, which would take as long as using them: one that is broken
//!   shows by being asked, and another is.
//! - A connection whose call was not answered is closed, whoever gave the call up.
//! - A pool that the server refuses goes on connecting until it is late, and does not say why. So whoever has
//!   waited for a while asks the server beside the pool, one for all: a refusal is then the answer.
//! - What the first message of a connection was lost on was a line that was not whole, and TCP sends the next one a
//!   second later. So where the server gives one beside the pool at once, the pool begins anew.

use std::future::Future;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
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
/// How long a connection is waited for before the server is asked whether it gives any, and asked again.
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
    /// How many are with somebody.
    lent: Arc<AtomicUsize>,
}

/// A connection of a pool, and whether its last call was answered. One that was not is closed with this value, however
/// its caller ended: given back, it would keep its place in the pool until TCP gives up, or the transaction it is in.
pub(super) struct Held {
    connection: PoolConnection<Postgres>,
    is_answered: bool,
    /// Until it is given back.
    lent: Option<Lent>,
}

/// One of those that are with somebody.
struct Lent(Arc<AtomicUsize>);

impl Lent {
    fn of(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(all))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Held {
    fn new(connection: PoolConnection<Postgres>, lent: &Arc<AtomicUsize>) -> Self {
        Self { connection, is_answered: false, lent: Some(Lent::of(lent)) }
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
        let lent = self.lent.take();
        // It takes the connection with it: whatever ends this before its end closes that, and frees the place.
        let giving_back = self.connection.return_to_pool();
        if self.is_answered
            && let Ok(runtime) = Handle::try_current()
        {
            // The driver asks a connection that is given back once more.
            runtime.spawn(async move {
                let _lent = lent;
                timeout(GIVEN_BACK, giving_back).await
            });
        }
    }
}

/// The server, as whoever has no connection sees it.
pub(super) struct Server {
    options: PgConnectOptions,
    /// When it was last asked for a connection, and what it said.
    asked: AsyncMutex<Option<(Instant, Said)>>,
}

/// What the server said that was asked for a connection.
#[derive(Clone)]
enum Said {
    /// It gave one, after so long.
    Yes(Duration),
    /// It gave none.
    No(String),
}

impl Connections {
    /// At most so many, made when they are needed.
    pub(super) fn to(server: &Arc<Server>, most: u32) -> Self {
        let (answered, lent) = (Arc::default(), Arc::default());
        Self { pool: server.pool(most), server: Arc::clone(server), answered, lent }
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
            return self.try_acquire().ok_or(EngineError::Unavailable(why));
        }
        match self.unless_refused(|| within(until, self.pool.acquire())).await {
            Ok(connection) => Ok(Held::new(connection, &self.lent)),
            // Who is connecting does not look at what is given back meanwhile. Who is late leaves it alone: it would
            // be late for whatever is asked, too, and closed.
            Err(error) if Instant::now() < until => self.try_acquire().ok_or(error),
            Err(error) => Err(error),
        }
    }

    fn try_acquire(&self) -> Option<Held> {
        self.pool.try_acquire().map(|connection| Held::new(connection, &self.lent))
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

    /// Waits for what needs a connection, as long as the server gives any, or those that there are are of use; and
    /// begins anew where the server gives one in less than half the time.
    async fn unless_refused<T, F>(&self, wait: impl Fn() -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let (mut waiting, mut begun) = (pin!(wait()), Instant::now());
        loop {
            if let Ok(result) = timeout(PATIENCE, &mut waiting).await {
                return result;
            }
            let said = tokio::select! {
                biased;
                result = &mut waiting => return result,
                said = self.server.say() => said,
            };
            match said {
                Said::No(why) if !self.have_answered_lately() => return Err(EngineError::Unavailable(why)),
                // Who waits for one that somebody has would lose its turn.
                Said::Yes(took) if 2 * took < begun.elapsed() && self.is_connecting() => {
                    waiting.set(wait());
                    begun = Instant::now();
                }
                Said::No(_) | Said::Yes(_) => {}
            }
        }
    }

    /// Whether some are being made.
    fn is_connecting(&self) -> bool {
        // The pool counts one that is taken before one that was given back, for a moment.
        let there = self.pool.num_idle().wrapping_add(self.lent.load(Ordering::Relaxed));
        usize::try_from(self.pool.size()).unwrap_or(usize::MAX) > there
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
        match asked.as_ref()? {
            (at, Said::No(why)) if at.elapsed() < recent => Some(why.clone()),
            _ => None,
        }
    }

    /// Whether it gives a connection: asked once for all who wait.
    async fn say(&self) -> Said {
        let mut asked = self.asked.lock().await;
        if let Some((at, said)) = asked.as_ref()
            && at.elapsed() < PATIENCE
        {
            return said.clone();
        }
        let said = self.first_said().await;
        *asked = Some((Instant::now(), said.clone()));
        said
    }

    /// The answer to the first question, or to one of those after it, of which each is waited for until the next. Not
    /// so often that they would be a burden to a server that is slow.
    async fn first_said(&self) -> Said {
        let mut first = pin!(self.ask());
        if let Ok(said) = timeout(PATIENCE, &mut first).await {
            return said;
        }
        loop {
            tokio::select! {
                biased;
                said = &mut first => return said,
                said = timeout(2 * PATIENCE, self.ask()) => if let Ok(said) = said { return said },
            }
        }
    }

    async fn ask(&self) -> Said {
        let begun = Instant::now();
        match self.connect().await {
            Ok(()) => Said::Yes(begun.elapsed()),
            Err(error) => Said::No(error.to_string()),
        }
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
