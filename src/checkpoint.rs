//! Is this the database that this node has seen? (F21)
//!
//! A restored backup brings revoked tokens back to life and forgets what was promised. So each node notes,
//! in a file outside the database and under a MAC of a server key, how far it has seen the log and what the
//! chain was there. A log that is shorter, or another one, is refused until an operator accepts it with
//! `chancery acceptrollback`, which makes everything that was issued before invalid.
//!
//! The notes are outside of the data directory (`checkpoint-dir`): an old copy of all of that would bring an old note
//! along. Where they were kept there before, they are still read.
//!
//! A note says how far this node has followed the log, not where a database says that it ends: the one that
//! answers may be another by then. It is about a log, wherever that is: one that was restored under another name is
//! held against it as well. One acceptance is enough for all nodes: it begins a new key epoch, and a note of an
//! earlier epoch has nothing to say any more.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::{Config, Database};
use crate::journal::archive::is_restored;
use crate::journal::chain::{GENESIS, fold, hex};
use crate::journal::history::chain_at;
use crate::journal::{Engine, EngineError, Journal};
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
    /// Which log: the chain after its first event, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// The key epoch then: one more than roll-backs that were accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u8>,
    /// Whether this is no more than what a backup held that was restored where nobody had seen the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restored: bool,
    /// Authenticates all of it, and which root secret it belongs to.
    mac: String,
}

impl Noted {
    /// Of a log that is still to be named, and without its MAC.
    fn new(position: i64, chain: [u8; 32], epoch: u8) -> Self {
        Self {
            position,
            chain: hex(&chain),
            log: None,
            epoch: Some(epoch),
            restored: false,
            mac: String::new(),
        }
    }

    /// What the MAC is over; a note of before logs were named has no more than its place.
    fn text_to_authenticate(&self, keys: &Keys) -> String {
        let Self { position, chain, log, epoch, restored, mac: _ } = self;
        let fingerprint = keys.fingerprint();
        match (log, epoch) {
            (Some(log), Some(epoch)) => format!("{position} {chain} {fingerprint} {log} {epoch} {restored}"),
            _ => format!("{position} {chain} {fingerprint}"),
        }
    }
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
    /// A backup was restored where nobody had seen the log.
    #[error(
        "the database was restored from a backup, and what was revoked after the backup is not known here"
    )]
    Restored,
    /// Somebody changed the note.
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
            RollbackError::Restored => {
                "Run `chancery acceptrollback`: every code, token and session issued before becomes invalid. Nothing \
                 was written."
            }
            RollbackError::Shorter { .. } | RollbackError::Different { .. } => {
                "Stop every server of this installation. If the database was restored from a backup on purpose, run \
                 `chancery acceptrollback` once, on one node: every code, token and session issued before becomes \
                 invalid, because some of them may have been revoked after the backup. Otherwise bring the right \
                 database back, or name it with --database-url or --data-dir. Nothing was written."
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
    /// Where it may have been before.
    data_dir: PathBuf,
}

impl Checkpoint {
    /// Where this configuration's note is: one file a database and a root secret. Whoever begins anew with
    /// another one has seen nothing.
    #[must_use]
    pub fn of(config: &Config, keys: &Keys) -> Self {
        let place = match &config.database {
            Database::Embedded(_) => String::new(),
            Database::Postgres(url) => url.place(),
        };
        let name = digest(&SHA256, format!("{} {place}", keys.fingerprint()).as_bytes());
        let name = format!("checkpoint-{}.json", hex(name.as_ref().get(..8).unwrap_or_default()));
        Self { path: config.checkpoint_dir.join(name), data_dir: config.data_dir.clone() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far the log was seen by this note; `None` before there is one.
    pub fn seen(&self, keys: &Keys) -> Result<Option<i64>, RollbackError> {
        Ok(read(&self.path, keys)?.map(|noted| noted.position))
    }

    /// The same by any note of this node.
    pub async fn seen_anywhere(
        &self,
        engine: &dyn Engine,
        keys: &Keys,
    ) -> Result<Option<i64>, RollbackError> {
        Ok(self.notes(engine, keys).await?.iter().map(|noted| noted.position).max())
    }

    /// Whether the database contains what was seen of its log, here or under another name; `epoch` is its key
    /// epoch. Returns how far that was: 0 if it was before a roll-back that has been accepted since, nothing if this
    /// node has never seen it.
    pub async fn check(
        &self,
        engine: &dyn Engine,
        keys: &Keys,
        epoch: u8,
    ) -> Result<Option<i64>, RollbackError> {
        let mut seen = None;
        for noted in self.notes(engine, keys).await? {
            seen = seen.max(Some(contains(engine, &noted, epoch).await?));
        }
        if is_restored(engine).await? {
            return Err(RollbackError::Restored);
        }
        Ok(seen)
    }

    /// The latest key epoch that this node has noted of this log; nothing where a note cannot be read, or was forged.
    pub async fn latest_epoch(&self, engine: &dyn Engine, keys: &Keys) -> Option<u8> {
        self.notes(engine, keys).await.ok()?.into_iter().filter_map(|noted| noted.epoch).max()
    }

    /// What this node has noted of this place, and of this log elsewhere.
    async fn notes(&self, engine: &dyn Engine, keys: &Keys) -> Result<Vec<Noted>, RollbackError> {
        let log = log_of(engine).await?;
        let mut notes: Vec<Noted> = read(&self.path, keys)?.into_iter().collect();
        // What is not ours, or was damaged, has nothing to say of this log.
        let elsewhere = self.others()?.into_iter().filter_map(|path| read(&path, keys).ok().flatten());
        notes.extend(elsewhere.filter(|noted| noted.log.is_some() && noted.log == log));
        Ok(notes)
    }

    /// Notes how far this process has followed the log, unless another one has noted more of it.
    pub async fn note(&self, journal: &Journal, keys: &Keys, epoch: u8) -> Result<i64, RollbackError> {
        let (position, chain) = journal.followed().await;
        self.put(journal.engine(), keys, Noted::new(position, chain, epoch)).await
    }

    /// Notes that the log was restored, and that nobody here knows what it had become after the backup.
    pub async fn note_restored(
        &self,
        engine: &dyn Engine,
        keys: &Keys,
        epoch: u8,
    ) -> Result<i64, RollbackError> {
        let head = engine.head().await?;
        let noted = Noted { restored: true, ..Noted::new(head.position, head.chain, epoch) };
        self.put(engine, keys, noted).await
    }

    async fn put(&self, engine: &dyn Engine, keys: &Keys, mut noted: Noted) -> Result<i64, RollbackError> {
        let before = match read(&self.path, keys) {
            Ok(before) => before,
            // What somebody else wrote into its place is none.
            Err(RollbackError::Forged(_)) => None,
            Err(error) => return Err(error),
        };
        noted.log = log_of(engine).await?;
        if let Some(before) = before.filter(|before| before.epoch == noted.epoch) {
            // The database that answers now may be another one already than what was followed.
            if before.log.is_some() && before.log != noted.log {
                return Err(RollbackError::Different { seen: before.position });
            }
            if before.position > noted.position {
                return Ok(before.position);
            }
        }
        noted.mac = keys.checkpoint_mac(&noted.text_to_authenticate(keys));
        self.write(&noted).map_err(|reason| failed(&self.path, reason))?;
        Ok(noted.position)
    }

    /// The notes about other places.
    fn others(&self) -> Result<Vec<PathBuf>, RollbackError> {
        let mut notes = match self.path.parent() {
            Some(directory) if directory != self.data_dir => notes_in(directory)?,
            Some(_) | None => Vec::new(),
        };
        notes.extend(notes_in(&self.data_dir)?);
        notes.retain(|path| *path != self.path);
        Ok(notes)
    }

    /// Whole or not at all: a new file takes the place of the old one.
    fn write(&self, noted: &Noted) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
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
}

fn notes_in(directory: &Path) -> Result<Vec<PathBuf>, RollbackError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(directory, error)),
    };
    let is_note = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        stem.starts_with("checkpoint") && path.extension().is_some_and(|end| end == "json")
    };
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_note).collect())
}

fn read(path: &Path, keys: &Keys) -> Result<Option<Noted>, RollbackError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    let forged = || RollbackError::Forged(path.to_owned());
    let noted: Noted = serde_json::from_str(&text).map_err(|_| forged())?;
    let mac = keys.checkpoint_mac(&noted.text_to_authenticate(keys));
    if crate::secret::constant_time_eq(mac.as_bytes(), noted.mac.as_bytes()) {
        Ok(Some(noted))
    } else {
        Err(forged())
    }
}

/// Whether the database contains what was noted, or somebody has accepted since that it does not, upon which the note
/// says nothing (0) any more.
async fn contains(engine: &dyn Engine, noted: &Noted, epoch: u8) -> Result<i64, RollbackError> {
    if noted.epoch.is_some_and(|then| epoch > then) {
        return Ok(0);
    }
    let head = engine.head().await?;
    if head.position < noted.position {
        return Err(RollbackError::Shorter { head: head.position, seen: noted.position });
    }
    let chain = chain_at(engine, noted.position).await?;
    if chain.map(|chain| hex(&chain)).as_ref() != Some(&noted.chain) {
        return Err(RollbackError::Different { seen: noted.position });
    }
    if noted.restored { Err(RollbackError::Restored) } else { Ok(noted.position) }
}

/// What tells this log from any other; nothing before its first event.
async fn log_of(engine: &dyn Engine) -> Result<Option<String>, EngineError> {
    let first = engine.batches_after(0, 1).await?.into_iter().flat_map(|batch| batch.events).next();
    Ok(first.map(|row| hex(&fold(&GENESIS, &row.leaf()))))
}

fn failed(path: &Path, reason: io::Error) -> RollbackError {
    RollbackError::File { path: path.to_owned(), reason }
}

/// Notes how far the log goes, every few seconds and when the server stops.
pub(crate) async fn follow(state: AppState, mut stopping: watch::Receiver<bool>) {
    let checkpoint = Checkpoint::of(&state.config, &state.keys);
    let epoch = state.keys.current().number();
    let (mut noted, mut was_noted) = (-1, true);
    loop {
        let stops = tokio::select! {
            () = tokio::time::sleep(EVERY) => false,
            _ = stopping.wait_for(|stopping| *stopping) => true,
        };
        if state.journal.applied() != noted && state.journal.vouch().is_ok() {
            match checkpoint.note(&state.journal, &state.keys, epoch).await {
                Ok(position) => (noted, was_noted) = (position, true),
                Err(error) => {
                    if was_noted {
                        tracing::error!(
                            %error,
                            what_to_do = error.advice(),
                            "how far the log goes cannot be noted: a database that is rolled back would not be seen"
                        );
                    }
                    was_noted = false;
                }
            }
        }
        if stops {
            return;
        }
    }
}
