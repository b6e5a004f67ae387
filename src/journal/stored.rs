//! What does a stored event do to rows? What this program does not know is passed over where rows were written with
//! it, and awaited where they follow.

use std::collections::BTreeMap;

use aggregates::DecodeError;
use projections::TRANSACTIONAL;
use projections::projection::{Projection, Recorded, row_ops};
use projections::row::RowOp;

use super::engine::{EngineError, StoredBatch, StoredRow};

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
    let metadata: BTreeMap<String, String> =
        serde_json::from_str(&row.event.metadata).map_err(|error| damaged(error.to_string()))?;
    let event = row.decode().map_err(|error| match error {
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
