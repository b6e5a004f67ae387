//! Has another process just ended something? PostgreSQL says so to whoever listens (`NOTIFY`). A hint may come late or
//! not at all, and says nothing but that it is worth while to ask: who hears none asks as often as ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::FIRST;
use super::connections::Server;
use crate::clock::SystemClock;
use crate::secret::new_id;

const CHANNEL: &str = "chancery_ended";
/// How long nothing may be heard before the server is asked whether it is still there: of one that is gone without a
/// word nothing would ever be heard.
const SILENCE: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const ANSWER: Duration = Duration::from_secs(2);
/// How long after a connection was lost another one is made.
const AGAIN: Duration = Duration::from_secs(1);

/// One connection that listens from when somebody first wants to hear.
pub(super) struct Hints {
    /// Who this is, so that it need not hear itself.
    own: Arc<str>,
    heard: Arc<Notify>,
    is_listening: Arc<AtomicBool>,
    /// Ends with this value.
    listening: OnceLock<JoinSet<()>>,
}

impl Hints {
    pub(super) fn new() -> Self {
        Self {
            own: new_id(SystemClock::shared().now()).into(),
            heard: Arc::default(),
            is_listening: Arc::default(),
            listening: OnceLock::new(),
        }
    }

    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// Waits for the next one. However many came since the last time are one.
    pub(super) async fn next(&self, server: &Arc<Server>) {
        self.listening.get_or_init(|| {
            let (server, own) = (Arc::clone(server), Arc::clone(&self.own));
            let (heard, is_listening) = (Arc::clone(&self.heard), Arc::clone(&self.is_listening));
            let mut listening = JoinSet::new();
            listening.spawn(async move {
                loop {
                    let lost = listen(&server, &own, &heard, &is_listening).await;
                    is_listening.store(false, Ordering::Relaxed);
                    tracing::debug!(reason = ?lost.err(), "no hints are heard for the moment");
                    tokio::time::sleep(AGAIN).await;
                }
            });
            listening
        });
        self.heard.notified().await;
    }

    /// Whether there is a connection on which they come.
    pub(super) fn are_heard(&self) -> bool {
        self.is_listening.load(Ordering::Relaxed)
    }
}

/// What a batch says, if `$6` is the index of an event that ends something: that it was `$7`.
pub(super) fn tell() -> String {
    format!("CASE WHEN $6::bigint > 0 THEN pg_notify('{CHANNEL}', $7)::text END")
}

/// Until the connection is lost.
async fn listen(
    server: &Server,
    own: &str,
    heard: &Notify,
    is_listening: &AtomicBool,
) -> Result<(), sqlx::Error> {
    let listening = async {
        let mut listener = PgListener::connect_with(&server.pool(1)).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let mut listener = timeout(FIRST, listening).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    is_listening.store(true, Ordering::Relaxed);
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(hint))) if hint.payload() == own => {}
            Ok(Ok(Some(_))) => heard.notify_one(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let asked = timeout(ANSWER, listener.execute("SELECT 1")).await;
                asked.map_err(|_| sqlx::Error::PoolTimedOut)??;
            }
        }
    }
}
