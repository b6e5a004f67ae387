//! How far is each read model, of which version are its tables, and what stops it?

use projections::projection::Projection;
use projections::{EVENTUAL, TRANSACTIONAL, is_eventual};
use serde::Serialize;

use super::engine::{Engine, EngineError};
use super::feed::{check_density, stored_versions};
use super::stored::followed_ops;

/// A read model as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadModel {
    /// Its name.
    pub name: &'static str,
    /// Whether it follows with a checkpoint of its own instead of being written with its events.
    pub eventual: bool,
    /// The version of its tables.
    pub stored_version: i64,
    /// The version that this program reads and writes.
    pub version: u32,
    /// The last event it contains.
    pub position: i64,
    /// Events it has yet to take.
    pub lag: i64,
    /// Why it goes no further, naming the event.
    pub trouble: Option<String>,
}

/// Every read model, the transactional ones first.
pub async fn list_read_models(engine: &dyn Engine) -> Result<Vec<ReadModel>, EngineError> {
    let stored = stored_versions(engine).await?;
    let mut models = Vec::new();
    for projection in TRANSACTIONAL.iter().chain(EVENTUAL) {
        let eventual = is_eventual(projection);
        // The checkpoint first: looked at in this order the lag is never negative.
        let checkpoint = if eventual { Some(engine.checkpoint(projection).await?) } else { None };
        let head = engine.pulse().await?.position;
        let position = checkpoint.unwrap_or(head);
        let stored_version = stored.get(projection.name).copied().unwrap_or(0);
        let trouble = if stored_version != i64::from(projection.version) {
            Some(format!("its tables are not of version {}, which this program reads", projection.version))
        } else if position < head {
            stops_at(engine, projection, position).await?
        } else {
            None
        };
        models.push(ReadModel {
            name: projection.name,
            eventual,
            stored_version,
            version: projection.version,
            position,
            lag: head - position,
            trouble,
        });
    }
    Ok(models)
}

/// Whether the next batch cannot be taken.
async fn stops_at(
    engine: &dyn Engine,
    projection: &'static Projection,
    position: i64,
) -> Result<Option<String>, EngineError> {
    let next = engine.batches_after(position, 1).await?;
    let taken = check_density(position, &next)
        .and_then(|_| next.iter().try_for_each(|batch| followed_ops(projection, batch).map(drop)));
    Ok(taken.err().map(|error| error.to_string()))
}
