//! F4: kill -9 of PostgreSQL under load. The cluster is this test's own.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::crash::machine;
use super::ledger::Ledger;
use super::report::{record, scale};
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process, environment};

const KILLS: u64 = 5;

/// A PostgreSQL cluster under an unprivileged user.
struct Cluster {
    directory: Directory,
    port: u16,
}

impl Cluster {
    async fn start() -> Self {
        let cluster = Self { directory: Directory::new(), port: free_port() };
        let owner = format!("{}:", environment::postgres_user());
        let given = Command::new("chown").args([&owner, cluster.directory.text()]).status().unwrap();
        assert!(given.success());
        Self::run(
            "initdb",
            &["--auth=trust", "--username=chancery", "--encoding=UTF8", "-D", &cluster.data()],
        );
        cluster.up().await;
        Self::run(
            "createdb",
            &["-h", "127.0.0.1", "-p", &cluster.port.to_string(), "-U", "chancery", "chancery"],
        );
        cluster
    }

    fn data(&self) -> String {
        format!("{}/data", self.directory.text())
    }

    fn url(&self) -> String {
        format!("postgres://chancery@127.0.0.1:{}/chancery", self.port)
    }

    async fn up(&self) {
        let options = format!("-p {} -c listen_addresses=127.0.0.1 -k {}", self.port, self.directory.text());
        let log = format!("{}/log", self.directory.text());
        let start = ["start", "-w", "-D", &self.data(), "-l", &log, "-o", &options];
        // A backend that was just being made notices the loss of its parent a moment later, and until
        // then no successor may start.
        for _ in 0..100 {
            if Self::attempt("pg_ctl", &start).status.success() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL does not start again: {}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Kills the postmaster and every backend at once, as a power cut would.
    fn kill(&self) {
        let pid_file = format!("{}/postmaster.pid", self.data());
        let postmaster = std::fs::read_to_string(pid_file).unwrap().lines().next().unwrap().to_owned();
        // A killed process whose new parent has not asked for its end is a zombie: gone enough.
        let script = format!(
            "pids=$(echo {postmaster} $(pgrep -P {postmaster}) | tr ' ' ,); kill -9 $(echo $pids | tr , ' ');\
             while ps -o stat= -p $pids | grep -qv '^Z'; do sleep 0.02; done"
        );
        Command::new("sh").args(["-c", &script]).status().unwrap();
    }

    /// Kills one backend of a server: PostgreSQL then restarts all of them. Returns when it accepts again.
    async fn kill_a_backend(&self) -> Instant {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let sql =
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'chancery' ORDER BY random() LIMIT 1";
        let pid: i32 = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        drop(connection);
        tokio::time::sleep(Duration::from_millis(50)).await;
        while PgConnection::connect(&self.url()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Instant::now()
    }

    fn run(program: &str, arguments: &[&str]) {
        let output = Self::attempt(program, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn attempt(program: &str, arguments: &[&str]) -> Output {
        let program: PathBuf = environment::postgres_programs().join(program);
        let mut command = if environment::is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", &environment::postgres_user(), "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).current_dir("/").output().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_invariant_01_five_kills_of_postgresql_lose_nothing_acknowledged() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let port = free_port();
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 8);
    let kills = KILLS * scale() as u64;
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(700 + kill * 137)).await;
        cluster.kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.up().await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    load.stop().await;
    let totals = ledger.judge(&app).await;
    record("F4", &format!("{kills} kills -9 of PostgreSQL: {totals}, nothing lost"));
    assert!(totals.issued > 100, "there was a load: {totals}");
    cli.run(&["verify"]).succeeded();
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_killed_backends_lose_nothing_acknowledged() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let port = free_port();
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 8);
    let kills = KILLS * scale() as u64;
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(700 + kill * 137 % 900)).await;
        let accepts = cluster.kill_a_backend().await;
        // Served again: a token is given.
        while app.client_credentials().send().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest = slowest.max(accepts.elapsed());
    }
    load.stop().await;
    let totals = ledger.judge(&app).await;
    let slowest = slowest.as_millis();
    record(
        "F3",
        &format!(
            "{kills} backends killed -9: {totals}, nothing lost; served again {slowest} ms after PostgreSQL at most"
        ),
    );
    assert!(totals.issued > 100, "there was a load: {totals}");
    assert!(slowest <= 1_000, "{slowest} ms");
    cli.run(&["verify"]).succeeded();
    drop(server);
}
