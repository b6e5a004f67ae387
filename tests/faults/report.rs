//! Where do totals go? To the screen, and in a campaign into the file that `tests/run campaign` makes
//! `tests/faults/RESULTS.md` of.

use std::fs::OpenOptions;
use std::io::Write;

pub use crate::harness::environment::scale;

/// Says what a scenario came to.
pub fn record(row: &str, text: &str) {
    println!("{row}: {text}");
    if let Some(path) = crate::harness::environment::results() {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "| {row} | {text} |").unwrap();
    }
}
