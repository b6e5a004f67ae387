//! How is a single event of the past read, and what was the log then? By its place in its stream, many at a
//! time; by the chain after it.

use projections::row::Value;

use super::chain::{GENESIS, fold};
use super::engine::{Engine, EngineError, LANE, StoredBatch, StoredRow, sql};

/// Where an event stands in the log and in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place in the log.
    pub position: i64,
    /// Which kind of stream.
    pub aggregate_type: String,
    /// Which stream.
    pub aggregate_id: String,
    /// Its place in the stream.
    pub sequence: i64,
}

/// The chain after an event; nothing when it is not in the log.
pub async fn chain_at(engine: &dyn Engine, position: i64) -> Result<Option<[u8; 32]>, EngineError> {
    if position == 0 {
        return Ok(Some(GENESIS));
    }
    let Some(batch) = batch_of(engine, position).await? else { return Ok(None) };
    if position == batch.first + batch.count - 1 {
        return chain_of(&batch).map(Some);
    }
    // An import cuts the log into batches of its own: the event may be in the middle of one.
    let before = match batch_of(engine, batch.first - 1).await? {
        Some(before) => chain_of(&before)?,
        None if batch.first == 1 => GENESIS,
        None => return Ok(None),
    };
    let up_to = |row: &&StoredRow| row.position <= position;
    let leaves = batch.events.iter().take_while(up_to);
    let leaves = leaves.map(StoredRow::leaf);
    Ok(Some(leaves.fold(before, |chain, leaf| fold(&chain, &leaf))))
}

/// The batch that holds an event.
async fn batch_of(engine: &dyn Engine, position: i64) -> Result<Option<StoredBatch>, EngineError> {
    let sql = "SELECT max(first_position) FROM batches WHERE lane = $1 AND first_position <= $2";
    let rows = engine.query(sql, &[LANE.into(), position.into()]).await?;
    let Some(Value::Int(first)) = rows.first().and_then(|row| row.first()) else { return Ok(None) };
    let batch = engine.batches_after(first - 1, 1).await?.into_iter().next();
    Ok(batch.filter(|batch| (batch.first..batch.first + batch.count).contains(&position)))
}

fn chain_of(batch: &StoredBatch) -> Result<[u8; 32], EngineError> {
    let damaged = |_| EngineError::Damaged(format!("the chain of the batch at {} is none", batch.first));
    batch.chain.as_slice().try_into().map_err(damaged)
}

/// The events at these places, in their order. One query for a page of a roll: the primary key of the
/// log finds each. An event that is not there is damage, because events are never deleted.
pub async fn list_events(engine: &dyn Engine, places: &[Place]) -> Result<Vec<StoredRow>, EngineError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, parameters) = question(places);
    let rows = engine.query(&sql, &parameters).await?;
    let found = rows.into_iter().map(sql::event).collect::<Result<Vec<_>, _>>()?;
    places.iter().map(|place| at(place, &found)).collect()
}

fn question(places: &[Place]) -> (String, Vec<Value>) {
    let mut parameters: Vec<Value> = Vec::with_capacity(places.len() * 3);
    let mut terms = Vec::with_capacity(places.len());
    for place in places {
        let first = parameters.len() + 1;
        terms.push(format!(
            "(e.aggregate_type = ${} AND e.aggregate_id = ${} AND e.sequence = ${})",
            first,
            first + 1,
            first + 2
        ));
        parameters.extend([
            place.aggregate_type.as_str().into(),
            place.aggregate_id.as_str().into(),
            place.sequence.into(),
        ]);
    }
    let sql = format!(
        "SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload, e.metadata \
         FROM events e WHERE {}",
        terms.join(" OR ")
    );
    (sql, parameters)
}

fn at(place: &Place, found: &[StoredRow]) -> Result<StoredRow, EngineError> {
    let is_there = |row: &&StoredRow| {
        row.sequence == place.sequence
            && row.aggregate_id == place.aggregate_id
            && row.aggregate_type == place.aggregate_type
    };
    match found.iter().find(is_there) {
        Some(row) => Ok(StoredRow { position: place.position, ..row.clone() }),
        None => {
            Err(EngineError::Damaged(format!("the event at position {} is not in the log", place.position)))
        }
    }
}
