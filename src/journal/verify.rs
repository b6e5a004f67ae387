//! Is the log what it was, and does what is kept beside it say what it says? Walks every event, folds the
//! chain again, rebuilds the transactional read models, the names that are held and the states of long
//! streams beside the stored ones, and names the first thing that does not fit.

mod secrets;

use std::collections::BTreeMap;
use std::sync::Arc;

use aggregates::AnyEvent;
use aggregates::application::Application;
use aggregates::user::User;
use cqrs_es::Aggregate as _;
use projections::memory::{ended, update};
use projections::row::{Row, RowOp, Table, Value};

use super::chain::{GENESIS, fold, hex};
use super::claims::claims;
use super::engine::{Engine, EngineError, Head, LANE, PAGE, StateRow, StoredBatch, StoredRow};
use super::store::{is_fold, known_type};
use super::stored::transactional_ops;

pub use secrets::Missing;

/// How often a log that grows meanwhile is followed and compared before that is given up.
const CHASES: usize = 1000;

/// What a whole log was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Events walked.
    pub events: i64,
    /// Rows compared.
    pub rows: usize,
    /// The chain after the last event, in hexadecimal.
    pub chain: String,
    /// What the events refer to and is not there.
    pub missing: Missing,
}

/// The first thing that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Positions are missing or doubled.
    #[error("the log has a hole or an insertion: expected a batch at position {expected}, found {found}")]
    Density {
        /// Where the next batch should begin.
        expected: i64,
        /// What is there instead.
        found: String,
    },
    /// Events were edited, exchanged or moved.
    #[error(
        "the chain breaks between positions {first} and {last}: an event there is not what was committed"
    )]
    Chain {
        /// First event of the batch.
        first: i64,
        /// Last event of the batch.
        last: i64,
    },
    /// The end was cut off or added to.
    #[error("the head says {head} events, the log has {found}, or the head's chain differs")]
    Head {
        /// What the lane row says.
        head: i64,
        /// What was walked.
        found: i64,
    },
    /// An event stands in the tables, and in a stream, that no reader of the log comes to.
    #[error(
        "the tables hold {events} events in {batches} batches, {walked} of them in the log: something was added beside \
         it{}",
        .one.as_ref().map(|one| format!(", such as the event {one}")).unwrap_or_default()
    )]
    Stray {
        /// How many there are.
        events: i64,
        /// In how many batches.
        batches: i64,
        /// How many of the events were walked.
        walked: i64,
        /// Kind, id and sequence of one of them, if it is in no batch of the log.
        one: Option<String>,
    },
    /// An event cannot be read.
    #[error("the event at position {position} cannot be read: {reason}")]
    Event {
        /// Which.
        position: i64,
        /// Why.
        reason: String,
    },
    /// What stands beside the events, and is not made anew from them, differs from them.
    #[error("table {table}, row {key}: {difference}")]
    Beside {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
        /// How it differs.
        difference: &'static str,
    },
    /// A read model differs from its events.
    #[error("table {table}, row {key}: {difference}")]
    Row {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
        /// How it differs.
        difference: String,
    },
}

/// Verifies a log and its read models. `progress` hears of events done and in all.
pub async fn verify(
    engine: &dyn Engine,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, VerifyError> {
    let mut walk = Walk::default();
    for _ in 0..CHASES {
        walk.follow_to_end(engine, progress).await?;
        if let Some(rows) = walk.compare_rows(engine).await?
            && walk.compare_claims(engine).await?
            && walk.compare_counts(engine).await?
            && let Some(missing) = walk.secrets.compare(engine, walk.position).await?
        {
            compare_states(engine).await?;
            return Ok(Report { events: walk.position, rows, chain: hex(&walk.chain), missing });
        }
    }
    Err(EngineError::Unavailable("the log grows faster than it can be verified".to_owned()).into())
}

struct Walk {
    position: i64,
    batches: i64,
    chain: [u8; 32],
    tables: BTreeMap<&'static str, BTreeMap<Vec<Value>, Row>>,
    /// Who holds which name, by its kind.
    claims: BTreeMap<(String, String), String>,
    secrets: secrets::Expected,
}

impl Default for Walk {
    fn default() -> Self {
        Self {
            position: 0,
            batches: 0,
            chain: GENESIS,
            tables: BTreeMap::new(),
            claims: BTreeMap::new(),
            secrets: secrets::Expected::default(),
        }
    }
}

impl Walk {
    async fn follow_to_end(
        &mut self,
        engine: &dyn Engine,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(), VerifyError> {
        let head = engine.head().await?;
        let mut batches = engine.batches_after(self.position, PAGE).await?;
        while let Some(last) = batches.last() {
            // Whatever somebody wrote there: what is wrong with it is said by whoever takes it.
            let end = last.first.saturating_add(last.count).saturating_sub(1);
            // The database looks for the next ones while these are taken.
            let (next, taken) =
                tokio::join!(engine.batches_after(end, PAGE), async { self.take_all(&batches) });
            taken?;
            batches = next?;
            let total = head.position.max(self.position);
            progress(u64::try_from(self.position).unwrap_or(0), u64::try_from(total).unwrap_or(0));
        }
        // What the head counted before the walk must have been there to walk.
        if head.position > self.position {
            return Err(VerifyError::Head { head: head.position, found: self.position });
        }
        self.check_head(&engine.head().await?)
    }

    /// A head ahead of the walk only means that the log grew meanwhile; behind it, or with another
    /// chain at the same place, something was cut or edited.
    fn check_head(&self, head: &Head) -> Result<(), VerifyError> {
        if head.position > self.position || (head.position == self.position && head.chain == self.chain) {
            return Ok(());
        }
        Err(VerifyError::Head { head: head.position, found: self.position })
    }

    fn take_all(&mut self, batches: &[StoredBatch]) -> Result<(), VerifyError> {
        batches.iter().try_for_each(|batch| self.take(batch))
    }

    fn take(&mut self, batch: &StoredBatch) -> Result<(), VerifyError> {
        let expected = self.position + 1;
        let held = i64::try_from(batch.events.len()).unwrap_or(i64::MAX);
        if batch.first != expected || batch.count != held {
            let found = format!("{held} of {} events at {}", batch.count, batch.first);
            return Err(VerifyError::Density { expected, found });
        }
        for (position, row) in (batch.first..).zip(&batch.events) {
            if row.position != position {
                let found = format!("an event at {}", row.position);
                return Err(VerifyError::Density { expected: position, found });
            }
            self.chain = fold(&self.chain, &row.leaf());
        }
        if batch.chain != self.chain {
            return Err(VerifyError::Chain { first: batch.first, last: batch.first + batch.count - 1 });
        }
        for row in &batch.events {
            let ops = transactional_ops(row)
                .map_err(|error| VerifyError::Event { position: row.position, reason: error.to_string() })?;
            for op in ops {
                self.apply(op);
            }
            if let Some(event) = of_a_name_or_secret(row) {
                for claim in claims(&event) {
                    self.claims.insert((claim.kind.to_owned(), claim.value), row.aggregate_id.clone());
                }
                self.secrets.take(&event);
            }
        }
        self.position += batch.count;
        self.batches += 1;
        Ok(())
    }

    fn apply(&mut self, op: RowOp) {
        let rows = self.tables.entry(op.table().name).or_default();
        match op {
            RowOp::Insert { table, row } => {
                rows.insert(row.iter().take(table.key).cloned().collect(), Arc::unwrap_or_clone(row));
            }
            RowOp::Update { key, set, .. } => {
                if let Some(row) = rows.get_mut(&key) {
                    update(row, &set);
                }
            }
            RowOp::Expire { table, before } => rows.retain(|_, row| !ended(table, row, before)),
        }
    }

    /// Compares every table; `None` when the log moved on and the comparison would be of two times.
    async fn compare_rows(&self, engine: &dyn Engine) -> Result<Option<usize>, VerifyError> {
        let mut compared = 0;
        for table in projections::transactional_tables() {
            let (stored, as_of) = engine.all_rows(table).await?;
            if as_of.position != self.position {
                return Ok(None);
            }
            compared += stored.len();
            self.compare(table, stored)?;
        }
        Ok(Some(compared))
    }

    /// Whether every name is held by whom the events say; `false` when the log moved on meanwhile.
    async fn compare_claims(&self, engine: &dyn Engine) -> Result<bool, VerifyError> {
        let rows = engine.query("SELECT kind, value, aggregate_id FROM claims", &[]).await?;
        if engine.head().await?.position != self.position {
            return Ok(false);
        }
        let differs = |key: String, difference| VerifyError::Beside { table: "claims", key, difference };
        let held = rows.len();
        for row in rows {
            let expected = match row.as_slice() {
                [Value::Text(kind), Value::Text(value), Value::Text(holder)] => {
                    self.claims.get(&(kind.clone(), value.clone())) == Some(holder)
                }
                _ => false,
            };
            if !expected {
                return Err(differs(show(&row), "no event gave the name to it"));
            }
        }
        if held == self.claims.len() { Ok(true) } else { Err(differs("?".to_owned(), "a name is not held")) }
    }

    /// Whether there is nothing but what was walked: streams are read without their batches, so an event that is in
    /// none would take part in decisions. `false` when the log moved on meanwhile.
    async fn compare_counts(&self, engine: &dyn Engine) -> Result<bool, VerifyError> {
        let sql = "SELECT head, (SELECT count(*) FROM events), (SELECT count(*) FROM batches) FROM lanes WHERE lane = $1";
        let rows = engine.query(sql, &[LANE.into()]).await?;
        let Some([Value::Int(head), Value::Int(events), Value::Int(batches)]) =
            rows.first().map(Vec::as_slice)
        else {
            return Err(EngineError::Damaged("the log has no head".to_owned()).into());
        };
        if (*events, *batches) == (self.position, self.batches) {
            return Ok(true);
        }
        if *head != self.position {
            return Ok(false);
        }
        let sql = "SELECT e.aggregate_type, e.aggregate_id, e.sequence FROM events e \
                   LEFT JOIN batches b ON b.lane = e.lane AND b.batch = e.batch \
                   WHERE b.batch IS NULL OR b.lane <> $1 OR b.first_position < 1 \
                   ORDER BY e.aggregate_type, e.aggregate_id, e.sequence LIMIT 1";
        let one = engine.query(sql, &[LANE.into()]).await?.first().map(|row| show(row));
        Err(VerifyError::Stray { events: *events, batches: *batches, walked: self.position, one })
    }

    fn compare(&self, table: &'static Table, stored: Vec<Row>) -> Result<(), VerifyError> {
        let empty = BTreeMap::new();
        let rebuilt = self.tables.get(table.name).unwrap_or(&empty);
        let stored: BTreeMap<Vec<Value>, Row> =
            stored.into_iter().map(|row| (row.iter().take(table.key).cloned().collect(), row)).collect();
        for key in rebuilt.keys().chain(stored.keys()) {
            let difference = match (rebuilt.get(key), stored.get(key)) {
                (Some(expected), Some(found)) if expected == found => continue,
                (Some(expected), Some(found)) => first_difference(table, expected, found),
                (Some(_), None) => "is missing".to_owned(),
                (None, _) => "no event led to it".to_owned(),
            };
            return Err(VerifyError::Row { table: table.name, key: show(key), difference });
        }
        Ok(())
    }
}

/// Whether the states of long streams, from which they are loaded, are what their events come to.
async fn compare_states(engine: &dyn Engine) -> Result<(), VerifyError> {
    let sql = "SELECT aggregate_type, aggregate_id, sequence, state FROM stream_states \
               WHERE aggregate_type > $1 OR (aggregate_type = $1 AND aggregate_id > $2) \
               ORDER BY aggregate_type, aggregate_id LIMIT 256";
    let mut after = [Value::from(""), Value::from("")];
    loop {
        let rows = engine.query(sql, &after).await?;
        let Some([aggregate_type, aggregate_id, ..]) = rows.last().map(Vec::as_slice) else { return Ok(()) };
        after = [aggregate_type.clone(), aggregate_id.clone()];
        // Most of the time goes by on the way to the database and back.
        let mut quarters = rows.chunks(rows.len().div_ceil(4));
        let mut quarter = || compare_some_states(engine, quarters.next().unwrap_or_default());
        tokio::try_join!(quarter(), quarter(), quarter(), quarter())?;
    }
}

async fn compare_some_states(engine: &dyn Engine, rows: &[Row]) -> Result<(), VerifyError> {
    for row in rows {
        let differs = |difference| VerifyError::Beside {
            table: "stream_states",
            key: show(row.get(..2).unwrap_or_default()),
            difference,
        };
        let [Value::Text(kind), Value::Text(id), Value::Int(sequence), Value::Text(state)] = row.as_slice()
        else {
            return Err(differs("it is no state"));
        };
        let Some(kind) = known_type(kind) else { continue };
        let state = StateRow { sequence: *sequence, state: state.clone() };
        if !is_fold(engine, kind, id, &state).await? {
            return Err(differs("the state is not what its events come to"));
        }
    }
    Ok(())
}

/// The event, if it may give a name to its stream, or refer to a secret.
fn of_a_name_or_secret(row: &StoredRow) -> Option<AnyEvent> {
    // Nothing else does, and decoding twice takes its time.
    if ![User::TYPE, Application::TYPE].contains(&row.aggregate_type.as_str()) {
        return None;
    }
    row.decode().ok()
}

/// Names the column, never the values: they may be sealed, but they are nobody's business.
fn first_difference(table: &Table, expected: &Row, found: &Row) -> String {
    let column =
        table.columns.iter().zip(expected.iter().zip(found)).find(|(_, (left, right))| left != right);
    format!("column {} is not what the events say", column.map_or("?", |(column, _)| column.name))
}

fn show(key: &[Value]) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|value| match value {
            Value::Null => "null".to_owned(),
            Value::Int(number) => number.to_string(),
            Value::Text(text) => text.clone(),
        })
        .collect();
    parts.join(", ")
}
