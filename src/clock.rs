//! What time is it?
//!
//! Every decision that depends on time asks a [`Clock`], so that a test sets
//! the time instead of waiting for it. Times are whole milliseconds: what is
//! stored is what was decided with, on both engines.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A source of the present time.
pub trait Clock: Send + Sync + Debug {
    /// The present, truncated to whole milliseconds.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock as the program hands it around.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to be shared.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(3)
    }
}

/// How long the machine has been up: never goes back, and goes on while it sleeps. For leases and
/// throttles, which must not depend on what anybody sets a clock to.
pub trait Uptime: Send + Sync + Debug {
    /// Since some instant before the process began.
    fn now(&self) -> Duration;
}

/// The machine's own uptime.
#[derive(Debug, Clone, Copy, Default)]
pub struct MachineUptime;

impl Uptime for MachineUptime {
    fn now(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        // Where it is called otherwise, the monotonic clock may stand still in suspend.
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
    }
}

/// An uptime that stands still until it is moved.
#[derive(Debug, Clone, Default)]
pub struct TestUptime(Arc<AtomicI64>);

impl TestUptime {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Uptime for TestUptime {
    fn now(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.load(Ordering::SeqCst)).unwrap_or(0))
    }
}

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Debug, Clone)]
pub struct TestClock {
    milliseconds: Arc<AtomicI64>,
}

impl TestClock {
    /// A clock that shows `at`.
    #[must_use]
    pub fn at(at: DateTime<Utc>) -> Self {
        Self { milliseconds: Arc::new(AtomicI64::new(at.timestamp_millis())) }
    }

    /// Moves the clock, forwards or backwards, to `at`.
    pub fn set(&self, at: DateTime<Utc>) {
        self.milliseconds.store(at.timestamp_millis(), Ordering::SeqCst);
    }

    /// Moves the clock by `by`, which may be negative.
    pub fn advance(&self, by: TimeDelta) {
        self.milliseconds.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }

    /// The same clock behind the trait; this handle still moves it.
    #[must_use]
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }
}

impl Default for TestClock {
    /// 2026-01-01 00:00:00 UTC.
    fn default() -> Self {
        Self { milliseconds: Arc::new(AtomicI64::new(1_767_225_600_000)) }
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.milliseconds.load(Ordering::SeqCst))
            .unwrap_or(DateTime::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_whole_milliseconds() {
        let now = SystemClock.now();
        assert_eq!(now.timestamp_subsec_nanos() % 1_000_000, 0);
        assert!(now.timestamp() > 1_700_000_000);
    }

    #[test]
    fn a_test_clock_moves_for_all_its_clones() {
        let clock = TestClock::default();
        let shared = clock.shared();
        assert_eq!(shared.now().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        clock.advance(TimeDelta::milliseconds(1_500));
        assert_eq!(shared.now().timestamp_millis(), 1_767_225_601_500);
        clock.set(DateTime::UNIX_EPOCH);
        assert_eq!(shared.now(), DateTime::UNIX_EPOCH);
    }
}
