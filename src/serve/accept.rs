//! How does a connection become requests?
//!
//! Connections beyond the cap are closed at once: a client that waits in a queue without being told is
//! worse off. HTTP/1.1 only; proxies in front speak it, and it has no floods of its own (RFC 9112).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
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
/// Out of file descriptors or memory: trying again at once would only burn the processor.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What all accept loops share.
#[derive(Clone)]
pub(super) struct Shared {
    router: Router,
    tls: Option<TlsAcceptor>,
    open: Arc<Semaphore>,
    metrics: Metrics,
}

impl Shared {
    pub(super) fn new(
        router: Router,
        tls: Option<TlsAcceptor>,
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
            None => serve(stream, peer, shared.router, watcher).await,
            Some(tls) => match tokio::time::timeout(HEAD, tls.accept(stream)).await {
                Ok(Ok(stream)) => serve(stream, peer, shared.router, watcher).await,
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

async fn serve<Io>(io: Io, peer: SocketAddr, router: Router, watcher: Watcher)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Watch::new();
    let io = TokioIo::new(Watched { io, watch: Arc::clone(&watch) });
    let on_request = Arc::clone(&watch);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, watch) = (router.clone(), Arc::clone(&on_request));
        async move {
            watch.busy();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer.ip()));
            let response = router.oneshot(request).await;
            watch.answered();
            response.map(spaced_allow).map_err(|never: Infallible| match never {})
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(READ_BUFFER)
        .serve_connection(io, service);
    tokio::select! {
        finished = watcher.watch(connection) => if let Err(error) = finished {
            tracing::debug!(error = %error, "a connection ended early");
        },
        () = watch.expired() => tracing::debug!("a connection waited for too long and was closed"),
    }
}
