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

mod format;
mod import;
mod secrets;

use std::fmt;
use std::io::{self, BufRead, Write};

use age::secrecy::SecretString;

pub use self::import::{
    Import, Proved, accept_as_moved, accepted_rollbacks, append_of, half_imported, is_restored, mark_restored,
};
pub use self::secrets::Secrets;

use self::format::{Header, Line, Next, Reader, put};
use super::chain::{GENESIS, fold, hex};
use super::engine::{Engine, EngineError, PAGE};
use super::feed::check_density;
use super::installation::{ROOT_SECRET_BOUND, bound_fingerprint};
use crate::keys::{KeyError, Keys, RootSecret};

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
        /// Of what.
        what: Broken,
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

/// What a broken chain is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The log that was to be exported.
    Log,
    /// The file, when it was read to be proved.
    Export,
    /// What was read of it to be written, after it had been proved.
    Import,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Log => "log",
            Self::Export => "export",
            Self::Import => "import",
        })
    }
}

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
    let (head, sealed) = match sealed_with {
        Some((root_secret, passphrase)) => {
            let (head, secrets) = Secrets::at_head(engine, root_secret).await?;
            (head, Some(secrets.seal(passphrase)?))
        }
        None => (engine.head().await?, None),
    };
    put(to, &Header::of(&head))?;
    let (mut position, mut chain) = (0, GENESIS);
    while position < head.position {
        let mut batches = engine.batches_after(position, PAGE).await?;
        // What was written meanwhile is not in this export.
        batches.retain(|batch| batch.first <= head.position);
        let Some(last) = check_density(position, &batches)? else { break };
        for row in batches.into_iter().flat_map(|batch| batch.events) {
            chain = fold(&chain, &row.leaf());
            put(to, &Line::of(row))?;
        }
        position = last;
        progress(position.unsigned_abs(), head.position.unsigned_abs());
    }
    if (position, chain) != (head.position, head.chain) {
        return Err(ArchiveError::Chain { what: Broken::Log, position });
    }
    let with_secrets = sealed.is_some();
    if let Some(secrets) = sealed {
        put(to, &Line::Sealed { secrets })?;
    }
    let chain = hex(&chain);
    put(to, &Line::End { end: true, events: position, chain: chain.clone() })?;
    to.flush()?;
    Ok(Moved { events: position, chain, with_secrets })
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
                secrets = Some(Secrets::open(&text, passphrase.clone())?);
            }
            Next::End(moved) => break moved,
        }
    };
    match (&secrets, passphrase) {
        (None, Some(_)) => return Err(ArchiveError::NoSecrets),
        (Some(secrets), _) if !secrets.are_of(moved.events, &moved.chain) => {
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
