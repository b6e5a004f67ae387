//! How does a connection become requests?
//!
//! Connections beyond the cap, and beyond the share of one network, are closed at once: a client that waits
//! in a queue without being told is worse off. HTTP/1.1 (RFC 9112), and over TLS HTTP/2 for those who ask for it (RFC 9113), whose floods
//! (many streams, resets, pings, endless headers, answers that nobody takes) are bounded here and in `answer.rs`.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::answer::{self, Answer};
use super::connection::{HEAD, Watch, Watched};
use super::listen::BACKLOG;
use crate::extract::request_context::{Peer, is_trusted, network};
use crate::metrics::Metrics;
use crate::room::{Full, Part, Room};
use crate::router::spaced_allow;

/// A head that is larger is 431. More than the 32 KiB that are accepted, so that most clients that send
/// too much are told in an orderly answer instead of a reset.
const READ_BUFFER: usize = 96 * 1024;
/// Requests at a time on one HTTP/2 connection. Clients send so many before they have heard of any limit
/// (RFC 9113 §6.5.2): a smaller one refuses them what they could not know.
const STREAMS: u32 = 100;
/// Bytes of all headers of an HTTP/2 request, as HPACK counts them; `middleware/limits.rs` answers 431 below.
const HEADER_LIST: u32 = 48 * 1024;
/// Bytes that a client may send on one stream, and on all of a connection, before we have taken some: they
/// lie in memory that nobody counts.
const WINDOWS: (u32, u32) = (64 * 1024, 128 * 1024);
/// Streams that a client may open and reset before its connection is closed (CVE-2023-44487).
const RESETS: usize = 32;
/// How often a silent HTTP/2 client is asked whether it is there.
const PING: Duration = Duration::from_secs(30);
/// How long who was the last to get in may take to begin a request.
const FIRST: Duration = Duration::from_millis(200);
/// Out of file descriptors or memory: trying again at once would only burn the processor.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// One network may have a tenth of all connections: many people share an address (a company, a mobile
/// network), and ten attackers in different networks are harder to come by than one.
const NETWORKS: usize = 10;
/// However few connections there are: what two browsers and a pooled client open.
const LEAST: usize = 64;

/// What all accept loops share.
#[derive(Clone)]
pub(super) struct Shared {
    router: Router,
    tls: Option<watch::Receiver<TlsAcceptor>>,
    open: Room,
    answers: Room,
    trusted: Arc<[IpNet]>,
    metrics: Metrics,
}

impl Shared {
    pub(super) fn new(
        router: Router,
        tls: Option<watch::Receiver<TlsAcceptor>>,
        connections: usize,
        trusted: &[IpNet],
        metrics: Metrics,
    ) -> Self {
        let open = Room::new(connections, LEAST.max(connections / NETWORKS));
        Self { router, tls, open, answers: answer::room(), trusted: trusted.into(), metrics }
    }

    /// Whose share a connection takes. Proxies carry many clients, and this machine's programs are its own.
    fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        (!peer.is_loopback() && !is_trusted(peer, &self.trusted)).then(|| network(peer))
    }
}

/// Accepts until told to stop, then waits for its connections.
pub(super) async fn accept(listener: TcpListener, shared: Shared, mut stopping: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let mut last = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                admit(stream, peer, &shared, graceful.watcher());
                last = Some(Instant::now());
            }
            Err(error) => rest(&error).await,
        }
    }
    // Whom the system has let in would be reset with the door.
    for _ in 0..BACKLOG {
        let waiting = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        match waiting {
            Ok(Ok((stream, peer))) => {
                admit(stream, peer, &shared, graceful.watcher());
                last = Some(Instant::now());
            }
            Ok(Err(error)) if is_clients(&error) => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    drop(listener);
    // hyper closes at once who has not sent anything yet.
    if let Some(last) = last {
        tokio::time::sleep_until(last + FIRST).await;
    }
    graceful.shutdown().await;
}

/// Whether it says nothing of the next connection.
fn is_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn rest(error: &io::Error) {
    if !is_clients(error) {
        tracing::error!(
            error = %error,
            what_to_do = "Raise the limit of open files (`LimitNOFILE`), or lower `max-connections`.",
            "cannot accept connections at the moment"
        );
        tokio::time::sleep(AFTER_FAILURE).await;
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, shared: &Shared, watcher: Watcher) {
    let mut place = shared.open.part(shared.counted(peer.ip()));
    if let Err(full) = place.grow(1) {
        tracing::debug!("too many connections: one was closed");
        shared.metrics.shed(full.limit("connections", "network_connections"));
        return;
    }
    let shared = shared.clone();
    tokio::spawn(async move {
        let _place = place;
        let _open = Open::new(&shared.metrics);
        // Small answers must not wait for an acknowledgement (Nagle's algorithm).
        let _ = stream.set_nodelay(true);
        match &shared.tls {
            None => serve(stream, peer.ip(), shared, watcher, Version::One).await,
            Some(tls) => match tokio::time::timeout(HEAD, acceptor(tls).accept(stream)).await {
                Ok(Ok(stream)) => {
                    let version = Version::agreed(stream.get_ref().1.alpn_protocol());
                    serve(stream, peer.ip(), shared, watcher, version).await;
                }
                Ok(Err(error)) => tracing::debug!(error = %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            },
        }
    });
}

/// Counts a connection for as long as it is open.
struct Open(Gauge);

impl Open {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.connections.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// With the certificate of this moment.
fn acceptor(tls: &watch::Receiver<TlsAcceptor>) -> TlsAcceptor {
    tls.borrow().clone()
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// What client and server agreed on in the handshake (RFC 7301).
    fn agreed(protocol: Option<&[u8]>) -> Self {
        if protocol == Some(b"h2") { Self::Two } else { Self::One }
    }
}

/// One connection, and what answers it.
struct Connection {
    peer: IpAddr,
    shared: Shared,
    watch: Arc<Watch>,
}

impl Connection {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let _busy = self.watch.busy();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        let mut response = self.shared.router.clone().oneshot(request).await?;
        if self.watch.is_ambiguous() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(spaced_allow(response))
    }

    /// On HTTP/2, where answers wait until they are taken: each has room, or there is none. Looked for before hyper
    /// makes a task of the request: as many as may come at once are many, and each keeps its head until it is its turn.
    fn answer_stream(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<> {
        let mut part = self.part();
        let admitted = answer::reserve(&mut part, &request).map(|reserved| (reserved, request));
        async move {
            let _busy = self.watch.busy();
            let (reserved, request) = match admitted {
                Ok(admitted) => admitted,
                Err(full) => return Ok(self.refuse(full)),
            };
            let (head, body) = Arc::clone(&self).answer(request).await?.into_parts();
            Ok(match Answer::new(body, part, reserved, self.watch.untaken()) {
                Ok(body) => Response::from_parts(head, body),
                Err(full) => self.refuse(full),
            })
        }
    }

    fn part(&self) -> Part {
        self.shared.answers.part(self.shared.counted(self.peer))
    }

    fn refuse(&self, full: Full) -> Response<Answer> {
        self.shared.metrics.shed(full.limit("answers", "network_answers"));
        answer::refusal(full, self.part(), self.watch.untaken())
    }
}

async fn serve<Io>(io: Io, peer: IpAddr, shared: Shared, watcher: Watcher, version: Version)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Watch::new();
    let io = TokioIo::new(Watched { io, watch: Arc::clone(&watch) });
    let connection = Arc::new(Connection { peer, shared, watch: Arc::clone(&watch) });
    match version {
        Version::One => {
            let service = service_fn(move |request| Arc::clone(&connection).answer(request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_BUFFER);
            finish(watcher.watch(http.serve_connection(io, service)), &watch).await;
        }
        Version::Two => {
            watch.speaks_http2();
            let service = service_fn(move |request| Arc::clone(&connection).answer_stream(request));
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(HEADER_LIST)
                .initial_stream_window_size(WINDOWS.0)
                .initial_connection_window_size(WINDOWS.1)
                .max_pending_accept_reset_streams(RESETS)
                .max_local_error_reset_streams(RESETS)
                .keep_alive_interval(PING)
                .keep_alive_timeout(HEAD);
            finish(watcher.watch(http.serve_connection(io, service)), &watch).await;
        }
    }
}

async fn finish(connection: impl Future<Output = hyper::Result<()>>, watch: &Watch) {
    tokio::select! {
        finished = connection => if let Err(error) = finished {
            tracing::debug!(error = %error, "a connection ended early");
        },
        () = watch.expired() => tracing::debug!("a connection waited for too long and was closed"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use http_body_util::{BodyExt, Empty};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    struct Accepting {
        listener: TcpListener,
        shared: Shared,
        graceful: GracefulShutdown,
    }

    impl Accepting {
        async fn new(connections: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let router = Router::new().route("/", get(|| async { "here" }));
            let trusted = ["198.51.100.0/24".parse().unwrap()];
            let shared = Shared::new(router, None, connections, &trusted, Metrics::default());
            Self { listener, shared, graceful: GracefulShutdown::new() }
        }

        /// Somebody connects who seems to come from there; the connection, if they are answered.
        async fn connect(&self, from: &str) -> Option<TcpStream> {
            let connecting = TcpStream::connect(self.listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(connecting, self.listener.accept());
            let peer = SocketAddr::new(from.parse().unwrap(), 4711);
            admit(accepted.unwrap().0, peer, &self.shared, self.graceful.watcher());
            let mut client = client.unwrap();
            let _ = client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let mut answer = [0; 12];
            let read = client.read_exact(&mut answer).await;
            (read.is_ok() && answer == *b"HTTP/1.1 200").then_some(client)
        }
    }

    #[tokio::test]
    async fn one_network_cannot_take_every_connection() {
        let accepting = Accepting::new(1_000).await;
        for from in ["192.0.2.1", "2001:db8::"] {
            let mut open = Vec::new();
            for number in 0..300 {
                let own = if from.contains(':') { format!("{from}{number}") } else { from.to_owned() };
                open.extend(accepting.connect(&own).await);
            }
            assert_eq!(open.len(), 100, "{from}");
            assert!(accepting.connect("192.0.2.2").await.is_some(), "others find room");
            // Its own are counted as long as they are open.
            drop(open);
            while accepting.shared.open.in_use() > 1 {
                tokio::task::yield_now().await;
            }
            assert!(accepting.connect(from).await.is_some());
        }
        // Many clients come through these.
        for from in ["198.51.100.7", "127.0.0.1", "::ffff:127.0.0.1"] {
            let mut open = Vec::new();
            for _ in 0..200 {
                open.extend(accepting.connect(from).await);
            }
            assert_eq!(open.len(), 200, "{from}");
        }
    }

    /// The system has let them in, and nobody has accepted them when the server is told to stop.
    #[tokio::test]
    async fn who_is_in_before_the_door_is_closed_is_answered() {
        let Accepting { listener, shared, .. } = Accepting::new(100).await;
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let stopping = watch::Sender::new(true);
        let accepting = tokio::spawn(accept(listener, shared, stopping.subscribe()));
        tokio::time::sleep(Duration::from_millis(20)).await;
        for mut client in clients {
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, *b"HTTP/1.1 200");
        }
        assert!(TcpStream::connect(address).await.is_err(), "nobody else gets in");
        accepting.await.unwrap();
    }

    #[tokio::test]
    async fn few_connections_can_all_be_of_one_network() {
        let accepting = Accepting::new(100).await;
        let mut open = Vec::new();
        for _ in 0..100 {
            open.extend(accepting.connect("192.0.2.1").await);
        }
        assert_eq!(open.len(), LEAST);
    }

    /// A few of each of the 256 networks that one line at home has.
    #[tokio::test]
    async fn one_line_cannot_take_every_connection_by_its_many_networks() {
        let accepting = Accepting::new(1_000).await;
        let mut open = Vec::new();
        for network in 0..=255 {
            for _ in 0..2 {
                open.extend(accepting.connect(&format!("2001:db8:1:{network:x}::1")).await);
            }
        }
        assert_eq!(open.len(), 300);
        for other in ["192.0.2.1", "2001:db8:2::1"] {
            assert!(accepting.connect(other).await.is_some(), "{other}");
        }
    }

    type Asking = hyper::client::conn::http2::SendRequest<Empty<axum::body::Bytes>>;

    /// Somebody speaks HTTP/2 who seems to come from there, and takes so many bytes of each answer before it is
    /// looked at.
    async fn speak(shared: &Shared, from: &str, window: u32) -> (Asking, JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let shared = shared.clone();
        let from = from.parse().unwrap();
        let serving = tokio::spawn(async move {
            let graceful = GracefulShutdown::new();
            serve(server, from, shared, graceful.watcher(), Version::Two).await;
        });
        let mut http = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).initial_stream_window_size(window);
        let (sender, connection) = http.handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        (sender, serving)
    }

    async fn ask(asking: &mut Asking, method: &str) -> Response<Incoming> {
        let request = Request::builder().method(method).uri("http://localhost/");
        asking.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
    }

    /// Answers with a page of so many bytes, and counts how often.
    fn pages(length: usize) -> (Shared, Arc<AtomicUsize>) {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let handler = get(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { "a".repeat(length) }
        });
        (Shared::new(Router::new().route("/", handler), None, 1, &[], Metrics::default()), made)
    }

    async fn comes_to(room: &Room, amount: usize) -> bool {
        let comes = async {
            while room.in_use() != amount {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), comes).await.is_ok()
    }

    #[tokio::test]
    async fn an_answer_holds_its_room_until_its_last_byte_is_taken() {
        let (shared, _) = pages(100_000);
        // The first piece is given to h2 as a whole as soon as there is a window of one byte.
        for window in [0, 1, 99_999] {
            let (mut asking, serving) = speak(&shared, "192.0.2.1", window).await;
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(ask(&mut asking, "GET").await);
            }
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(shared.answers.in_use(), 300_000, "{window}");
            // One is reset, the others go with their connection.
            answers.pop();
            assert!(comes_to(&shared.answers, 200_000).await, "{window}");
            ask(&mut asking, "HEAD").await;
            assert!(comes_to(&shared.answers, 200_000).await, "{window}");
            serving.abort();
            assert!(comes_to(&shared.answers, 0).await, "{window}");
        }
        let (mut asking, serving) = speak(&shared, "192.0.2.1", 99_999).await;
        let taken = ask(&mut asking, "GET").await.into_body().collect().await.unwrap();
        assert_eq!(taken.to_bytes().len(), 100_000);
        assert!(comes_to(&shared.answers, 0).await, "whoever takes it leaves nothing behind");
        assert!(!serving.is_finished());
    }

    #[tokio::test]
    async fn who_takes_no_answers_is_told_to_come_again_and_others_are_served() {
        let (shared, made) = pages(64 << 10);
        let (mut asking, _serving) = speak(&shared, "192.0.2.1", 0).await;
        let mut left = Vec::new();
        for _ in 0..64 {
            let answer = ask(&mut asking, "GET").await;
            assert_eq!(answer.status(), 200);
            left.push(answer);
        }
        let told = ask(&mut asking, "GET").await;
        assert_eq!((told.status().as_u16(), &told.headers()["retry-after"]), (429, &HeaderValue::from(1)));
        assert!(told.into_body().collect().await.unwrap().to_bytes().is_empty());
        assert_eq!(made.load(Ordering::Relaxed), 64, "nothing is done whose answer has no room");
        let (mut other, _serving) = speak(&shared, "192.0.2.2", 1 << 20).await;
        assert_eq!(ask(&mut other, "GET").await.status(), 200);
        drop(left);
        assert!(comes_to(&shared.answers, 0).await);
        assert_eq!(ask(&mut asking, "GET").await.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_and_again_does_not_keep_the_answers_it_does_not_take() {
        let (shared, _) = pages(10);
        let (mut asking, mut serving) = speak(&shared, "192.0.2.1", 0).await;
        let begun = Instant::now();
        let _untaken = ask(&mut asking, "GET").await;
        while timeout(Duration::from_secs(10), &mut serving).await.is_err() {
            ask(&mut asking, "HEAD").await;
        }
        let lasted = begun.elapsed().as_secs();
        assert!((75..80).contains(&lasted), "{lasted} s");
        assert!(comes_to(&shared.answers, 0).await);
        // Who takes them may go on.
        let (mut asking, mut serving) = speak(&shared, "192.0.2.1", 1 << 20).await;
        for _ in 0..20 {
            ask(&mut asking, "GET").await.into_body().collect().await.unwrap();
            assert!(timeout(Duration::from_secs(10), &mut serving).await.is_err());
        }
    }

    /// An HTTP/2 client asks something that takes for ever; it resets its stream, or it waits.
    async fn closed_after_asking(resets: bool) -> bool {
        let asked = Arc::new(Notify::new());
        let notified = Arc::clone(&asked);
        let handler = get(move || {
            let asked = Arc::clone(&notified);
            async move {
                asked.notify_one();
                std::future::pending::<()>().await;
            }
        });
        let shared = Shared::new(Router::new().route("/", handler), None, 1, &[], Metrics::default());
        let (mut asking, mut serving) = speak(&shared, "192.0.2.1", 1 << 16).await;
        let answer = tokio::spawn(async move { ask(&mut asking, "GET").await });
        asked.notified().await;
        if resets {
            answer.abort();
        }
        // Pings are answered all the while.
        timeout(Duration::from_mins(10), &mut serving).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_resets_a_stream_does_not_keep_the_connection_for_ever() {
        assert!(!closed_after_asking(false).await, "who waits for an answer is waited for");
        assert!(closed_after_asking(true).await);
    }
}
