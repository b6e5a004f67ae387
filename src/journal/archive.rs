//! How does a log move from one database to another? As lines of JSON, the chain verified on both sides.
//!
//! ```text
//! {"format":"chancery-log","version":1,"events":3,"chain":"…"}
//! {"position":1,"aggregate_type":"installation",…,"payload":"{…}","metadata":"{…}"}
//! …
//! {"secrets":"-----BEGIN AGE ENCRYPTED FILE-----…"}            only when asked for
//! {"end":true,"events":3,"chain":"…"}
//! ```
//!
//! Payloads and metadata are texts, to the byte: the chain commits to them. Read models are not in it; they
//! follow. Verifiers, keys of personal data and the root secret are in it only under a passphrase (age v1):
//! without them nobody can log in with what is imported, and personal data stays sealed. What is sealed names
//! the log it was sealed with: only so does an export prove where it comes from, because whoever changes its
//! lines can make the chain anew.

use std::io::{self, BufRead, Write};

use age::scrypt;
use age::secrecy::SecretString;
use aggregates::AnyEvent;
use projections::row::Value;
use serde::{Deserialize, Serialize};

use super::chain::{GENESIS, fold, hex, leaf};
use super::claims::claims;
use super::engine::{Append, Engine, EngineError, Head, LANE, NewEvent, Outcome, PAGE, StoredRow};
use super::feed::{check_density, transactional_ops};
use crate::keys::{KeyError, Keys, RootSecret};
use crate::secret::random_bytes;

const FORMAT: &str = "chancery-log";
const VERSION: u32 = 1;
/// A log that grows while its secrets are read is asked so often.
const CHASES: usize = 100;
/// Events of one transaction of an import.
const CHUNK: usize = 512;

/// Why a log could not be exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The database does not answer, or what is in it is damaged.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file cannot be read or written.
    #[error("the file cannot be read or written: {0}")]
    File(#[from] io::Error),
    /// Not an export of this program.
    #[error("line {line} is not what an export has there: {reason}")]
    Format {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The export breaks off.
    #[error("the export ends after event {position} without its last line: it is not complete")]
    Incomplete {
        /// The last event that is there.
        position: i64,
    },
    /// Somebody changed the export, or the log it was made of.
    #[error("the chain of the {what} breaks at or before event {position}: it is not what was committed")]
    Chain {
        /// Export or log.
        what: &'static str,
        /// Where.
        position: i64,
    },
    /// There is another history in the database already.
    #[error("the database holds a history of {head} events that is not the beginning of this one")]
    NotEmpty {
        /// How many events it has.
        head: i64,
    },
    /// The secrets of the export are sealed with a passphrase.
    #[error("the secrets of this export are sealed with a passphrase, which was not given or is wrong")]
    Passphrase,
    /// There are no secrets in it, and they were asked for.
    #[error("this export has no secrets in it")]
    NoSecrets,
    /// The secrets were sealed with another log.
    #[error("the secrets of this export were sealed with another log than the one in it")]
    OtherLog,
    /// The root secret is not the one that the log was made with.
    #[error("the root secret is not the one that the log was made with")]
    OtherRootSecret,
    /// The root secret's keys cannot be derived.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Verifiers and keys belong to a head of the log, which did not stand still.
    #[error("the log grows faster than its secrets can be read")]
    Growing,
    /// The secrets could not be sealed.
    #[error("the secrets could not be sealed")]
    Seal,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    events: i64,
    chain: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Event {
        position: i64,
        aggregate_type: String,
        aggregate_id: String,
        sequence: i64,
        event_type: String,
        event_version: String,
        payload: String,
        metadata: String,
    },
    Sealed {
        secrets: String,
    },
    End {
        end: bool,
        events: i64,
        chain: String,
    },
}

/// What only the owner of the passphrase gets.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    /// The text of the root secret.
    pub root_secret: String,
    /// The log that they were sealed with: whoever changes an export can make its chain anew, but not this.
    events: i64,
    chain: String,
    verifiers: Vec<(String, String)>,
    subject_keys: Vec<(String, String)>,
}

/// The event that says which root secret a log belongs to.
pub const ROOT_SECRET_BOUND: &str = "installation.root_secret_bound";
/// Stands for an import among the checkpoints while it goes on.
const IMPORTING: &str = "import";

/// What an export or import came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Events in all.
    pub events: i64,
    /// The chain after the last, in hexadecimal.
    pub chain: String,
    /// Whether verifiers and keys came along.
    pub with_secrets: bool,
}

/// Writes the log as it stands. `sealed_with` is the root secret's text and the passphrase that opens it.
pub async fn export(
    engine: &dyn Engine,
    to: &mut (dyn Write + Send),
    sealed_with: Option<(&str, SecretString)>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Moved, ArchiveError> {
    let (head, secrets) = match &sealed_with {
        Some(_) => secrets_at_head(engine).await.map(|(head, secrets)| (head, Some(secrets)))?,
        None => (engine.head().await?, None),
    };
    let chain_of_head = hex(&head.chain);
    let header =
        Header { format: FORMAT.to_owned(), version: VERSION, events: head.position, chain: chain_of_head };
    put(to, &header)?;
    let (mut position, mut chain) = (0, GENESIS);
    while position < head.position {
        let mut batches = engine.batches_after(position, PAGE).await?;
        // What was written meanwhile is not in this export.
        batches.retain(|batch| batch.first <= head.position);
        let Some(last) = check_density(position, &batches)? else { break };
        for row in batches.into_iter().flat_map(|batch| batch.events) {
            let leaf = leaf(&row.aggregate_type, &row.aggregate_id, row.sequence, &row.event);
            chain = fold(&chain, &leaf);
            put(to, &line_of(row))?;
        }
        position = last;
        progress(unsigned(position), unsigned(head.position));
    }
    if (position, hex(&chain)) != (head.position, header.chain) {
        return Err(ArchiveError::Chain { what: "log", position });
    }
    let with_secrets = sealed_with.is_some();
    if let (Some((root_secret, passphrase)), Some((verifiers, subject_keys))) = (sealed_with, secrets) {
        let secrets = Secrets {
            root_secret: root_secret.to_owned(),
            events: position,
            chain: hex(&chain),
            verifiers,
            subject_keys,
        };
        put(to, &Line::Sealed { secrets: seal(&secrets, passphrase)? })?;
    }
    let chain = hex(&chain);
    put(to, &Line::End { end: true, events: position, chain: chain.clone() })?;
    to.flush()?;
    Ok(Moved { events: position, chain, with_secrets })
}

/// Verifiers and keys as of a head of the log: read when it did not move meanwhile, so that none is missing that an
/// event names.
async fn secrets_at_head(engine: &dyn Engine) -> Result<(Head, (Pairs, Pairs)), ArchiveError> {
    let mut head = engine.head().await?;
    for _ in 0..CHASES {
        let verifiers = pairs(engine, "SELECT id, verifier FROM secrets ORDER BY id").await?;
        let keys = pairs(engine, "SELECT subject, wrapped FROM subject_keys ORDER BY subject").await?;
        let now = engine.head().await?;
        if now == head {
            return Ok((head, (verifiers, keys)));
        }
        head = now;
    }
    Err(ArchiveError::Growing)
}

/// Reads a whole export without writing anything: its chain, its end, and its secrets if there are any and
/// a passphrase opens them.
pub fn check(
    from: &mut (dyn BufRead + Send),
    passphrase: Option<&SecretString>,
) -> Result<(Moved, Option<Secrets>), ArchiveError> {
    let mut reader = Reader::new(from)?;
    let (mut secrets, mut bound): (Option<Secrets>, _) = (None, None);
    let moved = loop {
        match reader.next()? {
            Next::Event(row) if row.event.event_type == ROOT_SECRET_BOUND => {
                bound = bound_fingerprint(&row.event.payload);
            }
            Next::Event(_) => {}
            Next::Sealed(text) => {
                let passphrase = passphrase.ok_or(ArchiveError::Passphrase)?;
                secrets = Some(open(&text, passphrase.clone())?);
            }
            Next::End(moved) => break moved,
        }
    };
    match (&secrets, passphrase) {
        (None, Some(_)) => return Err(ArchiveError::NoSecrets),
        (Some(secrets), _) if (secrets.events, &secrets.chain) != (moved.events, &moved.chain) => {
            return Err(ArchiveError::OtherLog);
        }
        (Some(secrets), _) => {
            let root =
                RootSecret::from_text(&secrets.root_secret).map_err(|_| ArchiveError::OtherRootSecret)?;
            let keys = Keys::derive(&root)?;
            if bound.is_some_and(|bound| bound != keys.fingerprint()) {
                return Err(ArchiveError::OtherRootSecret);
            }
        }
        (None, None) => {}
    }
    Ok((Moved { with_secrets: secrets.is_some(), ..moved }, secrets))
}

/// Which root secret the event of its binding names.
#[must_use]
pub fn bound_fingerprint(payload: &str) -> Option<String> {
    let payload: serde_json::Value = serde_json::from_str(payload).ok()?;
    Some(payload.get("fingerprint")?.as_str()?.to_owned())
}

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

/// Writes an export that was [`check`]ed into a database without a history, or goes on where an import of
/// the same export was interrupted.
pub async fn import(
    engine: &dyn Engine,
    from: &mut (dyn BufRead + Send),
    secrets: Option<&Secrets>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Moved, ArchiveError> {
    let start = engine.head().await?;
    let mut reader = Reader::new(from)?;
    while reader.position < start.position {
        if !matches!(reader.next()?, Next::Event(_)) {
            return Err(ArchiveError::NotEmpty { head: start.position });
        }
    }
    if reader.chain != start.chain {
        return Err(ArchiveError::NotEmpty { head: start.position });
    }
    let begun = "INSERT INTO checkpoints (projection, lane, position) VALUES ($1, $2, $3) \
                 ON CONFLICT (projection) DO UPDATE SET position = excluded.position";
    engine.execute(begun, &[IMPORTING.into(), LANE.into(), reader.header.events.into()]).await?;
    if let Some(secrets) = secrets {
        keep_secrets(engine, secrets).await?;
    }
    let mut chunk = Vec::with_capacity(CHUNK);
    let moved = loop {
        match reader.next()? {
            Next::Event(row) => chunk.push(append_of(row)?),
            Next::Sealed(_) => {}
            Next::End(moved) => break moved,
        }
        if chunk.len() == CHUNK {
            write(engine, start.epoch, &std::mem::take(&mut chunk)).await?;
            progress(unsigned(reader.position), unsigned(reader.header.events));
        }
    };
    write(engine, start.epoch, &chunk).await?;
    let head = engine.head().await?;
    if (head.position, hex(&head.chain)) != (moved.events, moved.chain.clone()) {
        return Err(ArchiveError::Chain { what: "import", position: head.position });
    }
    engine.execute("DELETE FROM checkpoints WHERE projection = $1", &[IMPORTING.into()]).await?;
    Ok(Moved { with_secrets: secrets.is_some(), ..moved })
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
    let known = AnyEvent::TYPES.iter().find(|(name, _)| *name == row.aggregate_type);
    let Some((aggregate_type, _)) = known else {
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

enum Next {
    Event(StoredRow),
    Sealed(String),
    End(Moved),
}

/// Reads an export line by line and folds its chain.
struct Reader<'a> {
    lines: io::Lines<&'a mut (dyn BufRead + Send)>,
    line: usize,
    header: Header,
    position: i64,
    chain: [u8; 32],
}

impl<'a> Reader<'a> {
    fn new(from: &'a mut (dyn BufRead + Send)) -> Result<Self, ArchiveError> {
        let mut lines = from.lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let header: Header = parse(1, &first)?;
        if header.format != FORMAT || header.version != VERSION {
            let reason = format!("{} of version {} is not known", header.format, header.version);
            return Err(ArchiveError::Format { line: 1, reason });
        }
        Ok(Self { lines, line: 1, header, position: 0, chain: GENESIS })
    }

    fn next(&mut self) -> Result<Next, ArchiveError> {
        self.line += 1;
        let Some(text) = self.lines.next() else {
            return Err(ArchiveError::Incomplete { position: self.position });
        };
        match parse(self.line, &text?)? {
            Line::Event {
                position,
                aggregate_type,
                aggregate_id,
                sequence,
                event_type,
                event_version,
                payload,
                metadata,
            } => {
                let event = NewEvent { event_type, event_version, payload, metadata: metadata.into() };
                let row = StoredRow { position, aggregate_type, aggregate_id, sequence, event };
                if position != self.position + 1 {
                    let reason = format!("event {position} follows event {}", self.position);
                    return Err(ArchiveError::Format { line: self.line, reason });
                }
                let leaf = leaf(&row.aggregate_type, &row.aggregate_id, sequence, &row.event);
                self.chain = fold(&self.chain, &leaf);
                self.position = position;
                Ok(Next::Event(row))
            }
            Line::Sealed { secrets } => Ok(Next::Sealed(secrets)),
            Line::End { end: _, events, chain } => {
                let is_whole = events == self.position && events == self.header.events;
                if !is_whole || chain != hex(&self.chain) || chain != self.header.chain {
                    return Err(ArchiveError::Chain { what: "export", position: self.position });
                }
                Ok(Next::End(Moved { events, chain, with_secrets: false }))
            }
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(line: usize, text: &str) -> Result<T, ArchiveError> {
    serde_json::from_str(text).map_err(|error| ArchiveError::Format { line, reason: error.to_string() })
}

fn line_of(row: StoredRow) -> Line {
    Line::Event {
        position: row.position,
        aggregate_type: row.aggregate_type,
        aggregate_id: row.aggregate_id,
        sequence: row.sequence,
        event_type: row.event.event_type,
        event_version: row.event.event_version,
        payload: row.event.payload,
        metadata: row.event.metadata.to_string(),
    }
}

fn put(to: &mut (dyn Write + Send), line: &impl Serialize) -> Result<(), ArchiveError> {
    serde_json::to_writer(&mut *to, line).map_err(io::Error::from)?;
    to.write_all(b"\n")?;
    Ok(())
}

// ── Secrets ──

/// Ids with what is kept under them.
type Pairs = Vec<(String, String)>;

async fn pairs(engine: &dyn Engine, sql: &str) -> Result<Pairs, EngineError> {
    let pair = |row: Vec<Value>| match <[Value; 2]>::try_from(row) {
        Ok([Value::Text(one), Value::Text(other)]) => Ok((one, other)),
        _ => Err(EngineError::Damaged("a row of verifiers or keys has another shape".to_owned())),
    };
    engine.query(sql, &[]).await?.into_iter().map(pair).collect()
}

async fn keep_secrets(engine: &dyn Engine, secrets: &Secrets) -> Result<(), EngineError> {
    for (sql, pairs) in [
        (
            "INSERT INTO secrets (id, verifier) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
            &secrets.verifiers,
        ),
        (
            "INSERT INTO subject_keys (subject, wrapped) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING",
            &secrets.subject_keys,
        ),
    ] {
        for (one, other) in pairs {
            engine.execute(sql, &[one.as_str().into(), other.as_str().into()]).await?;
        }
    }
    Ok(())
}

fn seal(secrets: &Secrets, passphrase: SecretString) -> Result<String, ArchiveError> {
    let text = zeroize::Zeroizing::new(serde_json::to_vec(secrets).map_err(io::Error::from)?);
    age::encrypt_and_armor(&scrypt::Recipient::new(passphrase), &text).map_err(|_| ArchiveError::Seal)
}

fn open(sealed: &str, passphrase: SecretString) -> Result<Secrets, ArchiveError> {
    let opened = age::decrypt(&scrypt::Identity::new(passphrase), sealed.as_bytes());
    let text = zeroize::Zeroizing::new(opened.map_err(|_| ArchiveError::Passphrase)?);
    serde_json::from_slice(&text).map_err(|_| ArchiveError::Passphrase)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
