//! How does a connection become requests?
//!
//! Connections beyond the cap are closed at once: a client that waits in a queue without being told is
//! worse off. HTTP/1.1 (RFC 9112), and over TLS HTTP/2 for those who ask for it (RFC 9113), whose floods
//! (many streams, resets, pings, endless headers) are bounded here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::connection::{HEAD, Watch, Watched};
use crate::extract::request_context::Peer;
use crate::metrics::Metrics;
use crate::router::spaced_allow;

/// A head that is larger is 431. More than the 32 KiB that are accepted, so that most clients that send
/// too much are told in an orderly answer instead of a reset.
const READ_BUFFER: usize = 96 * 1024;
/// Requests at a time on one HTTP/2 connection. Clients send so many before they have heard of any limit
/// (RFC 9113 §6.5.2): a smaller one refuses them what they could not know.
const STREAMS: u32 = 100;
/// Bytes of all headers of an HTTP/2 request, as HPACK counts them; `middleware/limits.rs` answers 431 below.
const HEADER_LIST: u32 = 48 * 1024;
/// Streams that a client may open and reset before its connection is closed (CVE-2023-44487).
const RESETS: usize = 32;
/// How often a silent HTTP/2 client is asked whether it is there.
const PING: Duration = Duration::from_secs(30);
/// Out of file descriptors or memory: trying again at once would only burn the processor.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What all accept loops share.
#[derive(Clone)]
pub(super) struct Shared {
    router: Router,
    tls: Option<watch::Receiver<TlsAcceptor>>,
    open: Arc<Semaphore>,
    metrics: Metrics,
}

impl Shared {
    pub(super) fn new(
        router: Router,
        tls: Option<watch::Receiver<TlsAcceptor>>,
        connections: usize,
        metrics: Metrics,
    ) -> Self {
        let open = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Self { router, tls, open, metrics }
    }
}

/// Accepts until told to stop, then waits for its connections.
pub(super) async fn accept(listener: TcpListener, shared: Shared, mut stopping: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(stream, peer, &shared, graceful.watcher()),
            Err(error) => rest(&error).await,
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn rest(error: &io::Error) {
    let is_clients = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !is_clients {
        tracing::error!(error = %error, "cannot accept connections at the moment");
        tokio::time::sleep(AFTER_FAILURE).await;
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, shared: &Shared, watcher: Watcher) {
    let Ok(permit) = Arc::clone(&shared.open).try_acquire_owned() else {
        tracing::debug!("too many connections: one was closed");
        shared.metrics.shed("connections");
        return;
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let _open = Open::new(&shared.metrics);
        // Small answers must not wait for an acknowledgement (Nagle's algorithm).
        let _ = stream.set_nodelay(true);
        match shared.tls {
            None => serve(stream, peer, shared.router, watcher, Version::One).await,
            Some(tls) => match tokio::time::timeout(HEAD, acceptor(&tls).accept(stream)).await {
                Ok(Ok(stream)) => {
                    let version = Version::agreed(stream.get_ref().1.alpn_protocol());
                    serve(stream, peer, shared.router, watcher, version).await;
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

async fn serve<Io>(io: Io, peer: SocketAddr, router: Router, watcher: Watcher, version: Version)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Watch::new();
    let io = TokioIo::new(Watched { io, watch: Arc::clone(&watch) });
    let on_request = Arc::clone(&watch);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, watch) = (router.clone(), Arc::clone(&on_request));
        async move {
            let _busy = watch.busy();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer.ip()));
            let mut response = router.oneshot(request).await;
            if let Ok(response) = &mut response
                && watch.is_ambiguous()
            {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response.map(spaced_allow).map_err(|never: Infallible| match never {})
        }
    });
    match version {
        Version::One => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_BUFFER);
            finish(watcher.watch(http.serve_connection(io, service)), &watch).await;
        }
        Version::Two => {
            watch.speaks_http2();
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(HEADER_LIST)
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
