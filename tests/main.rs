//! Does the whole server do what it promises, seen from outside?
//!
//! One binary. Tests speak HTTP, the command line or a browser; only `journal` looks inside, at the
//! log on both engines. `tests/run` prepares what they need.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop there"
)]

mod harness;
mod journal;
