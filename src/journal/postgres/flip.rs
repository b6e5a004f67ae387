//! How do rebuilt tables take the place of the live ones? Locks first, in the order in which batches take
//! them: checkpoints, tables, the lane row. Writers wait for a moment; readers of memory do not.

use std::time::Duration;

use projections::projection::Projection;
use projections::row::{RowOp, Table};
use sqlx::{Executor, PgConnection};

use super::log::{batch_rows, batches_of};
use super::{NEW_CHECKPOINT, PostgresEngine, engine_error, rows};
use crate::journal::engine::{BEGUN, EngineError, Flip, LANE, PAGE, overtaken, shadow_name, sql};
use crate::journal::feed::check_density;

/// Whoever wants one of these tables queues behind a lock that is waited for, and all who want another of theirs behind
/// that: behind somebody who reads a table for an hour, as `pg_dump` does, this lock is not waited for.
const HELD_UP: Duration = Duration::from_millis(500);

/// One message is one transaction. Whoever takes a replay further locks a checkpoint first and its shadows second, so
/// nobody writes into those that go, and thinks afterwards that they are there.
pub(super) async fn make_shadows(
    connection: &mut PgConnection,
    replay: &Projection,
    tables: &[&'static Table],
) -> Result<(), sqlx::Error> {
    let anew = |table: &&'static Table| {
        let (live, shadow) = (table.name, shadow_name(table));
        format!("; DROP TABLE IF EXISTS {shadow}; CREATE TABLE {shadow} (LIKE {live} INCLUDING ALL)")
    };
    let anew: String = tables.iter().map(anew).collect();
    let message = format!(
        "SET LOCAL lock_timeout = {}; LOCK TABLE checkpoints IN EXCLUSIVE MODE; {}; \
         INSERT INTO checkpoints (projection, lane, position) VALUES ('{}', {LANE}, {BEGUN}){anew}",
        HELD_UP.as_millis(),
        sql::TAKE_REPLAYS,
        replay.name,
    );
    connection.execute(message.as_str()).await?;
    Ok(())
}

pub(super) async fn flip(engine: &PostgresEngine, flip: &Flip) -> Result<i64, EngineError> {
    let mut held = engine.reads.acquire(engine.until()).await?;
    let connection: &mut PgConnection = &mut held;
    // Everybody who writes waits behind these locks: also an engine that is patient gives up in time.
    let exchanged =
        tokio::time::timeout_at(engine.until(), transaction(connection, flip, engine.deadline)).await;
    let result = exchanged.unwrap_or_else(|_| Err(EngineError::late()));
    held.release(result)
}

async fn transaction(
    connection: &mut PgConnection,
    flip: &Flip,
    deadline: Duration,
) -> Result<i64, EngineError> {
    let failed = |error: sqlx::Error| engine_error(&error);
    let head = lock(connection, flip, deadline).await.map_err(failed)?.ok_or_else(overtaken)?;
    let mut position = flip.position.max(0);
    while position < head {
        let rows_read = batch_rows(connection, position, PAGE).await.map_err(failed)?;
        let batches = batches_of(&rows_read)?;
        let Some(last) = check_density(position, &batches)? else { break };
        let ops = (flip.ops_of)(&batches)?;
        rows::execute(connection, &ops.iter().collect::<Vec<&RowOp>>()).await.map_err(failed)?;
        position = last;
    }
    if position != head {
        return Err(EngineError::Damaged(format!("the head says {head} events, the log has {position}")));
    }
    exchange(connection, flip, head).await.map_err(failed)?;
    Ok(head)
}

/// Returns the head, which nobody can move any more; nothing when the shadows are not as far as they should be.
async fn lock(
    connection: &mut PgConnection,
    flip: &Flip,
    deadline: Duration,
) -> Result<Option<i64>, sqlx::Error> {
    for projection in &flip.eventual {
        sqlx::query(NEW_CHECKPOINT).bind(projection.name).bind(LANE).execute(&mut *connection).await?;
    }
    // A server goes on with a statement whose client has gone.
    let begin = format!(
        "BEGIN; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}",
        HELD_UP.as_millis(),
        deadline.as_millis()
    );
    connection.execute(begin.as_str()).await?;
    let taken = sqlx::query(sql::TAKE_CHECKPOINT).bind(flip.replay.name).bind(flip.position);
    if taken.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(None);
    }
    let names: Vec<&str> = flip.eventual.iter().map(|projection| projection.name).collect();
    sqlx::query("SELECT position FROM checkpoints WHERE projection = ANY($1) ORDER BY projection FOR UPDATE")
        .bind(names)
        .fetch_all(&mut *connection)
        .await?;
    let tables: Vec<&str> = flip.tables.iter().map(|table| table.name).collect();
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
    connection.execute(lock.as_str()).await?;
    sqlx::query_scalar("SELECT head FROM lanes WHERE lane = $1 FOR UPDATE")
        .bind(LANE)
        .fetch_one(connection)
        .await
        .map(Some)
}

async fn exchange(connection: &mut PgConnection, flip: &Flip, head: i64) -> Result<(), sqlx::Error> {
    for table in &flip.tables {
        let sql = format!("DROP TABLE {0}; ALTER TABLE {1} RENAME TO {0}", table.name, shadow_name(table));
        connection.execute(sql.as_str()).await?;
    }
    for projection in &flip.projections {
        let version = i64::from(projection.version);
        sqlx::query(sql::PUT_VERSION).bind(projection.name).bind(version).execute(&mut *connection).await?;
    }
    for reached in flip.eventual.iter().copied().chain([flip.mark]) {
        let put = sqlx::query(sql::PUT_CHECKPOINT).bind(reached.name).bind(LANE).bind(head);
        put.execute(&mut *connection).await?;
    }
    if flip.projections.len() > flip.eventual.len() {
        connection.execute(sql::delete_other_versions().as_str()).await?;
        sqlx::query(sql::MOVE_EPOCH).bind(LANE).execute(&mut *connection).await?;
    }
    connection.execute("COMMIT").await?;
    Ok(())
}
