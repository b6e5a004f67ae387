//! T1: after a revocation was acknowledged no node says that the token lives (R1), while all are well. While they are
//! not: `troubles.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::front::{is_dead, is_refusal, told};
use super::ledger::{Ledger, is_given};
use super::nodes::{NODES, Nodes, WORKERS};
use super::oracle::judge;
use super::report::{is_long, record, scale};
use crate::harness::Request;

const LONG_T1: usize = 60_000;
/// Nothing is measured while connections are made and statements prepared.
const WARM_UP: usize = 50;
/// So many are timed, with nothing else going on.
const MEASURED: usize = 600;
const WELL: Duration = Duration::from_millis(100);

/// What the revocations came to.
#[derive(Default)]
pub struct Tally {
    pub ledger: Ledger,
    answers: AtomicUsize,
    stale: AtomicUsize,
    unavailable: AtomicUsize,
    took: Mutex<Vec<Duration>>,
}

impl Tally {
    /// Of nodes that are frozen or killed and then say nothing.
    pub fn of_the_killed() -> Self {
        Self { ledger: Ledger::default().of_the_killed(), ..Self::default() }
    }

    pub async fn issue(&self, nodes: &Nodes, node: usize) -> Option<String> {
        let app = nodes.app(node);
        let given = self.ledger.ask(app, app.client_credentials(), is_given).await?;
        Some(given.text("access_token"))
    }

    /// How long it took, if it was acknowledged.
    pub async fn revoke(&self, nodes: &Nodes, node: usize, token: &str) -> Option<Duration> {
        let (app, begun) = (nodes.app(node), Instant::now());
        let ended = self.ledger.ask(app, app.revoke(token), is_given).await;
        let took = begun.elapsed();
        if ended.is_none() {
            self.ledger.in_doubt(token.to_owned());
            return None;
        }
        self.ledger.has_ended(token.to_owned());
        Some(took)
    }

    /// What a node says, by introspection and as a resource, of a token whose end was acknowledged before it is
    /// asked.
    pub async fn ask_of_the_dead(&self, nodes: &Nodes, node: usize, token: &str) {
        let app = nodes.app(node);
        tokio::join!(self.is_told(app.introspect(token)), self.is_told(app.resource(token)));
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
        self.ledger.revoked()
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

/// Nobody was told that what was dead lives (R1, R2), and whatever was acknowledged is so (L1).
pub async fn are_kept<const N: usize>(row: &str, nodes: &Nodes, tallies: [&Tally; N]) {
    for tally in tallies {
        assert_eq!(tally.stale.load(Ordering::Relaxed), 0, "{}", tally.text());
    }
    judge(row, &nodes.cli, nodes.app(0), tallies.map(|tally| &tally.ledger)).await;
}

/// Every node is told of the token, and remembers it.
pub async fn remember(nodes: &Nodes, token: &str) {
    for node in 0..NODES {
        drop(told(nodes.app(node).introspect(token)).await);
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
    let Some(token) = tally.issue(&nodes, turn).await else { return };
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
            drop(told(nodes.app(node).introspect(token)).await);
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
    assert_eq!(asked.revoked(), rest, "all nodes are well: {}", asked.text());
    if is_long() {
        assert!(asked.percentile(99) <= WELL, "{}", asked.text());
    }
    are_kept("T1", &nodes, [&*warm, &*well, &*asked]).await;
}
