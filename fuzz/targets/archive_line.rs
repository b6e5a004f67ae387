//! Is an import whole and unchanged, or refused? And is every event of it either read or refused?
//!
//! Input: where to edit and what to put there (two bytes), then event lines of an export. The target puts
//! a header before them and an end behind them whose chain is right.
#![cfg_attr(fuzzing, no_main)]

use std::io::BufReader;

use chancery::journal::archive::{append_of, check};
use chancery::journal::chain::{GENESIS, fold, hex, leaf};
use chancery::journal::engine::{NewEvent, StoredRow};
use serde::Deserialize;
use serde_json::json;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    position: i64,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
    metadata: String,
}

pub fn run(data: &[u8]) {
    let Some(([place, byte], body)) = data.split_first_chunk::<2>() else { return };
    let _ = check(&mut BufReader::new(body), None);
    let Ok(body) = std::str::from_utf8(body) else { return };
    let lines: Vec<Line> = body.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    let rows: Vec<StoredRow> = lines.iter().map(row_of).collect();
    for row in &rows {
        if let Ok(append) = append_of(row.clone()) {
            assert_eq!(append.events.len(), append.rows.len());
            assert_eq!(append.expected + 1, row.sequence);
        }
    }
    let chain = rows.iter().fold(GENESIS, |chain, row| {
        fold(&chain, &leaf(&row.aggregate_type, &row.aggregate_id, row.sequence, &row.event))
    });
    let (events, chain) = (rows.len(), hex(&chain));
    let header = json!({"format": "chancery-log", "version": 1, "events": events, "chain": chain});
    let end = json!({"end": true, "events": events, "chain": chain});
    let written: String = body.lines().take(events).flat_map(|line| [line, "\n"]).collect();
    let export = format!("{header}\n{written}{end}\n");
    let is_dense = rows.iter().zip(1..).all(|(row, position)| row.position == position);
    let whole = check(&mut export.as_bytes(), None);
    assert_eq!(whole.is_ok(), is_dense, "{:?}", whole.err());
    let Some(edited) = edited(&export, *place, *byte).filter(|_| is_dense) else { return };
    // Spelled otherwise, or cut off behind its end, it may be; what it says may not change.
    if check(&mut edited.as_bytes(), None).is_ok() {
        let read: Vec<Line> =
            edited.lines().skip(1).map_while(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(read, lines);
    }
}

fn row_of(line: &Line) -> StoredRow {
    StoredRow {
        position: line.position,
        aggregate_type: line.aggregate_type.clone(),
        aggregate_id: line.aggregate_id.clone(),
        sequence: line.sequence,
        event: NewEvent {
            event_type: line.event_type.clone(),
            event_version: line.event_version.clone(),
            payload: line.payload.clone(),
            metadata: line.metadata.as_str().into(),
        },
    }
}

/// The export with one byte changed, anywhere.
fn edited(export: &str, place: u8, byte: u8) -> Option<String> {
    let mut bytes = export.as_bytes().to_vec();
    let place = usize::from(place) * usize::from(byte | 1) % bytes.len();
    bytes[place] = byte & 0x7f;
    String::from_utf8(bytes).ok().filter(|edited| edited != export)
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
