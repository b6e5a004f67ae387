//! How are batches read? With their events, in the order of the log.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use crate::journal::engine::{EngineError, LANE, NewEvent, StoredBatch, StoredRow, sql};

pub(super) async fn batch_rows(
    connection: &mut PgConnection,
    position: i64,
    limit: i64,
) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(&sql::batches_after("greatest"))
        .bind(LANE)
        .bind(position)
        .bind(position.saturating_add(limit))
        .bind(limit)
        .fetch_all(connection)
        .await
}

pub(super) fn batches_of(rows: &[PgRow]) -> Result<Vec<StoredBatch>, EngineError> {
    let mut batches: Vec<StoredBatch> = Vec::new();
    for row in rows {
        push_row(&mut batches, row).map_err(|error| EngineError::Damaged(error.to_string()))?;
    }
    Ok(batches)
}

/// Adds a row of the batch query to its batch. A batch row without events shows as one with none.
fn push_row(batches: &mut Vec<StoredBatch>, row: &PgRow) -> Result<(), sqlx::Error> {
    let first: i64 = row.try_get(0)?;
    if batches.last().is_none_or(|batch| batch.first != first) {
        batches.push(StoredBatch {
            first,
            count: row.try_get(1)?,
            chain: row.try_get(2)?,
            events: Vec::new(),
        });
    }
    let Some(index) = row.try_get::<Option<i64>, _>(3)? else { return Ok(()) };
    if let Some(batch) = batches.last_mut() {
        batch.events.push(StoredRow {
            position: first + index,
            aggregate_type: row.try_get(4)?,
            aggregate_id: row.try_get(5)?,
            sequence: row.try_get(6)?,
            event: NewEvent {
                event_type: row.try_get(7)?,
                event_version: row.try_get(8)?,
                payload: row.try_get_unchecked(9)?,
                metadata: row.try_get_unchecked::<&str, _>(10)?.into(),
            },
        });
    }
    Ok(())
}
