//! How does an export come into a database? It is read twice from one handle, which was opened once: first it is
//! proved whole, then it is written. Until all of it is there a mark among the checkpoints keeps servers away; another
//! one does so until an operator accepts what nobody knows to be all there was.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;

use age::secrecy::SecretString;
use aggregates::AnyEvent;
use projections::TRANSACTIONAL;
use projections::row::Value;

use super::format::{Next, Reader};
use super::{ArchiveError, Broken, Moved, Secrets, check};
use crate::journal::chain::{GENESIS, hex};
use crate::journal::claims::claims;
use crate::journal::engine::{Append, Engine, EngineError, Head, LANE, Outcome, StoredRow, sql};
use crate::journal::feed::{check_versions, stored_versions};
use crate::journal::installation::{INSTALLATION, ROLLBACK_ACCEPTED};
use crate::journal::store::known_type;
use crate::journal::stored::transactional_ops;
use crate::secret::random_bytes;

/// Events of one transaction of an import.
const CHUNK: usize = 512;
/// Stands for an import among the checkpoints while it goes on.
const IMPORTING: &str = "import";
/// Stands there for a log that was brought here, with the roll-backs that had been accepted before.
const RESTORED: &str = "restored";

/// How much is there of a log whose import has begun and not ended, and how much of it there is to be. Half a
/// log looks whole, and lacks the revocations at its end.
pub async fn half_imported(engine: &dyn Engine) -> Result<Option<(i64, i64)>, EngineError> {
    let sql = "SELECT c.position, l.head FROM checkpoints c JOIN lanes l ON l.lane = c.lane WHERE c.projection = $1";
    let rows = engine.query(sql, &[IMPORTING.into()]).await?;
    match rows.first().map(Vec::as_slice) {
        Some([Value::Int(total), Value::Int(there)]) => Ok(Some((*there, *total))),
        Some(_) => Err(EngineError::Damaged("a checkpoint has another shape".to_owned())),
        None => Ok(None),
    }
}

/// How many roll-backs of this log operators have accepted.
pub async fn accepted_rollbacks(engine: &dyn Engine) -> Result<i64, EngineError> {
    let sql = "SELECT count(*) FROM events WHERE aggregate_type = 'installation' AND aggregate_id = $1 \
               AND event_type = $2";
    let rows = engine.query(sql, &[INSTALLATION.into(), ROLLBACK_ACCEPTED.into()]).await?;
    let counted = sql::number(rows, "roll-backs")?;
    counted.ok_or_else(|| EngineError::Damaged("roll-backs cannot be counted".to_owned()))
}

/// Whether nobody knows what had become of this log where it was before, and nobody has accepted that. Every node on
/// this database reads it here; the one that brought it knows it from its note as well.
pub async fn is_restored(engine: &dyn Engine) -> Result<bool, EngineError> {
    match sql::number(engine.query(sql::CHECKPOINT, &[RESTORED.into()]).await?, "checkpoints")? {
        Some(then) => Ok(accepted_rollbacks(engine).await? <= then),
        None => Ok(false),
    }
}

/// Marks it as such, for every node that ever finds this database: it starts on it once somebody has accepted that.
pub async fn mark_restored(engine: &dyn Engine) -> Result<(), EngineError> {
    put(engine, RESTORED, accepted_rollbacks(engine).await?).await
}

async fn put(engine: &dyn Engine, mark: &str, position: i64) -> Result<(), EngineError> {
    engine.execute(sql::PUT_CHECKPOINT, &[mark.into(), LANE.into(), position.into()]).await.map(drop)
}

/// Takes an operator's word that nothing had become of it.
pub async fn accept_as_moved(engine: &dyn Engine) -> Result<(), EngineError> {
    engine.execute(sql::DELETE_CHECKPOINT, &[RESTORED.into()]).await.map(drop)
}

/// An export that was read to its end and found whole, and is still open.
pub struct Proved {
    file: BufReader<File>,
    moved: Moved,
    secrets: Option<Secrets>,
}

impl Proved {
    /// Reads it without writing anything, see [`check`]. Whoever exchanges the file afterwards exchanges nothing of
    /// what is imported.
    pub fn open(path: &Path, passphrase: Option<&SecretString>) -> Result<Self, ArchiveError> {
        let mut file = BufReader::new(File::open(path)?);
        // What cannot be read twice is told before it is read once.
        file.rewind()?;
        let (moved, secrets) = check(&mut file, passphrase)?;
        file.rewind()?;
        Ok(Self { file, moved, secrets })
    }

    /// Makes sure that the database has no history but the beginning of this one, where an import of it was
    /// interrupted, and makes its tables. Another history is left as it is.
    pub async fn begin<'a>(&'a mut self, engine: &'a dyn Engine) -> Result<Import<'a>, ArchiveError> {
        let there = history(engine).await?;
        let mut reader = Reader::new(&mut self.file)?;
        while reader.position < there.position {
            if !matches!(reader.next()?, Next::Event(_)) {
                break;
            }
        }
        let is_its_beginning = |head: &Head| (head.position, head.chain) == (reader.position, reader.chain);
        if !is_its_beginning(&there) {
            return Err(ArchiveError::NotEmpty { head: there.position });
        }
        engine.migrate().await?;
        // Empty tables of another version would be filled by this one's measure, and served by the other's.
        check_versions(&stored_versions(engine).await?, TRANSACTIONAL.iter().copied())?;
        let head = engine.head().await?;
        if !is_its_beginning(&head) {
            return Err(ArchiveError::NotEmpty { head: head.position });
        }
        Ok(Import { engine, reader, epoch: head.epoch, moved: &self.moved, secrets: self.secrets.as_ref() })
    }
}

/// An import into a database that is ready for it.
pub struct Import<'a> {
    engine: &'a dyn Engine,
    reader: Reader<'a>,
    epoch: i64,
    moved: &'a Moved,
    secrets: Option<&'a Secrets>,
}

impl Import<'_> {
    /// What moves with the log, if a passphrase opened it.
    #[must_use]
    pub fn secrets(&self) -> Option<&Secrets> {
        self.secrets
    }

    /// From here on no server starts on the database until the import is [finished](Self::finish).
    pub async fn mark(&self) -> Result<(), EngineError> {
        put(self.engine, IMPORTING, self.moved.events).await
    }

    /// Writes what is not there yet. What was read is held against what was proved: somebody may have written into
    /// the file meanwhile. Then the mark stays.
    pub async fn write(&mut self, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Moved, ArchiveError> {
        if let Some(secrets) = self.secrets {
            secrets.keep(self.engine).await?;
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            match self.reader.next()? {
                Next::Event(row) => chunk.push(append_of(row)?),
                Next::Sealed(_) => {}
                Next::End(_) => break,
            }
            if chunk.len() == CHUNK {
                write(self.engine, self.epoch, &std::mem::take(&mut chunk)).await?;
                progress(self.reader.position.unsigned_abs(), self.moved.events.unsigned_abs());
            }
        }
        write(self.engine, self.epoch, &chunk).await?;
        let head = self.engine.head().await?;
        if (head.position, hex(&head.chain)) != (self.moved.events, self.moved.chain.clone()) {
            return Err(ArchiveError::Chain { what: Broken::Import, position: head.position });
        }
        Ok(self.moved.clone())
    }

    /// Lets servers start, unless somebody has yet to accept that this may not be `all` there was of the log.
    pub async fn finish(self, all: bool) -> Result<(), EngineError> {
        if all {
            accept_as_moved(self.engine).await?;
        } else {
            mark_restored(self.engine).await?;
        }
        self.engine.execute(sql::DELETE_CHECKPOINT, &[IMPORTING.into()]).await.map(drop)
    }
}

/// How far the database's log goes, before its tables are made as well.
async fn history(engine: &dyn Engine) -> Result<Head, EngineError> {
    engine.connect().await?;
    match engine.head().await {
        Err(_) if engine.pending_migrations().await? > 0 => {
            Ok(Head { position: 0, chain: GENESIS, epoch: 0 })
        }
        head => head,
    }
}

/// One transaction.
async fn write(engine: &dyn Engine, epoch: i64, appends: &[Append]) -> Result<(), ArchiveError> {
    if appends.is_empty() {
        return Ok(());
    }
    // Time-ordered ids are for a log that grows for years; these are written once, in order.
    let batch = i64::from_be_bytes(random_bytes::<8>()) & i64::MAX;
    match engine.append(batch, epoch, appends).await? {
        Outcome::Committed(_) => Ok(()),
        Outcome::Lost(_) => {
            Err(EngineError::Refused("an event or a name of the export is taken already".to_owned()).into())
        }
    }
}

/// What the event writes, as when it happened; an error for one that this program cannot have written.
pub fn append_of(row: StoredRow) -> Result<Append, ArchiveError> {
    let Some(aggregate_type) = known_type(&row.aggregate_type) else {
        let reason = format!("streams of type {} are unknown to this program", row.aggregate_type);
        return Err(EngineError::Refused(reason).into());
    };
    let damaged = |reason| EngineError::Damaged(format!("event at position {}: {reason}", row.position));
    let expected = row.sequence.checked_sub(1).filter(|expected| *expected >= 0);
    let expected = expected.ok_or_else(|| damaged(format!("a stream has no event {}", row.sequence)))?;
    let payload = serde_json::from_str(&row.event.payload).map_err(|error| damaged(error.to_string()))?;
    // A read model may pass over what it does not know; whoever wrote it may have claimed a name with it.
    let event =
        AnyEvent::decode(&row.aggregate_type, &row.event.event_type, &row.event.event_version, &payload)
            .map_err(|error| {
                EngineError::Refused(format!("the event at position {}: {error}", row.position))
            })?;
    Ok(Append {
        aggregate_type,
        rows: vec![transactional_ops(&row)?],
        claims: claims(&event),
        aggregate_id: row.aggregate_id,
        expected,
        events: vec![row.event],
        secrets: Vec::new(),
        subject_keys: Vec::new(),
        state: None,
        invalidates: false,
    })
}
