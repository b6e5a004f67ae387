//! F13: nobody reads the log any more, or its disk is full, and the server goes on as fast as one whose log is
//! read.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::machine::SmallDisk;
use super::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Engine, Request, prepared};

/// More lines than may wait to be written.
const REQUESTS: usize = 6_000;

/// A server that says everything it can.
struct Talker {
    child: Child,
    base: String,
    metrics: String,
    client: reqwest::Client,
    took: Vec<Duration>,
    _home: Directory,
    _database: Option<Database>,
}

/// What becomes of what it says.
enum Log {
    Read,
    /// A pipe holds 64 KiB, and nothing is ever taken out.
    Stuck,
    Full(File),
}

impl Talker {
    async fn start(engine: Engine, log: Log) -> Self {
        let (home, database) = match engine {
            Engine::Sqlite => (prepared::sqlite(), None),
            Engine::Postgres => {
                let (home, database) = prepared::postgres();
                (home.as_path(), Some(Database::copy_of(database)))
            }
        };
        let home = Directory::copy_of(home);
        let listen = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let arguments = ["--listen", &listen[0], "--metrics-listen", &listen[1], "--log", "trace"];
        let mut command = Cli::at(home.path(), database.as_ref().map(Database::url)).command(&arguments);
        let is_read = matches!(log, Log::Read);
        let stderr = match log {
            Log::Read | Log::Stuck => Stdio::piped(),
            Log::Full(file) => file.into(),
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        if is_read {
            let mut log = child.stderr.take().unwrap();
            std::thread::spawn(move || {
                let mut lines = [0; 16 * 1024];
                while let Ok(1..) = log.read(&mut lines) {}
            });
        }
        let [base, metrics] = listen.map(|address| format!("http://{address}"));
        let client = crate::harness::browser::plain_client();
        let talker = Self {
            child,
            base,
            metrics,
            client,
            took: Vec::with_capacity(REQUESTS),
            _home: home,
            _database: database,
        };
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
        self.took.push(begun.elapsed());
    }

    /// How long its requests took in all, in microseconds, without those in which the machine did something else.
    fn took(&self) -> u128 {
        let mut took = self.took.clone();
        took.sort();
        took[..REQUESTS - REQUESTS / 100].iter().sum::<Duration>().as_micros()
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
async fn f13_a_log_that_nobody_reads_or_that_is_full_stops_nothing_on_sqlite() {
    a_log_stops_nothing(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_log_that_nobody_reads_or_that_is_full_stops_nothing_on_postgresql() {
    a_log_stops_nothing(Engine::Postgres).await;
}

async fn a_log_stops_nothing(engine: Engine) {
    let disk = SmallDisk::of(1);
    let file = File::create(disk.directory().path().join("log")).unwrap();
    disk.fill();
    let mut read = Talker::start(engine, Log::Read).await;
    let (mut stuck, mut full) =
        (Talker::start(engine, Log::Stuck).await, Talker::start(engine, Log::Full(file)).await);
    // In turns: whatever else the machine does slows all of them.
    for _ in 0..REQUESTS {
        for talker in [&mut read, &mut stuck, &mut full] {
            talker.ask().await;
        }
    }
    for (name, talker) in [("that nobody reads", &stuck), ("on a full disk", &full)] {
        let dropped = talker.dropped().await;
        let goodput = read.took() * 100 / talker.took();
        record(
            "F13",
            &format!(
                "{engine:?}: {REQUESTS} requests with a log {name}: none failed, {dropped} lines dropped; {goodput} % as many a second as \
                 with one that is read"
            ),
        );
        assert!(dropped > 0, "there was no room");
        assert!(goodput >= 95, "{goodput} %");
    }
}
