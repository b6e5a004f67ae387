//! How does a test get PostgreSQL under Patroni? One etcd, three nodes and a proxy, all its own, which
//! end with the test however it ends.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use super::config::{self, Ports};
use crate::faults::cluster::{kill_all_of, postmaster_of};
use crate::faults::machine::Proxy;
use crate::harness::process::free_port;
use crate::harness::{Directory, environment};

/// Waits for the end of its input, which comes with the end of the test, and kills what is left:
/// Patroni starts PostgreSQL in a session of its own, out of reach of any process group of ours.
const REAPER: &str = r#"cat >/dev/null
cd "$1" || exit
for round in 1 2 3; do
    for file in *.pid */postmaster.pid; do
        [ -f "$file" ] && read -r pid <"$file" || continue
        # What runs under a number that is given out anew has other arguments.
        tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$1/" || continue
        kill -KILL "$pid" $(pgrep -P "$pid")
    done
    sleep 0.1
done"#;

/// Three nodes under Patroni behind one address.
pub struct Cluster {
    reaper: Child,
    children: Vec<Child>,
    pub nodes: Vec<Node>,
    port: u16,
    rest: reqwest::Client,
    directory: Directory,
}

/// One of them.
pub struct Node {
    pub ports: Ports,
    patroni: u32,
    /// Its way to etcd.
    etcd: Proxy,
}

impl Cluster {
    /// Started, with a leader, a synchronous standby and an empty database.
    pub async fn start() -> Self {
        Self::start_as(false).await
    }

    /// One that writes nothing while there is no synchronous standby.
    pub async fn start_strict() -> Self {
        Self::start_as(true).await
    }

    async fn start_as(is_strict: bool) -> Self {
        let directory = Directory::new();
        let ports = ["n1", "n2", "n3"].map(|name| Ports {
            name: name.to_owned(),
            postgres: free_port(),
            rest: free_port(),
        });
        let (etcd, port) = (free_port(), free_port());
        let ways = [
            Proxy::start(etcd, Duration::ZERO).await,
            Proxy::start(etcd, Duration::ZERO).await,
            Proxy::start(etcd, Duration::ZERO).await,
        ];
        write_configuration(directory.path(), &ways, port, &ports, is_strict);
        let mut cluster = Self {
            reaper: reaper(directory.text()),
            children: Vec::new(),
            nodes: Vec::new(),
            port,
            rest: reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap(),
            directory,
        };
        cluster.start_etcd(etcd);
        cluster.wait_for_etcd(etcd).await;
        for (ports, etcd) in ports.into_iter().zip(ways) {
            let config = format!("{}/{}.yml", cluster.directory.text(), ports.name);
            let patroni = cluster.spawn(&ports.name, "patroni", &[&config]);
            cluster.nodes.push(Node { ports, patroni, etcd });
        }
        let config = format!("{}/haproxy.cfg", cluster.directory.text());
        cluster.spawn("haproxy", "haproxy", &["-db", "-f", &config]);
        cluster.wait_until_whole().await;
        cluster.create_database().await;
        cluster
    }

    /// Until it has decided which version of itself it speaks: a Patroni that asks before ends.
    async fn wait_for_etcd(&self, port: u16) {
        let (begun, url) = (Instant::now(), format!("http://127.0.0.1:{port}/version"));
        let is_decided = async || {
            let answer = self.rest.get(&url).send().await.ok()?.json::<Value>().await.ok()?;
            (answer["etcdcluster"].as_str()? != "not_decided").then_some(())
        };
        while is_decided().await.is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20), "etcd does not start{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn start_etcd(&mut self, port: u16) {
        let (client, peer) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
        let data = format!("{}/etcd", self.directory.text());
        let cluster = format!("default={peer}");
        let arguments = [
            ["--data-dir", &data],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
            ["--initial-advertise-peer-urls", &peer],
            ["--initial-cluster", &cluster],
        ];
        self.spawn("etcd", "etcd", arguments.as_flattened());
    }

    /// Starts a program as the user whose data it is, and notes its number for the reaper.
    fn spawn(&mut self, name: &str, program: &str, arguments: &[&str]) -> u32 {
        let directory = self.directory.text();
        let log = File::create(format!("{directory}/{name}.log")).unwrap();
        let mut command = unprivileged(program);
        command.args(arguments).current_dir("/").env("PATH", format!("{}:/usr/sbin", environment::path()));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let pid = child.id();
        self.children.push(child);
        fs::write(format!("{directory}/{name}.pid"), format!("{pid}\n")).unwrap();
        pid
    }

    async fn create_database(&self) {
        let mut leader = self.try_connect(self.leader().await, "postgres", "postgres").await.unwrap();
        for sql in [
            "CREATE ROLE chancery LOGIN",
            "GRANT pg_read_all_stats TO chancery",
            "CREATE DATABASE chancery OWNER chancery",
        ] {
            leader.execute(sql).await.unwrap();
        }
    }

    /// Where Chancery finds whoever is the primary.
    pub fn url(&self) -> String {
        format!("postgres://chancery@127.0.0.1:{}/chancery?sslmode=disable", self.port)
    }

    /// One node's PostgreSQL, whatever it is.
    pub fn direct_url(&self, node: usize) -> String {
        format!("postgres://chancery@127.0.0.1:{}/chancery?sslmode=disable", self.nodes[node].ports.postgres)
    }

    /// A connection to one node's PostgreSQL, if it is up.
    pub async fn try_connect(
        &self,
        node: usize,
        user: &str,
        database: &str,
    ) -> Result<PgConnection, sqlx::Error> {
        let port = self.nodes[node].ports.postgres;
        let url = format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable");
        PgConnection::connect(&url).await
    }

    /// Which node says of itself that it is the primary.
    pub async fn find_leader(&self) -> Option<usize> {
        for (index, node) in self.nodes.iter().enumerate() {
            let url = format!("http://127.0.0.1:{}/primary", node.ports.rest);
            if self.rest.get(url).send().await.is_ok_and(|answer| answer.status() == 200) {
                return Some(index);
            }
        }
        None
    }

    pub async fn leader(&self) -> usize {
        self.find_leader().await.expect("there is a leader")
    }

    /// Which node the primary waits for before it says that it has committed.
    pub async fn find_synchronous_standby(&self) -> Option<usize> {
        let members = self.members().await;
        let name = members.iter().find(|(_, role)| role == "sync_standby").map(|(name, _)| name)?;
        self.nodes.iter().position(|node| node.ports.name == *name)
    }

    /// Names and roles of those that run, as some node that answers sees it.
    async fn members(&self) -> Vec<(String, String)> {
        for node in &self.nodes {
            let url = format!("http://127.0.0.1:{}/cluster", node.ports.rest);
            let Ok(answer) = self.rest.get(url).send().await else { continue };
            let Ok(seen) = answer.json::<Value>().await else { continue };
            let Some(members) = seen["members"].as_array() else { continue };
            let runs = |member: &&Value| ["running", "streaming"].map(Value::from).contains(&member["state"]);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let named = |member: &Value| (text(&member["name"]), text(&member["role"]));
            return members.iter().filter(runs).map(named).collect();
        }
        Vec::new()
    }

    /// Until there are a leader, a synchronous standby and another one; how long it took.
    pub async fn wait_until_whole(&self) -> Duration {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_mins(2) {
            let mut roles: Vec<_> = self.members().await.into_iter().map(|(_, role)| role).collect();
            roles.sort();
            if roles == ["leader", "replica", "sync_standby"] && self.find_leader().await.is_some() {
                return begun.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the cluster is not whole within two minutes: {:?}{}", self.members().await, self.logs());
    }

    /// The end of what each of its programs wrote.
    pub fn logs(&self) -> String {
        let read = |child: &str| {
            fs::read_to_string(format!("{}/{child}.log", self.directory.text())).unwrap_or_default()
        };
        let last = |text: &str| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(20)..].join("\n")
        };
        ["etcd", "n1", "n2", "n3", "haproxy"]
            .map(|name| format!("\n── {name}\n{}", last(&read(name))))
            .concat()
    }

    /// Kills a node's Patroni, so that it starts nothing anew, and its PostgreSQL, as a power cut would.
    pub fn kill(&self, node: usize) {
        signal("KILL", &[self.nodes[node].patroni]);
        let data = format!("{}/{}", self.directory.text(), self.nodes[node].ports.name);
        kill_all_of(&data);
    }

    /// Starts a killed node again.
    pub fn revive(&mut self, node: usize) {
        let ports = self.nodes[node].ports.clone();
        let config = format!("{}/{}.yml", self.directory.text(), ports.name);
        self.nodes[node].patroni = self.spawn(&ports.name, "patroni", &[&config]);
    }

    /// A node does not reach etcd any more; whether it is the primary it cannot know.
    pub fn cut_off(&self, node: usize) {
        self.nodes[node].etcd.cut();
    }

    pub async fn heal(&mut self, node: usize) {
        self.nodes[node].etcd.heal().await;
    }

    /// Nothing of a node does anything any more, and its connections stay open.
    pub fn freeze(&self, node: usize) {
        signal("STOP", &self.processes(node));
    }

    pub fn thaw(&self, node: usize) {
        signal("CONT", &self.processes(node));
    }

    fn processes(&self, node: usize) -> Vec<u32> {
        let data = format!("{}/{}", self.directory.text(), self.nodes[node].ports.name);
        let postmaster = postmaster_of(&data).unwrap();
        let children = Command::new("pgrep").args(["-P", &postmaster.to_string()]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        // Whoever starts others first.
        let first = [self.nodes[node].patroni, postmaster];
        first.into_iter().chain(children.lines().map(|pid| pid.parse().unwrap())).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.reaper.stdin.take());
        let _ = self.reaper.wait();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn write_configuration(home: &Path, ways: &[Proxy], port: u16, nodes: &[Ports], is_strict: bool) {
    fs::write(home.join("haproxy.cfg"), config::haproxy(port, nodes)).unwrap();
    for (ports, way) in nodes.iter().zip(ways) {
        let text = config::patroni(home, way.port, ports, &environment::postgres_programs(), is_strict);
        fs::write(home.join(format!("{}.yml", ports.name)), text).unwrap();
    }
    let owner = format!("{}:", environment::postgres_user());
    assert!(Command::new("chown").args(["-R", &owner]).arg(home).status().unwrap().success());
}

/// In a process group of its own: whoever interrupts the tests must not stop it first.
fn reaper(directory: &str) -> Child {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("sh");
    command.args(["-c", REAPER, "reaper", directory]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A program under the user of PostgreSQL, which refuses root; its number is the program's own.
fn unprivileged(program: &str) -> Command {
    if !environment::is_root() {
        return Command::new(program);
    }
    let user = environment::postgres_user();
    let group = Command::new("id").args(["-g", &user]).output().unwrap();
    let group = String::from_utf8(group.stdout).unwrap();
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={}", group.trim())]);
    command.args(["--init-groups", program]);
    command
}

fn signal(name: &str, processes: &[u32]) {
    let pids = processes.iter().map(u32::to_string);
    // One that ended meanwhile is no failure.
    let _ = Command::new("kill").arg(format!("-{name}")).args(pids).stderr(Stdio::null()).status();
}
