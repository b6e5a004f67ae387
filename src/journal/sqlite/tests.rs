//! What does a call come to that the writer, a reader or another process keeps waiting? An answer in time.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant as Moment;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::clock::{MachineUptime, SystemClock};
use crate::journal::engine::NewEvent;
use crate::journal::{Capacity, Journal, Lease};
use crate::secret::new_id;

const DEADLINE: Duration = Duration::from_secs(1);
/// What a machine with other things to do may add.
const BUSY: Duration = Duration::from_millis(700);
const SIGN_OF_LIFE: &str = "UPDATE lanes SET revision = revision";
const CAPACITY: Capacity = Capacity { rows: 100, aggregates: 100 };

/// A database of its own.
struct Place(PathBuf);

impl Place {
    async fn new() -> Self {
        let directory =
            std::env::temp_dir().join(format!("chancery-sqlite-{}", new_id(SystemClock::shared().now())));
        std::fs::create_dir_all(&directory).unwrap();
        let place = Self(directory);
        place.engine(DEADLINE).migrate().await.unwrap();
        place
    }

    fn file(&self) -> PathBuf {
        self.0.join("chancery.db")
    }

    fn engine(&self, deadline: Duration) -> SqliteEngine {
        SqliteEngine::open(&self.file(), deadline).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Hang = Box<dyn FnOnce() + Send>;

/// A job that ends when it is let go.
struct Hanging {
    letting_go: mpsc::Sender<()>,
    called: JoinHandle<Result<(), EngineError>>,
}

impl Hanging {
    /// Lets the thread that writes hang, as a disk does.
    async fn writer(engine: &Arc<SqliteEngine>) -> Self {
        let engine = Arc::clone(engine);
        Self::begun(|hang| {
            tokio::spawn(async move {
                let hangs = engine.write(move |_| {
                    hang();
                    Ok(())
                });
                hangs.await
            })
        })
        .await
    }

    /// The same of a connection that reads.
    async fn reader(engine: &Arc<SqliteEngine>) -> Self {
        let engine = Arc::clone(engine);
        Self::begun(|hang| {
            tokio::spawn(async move {
                let hangs = engine.read(move |_| {
                    hang();
                    Ok(())
                });
                hangs.await
            })
        })
        .await
    }

    /// Calls with what hangs, and waits until it does.
    async fn begun(call: impl FnOnce(Hang) -> JoinHandle<Result<(), EngineError>>) -> Self {
        let (letting_go, let_go) = mpsc::channel();
        let (begun, has_begun) = oneshot::channel();
        let called = call(Box::new(move || {
            begun.send(()).unwrap();
            let _ = let_go.recv();
        }));
        has_begun.await.unwrap();
        Self { letting_go, called }
    }

    /// Whoever called has gone, and the job is there still.
    async fn given_up(self) -> mpsc::Sender<()> {
        self.called.await.unwrap().unwrap_err();
        self.letting_go
    }
}

/// A new stream of so many events.
fn history(events: usize) -> Append {
    let event = NewEvent {
        event_type: "test.happened".to_owned(),
        event_version: "1".to_owned(),
        payload: "{}".to_owned(),
        metadata: "{}".into(),
    };
    Append {
        aggregate_type: "test",
        aggregate_id: "one".to_owned(),
        expected: 0,
        events: vec![event; events],
        rows: vec![Vec::new(); events],
        claims: Vec::new(),
        secrets: Vec::new(),
        subject_keys: Vec::new(),
        state: None,
        invalidates: false,
    }
}

/// What it comes to, and that it does so in time.
#[track_caller]
fn in_time<T>(begun: Moment, limit: Duration, came: T) -> T {
    let took = begun.elapsed();
    assert!(took < limit + BUSY, "{took:?}");
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_hangs_keeps_nobody_longer_than_the_deadline_and_no_reader() {
    let place = Place::new().await;
    let engine = Arc::new(place.engine(DEADLINE));
    let epoch = engine.head().await.unwrap().epoch;
    let hanging = Hanging::writer(&engine).await;
    let begun = Moment::now();
    let appended = in_time(begun, DEADLINE, engine.append(7, epoch, &[history(1)]).await);
    assert!(matches!(appended, Err(EngineError::Unknown(_))), "{appended:?}");
    let begun = Moment::now();
    in_time(begun, DEADLINE, engine.execute(SIGN_OF_LIFE, &[]).await).unwrap_err();
    let begun = Moment::now();
    engine.head().await.unwrap();
    engine.pulse().await.unwrap();
    in_time(begun, Duration::ZERO, engine.find_batch(7).await).unwrap();
    drop(hanging.letting_go);
    // Behind them in the queue.
    engine.execute(SIGN_OF_LIFE, &[]).await.unwrap();
    assert_eq!(
        engine.find_batch(7).await.unwrap(),
        None,
        "what waited when its caller had gone is not begun"
    );
    assert!(matches!(engine.append(8, epoch, &[history(1)]).await.unwrap(), Outcome::Committed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_in_vain_for_another_process_knows_that_nothing_was_written() {
    let place = Place::new().await;
    let engine = place.engine(DEADLINE);
    let epoch = engine.head().await.unwrap().epoch;
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let begun = Moment::now();
    let appended = in_time(begun, DEADLINE, engine.append(7, epoch, &[history(1)]).await);
    assert!(matches!(appended, Err(EngineError::Unavailable(_))), "{appended:?}");
    assert_eq!(engine.head().await.unwrap().position, 0, "reads go on");
    other.execute_batch("COMMIT").unwrap();
    assert!(matches!(engine.append(7, epoch, &[history(1)]).await.unwrap(), Outcome::Committed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlasts_its_deadline_is_unknown_and_is_found_when_it_is_there() {
    let place = Place::new().await;
    let (hurried, patient) = (place.engine(DEADLINE), place.engine(DEADLINE).patient());
    let epoch = patient.head().await.unwrap().epoch;
    // Each event takes as long as it can.
    let slow = "CREATE TRIGGER slow AFTER INSERT ON events BEGIN SELECT count(*) FROM ( \
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n); END";
    patient.execute(slow, &[]).await.unwrap();
    let begun = Moment::now();
    let appended = in_time(begun, DEADLINE, hurried.append(7, epoch, &[history(500)]).await);
    assert!(matches!(appended, Err(EngineError::Unknown(_))), "{appended:?}");
    let found = async {
        loop {
            if let Some(found) = patient.find_batch(7).await.unwrap() {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_mins(1), found).await.expect("it was begun");
    assert_eq!((found.first, patient.head().await.unwrap().position), (1, 500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_hang_keep_nobody_longer_than_the_deadline_and_never_the_pulse() {
    let place = Place::new().await;
    let engine = Arc::new(place.engine(DEADLINE));
    let mut letting_go = Vec::new();
    for _ in 0..READERS {
        letting_go.push(Hanging::reader(&engine).await.given_up().await);
    }
    let begun = Moment::now();
    let read = in_time(begun, DEADLINE, engine.head().await);
    assert!(matches!(read, Err(EngineError::Unavailable(_))), "{read:?}");
    engine.pulse().await.unwrap();
    drop(letting_go);
    engine.head().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_closes_a_database_whose_writer_hangs_waits_no_longer_than_for_a_call() {
    let place = Place::new().await;
    let engine = Arc::new(place.engine(DEADLINE));
    let letting_go = Hanging::writer(&engine).await.given_up().await;
    let begun = Moment::now();
    drop(engine);
    in_time(begun, DEADLINE, ());
    assert!(begun.elapsed() >= DEADLINE, "it might have ended yet");
    drop(letting_go);
    // What does not hang is waited for: then the file may be moved.
    let (engine, begun) = (place.engine(Duration::from_mins(1)), Moment::now());
    drop(engine);
    in_time(begun, Duration::ZERO, ());
}

/// Also for the sign of life that is due: others wait for who is registered, and nobody has counted it out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_writer_hangs_answers_from_memory_and_can_be_stopped() {
    let place = Place::new().await;
    let engine = Arc::new(place.engine(Duration::from_mins(1)));
    let clock = SystemClock::shared();
    let opened = Journal::open(Arc::clone(&engine) as _, Arc::clone(&clock), CAPACITY).await;
    let journal = opened.unwrap();
    let lease = Lease::new("node".to_owned(), Duration::from_secs(1), Arc::new(MachineUptime), clock);
    journal.start_answering(lease).await.unwrap();
    let hanging = Hanging::writer(&engine).await;
    // For longer than between two signs of life, and then some leases.
    let since = Moment::now();
    while since.elapsed() < Duration::from_secs(6) {
        let begun = Moment::now();
        in_time(begun, Duration::from_millis(300), journal.freshen().await).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Moment::now();
    journal.stop_answering().await;
    in_time(begun, Duration::from_secs(2), ());
    assert!(!journal.is_fresh());
    journal.freshen().await.unwrap_err();
    drop(hanging.letting_go);
}

/// Nothing could be written from then on: the process has to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_whose_thread_has_ended_is_told_of() {
    let place = Place::new().await;
    let engine = place.engine(DEADLINE);
    let lives = tokio::time::timeout(Duration::from_millis(50), engine.ended()).await;
    assert!(lives.is_err(), "{lives:?}");
    let met: Result<(), _> = engine.write(|_| panic!("a fault of the program")).await;
    assert!(matches!(met, Err(EngineError::Unknown(_))), "{met:?}");
    let ended = tokio::time::timeout(DEADLINE, engine.ended()).await.unwrap();
    assert_eq!(ended, "the thread that writes to the database has ended");
}
