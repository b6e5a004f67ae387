//! Who else answers from memory, and does everybody know by now what has ended? Whoever ends something asks
//! until all have applied it, or until no lease from before can be left.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout_at;

use super::LONGEST;
use super::register::{Registered, registered_as_of};
use crate::journal::engine::{AsOf, EngineError, LANE};
use crate::journal::{Inner, feed};

/// How often whoever waits for the others asks again.
pub(super) const ASK: Duration = Duration::from_millis(10);
/// For how long: where all is well everybody has heard by then, and who has not may not hear for a lease.
const SOON: Duration = Duration::from_millis(200);
/// How often after that.
pub(super) const ASK_LATER: Duration = Duration::from_millis(50);

/// How often, at most, a process moves the revision for who finds that something has ended already: the row is the
/// one that every batch needs, and whoever asks needs no right to ask again.
const APART: Duration = Duration::from_millis(50);

/// What is asked once for all who wait, and when that was.
#[derive(Default)]
pub(in crate::journal) struct Others {
    /// Who has applied how much.
    registered: AsyncMutex<Option<(tokio::time::Instant, AsOf, Vec<Registered>)>>,
    /// Up to where everything counts as ended.
    head: AsyncMutex<Option<(tokio::time::Instant, i64)>>,
}

/// Waits until no other process can answer from before `position`, which this one has just committed.
/// Whether or not they can be asked: when the longest lease has run out, none can.
pub(in crate::journal) async fn wait_for_others(inner: &Inner, position: i64) {
    let committed = tokio::time::Instant::now();
    spread(inner, position, committed).await;
    inner.metrics.spread_seconds.observe(committed.elapsed().as_secs_f64());
}

/// The same for everything that is in the log now. Whoever finds that something has ended already does not
/// know whether the others know: the one who ended it may still be waiting for them, or be gone. However many
/// ask so at once, the log's row is moved for one of them at a time.
pub(in crate::journal) async fn wait_for_others_at_head(inner: &Arc<Inner>) -> Result<(), EngineError> {
    let since = tokio::time::Instant::now();
    let mut head = inner.others.head.lock().await;
    let revision = match *head {
        Some((at, revision)) if at >= since => revision,
        last => {
            if let Some((last, _)) = last {
                tokio::time::sleep_until(last + APART).await;
            }
            let at = tokio::time::Instant::now();
            // Only what moves the revision is reported by the others at once.
            let sql = "UPDATE lanes SET revision = head WHERE lane = $1 AND revision < head";
            inner.engine.execute(sql, &[LANE.into()]).await?;
            let pulse = feed::catch_up_to_head(inner).await?;
            *head = Some((at, pulse.revision));
            pulse.revision
        }
    };
    drop(head);
    wait_for_others(inner, revision).await;
    Ok(())
}

async fn spread(inner: &Inner, position: i64, committed: tokio::time::Instant) {
    // A hundredth more: two machines' seconds are not the same.
    let lapsed = |lease: Duration| committed + lease + lease / 100;
    let mut until = lapsed(LONGEST);
    loop {
        // Nor for an answer of the database is anything waited for longer.
        if let Ok(Ok(behind)) = timeout_at(until, others_behind(inner, committed, position)).await {
            match behind.iter().map(|one| one.lease).max() {
                None => return,
                Some(lease) => until = lapsed(lease),
            }
        }
        let now = tokio::time::Instant::now();
        if now >= until {
            return;
        }
        let pause = if now < committed + SOON { ASK } else { ASK_LATER };
        tokio::time::sleep_until(until.min(now + pause)).await;
    }
}

/// The registered processes that have not applied `position`, as of some time after `since`.
pub(super) async fn others_behind(
    inner: &Inner,
    since: tokio::time::Instant,
    position: i64,
) -> Result<Vec<Registered>, EngineError> {
    let own = inner.lease.get().map(|lease| lease.node.as_str());
    let behind = |registered: &[Registered]| {
        let others = registered.iter().filter(|one| Some(one.node.as_str()) != own);
        others.filter(|one| one.applied < position).cloned().collect::<Vec<_>>()
    };
    let mut asked = inner.others.registered.lock().await;
    if let Some((at, as_of, registered)) = asked.as_ref()
        && *at >= since
        && as_of.check_not_before(position).is_ok()
    {
        let behind = behind(registered);
        // An answer that is a little old may still be the good one.
        if behind.is_empty() || at.elapsed() < ASK / 2 {
            return Ok(behind);
        }
    }
    let at = tokio::time::Instant::now();
    let (registered, as_of) = registered_as_of(inner.engine.as_ref()).await?;
    // A server that does not know what has ended does not know either who has registered since.
    as_of.check_not_before(position)?;
    let result = behind(&registered);
    *asked = Some((at, as_of, registered));
    Ok(result)
}
