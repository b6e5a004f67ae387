//! What was promised? Every 2xx is written down; afterwards each must be kept, and what never had a
//! clear answer may be there or not, but whole.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use super::grants::{Family, Person};
use super::report::count;
use crate::harness::App;

/// So many questions at once are asked afterwards.
const AT_ONCE: usize = 8;

/// What clients were told, and how often they were told nothing.
#[derive(Default)]
pub struct Ledger {
    person: Option<Person>,
    alive: Mutex<Vec<String>>,
    dead: Mutex<Vec<String>>,
    doubtful: Mutex<Vec<String>>,
    pub(super) families: Mutex<Vec<Family>>,
    pub(super) ended: Mutex<Vec<Family>>,
    /// Codes that were redeemed, and refresh tokens that were used, without a clear answer.
    pub(super) codes: Mutex<Vec<String>>,
    pub(super) refreshes: Mutex<Vec<String>>,
    unknown: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
}

/// How much was promised, and how often there was no clear answer.
pub struct Totals {
    pub issued: usize,
    pub revoked: usize,
    pub unknown: usize,
    /// Codes that were redeemed and refreshed.
    pub grants: usize,
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issued, revoked, unknown, grants } = self;
        write!(formatter, "{issued} tokens issued, {revoked} of them revoked, ")?;
        if *grants > 0 {
            write!(formatter, "{grants} codes redeemed and refreshed, ")?;
        }
        write!(formatter, "{unknown} requests without an answer")
    }
}

impl Ledger {
    /// One that keeps what is promised to a person's application as well.
    pub fn with(person: Person) -> Self {
        Self { person: Some(person), ..Self::default() }
    }

    /// Loads a server with token requests and revocations, and grants of the person, until told to stop.
    pub fn load(self: &Arc<Self>, app: &App, tasks: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
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
        if let Some(person) = self.person.clone() {
            let (ledger, stop) = (Arc::clone(self), Arc::clone(&stop));
            running.spawn(async move {
                let mut turn = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    ledger.grant(&person, turn.is_multiple_of(3)).await;
                    turn += 1;
                }
            });
        }
        Load { stop, running }
    }

    async fn once(&self, app: &App, revoke: bool) {
        let asked = self.timed(ask(app, "/o/token/", &[("grant_type", "client_credentials")])).await;
        let Some(answer) = asked else {
            return self.no_answer().await;
        };
        match answer.status {
            200 => {
                let token = answer.token();
                if revoke { self.revoke(app, token).await } else { self.promised(token) }
            }
            503 => self.refused(&answer).await,
            other => self.is_wrong(format!("token: {other} {}", answer.body)),
        }
    }

    async fn revoke(&self, app: &App, token: String) {
        let answer = self.timed(ask(app, "/o/revoke_token/", &[("token", &token)])).await;
        match answer.as_ref().map(|answer| answer.status) {
            Some(200) => self.has_ended(token),
            Some(503) | None => {
                self.doubtful.lock().unwrap().push(token);
                match answer {
                    Some(answer) => self.refused(&answer).await,
                    None => self.no_answer().await,
                }
            }
            Some(other) => self.is_wrong(format!("revoke: {other} {}", answer.unwrap().body)),
        }
    }

    /// A living token that somebody was given.
    pub fn promised(&self, token: String) {
        self.alive.lock().unwrap().push(token);
    }

    /// A token whose end was acknowledged.
    pub fn has_ended(&self, token: String) {
        self.dead.lock().unwrap().push(token);
    }

    /// A token whose end had no clear answer.
    pub fn in_doubt(&self, token: String) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        self.doubtful.lock().unwrap().push(token);
    }

    pub(super) fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// A 503 says what it is and when to come again.
    pub(super) async fn refused(&self, answer: &Answered) {
        if !answer.is_temporary() {
            self.is_wrong(format!("a 503 that does not say when to come again: {}", answer.body));
        }
        self.no_answer().await;
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

    pub(super) async fn no_answer(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Asks the server about everything it promised. Nothing acknowledged may be lost (L1), nothing
    /// dead may live (L2), and no fault of ours may be called the client's (L6).
    pub async fn judge(&self, app: &App) -> Totals {
        let wrong = self.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "errors that only true reasons may have: {wrong:?}");
        let (alive, dead) = (self.alive.lock().unwrap().clone(), self.dead.lock().unwrap().clone());
        let mut totals = Totals {
            issued: alive.len() + dead.len(),
            revoked: dead.len(),
            unknown: self.unknown.load(Ordering::Relaxed),
            grants: 0,
        };
        each_is(app, alive, Some(true)).await;
        each_is(app, dead, Some(false)).await;
        let doubtful = self.doubtful.lock().unwrap().clone();
        each_is(app, doubtful, None).await;
        count(totals.issued + totals.revoked + totals.unknown, totals.revoked);
        if let Some(person) = &self.person {
            let (grants, ended) = self.judge_grants(person).await;
            // A code, its tokens, what they were refreshed to, and the end of some.
            count(grants * 3 + ended, ended);
            totals.grants = grants;
        }
        totals
    }
}

/// Asks the server about each of these tokens, several at a time: whether it lives is known, or it is whole
/// either way.
pub async fn each_is(app: &App, tokens: Vec<String>, active: Option<bool>) {
    let (left, mut asking) = (Arc::new(Mutex::new(tokens)), JoinSet::new());
    for _ in 0..AT_ONCE {
        let (app, left) = (app.clone(), Arc::clone(&left));
        asking.spawn(async move {
            while let Some(token) = next(&left) {
                let answer = patiently(&app, "/o/introspect/", &[("token", &token)]).await;
                let Answered { status, body, .. } = answer;
                let said = body["active"].as_bool();
                let is_kept = said.is_some() && (active.is_none() || said == active);
                assert!(status == 200 && is_kept, "promised {active:?}, then {status} {body}");
            }
        });
    }
    asking.join_all().await;
}

fn next(left: &Mutex<Vec<String>>) -> Option<String> {
    left.lock().unwrap().pop()
}

/// The answer to a question. So many of them may be more than the share of one client, who is then told to come
/// again.
pub async fn patiently(app: &App, path: &str, fields: &[(&str, &str)]) -> Answered {
    loop {
        match ask(app, path, fields).await.expect("the server runs") {
            answer if answer.status == 429 => tokio::time::sleep(Duration::from_millis(200)).await,
            answer => return answer,
        }
    }
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl Load {
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await;
    }
}

/// An answer that came.
pub struct Answered {
    pub status: u16,
    /// Null if it has none.
    pub body: Value,
    says_when_to_retry: bool,
}

impl Answered {
    pub fn token(&self) -> String {
        self.body["access_token"].as_str().unwrap().to_owned()
    }

    /// Whether it says that the fault is not the client's, and when to come again (L6).
    pub fn is_temporary(&self) -> bool {
        self.says_when_to_retry && self.body["error"] == "temporarily_unavailable"
    }
}

/// Status and JSON body (null if it has none), or nothing when the answer did not come.
pub async fn post(app: &App, path: &str, fields: &[(&str, &str)]) -> Option<(u16, Value)> {
    ask(app, path, fields).await.map(|answer| (answer.status, answer.body))
}

/// The same for whoever looks at its headers as well.
pub async fn ask(app: &App, path: &str, fields: &[(&str, &str)]) -> Option<Answered> {
    let credentials = [("client_id", app.client_id.as_str()), ("client_secret", app.secret.as_str())];
    let fields: Vec<(&str, &str)> = credentials.iter().chain(fields).copied().collect();
    let request =
        app.client.post(format!("{}{path}", app.base)).form(&fields).timeout(Duration::from_secs(8));
    let answer = request.send().await.ok()?;
    let (status, says_when_to_retry) =
        (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    let body = answer.bytes().await.ok()?;
    Some(Answered { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null), says_when_to_retry })
}

/// How a token request is answered, if it is.
pub async fn issue(app: &App) -> Option<u16> {
    post(app, "/o/token/", &[("grant_type", "client_credentials")]).await.map(|(status, _)| status)
}

/// How long until a token is given.
pub async fn until_served(app: &App) -> Duration {
    let begun = Instant::now();
    while issue(app).await != Some(200) {
        assert!(begun.elapsed() < Duration::from_secs(30), "not served again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}
