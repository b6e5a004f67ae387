//! How are batches read? With their events, in the order of the log.

use rusqlite::Connection;

use crate::journal::engine::{LANE, NewEvent, StoredBatch, StoredRow};

pub(super) fn batches_after(
    connection: &Connection,
    position: i64,
    limit: i64,
) -> Result<Vec<StoredBatch>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(
        "SELECT b.first_position, b.event_count, b.chain, e.batch_index, e.aggregate_type, e.aggregate_id, \
         e.sequence, e.event_type, e.event_version, e.payload, e.metadata \
         FROM (SELECT * FROM batches WHERE lane = ?1 AND first_position > ?2 AND first_position <= max(?4, \
               (SELECT min(first_position) FROM batches WHERE lane = ?1 AND first_position > ?2)) \
               ORDER BY first_position LIMIT ?3) b \
         LEFT JOIN events e ON e.lane = b.lane AND e.batch = b.batch \
         ORDER BY b.first_position, e.batch_index",
    )?;
    let mut rows = statement.query([LANE, position, limit, position.saturating_add(limit)])?;
    let mut batches: Vec<StoredBatch> = Vec::new();
    while let Some(row) = rows.next()? {
        push_row(&mut batches, row)?;
    }
    Ok(batches)
}

pub(super) fn event_at(
    row: &rusqlite::Row<'_>,
    position: i64,
    first: usize,
) -> Result<StoredRow, rusqlite::Error> {
    Ok(StoredRow {
        position,
        aggregate_type: row.get(first)?,
        aggregate_id: row.get(first + 1)?,
        sequence: row.get(first + 2)?,
        event: NewEvent {
            event_type: row.get(first + 3)?,
            event_version: row.get(first + 4)?,
            payload: row.get(first + 5)?,
            metadata: row.get(first + 6)?,
        },
    })
}

/// Adds a row of the batch query to its batch. A batch row without events shows as one with none.
fn push_row(batches: &mut Vec<StoredBatch>, row: &rusqlite::Row<'_>) -> Result<(), rusqlite::Error> {
    let first: i64 = row.get(0)?;
    if batches.last().is_none_or(|batch| batch.first != first) {
        batches.push(StoredBatch { first, count: row.get(1)?, chain: row.get(2)?, events: Vec::new() });
    }
    if let (Some(index), Some(batch)) = (row.get::<_, Option<i64>>(3)?, batches.last_mut()) {
        batch.events.push(event_at(row, first + index, 4)?);
    }
    Ok(())
}
