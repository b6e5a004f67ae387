//! How long may a connection do nothing?
//!
//! hyper has one time limit for the head of a request, and applies it to a connection that waits between
//! two as well. Closing those after five seconds would hit pooled clients in mid-request, so the two
//! are told apart here: five seconds for a head that has begun (and for the first one), more than a
//! minute for silence after an answer. Bodies have their own limit (`middleware/limits.rs`), commands theirs.
//!
//! On HTTP/2 new requests are no sign that answers are taken: the oldest that is left lying has its own time, and so
//! has whoever takes nothing off the socket.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use crate::room::Room;

/// From the first byte of a request to the end of its headers.
pub(super) const HEAD: Duration = Duration::from_secs(5);
/// From one answer to the next request, and from an answer until it has been taken.
const IDLE: Duration = Duration::from_secs(75);
/// The same from an answer until it has been taken, where others need the room.
const SCARCE: Duration = Duration::from_secs(10);
/// How often the limit is looked at: looking at every request would cost each of them a timer.
const LOOK: Duration = Duration::from_secs(1);
const NEVER: u64 = u64::MAX;

/// What a connection is waiting for, and until when.
#[derive(Debug)]
pub(super) struct Watch {
    began: Instant,
    /// Milliseconds since `began`.
    deadline: AtomicU64,
    is_idle: AtomicBool,
    /// Requests being answered: several at once on HTTP/2.
    in_work: AtomicUsize,
    /// When each answer was there that nobody has taken yet; the oldest is the first.
    untaken: Mutex<BTreeMap<u64, u64>>,
    answers: AtomicU64,
    /// Since when nothing can be written, if so.
    stuck: AtomicU64,
    is_http2: AtomicBool,
    /// The last byte that was read.
    last: AtomicU8,
    has_bare_feed: AtomicBool,
}

impl Watch {
    /// Of a connection that was just accepted.
    pub(super) fn new() -> Arc<Self> {
        let watch = Self {
            began: Instant::now(),
            deadline: AtomicU64::new(NEVER),
            is_idle: AtomicBool::new(false),
            in_work: AtomicUsize::new(0),
            untaken: Mutex::default(),
            answers: AtomicU64::new(0),
            stuck: AtomicU64::new(NEVER),
            is_http2: AtomicBool::new(false),
            last: AtomicU8::new(0),
            has_bare_feed: AtomicBool::new(false),
        };
        watch.expect_within(HEAD);
        Arc::new(watch)
    }

    /// A request is being answered, for as long as what this returns is kept.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.in_work.fetch_add(1, Ordering::Relaxed);
        self.is_idle.store(false, Ordering::Relaxed);
        self.deadline.store(NEVER, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// An answer is there, and waits to be taken for as long as what this returns is kept.
    pub(super) fn untaken(self: &Arc<Self>) -> Untaken {
        let mut untaken = self.lock();
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        untaken.insert(number, self.now());
        Untaken { watch: Arc::clone(self), number }
    }

    /// Insertions and removals leave no state half changed: a panic elsewhere is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) {
        if self.in_work.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.is_idle.store(true, Ordering::Relaxed);
            self.expect_within(IDLE);
        }
    }

    /// On HTTP/2 not every byte belongs to the head of a request: after the first one only silence counts.
    pub(super) fn speaks_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    /// Whether lines may have been told apart otherwise than a proxy in front does: a line feed alone ends
    /// one for some (RFC 9112 §2.2) and not for others. What follows on such a connection is not to be read:
    /// it may be somebody's body that looks like a request.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.has_bare_feed.load(Ordering::Relaxed)
    }

    fn received(&self, bytes: &[u8]) {
        if self.is_http2.load(Ordering::Relaxed) {
            return;
        }
        if self.is_idle.swap(false, Ordering::Relaxed) {
            self.expect_within(HEAD);
        }
        let mut last = self.last.load(Ordering::Relaxed);
        for byte in bytes {
            if *byte == b'\n' && last != b'\r' {
                self.has_bare_feed.store(true, Ordering::Relaxed);
            }
            last = *byte;
        }
        self.last.store(last, Ordering::Relaxed);
    }

    fn expect_within(&self, limit: Duration) {
        self.deadline.store(self.now().saturating_add(millis(limit)), Ordering::Relaxed);
    }

    /// What was written has left, or has to wait.
    fn wrote<T>(&self, polled: &Poll<T>) {
        if polled.is_ready() {
            self.stuck.store(NEVER, Ordering::Relaxed);
        } else {
            let _ = self.stuck.compare_exchange(NEVER, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Until when it is waited for; so long until an answer is taken.
    fn limit(&self, patience: Duration) -> u64 {
        let oldest = self.lock().first_key_value().map_or(NEVER, |(_, since)| *since);
        let taken = oldest.min(self.stuck.load(Ordering::Relaxed)).saturating_add(millis(patience));
        self.deadline.load(Ordering::Relaxed).min(taken)
    }

    /// Returns when the connection has waited for too long.
    pub(super) async fn expired(&self, answers: &Room) {
        let is_needed = || self.is_http2.load(Ordering::Relaxed) && answers.is_scarce();
        while self.now() < self.limit(if is_needed() { SCARCE } else { IDLE }) {
            sleep(LOOK).await;
        }
    }
}

/// An answer that nobody has taken yet.
pub(super) struct Untaken {
    watch: Arc<Watch>,
    number: u64,
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.watch.lock().remove(&self.number);
    }
}

/// A request in work. Its end is an answer on its way out, and a client that does not take it is cut off as
/// well; or a client that reset its stream, for whom nothing is answered any more.
pub(super) struct Busy(Arc<Watch>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.answered();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}

/// A connection that tells its [`Watch`] what is read, and when nothing can be written.
pub(super) struct Watched<Io> {
    pub(super) io: Io,
    pub(super) watch: Arc<Watch>,
}

impl<Io: AsyncRead + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if let Some(received @ [_, ..]) = buffer.filled().get(before..) {
            self.watch.received(received);
        }
        polled
    }
}

impl<Io: AsyncWrite + Unpin> Watched<Io> {
    /// What TLS has taken lies in its buffer: only what was flushed has left.
    fn write<T>(&mut self, write: impl FnOnce(Pin<&mut Io>) -> Poll<T>) -> Poll<T> {
        let polled = write(Pin::new(&mut self.io));
        if polled.is_pending() {
            self.watch.wrote(&polled);
        }
        polled
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|io| io.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(context);
        self.watch.wrote(&polled);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|io| io.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Limits are computed from the watch itself: no test waits for them.
    fn limit(watch: &Watch) -> u64 {
        watch.limit(IDLE)
    }

    #[test]
    fn a_head_has_five_seconds_silence_more_than_a_minute_and_work_no_limit() {
        let watch = Watch::new();
        assert!((5_000..6_000).contains(&limit(&watch)));
        watch.received(b"G");
        assert!((5_000..6_000).contains(&limit(&watch)), "more bytes of a head do not prolong it");
        let busy = watch.busy();
        assert_eq!(limit(&watch), NEVER);
        drop(busy);
        assert!((75_000..76_000).contains(&limit(&watch)));
        watch.received(b"G");
        assert!((5_000..6_000).contains(&limit(&watch)));
    }

    #[test]
    fn a_line_feed_alone_is_noticed_wherever_reads_are_cut() {
        for (reads, is_ambiguous) in [
            (["GET / HTTP/1.1\r\nHost: a\r", "\n\r\n"], false),
            (["GET / HTTP/1.1\nHost: a\r\n", "\r\n"], true),
            (["GET / HTTP/1.1\r\nHost: a\r\n", "\n"], true),
            (["\n", "GET / HTTP/1.1\r\n"], true),
        ] {
            let watch = Watch::new();
            for read in reads {
                watch.received(read.as_bytes());
            }
            assert_eq!(watch.is_ambiguous(), is_ambiguous, "{reads:?}");
        }
    }

    #[test]
    fn several_requests_at_once_are_all_waited_for() {
        let watch = Watch::new();
        watch.speaks_http2();
        let (one, two) = (watch.busy(), watch.busy());
        drop(one);
        assert_eq!(limit(&watch), NEVER, "one is still in work");
        drop(two);
        watch.received(b"G");
        assert!((75_000..76_000).contains(&limit(&watch)), "a ping is no request");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_answer_that_is_left_lying_decides_whatever_is_asked_after_it() {
        let watch = Watch::new();
        watch.speaks_http2();
        let (taken, oldest) = (watch.untaken(), watch.untaken());
        for _ in 0..7 {
            tokio::time::advance(Duration::from_secs(10)).await;
            drop((watch.busy(), watch.untaken()));
        }
        drop(taken);
        let busy = watch.busy();
        assert_eq!(limit(&watch), 75_000);
        let later = watch.untaken();
        drop(oldest);
        assert_eq!(limit(&watch), 145_000);
        assert_eq!(watch.limit(SCARCE), 80_000);
        drop(later);
        assert_eq!(watch.limit(SCARCE), NEVER);
        assert_eq!(limit(&watch), NEVER);
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_off_the_socket_is_cut_off_whatever_is_asked() {
        let (client, server) = tokio::io::duplex(64);
        let watch = Watch::new();
        watch.speaks_http2();
        let mut server = Watched { io: server, watch: Arc::clone(&watch) };
        let busy = watch.busy();
        for _ in 0..7 {
            let writing = tokio::time::timeout(Duration::from_secs(10), server.write_all(&[0; 65]));
            assert!(writing.await.is_err());
        }
        assert_eq!(limit(&watch), 75_000);
        let (mut reader, _writer) = tokio::io::split(client);
        tokio::spawn(async move { while matches!(reader.read(&mut [0; 64]).await, Ok(1..)) {} });
        server.write_all(&[0; 65]).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(limit(&watch), NEVER);
        drop(busy);
    }

    /// A client that resets its stream: the handler is dropped where it was, and nothing is answered.
    #[tokio::test]
    async fn a_request_that_is_dropped_without_an_answer_is_no_longer_in_work() {
        let watch = Watch::new();
        watch.speaks_http2();
        let working = Arc::clone(&watch);
        let handler = tokio::spawn(async move {
            let _busy = working.busy();
            std::future::pending::<()>().await;
        });
        while limit(&watch) != NEVER {
            tokio::task::yield_now().await;
        }
        handler.abort();
        assert!(handler.await.unwrap_err().is_cancelled());
        assert!((75_000..76_000).contains(&limit(&watch)));
        // And one whose handler panicked.
        let working = Arc::clone(&watch);
        let handler = tokio::spawn(async move {
            let _busy = working.busy();
            panic!("on purpose");
        });
        assert!(handler.await.unwrap_err().is_panic());
        assert_eq!(watch.in_work.load(Ordering::Relaxed), 0);
        assert_ne!(limit(&watch), NEVER);
    }
}
