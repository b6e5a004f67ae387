//! How does a node follow the log? Its own batches are applied to memory by the writer, those of
//! other processes by a poll; both under one lock and in order, so that no reader skips or reorders.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use aggregates::{AnyEvent, DecodeError};
use projections::projection::{Projection, Recorded, row_ops};
use projections::row::{Residency, Row, RowOp, Table, Value};
use projections::{EVENTUAL, TRANSACTIONAL, transactional_tables};

use tokio::time::{Instant, timeout};

use super::chain::{fold, leaf};
use super::engine::{Committed, Engine, EngineError, PAGE, Pulse, StoredBatch, StoredRow};
use super::{Inner, lease};

/// How often the head is looked at: whoever ended something waits for it everywhere.
const POLL: Duration = Duration::from_millis(50);
/// After it nothing that was issued before is valid.
const ROLLBACK_ACCEPTED: &str = "installation.rollback_accepted";
/// How far the eventual projections may lag when nobody waits for them.
const GATHERED_FOR: Duration = Duration::from_millis(200);
/// How long a newer server has for an event that only it knows, before somebody is to look after it.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(5);
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
    check_versions(inner.engine.as_ref(), TRANSACTIONAL.iter().chain(EVENTUAL).copied()).await?;
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

/// A table's rows, and the position they are as of.
type Held = (&'static Table, Vec<Row>, i64);

/// The tables of which all rows are held, if they are still of this epoch. The caller holds the lock.
async fn read_held(inner: &Inner, epoch: i64) -> Result<Vec<Held>, EngineError> {
    let mut held = Vec::new();
    for table in transactional_tables().filter(|table| table.residency == Residency::Resident) {
        let (rows, as_of) = inner.engine.all_rows(table).await?;
        if as_of.epoch != epoch {
            return Err(EngineError::EpochMoved);
        }
        held.push((table, rows, as_of.position));
    }
    Ok(held)
}

/// Whether the tables of these read models are of the versions that this program reads and writes.
async fn check_versions(
    engine: &dyn Engine,
    projections: impl IntoIterator<Item = &'static Projection>,
) -> Result<(), EngineError> {
    let stored = stored_versions(engine).await?;
    for projection in projections {
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
async fn catch_up(
    inner: &Inner,
    chain: &mut [u8; 32],
    target: i64,
    is_read: bool,
) -> Result<(), EngineError> {
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
    if is_damaged && is_read {
        let position = inner.engine.pulse().await?.position;
        let held = read_held(inner, inner.epoch.load(Ordering::Relaxed)).await?;
        inner.replace_rows(held, position);
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

/// The row operations of a stored event. Types this program does not know are ignored: read models that take
/// them are of another version (an aggregate fails closed on them). What is damaged is an error.
pub(super) fn stored_ops(projections: &[&Projection], row: &StoredRow) -> Result<Vec<RowOp>, EngineError> {
    match known_ops(projections, row) {
        Err(EngineError::Later { .. }) => Ok(Vec::new()),
        ops => ops,
    }
}

/// The same, where a type that this program does not know is an error as well.
fn known_ops(projections: &[&Projection], row: &StoredRow) -> Result<Vec<RowOp>, EngineError> {
    let damaged =
        |reason: String| EngineError::Damaged(format!("event at position {}: {reason}", row.position));
    let payload = serde_json::from_str(&row.event.payload).map_err(|error| damaged(error.to_string()))?;
    let metadata: BTreeMap<String, String> =
        serde_json::from_str(&row.event.metadata).map_err(|error| damaged(error.to_string()))?;
    let decoded =
        AnyEvent::decode(&row.aggregate_type, &row.event.event_type, &row.event.event_version, &payload);
    let event = decoded.map_err(|error| match error {
        DecodeError::Unknown { event_type, event_version } => EngineError::Later {
            position: row.position,
            event_type: format!("{event_type} version {event_version}"),
        },
        DecodeError::Damaged { .. } | DecodeError::Unencodable { .. } => damaged(error.to_string()),
    })?;
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
    let (mut is_behind, mut left_since) = (true, BTreeMap::new());
    loop {
        if !is_behind && applied.changed().await.is_err() {
            return;
        }
        is_behind = false;
        let Some(inner) = inner.upgrade() else { return };
        let _hurried = timeout(GATHERED_FOR, inner.hurry.notified()).await;
        if !inner.is_read() {
            is_behind = true;
            continue;
        }
        for projection in EVENTUAL {
            let projected = project_all(&inner, projection).await;
            is_behind |= projected.is_err();
            if let Err(EngineError::Later { .. }) = &projected
                && left_since.entry(projection.name).or_insert_with(Instant::now).elapsed() < LEFT_TO_OTHERS
            {
                continue;
            }
            left_since.remove(projection.name);
            inner.note_trouble(projection.name, projected.err().map(|error| error.to_string()));
        }
    }
}

async fn project_all(inner: &Inner, projection: &'static Projection) -> Result<(), EngineError> {
    // Where another server has taken everything it does not show that this one could not.
    if inner.has_trouble(projection.name) {
        check_versions(inner.engine.as_ref(), [projection]).await?;
    }
    loop {
        let from = inner.engine.checkpoint(projection).await?;
        let batches = inner.engine.batches_after(from, PAGE).await?;
        inner.note_position(projection.name, from);
        let Some(to) = check_density(from, &batches)? else { return Ok(()) };
        let mut ops = Vec::new();
        let (mut to, mut stopped) = (to, None);
        for batch in &batches {
            match followed_ops(projection, batch) {
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

/// What an eventual projection takes of a batch. An event that only a later program knows is left to one: passed
/// over here it would be missing for good.
pub(super) fn followed_ops(projection: &Projection, batch: &StoredBatch) -> Result<Vec<RowOp>, EngineError> {
    let mut ops = Vec::new();
    for row in &batch.events {
        ops.extend(known_ops(&[projection], row)?);
    }
    Ok(ops)
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
    /// Forgets every row as of before this position, but for these. The caller holds the lock.
    fn replace_rows(&self, held: Vec<Held>, position: i64) {
        for table in transactional_tables().filter(|table| table.residency != Residency::Resident) {
            self.memory.replace(table, Vec::new(), position);
        }
        for (table, rows, as_of) in held {
            self.memory.replace(table, rows, as_of);
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
    pub(super) fn has_history(&self) -> Result<(), EngineError> {
        self.lost.get().map_or(Ok(()), |reason| Err(EngineError::Damaged(reason.clone())))
    }

    fn has_trouble(&self, projection: &'static str) -> bool {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.get(projection).is_some_and(|known| known.trouble.is_some())
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
