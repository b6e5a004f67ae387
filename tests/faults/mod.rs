//! What survives a crash, a full disk, a cut line, a wrong clock? The rows of the fault table by their
//! numbers; a ledger keeps what was promised meanwhile.

mod clients;
mod clock;
mod cluster;
pub mod crash;
mod disk;
mod ending;
mod floods;
mod front;
mod grants;
mod leaks;
mod ledger;
mod line;
mod log;
mod machine;
mod nodes;
mod oracle;
mod partition;
mod patroni;
mod postgres;
mod races;
mod reader;
pub mod report;
mod restore;
mod revocations;
mod slow;
mod soak;
mod standby;
mod troubles;
mod unreadable;
mod versions;
