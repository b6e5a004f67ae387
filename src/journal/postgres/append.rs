//! How does a batch become one PostgreSQL transaction? Keys that are taken decide the losers; the lane
//! row, which every node must have, comes last and is held shortest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use projections::row::RowOp;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Executor, PgConnection, Row as _};
use tokio::time::Instant;

use super::connections::{Held, TRIES, has_stood_still, was_refused, within};
use super::hints::tell;
use super::{PostgresEngine, engine_error, rows};
use crate::journal::engine::{
    Append, Committed, EngineError, LANE, Lost, Outcome, SecretOp, last_invalidating, leaves, sql,
};

/// How a batch is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Events and rows alone are one statement, which is a transaction by itself.
    AtOnce,
    /// With what else there is beside, hoping that there are no losers.
    Hopeful,
    /// Looking for the losers first, event by event.
    Careful,
}

impl Mode {
    /// The first try. Rows expire in statements of their own, and those come after the keys of the events: only a
    /// careful batch has these in a statement of their own.
    fn of(appends: &[Append]) -> Self {
        let is_alone = |append: &Append| {
            let beside = append.secrets.len() + append.subject_keys.len() + append.claims.len();
            beside == 0 && append.state.is_none()
        };
        let mut ops = appends.iter().flat_map(|append| append.rows.iter().flatten());
        if ops.any(|op| matches!(op, RowOp::Expire { .. })) {
            Self::Careful
        } else if appends.iter().all(is_alone) {
            Self::AtOnce
        } else {
            Self::Hopeful
        }
    }
}

/// What stopped a batch before its commit.
enum Stop {
    Sql(sqlx::Error),
    Lost(Vec<(usize, Lost)>),
}

impl Stop {
    /// Whether the server goes on with the next statement.
    fn was_answered(&self) -> bool {
        match self {
            Self::Sql(error) => was_refused(error),
            Self::Lost(_) => true,
        }
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Stop::Sql(error)
    }
}

pub(super) async fn append(
    engine: &PostgresEngine,
    batch: i64,
    epoch: i64,
    appends: &[Append],
) -> Result<Outcome, EngineError> {
    let (until, mode) = (engine.until(), Mode::of(appends));
    match attempt(engine, until, batch, epoch, appends, mode).await {
        // Most likely a key that is taken: to be found out whose.
        Err(EngineError::Refused(_)) if mode != Mode::Careful => {
            attempt(engine, until, batch, epoch, appends, Mode::Careful).await
        }
        written => written,
    }
}

async fn attempt(
    engine: &PostgresEngine,
    until: Instant,
    batch: i64,
    epoch: i64,
    appends: &[Append],
    mode: Mode,
) -> Result<Outcome, EngineError> {
    let mut connection = match mode {
        Mode::AtOnce => engine.writing.acquire(until).await?,
        Mode::Hopeful | Mode::Careful => begin(engine, until).await?,
    };
    let committing = AtomicBool::new(false);
    let own = engine.hints.own();
    let work = transaction(&mut connection, batch, epoch, appends, mode, own, &committing);
    let result = tokio::time::timeout_at(engine.work_until(until), work).await;
    let committing = committing.load(Ordering::Relaxed);
    let stop = match result {
        Ok(Ok(committed)) => {
            connection.was_answered();
            engine.writing.have_answered();
            return Ok(Outcome::Committed(committed));
        }
        Ok(Err(stop)) => stop,
        // Closing ends the transaction for certain, unless its COMMIT was on the way.
        Err(_) if committing => return Err(EngineError::Unknown("no answer to COMMIT in time".to_owned())),
        Err(_) => return Err(EngineError::late()),
    };
    // What was refused at its end has ended.
    if stop.was_answered() && (committing || within(until, connection.execute("ROLLBACK")).await.is_ok()) {
        connection.was_answered();
    }
    match stop {
        Stop::Lost(lost) => Ok(Outcome::Lost(lost)),
        Stop::Sql(error) if is_without_head(&error) => Err(EngineError::EpochMoved),
        // One that was ended for standing still was so before the server read its COMMIT: nothing of it is there.
        Stop::Sql(error) if committing && !was_refused(&error) && !has_stood_still(&error) => {
            Err(EngineError::Unknown(error.to_string()))
        }
        Stop::Sql(error) => Err(engine_error(&error)),
    }
}

/// A connection in a transaction. One that is already broken shows here, before anything depends on it.
async fn begin(engine: &PostgresEngine, until: Instant) -> Result<Held, EngineError> {
    let mut last = EngineError::Unavailable("no connection".to_owned());
    for tries in 0..TRIES {
        let mut connection = engine.writing.acquire_after(until, tries > 0).await?;
        match within(until, connection.execute("BEGIN")).await {
            Ok(_) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The batch row has no position when the lane row could not be moved: see [`log_sql`].
fn is_without_head(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.kind() == sqlx::error::ErrorKind::NotNullViolation && error.table() == Some("batches")
    })
}

/// Keys in the order in which every batch takes them: what stands beside, events, rows, and the head last; each kind
/// in the order of its keys, whatever the order of the commands.
async fn transaction(
    connection: &mut PgConnection,
    batch: i64,
    epoch: i64,
    appends: &[Append],
    mode: Mode,
    own: &str,
    committing: &AtomicBool,
) -> Result<Committed, Stop> {
    if mode == Mode::AtOnce {
        committing.store(true, Ordering::Relaxed);
        return Ok(extend_log(connection, batch, epoch, appends, mode, own).await?);
    }
    none_of(insert_claims(connection, appends).await?)?;
    write_security_rows(connection, appends).await?;
    write_states(connection, appends).await?;
    if mode == Mode::Careful {
        none_of(insert_events_unless_there(connection, batch, appends).await?)?;
    }
    let committed = extend_log(connection, batch, epoch, appends, mode, own).await?;
    committing.store(true, Ordering::Relaxed);
    connection.execute("COMMIT").await?;
    Ok(committed)
}

fn none_of(lost: Vec<(usize, Lost)>) -> Result<(), Stop> {
    if lost.is_empty() { Ok(()) } else { Err(Stop::Lost(lost)) }
}

#[derive(Default)]
struct EventColumns<'a> {
    aggregate_type: Vec<&'static str>,
    aggregate_id: Vec<&'a str>,
    sequence: Vec<i64>,
    event_type: Vec<&'a str>,
    event_version: Vec<&'a str>,
    payload: Vec<&'a str>,
    metadata: Vec<&'a str>,
    index: Vec<i64>,
}

impl<'a> EventColumns<'a> {
    /// In the order of the key: so every node takes keys in one order, and none waits for another in a
    /// circle.
    fn of(appends: &'a [Append]) -> Self {
        let rows = appends
            .iter()
            .flat_map(|append| (append.expected + 1..).zip(&append.events).map(move |row| (append, row)));
        let mut rows: Vec<_> = (0..).zip(rows).collect();
        rows.sort_unstable_by_key(|(index, (append, (sequence, _)))| {
            (append.aggregate_type, append.aggregate_id.as_str(), *sequence, *index)
        });
        let mut columns = Self::default();
        for (index, (append, (sequence, event))) in rows {
            columns.aggregate_type.push(append.aggregate_type);
            columns.aggregate_id.push(&append.aggregate_id);
            columns.sequence.push(sequence);
            columns.event_type.push(&event.event_type);
            columns.event_version.push(&event.event_version);
            columns.payload.push(&event.payload);
            columns.metadata.push(&event.metadata);
            columns.index.push(index);
        }
        columns
    }

    fn bind(self, query: Query<'a, sqlx::Postgres, PgArguments>) -> Query<'a, sqlx::Postgres, PgArguments> {
        query
            .bind(self.aggregate_type)
            .bind(self.aggregate_id)
            .bind(self.sequence)
            .bind(self.event_type)
            .bind(self.event_version)
            .bind(self.payload)
            .bind(self.metadata)
            .bind(self.index)
    }

    /// Parameters of [`Self::bind`].
    const WIDTH: usize = 8;

    /// Takes the lane as $1, the batch as $2, and the columns from `first` on.
    fn sql(first: usize) -> String {
        let types = ["text", "text", "bigint", "text", "text", "text", "text", "bigint"];
        let arrays: Vec<String> =
            types.iter().zip(first..).map(|(kind, number)| format!("${number}::{kind}[]")).collect();
        format!(
            "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
             metadata, lane, batch, batch_index) \
             SELECT e.t, e.i, e.s, e.et, e.ev, e.p::json, e.m::json, $1, $2, e.n \
             FROM UNNEST({}) AS e(t, i, s, et, ev, p, m, n)",
            arrays.join(", ")
        )
    }
}

/// Inserts all events; whoever's rows are not all there lost its stream to somebody else.
async fn insert_events_unless_there(
    connection: &mut PgConnection,
    batch: i64,
    appends: &[Append],
) -> Result<Vec<(usize, Lost)>, sqlx::Error> {
    let sql = format!(
        "{} ON CONFLICT (aggregate_type, aggregate_id, sequence) DO NOTHING RETURNING batch_index",
        EventColumns::sql(3)
    );
    let query = EventColumns::of(appends).bind(sqlx::query(&sql).bind(LANE).bind(batch));
    let rows = query.fetch_all(connection).await?;
    let inserted = rows.iter().map(|row| row.try_get(0)).collect::<Result<BTreeSet<i64>, _>>()?;
    let owners =
        appends.iter().enumerate().flat_map(|(command, append)| append.events.iter().map(move |_| command));
    let losers: BTreeSet<usize> = (0..)
        .zip(owners)
        .filter(|(index, _)| !inserted.contains(index))
        .map(|(_, command)| command)
        .collect();
    Ok(losers.into_iter().map(|command| (command, Lost::Conflict)).collect())
}

async fn insert_claims(
    connection: &mut PgConnection,
    appends: &[Append],
) -> Result<Vec<(usize, Lost)>, sqlx::Error> {
    let mut wanted = BTreeMap::new();
    let mut lost = Vec::new();
    for (command, append) in appends.iter().enumerate() {
        for claim in &append.claims {
            if wanted.insert(claim, (command, append)).is_some() {
                lost.push((command, Lost::Claimed(claim.kind)));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(lost);
    }
    let kinds: Vec<String> = wanted.keys().map(|claim| claim.kind.to_owned()).collect();
    let values: Vec<String> = wanted.keys().map(|claim| claim.value.clone()).collect();
    let types: Vec<String> = wanted.values().map(|(_, append)| append.aggregate_type.to_owned()).collect();
    let ids: Vec<String> = wanted.values().map(|(_, append)| append.aggregate_id.clone()).collect();
    let taken: Vec<(String, String)> = sqlx::query_as(
        "INSERT INTO claims (kind, value, aggregate_type, aggregate_id) \
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[]) \
         ON CONFLICT DO NOTHING RETURNING kind, value",
    )
    .bind(kinds)
    .bind(values)
    .bind(types)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let taken: BTreeSet<(String, String)> = taken.into_iter().collect();
    let refused =
        wanted.iter().filter(|(claim, _)| !taken.contains(&(claim.kind.to_owned(), claim.value.clone())));
    lost.extend(refused.map(|(claim, (command, _))| (*command, Lost::Claimed(claim.kind))));
    Ok(lost)
}

/// What is done to one secret keeps its order.
async fn write_security_rows(connection: &mut PgConnection, appends: &[Append]) -> Result<(), sqlx::Error> {
    let mut secrets: Vec<_> = appends.iter().flat_map(|append| &append.secrets).collect();
    secrets.sort_by_key(|op| match op {
        SecretOp::Put { id, .. } | SecretOp::Delete { id } => id,
    });
    for op in secrets {
        match op {
            SecretOp::Put { id, verifier } => {
                let put = sqlx::query(sql::PUT_SECRET).bind(id).bind(verifier);
                put.execute(&mut *connection).await?;
            }
            SecretOp::Delete { id } => {
                sqlx::query(sql::DELETE_SECRET).bind(id).execute(&mut *connection).await?;
            }
        }
    }
    let mut keys: Vec<_> = appends.iter().flat_map(|append| &append.subject_keys).collect();
    keys.sort_by_key(|key| &key.subject);
    for key in keys {
        let put = sqlx::query(sql::PUT_SUBJECT_KEY).bind(&key.subject).bind(&key.wrapped);
        put.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn write_states(connection: &mut PgConnection, appends: &[Append]) -> Result<(), sqlx::Error> {
    let mut states: Vec<_> =
        appends.iter().filter_map(|append| Some((append, append.state.as_ref()?))).collect();
    states.sort_by_key(|(append, _)| (append.aggregate_type, &append.aggregate_id));
    for (append, state) in states {
        sqlx::query(sql::PUT_STATE)
            .bind(append.aggregate_type)
            .bind(&append.aggregate_id)
            .bind(state.sequence)
            .bind(&state.state)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// One statement for nearly everything, because every round trip is a wait: events, unless they are
/// there already; rows of read models; the head, the chain, and the batch row. The head, which every node
/// must have, waits for the others and is held shortest.
///
/// Without a look at conflicts the unique key refuses the whole statement when somebody extended one of
/// the streams first, which is rare.
async fn extend_log(
    connection: &mut PgConnection,
    batch: i64,
    epoch: i64,
    appends: &[Append],
    mode: Mode,
    own: &str,
) -> Result<Committed, sqlx::Error> {
    let ops: Vec<&RowOp> = appends.iter().flat_map(|append| append.rows.iter().flatten()).collect();
    let folded = rows::after_expiry(connection, &ops).await?;
    let statements = folded.statements();
    let leaves: Vec<Vec<u8>> = leaves(appends).iter().map(|leaf| leaf.to_vec()).collect();

    let mut number = 8;
    let mut clauses = Vec::with_capacity(statements.len() + 1);
    if mode != Mode::Careful {
        clauses.push(EventColumns::sql(number));
        number += EventColumns::WIDTH;
    }
    for statement in &statements {
        clauses.push(statement.sql(number));
        number += statement.width();
    }
    let sql = log_sql(&clauses);
    let mut query = sqlx::query(&sql)
        .bind(LANE)
        .bind(batch)
        .bind(i64::try_from(leaves.len()).unwrap_or(i64::MAX))
        .bind(leaves)
        .bind(epoch)
        .bind(last_invalidating(appends))
        .bind(own);
    if mode != Mode::Careful {
        query = EventColumns::of(appends).bind(query);
    }
    for statement in &statements {
        query = statement.bind(query);
    }
    super::committed(&query.fetch_one(connection).await?)
}

/// Takes lane, batch, number of events, leaves, epoch, last invalidating index and who writes as $1 to $7. Clauses of one
/// statement run in no particular order unless one asks for what another returns. When no lane row is of this epoch, the
/// batch row would have no position: its column refuses that, and with it the whole statement.
fn log_sql(clauses: &[String]) -> String {
    let numbered = || clauses.iter().zip(1..);
    let named: Vec<String> =
        numbered().map(|(clause, number)| format!("c{number} AS ({clause} RETURNING 1), ")).collect();
    let done: Vec<String> =
        numbered().map(|(_, number)| format!(" AND (SELECT count(*) FROM c{number}) >= 0")).collect();
    "WITH ".to_owned()
        + &named.concat()
        + "moved AS (UPDATE lanes SET head = head + $3, chain = chain_fold(chain, $4), \
                      revision = CASE WHEN $6::bigint > 0 THEN head + $6 ELSE revision END \
                      WHERE lane = $1 AND projection_epoch = $5"
        + &done.concat()
        + " RETURNING head, chain) \
           INSERT INTO batches (lane, first_position, batch, event_count, chain) \
           SELECT $1, (SELECT head FROM moved) - $3 + 1, $2, $3, (SELECT chain FROM moved) \
           RETURNING first_position, chain, "
        + &tell()
}
