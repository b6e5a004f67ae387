//! How does a node follow the log? Its own batches are applied to memory by the writer, those of
//! other processes by a poll; both under one lock and in order, so that no reader skips or reorders.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use aggregates::{AnyEvent, DecodeError};
use projections::projection::{Projection, Recorded, row_ops};
use projections::row::{Residency, Row, RowOp, Value};
use projections::{EVENTUAL, TRANSACTIONAL, transactional_tables};

use tokio::time::timeout;

use super::chain::{fold, leaf};
use super::engine::{Committed, Engine, EngineError, PAGE, Pulse, StoredBatch, StoredRow};
use super::{Inner, lease};

/// How often the head is looked at: whoever ended something waits for it everywhere.
const POLL: Duration = Duration::from_millis(50);
/// After it nothing that was issued before is valid.
const ROLLBACK_ACCEPTED: &str = "installation.rollback_accepted";
/// How far the eventual projections may lag when nobody waits for them.
const GATHERED_FOR: Duration = Duration::from_millis(200);
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
        if let Err(error) = catch_up(inner, &mut chain, before).await {
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
    let mut was_well = true;
    loop {
        tokio::time::sleep(POLL).await;
        let Some(inner) = inner.upgrade() else { return };
        let renewed = lease::renew(&inner).await;
        if let Err(stale) = &renewed
            && was_well
            && inner.lease.get().is_none()
        {
            tracing::warn!(reason = %stale, "cannot follow the log");
        }
        was_well = renewed.is_ok();
    }
}

/// Applies everything up to the head as it stood when asked, and tells what was asked.
pub(super) async fn catch_up_to_head(inner: &Arc<Inner>) -> Result<Pulse, EngineError> {
    inner.has_history()?;
    let before = inner.applied();
    let pulse = inner.engine.pulse().await?;
    if pulse.epoch != inner.epoch.load(Ordering::Relaxed) {
        follow_epoch(inner).await?;
    }
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
        catch_up(inner, &mut chain, pulse.position).await?;
    }
    if inner.applied() == pulse.position && *chain != pulse.chain {
        return Err(inner.lose_history(pulse.position));
    }
    Ok(pulse)
}

/// The read models were rebuilt: what is remembered of them is read again, if they are still this
/// program's.
pub(super) async fn follow_epoch(inner: &Arc<Inner>) -> Result<(), EngineError> {
    let _applying = inner.applying.lock().await;
    let epoch = inner.engine.pulse().await?.epoch;
    if epoch == inner.epoch.load(Ordering::Relaxed) {
        return Ok(());
    }
    check_versions(inner.engine.as_ref()).await?;
    read_again(inner).await?;
    inner.epoch.store(epoch, Ordering::Relaxed);
    tracing::info!(epoch, "the read models were rebuilt; what was remembered of them has been read again");
    Ok(())
}

/// Forgets every row, and reads those that are always held. The caller holds the lock.
async fn read_again(inner: &Inner) -> Result<(), EngineError> {
    let position = inner.engine.pulse().await?.position;
    for table in transactional_tables() {
        match table.residency {
            Residency::Resident => {
                let (rows, as_of) = inner.engine.all_rows(table).await?;
                inner.memory.replace(table, rows, as_of);
            }
            Residency::Cached | Residency::Stored => inner.memory.replace(table, Vec::new(), position),
        }
    }
    Ok(())
}

/// Whether the tables are of the versions that this program reads and writes.
pub(super) async fn check_versions(engine: &dyn Engine) -> Result<(), EngineError> {
    let stored = stored_versions(engine).await?;
    for projection in TRANSACTIONAL.iter().chain(EVENTUAL) {
        let own = i64::from(projection.version);
        let stored = stored.get(projection.name).copied().unwrap_or(0);
        if stored != own {
            return Err(EngineError::OtherVersion { projection: projection.name.to_owned(), stored, own });
        }
    }
    Ok(())
}

/// The version of each read model's tables.
pub async fn stored_versions(engine: &dyn Engine) -> Result<BTreeMap<String, i64>, EngineError> {
    let rows = engine.query("SELECT projection, version FROM read_models", &[]).await?;
    let version = |row: Row| match <[Value; 2]>::try_from(row) {
        Ok([Value::Text(projection), Value::Int(version)]) => Ok((projection, version)),
        _ => Err(EngineError::Damaged("a row of the table read_models has another shape".to_owned())),
    };
    rows.into_iter().map(version).collect()
}

/// Reads one page of batches after what is applied and applies it. The caller holds the lock, and with it
/// the chain after what is applied: what does not go on from there is another history.
async fn catch_up(inner: &Inner, chain: &mut [u8; 32], target: i64) -> Result<(), EngineError> {
    let applied = inner.applied();
    let batches = inner.engine.batches_after(applied, PAGE).await?;
    let Some(last) = check_density(applied, &batches)? else {
        return Err(EngineError::Damaged(format!(
            "the log says it has {target} events, and ends at {applied}"
        )));
    };
    let mut folded = *chain;
    for batch in &batches {
        for row in &batch.events {
            folded = fold(&folded, &leaf(&row.aggregate_type, &row.aggregate_id, row.sequence, &row.event));
        }
        if batch.chain != folded {
            return Err(inner.lose_history(batch.first));
        }
    }
    let mut is_damaged = false;
    for row in batches.iter().flat_map(|batch| &batch.events) {
        if row.event.event_type == ROLLBACK_ACCEPTED {
            return Err(inner.lose(
                "somebody accepted that the database was rolled back, and this server holds keys of before: restart it"
                    .to_owned(),
            ));
        }
        inner.forget(&row.aggregate_type, &row.aggregate_id);
        match transactional_ops(row) {
            Ok(ops) => ops.iter().for_each(|op| inner.memory.apply(row.position, op)),
            Err(error) => {
                tracing::error!(%error, "an event cannot be read: its stream is refused, and nothing else");
                is_damaged = true;
            }
        }
    }
    // Whoever wrote it wrote its rows with it. They are read instead of made.
    if is_damaged {
        read_again(inner).await?;
    }
    *chain = folded;
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

/// The row operations of a stored event on the transactional read models.
pub(super) fn transactional_ops(row: &StoredRow) -> Result<Vec<RowOp>, EngineError> {
    stored_ops(TRANSACTIONAL, row)
}

/// The row operations of a stored event. Types this program does not know are ignored by read
/// models (an aggregate fails closed on them); what is damaged is an error.
pub(super) fn stored_ops(projections: &[&Projection], row: &StoredRow) -> Result<Vec<RowOp>, EngineError> {
    let damaged =
        |reason: String| EngineError::Damaged(format!("event at position {}: {reason}", row.position));
    let payload = serde_json::from_str(&row.event.payload).map_err(|error| damaged(error.to_string()))?;
    let metadata: BTreeMap<String, String> =
        serde_json::from_str(&row.event.metadata).map_err(|error| damaged(error.to_string()))?;
    let decoded =
        AnyEvent::decode(&row.aggregate_type, &row.event.event_type, &row.event.event_version, &payload);
    let event = match decoded {
        Ok(event) => event,
        Err(DecodeError::Unknown { .. }) => return Ok(Vec::new()),
        Err(error @ (DecodeError::Damaged { .. } | DecodeError::Unencodable { .. })) => {
            return Err(damaged(error.to_string()));
        }
    };
    let recorded = Recorded {
        position: Some(row.position),
        aggregate_type: &row.aggregate_type,
        aggregate_id: &row.aggregate_id,
        sequence: row.sequence,
        event: &event,
        metadata: &metadata,
    };
    Ok(row_ops(projections, &recorded))
}

/// Keeps the eventual projections going: woken by every batch, and by the poll for other processes'.
/// Batches are gathered for a moment, for a transaction of its own each would cost as much as the batch.
pub(super) async fn project(inner: Weak<Inner>) {
    let Some(mut applied) = inner.upgrade().map(|inner| inner.applied.subscribe()) else { return };
    let mut is_behind = true;
    loop {
        if !is_behind && applied.changed().await.is_err() {
            return;
        }
        is_behind = false;
        let Some(inner) = inner.upgrade() else { return };
        let _hurried = tokio::time::timeout(GATHERED_FOR, inner.hurry.notified()).await;
        for projection in EVENTUAL {
            let trouble = project_all(&inner, projection).await.err().map(|error| error.to_string());
            is_behind |= trouble.is_some();
            inner.note_trouble(projection.name, trouble);
        }
    }
}

async fn project_all(inner: &Inner, projection: &'static Projection) -> Result<(), EngineError> {
    loop {
        let from = inner.engine.checkpoint(projection).await?;
        let batches = inner.engine.batches_after(from, PAGE).await?;
        inner.note_position(projection.name, from);
        let Some(to) = check_density(from, &batches)? else { return Ok(()) };
        let mut ops = Vec::new();
        let (mut to, mut stopped) = (to, None);
        for batch in &batches {
            match batch_ops(&[projection], batch) {
                Ok(more) => ops.extend(more),
                Err(error) => {
                    // Up to the event that cannot be taken, and no further.
                    to = batch.first - 1;
                    stopped = Some(error);
                    break;
                }
            }
        }
        // Another node may have moved the checkpoint first: then its rows are there, and we go on
        // from where it is.
        if to > from {
            inner.engine.advance(projection, from, to, &ops).await?;
            inner.note_position(projection.name, to);
        }
        if let Some(error) = stopped {
            return Err(error);
        }
    }
}

/// The row operations of a batch's events.
pub(super) fn batch_ops(projections: &[&Projection], batch: &StoredBatch) -> Result<Vec<RowOp>, EngineError> {
    let mut ops = Vec::new();
    for row in &batch.events {
        ops.extend(stored_ops(projections, row)?);
    }
    Ok(ops)
}

impl Inner {
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
    pub(super) fn has_history(&self) -> Result<(), EngineError> {
        self.lost.get().map_or(Ok(()), |reason| Err(EngineError::Damaged(reason.clone())))
    }

    fn note_position(&self, projection: &'static str, position: i64) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.entry(projection).or_default().position = position;
    }

    /// An alarm once, and not at every try.
    fn note_trouble(&self, projection: &'static str, trouble: Option<String>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let known = progress.entry(projection).or_default();
        if known.trouble == trouble {
            return;
        }
        if let Some(reason) = &trouble {
            tracing::error!(projection, reason, "a projection stands still");
        } else {
            tracing::info!(projection, "a projection goes on");
        }
        known.trouble = trouble;
    }

    pub(super) fn applied(&self) -> i64 {
        *self.applied.borrow()
    }
}
