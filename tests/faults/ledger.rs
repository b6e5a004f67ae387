//! What was promised? Every 2xx is written down; afterwards each must be kept, and what never had a
//! clear answer may be there or not, but whole.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::App;

/// What clients were told, and how often they were told nothing.
#[derive(Default)]
pub struct Ledger {
    alive: Mutex<Vec<String>>,
    dead: Mutex<Vec<String>>,
    doubtful: Mutex<Vec<String>>,
    unknown: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
}

/// How much was promised, and how often there was no clear answer.
pub struct Totals {
    pub issued: usize,
    pub revoked: usize,
    pub unknown: usize,
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issued, revoked, unknown } = self;
        write!(
            formatter,
            "{issued} tokens issued, {revoked} of them revoked, {unknown} requests without an answer"
        )
    }
}

impl Ledger {
    /// Loads a server with token requests and revocations until told to stop.
    pub fn load(self: &Arc<Self>, app: &App, tasks: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = tokio::task::JoinSet::new();
        for task in 0..tasks {
            let (ledger, app, stop) = (Arc::clone(self), app.clone(), Arc::clone(&stop));
            running.spawn(async move {
                let mut turn = task;
                while !stop.load(Ordering::Relaxed) {
                    ledger.once(&app, turn.is_multiple_of(3)).await;
                    turn += 1;
                }
            });
        }
        Load { stop, running }
    }

    async fn once(&self, app: &App, revoke: bool) {
        let asked = self.timed(post(app, "/o/token/", &[("grant_type", "client_credentials")])).await;
        let Some((status, body)) = asked else {
            return self.no_answer().await;
        };
        match status {
            200 => {
                let token = body["access_token"].as_str().unwrap().to_owned();
                if revoke { self.revoke(app, token).await } else { self.alive.lock().unwrap().push(token) }
            }
            503 => self.no_answer().await,
            other => self.wrong.lock().unwrap().push(format!("token: {other} {body}")),
        }
    }

    async fn revoke(&self, app: &App, token: String) {
        match self.timed(post(app, "/o/revoke_token/", &[("token", &token)])).await {
            Some((200, _)) => self.dead.lock().unwrap().push(token),
            Some((503, _)) | None => {
                self.doubtful.lock().unwrap().push(token);
                self.no_answer().await;
            }
            Some((other, body)) => self.wrong.lock().unwrap().push(format!("revoke: {other} {body}")),
        }
    }

    async fn timed<T>(&self, request: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let answer = request.await;
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = begun.elapsed().max(*slowest);
        answer
    }

    /// How many tokens were promised so far.
    pub fn issued(&self) -> usize {
        self.alive.lock().unwrap().len() + self.dead.lock().unwrap().len()
    }

    /// The longest that a request took so far, with an answer or without.
    pub fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    async fn no_answer(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Asks the server about everything it promised. Nothing acknowledged may be lost (L1), nothing
    /// dead may live (L2), and no fault of ours may be called the client's (L6).
    pub async fn judge(&self, app: &App) -> Totals {
        let wrong = self.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "errors that only true reasons may have: {wrong:?}");
        let (alive, dead) = (self.alive.lock().unwrap().clone(), self.dead.lock().unwrap().clone());
        for (tokens, expected) in [(&alive, true), (&dead, false)] {
            for token in tokens {
                let (status, body) = post(app, "/o/introspect/", &[("token", token)]).await.unwrap();
                assert_eq!(
                    (status, &body["active"]),
                    (200, &Value::Bool(expected)),
                    "acknowledged, then {body}"
                );
            }
        }
        let doubtful = self.doubtful.lock().unwrap().clone();
        for token in &doubtful {
            let (status, body) = post(app, "/o/introspect/", &[("token", token)]).await.unwrap();
            assert!(status == 200 && body["active"].is_boolean(), "whole either way: {status} {body}");
        }
        Totals {
            issued: alive.len() + dead.len(),
            revoked: dead.len(),
            unknown: self.unknown.load(Ordering::Relaxed),
        }
    }
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    running: tokio::task::JoinSet<()>,
}

impl Load {
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await;
    }
}

/// Status and JSON body (null if it has none), or nothing when the answer did not come.
pub async fn post(app: &App, path: &str, fields: &[(&str, &str)]) -> Option<(u16, Value)> {
    let credentials = [("client_id", app.client_id.as_str()), ("client_secret", app.secret.as_str())];
    let fields: Vec<(&str, &str)> = credentials.iter().chain(fields).copied().collect();
    let request =
        app.client.post(format!("{}{path}", app.base)).form(&fields).timeout(Duration::from_secs(8));
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
