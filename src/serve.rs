//! How does the server come up, and go down again?
//!
//! Bind first (a port in use is found before anything is touched), then open the data, introduce itself to the
//! log, and accept. Stopping finishes the requests in progress.

mod accept;
mod answer;
mod connection;
mod error;
pub mod horizon;
mod listen;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use self::error::StartError;

use crate::checkpoint;
use crate::clock::{MachineUptime, SharedClock, SystemClock};
use crate::config::{Config, TlsFiles};
use crate::health;
use crate::introduction::introduce;
use crate::journal::{EngineError, Lease};
use crate::metrics::Metrics;
use crate::open::{self, OpenError};
use crate::router::router;
use crate::state::AppState;

/// Connections of those who read metrics.
const OPERATORS: usize = 64;
/// How long requests in progress may take to finish when the server stops, unless somebody is in a hurry.
const DRAIN: Duration = Duration::from_secs(9);
/// How long they may still take after that, or once somebody is: ten seconds together.
const HURRIED: Duration = Duration::from_secs(1);

/// A server that runs until it is stopped or dropped.
pub struct Running {
    /// Where it listens, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    /// Where metrics are shown.
    pub metrics_addresses: Vec<SocketAddr>,
    /// What its handlers share.
    pub state: AppState,
    stopping: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Starts a server.
pub async fn start(config: Config, clock: SharedClock) -> Result<Running, StartError> {
    let tls = config.tls.as_ref().map(tls::read).transpose()?;
    let tls = tls.map(|(stamp, acceptor)| (stamp, watch::Sender::new(acceptor)));
    let listeners = listen::bind("listen", &config.listen)?;
    let metrics = listen::bind("metrics-listen", &config.metrics_listen)?;
    let metrics_addresses = metrics.iter().filter_map(|one| one.local_addr().ok()).collect();
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|one| one.local_addr().ok()).collect();
    let config = match addresses.first() {
        Some(first) => config.with_bound_port(first.port()),
        None => config,
    };
    // Also beside PostgreSQL: how far the log was seen is noted there.
    open::make_private_directory(&config.data_dir)?;
    let state = open::open_to_serve(Arc::new(config), clock).await?;
    match introduce(&state).await {
        Ok(())
        | Err(OpenError::Database {
            error: EngineError::OtherVersion { .. } | EngineError::EpochMoved,
            ..
        }) => {}
        Err(error) => return Err(error.into()),
    }
    start_answering(&state).await;
    state.journal.start_projecting();
    let (stopping, stopped) = watch::channel(false);
    let shared = accept::Shared::new(
        router(state.clone()),
        tls.as_ref().map(|(_, serving)| serving.subscribe()),
        state.config.limits.connections,
        &state.config.trusted_proxies,
        state.metrics.clone(),
    );
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept::accept(listener, shared.clone(), stopped.clone()));
    }
    let router = health::operators_router(state.clone());
    let operators =
        accept::Shared::new(router, None, OPERATORS, &state.config.trusted_proxies, Metrics::default());
    for listener in metrics {
        tasks.spawn(accept::accept(listener, operators.clone(), stopped.clone()));
    }
    if let (Some((stamp, serving)), Some(files)) = (tls, state.config.tls.clone()) {
        tasks.spawn(tls::follow(files, stamp, serving, stopped.clone()));
    }
    tasks.spawn(checkpoint::follow(state.clone(), stopped.clone()));
    tasks.spawn(horizon::follow(state.clone(), stopped));
    Ok(Running { addresses, metrics_addresses, state, stopping, tasks })
}

/// Whether certificate and key can be used.
pub(crate) fn check_tls(files: &TlsFiles) -> Result<(), StartError> {
    tls::acceptor(files).map(drop)
}

impl Running {
    /// Says that it is not ready for as long as configured, then stops accepting and waits for the requests
    /// in progress, for ten seconds at most.
    pub async fn stop(self) {
        self.stop_unless_hurried(std::future::pending()).await;
    }

    /// The same, until somebody is in a hurry: from there on it takes a second at most.
    pub async fn stop_unless_hurried(mut self, hurried: impl Future<Output = ()>) {
        let mut hurried = pin!(hurried);
        self.state.draining.store(true, Ordering::Relaxed);
        let is_hurried = timeout(self.state.config.drain_delay, &mut hurried).await.is_ok();
        self.stopping.send_replace(true);
        let is_cut_off = tokio::select! {
            () = async { while self.tasks.join_next().await.is_some() {} } => false,
            () = async {
                if !is_hurried {
                    let _ = timeout(DRAIN, hurried).await;
                }
                sleep(HURRIED).await;
            } => true,
        };
        if is_cut_off {
            tracing::warn!(
                what_to_do = "Nothing: each is done whole or not at all, and its client asks again.",
                "some requests did not finish in time and were cut off"
            );
        }
        self.state.journal.stop_answering().await;
    }

    /// Waits until a part of the server ends by itself, which none does unless it is broken.
    pub async fn broken(&mut self) {
        let reason = tokio::select! {
            ended = self.tasks.join_next() => match ended {
                Some(Err(error)) => error.to_string(),
                Some(Ok(())) | None => "it was not told to".to_owned(),
            },
            reason = self.state.journal.ended() => reason,
        };
        tracing::error!(
            reason,
            what_to_do = "Start it again, as systemd does, and report it with the last lines of the log.",
            "a part of the server has ended"
        );
    }
}

/// From here on whoever ends something waits for this process, too.
/// A process that may not answer yet (its clock is wrong, or the read models are another version's until a
/// replay is done) runs all the same, and says why not.
async fn start_answering(state: &AppState) {
    let lease = Lease::new(
        state.commands.node().to_owned(),
        state.config.lease,
        Arc::new(MachineUptime),
        // Not the clock that tests move: it is held against the database's.
        SystemClock::shared(),
    );
    if let Err(stale) = state.journal.start_answering(lease).await {
        tracing::error!(reason = %stale, what_to_do = stale.what_to_do(), "the server is not ready");
    }
}

#[cfg(test)]
mod tests;
