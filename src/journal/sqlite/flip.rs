//! How do rebuilt tables take the place of the live ones? In one transaction of the writer, beside which
//! nobody writes.

use projections::row::Table;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::append::Texts;
use super::log::batches_after;
use super::{append, sqlite_error};
use crate::journal::engine::{BEGUN, EngineError, Flip, LANE, PAGE, overtaken, shadow_name, sql};
use crate::journal::feed::check_density;

pub(super) fn make_shadows(
    connection: &mut Connection,
    replay: &str,
    tables: &[&'static Table],
) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let epoch: i64 =
        transaction
            .query_row("SELECT projection_epoch FROM lanes WHERE lane = ?1", [LANE], |row| row.get(0))?;
    transaction.execute(sql::TAKE_REPLAYS, [])?;
    transaction.execute(sql::PUT_CHECKPOINT, params![replay, LANE, BEGUN])?;
    for table in tables {
        transaction.execute_batch(&format!("DROP TABLE IF EXISTS {}", shadow_name(table)))?;
        for sql in shadow_sql(&transaction, table, epoch + 1)? {
            transaction.execute_batch(&sql)?;
        }
    }
    transaction.commit()
}

/// The statements that made the table and its indexes, with other names. Indexes cannot be renamed
/// afterwards, so theirs end in the epoch that they are made for.
fn shadow_sql(
    transaction: &Transaction<'_>,
    table: &Table,
    epoch: i64,
) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = transaction.prepare(
        "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ?1 AND sql IS NOT NULL ORDER BY type DESC",
    )?;
    let rows = statement.query_map([table.name], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let shadow = shadow_name(table);
    let mut made = Vec::new();
    for row in rows {
        let (kind, name, sql) = row?;
        let Some((head, body)) = sql.split_once('(') else { continue };
        made.push(if kind == "table" {
            format!("CREATE TABLE {shadow} ({body}")
        } else {
            let unique = if head.contains("UNIQUE") { "UNIQUE " } else { "" };
            let base = name.rsplit_once("_epoch_").map_or(name.as_str(), |(base, _)| base);
            format!("CREATE {unique}INDEX {base}_epoch_{epoch} ON {shadow} ({body}")
        });
    }
    Ok(made)
}

pub(super) fn flip(connection: &mut Connection, flip: &Flip) -> Result<i64, EngineError> {
    let failed = |error: rusqlite::Error| sqlite_error(&error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let head: i64 = transaction
        .query_row("SELECT head FROM lanes WHERE lane = ?1", [LANE], |row| row.get(0))
        .map_err(failed)?;
    let taken = transaction
        .execute(sql::TAKE_CHECKPOINT, params![flip.replay.name, flip.position])
        .map_err(failed)?;
    if taken == 0 {
        return Err(overtaken());
    }
    let mut position = flip.position.max(0);
    let mut texts = Texts::default();
    while position < head {
        let batches = batches_after(&transaction, position, PAGE).map_err(failed)?;
        let Some(last) = check_density(position, &batches)? else { break };
        for op in (flip.ops_of)(&batches)? {
            append::execute(&transaction, &op, &mut texts).map_err(failed)?;
        }
        position = last;
    }
    if position != head {
        return Err(EngineError::Damaged(format!("the head says {head} events, the log has {position}")));
    }
    exchange(&transaction, flip, head).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(head)
}

fn exchange(transaction: &Transaction<'_>, flip: &Flip, head: i64) -> Result<(), rusqlite::Error> {
    for table in &flip.tables {
        transaction.execute_batch(&format!(
            "DROP TABLE {0}; ALTER TABLE {1} RENAME TO {0}",
            table.name,
            shadow_name(table)
        ))?;
    }
    for projection in &flip.projections {
        transaction.execute(sql::PUT_VERSION, params![projection.name, i64::from(projection.version)])?;
    }
    for reached in flip.eventual.iter().copied().chain([flip.mark]) {
        transaction.execute(sql::PUT_CHECKPOINT, params![reached.name, LANE, head])?;
    }
    if flip.projections.len() > flip.eventual.len() {
        transaction.execute(&sql::delete_other_versions(), [])?;
        transaction.execute(sql::MOVE_EPOCH, [LANE])?;
    }
    Ok(())
}
