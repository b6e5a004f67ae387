//! T2, F16: after a revocation was acknowledged no node says that the token lives (R1), while one of them is frozen,
//! killed, cut off from the database, or has a wrong clock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::crash::until_ready;
use super::front::told;
use super::nodes::{NODES, Nodes, WORKERS};
use super::report::{is_long, record, scale};
use super::revocations::{Tally, are_kept, remember};

const LONG_T2: usize = 40_000;
/// T2 ends by then, whatever it has come to.
const LONGEST: Duration = Duration::from_mins(30);
/// While a node is in trouble the others wait for as long as it may still answer from memory: a lease, and a
/// hundredth of it.
pub const WAITED: Duration = Duration::from_millis(1_100);
/// What the client sees beside that: the commit, and its turn on processors that three servers, PostgreSQL
/// and this program share. In a long run, which has the machine for itself, one in a hundred does.
const MARGIN: Duration = Duration::from_millis(400);
/// One of so many revocations is asked of whatever node it is, be it the one in trouble.
const ANYWHERE: usize = 10;
const FROZEN: Duration = Duration::from_secs(5);
const CUT: Duration = Duration::from_secs(3);
const WRONG_CLOCK: Duration = Duration::from_secs(2);

/// What happens to one node while the others go on.
#[derive(Clone, Copy)]
enum Trouble {
    Frozen,
    Killed,
    CutOff,
    Ahead,
    Behind,
    /// Cut off in one direction, this time there, that time back.
    CutOffHalf,
}

const TROUBLES: [Trouble; 6] =
    [Trouble::Frozen, Trouble::Killed, Trouble::CutOff, Trouble::Ahead, Trouble::Behind, Trouble::CutOffHalf];

/// Nodes of which one at a time is in trouble, under load.
struct World {
    nodes: Nodes,
    tally: Tally,
    /// Moves when a node's trouble begins and when it is over: odd while it lasts.
    marks: [AtomicUsize; NODES],
    /// Tokens that every node remembers, to be ended in the next trouble.
    stock: Mutex<Vec<String>>,
    turns: AtomicUsize,
    stop: AtomicBool,
}

impl World {
    async fn start() -> Self {
        Self {
            nodes: Nodes::start_apart().await,
            tally: Tally::of_the_killed(),
            marks: Default::default(),
            stock: Mutex::default(),
            turns: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        }
    }

    fn workers() -> usize {
        // Most of them wait for a lease to end.
        if is_long() { 32 } else { WORKERS }
    }

    fn mark(&self, node: usize) -> usize {
        self.marks[node % NODES].load(Ordering::SeqCst)
    }

    fn is_hurt(&self, node: usize) -> bool {
        !self.mark(node).is_multiple_of(2)
    }

    /// One that is not in trouble.
    fn well(&self, turn: usize) -> usize {
        if self.is_hurt(turn) { turn + 1 } else { turn }
    }

    fn take_from_stock(&self) -> Option<String> {
        if (0..NODES).any(|node| self.is_hurt(node)) { self.stock.lock().unwrap().pop() } else { None }
    }

    /// A token that nodes remember: in trouble, the one in trouble as well.
    async fn token(&self, turn: usize) -> Option<String> {
        if let Some(token) = self.take_from_stock() {
            return Some(token);
        }
        let token = self.tally.issue(&self.nodes, self.well(turn)).await?;
        for node in (0..NODES).filter(|&node| !self.is_hurt(node)) {
            drop(told(self.nodes.app(node).introspect(&token)).await);
        }
        Some(token)
    }

    /// Enough for a trouble, while a revocation takes as long as a lease.
    async fn fill_stock(self: &Arc<Self>) {
        let missing = (5 * Self::workers()).saturating_sub(self.stock.lock().unwrap().len());
        let mut filling = JoinSet::new();
        for turn in 0..missing {
            let world = Arc::clone(self);
            filling.spawn(async move {
                let token = world.tally.issue(&world.nodes, turn).await?;
                remember(&world.nodes, &token).await;
                Some(token)
            });
        }
        let filled = filling.join_all().await;
        self.stock.lock().unwrap().extend(filled.into_iter().flatten());
    }

    /// Revokes until told to stop. Nobody waits for the answers afterwards: a node that is frozen gives them
    /// when it wakes, and it was asked while it slept.
    async fn work(self: Arc<Self>) {
        let mut asking = JoinSet::new();
        while !self.stop.load(Ordering::Relaxed) {
            let turn = self.turns.fetch_add(1, Ordering::Relaxed);
            let Some(token) = self.revoke_once(turn).await else { continue };
            for node in 0..NODES {
                let (world, token) = (Arc::clone(&self), token.clone());
                asking.spawn(async move { world.tally.ask_of_the_dead(&world.nodes, node, &token).await });
            }
            while let Some(asked) = asking.try_join_next() {
                asked.unwrap();
            }
        }
        asking.join_all().await;
    }

    async fn revoke_once(&self, turn: usize) -> Option<String> {
        let token = self.token(turn).await?;
        let is_anywhere = turn.is_multiple_of(ANYWHERE);
        let node = if is_anywhere { turn / ANYWHERE } else { self.well(turn) };
        let before = self.mark(node);
        let took = self.tally.revoke(&self.nodes, node, &token).await?;
        // The one that is in trouble answers when it can.
        if before.is_multiple_of(2) && self.mark(node) == before {
            self.tally.timed(took);
        }
        Some(token)
    }

    /// Lets it happen, and tells how long after it was over the node is ready again.
    async fn befall(self: &Arc<Self>, trouble: Trouble, node: usize, goes: bool) -> Duration {
        self.fill_stock().await;
        self.marks[node].fetch_add(1, Ordering::SeqCst);
        // Most of what is under way is answered first; from here on nobody waits for this node unawares.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.hurt(trouble, node, goes).await;
        let ready = if matches!(trouble, Trouble::Killed) {
            self.nodes.up(node).await
        } else {
            until_ready(self.nodes.app(node)).await
        };
        self.marks[node].fetch_add(1, Ordering::SeqCst);
        ready
    }

    async fn hurt(&self, trouble: Trouble, node: usize, goes: bool) {
        let apart = self.nodes.each[node].apart.as_ref().unwrap();
        let cut = async |goes, comes| {
            apart.cut(goes, comes);
            tokio::time::sleep(CUT).await;
            apart.heal();
        };
        let show = async |offset| {
            apart.clock.show(offset);
            tokio::time::sleep(WRONG_CLOCK).await;
            apart.clock.show("+0");
        };
        match trouble {
            Trouble::Frozen => {
                self.nodes.signal(node, "STOP").await;
                tokio::time::sleep(FROZEN).await;
                self.nodes.signal(node, "CONT").await;
            }
            Trouble::Killed => self.nodes.kill(node).await,
            Trouble::CutOff => cut(true, true).await,
            Trouble::CutOffHalf => cut(goes, !goes).await,
            Trouble::Ahead => show("+1h").await,
            Trouble::Behind => show("-1h").await,
        }
    }

    /// One trouble after the other, each node's turn; how often, and the slowest to be ready again.
    async fn troubles(self: &Arc<Self>) -> (usize, Duration) {
        let (begun, mut rounds, mut slowest) = (Instant::now(), 0, Duration::ZERO);
        let wanted = if is_long() { LONG_T2 } else { 0 };
        while rounds < TROUBLES.len() * scale() || self.tally.revoked() < wanted && begun.elapsed() < LONGEST
        {
            let cycle = rounds / TROUBLES.len();
            let (trouble, node) = (TROUBLES[rounds % TROUBLES.len()], (rounds + cycle) % NODES);
            slowest = slowest.max(self.befall(trouble, node, cycle.is_multiple_of(2)).await);
            tokio::time::sleep(Duration::from_millis(500)).await;
            rounds += 1;
        }
        (rounds, slowest)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_f16_after_a_revocation_no_node_says_active_whatever_happens_to_the_others() {
    let world = Arc::new(World::start().await);
    let mut workers = JoinSet::new();
    for _ in 0..World::workers() {
        workers.spawn(Arc::clone(&world).work());
    }
    let (rounds, slowest) = world.troubles().await;
    world.stop.store(true, Ordering::Relaxed);
    workers.join_all().await;
    let tally = &world.tally;
    record(
        "T2, F16",
        &format!(
            "{rounds} times a node frozen, killed, cut off (both ways, one way) or with a wrong clock: {}; ready again \
             in {} ms at most",
            tally.text(),
            slowest.as_millis()
        ),
    );
    assert!(tally.revoked() > 20, "{}", tally.text());
    assert!(!is_long() || tally.percentile(99) <= WAITED, "{}", tally.text());
    assert!(tally.percentile(100) <= WAITED + MARGIN, "{}", tally.text());
    assert!(!is_long() || tally.revoked() >= LONG_T2, "{}", tally.text());
    for left in world.stock.lock().unwrap().drain(..) {
        tally.ledger.promised(left);
    }
    are_kept("T2, F16", &world.nodes, [tally]).await;
}
