//! What stands in an export, line by line? Its beginning says how much follows, its end that it was all.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::{ArchiveError, Moved};
use crate::journal::chain::{GENESIS, fold, hex};
use crate::journal::engine::{Head, NewEvent, StoredRow};

const FORMAT: &str = "chancery-log";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: String,
    version: u32,
    pub(super) events: i64,
    chain: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(super) enum Line {
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

impl Header {
    pub(super) fn of(head: &Head) -> Self {
        let (format, chain) = (FORMAT.to_owned(), hex(&head.chain));
        Self { format, version: VERSION, events: head.position, chain }
    }
}

impl Line {
    pub(super) fn of(row: StoredRow) -> Self {
        Self::Event {
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
}

/// What stands on a line, read and checked against what came before.
pub(super) enum Next {
    Event(StoredRow),
    Sealed(String),
    End(Moved),
}

/// Reads an export line by line and folds its chain.
pub(super) struct Reader<'a> {
    lines: io::Lines<&'a mut (dyn BufRead + Send)>,
    line: usize,
    pub(super) header: Header,
    /// The last event that was read, and the chain after it.
    pub(super) position: i64,
    pub(super) chain: [u8; 32],
}

impl<'a> Reader<'a> {
    pub(super) fn new(from: &'a mut (dyn BufRead + Send)) -> Result<Self, ArchiveError> {
        let mut lines = from.lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let header: Header = parse(1, &first)?;
        if header.format != FORMAT || header.version != VERSION {
            let reason = format!("{} of version {} is not known", header.format, header.version);
            return Err(ArchiveError::Format { line: 1, reason });
        }
        Ok(Self { lines, line: 1, header, position: 0, chain: GENESIS })
    }

    pub(super) fn next(&mut self) -> Result<Next, ArchiveError> {
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
                self.chain = fold(&self.chain, &row.leaf());
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

pub(super) fn put(to: &mut (dyn Write + Send), line: &impl Serialize) -> Result<(), ArchiveError> {
    serde_json::to_writer(&mut *to, line).map_err(io::Error::from)?;
    to.write_all(b"\n")?;
    Ok(())
}
