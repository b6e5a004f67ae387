//! How does a node follow the log? Its own batches are applied to memory by the writer, those of
//! other processes by a poll; both under one lock and in order, so that no reader skips or reorders.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use projections::{EVENTUAL, TRANSACTIONAL, transactional_tables};

use tokio::time::timeout;

use super::chain::fold;
use super::engine::{Committed, Engine, EngineError, PAGE, Pulse, StoredBatch, StoredRow, sql};
use super::installation::ROLLBACK_ACCEPTED;
use super::replay::find_projection;
use super::stored::transactional_ops;
use super::{Inner, Lease, lease};

/// How often the head is looked at: whoever ended something waits for it everywhere.
const POLL: Duration = Duration::from_millis(50);
/// How often while others write, where nobody says when one of them has ended something: it may be waiting.
const POLL_BUSY: Duration = Duration::from_millis(20);
/// How long an own batch that is in the log may take to get into memory before it is read from there.
const OWN: Duration = Duration::from_millis(5);
/// The longest pause between two tries to read what stands before an own batch.
const PATIENCE: Duration = Duration::from_millis(160);

/// Applies the row operations of a batch this node committed, after whatever came before it. Fails when
/// that cannot be read for a while: then the poll applies both, in order, as soon as it can.
pub(super) async fn apply_own(
    inner: &Arc<Inner>,
    committed: Committed,
    leaves: &[[u8; 32]],
    ops: &[(i64, RowOp)],
) -> Result<(), EngineError> {
    let before = committed.first - 1;
    let last = before + i64::try_from(leaves.len()).unwrap_or(i64::MAX);
    let mut chain = inner.applying.lock().await;
    let mut patience = Duration::from_millis(10);
    while inner.applied() < before {
        if let Err(error) = catch_up(inner, &mut chain, before, true).await {
            if patience > PATIENCE {
                return Err(error);
            }
            tokio::time::sleep(patience).await;
            patience *= 2;
        }
    }
    if inner.applied() < last {
        let folded = leaves.iter().fold(*chain, |chain, leaf| fold(&chain, leaf));
        if folded != committed.chain {
            return Err(inner.lose_history(committed.first));
        }
        for (position, op) in ops {
            inner.memory.apply(*position, op);
        }
        *chain = folded;
        inner.applied.send_replace(last);
    }
    Ok(())
}

/// Polls the head and applies what other processes wrote. A lease says itself why it is not held.
pub(super) async fn follow(inner: Weak<Inner>) {
    let (mut was_well, mut of_others, mut pause) = (true, 0, POLL);
    loop {
        let Some(engine) = inner.upgrade().map(|inner| Arc::clone(&inner.engine)) else { return };
        drop(timeout(pause, engine.hint()).await);
        let Some(inner) = inner.upgrade() else { return };
        let renewed = lease::renew(&inner).await;
        if let Err(stale) = &renewed
            && was_well
            && inner.lease.get().is_none()
        {
            tracing::warn!(reason = %stale, what_to_do = stale.what_to_do(), "cannot follow the log");
        }
        was_well = renewed.is_ok();
        let now = inner.of_others.load(Ordering::Relaxed);
        pause = if now > of_others && !engine.hears_hints() { POLL_BUSY } else { POLL };
        of_others = now;
    }
}

/// Applies everything up to the head as it stood when asked, and tells what was asked.
pub(super) async fn catch_up_to_head(inner: &Arc<Inner>) -> Result<Pulse, EngineError> {
    inner.check_history()?;
    let before = inner.applied();
    let lease = inner.lease.get();
    let asked = lease.map(Lease::uptime);
    let pulse = inner.engine.pulse().await?;
    if let (Some(lease), Some(asked)) = (lease, asked) {
        lease.tells_time(asked, &pulse);
    }
    catch_up_to(inner, before, pulse).await
}

/// The same for where it stands by a server that was asked when everything up to `before` had been applied.
pub(super) async fn catch_up_to(inner: &Arc<Inner>, before: i64, pulse: Pulse) -> Result<Pulse, EngineError> {
    // Whose read models another version has made follows the log all the same, to know its history when they
    // are its own again.
    let read =
        if pulse.epoch == inner.epoch.load(Ordering::Relaxed) { Ok(()) } else { follow_epoch(inner).await };
    if pulse.position < before {
        return Err(inner.lose_history(pulse.position + 1));
    }
    if inner.applied() < pulse.position && inner.is_writing.load(Ordering::Relaxed) {
        // It may be an own batch, whose answer came before that of the pulse: to read it would hold it up.
        let mut applied = inner.applied.subscribe();
        let _ = timeout(OWN, applied.wait_for(|applied| *applied >= pulse.position)).await;
    }
    let mut chain = inner.applying.lock().await;
    while inner.applied() < pulse.position {
        catch_up(inner, &mut chain, pulse.position, read.is_ok()).await?;
    }
    if inner.applied() == pulse.position && *chain != pulse.chain {
        return Err(inner.lose_history(pulse.position));
    }
    read.map(|()| pulse)
}

/// The read models are of another epoch than what is remembered of them: they are read, if they are this
/// program's.
pub(super) async fn follow_epoch(inner: &Arc<Inner>) -> Result<(), EngineError> {
    let _applying = inner.applying.lock().await;
    let head = inner.engine.head().await?;
    if head.epoch == inner.epoch.load(Ordering::Relaxed) {
        return Ok(());
    }
    let stored = stored_versions(inner.engine.as_ref()).await?;
    check_versions(&stored, TRANSACTIONAL.iter().chain(EVENTUAL).copied())?;
    check_no_others(&stored)?;
    let tables = read_held(inner, head.epoch).await?;
    if inner.is_read() {
        let epoch = head.epoch;
        tracing::info!(
            epoch,
            "the read models were rebuilt; what was remembered of them has been read again"
        );
    }
    inner.epoch.store(head.epoch, Ordering::Relaxed);
    inner.replace_rows(tables, head.position);
    Ok(())
}

/// A table's rows, each with the position it is as of, and the first of these positions.
type Held = (&'static Table, Vec<(Row, i64)>, i64);

/// The tables of which all rows are held, if they are still of this epoch. The caller holds the lock.
async fn read_held(inner: &Inner, epoch: i64) -> Result<Vec<Held>, EngineError> {
    let mut held = Vec::new();
    for table in transactional_tables().filter(|table| table.is_resident()) {
        held.push(read_living(inner, table, epoch).await?);
    }
    Ok(held)
}

/// Page by page, so that no statement takes longer the more there are: what happens to a row after its page was read
/// comes from the log.
async fn read_living(inner: &Inner, table: &'static Table, epoch: i64) -> Result<Held, EngineError> {
    let (mut rows, mut since, mut after) = (Vec::new(), None, String::new());
    loop {
        let (page, as_of) = inner.engine.living_rows(table, &after).await?;
        if as_of.epoch != epoch {
            return Err(EngineError::EpochMoved);
        }
        as_of.check_not_before(since.unwrap_or_else(|| inner.applied()))?;
        let since = *since.get_or_insert(as_of.position);
        let last = page.last().and_then(|row| row.first()).cloned();
        rows.extend(page.into_iter().map(|row| (row, as_of.position)));
        match last {
            Some(Value::Text(key)) => after = key,
            Some(Value::Null | Value::Int(_)) | None => return Ok((table, rows, since)),
        }
    }
}

/// Whether the tables of these read models are of the versions that this program reads and writes.
pub(super) fn check_versions(
    stored: &BTreeMap<String, i64>,
    projections: impl IntoIterator<Item = &'static Projection>,
) -> Result<(), EngineError> {
    for projection in projections {
        let own = i64::from(projection.version);
        let stored = stored.get(projection.name).copied().unwrap_or(0);
        if stored != own {
            return Err(EngineError::OtherVersion { projection: projection.name.to_owned(), stored, own });
        }
    }
    Ok(())
}

/// Whether there are read models that this program does not know. A later version has made them, and goes by them: what
/// this one wrote would not be in them.
fn check_no_others(stored: &BTreeMap<String, i64>) -> Result<(), EngineError> {
    match stored.iter().find(|(name, _)| find_projection(name).is_none()) {
        Some((name, stored)) => {
            Err(EngineError::OtherVersion { projection: name.clone(), stored: *stored, own: 0 })
        }
        None => Ok(()),
    }
}

/// The version of each read model's tables.
pub async fn stored_versions(engine: &dyn Engine) -> Result<BTreeMap<String, i64>, EngineError> {
    let rows = engine.query("SELECT projection, version FROM read_models", &[]).await?;
    let version = |row: Row| match <[Value; 2]>::try_from(row) {
        Ok([Value::Text(projection), Value::Int(version)]) => Ok((projection, version)),
        _ => Err(sql::other_shape("read_models")),
    };
    rows.into_iter().map(version).collect()
}

/// Reads one page of batches after what is applied and applies it. The caller holds the lock, and with it
/// the chain after what is applied: what does not go on from there is another history.
async fn catch_up(
    inner: &Inner,
    chain: &mut [u8; 32],
    target: i64,
    may_read_rows: bool,
) -> Result<(), EngineError> {
    let applied = inner.applied();
    let batches = inner.engine.batches_after(applied, PAGE).await?;
    let Some(last) = check_density(applied, &batches)? else {
        return Err(EngineError::Damaged(format!(
            "the log says it has {target} events, and ends at {applied}"
        )));
    };
    let followed = inner.follow_chain(*chain, &batches)?;
    let mut is_damaged = false;
    for row in batches.iter().flat_map(|batch| &batch.events) {
        is_damaged |= !inner.take_in(row)?;
    }
    // Whoever wrote it wrote its rows with it. They are read instead of made.
    if is_damaged && may_read_rows {
        let position = inner.engine.pulse().await?.position;
        let held = read_held(inner, inner.epoch.load(Ordering::Relaxed)).await?;
        inner.replace_rows(held, position);
    }
    *chain = followed;
    inner.of_others.store(last, Ordering::Relaxed);
    inner.applied.send_replace(last);
    Ok(())
}

/// A reader never skips: a page must continue where the last one ended, batch by batch.
pub(super) fn check_density(after: i64, batches: &[StoredBatch]) -> Result<Option<i64>, EngineError> {
    let mut last = None;
    let mut expected = after + 1;
    for batch in batches {
        let held = i64::try_from(batch.events.len()).unwrap_or(i64::MAX);
        if batch.first != expected || batch.count != held {
            return Err(EngineError::Damaged(format!(
                "expected the batch at position {expected}, found {} events at {}",
                batch.events.len(),
                batch.first
            )));
        }
        expected += batch.count;
        last = Some(expected - 1);
    }
    Ok(last)
}

impl Inner {
    /// The chain after these batches, unless one of them says that it belongs to another history.
    fn follow_chain(&self, chain: [u8; 32], batches: &[StoredBatch]) -> Result<[u8; 32], EngineError> {
        let mut folded = chain;
        for batch in batches {
            for row in &batch.events {
                folded = fold(&folded, &row.leaf());
            }
            if batch.chain != folded {
                return Err(self.lose_history(batch.first));
            }
        }
        Ok(folded)
    }

    /// Takes what an event changes into memory, and says whether the event could be read. Fails at one after which
    /// this process knows nothing.
    fn take_in(&self, row: &StoredRow) -> Result<bool, EngineError> {
        if row.event.event_type == ROLLBACK_ACCEPTED {
            return Err(self.lose(
                "somebody accepted that the database was rolled back, and this server holds keys of before: restart it"
                    .to_owned(),
            ));
        }
        self.forget(&row.aggregate_type, &row.aggregate_id);
        match transactional_ops(row) {
            Ok(ops) => {
                for op in &ops {
                    self.memory.apply(row.position, op);
                }
                Ok(true)
            }
            Err(error) => {
                self.metrics.unreadable.inc();
                tracing::error!(
                    %error,
                    what_to_do = "Keep a copy of the database as evidence, then run `chancery verify`.",
                    "an event cannot be read: its stream is refused, and nothing else"
                );
                Ok(false)
            }
        }
    }

    /// Forgets every row as of before this position, but for these. The caller holds the lock.
    fn replace_rows(&self, held: Vec<Held>, position: i64) {
        for table in transactional_tables().filter(|table| !table.is_resident()) {
            self.memory.replace(table, Vec::new(), position);
        }
        for (table, rows, since) in held {
            self.memory.replace(table, rows, since);
        }
    }

    /// What is remembered belongs to another history than the database holds from this event on, or earlier:
    /// a backup was restored, or a standby without the last commits took over.
    fn lose_history(&self, position: i64) -> EngineError {
        self.lose(format!(
            "it holds another history than the one this server has followed, from event {position} on or before: \
             stop every server, see that the database is the right one, and start again"
        ))
    }

    /// From here on this process knows nothing, until it is started again.
    fn lose(&self, reason: String) -> EngineError {
        EngineError::Damaged(self.lost.get_or_init(|| reason).clone())
    }

    /// Whether this process still knows the history that the database holds.
    pub(super) fn check_history(&self) -> Result<(), EngineError> {
        self.lost.get().map_or(Ok(()), |reason| Err(EngineError::Damaged(reason.clone())))
    }

    pub(super) fn applied(&self) -> i64 {
        *self.applied.borrow()
    }
}
