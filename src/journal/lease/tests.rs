//! What does a lease depend on? Uptimes, clocks and pulses that a test moves.

mod on_a_log;
mod watched;

use chrono::TimeDelta;

use super::register::{GONE, TOLD};
use super::*;
use crate::clock::{Clock, TestClock, TestUptime};
use crate::journal::chain::GENESIS;
use crate::journal::engine::Engine;
use crate::journal::sqlite::SqliteEngine;

const SECOND: Duration = Duration::from_secs(1);

struct Machine {
    uptime: TestUptime,
    clock: TestClock,
    lease: Lease,
}

impl Machine {
    fn with(length: Duration) -> Self {
        let (uptime, clock) = (TestUptime::default(), TestClock::default());
        uptime.advance(Duration::from_hours(1));
        let lease = Lease::new("node".to_owned(), length, Arc::new(uptime.clone()), clock.shared());
        Self { uptime, clock, lease }
    }

    /// One that has registered and heard of everything.
    fn fresh() -> Self {
        let machine = Self::with(SECOND);
        machine.registers();
        machine.hears(machine.uptime.now());
        machine
    }

    fn registers(&self) {
        self.lease.state().beat = Some(Beat { at: self.uptime.now(), applied: 0 });
    }

    /// A pulse that was begun at `begun` has come back.
    fn hears(&self, begun: Duration) {
        self.hears_of(begun, &pulse_with(None));
    }

    fn hears_of(&self, begun: Duration, pulse: &Pulse) {
        self.lease.tells_time(begun, pulse);
        self.lease.renewed(begun);
    }

    /// Time goes on for everything in it.
    fn lives(&self, time: Duration) {
        self.uptime.advance(time);
        self.clock.advance(TimeDelta::from_std(time).unwrap());
    }
}

/// One by a database that shows this time.
fn pulse_with(clock: Option<i64>) -> Pulse {
    Pulse { position: 0, revision: 0, epoch: 1, clock, chain: GENESIS }
}

#[test]
fn nothing_is_held_before_the_first_pulse() {
    let machine = Machine::with(SECOND);
    assert_eq!(machine.lease.stale(), Some(Stale::Starting));
    assert_eq!(machine.lease.age(), None);
}

#[test]
fn a_lease_ends_its_length_after_the_start_of_the_pulse() {
    let machine = Machine::fresh();
    machine.lives(Duration::from_millis(999));
    assert!(machine.lease.holds());
    assert_eq!(machine.lease.age(), Some(Duration::from_millis(999)));
    machine.lives(Duration::from_millis(1));
    assert_eq!(machine.lease.stale(), Some(Stale::Lapsed));

    let machine = Machine::fresh();
    let begun = machine.uptime.now();
    machine.lives(Duration::from_millis(700));
    machine.hears(begun);
    machine.lives(Duration::from_millis(300));
    assert!(!machine.lease.holds(), "the way there and back is not for free");
}

/// Only what it has heard can end it before: that the log is another one, or that it is counted out.
#[test]
fn a_pulse_that_fails_takes_nothing_from_a_lease_that_is_held() {
    let machine = Machine::fresh();
    let gone = Stale::Database("gone".to_owned());
    machine.lives(Duration::from_millis(500));
    machine.lease.failed(machine.uptime.now(), gone.clone());
    machine.lives(Duration::from_millis(499));
    assert_eq!(machine.lease.stale(), None);
    machine.lives(Duration::from_millis(1));
    assert_eq!(machine.lease.stale(), Some(gone));
    for why in
        [Stale::Damaged("a hole".to_owned()), Stale::Epoch("2".to_owned()), Stale::Lapsed, Stale::Stopping]
    {
        let machine = Machine::fresh();
        machine.lease.failed(machine.uptime.now(), why.clone());
        assert_eq!(machine.lease.stale(), Some(why));
    }
}

/// `Instant` stands still while a machine sleeps; whoever wakes would take up what it knew.
#[test]
fn a_machine_that_slept_wakes_without_a_lease() {
    let machine = Machine::fresh();
    machine.lives(Duration::from_hours(8));
    assert!(!machine.lease.holds());
    assert_eq!(machine.lease.wrong_clock(), None, "its clock went on as well");
}

/// Who has registered beside this one, as seen a while later.
fn other(beats: i64) -> Vec<Registered> {
    vec![Registered { node: "other".to_owned(), applied: 0, lease: SECOND, beats }]
}

fn looks(machine: &Machine, after: Duration, beats: i64) -> (usize, usize) {
    machine.lives(after);
    let (silent, gone) = machine.lease.silent(other(beats), machine.uptime.now());
    (silent.len(), gone.len())
}

#[test]
fn whoever_is_silent_is_told_and_counted_out_after_more_than_a_lease() {
    let machine = Machine::fresh();
    assert_eq!(looks(&machine, Duration::ZERO, 7), (0, 0));
    assert_eq!(looks(&machine, GONE, 7), (0, 0));
    assert_eq!(looks(&machine, Duration::from_millis(1), 7), (1, 0));
    // Somebody has told it: from here on it cannot renew, and what it holds runs out.
    assert_eq!(looks(&machine, Duration::from_millis(1), -7), (0, 0));
    assert_eq!(looks(&machine, TOLD, -7), (0, 0));
    assert_eq!(looks(&machine, Duration::from_millis(1), -7), (0, 1));
    assert!(TOLD > LONGEST + LONGEST / 100);
}

#[test]
fn whoever_gives_a_sign_of_life_is_not_counted_out() {
    let machine = Machine::fresh();
    looks(&machine, Duration::ZERO, 7);
    assert_eq!(looks(&machine, GONE, 8), (0, 0));
    assert_eq!(looks(&machine, GONE, 8), (0, 0));
    looks(&machine, SECOND, -8);
    // It registers anew, is silent anew, and is told anew: the time since the first telling does not count.
    assert_eq!(looks(&machine, TOLD * 2, 9), (0, 0));
    assert_eq!(looks(&machine, TOLD * 2, -9), (0, 0));
    assert_eq!(looks(&machine, SECOND, -9), (0, 0));
}

/// One's own silence is for others to find.
#[test]
fn nobody_counts_itself_out() {
    let machine = Machine::fresh();
    let own = || vec![Registered { node: "node".to_owned(), ..other(7).remove(0) }];
    machine.lease.silent(own(), machine.uptime.now());
    machine.lives(GONE * 2);
    assert_eq!(machine.lease.silent(own(), machine.uptime.now()), (Vec::new(), Vec::new()));
}

#[test]
fn a_clock_apart_from_the_databases_is_not_trusted() {
    for off in [-2_001, 2_001] {
        let machine = Machine::fresh();
        let pulse = pulse_with(Some(machine.clock.now().timestamp_millis() - off));
        machine.hears_of(machine.uptime.now(), &pulse);
        assert_eq!(machine.lease.stale(), Some(Stale::Clock(off)));
    }
    let machine = Machine::fresh();
    let pulse = pulse_with(Some(machine.clock.now().timestamp_millis() - 2_000));
    machine.hears_of(machine.uptime.now(), &pulse);
    assert!(machine.lease.holds());
}

/// Half the way there and back is for the answer.
#[test]
fn a_far_database_does_not_make_a_clock_wrong() {
    let machine = Machine::fresh();
    let begun = machine.uptime.now();
    machine.lives(Duration::from_secs(4));
    for (apart, is_wrong) in [(-3_901, false), (-100, false), (-4_001, true), (1, true)] {
        let pulse = pulse_with(Some(machine.clock.now().timestamp_millis() + apart));
        machine.hears_of(begun, &pulse);
        assert_eq!(machine.lease.wrong_clock().is_some(), is_wrong, "{apart} ms");
    }
}

/// Much was to be applied, or the database took long for the sign of life.
#[test]
fn what_is_done_after_a_pulse_does_not_make_a_clock_wrong() {
    let machine = Machine::fresh();
    let begun = machine.uptime.now();
    machine.lease.tells_time(begun, &pulse_with(Some(machine.clock.now().timestamp_millis())));
    machine.lives(Duration::from_secs(6));
    machine.lease.renewed(begun);
    assert_eq!(machine.lease.wrong_clock(), None);
}

/// Between two pulses as well: nobody is told that an expired token lives for the 50 ms until the next.
#[test]
fn a_clock_that_jumps_is_noticed_at_once() {
    for jump in [TimeDelta::hours(-1), TimeDelta::hours(1), TimeDelta::days(-1)] {
        let machine = Machine::fresh();
        machine.clock.advance(jump);
        assert!(matches!(machine.lease.stale(), Some(Stale::Clock(_))));
    }
}

#[test]
fn on_one_machine_a_clock_put_back_is_not_trusted_until_it_is_right_again() {
    let machine = Machine::fresh();
    machine.clock.advance(TimeDelta::days(-1));
    machine.hears(machine.uptime.now());
    assert!(!machine.lease.holds(), "it would revive what has expired");
    machine.clock.advance(TimeDelta::days(1));
    assert!(machine.lease.holds());
    machine.clock.advance(TimeDelta::hours(1));
    machine.hears(machine.uptime.now());
    assert!(machine.lease.holds(), "put forward, it ends things too early, and no more");
}

#[test]
fn with_no_lease_at_all_the_database_is_asked_each_time() {
    let machine = Machine::with(Duration::ZERO);
    assert!(machine.lease.is_asked_each_time() && !machine.lease.holds());
    assert!(!Machine::with(Duration::from_millis(1)).lease.is_asked_each_time());
    machine.registers();
    machine.hears(machine.uptime.now());
    assert!(machine.lease.holds());
    machine.lease.failed(machine.uptime.now(), Stale::Database("gone".to_owned()));
    assert!(!machine.lease.holds());
}

/// When a renewal began that has not ended yet, and when somebody asked meanwhile.
fn asked_during_a_renewal() -> (Machine, Duration, Duration) {
    let machine = Machine::fresh();
    let begun = machine.uptime.now();
    machine.lives(Duration::from_millis(10));
    let asked = machine.uptime.now();
    machine.lives(Duration::from_millis(10));
    (machine, begun, asked)
}

/// Each try may take as long as the database is given, and they would queue.
#[test]
fn whoever_waited_for_a_renewal_that_failed_need_not_try_again() {
    let (machine, begun, asked) = asked_during_a_renewal();
    let gone = Stale::Database("gone".to_owned());
    machine.lives(SECOND);
    machine.lease.failed(begun, gone.clone());
    assert_eq!(machine.lease.renewed_since(asked), Some(Err(gone)));
    assert_eq!(machine.lease.renewed_since(machine.uptime.now()), None, "that is a question of its own");
}

/// One that keeps the lease is enough for whoever may answer from memory; who asks each time wants a later one.
#[test]
fn whoever_waited_for_a_renewal_that_was_good_need_not_try_again() {
    let (machine, begun, asked) = asked_during_a_renewal();
    machine.hears(begun);
    assert_eq!(machine.lease.renewed_since(asked), Some(Ok(())));

    let machine = Machine::with(Duration::ZERO);
    let begun = machine.uptime.now();
    machine.hears(begun);
    assert_eq!(machine.lease.renewed_since(begun), Some(Ok(())));
    machine.lives(Duration::from_millis(1));
    assert_eq!(machine.lease.renewed_since(machine.uptime.now()), None);
}

/// A replay may have ended between the question and the answer: then the other server has refused already.
#[test]
fn read_models_of_another_version_are_looked_at_again_for_whoever_asked_later() {
    let (machine, begun, asked) = asked_during_a_renewal();
    let other = Stale::Epoch("of version 1".to_owned());
    machine.lease.failed(begun, other.clone());
    assert_eq!(machine.lease.renewed_since(asked), None);
    machine.lease.failed(asked, other.clone());
    assert_eq!(machine.lease.renewed_since(asked), Some(Err(other)));
}

#[test]
fn no_lease_is_longer_than_those_who_wait_believe() {
    assert_eq!(Machine::with(Duration::from_mins(1)).lease.length, LONGEST);
}

/// As long as something may be told that was decided before, others wait for it.
#[tokio::test]
async fn a_process_leaves_the_register_when_its_last_lease_is_over_and_not_before() {
    let engine = SqliteEngine::in_memory().unwrap();
    engine.migrate().await.unwrap();
    let machine = Machine::with(SECOND);
    machine.lease.register(&engine, 0).await.unwrap();
    machine.hears(machine.uptime.now());
    let held = machine.lease.hold();
    machine.lives(Duration::from_millis(999));
    machine.lease.withdraw(&engine).await.unwrap();
    assert_eq!(machine.lease.vouch(held), Ok(()));
    assert_eq!(list_registered(&engine).await.unwrap().len(), 1);
    machine.lives(Duration::from_millis(1));
    machine.lease.withdraw(&engine).await.unwrap();
    assert_eq!(machine.lease.vouch(held), Err(Stale::Lapsed));
    assert_eq!(list_registered(&engine).await.unwrap(), []);
    assert!(machine.lease.state().beat.is_none(), "it must register before it answers again");
    // What is not there any more is not asked for, and another's row stays.
    engine
        .execute("INSERT INTO nodes (node, lane, applied, lease, beats) VALUES ('other', 0, 0, 1000, 1)", &[])
        .await
        .unwrap();
    machine.lease.withdraw(&engine).await.unwrap();
    assert_eq!(list_registered(&engine).await.unwrap().len(), 1);
}

/// Whoever ends something waits for what a process has registered: a request of one that asks each time may
/// have been frozen between its question and its answer.
#[tokio::test]
async fn others_wait_for_as_long_as_a_process_vouches_for_whatever_its_length() {
    let engine = SqliteEngine::in_memory().unwrap();
    engine.migrate().await.unwrap();
    for length in [Duration::ZERO, Duration::from_millis(300), Duration::from_mins(1)] {
        let machine = Machine::with(length);
        machine.lease.register(&engine, 0).await.unwrap();
        let registered = list_registered(&engine).await.unwrap();
        machine.hears(machine.uptime.now());
        let held = machine.lease.hold();
        machine.lives(registered[0].lease.saturating_sub(Duration::from_millis(1)));
        if length.is_zero() {
            assert_eq!(machine.lease.vouch(held), Ok(()), "what is registered is what is vouched for");
        }
        machine.lives(Duration::from_millis(1));
        assert_eq!(machine.lease.vouch(held), Err(Stale::Lapsed), "{length:?}");
        engine.execute("DELETE FROM nodes WHERE node = $1", &["node".into()]).await.unwrap();
    }
}
