//! May this process still answer from memory? Only while its lease lasts. (DESIGN: "after a revoke
//! answered 200, no node says `active:true` again")
//!
//! - A lease lasts `length` from the *start* of a pulse after which everything that ended something was
//!   applied. It is asked for after the decision, right before the answer is built: a process that was
//!   frozen in between does not tell what it knew before.
//! - A process registers before its first pulse, and says how far it has applied. Whoever ends something
//!   commits, then waits until every registered process has applied it or its lease has run out.
//! - Why it holds: a pulse begun after the commit sees it; one begun before gives a lease that ends
//!   within its length of the commit, and the one who commits waits for so long.
//! - A process whose read models another version has made can answer nothing: it is not registered, and takes
//!   itself out of the register when its last lease is over.
//! - A process that is counted out has been told so before, for longer than a lease lasts: to be still
//!   registered is enough to renew it. So on a full disk, where nobody can write, all go on reading; but not
//!   on a database that another may have replaced, which only a commit can show.
//! - Two processes never compare their clocks: leases are measured with each machine's own uptime, which
//!   goes on in suspend; a silent process is counted out by beats that do not change.

#[cfg(test)]
mod model;
mod others;
mod register;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aggregates::stored::MOST_SKEW;
use tokio::sync::Mutex as AsyncMutex;

pub(super) use self::others::{Others, wait_for_others, wait_for_others_at_head};
pub use self::register::{Registered, list_registered};
use super::engine::{EngineError, Pulse};
use super::{Inner, feed};
use crate::clock::{SharedClock, Uptime};

/// No lease is longer, whatever a process was configured with.
pub const LONGEST: Duration = Duration::from_secs(1);
/// Why a process may not answer from memory, in words for whoever operates it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// No pulse has come back yet.
    #[error("the server has just started")]
    Starting,
    /// The database does not say whether memory is up to date.
    #[error("the database does not answer: {0}")]
    Database(String),
    /// What the database holds is not what this process has followed.
    #[error("the database cannot be followed: {0}")]
    Damaged(String),
    /// The read models were rebuilt, or belong to another version of the program.
    #[error("the read models of this database are not this program's: {0}")]
    Epoch(String),
    /// The machine's clock cannot be trusted.
    #[error(
        "this machine's clock is {} s off; set it (NTP), and restart the server when it is right",
        .0 / 1000
    )]
    Clock(i64),
    /// The process has said that it answers nobody any more.
    #[error("the server is stopping")]
    Stopping,
    /// Nothing is wrong but that too long ago it was asked.
    #[error("the database has not confirmed what is remembered for too long")]
    Lapsed,
}

impl From<EngineError> for Stale {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::EpochMoved => Self::Epoch("they were rebuilt".to_owned()),
            EngineError::OtherVersion { .. } => Self::Epoch(error.to_string()),
            EngineError::Damaged(reason) => Self::Damaged(reason),
            EngineError::Later { .. } => Self::Damaged(error.to_string()),
            EngineError::Unavailable(reason)
            | EngineError::Unknown(reason)
            | EngineError::Refused(reason) => Self::Database(reason),
        }
    }
}

impl Stale {
    /// The first step of whoever looks after the server.
    #[must_use]
    pub fn what_to_do(&self) -> &'static str {
        match self {
            Self::Starting => "Nothing: within a second it is ready, or says why not.",
            Self::Database(_) => {
                "See whether the database runs and this machine reaches it. The server goes on by itself."
            }
            Self::Damaged(_) => {
                "Run `chancery verify`. After the database was brought back, or another took its place, restart the server."
            }
            Self::Epoch(_) => {
                "Start the version whose read models they are, or run `chancery replay` with this one."
            }
            Self::Clock(_) => "Set the clock of this machine, and keep it right by time servers (NTP).",
            Self::Stopping => "Nothing: it is being stopped.",
            Self::Lapsed => {
                "Nothing if it is over at once. Else the database, or this machine, is too slow for its load."
            }
        }
    }
}

/// The right of one process to answer from memory.
pub struct Lease {
    node: String,
    length: Duration,
    uptime: Arc<dyn Uptime>,
    wall: SharedClock,
    state: Mutex<State>,
    renewing: AsyncMutex<()>,
}

/// A lease that was held when something was decided.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    until: Option<Duration>,
}

#[derive(Default)]
struct State {
    fresh_until: Option<Duration>,
    /// What time it should be (milliseconds since 1970) at an uptime.
    reference: Option<(i64, Duration)>,
    beat: Option<Beat>,
    stale: Option<Stale>,
    /// The last renewal that found it to be so.
    failed: Option<Failed>,
    /// When the last pulse began that came back well.
    renewed_from: Option<Duration>,
    has_ended: bool,
    /// Whether it may still be registered though it should not be.
    leaves: bool,
    looked: Duration,
    others: HashMap<String, (i64, Duration)>,
}

#[derive(Clone, Copy)]
struct Failed {
    begun: Duration,
    ended: Duration,
}

#[derive(Clone, Copy)]
struct Beat {
    at: Duration,
    applied: i64,
}

impl Lease {
    /// None is held yet. With a `length` of zero every request asks the database.
    #[must_use]
    pub fn new(node: String, length: Duration, uptime: Arc<dyn Uptime>, wall: SharedClock) -> Self {
        let state = State { stale: Some(Stale::Starting), ..State::default() };
        Self {
            node,
            length: length.min(LONGEST),
            uptime,
            wall,
            state: Mutex::new(state),
            renewing: AsyncMutex::default(),
        }
    }

    /// Whether memory may be answered from at this instant.
    #[must_use]
    pub fn holds(&self) -> bool {
        let now = self.uptime.now();
        let state = self.state();
        let is_fresh = match &state.stale {
            None => self.length.is_zero() || state.fresh_until.is_some_and(|until| now < until),
            // That nothing was heard takes nothing back of what was: the others wait for this lease.
            Some(Stale::Database(_)) => state.fresh_until.is_some_and(|until| now < until),
            Some(_) => false,
        };
        is_fresh && !is_wrong(self.skew(&state, now))
    }

    /// The lease under which is decided from here on.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held { until: self.state().renewed_from.map(|begun| begun + self.vouched()) }
    }

    /// For how long after a pulse something may be told that was decided on it: what others are told to wait
    /// for. Who asks the database each time takes as long as this between its question and its answer.
    fn vouched(&self) -> Duration {
        if self.length.is_zero() { LONGEST } else { self.length }
    }

    /// Whether what was decided while this was held may be told at this instant. Another lease that was got
    /// since does not help: whoever was frozen in between would tell what it knew before.
    pub fn vouch(&self, held: Held) -> Result<(), Stale> {
        if let Some(stale) = self.stale() {
            return Err(stale);
        }
        let now = self.uptime.now();
        if held.until.is_some_and(|until| now < until) { Ok(()) } else { Err(Stale::Lapsed) }
    }

    /// Whether no memory is trusted from one request to the next.
    #[must_use]
    pub fn is_asked_each_time(&self) -> bool {
        self.length.is_zero()
    }

    /// Why it is not held, if it is not.
    #[must_use]
    pub fn stale(&self) -> Option<Stale> {
        if self.holds() {
            return None;
        }
        let why = self.state().stale.clone();
        Some(why.or_else(|| self.wrong_clock()).unwrap_or(Stale::Lapsed))
    }

    /// How far the machine's clock is off, if it is too far.
    #[must_use]
    pub fn wrong_clock(&self) -> Option<Stale> {
        let now = self.uptime.now();
        let skew = self.skew(&self.state(), now);
        is_wrong(skew).then_some(Stale::Clock(skew))
    }

    /// How long ago the pulse was begun that the lease stands on.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let begun = self.state().fresh_until?.saturating_sub(self.length);
        Some(self.uptime.now().saturating_sub(begun))
    }

    /// The machine's uptime, by which leases are measured.
    pub(super) fn uptime(&self) -> Duration {
        self.uptime.now()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the machine's clock is from what it should show, in milliseconds.
    fn skew(&self, state: &State, now: Duration) -> i64 {
        state.reference.map_or(0, |reference| self.wall.now().timestamp_millis() - expected(reference, now))
    }

    /// A pulse that was asked for at `asked` has just come back. What is done with it takes time that says nothing of
    /// the machine's clock.
    pub(super) fn tells_time(&self, asked: Duration, pulse: &Pulse) {
        let now = self.uptime.now();
        let mut state = self.state();
        state.reference = Some(match (pulse.clock, state.reference) {
            // Half the way there and back is for the answer.
            (Some(clock), _) => (clock + millis(now.saturating_sub(asked)) / 2, now),
            // On one machine only a clock that was put back is a danger: it revives what has expired.
            (None, reference) => {
                let shown = self.wall.now().timestamp_millis();
                (reference.map_or(shown, |reference| shown.max(expected(reference, now))), now)
            }
        });
    }

    /// What a pulse told of that began at `begun` is applied.
    fn renewed(&self, begun: Duration) {
        let mut state = self.state();
        if state.has_ended {
            return;
        }
        state.fresh_until = Some(begun + self.length);
        state.renewed_from = Some(begun);
        state.stale = None;
    }

    /// Whether somebody's renewal will do for a request that asked at this time: one that keeps the lease, or
    /// that began later, or that has failed since. One that failed at read models of another version must have
    /// begun later: they may have been rebuilt just before it was asked, and it costs little to look again.
    fn renewed_since(&self, asked: Duration) -> Option<Result<(), Stale>> {
        if self.holds() && !self.is_asked_each_time() {
            return Some(Ok(()));
        }
        let state = self.state();
        match &state.stale {
            Some(why) => {
                let Failed { begun, ended } = state.failed?;
                let is_later = if matches!(why, Stale::Epoch(_)) { begun >= asked } else { ended > asked };
                is_later.then(|| Err(why.clone()))
            }
            None if state.renewed_from.is_some_and(|begun| begun >= asked) => Some(Ok(())),
            None => None,
        }
    }

    /// A renewal that began at `begun` has failed.
    fn failed(&self, begun: Duration, why: Stale) {
        let now = self.uptime.now();
        let mut state = self.state();
        state.failed = Some(Failed { begun, ended: now });
        if !state.has_ended && state.stale.as_ref() != Some(&why) {
            let what_to_do = why.what_to_do();
            tracing::warn!(reason = %why, what_to_do, "the server may not answer from memory for the moment");
            state.stale = Some(why);
        }
    }
}

/// Whether a clock that is so far off, in milliseconds, decides wrongly over what has expired.
fn is_wrong(skew: i64) -> bool {
    skew.abs() > MOST_SKEW.num_milliseconds()
}

fn expected((shown, at): (i64, Duration), now: Duration) -> i64 {
    shown + millis(now.saturating_sub(at))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// For a request that may not be answered from memory. Whoever had to wait for another renewal takes its
/// result, good or bad: each may take as long as the database is given, and they would queue.
pub(super) async fn freshen(inner: &Arc<Inner>) -> Result<(), Stale> {
    let Some(lease) = inner.lease.get() else { return Ok(()) };
    let asked = lease.uptime.now();
    let _one = lease.renewing.lock().await;
    match lease.renewed_since(asked) {
        Some(result) => result,
        None => renew_alone(inner, lease).await,
    }
}

/// Catches up with the log, and renews the lease of a process that has one.
pub(super) async fn renew(inner: &Arc<Inner>) -> Result<(), Stale> {
    let Some(lease) = inner.lease.get() else {
        return feed::catch_up_to_head(inner).await.map(|_| ()).map_err(Stale::from);
    };
    let _one = lease.renewing.lock().await;
    renew_alone(inner, lease).await
}

async fn renew_alone(inner: &Arc<Inner>, lease: &Lease) -> Result<(), Stale> {
    let begun = lease.uptime.now();
    let renewed = renew_once(inner, lease).await;
    if let Err(stale) = &renewed {
        lease.failed(begun, stale.clone());
    }
    renewed
}

async fn renew_once(inner: &Arc<Inner>, lease: &Lease) -> Result<(), Stale> {
    let engine = inner.engine.as_ref();
    if lease.state().has_ended {
        return Err(Stale::Stopping);
    }
    // Not whether it holds: a lease may outlast a pulse that failed, of which a line of the log was written.
    let was_stale = lease.state().stale.clone();
    if lease.state().beat.is_none() {
        // For whoever has nothing to answer from, nobody need wait.
        catch_up(inner, lease).await?;
        lease.register(engine, inner.applied()).await?;
    }
    let begun = lease.uptime.now();
    let pulse = catch_up(inner, lease).await?;
    let applied = inner.applied();
    if lease.beat_is_due(applied, pulse.revision) {
        let beaten = lease.beat(engine, applied).await?;
        // The pulse may come from a server that is the primary no more, and to which nobody else writes.
        let beaten = beaten.ok_or(Stale::Lapsed)?;
        feed::catch_up_to(inner, applied, beaten).await?;
    }
    lease.renewed(begun);
    if let Some(stale) = lease.stale() {
        return Err(stale);
    }
    if was_stale.is_some_and(|stale| stale != Stale::Lapsed && stale != Stale::Starting) {
        tracing::info!("the server answers from memory again");
    }
    if lease.looks_around() {
        tokio::spawn(look_around(Arc::clone(inner)));
    }
    Ok(())
}

/// Whose read models another version has made cannot answer until that is over, and is not to be waited for.
async fn catch_up(inner: &Arc<Inner>, lease: &Lease) -> Result<Pulse, Stale> {
    let caught_up = feed::catch_up_to_head(inner).await.map_err(Stale::from);
    if let Err(Stale::Epoch(_)) = caught_up
        && let Err(error) = lease.withdraw(inner.engine.as_ref()).await
    {
        tracing::debug!(%error, "the process is still registered");
    }
    caught_up
}

/// Beside everything else: far from the database it takes as long as a renewal, and the next one would be late.
async fn look_around(inner: Arc<Inner>) {
    let Some(lease) = inner.lease.get() else { return };
    if let Err(error) = lease.look_around(inner.engine.as_ref()).await {
        tracing::debug!(%error, "the other processes could not be looked at");
    }
}
