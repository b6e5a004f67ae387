//! T1: after a revocation was acknowledged no node says that the token lives (R1), while all are well. While they are
//! not: `troubles.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ledger::{Answered, ask, each_is, post};
use super::nodes::{NODES, Nodes, WORKERS};
use super::report::{count, is_long, record, scale};

const LONG_T1: usize = 60_000;
/// Nothing is measured while connections are made and statements prepared.
const WARM_UP: usize = 50;
/// So many are timed, with nothing else going on.
const MEASURED: usize = 600;
const WELL: Duration = Duration::from_millis(100);

/// What the revocations came to.
#[derive(Default)]
pub struct Tally {
    issued: AtomicUsize,
    unknown: AtomicUsize,
    answers: AtomicUsize,
    pub stale: AtomicUsize,
    unavailable: AtomicUsize,
    ended: Mutex<Vec<String>>,
    doubtful: Mutex<Vec<String>>,
    took: Mutex<Vec<Duration>>,
}

/// Whether there is no answer, or one that says that the fault is not the client's (L6).
fn is_excused(answer: Option<&Answered>) -> bool {
    answer.is_none_or(|answer| answer.status == 503 && answer.is_temporary())
}

#[track_caller]
fn must_be_excused(answer: Option<&Answered>) {
    let said = answer.map(|answer| (answer.status, &answer.body));
    assert!(is_excused(answer), "a fault of ours is not the client's: {said:?}");
}

impl Tally {
    pub async fn issue(&self, nodes: &Nodes, node: usize) -> Option<String> {
        let answer = ask(nodes.app(node), "/o/token/", &[("grant_type", "client_credentials")]).await;
        if let Some(given) = answer.as_ref().filter(|answer| answer.status == 200) {
            self.issued.fetch_add(1, Ordering::Relaxed);
            return Some(given.token());
        }
        must_be_excused(answer.as_ref());
        self.unknown.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// How long it took, if it was acknowledged.
    pub async fn revoke(&self, nodes: &Nodes, node: usize, token: &str) -> Option<Duration> {
        let begun = Instant::now();
        let answer = ask(nodes.app(node), "/o/revoke_token/", &[("token", token)]).await;
        let took = begun.elapsed();
        if answer.as_ref().is_some_and(|answer| answer.status == 200) {
            self.ended.lock().unwrap().push(token.to_owned());
            return Some(took);
        }
        must_be_excused(answer.as_ref());
        self.doubtful.lock().unwrap().push(token.to_owned());
        self.unknown.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// What a node says of a token whose end was acknowledged before it is asked.
    pub async fn ask_of_the_dead(&self, nodes: &Nodes, node: usize, token: &str) {
        let answer = ask(nodes.app(node), "/o/introspect/", &[("token", token)]).await;
        self.answers.fetch_add(1, Ordering::Relaxed);
        match answer {
            Some(answer) if answer.status == 200 => {
                self.stale.fetch_add(usize::from(answer.body["active"] == true), Ordering::Relaxed);
            }
            other => {
                must_be_excused(other.as_ref());
                self.unavailable.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub fn revoked(&self) -> usize {
        self.ended.lock().unwrap().len()
    }

    pub fn timed(&self, took: Duration) {
        self.took.lock().unwrap().push(took);
    }

    pub fn percentile(&self, percent: usize) -> Duration {
        let mut took = self.took.lock().unwrap().clone();
        took.sort_unstable();
        took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    pub fn text(&self) -> String {
        let answers = self.answers.load(Ordering::Relaxed);
        let unavailable = self.unavailable.load(Ordering::Relaxed);
        format!(
            "{} revocations, {answers} answers on {NODES} nodes begun after their 200: {} stale, {unavailable} of them \
             503 or none ({} %); revoking took {} ms (p50), {} ms (p99), {} ms at most",
            self.revoked(),
            self.stale.load(Ordering::Relaxed),
            unavailable * 100 / answers.max(1),
            self.percentile(50).as_millis(),
            self.percentile(99).as_millis(),
            self.percentile(100).as_millis(),
        )
    }
}

/// Whatever was acknowledged is so on a node that remembers nothing (L1), and counts. It is the last that is
/// asked: a node that ends without a word delays revocations.
pub async fn are_kept(nodes: &Nodes, tallies: &[&Tally]) {
    let (app, process) = nodes.another().await;
    for tally in tallies {
        let ended = tally.ended.lock().unwrap().clone();
        let doubtful = tally.doubtful.lock().unwrap().clone();
        let revoked = ended.len();
        each_is(&app, ended, Some(false)).await;
        each_is(&app, doubtful, None).await;
        let issued = tally.issued.load(Ordering::Relaxed);
        count(issued + revoked + tally.unknown.load(Ordering::Relaxed), revoked);
    }
    drop(process);
}

/// Every node is told of the token, and remembers it.
pub async fn remember(nodes: &Nodes, token: &str) {
    for node in 0..NODES {
        post(nodes.app(node), "/o/introspect/", &[("token", token)]).await;
    }
}

/// Issues a token, lets every node remember it, revokes it on one, and asks all of them at once.
async fn revoke_and_ask(nodes: Arc<Nodes>, tally: Arc<Tally>, turn: usize) {
    let Some(token) = tally.issue(&nodes, turn).await else { return };
    remember(&nodes, &token).await;
    let Some(took) = tally.revoke(&nodes, turn / NODES, &token).await else { return };
    tally.timed(took);
    let mut asking = JoinSet::new();
    for node in 0..NODES {
        let (nodes, tally, token) = (Arc::clone(&nodes), Arc::clone(&tally), token.clone());
        asking.spawn(async move { tally.ask_of_the_dead(&nodes, node, &token).await });
    }
    asking.join_all().await;
}

/// The same while every node is asked about the token without a pause, from before its end until after.
pub async fn revoke_while_asked(nodes: Arc<Nodes>, tally: Arc<Tally>, turn: usize) {
    let Some(token) = tally.issue(&nodes, turn).await else {
        return tokio::time::sleep(Duration::from_millis(20)).await;
    };
    remember(&nodes, &token).await;
    let (is_over, mut asking) = (watch::Sender::new(None), JoinSet::new());
    for node in 0..NODES {
        let (nodes, tally, token) = (Arc::clone(&nodes), Arc::clone(&tally), token.clone());
        let is_over = is_over.subscribe();
        asking.spawn(async move { ask_throughout(&nodes, &tally, node, &token, &is_over).await });
    }
    let took = tally.revoke(&nodes, turn / NODES, &token).await;
    is_over.send_replace(Some(took.is_some()));
    if let Some(took) = took {
        tally.timed(took);
    }
    asking.join_all().await;
}

/// Until two of the answers were begun after the end was acknowledged; none is, if it was not.
async fn ask_throughout(
    nodes: &Nodes,
    tally: &Tally,
    node: usize,
    token: &str,
    is_over: &watch::Receiver<Option<bool>>,
) {
    for _ in 0..2 {
        while is_over.borrow().is_none() {
            post(nodes.app(node), "/o/introspect/", &[("token", token)]).await;
        }
        if *is_over.borrow() == Some(true) {
            tally.ask_of_the_dead(nodes, node, token).await;
        }
    }
}

/// So many turns in all, several at once.
async fn in_turns<Work>(times: usize, work: impl Fn(usize) -> Work + Send + Sync + 'static)
where
    Work: Future<Output = ()> + Send,
{
    let (turns, work, mut workers) = (Arc::new(AtomicUsize::new(0)), Arc::new(work), JoinSet::new());
    for _ in 0..WORKERS {
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
async fn revoke_many(nodes: &Arc<Nodes>, times: usize) -> Arc<Tally> {
    let (nodes, tally) = (Arc::clone(nodes), Arc::<Tally>::default());
    let kept = Arc::clone(&tally);
    in_turns(times, move |turn| revoke_and_ask(Arc::clone(&nodes), Arc::clone(&kept), turn)).await;
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_after_a_revocation_no_node_says_active() {
    let nodes = Arc::new(Nodes::start().await);
    let warm = revoke_many(&nodes, WARM_UP).await;
    let well = revoke_many(&nodes, MEASURED).await;
    record("T1", &format!("all nodes well: {}", well.text()));
    assert_eq!(well.stale.load(Ordering::Relaxed), 0, "{}", well.text());
    assert!(well.revoked() > 500, "{}", well.text());
    assert_eq!(well.unavailable.load(Ordering::Relaxed), 0, "{}", well.text());
    // A figure of the machine as well: asked for where it has nothing else to do.
    if is_long() {
        assert!(well.percentile(99) <= WELL, "{}", well.text());
    }

    let wanted = if is_long() { LONG_T1 } else { MEASURED * scale() };
    let rest = wanted.saturating_sub(MEASURED).max(MEASURED / 3);
    let asked = Arc::<Tally>::default();
    let (there, kept) = (Arc::clone(&nodes), Arc::clone(&asked));
    in_turns(rest, move |turn| revoke_while_asked(Arc::clone(&there), Arc::clone(&kept), turn)).await;
    record("T1", &format!("every node asked about each token without a pause: {}", asked.text()));
    assert_eq!(asked.stale.load(Ordering::Relaxed), 0, "{}", asked.text());
    assert_eq!(asked.revoked(), rest, "all nodes are well: {}", asked.text());
    are_kept(&nodes, &[&warm, &well, &asked]).await;
    nodes.cli.run(&["verify"]).succeeded();
}
