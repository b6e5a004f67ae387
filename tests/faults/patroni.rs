//! F5, F6, F8: what does Chancery promise on PostgreSQL under Patroni, when the primary is lost, when its
//! synchronous standby is, and when it does not know that it is the primary no more?

mod cluster;
mod config;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection, Row};

use super::crash::machine;
use super::ending::Ending;
use super::front::{issue, says, told};
use super::grants::Person;
use super::ledger::{Ledger, Load};
use super::nodes::Nodes;
use super::oracle::judge;
use super::report::{record, scale};
use super::revocations::are_kept;
use super::troubles::WAITED;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process};
use cluster::Cluster;

/// How many tokens are promised before something is broken.
const PROMISED: usize = 1_500;
/// So many have come by then.
const LONGEST: Duration = Duration::from_mins(5);
/// How many revocations before and after.
const ENDED: usize = 200;
/// How long a database call may take before its connection is given up, as it is without any setting.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longer than Patroni takes to go on without a lost standby where it may.
const ALONE: Duration = Duration::from_secs(30);
/// What a client sees beside the deadline, with five programs and PostgreSQL three times on two processors.
const MARGIN: Duration = Duration::from_millis(100);

/// A server on a cluster, under load.
struct World {
    server: Process,
    load: Load,
    ledger: Arc<Ledger>,
    app: App,
    cli: Cli,
    home: Directory,
    // Gone after the processes that use it.
    cluster: Cluster,
}

impl World {
    async fn start() -> Self {
        Self::on(Cluster::start().await).await
    }

    async fn on(cluster: Cluster) -> Self {
        let home = Directory::new();
        let cli = Cli::at(home.path(), Some(cluster.url()));
        let port = free_port();
        let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
        let server = Process::start_with(&cli, &home, port, &[]).await;
        let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
        let load = ledger.load(&app, 8);
        let world = Self { server, load, ledger, app, cli, home, cluster };
        world.promise(PROMISED * scale()).await;
        world
    }

    /// Waits for so many more promises.
    async fn promise(&self, more: usize) {
        let (begun, wanted) = (Instant::now(), self.ledger.issued() + more);
        while self.ledger.issued() < wanted {
            assert!(begun.elapsed() < LONGEST, "hardly anything is promised: {}", self.ledger.totals());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long it takes from `begun` until a token is given that was asked for after this call.
    async fn served(&self, begun: Instant) -> Duration {
        while begun.elapsed() < Duration::from_secs(90) {
            if issue(&self.app).await == Some(200) {
                return begun.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no token for 90 s: {}", self.server.log());
    }

    /// Until another node is the primary.
    async fn promoted(&self, old: usize, begun: Instant) -> (usize, Duration) {
        promoted(&self.cluster, old, begun).await
    }

    /// Ends the load and holds everything against what was promised.
    async fn judge(self, row: &str, what: &str) {
        self.promise(PROMISED).await;
        self.load.stop().await;
        let [totals] = judge(row, &self.cli, &self.app, [&*self.ledger]).await;
        record(row, &format!("{what}: {totals}, nothing lost"));
    }
}

async fn promoted(cluster: &Cluster, old: usize, begun: Instant) -> (usize, Duration) {
    while begun.elapsed() < Duration::from_secs(90) {
        match cluster.find_leader().await {
            Some(new) if new != old => return (new, begun.elapsed()),
            Some(_) | None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("nobody took over within 90 s");
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_lost_primary_loses_nothing_acknowledged() {
    let world = World::start().await;
    let old = world.cluster.leader().await;
    world.cluster.kill(old);
    let killed = Instant::now();
    let (served, (_, promoted)) = tokio::join!(world.served(killed), world.promoted(old, killed));
    let what = format!(
        "kill -9 of the primary's Patroni and PostgreSQL; promoted after {}, first token after {}",
        seconds(promoted),
        seconds(served)
    );
    world.judge("F5", &what).await;
    assert!(served <= Duration::from_secs(25), "{what}");
}

/// Three nodes that are asked about every token without a pause, from before the primary is lost until well after
/// another has taken over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_f5_after_a_revocation_no_node_says_active_though_another_primary_takes_over() {
    let cluster = Arc::new(Cluster::start().await);
    let nodes = Arc::new(Nodes::on(cluster.url(), Box::new(Arc::clone(&cluster))).await);
    let mut ending = Ending::begin(&nodes);
    ending.revoked(ENDED).await;
    let old = cluster.leader().await;
    cluster.kill(old);
    let (_, promoted) = promoted(&cluster, old, Instant::now()).await;
    ending.revoked(ENDED).await;
    let tally = ending.finish().await;
    record("T2, F5", &format!("another primary after {}: {}", seconds(promoted), tally.text()));
    are_kept("T2, F5", &nodes, [&*tally]).await;
    // Of those that were acknowledged, by one primary or by the other.
    assert!(tally.took().percentile(99) <= WAITED, "{}", tally.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_lost_synchronous_standby_is_never_acknowledged_for() {
    let mut world = World::start().await;
    for how in ["frozen", "killed"] {
        let standby = world.cluster.find_synchronous_standby().await.unwrap();
        let lost = Instant::now();
        if how == "frozen" {
            world.cluster.freeze(standby);
        } else {
            world.cluster.kill(standby);
        }
        if how == "frozen" {
            // Whatever it confirmed before it was frozen is answered by now; nothing is after that.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let before = world.ledger.issued();
            tokio::time::sleep(3 * DEADLINE).await;
            assert_eq!(world.ledger.issued(), before, "acknowledged without the standby");
        }
        let served = world.served(lost).await;
        world.promise(PROMISED).await;
        if how == "frozen" {
            world.cluster.thaw(standby);
        } else {
            world.cluster.revive(standby);
        }
        world.cluster.wait_until_whole().await;
        let slowest = world.ledger.slowest();
        record(
            "F6",
            &format!(
                "synchronous standby {how}: first token after {}, no request took longer than {}",
                seconds(served),
                seconds(slowest)
            ),
        );
        assert!(slowest <= DEADLINE + MARGIN, "{slowest:?}");
    }
    world.judge("F6", "synchronous standby lost twice").await;
}

/// Nothing is written on one machine only, however long that is all there is, and `doctor` says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_in_strict_mode_nothing_is_written_without_a_standby() {
    let mut world = World::on(Cluster::start_strict().await).await;
    let leader = world.cluster.leader().await;
    let standbys = (0..world.cluster.nodes.len()).filter(|node| *node != leader);
    for standby in standbys.clone() {
        world.cluster.kill(standby);
    }
    // Whatever they had confirmed is answered by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, lost) = (world.ledger.issued(), Instant::now());
    while lost.elapsed() < ALONE {
        assert_eq!(
            issue(&world.app).await,
            Some(503),
            "given with one copy only, or not told whose fault it is"
        );
    }
    assert_eq!(world.ledger.issued(), before, "acknowledged without a standby");
    let doctor = world.cli.run(&["doctor"]);
    assert!(doctor.stdout.contains("none is connected, so nothing can be written"), "{doctor:?}");
    let back = Instant::now();
    for standby in standbys {
        world.cluster.revive(standby);
    }
    let served = world.served(back).await;
    world.cluster.wait_until_whole().await;
    let slowest = world.ledger.slowest();
    let what = format!(
        "strict: no standby for {}: nothing was written; first token {} after they were started, no request took longer \
         than {}",
        seconds(ALONE),
        seconds(served),
        seconds(slowest)
    );
    world.judge("F6", &what).await;
    assert!(slowest <= DEADLINE + MARGIN, "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_an_old_primary_that_is_cut_off_accepts_nothing() {
    let mut world = World::start().await;
    let old = world.cluster.leader().await;
    // One whose way to the old primary nobody closes.
    let direct = Cli::at(world.home.path(), Some(world.cluster.direct_url(old)));
    let port = free_port();
    let late = Process::start_with(&direct, &world.home, port, &[]).await;
    let late_app = App { base: late.base.clone(), ..world.app.clone() };
    let token = world.app.client_credentials().send().await.is(200).text("access_token");
    assert_eq!(says(&late_app, &token).await, Some(true), "{}", late.log());

    world.cluster.cut_off(old);
    let cut = Instant::now();
    let (new, promoted) = world.promoted(old, cut).await;
    let served = world.served(cut).await;
    while told(world.app.revoke(&token)).await.unwrap().status != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let revoked = Instant::now();
    while revoked.elapsed() < Duration::from_secs(8) {
        let said = says(&late_app, &token).await;
        assert_ne!(said, Some(true), "active {:?} after it was revoked", revoked.elapsed());
        assert_eq!(issue(&late_app).await, Some(503), "the old primary accepted it");
    }
    has_what_is_left(&world.cluster, old, new).await;

    world.cluster.heal(old).await;
    let whole = world.cluster.wait_until_whole().await;
    drop(late);
    let what = format!(
        "primary cut off from etcd: promoted after {}, first token after {}, the old one a standby {} after it \
         was back",
        seconds(promoted),
        seconds(served),
        seconds(whole)
    );
    world.judge("F8", &what).await;
    assert!(served <= Duration::from_secs(25), "{what}");
}

/// The old primary becomes a standby, which takes it a moment, and everything it has committed is the
/// beginning of what the new one has.
async fn has_what_is_left(cluster: &Cluster, old: usize, new: usize) {
    let begun = Instant::now();
    let (head, chain) = loop {
        if let Some(left) = left_on_standby(cluster, old).await {
            break left;
        }
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "it still takes itself for the primary{}",
            cluster.logs()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let mut right = cluster.try_connect(new, "chancery", "chancery").await.unwrap();
    let sql = "SELECT chain FROM batches WHERE first_position + event_count - 1 = $1";
    let there: Vec<u8> = sqlx::query_scalar(sql).bind(head).fetch_one(&mut right).await.unwrap();
    assert_eq!(chain, there, "the old primary went its own way");
    right.close().await.unwrap();
}

async fn left_on_standby(cluster: &Cluster, old: usize) -> Option<(i64, Vec<u8>)> {
    let mut left = cluster.try_connect(old, "chancery", "chancery").await.ok()?;
    let sql = "SELECT head, chain FROM lanes WHERE pg_is_in_recovery()";
    let row = sqlx::query(sql).fetch_optional(&mut left).await.ok()??;
    Some((row.get(0), row.get(1)))
}
