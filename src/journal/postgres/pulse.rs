//! Where does the log stand, and is this node still counted among those that follow it? Asked all the time, in one
//! short statement each.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use tokio::time::Instant;

use super::connections::Connections;
use super::{PostgresEngine, chain};
use crate::journal::engine::{EngineError, LANE, Pulse};

/// A pulse that takes longer is none: whoever waits for it is told so.
const DEADLINE: Duration = Duration::from_millis(500);

/// Where the log stands.
const PULSE: &str = "SELECT head, revision, projection_epoch, \
    CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint), chain, pg_is_in_recovery() \
    FROM lanes WHERE lane = $1";
/// The same with a sign of life, of which it tells whether there was one to give.
const BEAT: &str = "WITH beaten AS (UPDATE nodes SET applied = $3, beats = beats + 1 \
    WHERE node = $2 AND beats > 0 RETURNING node) \
    SELECT head, revision, projection_epoch, \
    CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint), chain, pg_is_in_recovery(), \
    (SELECT count(*) FROM beaten) FROM lanes WHERE lane = $1";

pub(super) async fn pulse(engine: &PostgresEngine) -> Result<Pulse, EngineError> {
    let asked = pulse_of(&engine.pulse, Instant::now() + DEADLINE, Duration::ZERO).await;
    if asked.is_err() {
        connect_for_next_pulse(engine);
    }
    asked
}

/// In one statement: of two, each might be answered by another server.
pub(super) async fn beat(
    engine: &PostgresEngine,
    node: &str,
    applied: i64,
) -> Result<Option<Pulse>, EngineError> {
    let until = engine.until();
    asked_on!(engine.register, until, engine.work_until(until), connection, async {
        let row = sqlx::query(BEAT).bind(LANE).bind(node).bind(applied).fetch_one(connection).await?;
        let is_known = row.try_get::<i64, _>(6)? > 0;
        Ok(if is_known { Some(pulse_in(&row)?) } else { None })
    })
}

/// Far from the database connecting and preparing take longer than a pulse may: they go on for the next one. What there
/// is already is left to that, or it would find it taken each time, and connect in vain.
fn connect_for_next_pulse(engine: &PostgresEngine) {
    if engine.pulse.has_idle() {
        return;
    }
    let Ok(connecting) = Arc::clone(&engine.connecting).try_lock_owned() else { return };
    let (connections, until, work) = (engine.pulse.clone(), engine.until(), engine.deadline / 2);
    tokio::spawn(async move {
        let _connecting = connecting;
        // Asked once, its statement is prepared.
        drop(pulse_of(&connections, until, work).await);
    });
}

/// Asks for the pulse; what was won with a new connection may take `work` from there.
async fn pulse_of(connections: &Connections, until: Instant, work: Duration) -> Result<Pulse, EngineError> {
    asked_on!(connections, until, until.max(Instant::now() + work), connection, fetch_pulse(connection))
}

async fn fetch_pulse(connection: &mut PgConnection) -> Result<Pulse, sqlx::Error> {
    pulse_in(&sqlx::query(PULSE).bind(LANE).fetch_one(connection).await?)
}

fn pulse_in(row: &PgRow) -> Result<Pulse, sqlx::Error> {
    if row.try_get(5)? {
        return Err(sqlx::Error::Protocol("the server is a standby".to_owned()));
    }
    Ok(Pulse {
        position: row.try_get(0)?,
        revision: row.try_get(1)?,
        epoch: row.try_get(2)?,
        clock: Some(row.try_get(3)?),
        chain: chain(row, 4)?,
    })
}
