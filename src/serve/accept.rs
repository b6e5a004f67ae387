//! How does a connection become requests?
//!
//! Connections beyond the cap, and beyond the share of one network, are closed at once: a client that waits
//! in a queue without being told is worse off. HTTP/1.1 (RFC 9112), and over TLS HTTP/2 for those who ask for it (RFC 9113), whose floods
//! (many streams, resets, pings, endless headers, answers that nobody takes) are bounded here and in `answer.rs`.

#[cfg(test)]
mod tests;

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
        let admitted = answer::reserve(&mut part, &request).map(|()| request);
        async move {
            let _busy = self.watch.busy();
            let request = match admitted {
                Ok(request) => request,
                Err(full) => return Ok(self.refuse(full)),
            };
            let (head, body) = Arc::clone(&self).answer(request).await?.into_parts();
            Ok(match Answer::new(body, part, self.watch.untaken()) {
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
    let (watch, answers) = (Watch::new(), shared.answers.clone());
    let io = TokioIo::new(Watched { io, watch: Arc::clone(&watch) });
    let connection = Arc::new(Connection { peer, shared, watch: Arc::clone(&watch) });
    match version {
        Version::One => {
            let service = service_fn(move |request| Arc::clone(&connection).answer(request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_BUFFER);
            finish(watcher.watch(http.serve_connection(io, service)), &watch, &answers).await;
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
            finish(watcher.watch(http.serve_connection(io, service)), &watch, &answers).await;
        }
    }
}

async fn finish(connection: impl Future<Output = hyper::Result<()>>, watch: &Watch, answers: &Room) {
    tokio::select! {
        finished = connection => if let Err(error) = finished {
            tracing::debug!(error = %error, "a connection ended early");
        },
        () = watch.expired(answers) => tracing::debug!("a connection waited for too long and was closed"),
    }
}
