//! How does an operator accept that a log ends before what was seen of it?

use std::sync::Arc;
use std::time::Duration;

use aggregates::installation::{Installation, InstallationCommand};

use super::engines::{Pace, lock_exclusively, open_engine_under};
use super::{OpenError, Purpose, key_epoch, open_for};
use crate::checkpoint::{Checkpoint, RollbackError};
use crate::clock::SharedClock;
use crate::commands::{Actor, Origin, Stream};
use crate::config::{Config, Database};
use crate::journal::installation::INSTALLATION;
use crate::journal::lease::list_registered;
use crate::journal::{Engine, EngineError};

/// Longer than between two signs of life of a process that answers.
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);

/// Goes on with a log that ends before what was seen of it; everything issued before is invalid from then
/// on. Returns the events that are gone; nothing when the log contains all that was seen of it, so that there
/// is nothing to accept, unless `is_restored`: the operator's word that it was brought back all the same.
pub async fn accept_rollback(
    config: Arc<Config>,
    clock: SharedClock,
    is_restored: bool,
) -> Result<Option<i64>, OpenError> {
    let alone = match config.database {
        Database::Embedded(_) => Some(lock_exclusively(&config)?),
        Database::Postgres(_) => None,
    };
    let engine = open_engine_under(alone, &config, Pace::InTime)?;
    let name = engine.name();
    let database = |error| OpenError::Database { engine: name, error };
    match still_answering(engine.as_ref()).await.map_err(database)? {
        0 => {}
        servers => return Err(OpenError::Served(servers)),
    }
    let state = open_for(Purpose::AcceptingRollback, engine, Arc::clone(&config), clock).await?;
    let checkpoint = Checkpoint::of(&config, &state.keys);
    let (engine, epoch) = (state.journal.engine(), state.keys.current().number());
    match checkpoint.check(engine, &state.keys, epoch).await {
        Ok(Some(_)) if !is_restored => return Ok(None),
        Err(error @ (RollbackError::File { .. } | RollbackError::Engine(_))) => return Err(error.into()),
        // A note that somebody changed tells nothing; what is there is all there is.
        Ok(_)
        | Err(
            RollbackError::Shorter { .. }
            | RollbackError::Different { .. }
            | RollbackError::Restored
            | RollbackError::Forged(_),
        ) => {}
    }
    let head = engine.head().await.map_err(database)?;
    let seen = checkpoint.seen_anywhere(engine, &state.keys).await.ok().flatten().unwrap_or(head.position);
    let command = InstallationCommand::AcceptRollback { seen, head: head.position, at: state.clock.now() };
    // A copy from before an earlier acceptance is of the same epoch after this one as what was noted since.
    let noted = checkpoint.latest_epoch(engine, &state.keys).await;
    let mut accepted = epoch;
    while accepted == epoch || noted.is_some_and(|noted| accepted <= noted) {
        let origin = Origin::internal(Actor::Operator, &state.clock);
        let stream = Stream::Existing(INSTALLATION.to_owned());
        let executed = state.commands.execute::<Installation>(stream, command.clone(), &origin).await;
        executed.map_err(|error| OpenError::Bind(error.to_string()))?;
        accepted = key_epoch(engine).await.map_err(database)?;
    }
    checkpoint.note(&state.journal, &state.keys, accepted).await?;
    Ok(Some((seen - head.position).max(0)))
}

/// How many processes answer from this database: those that still give signs of life. One that was killed, or
/// that a backup brought along, gives none.
async fn still_answering(engine: &dyn Engine) -> Result<usize, EngineError> {
    if engine.pending_migrations().await? > 0 {
        return Ok(0);
    }
    let before = list_registered(engine).await?;
    if before.is_empty() {
        return Ok(0);
    }
    tokio::time::sleep(SIGN_OF_LIFE).await;
    let after = list_registered(engine).await?;
    Ok(after.iter().filter(|one| !before.contains(one)).count())
}
