//! What stands in an export, line by line? Its beginning says how much follows, its end that it was all.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::{ArchiveError, Broken, Moved};
use crate::journal::chain::{GENESIS, fold, hex};
use crate::journal::engine::{Head, NewEvent, StoredRow};

const FORMAT: &str = "chancery-log";
const VERSION: u32 = 1;
/// Longest line, in bytes. An event comes from one request, of 16 MiB at most (`max-body`); JSON within JSON escapes a
/// character up to four times.
const LONGEST_LINE: u64 = 64 << 20;
/// What the sealed secrets may have beside that for each event before them. One brings a verifier and two keys at most.
const SECRETS_PER_EVENT: u64 = 1024;

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
    from: &'a mut (dyn BufRead + Send),
    text: Vec<u8>,
    line: usize,
    pub(super) header: Header,
    /// The last event that was read, and the chain after it.
    pub(super) position: i64,
    pub(super) chain: [u8; 32],
}

impl<'a> Reader<'a> {
    pub(super) fn new(from: &'a mut (dyn BufRead + Send)) -> Result<Self, ArchiveError> {
        let header = Header { format: String::new(), version: 0, events: 0, chain: String::new() };
        let mut reader = Self { from, text: Vec::new(), line: 0, header, position: 0, chain: GENESIS };
        reader.read_line()?;
        reader.header = reader.parse()?;
        let Header { format, version, .. } = &reader.header;
        if format != FORMAT || *version != VERSION {
            let reason = format!("{format} of version {version} is not known");
            return Err(ArchiveError::Format { line: 1, reason });
        }
        Ok(reader)
    }

    pub(super) fn next(&mut self) -> Result<Next, ArchiveError> {
        if self.read_line()? == 0 {
            return Err(ArchiveError::Incomplete { position: self.position });
        }
        match self.parse()? {
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
                    return Err(ArchiveError::Chain { what: Broken::Export, position: self.position });
                }
                Ok(Next::End(Moved { events, chain, with_secrets: false }))
            }
        }
    }

    /// Reads one line, and no more of it than there can be: a file without an end of a line fills no memory.
    fn read_line(&mut self) -> Result<usize, ArchiveError> {
        self.line += 1;
        self.text.clear();
        let limit = self.longest_line();
        let read = Read::take(&mut *self.from, limit + 1).read_until(b'\n', &mut self.text)?;
        if u64::try_from(read).is_ok_and(|read| read > limit) {
            let reason = format!("it is longer than {limit} bytes");
            return Err(ArchiveError::Format { line: self.line, reason });
        }
        Ok(read)
    }

    /// Behind the last event the secrets may stand, of which there are more the more events there were.
    fn longest_line(&self) -> u64 {
        let events = if self.position < self.header.events { 0 } else { self.position.unsigned_abs() };
        LONGEST_LINE.saturating_add(events.saturating_mul(SECRETS_PER_EVENT))
    }

    fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, ArchiveError> {
        serde_json::from_slice(&self.text)
            .map_err(|error| ArchiveError::Format { line: self.line, reason: error.to_string() })
    }
}

pub(super) fn put(to: &mut (dyn Write + Send), line: &impl Serialize) -> Result<(), ArchiveError> {
    serde_json::to_writer(&mut *to, line).map_err(io::Error::from)?;
    to.write_all(b"\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// What never ends, and how much of it was read.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            self.0 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }

    const HEADER: &[u8] = b"{\"format\":\"chancery-log\",\"version\":1,\"events\":7,\"chain\":\"\"}\n";

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        for before in [&b""[..], HEADER] {
            let mut endless = Endless(0);
            let mut from = BufReader::new(Read::chain(before, &mut endless));
            let refused = Reader::new(&mut from).and_then(|mut reader| reader.next().map(drop)).unwrap_err();
            let line = if before.is_empty() { 1 } else { 2 };
            assert_eq!(
                refused.to_string(),
                format!("line {line} is not what an export has there: it is longer than 67108864 bytes")
            );
            drop(from);
            assert!(endless.0 < LONGEST_LINE + (1 << 20), "{} bytes were read", endless.0);
        }
    }

    #[test]
    fn the_secrets_of_a_long_log_may_be_longer_than_an_event() {
        let mut nothing = io::empty();
        let mut from = BufReader::new(Read::chain(HEADER, &mut nothing));
        let mut reader = Reader::new(&mut from).unwrap();
        let longest = reader.longest_line();
        assert_eq!(longest, LONGEST_LINE);
        reader.position = 7;
        assert_eq!(reader.longest_line(), LONGEST_LINE + 7 * SECRETS_PER_EVENT);
    }
}
