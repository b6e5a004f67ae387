//! F13: nobody reads the log any more, or its disk is full, and the server goes on as fast as one whose log is
//! read. What it gives meanwhile is so.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::crash::machine;
use super::ledger::Ledger;
use super::machine::SmallDisk;
use super::oracle::judge;
use super::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::{UNLIMITED, free_port};
use crate::harness::{App, Cli, Directory, Engine, Request, prepared};

/// More lines than may wait to be written.
const REQUESTS: usize = 6_000;
/// No request takes longer.
const LONGEST: Duration = Duration::from_secs(1);

/// A server that says everything it can.
struct Talker {
    child: Child,
    cli: Cli,
    app: App,
    metrics: String,
    took: Vec<Duration>,
    ledger: Ledger,
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
        let cli = Cli::at(home.path(), database.as_ref().map(Database::url));
        let app = machine(&cli, &format!("http://{}", listen[0]));
        let mut command = cli.command(&[&arguments[..], &UNLIMITED].concat());
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
        let talker = Self {
            child,
            cli,
            app,
            metrics: format!("http://{}/metrics", listen[1]),
            took: Vec::with_capacity(REQUESTS),
            ledger: Ledger::default(),
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
        Request::new(&self.app.client, "GET", format!("{}{path}", self.app.base))
    }

    /// Reads, and the next time writes.
    async fn ask(&mut self) {
        let writes = self.took.len() % 2 == 1;
        let asked = if writes { self.app.client_credentials() } else { self.request("/admin/login/") };
        let begun = Instant::now();
        let answer =
            tokio::time::timeout(Duration::from_secs(5), asked.send()).await.expect("it hangs").is(200);
        self.took.push(begun.elapsed());
        if writes {
            self.ledger.promised(answer.text("access_token"));
        }
    }

    /// How long its requests took in all, in microseconds.
    fn took(&self) -> u128 {
        self.took.iter().sum::<Duration>().as_micros()
    }

    fn slowest(&self) -> Duration {
        self.took.iter().max().copied().unwrap_or_default()
    }

    async fn dropped(&self) -> usize {
        let shown = Request::new(&self.app.client, "GET", self.metrics.clone()).send().await.body;
        let lines = shown.lines().find_map(|line| line.strip_prefix("chancery_log_lines_dropped_total "));
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
        let (goodput, slowest) = (read.took() * 100 / talker.took(), talker.slowest());
        record(
            "F13",
            &format!(
                "{engine:?}: {REQUESTS} requests, half of them for tokens, with a log {name}: none failed, {dropped} lines \
                 dropped; {} ms at most, and {goodput} % as many a second as with one that is read",
                slowest.as_millis()
            ),
        );
        assert!(dropped > 0, "there was no room");
        assert!(goodput >= 95, "{goodput} %");
        assert!(slowest <= LONGEST, "{slowest:?}");
    }
    for talker in [&read, &stuck, &full] {
        judge("F13", &talker.cli, &talker.app, [&talker.ledger]).await;
    }
}
