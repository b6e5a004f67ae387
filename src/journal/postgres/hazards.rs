//! What may lose what was acknowledged, or keep others from writing? Asked of the server as it stands, in one look.

use sqlx::{PgConnection, Row as _};

use crate::journal::engine::{Awaited, Hazards, Replication};

/// Whoever is not a member of `pg_monitor` sees that there are standbys, and nothing else of them.
pub(super) async fn hazards(connection: &mut PgConnection) -> Result<Hazards, sqlx::Error> {
    let row = sqlx::query(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), \
                current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), \
                CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint), \
                s.standbys, s.synchronous, s.hidden, \
                (SELECT CAST(setting AS bigint) NOT BETWEEN 1 AND 2000 FROM pg_settings \
                 WHERE name = 'idle_in_transaction_session_timeout'), \
                (SELECT CAST(coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) AS bigint) \
                 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
                 AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)), \
                CAST(pg_notification_queue_usage() * 100 AS bigint) \
         FROM (SELECT count(*) AS standbys, count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) AS synchronous, \
                      count(*) FILTER (WHERE sync_state IS NULL) AS hidden \
               FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup') s",
    )
    .fetch_one(connection)
    .await?;
    let text = |index: usize| row.try_get::<String, _>(index);
    let commit = text(2)?;
    let mut switched_off = Vec::new();
    for (name, setting) in
        [("fsync", text(0)?), ("full_page_writes", text(1)?), ("synchronous_commit", commit.clone())]
    {
        if setting == "off" {
            switched_off.push(name);
        }
    }
    let awaits = match commit.as_str() {
        _ if text(3)?.trim().is_empty() => Awaited::Nothing,
        "off" | "local" => Awaited::Nothing,
        "remote_write" => Awaited::Memory,
        _ => Awaited::Disk,
    };
    let replication = Replication {
        awaits,
        setting: commit,
        named: text(3)?,
        standbys: row.try_get(5)?,
        synchronous: row.try_get(6)?,
        hidden: row.try_get(7)?,
    };
    Ok(Hazards {
        switched_off,
        waits_too_long: row.try_get(8)?,
        oldest_transaction: row.try_get(9)?,
        unheard: row.try_get(10)?,
        clock: Some(row.try_get(4)?),
        replication: Some(replication),
    })
}
