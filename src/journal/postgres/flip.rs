//! How do rebuilt tables take the place of the live ones? Locks first, in the order in which batches take
//! them: checkpoints, tables, the lane row. Writers wait for a moment; readers of memory do not.

use projections::row::{RowOp, Table};
use sqlx::{Executor, PgConnection};

use super::connections::late;
use super::log::{batch_rows, batches_of};
use super::{PostgresEngine, engine_error, rows};
use crate::journal::engine::{EngineError, Flip, LANE, PAGE, shadow_name};
use crate::journal::feed::check_density;

pub(super) async fn make_shadows(
    connection: &mut PgConnection,
    tables: &[&'static Table],
) -> Result<(), sqlx::Error> {
    connection.execute("BEGIN").await?;
    for table in tables {
        let shadow = shadow_name(table);
        let sql = format!(
            "DROP TABLE IF EXISTS {shadow}; CREATE TABLE {shadow} (LIKE {} INCLUDING ALL)",
            table.name
        );
        connection.execute(sql.as_str()).await?;
    }
    connection.execute("COMMIT").await?;
    Ok(())
}

pub(super) async fn flip(engine: &PostgresEngine, flip: &Flip) -> Result<i64, EngineError> {
    let mut held = engine.reads.acquire(engine.until()).await?;
    let connection: &mut PgConnection = &mut held;
    // Everybody who writes waits behind these locks: also an engine that is patient gives up in time.
    let exchanged = tokio::time::timeout_at(engine.until(), transaction(connection, flip)).await;
    let result = exchanged.unwrap_or_else(|_| Err(late()));
    PostgresEngine::release(held, result)
}

async fn transaction(connection: &mut PgConnection, flip: &Flip) -> Result<i64, EngineError> {
    let sql = |error: sqlx::Error| engine_error(&error);
    let head = lock(connection, flip).await.map_err(sql)?;
    let mut position = flip.position;
    while position < head {
        let rows_read = batch_rows(connection, position, PAGE).await.map_err(sql)?;
        let batches = batches_of(&rows_read)?;
        let Some(last) = check_density(position, &batches)? else { break };
        let ops = (flip.ops_of)(&batches)?;
        rows::execute(connection, &ops.iter().collect::<Vec<&RowOp>>()).await.map_err(sql)?;
        position = last;
    }
    if position != head {
        return Err(EngineError::Damaged(format!("the head says {head} events, the log has {position}")));
    }
    exchange(connection, flip, head).await.map_err(sql)?;
    Ok(head)
}

/// Returns the head, which nobody can move any more.
async fn lock(connection: &mut PgConnection, flip: &Flip) -> Result<i64, sqlx::Error> {
    for projection in &flip.eventual {
        sqlx::query(
            "INSERT INTO checkpoints (projection, lane, position) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING",
        )
        .bind(projection.name)
        .bind(LANE)
        .execute(&mut *connection)
        .await?;
    }
    connection.execute("BEGIN").await?;
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
}

async fn exchange(connection: &mut PgConnection, flip: &Flip, head: i64) -> Result<(), sqlx::Error> {
    for table in &flip.tables {
        let sql = format!("DROP TABLE {0}; ALTER TABLE {1} RENAME TO {0}", table.name, shadow_name(table));
        connection.execute(sql.as_str()).await?;
    }
    for projection in &flip.projections {
        sqlx::query(
            "INSERT INTO read_models (projection, version) VALUES ($1, $2) \
             ON CONFLICT (projection) DO UPDATE SET version = excluded.version",
        )
        .bind(projection.name)
        .bind(i64::from(projection.version))
        .execute(&mut *connection)
        .await?;
    }
    for projection in &flip.eventual {
        sqlx::query("UPDATE checkpoints SET position = $2 WHERE projection = $1")
            .bind(projection.name)
            .bind(head)
            .execute(&mut *connection)
            .await?;
    }
    if flip.projections.len() > flip.eventual.len() {
        sqlx::query("UPDATE lanes SET projection_epoch = projection_epoch + 1 WHERE lane = $1")
            .bind(LANE)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("DELETE FROM checkpoints WHERE projection = $1")
        .bind(flip.replay.name)
        .execute(&mut *connection)
        .await?;
    connection.execute("COMMIT").await?;
    Ok(())
}
