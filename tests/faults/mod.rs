//! What survives a crash? Processes are killed under load while a ledger keeps what they promised.

mod crash;
mod ledger;
mod log;
mod nodes;
mod postgres;
mod races;
pub mod report;
