//! Is this the database that this node has seen? (FAULTS F21)
//!
//! A restored backup brings revoked tokens back to life and forgets what was promised. So each node notes,
//! in a file outside the database and under a MAC of a server key, how far it has seen the log and what the
//! chain was there. A log that is shorter, or another one, is refused until an operator accepts it with
//! `chancery acceptrollback`, which makes everything that was issued before invalid.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::{Config, Database};
use crate::journal::chain::hex;
use crate::journal::history::chain_at;
use crate::journal::{Engine, EngineError};
use crate::keys::Keys;
use crate::secret::random_bytes;
use crate::state::AppState;

/// How often it is noted.
const EVERY: Duration = Duration::from_secs(5);

/// How far the log was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// The last event.
    position: i64,
    /// The chain after it, in hexadecimal.
    chain: String,
    /// Authenticates both, and which root secret they belong to.
    mac: String,
}

/// Why a database is not the one that was seen.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// Events that were seen are not there.
    #[error("the database is older than what this node has seen of it: it has {head} events, and had {seen}")]
    Shorter {
        /// The last event there is.
        head: i64,
        /// The last event that was seen.
        seen: i64,
    },
    /// Another history.
    #[error(
        "the database holds another history than the one this node has seen: they differ at or before event {seen}"
    )]
    Different {
        /// The last event that was seen.
        seen: i64,
    },
    /// Somebody changed the note, or it was made with another root secret.
    #[error("{} was not written by this installation", .0.display())]
    Forged(PathBuf),
    /// The note cannot be read or written.
    #[error("{} cannot be used: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The database does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl RollbackError {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            RollbackError::Shorter { .. } | RollbackError::Different { .. } => {
                "If the database was restored from a backup on purpose, run `chancery acceptrollback`: every code, \
                 token and session issued before becomes invalid, because some of them may have been revoked \
                 after the backup. Otherwise bring the right database back, or name it with --database-url or \
                 --data-dir. Nothing was written."
            }
            RollbackError::Forged(_) => {
                "Find out who changed it. `chancery acceptrollback` writes a new one and makes everything issued \
                 before invalid."
            }
            RollbackError::File { .. } => "Give this user the right to read and write it.",
            RollbackError::Engine(_) => {
                "See whether the database is running and can be reached by this user, then start again."
            }
        }
    }
}

/// The note of one node about one database.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
}

impl Checkpoint {
    /// Where this configuration's note is: in the data directory, one file a database.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let name = match &config.database {
            Database::Embedded(_) => "checkpoint.json".to_owned(),
            Database::Postgres(url) => {
                let place = digest(&SHA256, url.place().as_bytes());
                format!("checkpoint-{}.json", hex(place.as_ref().get(..8).unwrap_or_default()))
            }
        };
        Self { path: config.data_dir.join(name) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far the log was seen; `None` before the first note.
    pub fn seen(&self, keys: &Keys) -> Result<Option<i64>, RollbackError> {
        Ok(self.read(keys)?.map(|noted| noted.position))
    }

    /// Whether the database contains what was seen of it.
    pub async fn check(&self, engine: &dyn Engine, keys: &Keys) -> Result<(), RollbackError> {
        let Some(noted) = self.read(keys)? else { return Ok(()) };
        let head = engine.head().await?;
        if head.position < noted.position {
            return Err(RollbackError::Shorter { head: head.position, seen: noted.position });
        }
        if chain_at(engine, noted.position).await?.map(|chain| hex(&chain)) != Some(noted.chain) {
            return Err(RollbackError::Different { seen: noted.position });
        }
        Ok(())
    }

    /// Notes where the log ends now. Another node may have noted less; nobody notes less than there is.
    pub async fn note(&self, engine: &dyn Engine, keys: &Keys) -> Result<i64, RollbackError> {
        let head = engine.head().await?;
        let (position, chain) = (head.position, hex(&head.chain));
        let mac = keys.checkpoint_mac(&authenticated(position, &chain, keys));
        self.write(&Noted { position, chain, mac }).map_err(|reason| self.failed(reason))?;
        Ok(position)
    }

    fn read(&self, keys: &Keys) -> Result<Option<Noted>, RollbackError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let noted: Noted =
            serde_json::from_str(&text).map_err(|_| RollbackError::Forged(self.path.clone()))?;
        let mac = keys.checkpoint_mac(&authenticated(noted.position, &noted.chain, keys));
        if crate::secret::constant_time_eq(mac.as_bytes(), noted.mac.as_bytes()) {
            Ok(Some(noted))
        } else {
            Err(RollbackError::Forged(self.path.clone()))
        }
    }

    /// Whole or not at all: a new file takes the place of the old one.
    fn write(&self, noted: &Noted) -> io::Result<()> {
        let beside = self.path.with_extension(format!("{}.new", hex(&random_bytes::<4>())));
        let text = format!("{}\n", serde_json::to_string(noted)?);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options
            .open(&beside)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            // A full disk is not to be filled further, again and again.
            let _ = fs::remove_file(&beside);
        }
        written?;
        self.path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }

    fn failed(&self, reason: io::Error) -> RollbackError {
        RollbackError::File { path: self.path.clone(), reason }
    }
}

fn authenticated(position: i64, chain: &str, keys: &Keys) -> String {
    format!("{position} {chain} {}", keys.fingerprint())
}

/// Notes how far the log goes, every few seconds and when the server stops.
pub(crate) async fn follow(state: AppState, mut stopping: watch::Receiver<bool>) {
    let checkpoint = Checkpoint::of(&state.config);
    let mut noted = -1;
    loop {
        let stops = tokio::select! {
            () = tokio::time::sleep(EVERY) => false,
            _ = stopping.wait_for(|stopping| *stopping) => true,
        };
        if state.journal.applied() != noted && state.journal.vouch().is_ok() {
            match checkpoint.note(state.journal.engine(), &state.keys).await {
                Ok(position) => noted = position,
                Err(error) => tracing::warn!(%error, "how far the log goes could not be noted"),
            }
        }
        if stops {
            return;
        }
    }
}
