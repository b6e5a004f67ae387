//! How does cqrs-es see the journal? As its `EventStore`: one store a command, which knows whether
//! the stream is fresh, what is written beside the events, and what came of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aggregates::application::Application;
use aggregates::authorization::Authorization;
use aggregates::client_token::ClientToken;
use aggregates::consent::Consent;
use aggregates::installation::Installation;
use aggregates::login_attempts::LoginAttempts;
use aggregates::refusal::Refusal;
use aggregates::session::Session;
use aggregates::user::User;
use aggregates::{AnyEvent, StoredEvent};
use cqrs_es::{Aggregate, AggregateContext, AggregateError, EventEnvelope, EventStore};
use projections::TRANSACTIONAL;
use projections::projection::{Recorded, row_ops};
use projections::validity::ends_something;

use super::batch::AppendError;
use super::claims::{claims, verifiers};
use super::engine::{Append, Engine, EngineError, NewEvent, SecretOp, StateRow, StoredRow};
use super::lease::wait_for_others;
use super::{Inner, Journal};
use crate::commands::{Beside, Executed};

/// A stream longer than this has a state row every so many events.
const STATE_EVERY: i64 = 32;

/// Streams that seldom have a second event: remembering each would push out those that go on.
const RARELY_CONTINUED: &[&str] = &[ClientToken::TYPE, Refusal::TYPE];

/// An aggregate the journal can store and remember.
pub trait Remembered:
    Aggregate<Services = (), Event: StoredEvent + Into<AnyEvent>> + Clone + 'static
{
}

impl<A> Remembered for A where
    A: Aggregate<Services = (), Event: StoredEvent + Into<AnyEvent>> + Clone + 'static
{
}

/// What cqrs-es passes through without looking.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A name is taken.
    #[error("the {0} is taken")]
    Claimed(&'static str),
    /// The database does not answer, or did not say whether it committed.
    #[error("{0}")]
    Unavailable(String),
}

/// What a store saw of its command: cqrs-es itself answers `()`.
pub struct Seen<A: Aggregate> {
    outcome: Mutex<Option<Executed<A>>>,
    from_memory: AtomicBool,
    /// The last event it wrote that ended something; 0 for none.
    ended: AtomicI64,
}

impl<A: Aggregate> Seen<A> {
    /// Takes what the command led to.
    #[must_use]
    pub fn take_outcome(&self) -> Option<Executed<A>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The event that no other process may answer from before, once the command is answered.
    #[must_use]
    pub fn ended(&self) -> Option<i64> {
        Some(self.ended.load(Ordering::Relaxed)).filter(|position| *position > 0)
    }

    /// Whether it was decided on a remembered state, which another process may have gone beyond.
    #[must_use]
    pub fn is_from_memory(&self) -> bool {
        self.from_memory.load(Ordering::Relaxed)
    }
}

/// What every event of a command says of where it comes from, also as the text that is stored and hashed.
pub struct Metadata {
    values: BTreeMap<String, String>,
    text: Arc<str>,
}

impl Metadata {
    /// Fails only if strings could not be written as JSON.
    pub fn new(values: BTreeMap<String, String>) -> Result<Self, serde_json::Error> {
        Ok(Self { text: serde_json::to_string(&values)?.into(), values })
    }
}

/// The event store of one command.
pub struct JournalStore<A: Aggregate> {
    journal: Journal,
    fresh: bool,
    metadata: Arc<Metadata>,
    beside: Beside,
    seen: Arc<Seen<A>>,
}

/// An aggregate as of an event.
#[derive(Clone)]
pub struct Loaded<A> {
    aggregate_id: String,
    aggregate: A,
    sequence: i64,
}

impl<A: Aggregate> AggregateContext<A> for Loaded<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.aggregate
    }
}

impl<A: Remembered> JournalStore<A> {
    /// A store for one command. A fresh stream is not loaded: its id was minted for the command.
    #[must_use]
    pub fn new(journal: Journal, fresh: bool, metadata: Arc<Metadata>, beside: Beside) -> Self {
        let seen =
            Seen { outcome: Mutex::default(), from_memory: AtomicBool::new(false), ended: AtomicI64::new(0) };
        Self { journal, fresh, metadata, beside, seen: Arc::new(seen) }
    }

    /// Where the command's result will be.
    #[must_use]
    pub fn seen(&self) -> Arc<Seen<A>> {
        Arc::clone(&self.seen)
    }

    /// What a stream has come to. On one node nobody else may ever meet an event of it that cannot be read.
    async fn load(&self, aggregate_id: &str) -> Result<Loaded<A>, AggregateError<A::Error>> {
        if let Some(loaded) = self.journal.remembered::<A>(aggregate_id) {
            self.seen.from_memory.store(true, Ordering::Relaxed);
            self.journal.metrics().loaded(A::TYPE, "memory");
            return Ok(loaded);
        }
        self.journal.metrics().loaded(A::TYPE, "database");
        let loaded = self.load_from_log(aggregate_id).await;
        if let Err(AggregateError::DeserializationError(_)) = loaded {
            self.journal.metrics().unreadable.inc();
        }
        loaded
    }

    async fn load_from_log(&self, aggregate_id: &str) -> Result<Loaded<A>, AggregateError<A::Error>> {
        let engine = self.journal.engine();
        let state = engine.find_state(A::TYPE, aggregate_id).await.map_err(of_engine)?;
        let mut loaded = state.as_ref().and_then(|row| from_state(aggregate_id, row)).unwrap_or_else(|| {
            Loaded { aggregate_id: aggregate_id.to_owned(), aggregate: A::default(), sequence: 0 }
        });
        for row in engine.load_stream(A::TYPE, aggregate_id, loaded.sequence).await.map_err(of_engine)? {
            loaded.aggregate.apply(decode::<A>(&row)?);
            loaded.sequence = row.sequence;
        }
        Ok(loaded)
    }

    fn append_of(&self, events: &[A::Event], loaded: &Loaded<A>) -> Result<Append, AggregateError<A::Error>> {
        let length = i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut append = Append {
            aggregate_type: A::TYPE,
            aggregate_id: loaded.aggregate_id.clone(),
            expected: loaded.sequence,
            events: Vec::with_capacity(events.len()),
            rows: Vec::with_capacity(events.len()),
            claims: Vec::new(),
            secrets: self.beside.secrets.clone(),
            subject_keys: self.beside.subject_keys.clone(),
            state: state_row(loaded, length).map_err(damaged)?,
            invalidates: false,
        };
        for (sequence, event) in (loaded.sequence + 1..).zip(events) {
            let encoded = event.encode().map_err(damaged)?;
            let any: AnyEvent = event.clone().into();
            let recorded = Recorded {
                position: None,
                aggregate_type: A::TYPE,
                aggregate_id: &loaded.aggregate_id,
                sequence,
                event: &any,
                metadata: &self.metadata.values,
            };
            append.rows.push(row_ops(TRANSACTIONAL, &recorded));
            append.claims.extend(claims(&any));
            append.invalidates |= ends_something(&any);
            append.secrets.extend(verifiers(&any).retired.map(|id| SecretOp::Delete { id: id.to_owned() }));
            append.events.push(NewEvent {
                event_type: encoded.event_type,
                event_version: encoded.event_version,
                payload: encoded.payload,
                metadata: Arc::clone(&self.metadata.text),
            });
        }
        Ok(append)
    }

    fn finish(&self, state: A, events: Vec<A::Event>) {
        *self.seen.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(Executed { state, events });
    }
}

impl<A: Remembered> EventStore<A> for JournalStore<A> {
    type AC = Loaded<A>;

    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let rows = self.journal.engine().load_stream(A::TYPE, aggregate_id, 0).await.map_err(of_engine)?;
        rows.iter().map(envelope::<A>).collect()
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<Loaded<A>, AggregateError<A::Error>> {
        if self.fresh {
            return Ok(Loaded {
                aggregate_id: aggregate_id.to_owned(),
                aggregate: A::default(),
                sequence: 0,
            });
        }
        self.load(aggregate_id).await
    }

    /// `context` has the events applied already: the sink did so as `handle` wrote them. The metadata came
    /// with the store, once for all attempts.
    async fn commit(
        &self,
        events: Vec<A::Event>,
        mut context: Loaded<A>,
        _: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        if events.is_empty() {
            self.journal.remember(context.clone());
            self.finish(context.aggregate, events);
            return Ok(Vec::new());
        }
        let append = self.append_of(&events, &context)?;
        let invalidates = append.invalidates;
        let first = match self.journal.inner.append(append).await {
            Ok(first) => first,
            Err(error) => {
                self.journal.forget::<A>(&context.aggregate_id);
                return Err(of_append(error));
            }
        };
        if invalidates {
            let last = first + i64::try_from(events.len()).unwrap_or(i64::MAX) - 1;
            self.seen.ended.store(last, Ordering::Relaxed);
        }
        context.sequence += i64::try_from(events.len()).unwrap_or(i64::MAX);
        if !(self.fresh && RARELY_CONTINUED.contains(&A::TYPE)) {
            self.journal.remember(context.clone());
        }
        self.finish(context.aggregate, events);
        Ok(Vec::new())
    }
}

impl Journal {
    /// Waits until no other process can answer from before an event that this one has committed.
    pub(crate) async fn wait_for_others(&self, position: i64) {
        wait_for_others(&self.inner, position).await;
    }

    fn remembered<A: Remembered>(&self, aggregate_id: &str) -> Option<Loaded<A>> {
        let key = (A::TYPE, aggregate_id.to_owned());
        let found =
            self.inner.aggregates.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()?;
        found.downcast_ref::<Loaded<A>>().cloned()
    }

    fn remember<A: Remembered>(&self, loaded: Loaded<A>) {
        let key = (A::TYPE, loaded.aggregate_id.clone());
        self.inner.aggregates.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(loaded));
    }

    /// Drops a remembered aggregate: the next command on it reads its stream.
    pub(crate) fn forget<A: Remembered>(&self, aggregate_id: &str) {
        self.inner.forget(A::TYPE, aggregate_id);
    }
}

impl Inner {
    /// Drops a remembered aggregate of a type this program knows.
    pub(super) fn forget(&self, aggregate_type: &str, aggregate_id: &str) {
        let Some(aggregate_type) = known_type(aggregate_type) else { return };
        let key = (aggregate_type, aggregate_id.to_owned());
        self.aggregates.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

/// The name of an aggregate that this program has.
pub(super) fn known_type(aggregate_type: &str) -> Option<&'static str> {
    AnyEvent::TYPES.iter().map(|(name, _)| *name).find(|name| *name == aggregate_type)
}

/// Whether a state row is what the events of its stream up to it come to. One that does not fit this program
/// is used by nobody, and says nothing.
pub(super) async fn is_fold(
    engine: &dyn Engine,
    aggregate_type: &'static str,
    aggregate_id: &str,
    row: &StateRow,
) -> Result<bool, EngineError> {
    let events = engine.load_stream(aggregate_type, aggregate_id, 0).await?;
    let Some(first) = events.first() else { return Ok(false) };
    // By an event and not by the name of its aggregate: without a line for a new aggregate it does not compile.
    match first.decode() {
        Ok(AnyEvent::Application(_)) => is_fold_of::<Application>(&events, row),
        Ok(AnyEvent::Authorization(_)) => is_fold_of::<Authorization>(&events, row),
        Ok(AnyEvent::ClientToken(_)) => is_fold_of::<ClientToken>(&events, row),
        Ok(AnyEvent::Consent(_)) => is_fold_of::<Consent>(&events, row),
        Ok(AnyEvent::Installation(_)) => is_fold_of::<Installation>(&events, row),
        Ok(AnyEvent::LoginAttempts(_)) => is_fold_of::<LoginAttempts>(&events, row),
        Ok(AnyEvent::Refusal(_)) => is_fold_of::<Refusal>(&events, row),
        Ok(AnyEvent::Session(_)) => is_fold_of::<Session>(&events, row),
        Ok(AnyEvent::User(_)) => is_fold_of::<User>(&events, row),
        Err(error) => Err(not_read(error)),
    }
}

fn is_fold_of<A: Remembered>(events: &[StoredRow], row: &StateRow) -> Result<bool, EngineError> {
    let Ok(kept) = serde_json::from_str::<A>(&row.state) else { return Ok(true) };
    let (mut aggregate, mut sequence) = (A::default(), 0);
    for event in events.iter().take_while(|event| event.sequence <= row.sequence) {
        aggregate.apply(decode::<A>(event).map_err(not_read)?);
        sequence = event.sequence;
    }
    let json = |aggregate: &A| serde_json::to_value(aggregate).map_err(not_read);
    Ok(sequence == row.sequence && json(&aggregate)? == json(&kept)?)
}

fn not_read(error: impl std::fmt::Display) -> EngineError {
    EngineError::Damaged(error.to_string())
}

/// A state row that another program version wrote may not fit: then the whole stream is read.
fn from_state<A: Remembered>(aggregate_id: &str, row: &StateRow) -> Option<Loaded<A>> {
    let aggregate = serde_json::from_str(&row.state).ok()?;
    Some(Loaded { aggregate_id: aggregate_id.to_owned(), aggregate, sequence: row.sequence })
}

fn state_row<A: Remembered>(loaded: &Loaded<A>, added: i64) -> Result<Option<StateRow>, serde_json::Error> {
    let sequence = loaded.sequence + added;
    if sequence / STATE_EVERY == loaded.sequence / STATE_EVERY {
        return Ok(None);
    }
    Ok(Some(StateRow { sequence, state: serde_json::to_string(&loaded.aggregate)? }))
}

/// An event that stops every command on its stream.
#[derive(Debug, thiserror::Error)]
#[error("event at position {position}: {reason}")]
struct Unreadable {
    position: i64,
    reason: String,
}

fn decode<A: Remembered>(row: &StoredRow) -> Result<A::Event, AggregateError<A::Error>> {
    let payload = row.payload();
    let decoded = payload
        .and_then(|payload| A::Event::decode(&row.event.event_type, &row.event.event_version, &payload));
    decoded.map_err(|error| damaged(Unreadable { position: row.position, reason: error.to_string() }))
}

fn envelope<A: Remembered>(row: &StoredRow) -> Result<EventEnvelope<A>, AggregateError<A::Error>> {
    Ok(EventEnvelope {
        aggregate_id: row.aggregate_id.clone(),
        sequence: usize::try_from(row.sequence).map_err(damaged)?,
        payload: decode::<A>(row)?,
        metadata: serde_json::from_str(&row.event.metadata).map_err(damaged)?,
    })
}

fn of_engine<E: std::error::Error>(error: EngineError) -> AggregateError<E> {
    match error {
        EngineError::Damaged(_) | EngineError::Later { .. } => damaged(error),
        EngineError::Unavailable(_)
        | EngineError::Unknown(_)
        | EngineError::Refused(_)
        | EngineError::OtherVersion { .. }
        | EngineError::EpochMoved => {
            AggregateError::DatabaseConnectionError(Box::new(StoreError::Unavailable(error.to_string())))
        }
    }
}

fn of_append<E: std::error::Error>(error: AppendError) -> AggregateError<E> {
    match error {
        AppendError::Conflict => AggregateError::AggregateConflict,
        AppendError::Claimed(kind) => AggregateError::UnexpectedError(Box::new(StoreError::Claimed(kind))),
        AppendError::Unavailable(reason) => {
            AggregateError::DatabaseConnectionError(Box::new(StoreError::Unavailable(reason)))
        }
    }
}

fn damaged<E: std::error::Error>(error: impl std::error::Error + Send + Sync + 'static) -> AggregateError<E> {
    AggregateError::DeserializationError(Box::new(error))
}
