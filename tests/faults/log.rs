//! F13: nobody reads the log any more, and the server goes on as fast as one whose log is read.

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::report::record;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Request, prepared};

const REQUESTS: usize = 6_000;

/// A server that says everything it can.
struct Talker {
    child: Child,
    base: String,
    metrics: String,
    client: reqwest::Client,
    took: Duration,
    _home: Directory,
}

impl Talker {
    /// A pipe holds 64 KiB; from one whose reader has stopped nothing is ever taken out.
    async fn start(is_read: bool) -> Self {
        let home = Directory::copy_of(prepared::sqlite());
        let listen = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let arguments = ["--listen", &listen[0], "--metrics-listen", &listen[1], "--log", "trace"];
        let mut command = Cli::at(home.path(), None).command(&arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        if is_read {
            let mut log = child.stderr.take().unwrap();
            std::thread::spawn(move || {
                let mut lines = [0; 16 * 1024];
                while let Ok(1..) = log.read(&mut lines) {}
            });
        }
        let [base, metrics] = listen.map(|address| format!("http://{address}"));
        let client = crate::harness::browser::plain_client();
        let talker = Self { child, base, metrics, client, took: Duration::ZERO, _home: home };
        for _ in 0..500 {
            if talker.request("/healthz").try_send().await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        talker
    }

    fn request(&self, path: &str) -> Request {
        Request::new(&self.client, "GET", format!("{}{path}", self.base))
    }

    async fn ask(&mut self) {
        let begun = Instant::now();
        let asked = self.request("/admin/login/").send();
        tokio::time::timeout(Duration::from_secs(5), asked).await.expect("it hangs").is(200);
        self.took += begun.elapsed();
    }

    async fn dropped(&self) -> usize {
        let shown = Request::new(&self.client, "GET", format!("{}/metrics", self.metrics)).send().await.body;
        let lines = shown.lines().find_map(|line| line.strip_prefix("chancery_log_lines_dropped "));
        lines.unwrap().parse().unwrap()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_log_that_nobody_reads_stops_nothing() {
    let (mut read, mut stuck) = (Talker::start(true).await, Talker::start(false).await);
    // In turns: whatever else the machine does slows both.
    for _ in 0..REQUESTS {
        read.ask().await;
        stuck.ask().await;
    }
    let dropped = stuck.dropped().await;
    let goodput = read.took.as_micros() * 100 / stuck.took.as_micros();
    record(
        "F13",
        &format!(
            "{REQUESTS} requests with a log that nobody reads: none failed, {dropped} lines dropped; {goodput} % as many a \
             second as with one that is read"
        ),
    );
    assert!(dropped > 0, "the pipe was full");
    assert!(goodput >= 95, "{goodput} %");
}
