//! What does a lease do to the register of a log, and for whom does it wait? On a log in memory, in paused time.

use std::future::Future;
use std::io::Write;
use std::sync::Mutex;

use aggregates::installation::{Installation, InstallationCommand};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::watched::Watched;
use super::*;
use crate::commands::{Actor, Commands, Origin, Stream};
use crate::journal::installation::INSTALLATION;
use crate::journal::lease::others::{
    ASK, ASK_LATER, others_behind, wait_for_others, wait_for_others_at_head,
};
use crate::journal::lease::register::{BEAT, LOOK};
use crate::journal::{Capacity, Journal};
use crate::keys::{Keys, RootSecret};
use crate::personal::PersonalData;
use crate::places::Places;

const CAPACITY: Capacity = Capacity { rows: 100, aggregates: 100 };

/// A process that answers, on a log with an event or more.
struct Node {
    engine: Arc<Watched>,
    journal: Journal,
    commands: Commands,
    machine: Machine,
}

impl Node {
    async fn with(length: Duration) -> Self {
        let machine = Machine::with(length);
        let engine = Watched::new(false).await;
        let journal = Journal::open(engine.clone(), machine.clock.shared(), CAPACITY).await.unwrap();
        let keys = Arc::new(Keys::derive(&RootSecret::generate()).unwrap());
        let personal = PersonalData::new(journal.clone(), keys);
        let commands = Commands::new(
            journal.clone(),
            personal,
            machine.clock.shared(),
            Places::new(100, Counter::default()),
        );
        let lease =
            Lease::new("node".to_owned(), length, Arc::new(machine.uptime.clone()), machine.clock.shared());
        journal.start_answering(lease).await.unwrap();
        let node = Self { engine, journal, commands, machine };
        node.grows().await;
        node
    }

    async fn fresh() -> Self {
        Self::with(SECOND).await
    }

    /// One more event, which ends nothing.
    async fn grows(&self) {
        let (before, at) = (self.head(), self.machine.clock.now());
        let settings = [("position".to_owned(), before.to_string())].into();
        let command = InstallationCommand::RecordConfiguration { settings, at };
        let origin = Origin::internal(Actor::Server, &self.machine.clock.shared());
        let stream = Stream::Existing(INSTALLATION.to_owned());
        self.commands.execute::<Installation>(stream, command, &origin).await.unwrap();
        assert_eq!(self.head(), before + 1);
    }

    /// Another process that is registered, and has applied so much.
    async fn beside(&self, node: &str, applied: i64, lease: Duration, beats: i64) {
        let sql = "INSERT INTO nodes (node, lane, applied, lease, beats) VALUES ($1, 0, $2, $3, $4) \
                   ON CONFLICT (node) DO UPDATE SET applied = excluded.applied, beats = excluded.beats";
        let parameters = [node.into(), applied.into(), millis(lease).into(), beats.into()];
        self.journal.engine().execute(sql, &parameters).await.unwrap();
    }

    async fn registered(&self, node: &str) -> Option<Registered> {
        list_registered(self.journal.engine()).await.unwrap().into_iter().find(|one| one.node == node)
    }

    fn head(&self) -> i64 {
        self.journal.applied()
    }

    async fn waits_for(&self, position: i64) -> Duration {
        takes(wait_for_others(&self.journal.inner, position)).await
    }
}

async fn takes(work: impl Future) -> Duration {
    let begun = Instant::now();
    work.await;
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_is_registered_and_says_how_far_it_is() {
    let node = Node::fresh().await;
    let first = node.registered("node").await.unwrap();
    assert_eq!((first.lease, first.was_told()), (SECOND, false));
    node.machine.lives(BEAT);
    assert!(!node.journal.is_fresh());
    node.journal.freshen().await.unwrap();
    assert!(node.journal.is_fresh());
    let later = node.registered("node").await.unwrap();
    assert_eq!(later.applied, node.head());
    assert!(later.beats > first.beats, "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_was_told_that_it_is_counted_out_registers_again_before_it_answers() {
    let node = Node::fresh().await;
    node.beside("node", 0, SECOND, -7).await;
    node.machine.lives(BEAT);
    assert_eq!(node.journal.freshen().await, Err(Stale::Lapsed));
    assert!(!node.journal.is_fresh());
    node.journal.freshen().await.unwrap();
    assert_eq!(node.registered("node").await.unwrap().beats, 8);

    node.journal.engine().execute("DELETE FROM nodes", &[]).await.unwrap();
    node.machine.lives(BEAT);
    assert_eq!(node.journal.freshen().await, Err(Stale::Lapsed));
    node.journal.freshen().await.unwrap();
    assert_eq!(node.registered("node").await.unwrap().beats, 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_leaves_the_register_and_answers_nobody() {
    let node = Node::fresh().await;
    node.journal.stop_answering().await;
    assert_eq!(node.registered("node").await, None);
    assert_eq!(node.journal.vouch(), Err(Stale::Stopping));
    assert_eq!(node.journal.freshen().await, Err(Stale::Stopping));
    assert_eq!(node.registered("node").await, None);
}

/// Beats are for what ended something, at once, and for being there, now and then.
#[tokio::test]
async fn a_beat_is_due_when_what_ended_is_applied_or_when_the_last_was_long_ago() {
    let (machine, engine) = (Machine::with(SECOND), SqliteEngine::in_memory().unwrap());
    engine.migrate().await.unwrap();
    assert!(machine.lease.beat_is_due(5, 0), "it is not registered");
    machine.lease.register(&engine, 5).await.unwrap();
    for (applied, revision, is_due) in
        [(5, 5, false), (6, 5, false), (5, 6, false), (6, 6, true), (7, 6, true)]
    {
        assert_eq!(machine.lease.beat_is_due(applied, revision), is_due, "{applied} of {revision}");
    }
    machine.lives(BEAT.saturating_sub(Duration::from_millis(1)));
    assert!(!machine.lease.beat_is_due(5, 5));
    machine.lives(Duration::from_millis(1));
    assert!(machine.lease.beat_is_due(5, 5));
    assert!(machine.lease.beat(&engine, 5).await.unwrap().is_some());
    assert!(!machine.lease.beat_is_due(5, 5), "it was just now");
}

/// On a full disk all go on reading: it is enough to be registered still.
#[tokio::test]
async fn who_cannot_say_that_it_is_there_may_go_on_as_long_as_it_is_registered() {
    let (machine, engine) = (Machine::with(SECOND), SqliteEngine::in_memory().unwrap());
    engine.migrate().await.unwrap();
    machine.lease.register(&engine, 0).await.unwrap();
    let forbidden = "CREATE TRIGGER full BEFORE UPDATE ON nodes BEGIN SELECT raise(ABORT, 'full'); END";
    engine.execute(forbidden, &[]).await.unwrap();
    assert!(machine.lease.beat(&engine, 1).await.unwrap().is_some());
    engine.execute("DELETE FROM nodes", &[]).await.unwrap();
    assert_eq!(machine.lease.beat(&engine, 1).await.unwrap(), None);
    assert!(machine.lease.state().beat.is_none(), "it must register before it answers again");
}

/// What can only be read may be a primary that another has replaced: its register says nothing of who is waited for.
#[tokio::test]
async fn who_cannot_say_that_it_is_there_answers_nobody_where_the_database_may_be_an_old_one() {
    let (machine, engine) = (Machine::with(SECOND), Watched::new(true).await);
    machine.lease.register(engine.as_ref(), 0).await.unwrap();
    let forbidden = "CREATE TRIGGER full BEFORE UPDATE ON nodes BEGIN SELECT raise(ABORT, 'full'); END";
    engine.execute(forbidden, &[]).await.unwrap();
    machine.lease.beat(engine.as_ref(), 1).await.unwrap_err();
}

/// What is written to the log of this thread meanwhile.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn count(&self, line: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(line).count()
    }
}

/// Whoever reads the log was told that something is wrong, and is told when it is over. That a server has started, or
/// was not asked anything for a while, is nothing to tell.
#[tokio::test(start_paused = true)]
async fn the_end_of_what_was_wrong_is_told_once() {
    let again = "the server answers from memory again";
    let lines = Lines::default();
    let to = lines.clone();
    let log = tracing_subscriber::fmt().with_writer(move || to.clone()).with_ansi(false).finish();
    let _here = tracing::subscriber::set_default(log);
    let node = Node::fresh().await;
    node.journal.engine().execute("DELETE FROM nodes", &[]).await.unwrap();
    node.machine.lives(BEAT);
    assert_eq!(node.journal.freshen().await, Err(Stale::Lapsed));
    node.journal.freshen().await.unwrap();
    assert_eq!(lines.count(again), 0, "nothing was wrong");

    node.engine.execute("ALTER TABLE nodes RENAME TO elsewhere", &[]).await.unwrap();
    node.machine.lives(BEAT);
    assert!(matches!(node.journal.freshen().await, Err(Stale::Database(_))));
    node.engine.execute("ALTER TABLE elsewhere RENAME TO nodes", &[]).await.unwrap();
    for _ in 0..2 {
        node.machine.lives(BEAT);
        node.journal.freshen().await.unwrap();
    }
    assert_eq!(lines.count(again), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_tells_and_counts_out_who_is_silent() {
    let node = Node::fresh().await;
    node.beside("silent", 0, SECOND, 7).await;
    let looks = async |after| {
        node.machine.lives(after);
        node.journal.freshen().await.unwrap();
        // The look is a task of its own.
        tokio::time::sleep(SECOND).await;
        node.registered("silent").await.map(|one| one.beats)
    };
    assert_eq!(looks(LOOK).await, Some(7));
    assert_eq!(looks(GONE + LOOK).await, Some(-7));
    assert_eq!(looks(LOOK).await, Some(-7));
    assert_eq!(looks(TOLD + LOOK).await, None);
}

#[test]
fn it_is_looked_around_now_and_then_by_whoever_asks_first() {
    let machine = Machine::with(SECOND);
    assert!(machine.lease.looks_around());
    assert!(!machine.lease.looks_around());
    machine.lives(LOOK.saturating_sub(Duration::from_millis(1)));
    assert!(!machine.lease.looks_around());
    machine.lives(Duration::from_millis(1));
    assert!(machine.lease.looks_around());
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_something_waits_for_nobody_who_has_applied_it() {
    let node = Node::fresh().await;
    let position = node.head();
    node.beside("node", position - 1, SECOND, 1).await;
    assert!(node.waits_for(position).await < ASK, "nor for itself");
    node.beside("other", position, SECOND, 1).await;
    assert!(node.waits_for(position).await < ASK);
}

/// A hundredth more than a lease, and not a second if none is so long.
#[tokio::test(start_paused = true)]
async fn whoever_ends_something_waits_until_no_lease_from_before_is_left() {
    let node = Node::fresh().await;
    for (lease, least) in [(300, 303), (1_000, 1_010)] {
        node.beside("other", node.head() - 1, Duration::from_millis(lease), 1).await;
        let waited = node.waits_for(node.head()).await;
        let least = Duration::from_millis(least);
        assert!((least..=least + ASK).contains(&waited), "{waited:?}");
        node.journal.engine().execute("DELETE FROM nodes WHERE node = 'other'", &[]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_goes_on_as_soon_as_the_others_have_applied_it() {
    // Soon while that may be the rule, and less often after that.
    for (after, within) in [(100, ASK * 3), (600, ASK_LATER + ASK)] {
        let (node, after) = (Node::fresh().await, Duration::from_millis(after));
        let position = node.head();
        node.beside("other", position - 1, SECOND, 1).await;
        let catches_up = async {
            tokio::time::sleep(after).await;
            node.beside("other", position, SECOND, 2).await;
        };
        let (waited, ()) = tokio::join!(node.waits_for(position), catches_up);
        assert!((after..after + within).contains(&waited), "{waited:?}");
    }
}

/// One question is asked for all who wait, but not one from before they had committed.
#[tokio::test(start_paused = true)]
async fn an_answer_from_before_the_commit_is_not_taken() {
    let node = Node::fresh().await;
    assert!(node.waits_for(node.head()).await < ASK);
    node.beside("late", node.head() - 1, SECOND, 1).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(node.waits_for(node.head()).await >= SECOND);
}

/// Whoever is told that something has ended already waits for the others as well, up to where the log is then.
#[tokio::test(start_paused = true)]
async fn at_the_head_everything_counts_as_ended_each_time() {
    let node = Node::fresh().await;
    for _ in 0..2 {
        node.grows().await;
        node.beside("other", node.head() - 1, SECOND, 1).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let waited = takes(async { wait_for_others_at_head(&node.journal.inner).await.unwrap() }).await;
        assert!(waited >= SECOND, "{waited:?}");
        assert_eq!(node.journal.engine().pulse().await.unwrap().revision, node.head());
    }
}

/// However many ask at once, the row that everybody who writes takes is moved once.
#[tokio::test(start_paused = true)]
async fn those_who_ask_at_once_where_the_log_ends_move_its_row_once() {
    let node = Node::fresh().await;
    let moves = || node.engine.times("UPDATE lanes SET revision");
    let before = moves();
    let asks = || wait_for_others_at_head(&node.journal.inner);
    let all = tokio::join!(asks(), asks(), asks());
    assert!(matches!(all, (Ok(()), Ok(()), Ok(()))), "{all:?}");
    assert_eq!(moves(), before + 1);
}

/// That others are behind is soon an old answer; that nobody is stays true.
#[tokio::test(start_paused = true)]
async fn who_waits_asks_again_when_the_answer_that_others_had_is_old() {
    let node = Node::fresh().await;
    let (inner, since) = (&node.journal.inner, Instant::now());
    node.beside("other", node.head() - 1, SECOND, 1).await;
    let asks = async |position: i64, least: usize| {
        let before = node.engine.times("SELECT l.head,");
        assert_eq!(others_behind(inner, since, position).await.unwrap().len(), least);
        node.engine.times("SELECT l.head,") > before
    };
    assert!(asks(node.head(), 1).await);
    assert!(!asks(node.head(), 1).await, "somebody has just asked");
    tokio::time::advance(ASK / 2).await;
    assert!(asks(node.head(), 1).await);
    tokio::time::advance(ASK).await;
    assert!(!asks(node.head() - 1, 0).await, "nobody was behind that");
    // Whoever does not know what has ended does not know who answers.
    let asked = others_behind(inner, since, node.head() + 1).await.unwrap_err();
    assert!(asked.to_string().contains("a server that is behind"), "{asked}");
}
