//! What happened to this thing, in order?
//!
//! Events: all. Table `timeline`: one row an event and thing that the event is about. It says where the
//! event stands; what it says is read from the log and put into words by [`sentence()`].

mod about;
mod sentence;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

pub use about::subjects;
pub use sentence::{SealKind, Sentence, sentence};

use crate::projection::{Projection, Recorded};
use crate::read::{Read, ReadError, columns};
use crate::row::{Cells, Residency, Row, RowOp, Table, Value, int, text};

/// One row an event and thing that it is about.
pub static TABLE: Table = Table {
    name: "timeline",
    key: 2,
    columns: &[
        text("about"),
        int("position"),
        text("aggregate_type"),
        text("aggregate_id"),
        int("sequence"),
        int("at"),
    ],
    keep_until: None,
    residency: Residency::Stored,
};

/// Of a program that is not there yet, for the tests, it is another one.
const VERSION: u32 = if cfg!(feature = "next-version") { 2 } else { 1 };

/// The read model.
pub static PROJECTION: Projection =
    Projection { name: "timeline", version: VERSION, tables: &[&TABLE], apply };

/// Where an event stands that is about the thing asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineRow {
    /// Its place in the log.
    pub position: i64,
    /// Which kind of stream it belongs to.
    pub aggregate_type: String,
    /// Which stream.
    pub aggregate_id: String,
    /// Its place in the stream.
    pub sequence: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
}

impl TimelineRow {
    pub(crate) fn from_row(row: &Row) -> Result<Self, ReadError> {
        let mut cells = Cells::new(&TABLE, row);
        cells.text()?;
        Ok(Self {
            position: cells.int()?,
            aggregate_type: cells.text()?,
            aggregate_id: cells.text()?,
            sequence: cells.int()?,
            at: cells.time()?,
        })
    }
}

/// What happened to the thing, newest first, beginning before a position.
pub async fn list_timeline(
    read: &dyn Read,
    about: &str,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<TimelineRow>, ReadError> {
    let sql = format!(
        "SELECT {} FROM timeline t WHERE t.about = $1 AND t.position < $2 ORDER BY t.position DESC LIMIT $3",
        columns(&TABLE, "t")
    );
    let parameters: [Value; 3] = [about.into(), before.unwrap_or(i64::MAX).into(), limit.into()];
    read.query(&sql, &parameters).await?.iter().map(TimelineRow::from_row).collect()
}

/// Without a position there is no place on the roll: the log gives one before this runs.
fn apply(recorded: &Recorded<'_>, ops: &mut Vec<RowOp>) {
    let Some(position) = recorded.position else { return };
    let at = about::time(recorded.event);
    for about in subjects(recorded.aggregate_id, recorded.event) {
        ops.push(RowOp::insert(
            &TABLE,
            vec![
                about.into(),
                position.into(),
                recorded.aggregate_type.into(),
                recorded.aggregate_id.into(),
                recorded.sequence.into(),
                at.into(),
            ],
        ));
    }
}
