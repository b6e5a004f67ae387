//! How are batches read? With their events, in the order of the log.

use rusqlite::Connection;

use crate::journal::engine::{LANE, NewEvent, StoredBatch, StoredRow, sql};

pub(super) fn batches_after(
    connection: &Connection,
    position: i64,
    limit: i64,
) -> Result<Vec<StoredBatch>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(&sql::batches_after("max"))?;
    let mut rows = statement.query([LANE, position, position.saturating_add(limit), limit])?;
    let mut batches: Vec<StoredBatch> = Vec::new();
    while let Some(row) = rows.next()? {
        push_row(&mut batches, row)?;
    }
    Ok(batches)
}

/// Adds a row of the batch query to its batch. A batch row without events shows as one with none.
fn push_row(batches: &mut Vec<StoredBatch>, row: &rusqlite::Row<'_>) -> Result<(), rusqlite::Error> {
    let first: i64 = row.get(0)?;
    if batches.last().is_none_or(|batch| batch.first != first) {
        batches.push(StoredBatch { first, count: row.get(1)?, chain: row.get(2)?, events: Vec::new() });
    }
    if let (Some(index), Some(batch)) = (row.get::<_, Option<i64>>(3)?, batches.last_mut()) {
        batch.events.push(StoredRow {
            position: first + index,
            aggregate_type: row.get(4)?,
            aggregate_id: row.get(5)?,
            sequence: row.get(6)?,
            event: NewEvent {
                event_type: row.get(7)?,
                event_version: row.get(8)?,
                payload: row.get(9)?,
                metadata: row.get(10)?,
            },
        });
    }
    Ok(())
}
