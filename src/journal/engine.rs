//! What must a database do for the journal? One trait, two engines ([`super::postgres`],
//! [`super::sqlite`]), and the plain data that goes between.

pub(super) mod sql;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use projections::projection::Projection;
use projections::read::ReadError;
use projections::row::{Row, RowOp, Table, Value};

use super::chain::leaf;

/// The single chain used today. Every table with a position has the column.
pub const LANE: i64 = 0;

/// Events read at a time by whoever walks through the log.
pub const PAGE: i64 = 4096;

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

/// A name that at most one stream may hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// What kind of name.
    pub kind: &'static str,
    /// Keyed hash of the name.
    pub value: String,
}

/// A change of the secrets table, written with the events that refer to it.
#[derive(Clone)]
pub enum SecretOp {
    /// Keeps a verifier.
    Put {
        /// What events call it.
        id: String,
        /// Keyed hash or PHC string; never the secret.
        verifier: String,
    },
    /// Deletes a verifier for good.
    Delete {
        /// What events called it.
        id: String,
    },
}

/// A wrapped key under which a subject's personal data is sealed.
#[derive(Clone)]
pub struct SubjectKeyRow {
    /// Whose: a `sub`, or a month for what belongs to nobody.
    pub subject: String,
    /// The key, wrapped under the server's sealing key.
    pub wrapped: String,
}

/// The state of a long stream, so that loading it reads only its end.
#[derive(Clone, Debug)]
pub struct StateRow {
    /// The last event it contains.
    pub sequence: i64,
    /// JSON of the aggregate.
    pub state: String,
}

/// Everything one command writes: all of it, or nothing.
#[derive(Clone)]
pub struct Append {
    /// Kind of stream.
    pub aggregate_type: &'static str,
    /// Which stream.
    pub aggregate_id: String,
    /// The last event the decision was based on; 0 for a new stream.
    pub expected: i64,
    /// What happened.
    pub events: Vec<NewEvent>,
    /// Row operations, one list an event.
    pub rows: Vec<Vec<RowOp>>,
    /// Names it needs.
    pub claims: Vec<Claim>,
    /// Verifiers it writes or deletes.
    pub secrets: Vec<SecretOp>,
    /// Keys it brings.
    pub subject_keys: Vec<SubjectKeyRow>,
    /// The new state, every so many events.
    pub state: Option<StateRow>,
    /// Whether something that was alive is dead after it, so that no process may answer from before.
    pub invalidates: bool,
}

/// Why one command of a batch lost while its neighbours did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Another command extended the stream first.
    Conflict,
    /// Another stream holds a name it needs.
    Claimed(&'static str),
}

/// A batch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Position of its first event.
    pub first: i64,
    /// The chain after its last one.
    pub chain: [u8; 32],
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is durable.
    Committed(Committed),
    /// These commands lost; nothing was written, the others may go again without them.
    Lost(Vec<(usize, Lost)>),
}

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

/// What about the setup of a database may cost what was acknowledged: plain data, for whoever judges it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hazards {
    /// Settings that are off although a crash then loses what was acknowledged.
    pub switched_off: Vec<&'static str>,
    /// What time it is to the database, in milliseconds since 1970; `None` on the same machine.
    pub clock: Option<i64>,
    /// Who has copies; `None` where no other machine could.
    pub replication: Option<Replication>,
}

/// Who has copies of a database, and whether a commit waits for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// What a commit waits for.
    pub awaits: Awaited,
    /// The setting that says so, as it is written.
    pub setting: String,
    /// Which standbys are to be waited for, as it is written; empty for none.
    pub named: String,
    /// Standbys that follow now.
    pub standbys: i64,
    /// Those of them that a commit waits for.
    pub synchronous: i64,
    /// Those of which we may not know whether it does.
    pub hidden: i64,
}

/// Where an acknowledged command is, besides the disk of the server that took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nowhere.
    Nothing,
    /// In the memory of a standby's machine.
    Memory,
    /// On the disk of a standby.
    Disk,
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

/// What stored events do to rows; pure, so that an engine may ask in the middle of a transaction.
pub type OpsOf = Arc<dyn Fn(&[StoredBatch]) -> Result<Vec<RowOp>, EngineError> + Send + Sync>;

/// Rebuilt tables that are to take the place of the live ones.
#[derive(Clone)]
pub struct Flip {
    /// The live tables.
    pub tables: Vec<&'static Table>,
    /// The read models whose tables they are.
    pub projections: Vec<&'static Projection>,
    /// Those among them that follow with a checkpoint.
    pub eventual: Vec<&'static Projection>,
    /// Under which name the replay keeps its checkpoint.
    pub replay: &'static Projection,
    /// Under which name the checkpoint stays when it has become the flip's mark.
    pub mark: &'static Projection,
    /// The last event the rebuilt tables contain.
    pub position: i64,
    /// What later events do to the rebuilt tables.
    pub ops_of: OpsOf,
}

/// What a table is called while it is rebuilt beside the live one.
#[must_use]
pub fn shadow_name(table: &Table) -> String {
    format!("{}_next", table.name)
}

/// A replay cannot go on where another has begun.
pub(super) fn overtaken() -> EngineError {
    EngineError::Refused("another replay of the same read models is running, or has ended".to_owned())
}

/// The leaves of the chain that these events will be.
#[must_use]
pub fn leaves(appends: &[Append]) -> Vec<[u8; 32]> {
    let of_append = |append: &Append| {
        let events = (append.expected + 1..).zip(&append.events);
        let leaf = |(sequence, event)| leaf(append.aggregate_type, &append.aggregate_id, sequence, event);
        events.map(leaf).collect::<Vec<_>>()
    };
    appends.iter().flat_map(of_append).collect()
}

/// The index, counted from 1, of the last event of a batch that ends something; 0 when none does.
#[must_use]
pub fn last_invalidating(appends: &[Append]) -> i64 {
    let (mut index, mut last) = (0, 0);
    for append in appends {
        index += i64::try_from(append.events.len()).unwrap_or(i64::MAX);
        if append.invalidates {
            last = index;
        }
    }
    last
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

    /// Makes the first connections of a server, which nobody is in a hurry for; in the words of whoever refuses them,
    /// why not.
    async fn connect(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Whether the database can be reached at all, and in the words of whoever refuses it why not.
    async fn reach(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// What may cost what was acknowledged; nothing is where the engine does not depend on settings.
    async fn hazards(&self) -> Result<Hazards, EngineError> {
        Ok(Hazards::default())
    }

    /// Creates or advances the tables; returns how many migrations ran.
    async fn migrate(&self) -> Result<usize, EngineError>;

    /// How many migrations are still to be run.
    async fn pending_migrations(&self) -> Result<usize, EngineError>;

    /// Writes a batch in one transaction, in order, or nothing at all. `batch` is its id.
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

    /// A row by its key together with what it is as of, in one snapshot.
    async fn find_row(&self, table: &'static Table, key: &str) -> Result<(Option<Row>, AsOf), EngineError> {
        let (mut rows, as_of) = sql::found_as_of(self.query(&sql::row_of(table), &[key.into()]).await?)?;
        Ok((rows.pop(), as_of))
    }

    /// All rows of a table in key order together with what they are as of, in one snapshot.
    async fn all_rows(&self, table: &'static Table) -> Result<(Vec<Row>, AsOf), EngineError> {
        sql::found_as_of(self.query(&sql::rows_of(table), &[]).await?)
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

    /// Makes empty tables beside these, in the place of what an abandoned replay left. Every replay that is not
    /// over has lost its checkpoint with it, in the same transaction: its shadows may have been these.
    async fn make_shadows(&self, tables: &[&'static Table]) -> Result<(), EngineError>;

    /// Brings the shadows up to the head, puts them in the place of the live tables and moves the epoch, all
    /// in one transaction that nobody writes beside. Returns the position they contain then. The checkpoint of the
    /// replay becomes its mark; it is refused if the checkpoint is not where the shadows are said to be.
    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError>;
}
