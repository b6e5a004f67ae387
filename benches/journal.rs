//! What does history cost? The journal alone, on both engines, in one run, beside (a) a plain batched
//! insert of the same rows, which is the limit, and (b) cqrs-es with postgres-es and `GenericQuery` as
//! documented. Writes `benches/RESULTS.md`. Run it with `tests/run bench`.
//!
//! CPU is that of this process and of every PostgreSQL process of the machine, per command.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a bench that cannot go on should stop there, and counts fit a float"
)]

#[path = "journal/peer.rs"]
mod journal_peer;
#[path = "journal/plain.rs"]
mod journal_plain;
#[path = "journal/starts.rs"]
mod starts;
#[path = "journal/whole_log.rs"]
mod whole_log;

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aggregates::authorization::{
    Authorization, AuthorizationCommand, AuthorizationRequest, ConsentBasis, RevocationReason,
};
use aggregates::client_token::{ClientToken, ClientTokenCommand};
use aggregates::values::{NewToken, RefreshTerms, Scope};
use chancery::clock::{SharedClock, SystemClock};
use chancery::commands::{Actor, Commands, Origin, Stream};
use chancery::config::{Config, Environment, Flags};
use chancery::journal::postgres::PostgresEngine;
use chancery::journal::sqlite::SqliteEngine;
use chancery::journal::{Capacity, Engine, Journal};
use chancery::keys::{Keys, RootSecret};
use chancery::personal::PersonalData;
use chancery::places::Places;
use chancery::secret::new_id;
use chrono::TimeDelta;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Mutex;

use starts::Starts;
use whole_log::Walked;

const RUN: Duration = Duration::from_secs(2);
const TASKS: [usize; 3] = [1, 16, 64];
const STREAMS: usize = 256;
/// In so many seconds a million events are verified.
const VERIFIED: f64 = 20.0;
/// After so many milliseconds a server that was killed is ready on them.
const READY: u128 = 2_000;

/// Whether the commands go to new streams or to ones with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fresh,
    Loaded,
}

/// One line of the result.
struct Measured {
    engine: &'static str,
    system: &'static str,
    kind: Kind,
    tasks: usize,
    per_second: f64,
    cpu_micros: f64,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let starts = starts::from_nothing();
    let measured = runtime.block_on(measure_all());
    let walked = runtime.block_on(walk_all());
    let text = report(&measured, &walked, &starts);
    println!("{text}");
    // What was promised of any machine that is not slower than the one it was promised on.
    for Walked { engine, verified, starts, .. } in &walked {
        assert!(*verified <= VERIFIED, "{engine}: a million events were verified in {verified:.1} s");
        assert!(starts.slowest <= READY, "{engine}: ready on them after {} ms", starts.slowest);
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/RESULTS.md"), text).unwrap();
}

async fn measure_all() -> Vec<Measured> {
    let directory = std::env::temp_dir().join(format!("chancery-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (ours, peer) = (database("chancery_bench").await, database("chancery_bench_peer").await);
    let mut measured = Vec::new();
    for engine in ["PostgreSQL", "SQLite"] {
        for kind in [Kind::Fresh, Kind::Loaded] {
            for tasks in TASKS {
                let opened: Arc<dyn Engine> = match engine {
                    "SQLite" => Arc::new(SqliteEngine::open(&directory.join("ours.db"), RUN * 5).unwrap()),
                    _ => Arc::new(PostgresEngine::new(&ours, 8, RUN * 5).unwrap()),
                };
                opened.migrate().await.unwrap();
                let node = Node::on(opened).await;
                measured.push(journal(engine, &node, kind, tasks).await);
                if engine == "SQLite" {
                    measured.push(journal_plain::sqlite(&directory.join("plain.db"), kind, tasks));
                } else {
                    measured.push(journal_plain::postgres(&ours, kind, tasks).await);
                    measured.push(journal_peer::postgres(&peer, kind, tasks).await);
                }
            }
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
    measured
}

async fn walk_all() -> Vec<Walked> {
    let directory = std::env::temp_dir().join(format!("chancery-bench-walk-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let deadline = Duration::from_mins(1);
    let url = database("chancery_bench_walk").await;
    let postgres = PostgresEngine::new(&url, 8, deadline).unwrap();
    // Where the program looks for it.
    let sqlite = SqliteEngine::open(&directory.join("chancery.db"), deadline).unwrap();
    let walked = vec![
        whole_log::walk("PostgreSQL", Arc::new(postgres), || starts::on_history(&directory, Some(&url)))
            .await,
        whole_log::walk("SQLite", Arc::new(sqlite), || starts::on_history(&directory, None)).await,
    ];
    std::fs::remove_dir_all(&directory).unwrap();
    walked
}

/// A fresh database beside the one `tests/run` names.
#[allow(clippy::disallowed_methods, reason = "the bench's one look at what tests/run prepared")]
async fn database(name: &str) -> String {
    use sqlx::{Connection, Executor};
    let url = std::env::var("CHANCERY_TEST_POSTGRES_URL").expect("run tests/run bench");
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    connection.execute(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)").as_str()).await.unwrap();
    connection.execute(format!("CREATE DATABASE {name}").as_str()).await.unwrap();
    let mut url = url::Url::parse(&url).unwrap();
    url.set_path(name);
    url.into()
}

/// A journal with commands over it.
#[derive(Clone)]
pub struct Node {
    commands: Commands,
    clock: SharedClock,
    origin: Origin,
}

impl Node {
    async fn on(engine: Arc<dyn Engine>) -> Self {
        let clock = SystemClock::shared();
        let keys = Arc::new(Keys::derive(&RootSecret::from_text(&"k".repeat(43)).unwrap()).unwrap());
        let limits = Config::load(&Flags::default(), &Environment::default()).unwrap().limits;
        let capacity = Capacity { rows: limits.row_cache, aggregates: limits.aggregate_cache };
        let journal = Journal::open(engine, Arc::clone(&clock), capacity).await.unwrap();
        let personal = PersonalData::new(journal.clone(), keys);
        let commands =
            Commands::new(journal, personal, Arc::clone(&clock), Places::new(4096, Counter::default()));
        Self { commands, origin: Origin::internal(Actor::Operator, &clock), clock }
    }

    async fn issue(&self) -> String {
        let token = token(&self.clock);
        let id = token.id.clone();
        let (stream, command) = (Stream::Fresh(id.clone()), issue_command(token, &self.clock));
        self.commands.execute::<ClientToken>(stream, command, &self.origin).await.unwrap();
        id
    }

    async fn revoke(&self, id: &str) {
        let command =
            ClientTokenCommand::RevokeToken { reason: RevocationReason::Client, at: self.clock.now() };
        let stream = Stream::Existing(id.to_owned());
        self.commands.execute::<ClientToken>(stream, command, &self.origin).await.unwrap();
    }

    async fn grant(&self) -> String {
        let id = new_id(self.clock.now());
        let fresh = Stream::Fresh(id.clone());
        self.commands
            .execute::<Authorization>(fresh, grant_command(&id, &self.clock), &self.origin)
            .await
            .unwrap();
        let existing = Stream::Existing(id.clone());
        self.commands
            .execute::<Authorization>(existing, redeem_command(&self.clock), &self.origin)
            .await
            .unwrap();
        id
    }

    async fn refresh(&self, id: &str, generation: u32) {
        let stream = Stream::Existing(id.to_owned());
        let command = refresh_command(generation, &self.clock);
        self.commands.execute::<Authorization>(stream, command, &self.origin).await.unwrap();
    }
}

pub fn token(clock: &SharedClock) -> NewToken {
    NewToken { id: new_id(clock.now()), expires_at: clock.now() + TimeDelta::hours(10), confirmation: None }
}

/// What Chancery says of where a command comes from; whoever is compared stores as much.
pub fn metadata<M: FromIterator<(String, String)>>(clock: &SharedClock) -> M {
    [
        ("actor", "operator".to_owned()),
        ("command_id", new_id(clock.now())),
        ("configuration", "0".to_owned()),
        ("correlation_id", new_id(clock.now())),
        ("node", new_id(clock.now())),
        ("request_id", new_id(clock.now())),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

pub fn issue_command(token: NewToken, clock: &SharedClock) -> ClientTokenCommand {
    ClientTokenCommand::IssueToken {
        client_id: "client".to_owned(),
        token,
        scope: Scope::parse("read write").unwrap(),
        resource: Vec::new(),
        at: clock.now(),
    }
}

pub fn grant_command(id: &str, clock: &SharedClock) -> AuthorizationCommand {
    let at = clock.now();
    AuthorizationCommand::GrantAuthorization {
        authorization_id: id.to_owned(),
        request: AuthorizationRequest {
            client_id: "client".to_owned(),
            subject: "subject".to_owned(),
            session_id: "session".to_owned(),
            scope: Scope::parse("read write").unwrap(),
            resource: Vec::new(),
            redirect_uri: "https://app.example/cb".to_owned(),
            redirect_uri_sent: true,
        },
        code_challenge: None,
        nonce: None,
        auth_time: at,
        methods: vec!["pwd".to_owned()],
        basis: ConsentBasis::Asked,
        code_expires_at: at + TimeDelta::minutes(10),
        at,
    }
}

pub fn redeem_command(clock: &SharedClock) -> AuthorizationCommand {
    let at = clock.now();
    AuthorizationCommand::RedeemCode {
        client_id: "client".to_owned(),
        redirect_uri: Some("https://app.example/cb".to_owned()),
        verifier: None,
        resource: Vec::new(),
        access: token(clock),
        refresh: Some(RefreshTerms {
            idle_expires_at: at + TimeDelta::days(30),
            absolute_expires_at: at + TimeDelta::days(180),
        }),
        at,
    }
}

pub fn refresh_command(generation: u32, clock: &SharedClock) -> AuthorizationCommand {
    let at = clock.now();
    AuthorizationCommand::RefreshToken {
        client_id: "client".to_owned(),
        generation,
        scope: None,
        allowed_scope: Scope::parse("read write").unwrap(),
        resource: Vec::new(),
        access: token(clock),
        idle_expires_at: at + TimeDelta::days(30),
        retry_window: 0,
        at,
    }
}

async fn journal(engine: &'static str, node: &Node, kind: Kind, tasks: usize) -> Measured {
    let streams = match kind {
        Kind::Fresh => Vec::new(),
        Kind::Loaded => futures_in_order(STREAMS, |_| node.grant()).await,
    };
    let streams: Arc<Vec<Mutex<(String, u32)>>> =
        Arc::new(streams.into_iter().map(|id| Mutex::new((id, 1))).collect());
    let node = node.clone();
    let (per_second, cpu_micros) = run(tasks, move |task, turn| {
        let (node, streams) = (node.clone(), Arc::clone(&streams));
        async move {
            match streams.get((task + turn * 64) % STREAMS) {
                None => drop(node.issue().await),
                Some(stream) => {
                    let mut stream = stream.lock().await;
                    node.refresh(&stream.0, stream.1).await;
                    stream.1 += 1;
                }
            }
        }
    })
    .await;
    Measured { engine, system: "Chancery", kind, tasks, per_second, cpu_micros }
}

pub async fn futures_in_order<T, F: Future<Output = T>>(count: usize, make: impl Fn(usize) -> F) -> Vec<T> {
    let mut results = Vec::with_capacity(count);
    for number in 0..count {
        results.push(make(number).await);
    }
    results
}

/// Runs an operation on so many tasks for a while: operations a second, CPU microseconds each.
pub async fn run<F>(
    tasks: usize,
    operation: impl Fn(usize, usize) -> F + Clone + Send + Sync + 'static,
) -> (f64, f64)
where
    F: Future<Output = ()> + Send,
{
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (cpu, started) = (cpu(), Instant::now());
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let (done, stop, operation) = (Arc::clone(&done), Arc::clone(&stop), operation.clone());
        running.spawn(async move {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                operation(task, turn).await;
                done.fetch_add(1, Ordering::Relaxed);
                turn += 1;
            }
        });
    }
    tokio::time::sleep(RUN).await;
    stop.store(true, Ordering::Relaxed);
    running.join_all().await;
    let done = done.load(Ordering::Relaxed) as f64;
    (done / started.elapsed().as_secs_f64(), (self::cpu() - cpu) * 1e6 / done)
}

/// CPU seconds of this process and of every PostgreSQL process.
pub fn cpu() -> f64 {
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        let is_ours = head.split(' ').next() == Some(&std::process::id().to_string());
        if is_ours || head.ends_with("(postgres") {
            let fields: Vec<&str> = tail.split_whitespace().collect();
            ticks += fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        }
    }
    ticks / 100.0
}

fn report(measured: &[Measured], walked: &[Walked], starts: &Starts) -> String {
    let mut text = String::from(
        "# The journal, measured\n\nWritten by `tests/run bench`; never edited by hand. One run, one machine: \
         compare within a table only.\nCPU is microseconds a command, of this process and of PostgreSQL together.\n\
         *limit*: a plain batched insert of the same rows. *peer*: cqrs-es, postgres-es and `GenericQuery` as \
         documented.\n",
    );
    for engine in ["PostgreSQL", "SQLite"] {
        for kind in [Kind::Fresh, Kind::Loaded] {
            table(&mut text, measured, engine, kind);
        }
    }
    writeln!(
        text,
        "\n## The whole log\n\n| engine | events | verified in s | replayed in s | ready in ms | at most |"
    )
    .unwrap();
    writeln!(text, "|---|---:|---:|---:|---:|---:|").unwrap();
    for Walked { engine, events, verified, replayed, starts: Starts { median, slowest, .. } } in walked {
        writeln!(text, "| {engine} | {events} | {verified:.1} | {replayed:.1} | {median} | {slowest} |")
            .unwrap();
    }
    let Starts { median, slowest, times } = starts;
    writeln!(
        text,
        "\n*ready*: a server that was killed with -9 is started, and says that it is ready; median of {times}.\n\n\
         ## Start\n\nFrom an empty directory until the server is ready, on the embedded database: {median} ms \
         (median of {times}; the slowest {slowest} ms)."
    )
    .unwrap();
    text
}

fn table(text: &mut String, measured: &[Measured], engine: &str, kind: Kind) {
    let find = |system: &str, tasks: usize| {
        measured.iter().find(|line| {
            line.engine == engine && line.kind == kind && line.tasks == tasks && line.system == system
        })
    };
    writeln!(text, "\n## {engine}, {kind:?} streams\n").unwrap();
    writeln!(
        text,
        "| tasks | Chancery/s | limit/s | peer/s | × peer | CPU | limit CPU | peer CPU | CPU ÷ limit |"
    )
    .unwrap();
    writeln!(text, "|---:|---:|---:|---:|---:|---:|---:|---:|---:|").unwrap();
    for tasks in TASKS {
        let (ours, limit) = (find("Chancery", tasks).unwrap(), find("limit", tasks).unwrap());
        let peer = find("peer", tasks);
        let show = |value: Option<f64>, digits: usize| {
            value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
        };
        writeln!(
            text,
            "| {tasks} | {:.0} | {:.0} | {} | {} | {:.0} | {:.0} | {} | {:.2} |",
            ours.per_second,
            limit.per_second,
            show(peer.map(|peer| peer.per_second), 0),
            show(peer.map(|peer| ours.per_second / peer.per_second), 1),
            ours.cpu_micros,
            limit.cpu_micros,
            show(peer.map(|peer| peer.cpu_micros), 0),
            ours.cpu_micros / limit.cpu_micros,
        )
        .unwrap();
    }
}
