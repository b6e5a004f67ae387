//! Does everybody hear the truth, once, however commands, batches, another node, the poll and a line that breaks fall
//! between one another? (a model under `shuttle`)
//!
//! The writer is the real one, as are its queue, the poll and the chain; the database is a list, and time passes when
//! nothing else does or before. Databases that break a rule are also tried: the model must find what happens then.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use shuttle::future;
use shuttle::rand::Rng as _;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::clock::TestClock;
use crate::journal::chain::{GENESIS, fold};
use crate::journal::engine::{Engine, Flip, Head, NewEvent, Pulse, StoredBatch, StoredRow, SubjectKeyRow};
use crate::journal::{Capacity, Inner};

const SCHEDULES: usize = 4_000;
const EPOCH: i64 = 1;
const STREAM: &str = "model";
/// What the database refuses, whoever it comes with.
const POISON: &str = "poison";
const TOLD_WRONG: &str = "somebody was told what is not so";

/// A rule that the database breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Two commands may extend a stream at one place.
    Sequence,
    /// A batch of which some lost is written without them.
    AllOrNothing,
    /// Asked for a batch it shows the last one.
    Identity,
}

/// Whether what is sent arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Whole,
    Breaking,
}

/// Who commands, where, and what comes of it.
#[derive(Clone, Copy, Debug)]
struct Command {
    name: &'static str,
    stream: &'static str,
    /// The last event it was decided on.
    expected: i64,
}

#[derive(Debug, Default)]
struct Log {
    batches: Vec<(i64, StoredBatch)>,
}

impl Log {
    fn events(&self) -> impl Iterator<Item = &StoredRow> {
        self.batches.iter().flat_map(|(_, batch)| &batch.events)
    }

    fn position(&self) -> i64 {
        self.batches.last().map_or(0, |(_, batch)| batch.first + batch.count - 1)
    }

    fn chain(&self) -> [u8; 32] {
        self.batches.last().map_or(GENESIS, |(_, batch)| batch.chain.as_slice().try_into().unwrap())
    }

    fn last_of(&self, stream: &str) -> i64 {
        let events = self.events().filter(|event| event.aggregate_id == stream);
        i64::try_from(events.count()).unwrap()
    }

    fn places_of(&self, name: &str) -> Vec<i64> {
        self.events().filter(|event| named(&event.event) == name).map(|event| event.position).collect()
    }

    fn find(&self, id: i64) -> Option<Committed> {
        let (_, batch) = self.batches.iter().find(|(own, _)| *own == id)?;
        Some(Committed { first: batch.first, chain: batch.chain.as_slice().try_into().unwrap() })
    }
}

struct Database {
    without: Without,
    line: Line,
    log: Mutex<Log>,
}

impl Database {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this time the line breaks.
    fn breaks(&self) -> bool {
        self.line == Line::Breaking && shuttle::rand::thread_rng().gen_bool(0.2)
    }

    fn write(&self, id: i64, appends: &[Append]) -> Result<Outcome, EngineError> {
        let mut log = self.log();
        if appends.iter().flat_map(|append| &append.events).any(|event| named(event) == POISON) {
            return Err(EngineError::Refused("a check of a column".to_owned()));
        }
        let mut lost = Vec::new();
        for (index, append) in appends.iter().enumerate() {
            let before = &appends[..index];
            let own = before.iter().filter(|other| other.aggregate_id == append.aggregate_id).count();
            if log.last_of(&append.aggregate_id) + i64::try_from(own).unwrap() != append.expected {
                lost.push((index, Lost::Conflict));
            }
        }
        if lost.is_empty() || self.without == Without::Sequence {
            return Ok(Outcome::Committed(put(&mut log, id, appends)));
        }
        if self.without == Without::AllOrNothing {
            let is_lost = |index: &usize| lost.iter().any(|(one, _)| one == index);
            let rest: Vec<_> = (0..appends.len())
                .filter(|index| !is_lost(index))
                .map(|index| appends[index].clone())
                .collect();
            put(&mut log, id, &rest);
        }
        Ok(Outcome::Lost(lost))
    }
}

fn put(log: &mut Log, id: i64, appends: &[Append]) -> Committed {
    let first = log.position() + 1;
    let events = (first..).zip(appends).map(|(position, append)| StoredRow {
        position,
        aggregate_type: STREAM.to_owned(),
        aggregate_id: append.aggregate_id.clone(),
        sequence: append.expected + 1,
        event: append.events[0].clone(),
    });
    let events: Vec<_> = events.collect();
    let chain = events.iter().fold(log.chain(), |chain, event| fold(&chain, &event.leaf()));
    let count = i64::try_from(events.len()).unwrap();
    if count > 0 {
        log.batches.push((id, StoredBatch { first, count, chain: chain.into(), events }));
    }
    Committed { first, chain }
}

fn unused<T>() -> Result<T, EngineError> {
    Err(EngineError::Refused("the model does not ask for this".to_owned()))
}

#[async_trait]
impl Engine for Database {
    fn name(&self) -> &'static str {
        "model"
    }
    async fn migrate(&self) -> Result<usize, EngineError> {
        unused()
    }
    async fn pending_migrations(&self) -> Result<usize, EngineError> {
        unused()
    }
    async fn append(&self, batch: i64, _: i64, appends: &[Append]) -> Result<Outcome, EngineError> {
        if self.breaks() {
            return Err(EngineError::Unavailable("no connection".to_owned()));
        }
        future::yield_now().await;
        let unknown = || EngineError::Unknown("no answer".to_owned());
        if self.breaks() {
            return Err(unknown());
        }
        let outcome = self.write(batch, appends);
        future::yield_now().await;
        if self.breaks() { Err(unknown()) } else { outcome }
    }
    async fn find_batch(&self, batch: i64) -> Result<Option<Committed>, EngineError> {
        future::yield_now().await;
        if self.breaks() {
            return Err(EngineError::Unavailable("no connection".to_owned()));
        }
        let log = self.log();
        let last = log.batches.last().map_or(0, |(id, _)| *id);
        Ok(log.find(if self.without == Without::Identity { last } else { batch }))
    }
    async fn batches_after(&self, position: i64, _: i64) -> Result<Vec<StoredBatch>, EngineError> {
        future::yield_now().await;
        if self.breaks() {
            return Err(EngineError::Unavailable("no connection".to_owned()));
        }
        let log = self.log();
        let batches = log.batches.iter().map(|(_, batch)| batch);
        Ok(batches.filter(|batch| batch.first > position).cloned().collect())
    }
    async fn head(&self) -> Result<Head, EngineError> {
        unused()
    }
    async fn pulse(&self) -> Result<Pulse, EngineError> {
        future::yield_now().await;
        let log = self.log();
        Ok(Pulse { position: log.position(), revision: 0, epoch: EPOCH, clock: None, chain: log.chain() })
    }
    async fn query(&self, _: &str, _: &[Value]) -> Result<Vec<Row>, EngineError> {
        unused()
    }
    async fn execute(&self, _: &str, _: &[Value]) -> Result<u64, EngineError> {
        unused()
    }
    async fn keep_subject_key(&self, _: &SubjectKeyRow) -> Result<String, EngineError> {
        unused()
    }
    async fn advance(&self, _: &Projection, _: i64, _: i64, _: &[RowOp]) -> Result<bool, EngineError> {
        unused()
    }
    async fn copy_to(&self, _: &Path) -> Result<(), EngineError> {
        unused()
    }
    async fn make_shadows(&self, _: &Projection, _: &[&'static Table]) -> Result<(), EngineError> {
        unused()
    }
    async fn flip(&self, _: &Flip) -> Result<i64, EngineError> {
        unused()
    }
}

impl Command {
    fn append(self) -> Append {
        // No program knows it: it has a place in the log, and no rows.
        let event = NewEvent {
            event_type: "model.commanded".to_owned(),
            event_version: "1".to_owned(),
            payload: format!("\"{}\"", self.name),
            metadata: "{}".into(),
        };
        Append {
            aggregate_type: STREAM,
            aggregate_id: self.stream.to_owned(),
            expected: self.expected,
            events: vec![event],
            rows: vec![Vec::new()],
            claims: Vec::new(),
            secrets: Vec::new(),
            subject_keys: Vec::new(),
            state: None,
            invalidates: false,
        }
    }
}

fn named(event: &NewEvent) -> &str {
    event.payload.trim_matches('"')
}

/// One node, its database, and time.
struct World {
    database: Arc<Database>,
    node: Arc<Inner>,
    time: Runtime,
}

impl World {
    /// Submits, and sees whether what is answered is so.
    async fn submits(&self, command: Command) {
        let answer = self.node.append(command.append()).await;
        let log = self.database.log();
        let places = log.places_of(command.name);
        match answer {
            Ok(first) => {
                assert_eq!(places, [first], "{TOLD_WRONG}: {command:?} was written");
                assert!(self.node.applied() >= first, "{TOLD_WRONG}: {command:?} is in memory");
            }
            // Its rival may be in the same batch, and still to be written: who lost decides again on what there is.
            Err(AppendError::Conflict) => {
                assert!(places.is_empty(), "{TOLD_WRONG}: {command:?} lost");
                assert_ne!(command.stream, "c", "{TOLD_WRONG}: {command:?} has no rival");
            }
            Err(AppendError::Unavailable(why)) => {
                assert!(places.len() <= 1, "{TOLD_WRONG}: {command:?} once at most");
                let is_alone = self.database.line == Line::Whole && command.name != POISON;
                assert!(!is_alone, "{TOLD_WRONG}: {command:?} was harmed by a neighbour: {why}");
            }
            Err(AppendError::Claimed(kind)) => panic!("{TOLD_WRONG}: nobody has a {kind}"),
        }
    }

    /// What another node commits meanwhile.
    async fn is_written_elsewhere(&self, command: Command) {
        future::yield_now().await;
        // Its own batches have ids that this node never draws.
        drop(self.database.write(-1, &[command.append()]));
    }

    async fn polls(&self) {
        drop(feed::catch_up_to_head(&self.node).await);
    }

    fn passes(&self, stride: Duration) {
        self.time.block_on(tokio::time::advance(stride));
    }

    /// The log is one history, and the node has followed it.
    async fn ends(&self) {
        // With a line that breaks it takes a few tries.
        for _ in 0..64 {
            if self.node.applied() == self.database.log().position() {
                break;
            }
            self.polls().await;
        }
        let chain = *self.node.applying.lock().await;
        let log = self.database.log();
        assert_eq!(
            (self.node.applied(), chain),
            (log.position(), log.chain()),
            "{TOLD_WRONG}: how the log ends"
        );
        for stream in ["a", "b", "c"] {
            let events = log.events().filter(|event| event.aggregate_id == stream);
            let sequences: Vec<_> = events.map(|event| event.sequence).collect();
            assert!(
                sequences.iter().copied().eq(1..=log.last_of(stream)),
                "{TOLD_WRONG}: {stream} {sequences:?}"
            );
        }
    }
}

/// Everything at once, while time passes.
fn anything(without: Without) {
    let is_breaking = without == Without::Identity || shuttle::rand::thread_rng().gen_bool(0.5);
    let line = if is_breaking { Line::Breaking } else { Line::Whole };
    let database = Arc::new(Database { without, line, log: Mutex::default() });
    let head = Head { position: 0, chain: GENESIS, epoch: EPOCH };
    let engine = Arc::clone(&database) as Arc<dyn Engine>;
    let (node, queue) =
        Inner::at(&head, engine, TestClock::default().shared(), Capacity { rows: 1, aggregates: 1 });
    node.epoch.store(EPOCH, Ordering::Relaxed);
    let time = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let world = Arc::new(World { database, node: Arc::new(node), time });
    // Whoever waits for a time waits for this one.
    let _entered = world.time.enter();
    future::spawn(write(Arc::downgrade(&world.node), queue));
    let commands = [
        Command { name: "first", stream: "a", expected: 0 },
        Command { name: "rival", stream: "a", expected: 0 },
        Command { name: "other", stream: "b", expected: 0 },
        Command { name: POISON, stream: "c", expected: 0 },
        Command { name: "after it", stream: "b", expected: 1 },
    ];
    let submitters = commands.map(|command| {
        let world = Arc::clone(&world);
        future::spawn(async move { world.submits(command).await })
    });
    let elsewhere = Command { name: "elsewhere", stream: "b", expected: 1 };
    let others = [
        future::spawn({
            let world = Arc::clone(&world);
            async move { world.is_written_elsewhere(elsewhere).await }
        }),
        future::spawn({
            let world = Arc::clone(&world);
            async move { world.polls().await }
        }),
    ];
    future::block_on(async {
        let waiting = submitters.into_iter().chain(others);
        let mut waiting: Vec<_> = waiting.collect();
        while !waiting.is_empty() {
            waiting.retain(|task| !task.is_finished());
            world.passes(Duration::from_millis(shuttle::rand::thread_rng().gen_range(1..200)));
            future::yield_now().await;
        }
        world.ends().await;
    });
}

#[test]
fn everybody_hears_the_truth_once_whatever_comes_between() {
    shuttle::check_random(|| anything(Without::Nothing), SCHEDULES);
    shuttle::check_pct(|| anything(Without::Nothing), SCHEDULES, 4);
}

/// A model that finds nothing when a rule is broken proves nothing.
#[test]
fn the_model_finds_what_a_database_does_that_breaks_a_rule() {
    for without in [Without::Sequence, Without::AllOrNothing, Without::Identity] {
        let run = || shuttle::check_random(move || anything(without), SCHEDULES);
        let why = std::panic::catch_unwind(run).expect_err(&format!("{without:?}"));
        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(why.contains(TOLD_WRONG), "{without:?}: {why}");
    }
}
