//! What does a lease do to the register of a log, and for whom does it wait? On a log in memory, in paused time.

use std::future::Future;

use aggregates::installation::{Installation, InstallationCommand};
use tokio::time::Instant;

use super::*;
use crate::commands::{Actor, Commands, Origin, Stream};
use crate::journal::lease::others::{ASK, wait_for_others, wait_for_others_at_head};
use crate::journal::lease::register::{BEAT, LOOK};
use crate::journal::{Capacity, Journal};
use crate::keys::{Keys, RootSecret};
use crate::personal::PersonalData;

const CAPACITY: Capacity = Capacity { rows: 100, aggregates: 100 };

/// A process that answers, on a log with an event or more.
struct Node {
    journal: Journal,
    commands: Commands,
    machine: Machine,
}

impl Node {
    async fn with(length: Duration) -> Self {
        let machine = Machine::with(length);
        let engine = Arc::new(SqliteEngine::in_memory().unwrap());
        engine.migrate().await.unwrap();
        let journal = Journal::open(engine, machine.clock.shared(), CAPACITY).await.unwrap();
        let keys = Arc::new(Keys::derive(&RootSecret::generate()).unwrap());
        let personal = PersonalData::new(journal.clone(), keys);
        let commands = Commands::new(journal.clone(), personal, machine.clock.shared(), 100);
        let lease =
            Lease::new("node".to_owned(), length, Arc::new(machine.uptime.clone()), machine.clock.shared());
        journal.start_answering(lease).await.unwrap();
        let node = Self { journal, commands, machine };
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
        let stream = Stream::Existing("installation".to_owned());
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
    assert!(machine.lease.beat(&engine, 5).await.unwrap());
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
    assert!(machine.lease.beat(&engine, 1).await.unwrap());
    engine.execute("DELETE FROM nodes", &[]).await.unwrap();
    assert!(!machine.lease.beat(&engine, 1).await.unwrap());
    assert!(machine.lease.state().beat.is_none(), "it must register before it answers again");
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
    assert!(node.waits_for(position + 1).await < ASK, "nor for itself");
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
    let node = Node::fresh().await;
    let position = node.head();
    node.beside("other", position - 1, SECOND, 1).await;
    let catches_up = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        node.beside("other", position, SECOND, 2).await;
    };
    let (waited, ()) = tokio::join!(node.waits_for(position), catches_up);
    assert!(
        (Duration::from_millis(100)..Duration::from_millis(100) + ASK * 3).contains(&waited),
        "{waited:?}"
    );
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
