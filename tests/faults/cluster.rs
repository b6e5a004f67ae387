//! A PostgreSQL cluster of a test's own, to be killed, filled and cut off.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::harness::process::free_port;
use crate::harness::{Directory, environment};

/// A PostgreSQL cluster under an unprivileged user.
pub struct Cluster {
    directory: Directory,
    pub port: u16,
    listen: String,
    options: String,
}

impl Cluster {
    /// As PostgreSQL is by itself.
    pub async fn start() -> Self {
        Self::start_with("127.0.0.1", None, "").await
    }

    /// Listening on these addresses, which are trusted; with its write-ahead log elsewhere; with options of
    /// the server (`-c name=value`).
    pub async fn start_with(listen: &str, wal: Option<&str>, options: &str) -> Self {
        let cluster = Self {
            directory: Directory::new(),
            port: free_port(),
            listen: listen.to_owned(),
            options: options.to_owned(),
        };
        give_to_postgres(cluster.directory.text());
        let data = cluster.data();
        let mut arguments = vec!["--auth=trust", "--username=chancery", "--encoding=UTF8", "-D", &data];
        let wal = wal.map(|wal| format!("--waldir={wal}"));
        arguments.extend(wal.as_deref());
        Self::run("initdb", &arguments);
        let trusted =
            format!("host all all samenet trust\n{}", std::fs::read_to_string(cluster.rules()).unwrap());
        std::fs::write(cluster.rules(), trusted).unwrap();
        cluster.up().await;
        cluster.create_database("chancery", "pg_default");
        cluster
    }

    /// With an archive of its write-ahead log, as the guide asks for.
    pub async fn start_archiving(archive: &Directory) -> Self {
        give_to_postgres(archive.text());
        let command = format!("test ! -f {0}/%f && cp %p {0}/%f", archive.text());
        let options = format!("-c archive_mode=on -c archive_command='{command}'");
        Self::start_with("127.0.0.1", None, &options).await
    }

    /// A standby that follows this one.
    pub async fn standby(&self) -> Self {
        let standby = Self {
            directory: Directory::new(),
            port: free_port(),
            listen: self.listen.clone(),
            options: self.options.clone(),
        };
        give_to_postgres(standby.directory.text());
        self.base_backup(&standby.data(), &["-R"]);
        standby.up().await;
        standby
    }

    /// A copy of all files while the server goes on.
    pub fn base_backup(&self, directory: &str, more: &[&str]) {
        let port = self.port.to_string();
        let from = ["-h", "127.0.0.1", "-p", &port, "-U", "chancery", "-D", directory];
        Self::run("pg_basebackup", &[&from[..], &["-c", "fast", "-X", "stream"], more].concat());
    }

    /// Becomes what it was at a moment, by the recipe of the guide: a base backup and all that was archived
    /// since, or was about to be.
    pub async fn bring_back(&self, backup: &str, archive: &Directory, moment: &str) {
        let (data, archive) = (self.data(), archive.text());
        Self::run("pg_ctl", &["stop", "-w", "-m", "fast", "-D", &data]);
        let script = format!(
            "set -e; mv {data} {data}.old; cp -a {backup} {data}; cp -n {data}.old/pg_wal/0* {data}/pg_wal/; \
             touch {data}/recovery.signal; cat >> {data}/postgresql.conf"
        );
        let settings = format!(
            "restore_command = 'cp {archive}/%f \"%p\"'\nrecovery_target_time = '{moment}'\n\
             recovery_target_action = 'promote'"
        );
        Self::run("/bin/sh", &["-c", &format!("{script} <<'END'\n{settings}\nEND")]);
        self.up().await;
        let mut connection = self.connect().await;
        let recovers = "SELECT pg_is_in_recovery()";
        while sqlx::query_scalar(recovers).fetch_one(&mut connection).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A database in a tablespace.
    pub fn create_database(&self, name: &str, tablespace: &str) {
        let port = self.port.to_string();
        let at = ["-h", "127.0.0.1", "-p", &port, "-U", "chancery", "-D", tablespace, name];
        Self::run("createdb", &at);
    }

    /// A connection of the test.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    fn rules(&self) -> String {
        format!("{}/pg_hba.conf", self.data())
    }

    pub fn data(&self) -> String {
        format!("{}/data", self.directory.text())
    }

    pub fn url(&self) -> String {
        self.url_of("chancery")
    }

    /// Of one database.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://chancery@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts it, as often as it takes.
    pub async fn up(&self) {
        let (port, directory) = (self.port, self.directory.text());
        let options =
            format!("-p {port} -c listen_addresses={} -k {directory} {}", self.listen, self.options);
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

    pub fn kill(&self) {
        kill_all_of(&self.data());
    }

    /// Kills one backend of a server: PostgreSQL then restarts all of them. Returns when it accepts again.
    pub async fn kill_a_backend(&self) -> Instant {
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

/// Lets the user that PostgreSQL runs as write there.
pub fn give_to_postgres(path: &str) {
    let owner = format!("{}:", environment::postgres_user());
    assert!(Command::new("chown").args([&owner, path]).status().unwrap().success());
}

/// The process that all others of the PostgreSQL in a data directory belong to; one that ended by itself
/// left none.
pub fn postmaster_of(data: &str) -> Option<u32> {
    let pids = std::fs::read_to_string(format!("{data}/postmaster.pid")).ok()?;
    pids.lines().next()?.parse().ok()
}

/// Kills the postmaster and every backend at once, as a power cut would.
pub fn kill_all_of(data: &str) {
    let Some(postmaster) = postmaster_of(data) else { return };
    // A killed process whose new parent has not asked for its end is a zombie: gone enough.
    let script = format!(
        "pids=$(echo {postmaster} $(pgrep -P {postmaster}) | tr ' ' ,); kill -9 $(echo $pids | tr , ' ') 2>/dev/null;\
         while ps -o stat= -p $pids | grep -qv '^Z'; do sleep 0.02; done"
    );
    Command::new("sh").args(["-c", &script]).status().unwrap();
}
