//! What survives a crash, a full disk, a cut line, a wrong clock? A ledger keeps what was promised meanwhile, and is
//! held against the log, the tables and the answers afterwards (`ledger.rs`, `oracle.rs`):
//!
//! - L1 What was acknowledged is an event, and its rows are there; what had no clear answer is wholly there or not at all.
//! - L2 What is dead stays dead to every request that began after its end was acknowledged.
//! - L3 No code and no refresh token had two different successes.
//! - L4 Every read model is what a rebuild makes.
//! - L5 The log is dense, and its chain recomputes.
//! - L6 A fault of ours is 503 with `Retry-After`, never `invalid_grant`, `active:false` or 401.
//! - L7 Everything is well again within the row's figure, which its test asserts.
//!
//! Of revocations: R1 after the 200 no node says that the token lives; R2 nor from what it knew more than a lease ago;
//! R3 who cannot know says 503; R4 what is known to be dead is told without a database. T1 tests R1 while all nodes are
//! well, T2 while some are not, T4 R3 and R4; T3 are models under `shuttle` (`src/journal/lease/model.rs`), T5 is the
//! simulation.
//!
//! | Row | What goes wrong | Where |
//! |---|---|---|
//! | F1 | kill -9 of a server | `crash.rs` |
//! | F2 | any call of the database, at any await; the line at any message | `../simulation/points.rs`, `line.rs` |
//! | F3, F4 | kill -9 of a backend, of PostgreSQL | `postgres.rs` |
//! | F5, F6 | a primary lost, a standby stopped | `patroni.rs`, `standby.rs` |
//! | F7, F8 | a partition, a primary that is none any more | `partition.rs`, `silent.rs`, `patroni.rs`, `../rollback.rs` |
//! | F9, F10 | a database that is slow, or hangs | `slow.rs` |
//! | F11, F12, F13 | a full disk, a full disk of the write-ahead log, a full log | `disk.rs`, `log.rs` |
//! | F14 | history that was edited, a file that was damaged | `../journal/trials.rs`, `unreadable.rs` |
//! | F15, F16 | a wrong clock, a frozen process | `clock.rs`, `troubles.rs` |
//! | F17, F18 | clients that are slow, greedy or break the protocol | `clients.rs`, `floods.rs` |
//! | F19, F25 | a herd that meets cold nodes, stops and rolling restarts | `nodes.rs` |
//! | F20 | two versions on one database | `versions.rs` |
//! | F21 | a restored backup | `restore.rs`, `../rollback.rs` |
//! | F22 | a signing key that leaked | there is none before tokens are signed |
//! | F23 | races for the same code, token or name | `races.rs` |
//! | F24 | a reader that hangs or is killed | `reader.rs` |

mod clients;
mod clock;
mod cluster;
pub mod crash;
mod disk;
mod encrypted;
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
mod silent;
mod slow;
mod soak;
mod standby;
mod times;
mod troubles;
mod unreadable;
mod versions;
