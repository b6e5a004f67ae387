//! Where do totals go? To the screen, and in a campaign into the file that `tests/run campaign` makes
//! `tests/faults/RESULTS.md` of.

use std::fs::OpenOptions;
use std::io::Write;

/// How many times longer a campaign is than the short form that runs with every change.
pub fn scale() -> usize {
    if crate::harness::environment::is_campaign() { CAMPAIGN } else { 1 }
}

const CAMPAIGN: usize = 8;

/// Says what a scenario came to.
pub fn record(row: &str, text: &str) {
    println!("{row}: {text}");
    if let Some(path) = crate::harness::environment::results() {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "| {row} | {text} |").unwrap();
    }
}
