//! How is the log made tamper-evident? One leaf an event, folded into one running hash.
//!
//! `leaf = SHA-256(0x00 ‖ "chancery.event.1" ‖ fields)`, where each stored column is written as its length
//! (8 bytes, big-endian) and its bytes; `chain' = SHA-256(0x01 ‖ chain ‖ leaf)`. The two first bytes keep
//! leaves and nodes apart (RFC 6962 §2.1). The fold is per event, so the head does not depend on where
//! batches were cut. This format is fixed for version 1 and shared with every engine.

use aws_lc_rs::digest::{Context, SHA256};

use super::engine::NewEvent;

/// The chain before the first event.
pub const GENESIS: [u8; 32] = [0; 32];
const DOMAIN: &[u8] = b"chancery.event.1";

/// The leaf of an event: commits to every stored column except its place in the log, which the
/// order of the fold commits to.
#[must_use]
pub fn leaf(aggregate_type: &str, aggregate_id: &str, sequence: i64, event: &NewEvent) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(DOMAIN);
    let sequence = sequence.to_be_bytes();
    let fields: [&[u8]; 7] = [
        aggregate_type.as_bytes(),
        aggregate_id.as_bytes(),
        &sequence,
        event.event_type.as_bytes(),
        event.event_version.as_bytes(),
        event.payload.as_bytes(),
        event.metadata.as_bytes(),
    ];
    for field in fields {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field);
    }
    finish(context)
}

/// The chain after one more leaf.
#[must_use]
pub fn fold(chain: &[u8], leaf: &[u8; 32]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(chain);
    context.update(leaf);
    finish(context)
}

fn finish(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// As people read it: two hexadecimal digits a byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &str, metadata: &str) -> NewEvent {
        NewEvent {
            event_type: "t".to_owned(),
            event_version: "1".to_owned(),
            payload: payload.to_owned(),
            metadata: metadata.into(),
        }
    }

    #[test]
    fn moving_a_byte_between_columns_changes_the_leaf() {
        assert_ne!(leaf("a", "b", 1, &event("xy", "z")), leaf("a", "b", 1, &event("x", "yz")));
        assert_ne!(leaf("ab", "", 1, &event("x", "y")), leaf("a", "b", 1, &event("x", "y")));
    }

    #[test]
    fn the_format_of_version_1_does_not_change() {
        let head = fold(&GENESIS, &leaf("user", "id", 1, &event("{}", "{}")));
        let pinned = include_str!("chain_v1.txt").trim();
        for (index, byte) in head.iter().enumerate() {
            assert_eq!(format!("{byte:02x}"), pinned[2 * index..2 * index + 2]);
        }
    }

    #[test]
    fn the_order_of_events_changes_the_head() {
        let (one, two) = (leaf("a", "b", 1, &event("1", "")), leaf("a", "b", 2, &event("2", "")));
        assert_ne!(fold(&fold(&GENESIS, &one), &two), fold(&fold(&GENESIS, &two), &one));
    }
}
