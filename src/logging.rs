//! Where do log lines go? To standard error, by a thread of their own: a full disk or a reader that has
//! stopped must not stop the server. Lines that find no room are dropped, and counted. Traces go to a
//! collector, if one was named.

use std::io::{self, Stderr, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Log, LogFormat, Traces};
use crate::telemetry;

/// Lines that may wait to be written.
const WAITING: usize = 4_096;
/// How long the last spans may take to be sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// A process has one log. Lines for which there was no room in memory.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();
/// Lines that standard error did not take: it may be a file on a full disk.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Standard error, as far as it takes what is written. The thread that writes drops what fails, and says
/// nothing.
struct Counted(Stderr);

impl Write for Counted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.0.write_all(line) {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The log of a process. What is still waiting is written, and sent, when it is dropped.
pub struct Logging {
    traces: Option<SdkTracerProvider>,
    _lines: WorkerGuard,
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown_with_timeout(FAREWELL)
        {
            tracing::warn!(
                %error, what_to_do = "Nothing: some traces are missing.",
                "the last spans were not sent"
            );
        }
    }
}

/// Starts the log of a process, and its traces if they go somewhere. Not from asynchronous code: spans are
/// sent by a thread that waits for the collector.
pub fn start(
    log: &Log,
    filter: &str,
    in_colour: bool,
    traces: Option<&Traces>,
) -> Result<Logging, ExporterBuildError> {
    let (writer, lines): (NonBlocking, WorkerGuard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).finish(Counted(io::stderr()));
    // A second log in one process (tests) changes nothing.
    let _ = DROPPED.set(writer.error_counter());
    // The filter was checked with the configuration; spans are not for the log.
    let filter =
        EnvFilter::builder().parse(format!("{filter},{}=off", telemetry::TARGET)).unwrap_or_default();
    let shown = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(in_colour);
    let shown = match log.format {
        LogFormat::Text => shown.boxed(),
        LogFormat::Json => shown.json().flatten_event(true).boxed(),
    };
    let traces = traces.map(telemetry::provider).transpose()?.flatten();
    let sent = traces.as_ref().map(telemetry::layer);
    let _ = tracing_subscriber::registry().with(sent).with(shown.with_filter(filter)).try_init();
    Ok(Logging { traces, _lines: lines })
}

/// Lines that were dropped so far.
#[must_use]
pub fn dropped_lines() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines) + REFUSED.load(Ordering::Relaxed)
}
