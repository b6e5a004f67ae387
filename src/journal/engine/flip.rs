//! How do rebuilt tables take the place of the live ones?

use std::sync::Arc;

use projections::projection::Projection;
use projections::row::{RowOp, Table};

use super::{EngineError, StoredBatch};

/// Where the checkpoint of a replay stands whose tables are there and empty. No checkpoint at all, which counts as 0,
/// is that of nobody: whoever had one has lost it to another replay.
pub const BEGUN: i64 = -1;

/// What stored events do to rows; pure, so that an engine may ask in the middle of a transaction.
pub type OpsOf = Arc<dyn Fn(&[StoredBatch]) -> Result<Vec<RowOp>, EngineError> + Send + Sync>;

/// Rebuilt tables that are to take the place of the live ones.
#[derive(Clone)]
pub struct Flip {
    /// The live tables.
    pub tables: Vec<&'static Table>,
    /// The read models whose tables they are.
    pub projections: Vec<&'static Projection>,
    /// Those among them that follow with a checkpoint.
    pub eventual: Vec<&'static Projection>,
    /// Under which name the replay keeps its checkpoint.
    pub replay: &'static Projection,
    /// Under which name the checkpoint stays when it has become the flip's mark.
    pub mark: &'static Projection,
    /// The last event the rebuilt tables contain, or [`BEGUN`].
    pub position: i64,
    /// What later events do to the rebuilt tables.
    pub ops_of: OpsOf,
}

/// What a table is called while it is rebuilt beside the live one.
#[must_use]
pub fn shadow_name(table: &Table) -> String {
    format!("{}_next", table.name)
}

/// A replay cannot go on where another has begun.
pub(in crate::journal) fn overtaken() -> EngineError {
    EngineError::Refused("another replay of the same read models is running, or has ended".to_owned())
}
