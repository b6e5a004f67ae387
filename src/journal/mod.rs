//! How does a command become durable, and how is it read again?
//!
//! What the journal promises (`ARCHITECTURE.md`, "Invariants"):
//! - An answer goes out after COMMIT: an acknowledged command survives a crash of the server and of
//!   the database.
//! - Events, claims, verifiers, keys and read-model rows of a command are one transaction.
//! - Positions are dense, in commit order, and a hash chain runs over every event.
//! - A command that loses a race or is refused by the database never harms its neighbours.
//! - What is remembered is what is written: the same row operations, applied in order.
//!
//! ```text
//! command ─> store ─> batch (queue) ─> one writer: engine.append ─> COMMIT ─> memory ─> answer
//!                                                                      └────> feed ─> eventual projections
//! ```

pub mod archive;
pub mod batch;
pub mod chain;
pub mod claims;
pub mod engine;
pub mod eventual;
pub mod feed;
pub mod history;
pub mod installation;
pub mod lease;
pub mod metrics;
pub mod migrations;
pub mod postgres;
pub mod read_models;
pub mod reads;
pub mod replay;
pub mod sqlite;
pub mod store;
pub mod stored;
pub mod verify;

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use hashlink::LruCache;
use projections::memory::Memory;
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard, SetOnce, mpsc, watch};
use tokio::time::Instant;

pub use engine::{Engine, EngineError, Head, SecretOp, SubjectKeyRow};
pub use lease::{Held, Lease, Stale};

use crate::clock::SharedClock;
use crate::journal::metrics::JournalMetrics;

const TURNS: usize = 1024;

/// No database has this epoch: nothing of the read models has been read yet.
const UNREAD: i64 = 0;

/// Type and id of a stream.
type StreamName = (&'static str, String);
/// Held by the command whose turn it is on its stream.
pub(crate) type Turn = OwnedMutexGuard<()>;
/// A loaded aggregate, whatever its type.
type AnyAggregate = Arc<dyn Any + Send + Sync>;

/// Sizes of what a journal holds in memory.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Rows of each cached read model.
    pub rows: usize,
    /// Live aggregates.
    pub aggregates: usize,
}

/// How far an eventual projection has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last event it has taken.
    pub position: i64,
    /// Why it stands still, and at which event.
    pub trouble: Option<String>,
}

/// The log, its writer and its read models. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    clock: SharedClock,
    memory: Memory,
    applied: watch::Sender<i64>,
    /// Who holds it applies; the chain after what is applied.
    applying: AsyncMutex<[u8; 32]>,
    /// Whether a batch is on its way into the database, or from there into memory.
    is_writing: AtomicBool,
    /// The last event that was read from the log, as somebody else has written it.
    of_others: AtomicI64,
    hurry: Notify,
    progress: Mutex<BTreeMap<&'static str, Progress>>,
    metrics: JournalMetrics,
    writer: mpsc::Sender<batch::Submission>,
    aggregates: Mutex<LruCache<StreamName, AnyAggregate>>,
    secrets: Mutex<LruCache<String, Arc<str>>>,
    lease: OnceLock<Lease>,
    others: lease::Others,
    turns: Vec<Arc<AsyncMutex<()>>>,
    /// Who holds one reads rows of its keys; when and why the last of them got no answer.
    loads: Vec<AsyncMutex<Option<(Instant, String)>>>,
    epoch: AtomicI64,
    /// Why this process no longer knows the history of its database.
    lost: OnceLock<String>,
    /// Which of the journal's own tasks has ended, and why, although the journal lives.
    ended: SetOnce<String>,
    configuration: AtomicU32,
}

impl Journal {
    /// Opens the log on an engine whose tables exist: loads resident read models, and starts the writer and
    /// the feed. They stop when the last clone is dropped.
    pub async fn open(
        engine: Arc<dyn Engine>,
        clock: SharedClock,
        capacity: Capacity,
    ) -> Result<Self, EngineError> {
        let journal = Self::unread(engine, clock, capacity).await?;
        journal.read().await?;
        Ok(journal)
    }

    /// The same for a process that stays when the read models are of another version: it follows the log, and
    /// reads nothing from them and writes nothing until a replay has made them this program's.
    pub async fn open_or_wait(
        engine: Arc<dyn Engine>,
        clock: SharedClock,
        capacity: Capacity,
    ) -> Result<Self, EngineError> {
        let journal = Self::unread(engine, clock, capacity).await?;
        match journal.read().await {
            Ok(()) | Err(EngineError::OtherVersion { .. } | EngineError::EpochMoved) => Ok(journal),
            Err(error) => Err(error),
        }
    }

    async fn unread(
        engine: Arc<dyn Engine>,
        clock: SharedClock,
        capacity: Capacity,
    ) -> Result<Self, EngineError> {
        let head = engine.head().await?;
        let (inner, queue) = Inner::at(&head, engine, clock, capacity);
        let journal = Self { inner: Arc::new(inner) };
        journal.keep("writer", batch::write(Arc::downgrade(&journal.inner), queue));
        journal.keep("feed", feed::follow(Arc::downgrade(&journal.inner)));
        Ok(journal)
    }

    /// Runs a task that goes on for as long as the journal lives, unless it panics.
    pub(crate) fn keep(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let ended = tokio::spawn(task).await;
            if let Some(inner) = inner.upgrade() {
                let why = ended.err().map(|error| format!(": {error}")).unwrap_or_default();
                // Whoever is told of one has to end, whatever else has ended.
                drop(inner.ended.set(format!("the journal's {name} has ended{why}")));
            }
        });
    }

    /// Waits until something that the journal cannot go on without has ended by itself, and says what: every
    /// command is 503 from then on, and only a new process helps.
    pub async fn ended(&self) -> String {
        tokio::select! {
            ended = self.inner.ended.wait() => ended.clone(),
            ended = self.inner.engine.ended() => ended.to_owned(),
        }
    }

    /// Reads the read models, unless they have been read: without them nothing can be answered or written.
    pub async fn read(&self) -> Result<(), EngineError> {
        if self.inner.is_read() {
            return Ok(());
        }
        match feed::follow_epoch(&self.inner).await {
            // Just now, in the middle of reading.
            Err(EngineError::EpochMoved) => feed::follow_epoch(&self.inner).await,
            read => read,
        }
    }

    /// From here on this process answers others from memory, under this lease: others wait for it.
    pub async fn start_answering(&self, lease: Lease) -> Result<(), Stale> {
        drop(self.inner.lease.set(lease));
        lease::renew(&self.inner).await
    }

    /// The lease, in a process that answers.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.inner.lease.get()
    }

    /// Whether memory may be answered from at this instant, without asking.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.inner.lease.get().is_none_or(|lease| lease.holds() && !lease.is_asked_each_time())
    }

    /// Whether this machine's clock can be trusted to tell what has expired.
    pub fn check_clock(&self) -> Result<(), Stale> {
        self.inner.lease.get().and_then(Lease::wrong_clock).map_or(Ok(()), Err)
    }

    /// Makes sure that memory may be answered from, asking the database if it must.
    pub async fn freshen(&self) -> Result<(), Stale> {
        if self.is_fresh() { Ok(()) } else { lease::freshen(&self.inner).await }
    }

    /// Whether memory may be answered from at this instant, and why not.
    pub fn vouch(&self) -> Result<(), Stale> {
        self.inner.lease.get().and_then(Lease::stale).map_or(Ok(()), Err)
    }

    /// The lease under which something is about to be decided on memory alone; see [`Self::vouch_for`].
    #[must_use]
    pub fn hold(&self) -> Held {
        self.inner.lease.get().map(Lease::hold).unwrap_or_default()
    }

    /// Whether what was decided while this was held may be told: to be asked right before it is.
    pub fn vouch_for(&self, held: Held) -> Result<(), Stale> {
        self.inner.lease.get().map_or(Ok(()), |lease| lease.vouch(held))
    }

    /// This process answers nobody any more: others need not wait for it.
    pub async fn stop_answering(&self) {
        if let Some(lease) = self.inner.lease.get()
            && let Err(error) = lease.give_up(self.inner.engine.as_ref()).await
        {
            tracing::debug!(%error, "the process stays registered until it is counted out");
        }
    }

    /// Starts keeping the eventual projections, as a server does for every process on its database.
    pub fn start_projecting(&self) {
        self.keep("projector", eventual::project(Arc::downgrade(&self.inner)));
    }

    /// Waits until no process answers from before what is in the log now.
    pub async fn settle(&self) -> Result<(), EngineError> {
        lease::wait_for_others_at_head(&self.inner).await
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &JournalMetrics {
        &self.inner.metrics
    }

    /// How far the eventual projections have come, as this process knows.
    #[must_use]
    pub fn progress(&self) -> BTreeMap<&'static str, Progress> {
        self.inner.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Somebody waits for an eventual projection: it goes on at once.
    pub fn hurry_projections(&self) {
        self.inner.hurry.notify_one();
    }

    /// The database under it.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        self.inner.engine.as_ref()
    }

    /// What this node remembers.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// The position this node has applied to memory.
    #[must_use]
    pub fn applied(&self) -> i64 {
        *self.inner.applied.borrow()
    }

    /// How far this process has followed the log, and the chain there.
    pub async fn followed(&self) -> (i64, [u8; 32]) {
        let chain = self.inner.applying.lock().await;
        (self.applied(), *chain)
    }

    /// The revision of the effective configuration, named by the metadata of every event.
    #[must_use]
    pub fn configuration_revision(&self) -> u32 {
        self.inner.configuration.load(Ordering::Relaxed)
    }

    /// Tells the journal which configuration it runs with.
    pub fn set_configuration_revision(&self, revision: u32) {
        self.inner.configuration.store(revision, Ordering::Relaxed);
    }

    /// Waits for a command's turn on its stream: two commands of one node on one stream would only
    /// lose against each other.
    pub(crate) async fn turn<A: cqrs_es::Aggregate>(&self, aggregate_id: &str) -> Option<Turn> {
        let turn = self.inner.turns.get(stripe(&(A::TYPE, aggregate_id)))?;
        Some(Arc::clone(turn).lock_owned().await)
    }

    /// The same where nobody is to be waited for.
    pub(crate) fn try_turn<A: cqrs_es::Aggregate>(&self, aggregate_id: &str) -> Option<Turn> {
        let turn = self.inner.turns.get(stripe(&(A::TYPE, aggregate_id)))?;
        Arc::clone(turn).try_lock_owned().ok()
    }

    /// A verifier by its id. A rotated secret has a new id, so what is remembered is never stale.
    pub async fn find_secret(&self, id: &str) -> Result<Option<Arc<str>>, EngineError> {
        let remembered = self.inner.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if remembered.is_some() {
            return Ok(remembered);
        }
        let found: Option<Arc<str>> = self.inner.engine.find_secret(id).await?.map(Arc::from);
        if let Some(verifier) = &found {
            let mut secrets = self.inner.secrets.lock().unwrap_or_else(PoisonError::into_inner);
            secrets.insert(id.to_owned(), Arc::clone(verifier));
        }
        Ok(found)
    }
}

impl Inner {
    /// A journal that knows where the log ends and has read nothing of the read models yet; and the queue that its
    /// writer is to take from.
    fn at(
        head: &Head,
        engine: Arc<dyn Engine>,
        clock: SharedClock,
        capacity: Capacity,
    ) -> (Self, mpsc::Receiver<batch::Submission>) {
        let (writer, queue) = mpsc::channel(batch::QUEUE);
        let inner = Self {
            memory: Memory::new(projections::transactional_tables(), capacity.rows),
            applied: watch::Sender::new(head.position),
            applying: AsyncMutex::new(head.chain),
            is_writing: AtomicBool::new(false),
            of_others: AtomicI64::new(0),
            hurry: Notify::new(),
            progress: Mutex::default(),
            metrics: JournalMetrics::default(),
            writer,
            aggregates: Mutex::new(LruCache::new(capacity.aggregates)),
            secrets: Mutex::new(LruCache::new(capacity.rows)),
            lease: OnceLock::new(),
            others: lease::Others::default(),
            turns: (0..TURNS).map(|_| Arc::default()).collect(),
            loads: (0..TURNS).map(|_| AsyncMutex::default()).collect(),
            epoch: AtomicI64::new(UNREAD),
            lost: OnceLock::new(),
            ended: SetOnce::new(),
            configuration: AtomicU32::new(0),
            engine,
            clock,
        };
        (inner, queue)
    }

    fn is_read(&self) -> bool {
        self.epoch.load(Ordering::Relaxed) != UNREAD
    }
}

/// Which of the striped locks a key takes: nobody outside can tell which keys share one.
fn stripe(key: &impl Hash) -> usize {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    usize::try_from(HASHER.hash_one(key) % TURNS as u64).unwrap_or_default()
}
