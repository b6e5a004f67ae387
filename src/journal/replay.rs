//! How are read models rebuilt while the server goes on? Beside the live tables, event by event, with a
//! checkpoint in each transaction; then both change places in one transaction that moves the projection
//! epoch. Other processes notice, and a program of another version neither writes nor answers.
//!
//! A replay ends well only if the last event it took is the head of the log, looked at under a lock; a
//! page of events that does not continue the last one is an error, never an end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use projections::{EVENTUAL, TRANSACTIONAL, is_eventual};

use super::engine::{BEGUN, Engine, EngineError, Flip, LANE, PAGE, StoredBatch, overtaken, shadow_name, sql};
use super::feed::{check_density, stored_versions};
use super::stored::batch_ops;

/// Between two comparisons.
const CHASE: Duration = Duration::from_millis(10);
/// How often locks are tried for.
const FLIPS: usize = 10;
/// How often the log may move on before the comparison is given up.
const CHASES: usize = 50;

/// How often in a row the database may not answer, and what is between two tries.
const FAILURES: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// What became of a page of batches.
enum Page {
    /// Up to here.
    Taken(i64),
    /// There was none: everything up to here has been taken.
    Last(i64),
    /// Somebody else took it meanwhile.
    Moved,
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Events taken, from the first to the head.
    pub events: i64,
    /// The event at which an earlier, interrupted replay was taken up; 0 for a new one.
    pub resumed_at: i64,
    /// Rows in which the live tables differed; `None` when the log never stood still, or when the tables
    /// were of another version.
    pub repaired: Option<i64>,
}

/// The read model of this name.
#[must_use]
pub fn find_projection(name: &str) -> Option<&'static Projection> {
    TRANSACTIONAL.iter().chain(EVENTUAL).copied().find(|projection| projection.name == name)
}

/// A replay of some read models.
pub struct Replay {
    projections: Vec<&'static Projection>,
    tables: Vec<&'static Table>,
    shadows: Arc<Vec<&'static Table>>,
    /// Stands for the replay in the table of checkpoints.
    checkpoint: &'static Projection,
    /// Stands there when it has ended: the checkpoint becomes it in the transaction in which the tables change places.
    mark: &'static Projection,
}

impl Replay {
    /// Of these read models; of all without any.
    #[must_use]
    pub fn new(projections: Vec<&'static Projection>) -> Self {
        let mut projections = projections;
        if projections.is_empty() {
            projections = TRANSACTIONAL.iter().chain(EVENTUAL).copied().collect();
        }
        projections.sort_by_key(|projection| projection.name);
        projections.dedup_by_key(|projection| projection.name);
        let tables: Vec<_> = projections.iter().flat_map(|one| one.tables.iter().copied()).collect();
        let shadows = tables.iter().map(|table| shadow(table)).collect();
        // Another version of a read model does not go on where this one was interrupted.
        let named: Vec<String> =
            projections.iter().map(|one| format!("{}.{}", one.name, one.version)).collect();
        let named = named.join(" ");
        let (checkpoint, mark) = (stand_in(format!("replay {named}")), stand_in(format!("replayed {named}")));
        Self { projections, tables, shadows: Arc::new(shadows), checkpoint, mark }
    }

    /// Rebuilds, compares and flips. `progress` hears of events done and in all.
    pub async fn run(
        &self,
        engine: &dyn Engine,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Replayed, EngineError> {
        // What an earlier one has left is no sign of this one's end.
        let mark = [self.mark.name.into()];
        answered(|| engine.execute(sql::DELETE_CHECKPOINT, &mark)).await?;
        let resumed_at = answered(|| engine.checkpoint(self.checkpoint)).await?;
        if resumed_at == 0 {
            answered(|| engine.make_shadows(self.checkpoint, &self.tables)).await?;
        }
        let mut position =
            self.catch_up(engine, if resumed_at == 0 { BEGUN } else { resumed_at }, progress).await?;
        let mut repaired = None;
        if answered(|| self.has_same_versions(engine)).await? {
            for _ in 0..CHASES {
                repaired = answered(|| self.compare(engine, position.max(0))).await?;
                if repaired.is_some() {
                    break;
                }
                // What follows with a checkpoint gathers for a moment first.
                tokio::time::sleep(CHASE).await;
                position = self.catch_up(engine, position, progress).await?;
            }
        }
        let eventual = self.projections.iter().copied().filter(|one| is_eventual(one)).collect();
        let flip = Flip {
            tables: self.tables.clone(),
            projections: self.projections.clone(),
            eventual,
            replay: self.checkpoint,
            mark: self.mark,
            position,
            ops_of: self.ops_of(),
        };
        let events = self.flip(engine, flip, progress).await?;
        Ok(Replayed { events, resumed_at: resumed_at.max(0), repaired })
    }

    /// Tries until the locks are got in time. When an answer was lost, the mark tells that the tables have changed
    /// places. That the checkpoint is gone does not: another replay may have taken it away.
    async fn flip(
        &self,
        engine: &dyn Engine,
        mut flip: Flip,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<i64, EngineError> {
        for _ in 0..FLIPS {
            let caught_up = match engine.flip(&flip).await {
                Ok(events) => return Ok(events),
                Err(EngineError::Unavailable(reason) | EngineError::Unknown(reason)) => {
                    tracing::info!(reason, "the tables could not change places in time; once more");
                    // Who had to wait for them goes first.
                    tokio::time::sleep(PAUSE).await;
                    self.catch_up(engine, flip.position, progress).await
                }
                // The exchange before may have come late after all, and this one was overtaken by it.
                Err(error) => Err(error),
            };
            let marked = answered(|| engine.checkpoint(self.mark)).await?;
            if marked > 0 {
                return Ok(marked);
            }
            flip.position = caught_up?;
        }
        Err(EngineError::Unavailable("the tables could not be locked in time".to_owned()))
    }

    /// What events do to the shadows.
    fn ops_of(&self) -> super::engine::OpsOf {
        let (projections, shadows) = (self.projections.clone(), Arc::clone(&self.shadows));
        Arc::new(move |batches: &[StoredBatch]| {
            let mut ops = Vec::new();
            for batch in batches {
                ops.extend(batch_ops(&projections, batch)?.into_iter().map(|op| beside(op, &shadows)));
            }
            Ok(ops)
        })
    }

    /// Takes everything up to the head as it stands at the end; returns the last event taken, at `taken` or after it.
    async fn catch_up(
        &self,
        engine: &dyn Engine,
        mut taken: i64,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<i64, EngineError> {
        let mut is_moved = false;
        loop {
            match answered(|| self.take_page(engine, taken, progress)).await? {
                Page::Taken(position) => taken = position,
                Page::Last(position) => return Ok(position),
                // A call of the one that was interrupted was still under way; a second one is somebody else's.
                Page::Moved if !is_moved => is_moved = true,
                Page::Moved => return Err(overtaken()),
            }
        }
    }

    async fn take_page(
        &self,
        engine: &dyn Engine,
        taken: i64,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Page, EngineError> {
        let position = engine.checkpoint(self.checkpoint).await?;
        // It is gone, or was begun anew: from there, what is in the shadows would be taken again.
        if position == 0 || position < taken {
            return Err(overtaken());
        }
        let stands_at = position.max(0);
        let head = engine.pulse().await?.position;
        progress(u64::try_from(stands_at).unwrap_or(0), u64::try_from(head.max(stands_at)).unwrap_or(0));
        if stands_at >= head {
            return Ok(Page::Last(position));
        }
        let batches = engine.batches_after(stands_at, PAGE).await?;
        let Some(last) = check_density(stands_at, &batches)? else {
            return Err(EngineError::Damaged(format!(
                "the head says {head} events, the log has {stands_at}"
            )));
        };
        let ops = self.ops_of()(&batches)?;
        let is_taken = engine.advance(self.checkpoint, position, last, &ops).await?;
        Ok(if is_taken { Page::Taken(last) } else { Page::Moved })
    }

    async fn has_same_versions(&self, engine: &dyn Engine) -> Result<bool, EngineError> {
        let stored = stored_versions(engine).await?;
        Ok(self.projections.iter().all(|one| stored.get(one.name) == Some(&i64::from(one.version))))
    }

    /// How many rows differ, if the live tables contain exactly the events that were replayed.
    async fn compare(&self, engine: &dyn Engine, position: i64) -> Result<Option<i64>, EngineError> {
        // Under load they seldom do: comparing all rows to find that out would take as long as the replay.
        for projection in &self.projections {
            let sql = format!("SELECT {}", stands_at(projection));
            if first_row(engine, &sql).await? != [Value::Int(position)] {
                return Ok(None);
            }
        }
        let mut differences = 0;
        for projection in &self.projections {
            let stands_at = stands_at(projection);
            for table in projection.tables {
                let columns = projections::read::columns(table, "t");
                let (live, next) = (table.name, shadow_name(table));
                let only = |here: &str, there: &str| {
                    format!(
                        "(SELECT count(*) FROM (SELECT {columns} FROM {here} t EXCEPT SELECT {columns} FROM {there} t) d)"
                    )
                };
                let sql = format!("SELECT {stands_at}, {} + {}", only(live, &next), only(&next, live));
                match first_row(engine, &sql).await?.as_slice() {
                    [Value::Int(stands_at), Value::Int(rows)] if *stands_at == position => {
                        differences += rows;
                    }
                    _ => return Ok(None),
                }
            }
        }
        Ok(Some(differences))
    }
}

/// SQL for the last event that the live tables of a read model contain.
fn stands_at(projection: &Projection) -> String {
    if is_eventual(projection) {
        format!("(SELECT position FROM checkpoints WHERE projection = '{}')", projection.name)
    } else {
        format!("(SELECT head FROM lanes WHERE lane = {LANE})")
    }
}

async fn first_row(engine: &dyn Engine, sql: &str) -> Result<Row, EngineError> {
    Ok(engine.query(sql, &[]).await?.into_iter().next().unwrap_or_default())
}

/// Asks until there is an answer: a database that is away for a moment costs no more than the moment. So what is asked
/// may be done twice.
async fn answered<T, F: Future<Output = Result<T, EngineError>>>(
    ask: impl Fn() -> F,
) -> Result<T, EngineError> {
    let mut failures = 0;
    loop {
        match ask().await {
            Err(EngineError::Unavailable(reason) | EngineError::Unknown(reason)) if failures < FAILURES => {
                failures += 1;
                tracing::info!(reason, "the database did not answer in time; once more");
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// What keeps a position under this name. One a replay: it lives as long as the program.
fn stand_in(name: String) -> &'static Projection {
    let name = Box::leak(name.into_boxed_str());
    Box::leak(Box::new(Projection { name, version: 1, tables: &[], apply: |_, _| {} }))
}

/// The table beside a table. One a table and process: it lives as long as the program.
fn shadow(table: &'static Table) -> &'static Table {
    Box::leak(Box::new(Table {
        name: Box::leak(shadow_name(table).into_boxed_str()),
        key: table.key,
        columns: table.columns,
        keep_until: table.keep_until,
        residency: table.residency,
    }))
}

/// The same operation on the table beside.
fn beside(op: RowOp, shadows: &[&'static Table]) -> RowOp {
    let find = |table: &'static Table| {
        let name = shadow_name(table);
        shadows.iter().copied().find(|shadow| shadow.name == name).unwrap_or(table)
    };
    match op {
        RowOp::Insert { table, row } => RowOp::Insert { table: find(table), row },
        RowOp::Update { table, key, set } => RowOp::Update { table: find(table), key, set },
        RowOp::Expire { table, before } => RowOp::Expire { table: find(table), before },
    }
}
