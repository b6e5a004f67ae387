//! F17, F18: five thousand clients that are in no hurry, some more than there may be, and some who send what
//! is no request. Whoever behaves notices nothing, and memory stays what it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chancery::templates::paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::crash::machine;
use super::ledger::Ledger;
use super::machine::may_open;
use super::oracle::judge;
use super::report::{is_long, record};
use crate::harness::browser::plain_client;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process, Request, prepared};

/// Of each kind.
const SLOW: usize = 1_000;
const KINDS: usize = 5;
/// Connections, and what a process has open besides.
const FILES: usize = 16_384;
const ASKED: usize = 300;
/// Of a measurement. The one in the middle counts, as whatever else the machine does spoils one or two of them.
const ROUNDS: usize = 5;
/// So many of those who read slowly ask for more than fits into the buffers of the system.
const GREEDY: usize = 8;
const MUCH: usize = 400;
/// When who does not take an answer has been closed at the latest.
const READER_CLOSED: Duration = Duration::from_secs(80);
/// What is no slower is not compared. A page takes about a millisecond, and one turn of another program, five thousand
/// clients among them, on the processor that is wanted up to 4 ms, a tick of the scheduler at 250 Hz: where that
/// befalls one request in a hundred, it is all that is measured. Where the machine does something else as well, several
/// turns.
const TICK: Duration = Duration::from_millis(4);
const SHARED: Duration = Duration::from_millis(10);
const CAP: usize = 8;
/// When who sends no whole head, and who sends no whole body, has been closed at the latest.
const HEAD_CLOSED: Duration = Duration::from_millis(6_500);
const BODY_CLOSED: Duration = Duration::from_millis(11_500);
/// In KiB.
pub const GROWTH: u64 = 50 * 1024;

const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const HALF_BODY: &[u8] = b"POST /o/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\
    Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant_type";

pub fn address(server: &Process) -> String {
    server.base.trim_start_matches("http://").to_owned()
}

/// How long a page takes one who asks again and again (p99).
async fn page(server: &Process) -> Duration {
    let client = plain_client();
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let begun = Instant::now();
        Request::new(&client, "GET", format!("{}/admin/login/", server.base)).send().await.is(200);
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[ASKED * 99 / 100]
}

/// The same, of several rounds the one in the middle.
async fn usual_page(server: &Process) -> Duration {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(page(server).await);
    }
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

/// Sends this much, a byte a second of more if there is any, and tells when it was closed.
async fn in_no_hurry(address: String, at_once: &'static [u8], slowly: bool) -> Duration {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    stream.write_all(at_once).await.unwrap();
    let mut answer = [0; 512];
    loop {
        match tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => return begun.elapsed(),
            Err(_) if begun.elapsed() > Duration::from_secs(30) => return begun.elapsed(),
            Err(_) if slowly => drop(stream.write_all(b"x").await),
            // What is refused is told before the connection is closed.
            Ok(Ok(_)) | Err(_) => {}
        }
    }
}

/// Asks so often for the largest answer that a stranger gets, and takes a byte a second of it until it ends.
async fn reads_in_no_hurry(address: String, times: usize) {
    let socket = TcpSocket::new_v4().unwrap();
    // What fits in here is taken from the server at once.
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let asked = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", paths::STYLE).repeat(times);
    stream.write_all(asked.as_bytes()).await.unwrap();
    while stream.read_u8().await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How many files and connections a server has open.
fn open_files(server: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count()
}

/// All who are in no hurry: those who do not send a head or a body, and those who do not read.
struct Crowd {
    gathered: Instant,
    heads: JoinSet<Duration>,
    bodies: JoinSet<Duration>,
    readers: JoinSet<()>,
}

impl Crowd {
    async fn gather(server: &Process) -> Self {
        let (mut heads, mut bodies, mut readers) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        for number in 0..SLOW {
            if number.is_multiple_of(20) {
                // More at once than the system queues would be dropped by it, unseen by either side.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            heads.spawn(in_no_hurry(address(server), b"", false));
            heads.spawn(in_no_hurry(address(server), HALF_HEAD, false));
            heads.spawn(in_no_hurry(address(server), HALF_HEAD, true));
            bodies.spawn(in_no_hurry(address(server), HALF_BODY, false));
            let times = if number < GREEDY { MUCH } else { 1 };
            readers.spawn(reads_in_no_hurry(address(server), times));
        }
        Self { gathered: Instant::now(), heads, bodies, readers }
    }

    /// When the last of those was closed who sent no head, and no body. Who does not read stays longer, and
    /// in a long run that is waited for: nobody may be left.
    async fn leave(self, server: &Process, before: usize) -> (Duration, Duration) {
        let slowest_head = self.heads.join_all().await.into_iter().max().unwrap();
        let slowest_body = self.bodies.join_all().await.into_iter().max().unwrap();
        if is_long() {
            tokio::time::sleep_until((self.gathered + READER_CLOSED).into()).await;
            let after = open_files(server);
            assert!(after <= before + CAP, "{after} files are open, {before} were: some still do not read");
        }
        drop(self.readers);
        (slowest_head, slowest_body)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_who_is_in_no_hurry_is_closed_and_harms_nobody() {
    let (home, port) = (Directory::copy_of(prepared::sqlite()), free_port());
    let cli = Cli::at(home.path(), None);
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    may_open(std::process::id(), FILES);
    may_open(server.id(), FILES);
    let files = open_files(&server);
    // Cold at first.
    page(&server).await;
    let before = usual_page(&server).await;
    let crowd = Crowd::gather(&server).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let meanwhile = usual_page(&server).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 2);
    let (slowest_head, slowest_body) = crowd.leave(&server, files).await;
    load.stop().await;
    let [totals] = judge("F17", &cli, &app, [&*ledger]).await;
    record(
        "F17",
        &format!(
            "{} connections in no hurry: closed after {:.1} s (head) and {:.1} s (body) at most; a page took {:.1} ms (p99) \
             before and {:.1} ms beside them, in the middle one of {ROUNDS} rounds; {totals}, nothing lost",
            KINDS * SLOW,
            slowest_head.as_secs_f64(),
            slowest_body.as_secs_f64(),
            before.as_secs_f64() * 1_000.0,
            meanwhile.as_secs_f64() * 1_000.0,
        ),
    );
    assert_eq!((totals.refused, totals.silent), (0, 0), "whoever behaves notices nothing");
    assert!(slowest_head < HEAD_CLOSED, "{slowest_head:?}");
    assert!(slowest_body < BODY_CLOSED, "{slowest_body:?}");
    let least = if is_long() { TICK } else { SHARED };
    assert!(meanwhile < least.max(2 * before), "{before:?}, then {meanwhile:?}");
}

/// A connection on which a request was answered.
async fn admitted(address: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
    let mut answer = [0; 512];
    let count = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut answer)).await.ok()?.ok()?;
    answer[..count].starts_with(b"HTTP/1.1 200").then_some(stream)
}

/// Whoever has just left may still be counted for a moment.
async fn until_admitted(address: &str) -> TcpStream {
    let begun = Instant::now();
    loop {
        if let Some(stream) = admitted(address).await {
            return stream;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "there is room, and nobody is let in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_one_connection_more_than_there_may_be_is_closed_until_another_leaves() {
    let home = Directory::copy_of(prepared::sqlite());
    let arguments = ["--max-connections", &CAP.to_string()];
    let server = Process::start_with(&Cli::at(home.path(), None), &home, free_port(), &arguments).await;
    let address = address(&server);
    let mut held = Vec::new();
    for _ in 0..CAP {
        held.push(until_admitted(&address).await);
    }
    assert!(admitted(&address).await.is_none(), "one more than there may be");
    let mut first = held.remove(0);
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(first.read(&mut [0; 512]).await.unwrap() > 0, "who is in stays in");
    drop(first);
    held.push(until_admitted(&address).await);
    assert!(admitted(&address).await.is_none(), "one more than there may be");
}

/// Sends something and reads until the end or a second of silence; how many answers came, and the first.
async fn answers(address: &str, request: &[u8]) -> (usize, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    // Whoever is closed cannot send the rest.
    let sending = async { drop(write.write_all(request).await) };
    let reading = async {
        let mut buffer = [0; 4096];
        while let Ok(Ok(count @ 1..)) =
            tokio::time::timeout(Duration::from_secs(2), read.read(&mut buffer)).await
        {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::join!(sending, reading);
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.matches("HTTP/1.1 ").count(), text.lines().next().unwrap_or_default().to_owned())
}

const POST: &str =
    "POST /o/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
/// What a proxy in front may take for part of a body.
const SECOND: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What is no request, and a second one behind it.
fn odd_requests() -> Vec<(&'static str, String)> {
    let length = SECOND.len();
    let odd = [
        (
            "both lengths",
            format!("{POST}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("two lengths", format!("{POST}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n")),
        ("no chunk", format!("{POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n")),
        ("a chunk too long", format!("{POST}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n")),
        ("a chunk that ends in a line feed", format!("{POST}Transfer-Encoding: chunked\r\n\r\n0\n\n")),
        ("an unknown coding", format!("{POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        ("a folded line", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: a\r\n b\r\n\r\n".to_owned()),
        ("a name with a space", "GET / HTTP/1.1\r\nHost: localhost\r\nX A: a\r\n\r\n".to_owned()),
        ("a carriage return alone", "GET / HTTP/1.1\r\nHost: localhost\rX-A: a\r\n\r\n".to_owned()),
    ];
    odd.map(|(what, request)| (what, request + SECOND)).into()
}

/// A line feed alone may be read as the end of a line (RFC 9112 §2.2). Where a proxy in front reads it
/// otherwise, the second request is part of something: it is not answered.
fn bare_line_feeds() -> Vec<(&'static str, String)> {
    let bare = [
        ("line feeds alone", "GET /healthz HTTP/1.1\nHost: localhost\n\n"),
        ("a request line that ends in one", "GET /healthz HTTP/1.1\nHost: localhost\r\n\r\n"),
        ("a header that ends in one", "GET /healthz HTTP/1.1\r\nHost: localhost\nX-A: a\r\n\r\n"),
        ("a head that ends in one", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\n"),
    ];
    bare.map(|(what, request)| (what, request.to_owned() + SECOND)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_what_is_no_request_is_refused_and_never_two() {
    let (home, port) = (Directory::copy_of(prepared::sqlite()), free_port());
    let cli = Cli::at(home.path(), None);
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let address = address(&server);
    page(&server).await;
    let before = server.memory();
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 2);
    let mut refused = 0;
    for (what, request) in odd_requests() {
        let (count, first) = answers(&address, request.as_bytes()).await;
        assert!(count <= 1, "{what}: {count} answers, {first}");
        assert!(count == 0 || first.starts_with("HTTP/1.1 4"), "{what}: {first}");
        refused += 1;
    }
    for (what, request) in bare_line_feeds() {
        let (count, first) = answers(&address, request.as_bytes()).await;
        assert!(count <= 1, "{what}: {count} answers, {first}");
        refused += 1;
    }
    let headers = "x-a: 1\r\n".repeat(100_000);
    let (_, first) =
        answers(&address, format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes()).await;
    assert!(first.is_empty() || first.starts_with("HTTP/1.1 4"), "100,000 headers: {first}");
    for framing in ["Content-Length: 1073741824\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n2000000\r\n"] {
        let mut body = format!("{POST}{framing}").into_bytes();
        body.resize(32 << 20, b'a');
        let (_, first) = answers(&address, &body).await;
        assert!(first.is_empty() || first.starts_with("HTTP/1.1 413"), "{framing}: {first}");
    }
    let grown = server.memory().saturating_sub(before);
    page(&server).await;
    load.stop().await;
    let [totals] = judge("F18", &cli, &app, [&*ledger]).await;
    record(
        "F18",
        &format!(
            "{refused} requests that are none, 100,000 headers, bodies without end: refused or closed, never two; {} MiB more \
             memory; {totals}, nothing lost",
            grown / 1024
        ),
    );
    assert_eq!((totals.refused, totals.silent), (0, 0), "whoever behaves notices nothing");
    assert!(grown < GROWTH, "{grown} KiB");
}
