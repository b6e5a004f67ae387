//! What does one transaction of commands write, and what may come of it?

use projections::row::RowOp;

use super::NewEvent;
use crate::journal::chain::leaf;

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
