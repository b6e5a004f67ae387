//! What must a database do for the journal? One trait, two engines ([`super::postgres`],
//! [`super::sqlite`]), and the plain data that goes between.

mod append;
mod flip;
mod hazards;
pub(super) mod sql;

use std::path::Path;
use std::sync::Arc;

use aggregates::{AnyEvent, DecodeError};
use async_trait::async_trait;
use projections::projection::Projection;
use projections::read::ReadError;
use projections::row::{Row, RowOp, Table, Value};

pub use self::append::{
    Append, Claim, Committed, Lost, Outcome, SecretOp, StateRow, SubjectKeyRow, last_invalidating, leaves,
};
pub(super) use self::flip::overtaken;
pub use self::flip::{BEGUN, Flip, OpsOf, shadow_name};
pub use self::hazards::{Awaited, Hazards, Replication};
use super::chain::leaf;

/// The single chain used today. Every table with a position has the column.
pub const LANE: i64 = 0;

/// Events read at a time by whoever walks through the log.
pub const PAGE: i64 = 4096;

/// Rows of a read model read at a time by whoever is to hold them all: the largest have some 60 KB.
pub const LIVING_PAGE: i64 = 256;

/// An event ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Dotted name.
    pub event_type: String,
    /// Version of the payload.
    pub event_version: String,
    /// JSON text, hashed as it stands.
    pub payload: String,
    /// JSON text of string values, hashed as it stands; the events of one command share it.
    pub metadata: Arc<str>,
}

/// An event as it is stored, with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Place in the log, counted from 1.
    pub position: i64,
    /// Kind of stream.
    pub aggregate_type: String,
    /// Which stream.
    pub aggregate_id: String,
    /// Place in the stream, counted from 1.
    pub sequence: i64,
    /// What, in which version, with what.
    pub event: NewEvent,
}

impl StoredRow {
    /// What it is in the chain.
    #[must_use]
    pub fn leaf(&self) -> [u8; 32] {
        leaf(&self.aggregate_type, &self.aggregate_id, self.sequence, &self.event)
    }

    /// What happened, of whichever aggregate. A payload that is no JSON is damaged.
    pub fn decode(&self) -> Result<AnyEvent, DecodeError> {
        let NewEvent { event_type, event_version, .. } = &self.event;
        AnyEvent::decode(&self.aggregate_type, event_type, event_version, &self.payload()?)
    }

    /// Its payload as JSON, for whoever knows of which aggregate it is.
    pub(super) fn payload(&self) -> Result<serde_json::Value, DecodeError> {
        serde_json::from_str(&self.event.payload).map_err(|error| DecodeError::Damaged {
            event_type: self.event.event_type.clone(),
            event_version: self.event.event_version.clone(),
            reason: error.to_string(),
        })
    }
}

/// One batch of the log: what the chain was folded over in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// Position of its first event.
    pub first: i64,
    /// How many events the batch says it has.
    pub count: i64,
    /// The chain after its last event.
    pub chain: Vec<u8>,
    /// Its events by index.
    pub events: Vec<StoredRow>,
}

/// What is said of an answer that was not there in time.
pub(super) const LATE: &str = "no answer in time";

/// Why a database call failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nothing was written: no connection, or refused before the commit.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The connection was lost or given up while committing: written or not, nobody knows yet.
    #[error("the database did not say whether it committed: {0}")]
    Unknown(String),
    /// The statement itself was refused; nothing was written.
    #[error("the database refused: {0}")]
    Refused(String),
    /// Another program version writes other read models: this node must reload.
    #[error("the read models of this database belong to another epoch")]
    EpochMoved,
    /// The tables of a read model were made by another version of it.
    #[error(
        "the read model {projection} is of version {stored} in the database and of version {own} in this program"
    )]
    OtherVersion {
        /// Which.
        projection: String,
        /// The version of the tables.
        stored: i64,
        /// This program's.
        own: i64,
    },
    /// A later version of the program wrote an event that this one does not know.
    #[error("event at position {position}: only a later version of this program knows {event_type}")]
    Later {
        /// Where it is.
        position: i64,
        /// What it is called.
        event_type: String,
    },
    /// What is stored does not have the shape it must have.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl EngineError {
    /// No answer was there in time.
    pub(super) fn late() -> Self {
        Self::Unavailable(LATE.to_owned())
    }
}

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        ReadError::Unavailable { reason: error.to_string() }
    }
}

/// The head of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Position of the last event; 0 when there is none.
    pub position: i64,
    /// The chain after it.
    pub chain: [u8; 32],
    /// The projection epoch that writers must match.
    pub epoch: i64,
}

/// What rows were read as of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    /// The last event before it was.
    pub position: i64,
    /// The projection epoch of its table.
    pub epoch: i64,
}

impl AsOf {
    /// A connection may lead to a standby, or to a primary that is none any more: what it answers from before what
    /// this process has applied would be remembered, and nothing that happened since would ever change it.
    pub(in crate::journal) fn check_not_before(self, applied: i64) -> Result<(), EngineError> {
        if self.position < applied {
            return Err(EngineError::Unavailable(format!(
                "a connection leads to a server that is behind: it is at event {}, and {applied} is known",
                self.position
            )));
        }
        Ok(())
    }
}

/// What a process that answers from memory asks again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Position of the last event.
    pub position: i64,
    /// Position of the last event that ended something.
    pub revision: i64,
    /// The projection epoch that writers must match.
    pub epoch: i64,
    /// What time it is to the database, in milliseconds since 1970; `None` on the same machine.
    pub clock: Option<i64>,
    /// The chain after the last event.
    pub chain: [u8; 32],
}

/// What became of rows of an eventual projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advanced {
    /// They are written.
    Written,
    /// Nothing: another node had moved the checkpoint.
    Overtaken,
    /// Nothing: the tables are of this version.
    OfOtherVersion(i64),
}

impl Advanced {
    pub(super) fn into_result(self, projection: &Projection) -> Result<bool, EngineError> {
        match self {
            Self::Written => Ok(true),
            Self::Overtaken => Ok(false),
            Self::OfOtherVersion(stored) => Err(EngineError::OtherVersion {
                projection: projection.name.to_owned(),
                stored,
                own: i64::from(projection.version),
            }),
        }
    }
}

/// A database that keeps the log, the read models and what goes with them.
#[async_trait]
pub trait Engine: Send + Sync {
    /// `PostgreSQL` or `SQLite`, for people.
    fn name(&self) -> &'static str;

    /// Whether another copy of this database may have taken its place unseen, as when a standby was promoted:
    /// then only what it commits shows that it is still the one, and not what it reads.
    fn may_be_replaced(&self) -> bool {
        true
    }

    /// Makes the first connections, which nobody is in a hurry for; in the words of whoever refuses them, why not.
    async fn connect(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Whether the database can be reached at all, and in the words of whoever refuses it why not.
    async fn reach(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Waits until a part of the engine has ended without which it does nothing any more, and says which. None does
    /// unless it is broken.
    async fn ended(&self) -> &'static str {
        std::future::pending().await
    }

    /// What may cost what was acknowledged; nothing is where the engine does not depend on settings.
    async fn hazards(&self) -> Result<Hazards, EngineError> {
        Ok(Hazards::default())
    }

    /// Creates or advances the tables; returns how many migrations ran.
    async fn migrate(&self) -> Result<usize, EngineError>;

    /// How many migrations are still to be run.
    async fn pending_migrations(&self) -> Result<usize, EngineError>;

    /// Writes a batch in one transaction, in order, or nothing at all. `batch` is its id, by which
    /// [`Self::find_batch`] knows it; `epoch` is the projection epoch that its rows were made for.
    ///
    /// Fails with `EpochMoved` when the lane is of another epoch, `Refused` when a statement was, and `Unknown` when
    /// nobody knows whether the COMMIT came through: only then may it have been written.
    async fn append(&self, batch: i64, epoch: i64, appends: &[Append]) -> Result<Outcome, EngineError>;

    /// Whether a batch became durable: settles an unknown outcome.
    async fn find_batch(&self, batch: i64) -> Result<Option<Committed>, EngineError>;

    /// The events of a stream after a sequence, in order.
    async fn load_stream(
        &self,
        aggregate_type: &'static str,
        aggregate_id: &str,
        after: i64,
    ) -> Result<Vec<StoredRow>, EngineError> {
        let rows =
            self.query(sql::STREAM, &[aggregate_type.into(), aggregate_id.into(), after.into()]).await?;
        rows.into_iter().map(sql::event).collect()
    }

    /// The latest state row of a stream.
    async fn find_state(
        &self,
        aggregate_type: &'static str,
        aggregate_id: &str,
    ) -> Result<Option<StateRow>, EngineError> {
        sql::state(self.query(sql::STATE, &[aggregate_type.into(), aggregate_id.into()]).await?)
    }

    /// Whole batches after a position, in order: those that begin within `limit` events, and in any case the
    /// next one.
    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<StoredBatch>, EngineError>;

    /// The end of the log.
    async fn head(&self) -> Result<Head, EngineError>;

    /// Where the log stands, on a connection that no other work can hold, and in half a second or not at all.
    async fn pulse(&self) -> Result<Pulse, EngineError>;

    /// Waits until it is worth while to ask for the pulse, as another process has ended something. That may be said
    /// late or not at all, and is never said where others are not heard of.
    async fn hint(&self) {
        std::future::pending::<()>().await;
    }

    /// Whether hints come at this time, as far as is known.
    fn hears_hints(&self) -> bool {
        false
    }

    /// A sign of life of a registered process, which has applied so much, and where the log stands by the very server
    /// that took it; nothing of a process that is not registered, or was told that it will be counted out.
    async fn beat(&self, node: &str, applied: i64) -> Result<Option<Pulse>, EngineError> {
        match self.execute(sql::BEAT, &[node.into(), applied.into()]).await? {
            0 => Ok(None),
            _ => self.pulse().await.map(Some),
        }
    }

    /// A row by its key together with what it is as of, in one snapshot.
    async fn find_row(&self, table: &'static Table, key: &str) -> Result<(Option<Row>, AsOf), EngineError> {
        let (mut rows, as_of) = sql::found_as_of(self.query(&sql::row_of(table), &[key.into()]).await?)?;
        Ok((rows.pop(), as_of))
    }

    /// All rows of a table in key order together with what they are as of, in one snapshot.
    async fn all_rows(&self, table: &'static Table) -> Result<(Vec<Row>, AsOf), EngineError> {
        sql::found_as_of(self.query(&sql::rows_of(table), &[]).await?)
    }

    /// A page of the rows that memory is to hold, in key order, together with what they are as of, in one snapshot:
    /// those after a key, [`LIVING_PAGE`] at most.
    async fn living_rows(&self, table: &'static Table, after: &str) -> Result<(Vec<Row>, AsOf), EngineError> {
        sql::found_as_of(self.query(&sql::living_rows_of(table), &[after.into(), LIVING_PAGE.into()]).await?)
    }

    /// A portable query.
    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, EngineError>;

    /// A portable statement beside the log (registers of processes, never events); rows it changed. Where a
    /// connection breaks it may be executed twice.
    async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64, EngineError>;

    /// A verifier by its id.
    async fn find_secret(&self, id: &str) -> Result<Option<String>, EngineError> {
        sql::text(self.query(sql::SECRET, &[id.into()]).await?, "secrets")
    }

    /// A subject's wrapped key.
    async fn find_subject_key(&self, subject: &str) -> Result<Option<String>, EngineError> {
        sql::text(self.query(sql::SUBJECT_KEY, &[subject.into()]).await?, "subject_keys")
    }

    /// Keeps a key unless there is one, and returns the one that is kept.
    async fn keep_subject_key(&self, key: &SubjectKeyRow) -> Result<String, EngineError>;

    /// The position an eventual projection has reached.
    async fn checkpoint(&self, projection: &Projection) -> Result<i64, EngineError> {
        let rows = self.query(sql::CHECKPOINT, &[projection.name.into()]).await?;
        Ok(sql::number(rows, "checkpoints")?.unwrap_or(0))
    }

    /// Writes rows of an eventual projection and moves its checkpoint from `from` to `to`, unless
    /// another node did so first (`false`: nothing was written) or its tables are of another version.
    async fn advance(
        &self,
        projection: &Projection,
        from: i64,
        to: i64,
        rows: &[RowOp],
    ) -> Result<bool, EngineError>;

    /// Writes a copy of the whole database into a new file while others go on, if the engine can.
    async fn copy_to(&self, file: &Path) -> Result<(), EngineError>;

    /// Makes empty tables beside these, in the place of what an abandoned replay left, and has the checkpoint of
    /// this `replay` stand at [`BEGUN`]. Every other one that is not over has lost its checkpoint with it, in the same
    /// transaction: its shadows may have been these.
    async fn make_shadows(&self, replay: &Projection, tables: &[&'static Table]) -> Result<(), EngineError>;

    /// Brings the shadows up to the head, puts them in the place of the live tables and moves the epoch, all
    /// in one transaction that nobody writes beside. Returns the position they contain then. The checkpoint of the
    /// replay becomes its mark; it is refused if the checkpoint is not where the shadows are said to be.
    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError>;
}
