//! F7: one node of three is cut off from the database, in both directions and in each. It says nothing that
//! it cannot know, the others go on, and when the line is whole again so is the node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::crash::machine;
use super::front::says;
use super::ledger::Ledger;
use super::machine::Namespace;
use super::oracle::judge;
use super::report::{record, scale};
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process};

/// Longer than any lease.
const LEASE: Duration = Duration::from_millis(1_100);
/// An answer that cannot be given is refused within this.
const REFUSED: Duration = Duration::from_millis(600);

/// What a node says of a token, and how long it took.
async fn ask(app: &App, token: &str) -> (Option<bool>, Duration) {
    let begun = Instant::now();
    (says(app, token).await, begun.elapsed())
}

async fn issue(app: &App) -> String {
    app.client_credentials().send().await.is(200).text("access_token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_node_that_is_cut_off_says_nothing_it_cannot_know() {
    let (network, home) = (Namespace::new(), Directory::new());
    let cluster = Cluster::start_with(&format!("127.0.0.1,{}", network.outside()), None, "").await;
    let (port, there) = (free_port(), 8_000);
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let url = cluster.url().replace("127.0.0.1", &network.outside());
    let cut_off = Cli::at(home.path(), Some(url)).run_by(network.prefix());
    let here = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let issuer = here.base.clone();
    let arguments = ["--issuer", &issuer];
    let _one = Process::start_with(&cli, &home, port, &[]).await;
    let three = Process::start_with(&cli, &home, free_port(), &arguments).await;
    let two = Process::start_at(&cut_off, &home, &network.inside(), there, &arguments).await;
    let at = |server: &Process| App { base: server.base.clone(), ..here.clone() };
    let there = at(&two);
    // Those who do not speak to the one that is cut off.
    let ledger = Arc::new(Ledger::default());
    let loads = [ledger.load(&here, 2), ledger.load(&at(&three), 2)];
    for (direction, goes, comes) in [("both ways", true, true), ("there", true, false), ("back", false, true)]
    {
        let (alive, doomed, dead) = (issue(&here).await, issue(&here).await, issue(&here).await);
        here.revoke(&dead).send().await.is(200);
        for (token, is_active) in [(&alive, true), (&doomed, true), (&dead, false)] {
            assert_eq!(ask(&there, token).await.0, Some(is_active));
        }
        let cut = Cut { direction, network: &network, port: cluster.port, goes, comes };
        cut.hold(&here, &there, &alive, &doomed, &dead).await;
    }
    assert!(connections(&cluster, &network).await <= 20, "connections were leaked");
    for load in loads {
        load.stop().await;
    }
    let [totals] = judge("F7", &cli, &here, [&*ledger]).await;
    let slowest = ledger.slowest();
    record("F7", &format!("at the two others meanwhile: {totals}, in {} ms at most", slowest.as_millis()));
    assert_eq!(totals.refused, 0, "the others are well: {totals}");
    assert!(totals.revoked > 0, "{totals}");
}

struct Cut<'a> {
    direction: &'static str,
    network: &'a Namespace,
    port: u16,
    goes: bool,
    comes: bool,
}

impl Cut<'_> {
    async fn hold(&self, here: &App, there: &App, alive: &str, doomed: &str, dead: &str) {
        let lasting = Duration::from_secs(if scale() > 1 { 30 } else { 4 });
        self.network.cut(self.port, self.goes, self.comes);
        let begun = Instant::now();
        let revoking = Instant::now();
        here.revoke(doomed).send().await.is(200);
        let revoked = revoking.elapsed();
        assert!(revoked < Duration::from_millis(1_300), "revoked in {revoked:?}");
        assert_ne!(ask(there, doomed).await.0, Some(true), "alive after its end was acknowledged");
        let (mut slowest, mut refused) = (Duration::ZERO, 0);
        while begun.elapsed() < lasting {
            let asked = begun.elapsed();
            let (said, took) = ask(there, alive).await;
            if asked > LEASE {
                assert_eq!(said, None, "said {asked:?} after it was cut off");
                slowest = slowest.max(took);
                refused += 1;
            }
            assert_eq!(ask(there, dead).await.0, Some(false), "what is known to be dead stays dead");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.network.heal();
        let healed = Instant::now();
        while ask(there, alive).await.0 != Some(true) {
            assert!(healed.elapsed() < Duration::from_secs(30), "it does not come back");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let healed = healed.elapsed();
        record(
            "F7",
            &format!(
                "{} cut for {} s: a revocation elsewhere took {} ms; {refused} answers refused, in {} ms at most; \
                 whole again {} ms after the line",
                self.direction,
                lasting.as_secs(),
                revoked.as_millis(),
                slowest.as_millis(),
                healed.as_millis()
            ),
        );
        assert!(refused > 0 && slowest <= REFUSED, "{refused} refused, in {slowest:?}");
        assert!(healed <= Duration::from_secs(1), "{healed:?}");
        assert_ne!(ask(there, doomed).await.0, Some(true), "alive after its end was acknowledged");
    }
}

async fn connections(cluster: &Cluster, network: &Namespace) -> i64 {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = $1::inet";
    let mut connection = cluster.connect().await;
    sqlx::query_scalar(sql).bind(network.inside()).fetch_one(&mut connection).await.unwrap()
}
