//! F7: one node of two is cut off from the database, in both directions and in each. It says nothing that
//! it cannot know, the other goes on, and when the line is whole again so is the node.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::crash::machine;
use super::ledger::post;
use super::machine::Namespace;
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
    let answer = post(app, "/o/introspect/", &[("token", token)]).await;
    let said = match answer {
        Some((200, body)) => Some(body["active"].as_bool().unwrap()),
        Some((503, _)) => None,
        other => panic!("{other:?}"),
    };
    (said, begun.elapsed())
}

async fn issue(app: &App) -> String {
    let (status, body) = post(app, "/o/token/", &[("grant_type", "client_credentials")]).await.unwrap();
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
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
    let _one = Process::start_with(&cli, &home, port, &[]).await;
    let arguments = ["--issuer", &issuer];
    let two = Process::start_at(&cut_off, &home, &network.inside(), there, &arguments).await;
    let there = App { base: two.base.clone(), ..here.clone() };
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
    cli.run(&["verify"]).succeeded();
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
