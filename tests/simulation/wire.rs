//! How does a node reach the database? Over a wire on which calls are slow, refused, lost on either way or
//! too late, and in the middle of which the node itself may end.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chancery::journal::engine::{
    Append, AsOf, Committed, Engine, EngineError, Flip, Head, Outcome, Pulse, StateRow, StoredBatch,
    StoredRow, last_invalidating,
};
use chancery::journal::{EngineError as Error, SubjectKeyRow};
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use tokio::time::{Instant, sleep, sleep_until};

use super::world::{DEADLINE, Fate, World};

/// One process from its start to its end.
#[derive(Debug, Default)]
pub struct Life(AtomicBool);

impl Life {
    pub fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A process's connections.
pub struct Wire {
    pub world: Arc<World>,
    pub node: usize,
    pub life: Arc<Life>,
}

/// What a call of the database is waited for with.
type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Whether a call whose answer is missing may have changed something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Commit,
}

impl Wire {
    /// Sends a call and waits for its answer. A process that is over changes nothing any more, and whatever
    /// it still learns goes nowhere.
    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        kind: Kind,
        call: impl FnOnce(Arc<World>) -> Answer<T> + Send + 'static,
    ) -> Result<T, Error> {
        let over = || Error::Unavailable("the process is over".to_owned());
        let begun = Instant::now();
        self.thaw().await;
        sleep(self.world.latency(self.node)).await;
        self.thaw().await;
        if self.life.is_over() {
            return Err(over());
        }
        let missing = || match kind {
            Kind::Commit => Error::Unknown("no answer".to_owned()),
            Kind::Plain => Error::Unavailable("no answer".to_owned()),
        };
        let answer = match self.world.fate(self.node, name) {
            Fate::Refused => return Err(Error::Unavailable("not now".to_owned())),
            Fate::CrashBefore => {
                self.world.crashed((name, "before"));
                self.life.end();
                return Err(over());
            }
            Fate::LostThere => Err(missing()),
            Fate::LostBack => {
                drop(call(Arc::clone(&self.world)).await);
                Err(missing())
            }
            Fate::Late => {
                let (world, late) = (Arc::clone(&self.world), self.world.latency(self.node));
                tokio::spawn(async move {
                    sleep_until(begun + DEADLINE + late).await;
                    drop(call(world).await);
                });
                Err(missing())
            }
            Fate::CrashAfter => {
                drop(call(Arc::clone(&self.world)).await);
                self.world.crashed((name, "after"));
                self.life.end();
                return Err(over());
            }
            Fate::Done => Ok(call(Arc::clone(&self.world)).await),
        };
        match answer {
            Ok(_) => sleep(self.world.latency(self.node)).await,
            Err(_) => sleep_until(begun + DEADLINE).await,
        }
        self.thaw().await;
        if self.life.is_over() {
            return Err(over());
        }
        // An answer after the deadline is none.
        if begun.elapsed() > DEADLINE { Err(missing()) } else { answer? }
    }

    async fn thaw(&self) {
        while let Some(until) = self.world.frozen_until(self.node) {
            sleep_until(until).await;
        }
    }
}

/// Calls the same method of the database, over the wire.
macro_rules! over {
    ($wire:expr, $kind:ident, $method:ident($($argument:expr),*)) => {
        $wire
            .call(stringify!($method), Kind::$kind, move |world| {
                Box::pin(async move { world.database.0.$method($($argument),*).await })
            })
            .await
    };
}

#[async_trait]
impl Engine for Wire {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn may_be_replaced(&self) -> bool {
        self.world.may_be_replaced()
    }

    async fn migrate(&self) -> Result<usize, EngineError> {
        over!(self, Plain, migrate())
    }

    async fn pending_migrations(&self) -> Result<usize, EngineError> {
        over!(self, Plain, pending_migrations())
    }

    async fn append(&self, batch: i64, epoch: i64, appends: &[Append]) -> Result<Outcome, EngineError> {
        let (node, appends) = (self.node, appends.to_vec());
        let append = move |world: Arc<World>| -> Answer<Outcome> {
            Box::pin(async move {
                let outcome = world.database.0.append(batch, epoch, &appends).await;
                if matches!(outcome, Ok(Outcome::Committed(_))) && last_invalidating(&appends) > 0 {
                    world.tell_others(node);
                }
                outcome
            })
        };
        self.call("append", Kind::Commit, append).await
    }

    async fn find_batch(&self, batch: i64) -> Result<Option<Committed>, EngineError> {
        over!(self, Plain, find_batch(batch))
    }

    async fn load_stream(
        &self,
        kind: &'static str,
        id: &str,
        after: i64,
    ) -> Result<Vec<StoredRow>, EngineError> {
        let id = id.to_owned();
        over!(self, Plain, load_stream(kind, &id, after))
    }

    async fn find_state(&self, kind: &'static str, id: &str) -> Result<Option<StateRow>, EngineError> {
        let id = id.to_owned();
        over!(self, Plain, find_state(kind, &id))
    }

    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<StoredBatch>, EngineError> {
        over!(self, Plain, batches_after(position, limit))
    }

    async fn head(&self) -> Result<Head, EngineError> {
        over!(self, Plain, head())
    }

    async fn pulse(&self) -> Result<Pulse, EngineError> {
        let begun = Instant::now();
        let pulse = self
            .call("pulse", Kind::Plain, |world| {
                Box::pin(async move {
                    let clock = Some(world.now().timestamp_millis());
                    Ok(Pulse { clock, ..world.database.0.pulse().await? })
                })
            })
            .await?;
        // The lease counts from when it asked, however late it learns of the answer.
        sleep_until(begun + self.world.inattention(self.node)).await;
        self.thaw().await;
        Ok(pulse)
    }

    async fn hint(&self) {
        self.world.told(self.node).await;
        self.thaw().await;
    }

    fn hears_hints(&self) -> bool {
        self.world.hears_hints()
    }

    async fn find_row(&self, table: &'static Table, key: &str) -> Result<(Option<Row>, AsOf), EngineError> {
        let key = key.to_owned();
        over!(self, Plain, find_row(table, &key))
    }

    async fn living_rows(&self, table: &'static Table, after: &str) -> Result<(Vec<Row>, AsOf), EngineError> {
        let after = after.to_owned();
        over!(self, Plain, living_rows(table, &after))
    }

    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, EngineError> {
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        over!(self, Plain, query(&sql, &parameters))
    }

    async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64, EngineError> {
        let (sql, parameters) = (sql.to_owned(), parameters.to_vec());
        over!(self, Plain, execute(&sql, &parameters))
    }

    async fn find_secret(&self, id: &str) -> Result<Option<String>, EngineError> {
        let id = id.to_owned();
        over!(self, Plain, find_secret(&id))
    }

    async fn find_subject_key(&self, subject: &str) -> Result<Option<String>, EngineError> {
        let subject = subject.to_owned();
        over!(self, Plain, find_subject_key(&subject))
    }

    async fn keep_subject_key(&self, key: &SubjectKeyRow) -> Result<String, EngineError> {
        let key = key.clone();
        over!(self, Plain, keep_subject_key(&key))
    }

    async fn checkpoint(&self, projection: &Projection) -> Result<i64, EngineError> {
        let projection = *projection;
        over!(self, Plain, checkpoint(&projection))
    }

    async fn advance(
        &self,
        projection: &Projection,
        from: i64,
        to: i64,
        rows: &[RowOp],
    ) -> Result<bool, EngineError> {
        let (projection, rows) = (*projection, rows.to_vec());
        over!(self, Plain, advance(&projection, from, to, &rows))
    }

    async fn copy_to(&self, file: &Path) -> Result<(), EngineError> {
        let file = file.to_owned();
        over!(self, Plain, copy_to(&file))
    }

    async fn make_shadows(&self, replay: &Projection, tables: &[&'static Table]) -> Result<(), EngineError> {
        let (replay, tables) = (*replay, tables.to_vec());
        over!(self, Plain, make_shadows(&replay, &tables))
    }

    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError> {
        let flip = flip.clone();
        over!(self, Commit, flip(&flip))
    }
}
