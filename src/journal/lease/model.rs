//! Is nothing told that has ended, however the steps of {pulse, apply, beat, lease, answer, end, wait, tell,
//! count out} fall between one another? (T3: a model under `shuttle`)
//!
//! The lease is the real one, and so are its decisions; the database, the memory and the time are a few
//! variables, each access to which may be where another thread goes on. Rules are also left out: the model
//! must find what happens then.

use std::fmt::Debug;

use shuttle::rand::Rng as _;
use shuttle::sync::{Arc as ShuttleArc, Mutex as ShuttleMutex};
use shuttle::thread;

use super::others::ASK;
use super::*;
use crate::clock::{Clock as _, TestClock};
use crate::journal::chain::GENESIS;

const SCHEDULES: usize = 20_000;
const STEPS: usize = 12;
const TOLD_AS_ALIVE: &str = "told as alive after its end";

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Whoever ends something answers as soon as it is committed.
    Waiting,
    /// A lease lasts from the end of its pulse.
    TheStart,
    /// The lease is looked at before the decision only.
    Vouching,
    /// Any lease will do, also one that was got after the decision.
    Holding,
    /// What is reported as applied is not yet.
    Applying,
}

/// What the nodes share.
#[derive(Debug, Default)]
struct Database {
    /// Something was ended here; 0 before.
    revision: i64,
    row: Option<Registered>,
    is_full: bool,
}

#[derive(Clone, Debug, Default)]
struct Time(ShuttleArc<ShuttleMutex<Duration>>);

impl Uptime for Time {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

struct World {
    without: Without,
    /// Time passes in small strides: no lease runs out by itself, and nobody is silent.
    is_quick: bool,
    time: Time,
    lease: Lease,
    database: ShuttleMutex<Database>,
    /// What the node remembers: the revision it has applied.
    memory: ShuttleMutex<i64>,
    /// When the end was committed, at the latest.
    ended_at: ShuttleMutex<Option<Duration>>,
    /// The end was acknowledged.
    is_acknowledged: ShuttleMutex<bool>,
}

impl World {
    fn new(without: Without) -> ShuttleArc<Self> {
        let time = Time::default();
        *time.0.lock().unwrap() = Duration::from_hours(1);
        let lease =
            Lease::new("node".to_owned(), LONGEST, Arc::new(time.clone()), TestClock::default().shared());
        ShuttleArc::new(Self {
            without,
            is_quick: shuttle::rand::thread_rng().gen_bool(0.5),
            time,
            lease,
            database: ShuttleMutex::default(),
            memory: ShuttleMutex::default(),
            ended_at: ShuttleMutex::default(),
            is_acknowledged: ShuttleMutex::default(),
        })
    }

    /// One renewal, as [`super::renew_once`] does it.
    fn renews(&self) {
        if self.lease.state().beat.is_none() {
            self.registers();
        }
        let begun = self.time.now();
        let revision = self.database.lock().unwrap().revision;
        let is_early = self.without == Without::Applying;
        if is_early && !self.beats_if_due(revision) {
            return;
        }
        *self.memory.lock().unwrap() = revision;
        if !is_early && !self.beats_if_due(revision) {
            return;
        }
        let begun = if self.without == Without::TheStart { self.time.now() } else { begun };
        // The clocks are right, and stand still: they are not what this is about.
        let clock = Some(TestClock::default().now().timestamp_millis());
        let pulse = Pulse { position: revision, revision, epoch: 1, clock, chain: GENESIS };
        self.lease.tells_time(begun, &pulse);
        self.lease.renewed(begun);
    }

    fn registers(&self) {
        let at = self.time.now();
        let applied = *self.memory.lock().unwrap();
        let mut database = self.database.lock().unwrap();
        if database.is_full {
            return;
        }
        let beats = database.row.as_ref().map_or(0, |row| row.beats.abs()) + 1;
        database.row = Some(Registered { node: "node".to_owned(), applied, lease: LONGEST, beats });
        drop(database);
        self.lease.state().beat = Some(Beat { at, applied });
    }

    fn beats_if_due(&self, applied: i64) -> bool {
        !self.lease.beat_is_due(applied, applied) || self.beats(applied)
    }

    /// As [`Lease::beat`]: whether the node may renew.
    fn beats(&self, applied: i64) -> bool {
        let at = self.time.now();
        let known = {
            let mut database = self.database.lock().unwrap();
            let is_full = database.is_full;
            match database.row.as_mut().filter(|row| !row.was_told()) {
                None => false,
                Some(_) if is_full => true,
                Some(row) => {
                    (row.applied, row.beats) = (applied, row.beats + 1);
                    self.lease.state().beat = Some(Beat { at, applied });
                    true
                }
            }
        };
        if !known {
            let mut state = self.lease.state();
            (state.beat, state.fresh_until) = (None, None);
        }
        known
    }

    /// An introspection. One begun after the end was acknowledged does not say that it lives (R1), and none
    /// says so from longer ago than a lease lasts (R2).
    fn answers(&self) {
        let was_over = *self.is_acknowledged.lock().unwrap();
        let held = self.lease.hold();
        let early = self.without == Without::Vouching && self.lease.vouch(held).is_ok();
        let is_alive = *self.memory.lock().unwrap() == 0;
        let ended_at = *self.ended_at.lock().unwrap();
        let told_at = self.time.now();
        let vouched = match self.without {
            Without::Vouching => early,
            Without::Holding => self.lease.holds(),
            Without::Nothing | Without::Waiting | Without::TheStart | Without::Applying => {
                self.lease.vouch(held).is_ok()
            }
        };
        if is_alive && vouched {
            assert!(!was_over, "{TOLD_AS_ALIVE}");
            assert!(ended_at.is_none_or(|at| told_at < at + LONGEST), "{TOLD_AS_ALIVE}");
        }
    }

    /// Ends something, and waits as [`super::others`] does.
    fn ends(&self) {
        // Before the node may answer there is little to see.
        let _ = (0..STEPS).any(|_| self.lease.holds());
        {
            let mut database = self.database.lock().unwrap();
            if database.is_full {
                return;
            }
            database.revision = 1;
        }
        let committed = self.time.now();
        *self.ended_at.lock().unwrap() = Some(committed);
        let is_over = || self.time.now() >= committed + LONGEST + LONGEST / 100;
        let is_behind = || self.database.lock().unwrap().row.as_ref().is_some_and(|row| row.applied < 1);
        while self.without != Without::Waiting && is_behind() && !is_over() {
            *self.time.0.lock().unwrap() += ASK;
        }
        *self.is_acknowledged.lock().unwrap() = true;
    }

    /// Another node looks around, as [`Lease::look_around`] does.
    fn looks(&self, other: &Lease) {
        let seen = self.database.lock().unwrap().row.clone();
        let (silent, gone) = other.silent(seen.into_iter().collect(), self.time.now());
        let told = silent.into_iter().map(|one| (one.beats, false));
        for (beats, is_gone) in told.chain(gone.into_iter().map(|one| (one.beats, true))) {
            let mut database = self.database.lock().unwrap();
            let Some(row) = database.row.as_mut().filter(|row| row.beats == beats) else { continue };
            row.beats = -beats;
            if is_gone {
                database.row = None;
            }
        }
    }
}

/// Everything at once, while time passes in strides.
fn anything(without: Without) {
    let world = World::new(without);
    let run = |step: fn(&World), times: usize| {
        let world = ShuttleArc::clone(&world);
        thread::spawn(move || (0..times).for_each(|_| step(&world)))
    };
    let looker = {
        let (world, time) = (ShuttleArc::clone(&world), Arc::new(world.time.clone()));
        let other = Lease::new("other".to_owned(), LONGEST, time, TestClock::default().shared());
        thread::spawn(move || (0..STEPS).for_each(|_| world.looks(&other)))
    };
    let threads = [
        run(World::renews, STEPS),
        run(World::answers, STEPS),
        run(World::answers, STEPS),
        run(World::ends, 1),
        run(
            |world| {
                let mut random = shuttle::rand::thread_rng();
                let stride = if world.is_quick || random.gen_bool(0.6) { 10..150 } else { 200..6_000 };
                *world.time.0.lock().unwrap() += Duration::from_millis(random.gen_range(stride));
            },
            STEPS,
        ),
        run(|world| world.database.lock().unwrap().is_full ^= shuttle::rand::thread_rng().gen_bool(0.3), 4),
        looker,
    ];
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn nothing_is_told_that_has_ended_whatever_comes_between() {
    shuttle::check_random(|| anything(Without::Nothing), SCHEDULES);
    shuttle::check_pct(|| anything(Without::Nothing), SCHEDULES, 4);
}

/// A model that finds nothing when a rule is missing proves nothing.
#[test]
fn the_model_finds_what_happens_without_a_rule() {
    use Without::{Applying, Holding, TheStart, Vouching, Waiting};
    for without in [Waiting, TheStart, Vouching, Holding, Applying] {
        let run = || {
            shuttle::check_random(move || anything(without), SCHEDULES);
            shuttle::check_pct(move || anything(without), SCHEDULES * 5, 3);
        };
        let why = std::panic::catch_unwind(run).expect_err(&format!("{without:?}"));
        assert_eq!(why.downcast_ref::<String>().map(String::as_str), Some(TOLD_AS_ALIVE), "{without:?}");
    }
}
