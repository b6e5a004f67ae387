//! Where do totals go? To the screen, and in a campaign into the file that `tests/run campaign` makes
//! `tests/faults/RESULTS.md` of.

use std::fs::OpenOptions;
use std::io::Write;

pub use crate::harness::environment::{is_long, scale};

/// Says what a scenario came to.
pub fn record(row: &str, text: &str) {
    println!("{row}: {text}");
    keep(&format!("| {row} | {text} |"));
}

/// Adds to what the whole campaign promised. An entry is a promise that was acknowledged (a token, the end of
/// one) or a request without a clear answer; so many of them are ends that were acknowledged. Those of T1 and T2
/// were asked about on three nodes.
pub fn count(row: &str, entries: usize, revocations: usize) {
    keep(&format!("+ {entries} {revocations} {row}"));
}

fn keep(line: &str) {
    if let Some(path) = crate::harness::environment::results() {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
