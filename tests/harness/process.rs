//! How does a test get the real program? In a process of its own, in a home of its own.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use super::browser::Browser;
use super::cli::Cli;
use super::directory::Directory;

/// What a server is told when all its clients are on one machine, whose share would be limited.
pub const UNLIMITED: [&str; 4] = ["--requests-per-client", "0", "--requests-per-address", "0"];

/// A serving process; killed when dropped.
pub struct Process {
    child: Child,
    pub base: String,
    log: PathBuf,
}

impl Process {
    /// Serves from `home` on a free port of localhost, and waits until it accepts.
    pub async fn start(home: &Directory, arguments: &[&str]) -> Self {
        Self::start_with(&Cli::in_home(home.path()), home, free_port(), arguments).await
    }

    pub async fn start_with(cli: &Cli, home: &Directory, port: u16, arguments: &[&str]) -> Self {
        let log = home.path().join(format!("log-{port}"));
        let listen = format!("localhost:{port}");
        let arguments = [&["--listen", &listen], arguments].concat();
        Self::spawn(cli, &log, port, &arguments).await
    }

    /// Serves without being told where.
    pub async fn start_on_default_port(home: &Directory) -> Self {
        Self::spawn(&Cli::in_home(home.path()), &home.path().join("log"), 8000, &[]).await
    }

    /// Serves at an address that is not this machine's own.
    pub async fn start_at(cli: &Cli, home: &Directory, host: &str, port: u16, arguments: &[&str]) -> Self {
        let log = home.path().join(format!("log-{port}"));
        let listen = format!("{host}:{port}");
        Self::spawn_at(cli, &log, host, port, &[&["--listen", &listen], arguments].concat()).await
    }

    async fn spawn(cli: &Cli, log: &std::path::Path, port: u16, arguments: &[&str]) -> Self {
        Self::spawn_at(cli, log, "127.0.0.1", port, arguments).await
    }

    async fn spawn_at(cli: &Cli, log: &std::path::Path, host: &str, port: u16, arguments: &[&str]) -> Self {
        // After what another one of the same port wrote.
        let file = File::options().create(true).append(true).open(log).unwrap();
        let mut command = cli.command(arguments);
        command.stdout(file.try_clone().unwrap()).stderr(file).stdin(std::process::Stdio::null());
        let child = command.spawn().unwrap();
        let mut process = Self { child, base: format!("http://{host}:{port}"), log: log.to_owned() };
        process.wait_until_it_accepts(host, port).await;
        process
    }

    async fn wait_until_it_accepts(&mut self, host: &str, port: u16) {
        for _ in 0..1500 {
            if TcpStream::connect((host, port)).is_ok() {
                return;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not accept within 30 s: {}", self.log());
    }

    /// All it wrote, and those before it at this port.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it has, in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends as an operator would, and says with which code.
    pub async fn terminate(mut self) -> i32 {
        self.terminate_within(Duration::from_secs(10)).await
    }

    /// The same of one that somebody keeps from it for a while.
    pub async fn terminate_within(&mut self, limit: Duration) -> i32 {
        self.signal("TERM");
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not end within {limit:?}: {}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port nobody listens on just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
