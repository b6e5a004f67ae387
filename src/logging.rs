//! Where do log lines go? To standard error, by a thread of their own: a full disk or a reader that has
//! stopped must not stop the server. Lines that find no room are dropped, and counted.

use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Lines that may wait to be written.
const WAITING: usize = 4_096;

/// A process has one log.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts the log of a process. What is still waiting is written when the guard is dropped.
pub fn start(log: &Log, filter: &str, in_colour: bool) -> WorkerGuard {
    let (writer, guard): (NonBlocking, WorkerGuard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).finish(std::io::stderr());
    // A second log in one process (tests) changes nothing.
    let _ = DROPPED.set(writer.error_counter());
    // The filter was checked with the configuration.
    let filter = EnvFilter::builder().parse(filter).unwrap_or_default();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(in_colour);
    let _ = match log.format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    guard
}

/// Lines that were dropped so far.
#[must_use]
pub fn dropped_lines() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}
