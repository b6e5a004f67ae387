//! What is outside the servers? One database, the way to it, clocks, and what goes wrong with them. All of
//! it follows from one seed, in time that passes only when everybody waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chancery::clock::{Clock, Uptime};
use chancery::journal::sqlite::SqliteEngine;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

pub const NODES: usize = 3;
/// How long a call may take before its connection is given up, as `database-deadline`.
pub const DEADLINE: Duration = Duration::from_millis(500);
/// Ten seconds before February 2026: with a month a key of its own begins.
const EPOCH: i64 = 1_769_903_990_000;

/// Everything the nodes share.
#[derive(Debug)]
pub struct World {
    begun: Instant,
    random: Mutex<fastrand::Rng>,
    weather: Mutex<Weather>,
    crashes: Mutex<BTreeMap<CrashPoint, usize>>,
    late_polls: AtomicUsize,
    calls: AtomicUsize,
    script: watch::Sender<Option<(usize, Fate)>>,
    may_be_replaced: bool,
    hears_hints: bool,
    hints: [Notify; NODES],
    late_hints: AtomicUsize,
    pub database: Database,
}

/// Before or after which call of the database a process ended.
pub type CrashPoint = (&'static str, &'static str);

/// The tables, in memory and on this thread.
pub struct Database(pub SqliteEngine);

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Database")
    }
}

/// Until when what is wrong.
#[derive(Debug, Clone)]
struct Weather {
    is_calm: bool,
    down: Instant,
    nodes: [NodeWeather; NODES],
}

#[derive(Debug, Clone, Copy)]
struct NodeWeather {
    cut: Instant,
    slow: Instant,
    frozen: Instant,
    starved: Instant,
    /// How far the clock shows off, in milliseconds: always, and for a while.
    skew: i64,
    jump: (i64, Instant),
}

/// What becomes of a call of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// The database says no before it does anything.
    Refused,
    /// The call never arrives.
    LostThere,
    /// The answer never arrives.
    LostBack,
    /// It arrives after the caller has given up.
    Late,
    /// The caller ends before, or after.
    CrashBefore,
    CrashAfter,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut node = || NodeWeather {
            cut: now,
            slow: now,
            frozen: now,
            starved: now,
            skew: random.i64(-400..400),
            jump: (0, now),
        };
        let nodes = [node(), node(), node()];
        let (may_be_replaced, hears_hints) = (random.bool(), random.bool());
        Self {
            begun: now,
            random: Mutex::new(random),
            weather: Mutex::new(Weather { is_calm: true, down: now, nodes }),
            crashes: Mutex::default(),
            late_polls: AtomicUsize::default(),
            calls: AtomicUsize::default(),
            script: watch::Sender::default(),
            may_be_replaced,
            hears_hints,
            hints: Default::default(),
            late_hints: AtomicUsize::default(),
            database: Database(SqliteEngine::in_memory().unwrap()),
        }
    }

    pub fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap()
    }

    /// Whether processes must think that another database may have taken the place of theirs, though none does.
    pub fn may_be_replaced(&self) -> bool {
        self.may_be_replaced
    }

    /// Whether nodes tell one another when they have ended something.
    pub fn hears_hints(&self) -> bool {
        self.hears_hints
    }

    /// A node has ended something: each of the others is told so at once, later than it may poll, or not at all.
    pub fn tell_others(self: &Arc<Self>, node: usize) {
        if !self.hears_hints {
            return;
        }
        for other in (0..self.hints.len()).filter(|&other| other != node) {
            let mut random = self.random();
            let delay = match random.u32(..4) {
                0 => continue,
                1 => random.u64(1_000..900_000),
                _ => random.u64(50..600),
            };
            drop(random);
            let world = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(delay)).await;
                world.late_hints.fetch_add(usize::from(delay > 50_000), Ordering::Relaxed);
                world.hints[other].notify_one();
            });
        }
    }

    /// Until the node is told that another one has ended something.
    pub async fn told(&self, node: usize) {
        self.hints[node].notified().await;
    }

    /// Hints that came later than a poll would have.
    pub fn late_hints(&self) -> usize {
        self.late_hints.load(Ordering::Relaxed)
    }

    /// Since the world began.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What time it really is: to the database.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(EPOCH).unwrap() + self.age()
    }

    pub fn crash_points(&self) -> BTreeMap<CrashPoint, usize> {
        self.crashes.lock().unwrap().clone()
    }

    /// Somebody's life ended here.
    pub fn crashed(&self, point: CrashPoint) {
        *self.crashes.lock().unwrap().entry(point).or_default() += 1;
    }

    // ── Weather ──────────────────────────────────────────────────────────────

    /// Nothing goes wrong from here on, or it may again.
    pub fn set_calm(&self, is_calm: bool) {
        let now = Instant::now();
        let mut weather = self.weather.lock().unwrap();
        weather.is_calm = is_calm;
        if is_calm {
            weather.down = now;
            for node in &mut weather.nodes {
                (node.cut, node.slow, node.frozen, node.starved) = (now, now, now, now);
                node.jump = (0, now);
            }
        }
    }

    pub fn take_database_down(&self, lasting: Duration) {
        self.weather.lock().unwrap().down = Instant::now() + lasting;
    }

    pub fn cut_off(&self, node: usize, lasting: Duration) {
        let mut weather = self.weather.lock().unwrap();
        if !weather.is_calm {
            weather.nodes[node].cut = Instant::now() + lasting;
        }
    }

    pub fn slow_down(&self, node: usize, lasting: Duration) {
        self.weather.lock().unwrap().nodes[node].slow = Instant::now() + lasting;
    }

    pub fn freeze(&self, node: usize, lasting: Duration) {
        self.weather.lock().unwrap().nodes[node].frozen = Instant::now() + lasting;
    }

    pub fn starve(&self, node: usize, lasting: Duration) {
        let starved = &mut self.weather.lock().unwrap().nodes[node].starved;
        *starved = (*starved).max(Instant::now() + lasting);
    }

    pub fn jump(&self, node: usize, by: TimeDelta, lasting: Duration) {
        self.weather.lock().unwrap().nodes[node].jump = (by.num_milliseconds(), Instant::now() + lasting);
    }

    /// Until when a node does nothing.
    pub fn frozen_until(&self, node: usize) -> Option<Instant> {
        let until = self.weather.lock().unwrap().nodes[node].frozen;
        (until > Instant::now()).then_some(until)
    }

    /// How long after it has asked a node looks at an answer that has come in time: later than any answer may
    /// come where the process hardly gets its processor.
    pub fn inattention(&self, node: usize) -> Duration {
        if self.weather.lock().unwrap().nodes[node].starved <= Instant::now() {
            return Duration::ZERO;
        }
        let inattention = Duration::from_millis(self.random().u64(0..=900));
        self.late_polls.fetch_add(usize::from(inattention > DEADLINE), Ordering::Relaxed);
        inattention
    }

    /// Polls whose answer was looked at later than one may come.
    pub fn late_polls(&self) -> usize {
        self.late_polls.load(Ordering::Relaxed)
    }

    /// How long a client's message is on its way.
    pub fn delay(&self) -> Duration {
        Duration::from_micros(self.random().u64(50..600))
    }

    /// How long a message of a node is on its way.
    pub fn latency(&self, node: usize) -> Duration {
        let weather = self.weather.lock().unwrap().clone();
        let is_slow = weather.nodes[node].slow > Instant::now();
        let mut random = self.random();
        Duration::from_micros(if is_slow {
            random.u64(50_000..245_000)
        } else if random.u32(..100) == 0 && !weather.is_calm {
            random.u64(1_000..300_000)
        } else {
            random.u64(50..600)
        })
    }

    /// The call after so many others is to go this way, whatever the weather.
    pub fn script(&self, calls: usize, fate: Fate) {
        self.script.send_replace(Some((calls, fate)));
    }

    /// Until the scripted call is made.
    pub async fn scripted_call(&self) {
        self.script.subscribe().wait_for(Option::is_none).await.unwrap();
    }

    /// Whether the scripted call has not been made; from here on there is none.
    pub fn end_script(&self) -> bool {
        self.script.send_replace(None).is_some()
    }

    fn scripted(&self) -> Option<Fate> {
        let (calls, fate) = (*self.script.borrow())?;
        let left = calls.checked_sub(1);
        self.script.send_replace(left.map(|left| (left, fate)));
        left.is_none().then_some(fate)
    }

    /// How many calls have been made.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// What becomes of a call that a node makes now. One that is seldom made goes wrong more often: else
    /// hardly anybody would end there.
    pub fn fate(&self, node: usize, call: &str) -> Fate {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(fate) = self.scripted() {
            return fate;
        }
        let weather = self.weather.lock().unwrap().clone();
        let now = Instant::now();
        if weather.down > now {
            return Fate::Refused;
        }
        let mut random = self.random();
        if weather.nodes[node].cut > now {
            return if random.bool() { Fate::LostThere } else { Fate::LostBack };
        }
        if weather.is_calm {
            return Fate::Done;
        }
        // What is seldom called would hardly ever go wrong.
        let odds = match call {
            "find_batch" => 200,
            "keep_subject_key" => 100,
            "load_stream" | "execute" | "head" | "living_rows" | "find_secret" | "find_subject_key" => 2_000,
            _ => 20_000,
        };
        match random.u32(..odds) {
            0..20 => Fate::Refused,
            20..30 => Fate::LostThere,
            30..40 => Fate::LostBack,
            40..50 => Fate::Late,
            50..55 => Fate::CrashBefore,
            55..60 => Fate::CrashAfter,
            _ => Fate::Done,
        }
    }
}

/// The clock on a node's wall.
#[derive(Debug)]
pub struct WallClock(pub std::sync::Arc<World>, pub usize);

impl Clock for WallClock {
    fn now(&self) -> DateTime<Utc> {
        let node = self.0.weather.lock().unwrap().nodes[self.1];
        let jump = if node.jump.1 > Instant::now() { node.jump.0 } else { 0 };
        let now = self.0.now() + TimeDelta::milliseconds(node.skew + jump);
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap()
    }
}

/// How long a node's machine has been up. No two count the same seconds: half a hundredth off is more than
/// any machine is.
#[derive(Debug)]
pub struct DriftingUptime(pub std::sync::Arc<World>, pub usize);

impl Uptime for DriftingUptime {
    fn now(&self) -> Duration {
        let age = self.0.age();
        match self.1 {
            0 => age,
            1 => age + age / 200,
            _ => age.saturating_sub(age / 200),
        }
    }
}
