//! T1: after a revocation was acknowledged no node says that the token lives (R1), while all are well. While they are
//! not: `troubles.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::front::{is_dead, is_refusal, told};
use super::grants::{End, Family, Person};
use super::ledger::{Ledger, is_given};
use super::nodes::{NODES, Nodes};
use super::oracle::judge;
use super::report::{is_long, record, scale};
use super::times::Times;
use crate::harness::{App, Request};

const LONG_T1: usize = 60_000;
/// So many more while every node is asked at a pace.
const PACED: usize = 6_000;
/// Nothing is measured while connections are made and statements prepared.
const WARM_UP: usize = 50;
/// So many are timed, with nothing else going on.
const MEASURED: usize = 600;
const WELL: Duration = Duration::from_millis(100);

/// How many revoke at once. Each has all nodes asked, in two ways: so these are 36 requests beside one another on as
/// many processors as there are, and more would measure how long they wait for a turn there.
const REVOKERS: usize = 6;
/// Of how many tokens a second every node is asked until they end: each of those that are about to
/// be revoked so often.
const PAUSE: Duration = Duration::from_millis(1_000 * REVOKERS as u64 / 200);

/// One in so many is a family's.
const FAMILY: usize = 8;

/// What lives and is to be ended: a client's token, or a family of somebody's.
pub enum Living {
    Token(String),
    Family(Family, End),
}

impl Living {
    /// Its token, which everybody is asked about.
    pub fn access(&self) -> &str {
        match self {
            Self::Token(token) => token,
            Self::Family(family, _) => family.access(),
        }
    }

    /// Whose it is: only they are told whether it lives.
    pub fn whose(&self, tally: &Tally, nodes: &Nodes) -> Arc<Vec<App>> {
        let person = tally.ledger.person.as_ref().filter(|_| matches!(self, Self::Family(..)));
        let at = |node| {
            let app = nodes.app(node);
            person.map_or_else(|| app.clone(), |person| person.app_at(app))
        };
        Arc::new((0..NODES).map(at).collect())
    }
}

/// What the revocations came to.
#[derive(Default)]
pub struct Tally {
    pub ledger: Ledger,
    answers: AtomicUsize,
    stale: AtomicUsize,
    unavailable: AtomicUsize,
    took: Mutex<Times>,
    /// Of these, what was asked for or answered beside a node in trouble.
    took_in_trouble: Mutex<Times>,
}

impl Tally {
    /// Of nodes that are frozen or killed and then say nothing.
    pub fn of_the_killed() -> Self {
        Self { ledger: Ledger::default().of_the_killed(), ..Self::default() }
    }

    /// The same, with families of somebody's among what is ended.
    pub fn with(self, person: Person) -> Self {
        Self { ledger: self.ledger.and(person), ..self }
    }

    /// A client's token; with a person one in so many is of a family, which is ended in two ways.
    pub async fn issue(&self, nodes: &Nodes, turn: usize) -> Option<Living> {
        let app = nodes.app(turn);
        if let Some(person) = &self.ledger.person
            && turn.is_multiple_of(FAMILY)
        {
            let how = if turn.is_multiple_of(2 * FAMILY) { End::Revoked } else { End::Redeemed };
            return Some(Living::Family(self.ledger.begin(person.door(), app, person).await?, how));
        }
        let given = self.ledger.ask(app, app.client_credentials(), is_given).await?;
        Some(Living::Token(given.text("access_token")))
    }

    /// How long its end took, if it was acknowledged.
    pub async fn revoke(&self, nodes: &Nodes, node: usize, what: Living) -> Option<Duration> {
        let (app, begun) = (nodes.app(node), Instant::now());
        match what {
            Living::Token(token) => {
                let ended = self.ledger.ask(app, app.revoke(&token), is_given).await;
                let took = begun.elapsed();
                if ended.is_none() {
                    self.ledger.in_doubt(token);
                    return None;
                }
                self.ledger.has_ended(token);
                Some(took)
            }
            Living::Family(family, how) => {
                let person = self.ledger.person.as_ref()?;
                let is_ended = self.ledger.end(app, person, family, how).await;
                is_ended.then(|| begun.elapsed())
            }
        }
    }

    /// What was not ended in the end.
    pub fn leave(&self, what: Living) {
        match what {
            Living::Token(token) => self.ledger.promised(token),
            Living::Family(family, _) => self.ledger.families.lock().unwrap().push(family),
        }
    }

    /// What a node says, by introspection and as a resource, of a token whose end was acknowledged before it is
    /// asked.
    pub async fn ask_of_the_dead(&self, app: &App, token: &str) {
        tokio::join!(self.is_told(app.introspect(token)), self.ask_resource(app, token));
    }

    /// The same as a resource alone, where whose it is has been shut out as well.
    pub async fn ask_resource(&self, app: &App, token: &str) {
        self.is_told(app.resource(token)).await;
    }

    async fn is_told(&self, request: Request) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let counted = match told(request).await {
            Ok(answer) if is_dead(&answer) => return,
            Ok(answer) if is_refusal(&answer) => &self.unavailable,
            Ok(answer) if answer.status == 200 => &self.stale,
            Ok(answer) => panic!("a fault of ours is not the client's: {answer:#?}"),
            Err(_) => &self.unavailable,
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }

    pub fn revoked(&self) -> usize {
        self.ledger.revoked() + self.ledger.ended.lock().unwrap().len()
    }

    pub fn timed(&self, took: Duration) {
        self.took.lock().unwrap().push(took);
    }

    pub fn timed_in_trouble(&self, took: Duration) {
        self.took_in_trouble.lock().unwrap().push(took);
    }

    pub fn took(&self) -> Times {
        self.took.lock().unwrap().clone()
    }

    pub fn took_in_trouble(&self) -> Times {
        self.took_in_trouble.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        let answers = self.answers.load(Ordering::Relaxed);
        let (unavailable, in_trouble) = (self.unavailable.load(Ordering::Relaxed), self.took_in_trouble());
        format!(
            "{} revocations, {} of them of families, {answers} answers on {NODES} nodes begun after their 200: {} stale, {unavailable} of them \
             503 or none ({} %); revoking took {}{}",
            self.revoked(),
            self.ledger.ended.lock().unwrap().len(),
            self.stale.load(Ordering::Relaxed),
            unavailable * 100 / answers.max(1),
            self.took().text(),
            if in_trouble.count() > 0 {
                format!(", {} of them beside a node in trouble {}", in_trouble.count(), in_trouble.text())
            } else {
                String::new()
            },
        )
    }
}

/// Nobody was told that what was dead lives (R1, R2), and whatever was acknowledged is so (L1).
pub async fn are_kept<const N: usize>(row: &str, nodes: &Nodes, tallies: [&Tally; N]) {
    for tally in tallies {
        assert_eq!(tally.stale.load(Ordering::Relaxed), 0, "{}", tally.text());
    }
    judge(row, &nodes.cli, nodes.app(0), tallies.map(|tally| &tally.ledger)).await;
}

/// Every node that these are at is told of the token, and remembers it.
pub async fn remember(apps: impl IntoIterator<Item = &App>, token: &str) {
    for app in apps {
        drop(told(app.introspect(token)).await);
    }
}

/// Issues a token, lets every node remember it, revokes it on one, and asks all of them at once.
async fn revoke_and_ask(nodes: Arc<Nodes>, tally: Arc<Tally>, turn: usize) {
    let Some(what) = tally.issue(&nodes, turn).await else { return };
    let (token, apps) = (what.access().to_owned(), what.whose(&tally, &nodes));
    remember(&*apps, &token).await;
    let Some(took) = tally.revoke(&nodes, turn / NODES, what).await else { return };
    tally.timed(took);
    let mut asking = JoinSet::new();
    for node in 0..NODES {
        let (tally, apps, token) = (Arc::clone(&tally), Arc::clone(&apps), token.clone());
        asking.spawn(async move { tally.ask_of_the_dead(&apps[node], &token).await });
    }
    asking.join_all().await;
}

/// The same while every node is asked about the token again and again, from before its end until after.
pub async fn revoke_while_asked(nodes: Arc<Nodes>, tally: Arc<Tally>, turn: usize, pause: Duration) {
    let Some(what) = tally.issue(&nodes, turn).await else { return };
    let (token, apps) = (what.access().to_owned(), what.whose(&tally, &nodes));
    remember(&*apps, &token).await;
    let (is_over, mut asking) = (watch::Sender::new(None), JoinSet::new());
    for node in 0..NODES {
        let (tally, apps, token) = (Arc::clone(&tally), Arc::clone(&apps), token.clone());
        let is_over = is_over.subscribe();
        asking.spawn(async move { ask_throughout(&tally, &apps[node], &token, is_over, pause).await });
    }
    let took = tally.revoke(&nodes, turn / NODES, what).await;
    is_over.send_replace(Some(took.is_some()));
    if let Some(took) = took {
        tally.timed(took);
    }
    asking.join_all().await;
}

/// Until two of the answers were begun after the end was acknowledged; none is, if it was not.
async fn ask_throughout(
    tally: &Tally,
    app: &App,
    token: &str,
    mut is_over: watch::Receiver<Option<bool>>,
    pause: Duration,
) {
    for _ in 0..2 {
        while is_over.borrow().is_none() {
            drop(told(app.introspect(token)).await);
            if !pause.is_zero() {
                drop(timeout(pause, is_over.wait_for(Option::is_some)).await);
            }
        }
        if *is_over.borrow() == Some(true) {
            tally.ask_of_the_dead(app, token).await;
        }
    }
}

/// So many turns in all, several at once.
async fn in_turns<Work>(times: usize, work: impl Fn(usize) -> Work + Send + Sync + 'static)
where
    Work: Future<Output = ()> + Send,
{
    let (turns, work, mut workers) = (Arc::new(AtomicUsize::new(0)), Arc::new(work), JoinSet::new());
    for _ in 0..REVOKERS {
        let (turns, work) = (Arc::clone(&turns), Arc::clone(&work));
        workers.spawn(async move {
            loop {
                let turn = turns.fetch_add(1, Ordering::Relaxed);
                if turn >= times {
                    return;
                }
                work(turn).await;
            }
        });
    }
    workers.join_all().await;
}

/// So many revocations while nothing else goes on.
async fn revoke_many(nodes: &Arc<Nodes>, person: &Person, times: usize) -> Arc<Tally> {
    let (nodes, tally) = (Arc::clone(nodes), Arc::new(Tally::default().with(person.clone())));
    let kept = Arc::clone(&tally);
    in_turns(times, move |turn| revoke_and_ask(Arc::clone(&nodes), Arc::clone(&kept), turn)).await;
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_after_a_revocation_no_node_says_active() {
    let nodes = Arc::new(Nodes::start().await);
    let person = Person::new(&nodes.cli, &nodes.app(0).base).await;
    let warm = revoke_many(&nodes, &person, WARM_UP).await;
    let well = revoke_many(&nodes, &person, MEASURED).await;
    record("T1", &format!("all nodes well: {}", well.text()));
    assert!(well.revoked() > 500, "{}", well.text());
    assert_eq!(well.unavailable.load(Ordering::Relaxed), 0, "{}", well.text());
    // A figure of the machine as well: asked for where it has nothing else to do.
    if is_long() {
        assert!(well.took().percentile(99) <= WELL, "{}", well.text());
    }

    let wanted = if is_long() { PACED } else { MEASURED / 4 * scale() };
    let paced = asked_throughout(&nodes, &person, PAUSE, wanted).await;
    record("T1", &format!("every node asked of 200 tokens a second: {}", paced.text()));
    if is_long() {
        assert!(paced.took().percentile(99) <= WELL, "{}", paced.text());
    }
    let wanted = if is_long() { LONG_T1 } else { MEASURED * scale() };
    let rest = wanted.saturating_sub(MEASURED).max(MEASURED / 3);
    let asked = asked_throughout(&nodes, &person, Duration::ZERO, rest).await;
    record("T1", &format!("every node asked about each token without a pause: {}", asked.text()));
    if is_long() {
        assert!(asked.took().percentile(99) <= WELL, "{}", asked.text());
    }
    are_kept("T1", &nodes, [&*warm, &*well, &*paced, &*asked]).await;
}

/// So many revocations while every node is asked with this pause.
async fn asked_throughout(nodes: &Arc<Nodes>, person: &Person, pause: Duration, times: usize) -> Arc<Tally> {
    let (nodes, tally) = (Arc::clone(nodes), Arc::new(Tally::default().with(person.clone())));
    let kept = Arc::clone(&tally);
    in_turns(times, move |turn| revoke_while_asked(Arc::clone(&nodes), Arc::clone(&kept), turn, pause)).await;
    assert_eq!(tally.revoked(), times, "all nodes are well: {}", tally.text());
    tally
}
