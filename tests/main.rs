//! Does the whole server do what it promises, seen from outside?
//!
//! One binary. Tests speak HTTP, the command line or a browser; nothing inside is called but
//! `serve::start`, with a clock that the test moves, and by `journal` the log itself. Names mirror the
//! source tree; `attacks/` holds the table of known attacks, each with a positive control; `faults/`
//! breaks processes; `fuzz` replays the seeds of `fuzz/targets`. `tests/run` prepares what they need.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop there"
)]

mod architecture;
mod attacks;
mod browser;
mod cli;
mod deploy;
mod disconnect;
mod endpoints;
mod faults;
mod fuzz;
mod grants;
mod harness;
mod health;
mod journal;
mod logs;
mod moving;
mod nodes;
mod pages;
mod replay;
mod restart;
mod rollback;
mod secrets;
mod simulation;
mod tls;
mod traces;
mod tutorial;
