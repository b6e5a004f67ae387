//! What becomes of a connection to PostgreSQL whose call was given up? It keeps nobody else from one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chancery::journal::Engine;
use chancery::journal::postgres::PostgresEngine;
use projections::tokens;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use url::Url;

use super::Place;
use crate::harness::postgres::Database;

const DEADLINE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_millis(500);

/// A reader that leaves while the database hangs, as a client that closes its connection does, takes its call with
/// it and not the only connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_a_call_that_hangs_leaves_its_connection_to_nobody() {
    let place = Place::Postgres(Database::empty());
    place.engine().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    let engine = PostgresEngine::new(&database.url(), 1, DEADLINE).unwrap();
    let mut locking = PgConnection::connect(&database.url()).await.unwrap();
    let mut locks = locking.begin().await.unwrap();
    locks.execute("LOCK TABLE secrets, events, batches, tokens IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for call in 0..4 {
        let asked = async {
            match call {
                0 => engine.find_secret("id").await.map(drop),
                1 => engine.load_stream("client_token", "id", 0).await.map(drop),
                2 => engine.find_batch(7).await.map(drop),
                _ => engine.find_row(&tokens::TABLE, "id").await.map(drop),
            }
        };
        assert!(timeout(SOON / 10, asked).await.is_err(), "call {call} must hang");
        let head = timeout(SOON, engine.head()).await;
        assert_eq!(head.expect("the place is free").unwrap().position, 0, "after call {call}");
    }
}

/// However many leave, no more wait at the server for what they asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_by_somebody_who_left_is_given_up() {
    let place = Place::Postgres(Database::empty());
    place.engine().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    let engine = PostgresEngine::new(&database.url(), 4, DEADLINE / 10).unwrap();
    let mut locking = PgConnection::connect(&database.url()).await.unwrap();
    let mut locks = locking.begin().await.unwrap();
    locks.execute("LOCK TABLE secrets IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut watcher = PgConnection::connect(&database.url()).await.unwrap();
    let mut waiting = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut watcher).await.unwrap()
    };
    for _ in 0..3 {
        engine.find_secret("id").await.unwrap_err();
    }
    assert!(waiting().await > 0, "they were waiting");
    let begun = Instant::now();
    while waiting().await > 0 {
        assert!(begun.elapsed() < 5 * DEADLINE, "they wait for ever");
        sleep(SOON / 10).await;
    }
}

/// That the server was told to end a transaction in which nothing comes, and how long another has been open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_keep_others_from_writing_is_seen() {
    let place = Place::Postgres(Database::empty());
    let engine = place.engine().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    let mut reading = PgConnection::connect(&database.url()).await.unwrap();
    let mut snapshot = reading.begin().await.unwrap();
    snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    sleep(Duration::from_millis(1_600)).await;
    let found = engine.hazards().await.unwrap();
    assert!(!found.waits_too_long && found.oldest_transaction >= 1 && found.unheard < 10, "{found:?}");
}

/// A line on which everything takes a while. What is on its way while it is mute never arrives, and who speaks
/// over such a connection hears nothing for ever.
pub struct Line {
    port: u16,
    is_mute: Arc<AtomicBool>,
}

impl Line {
    /// Before this database, and how that is reached over it.
    pub async fn before(database: &Database, each_way: Duration) -> (Self, String) {
        let mut url = Url::parse(&database.url()).unwrap();
        let line = Self::start(url.port().unwrap_or(5432), each_way).await;
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(line.port)).unwrap();
        (line, url.into())
    }

    async fn start(to: u16, each_way: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = Self { port: listener.local_addr().unwrap().port(), is_mute: Arc::default() };
        let is_mute = Arc::clone(&line.is_mute);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (client, server) = (client.into_split(), server.into_split());
                tokio::spawn(carry(client.0, server.1, each_way, Arc::clone(&is_mute)));
                tokio::spawn(carry(server.0, client.1, each_way, Arc::clone(&is_mute)));
            }
        });
        line
    }

    pub fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    each_way: Duration,
    is_mute: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        sleep(each_way).await;
        if is_mute.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Who waits for a connection that somebody has is served in its turn, however soon the server would give another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_connection_keeps_its_turn() {
    let place = Place::Postgres(Database::empty());
    place.engine().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    let engine = Arc::new(PostgresEngine::new(&database.url(), 1, DEADLINE).unwrap());
    let (served, mut waiting) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
    for turn in 0..6 {
        let (engine, served) = (Arc::clone(&engine), Arc::clone(&served));
        waiting.spawn(async move {
            engine.query("SELECT 1::bigint FROM pg_sleep(0.25)", &[]).await.unwrap();
            served.lock().unwrap().push(turn);
        });
        // One comes when another has waited for long.
        sleep(Duration::from_millis(60)).await;
    }
    waiting.join_all().await;
    assert_eq!(*served.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
}

/// What was begun while nothing arrived is not waited for once something does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_begun_on_a_line_that_was_not_whole_begins_anew() {
    let place = Place::Postgres(Database::empty());
    place.engine().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    let (line, url) = Line::before(database, Duration::ZERO).await;
    for mute in [50, 200, 400].map(Duration::from_millis) {
        let engine = PostgresEngine::new(&url, 2, DEADLINE).unwrap();
        line.mute(true);
        let begun = Instant::now();
        let (head, ()) = tokio::join!(engine.head(), async {
            sleep(mute).await;
            line.mute(false);
        });
        let took = begun.elapsed();
        assert!(head.is_ok() && took < mute + SOON, "mute for {mute:?}, {took:?}: {head:?}");
    }
}

/// Far away a connection for the pulse is made behind it. One whose answer is lost is no reason not to make another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pulse_comes_again_after_its_connections_were_lost_without_a_word() {
    let place = Place::Postgres(Database::empty());
    place.engine().await;
    let Place::Postgres(database) = &place else { panic!("it is") };
    // So far that connecting takes longer than a pulse may, and a pulse does not.
    let (line, url) = Line::before(database, Duration::from_millis(90)).await;
    let engine = PostgresEngine::new(&url, 2, DEADLINE).unwrap();
    let pulses = async || {
        let begun = Instant::now();
        while engine.pulse().await.is_err() {
            assert!(begun.elapsed() < 4 * DEADLINE, "no pulse any more");
        }
    };
    pulses().await;
    // All connections there may be.
    tokio::join!(pulses(), pulses());
    line.mute(true);
    engine.pulse().await.expect_err("nothing arrives");
    sleep(SOON).await;
    line.mute(false);
    pulses().await;
}
