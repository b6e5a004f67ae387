//! How does a process come to its state? Data directory, root secret, database, journal: the same way
//! for the server and for every command, so that a command never works on another database.

mod engines;
mod rollback;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use projections::row::Value;

use crate::checkpoint::{Checkpoint, RollbackError};
use crate::clock::SharedClock;
use crate::commands::Commands;
use crate::config::{Config, RootSecretSource};
use crate::introduction::{Introduced, bind_root_secret};
use crate::journal::archive::{accepted_rollbacks, half_imported};
use crate::journal::installation::{INSTALLATION, ROOT_SECRET_BOUND, bound_fingerprint};
use crate::journal::{Capacity, Engine, EngineError, Journal, Stale};
use crate::keys::{KeyError, Keys, RootSecret, RootSecretError};
use crate::metrics::Metrics;
use crate::middleware::limits;
use crate::middleware::rate_limit::RateLimits;
use crate::password::{ClientSecretVerifier, PasswordPool};
use crate::personal::PersonalData;
use crate::places::Places;
use crate::sealing::SealedBox;
use crate::state::AppState;
use crate::templates::{TemplateError, Templates};

pub use engines::{lock_exclusively, open_engine, open_engine_to_read, open_patient_engine};
pub use rollback::accept_rollback;

/// Why a process could not come to its state.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be made or used.
    #[error("the data directory {path} cannot be used: {reason}")]
    DataDirectory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The root secret cannot be read or made.
    #[error(transparent)]
    RootSecret(#[from] RootSecretError),
    /// The database was made with another root secret.
    #[error("the root secret is not the one this database was made with")]
    OtherRootSecret,
    /// The root secret could not be held against the log.
    #[error("the root secret could not be held against the log: {0}")]
    Bind(String),
    /// The configuration a server runs with could not be written.
    #[error("the configuration could not be recorded: {0}")]
    Configuration(String),
    /// The server's keys cannot be derived.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The database does not answer, or is damaged.
    #[error("{engine}: {error}")]
    Database {
        /// Which engine.
        engine: &'static str,
        /// What it said.
        error: EngineError,
    },
    /// The tables are older than the program, and it was told not to change them.
    #[error("the database needs {0} migrations, and --no-migrate forbids to run them")]
    MigrationsPending(usize),
    /// The database is not the one that was seen.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    /// An import was interrupted.
    #[error("the database holds {there} of {total} events: its import was interrupted")]
    HalfImported {
        /// Events that are there.
        there: i64,
        /// Events of the export.
        total: i64,
    },
    /// What must happen while nobody answers cannot happen now.
    #[error("{0} servers still answer from this database")]
    Served(usize),
    /// Another process has the embedded database open, or exchanges it.
    #[error("another process is using the embedded database")]
    InUse,
    /// This process may not answer from memory.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// What these keys minted has become invalid while they were derived.
    #[error("a roll-back of this database was accepted in this moment")]
    RollbackMeanwhile,
    /// A template is broken: only after editing the program.
    #[error(transparent)]
    Templates(#[from] TemplateError),
}

/// What everything is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To do something at once.
    Command,
    /// To serve, now or as soon as the read models are this program's.
    Serving,
    /// To go on with a database that is older than what was seen of it.
    AcceptingRollback,
}

/// Opens everything a command needs.
pub async fn open(config: Arc<Config>, clock: SharedClock) -> Result<AppState, OpenError> {
    let engine = open_engine(&config)?;
    open_for(Purpose::Command, engine, config, clock).await
}

/// The same for the server, which has yet to introduce itself to the log (`introduction.rs`).
pub async fn open_to_serve(config: Arc<Config>, clock: SharedClock) -> Result<AppState, OpenError> {
    let engine = open_engine(&config)?;
    open_for(Purpose::Serving, engine, config, clock).await
}

/// The epoch that mints: each accepted roll-back began one. Read before there are keys.
pub(crate) async fn key_epoch(engine: &dyn Engine) -> Result<u8, EngineError> {
    Ok(u8::try_from(accepted_rollbacks(engine).await? + 1).unwrap_or(u8::MAX))
}

/// Opens everything a command needs on a database that is open already.
pub async fn open_on(
    engine: Arc<dyn Engine>,
    config: Arc<Config>,
    clock: SharedClock,
) -> Result<AppState, OpenError> {
    open_for(Purpose::Command, engine, config, clock).await
}

async fn open_for(
    purpose: Purpose,
    engine: Arc<dyn Engine>,
    config: Arc<Config>,
    clock: SharedClock,
) -> Result<AppState, OpenError> {
    let (journal, keys) = open_log(purpose, engine, &config, Arc::clone(&clock)).await?;
    let personal = PersonalData::new(journal.clone(), Arc::clone(&keys));
    let metrics = Metrics::default();
    let admission = Places::new(config.limits.admission_queue, metrics.turned_away("commands"));
    let commands = Commands::new(journal.clone(), personal.clone(), Arc::clone(&clock), admission);
    let workers = NonZeroUsize::new(config.limits.argon2_concurrency).unwrap_or(NonZeroUsize::MIN);
    let passwords = PasswordPool::new(workers, workers.get() * ARGON2_WAITING, metrics.turned_away("argon2"));
    // Each is hashed once a process; people who log in have twice as many.
    let workers_for_secrets = NonZeroUsize::new(workers.get() / 2).unwrap_or(NonZeroUsize::MIN);
    let state = AppState {
        client_secrets: Arc::new(ClientSecretVerifier::new(
            Arc::clone(&keys),
            workers_for_secrets,
            workers_for_secrets.get() * ARGON2_WAITING,
            metrics.turned_away("argon2"),
        )),
        sealed: SealedBox::new(Arc::clone(&keys)),
        templates: Arc::new(Templates::new()?),
        refusals: Arc::default(),
        metrics,
        rate_limits: Arc::new(RateLimits::new(
            config.limits.requests_per_address,
            config.limits.requests_per_client,
        )),
        bodies: limits::Bodies::new(config.limits.body),
        draining: Arc::default(),
        introduced: Introduced::default(),
        origins: Arc::default(),
        config,
        clock,
        keys,
        journal,
        commands,
        personal,
        passwords,
    };
    if purpose != Purpose::Serving {
        bind_root_secret(&state).await?;
    }
    Ok(state)
}

/// The log, and the keys of its epoch, if it is whole, belongs to this root secret, and contains what was seen of it.
async fn open_log(
    purpose: Purpose,
    engine: Arc<dyn Engine>,
    config: &Config,
    clock: SharedClock,
) -> Result<(Journal, Arc<Keys>), OpenError> {
    let name = engine.name();
    let database = |error| OpenError::Database { engine: name, error };
    engine.connect().await.map_err(database)?;
    migrate(config, engine.as_ref()).await?;
    check_whole(engine.as_ref()).await?;
    let has_history = engine.head().await.map_err(database)?.position > 0;
    let epoch = key_epoch(engine.as_ref()).await.map_err(database)?;
    let keys = Arc::new(Keys::derive_minting(&root_secret(config, has_history)?, epoch)?);
    check_root_secret(engine.as_ref(), &keys).await?;
    let was_seen = check_seen(purpose, engine.as_ref(), config, &keys, epoch).await?;
    if has_history && !was_seen {
        tracing::info!(
            "this node sees this database for the first time: of what it was before it knows nothing"
        );
    }
    let journal = open_journal(purpose, engine, config, clock).await.map_err(database)?;
    // A roll-back that was accepted meanwhile, or an import, lies behind what is followed from here on.
    let engine = journal.engine();
    if key_epoch(engine).await.map_err(database)? != epoch {
        return Err(OpenError::RollbackMeanwhile);
    }
    check_whole(engine).await?;
    check_seen(purpose, engine, config, &keys, epoch).await?;
    Ok((journal, keys))
}

/// Whether this node has seen the log before; an error if it lacks something of that, unless that is to be accepted.
async fn check_seen(
    purpose: Purpose,
    engine: &dyn Engine,
    config: &Config,
    keys: &Keys,
    epoch: u8,
) -> Result<bool, OpenError> {
    match purpose {
        Purpose::AcceptingRollback => Ok(true),
        Purpose::Command | Purpose::Serving => {
            Ok(Checkpoint::of(config, keys).check(engine, keys, epoch).await?.is_some())
        }
    }
}

async fn open_journal(
    purpose: Purpose,
    engine: Arc<dyn Engine>,
    config: &Config,
    clock: SharedClock,
) -> Result<Journal, EngineError> {
    let capacity = Capacity { rows: config.limits.row_cache, aggregates: config.limits.aggregate_cache };
    match purpose {
        Purpose::Serving => Journal::open_or_wait(engine, clock, capacity).await,
        Purpose::Command | Purpose::AcceptingRollback => Journal::open(engine, clock, capacity).await,
    }
}

/// Half an import is no log: it lacks the revocations at its end.
pub(crate) async fn check_whole(engine: &dyn Engine) -> Result<(), OpenError> {
    match half_imported(engine).await {
        Ok(None) => Ok(()),
        Ok(Some((there, total))) => Err(OpenError::HalfImported { there, total }),
        Err(error) => Err(OpenError::Database { engine: engine.name(), error }),
    }
}

/// Whether this is the root secret that the log says it belongs to; before it says so, any is.
pub async fn check_root_secret(engine: &dyn Engine, keys: &Keys) -> Result<(), OpenError> {
    let sql = "SELECT payload FROM events WHERE aggregate_type = 'installation' AND aggregate_id = $1 \
               AND event_type = $2 ORDER BY sequence DESC LIMIT 1";
    let rows = engine.query(sql, &[INSTALLATION.into(), ROOT_SECRET_BOUND.into()]).await;
    let rows = rows.map_err(|error| OpenError::Database { engine: engine.name(), error })?;
    let bound = rows.first().and_then(|row| match row.first() {
        Some(Value::Text(payload)) => bound_fingerprint(payload),
        Some(Value::Null | Value::Int(_)) | None => None,
    });
    if bound.is_none_or(|bound| bound == keys.fingerprint()) {
        Ok(())
    } else {
        Err(OpenError::OtherRootSecret)
    }
}

/// Passwords that may wait for each one being hashed: about half a second of work.
const ARGON2_WAITING: usize = 32;

async fn migrate(config: &Config, engine: &dyn Engine) -> Result<(), OpenError> {
    let database = |error| OpenError::Database { engine: engine.name(), error };
    let pending = engine.pending_migrations().await.map_err(database)?;
    match (pending, config.migrate) {
        (0, _) => Ok(()),
        (pending, false) => Err(OpenError::MigrationsPending(pending)),
        (_, true) => engine.migrate().await.map(|_| ()).map_err(database),
    }
}

/// A new one is made only for a new log: beside an old one it could read nothing, and would look like
/// the one that was lost.
pub fn root_secret(config: &Config, has_history: bool) -> Result<RootSecret, OpenError> {
    match &config.root_secret {
        RootSecretSource::File(path) if has_history => Ok(RootSecret::load(path)?),
        RootSecretSource::File(path) => {
            make_private_directory(path.parent().unwrap_or(Path::new(".")))?;
            Ok(RootSecret::load_or_create(path)?)
        }
        RootSecretSource::Given(text) => Ok(RootSecret::from_text(text.expose())?),
    }
}

pub(crate) fn make_private_directory(path: &Path) -> Result<(), OpenError> {
    let failed = |reason| OpenError::DataDirectory { path: path.to_owned(), reason };
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(failed)
}
