//! F18 over HTTP/2 (RFC 9113): bodies without end on many streams, answers that nobody takes (CVE-2019-9517), and floods
//! of frames that cost the sender next to nothing (CVE-2023-44487, CVE-2019-9512, CVE-2019-9515, CVE-2019-9518, VU#421644).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::HeaderMap;
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::clients::{GROWTH, address};
use super::crash::machine;
use super::ledger::Ledger;
use super::oracle::judge;
use super::report::record;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, prepared};

/// At a time, of each kind of flood.
const CONNECTIONS: usize = 4;
/// How long a flood goes on, unless it is closed.
const LASTING: Duration = Duration::from_secs(10);
/// How long the others wait for a page meanwhile, with as many programs as processors.
const SERVED: Duration = Duration::from_secs(2);

/// A server with a certificate, and whoever trusts it: an application over HTTP/1.1, and what speaks HTTP/2.
struct Https {
    server: Process,
    cli: Cli,
    app: App,
    tls: TlsConnector,
    _home: Directory,
}

impl Https {
    async fn start() -> Self {
        let home = Directory::copy_of(prepared::sqlite());
        let made = home.certify("localhost");
        let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let arguments = ["--issuer", "https://localhost", "--tls-cert", &cert, "--tls-key", &key];
        let (cli, port) = (Cli::at(home.path(), None), free_port());
        let client = client(&made.cert.pem(), port);
        let app = App { client, ..machine(&cli, &format!("https://localhost:{port}")) };
        let server = Process::start_with(&cli, &home, port, &arguments).await;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { server, cli, app, tls: TlsConnector::from(Arc::new(tls)), _home: home }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(address(&self.server)).await.unwrap();
        self.tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }

    /// By a client that keeps to the protocol.
    async fn speak(&self) -> SendRequest<Unended> {
        let http = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = http.handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// How long somebody who behaves takes to be told that they are nobody.
    async fn is_served(&self) -> Duration {
        let begun = Instant::now();
        let body = Unended { piece: Some("grant_type=x".into()), is_ended: true };
        assert_eq!(self.speak().await.send_request(request(body)).await.unwrap().status(), 401);
        begun.elapsed()
    }
}

/// Trusts the certificate, and nothing else.
fn client(certificate: &str, port: u16) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]);
    client.resolve("localhost", SocketAddr::from(([127, 0, 0, 1], port))).build().unwrap()
}

impl Https {
    /// How long somebody who speaks HTTP/1.1 takes to be served.
    async fn is_served_otherwise(&self, path: &str) -> Duration {
        let begun = Instant::now();
        let mut tls = self.tls.config().as_ref().clone();
        tls.alpn_protocols.clear();
        let stream = TcpStream::connect(address(&self.server)).await.unwrap();
        let tls = TlsConnector::from(Arc::new(tls));
        let mut stream = tls.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        begun.elapsed()
    }
}

fn request(body: Unended) -> axum::http::Request<Unended> {
    let request = axum::http::Request::post("https://localhost/o/token/");
    request.header("content-type", "application/x-www-form-urlencoded").body(body).unwrap()
}

/// Twenty connections, each with as many bodies as HTTP/2 lets it send at once, of which none is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_bodies_without_end_on_many_streams_take_no_memory() {
    let https = Https::start().await;
    https.is_served().await;
    let before = https.server.memory();
    let mut sending = JoinSet::new();
    let refused = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let sender = https.speak().await;
        for _ in 0..100 {
            let (mut sender, refused) = (sender.clone(), Arc::clone(&refused));
            let request = request(Unended { piece: Some(vec![b'a'; 65_000].into()), is_ended: false });
            sending.spawn(async move {
                let answer = sender.send_request(request).await;
                let is_told = |headers: &HeaderMap| headers.contains_key("retry-after");
                if answer.is_ok_and(|answer| answer.status() == 503 && is_told(answer.headers())) {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let grown = https.server.memory().saturating_sub(before);
    let refused = refused.load(Ordering::Relaxed);
    sending.shutdown().await;
    record(
        "F18",
        &format!(
            "2,000 bodies without end on 20 connections: {refused} refused, {} MiB more memory",
            grown / 1024
        ),
    );
    assert!(refused > 1_500, "{refused}");
    assert!(grown < GROWTH, "{grown} KiB");
    https.is_served().await;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET https://localhost/` by the static table of RFC 7541.
fn get(flags: u8, stream: u32) -> Vec<u8> {
    frame(HEADERS, flags, stream, b"\x82\x87\x84\x01\x09localhost")
}

/// A kind of flood: what comes first, and what comes then with the number of the round.
struct Flood {
    what: &'static str,
    first: fn() -> Vec<u8>,
    again: fn(u32) -> Vec<u8>,
}

const FLOODS: [Flood; 6] = [
    Flood {
        what: "requests that are reset at once",
        first: Vec::new,
        again: |round| {
            let stream = round * 2 + 1;
            [get(END_HEADERS | END_STREAM, stream), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        },
    },
    Flood {
        what: "a head that goes on and on",
        first: || get(0, 1),
        // A literal field that is not indexed, of a name and a value of some hundred bytes.
        again: |_| {
            let field = [&[0, 0x7f, 0x00][..], &[b'a'; 127], &[0x7f, 0x00], &[b'b'; 127]].concat();
            frame(CONTINUATION, 0, 1, &field.repeat(60))
        },
    },
    Flood { what: "heads of nothing", first: || get(0, 1), again: |_| frame(CONTINUATION, 0, 1, &[]) },
    Flood {
        what: "pieces of a body that are empty",
        first: || get(END_HEADERS, 1),
        again: |_| frame(DATA, 0, 1, &[]),
    },
    Flood { what: "settings", first: Vec::new, again: |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]) },
    Flood {
        what: "pings",
        first: Vec::new,
        again: |round| frame(PING, 0, 0, &u64::from(round).to_be_bytes()),
    },
];

impl Flood {
    /// Sends until it is closed or for so long, and reads nothing; whether it was closed.
    async fn send(&self, mut stream: TlsStream<TcpStream>, lasting: Duration) -> bool {
        let begun = Instant::now();
        let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &(self.first)()].concat();
        let mut round = 0;
        if stream.write_all(&opening).await.is_err() {
            return true;
        }
        while begun.elapsed() < lasting {
            let frames: Vec<u8> = (round..round + 64).flat_map(self.again).collect();
            round += 64;
            // Nobody takes more of it: that is an end as well, as long as it takes no memory.
            match tokio::time::timeout(lasting.saturating_sub(begun.elapsed()), stream.write_all(&frames))
                .await
            {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return true,
                Err(_) => break,
            }
        }
        // What it says at last, and its end, if there is one.
        let mut rest = Vec::new();
        matches!(
            tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut rest)).await,
            Ok(Ok(_) | Err(_))
        )
    }
}

/// However many frames come that cost next to nothing, memory stays what it was and others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_adv_71_h2_floods_take_nothing_from_others() {
    let https = Https::start().await;
    https.is_served().await;
    let before = https.server.memory();
    let (mut said, mut slowest, mut largest) = (Vec::new(), Duration::ZERO, before);
    let (ledger, mut turn) = (Ledger::default(), 0_usize);
    for flood in &FLOODS {
        let (mut sending, begun, mut closed) = (JoinSet::new(), Instant::now(), 0);
        for _ in 0..CONNECTIONS {
            sending.spawn(flood.send(https.connect().await, LASTING));
        }
        while !sending.is_empty() {
            while let Some(ended) = sending.try_join_next() {
                closed += usize::from(ended.unwrap());
            }
            slowest = slowest.max(https.is_served().await);
            // One token at a time: of many the server remembers as many, and its memory is looked at.
            ledger.once(&https.app, &https.app, turn.is_multiple_of(3)).await;
            turn += 1;
            largest = largest.max(https.server.memory());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        said.push(format!("{} ({} ms)", flood.what, begun.elapsed().as_millis()));
        assert_eq!(closed, CONNECTIONS, "{}", flood.what);
        assert!(largest.saturating_sub(before) < GROWTH, "{}: {largest} KiB", flood.what);
    }
    let [totals] = judge("F18", &https.cli, &https.app, [&ledger]).await;
    record(
        "F18",
        &format!(
            "HTTP/2, closed at {}; {} MiB more memory at most, others served in {} ms at most; {totals}, nothing lost",
            said.join(", "),
            largest.saturating_sub(before) / 1024,
            slowest.as_millis()
        ),
    );
    assert!(slowest < SERVED, "{slowest:?}");
    assert!(totals.issued > 0 && totals.revoked > 0, "others went on: {totals}");
}

/// RFC 7541 §5.2, not Huffman-coded.
fn text(text: &str) -> Vec<u8> {
    let mut coded = Vec::new();
    match text.len().checked_sub(127) {
        None => coded.push(u8::try_from(text.len()).unwrap()),
        Some(mut left) => {
            coded.push(127);
            while left >= 128 {
                coded.push(u8::try_from(left % 128).unwrap() | 128);
                left /= 128;
            }
            coded.push(u8::try_from(left).unwrap());
        }
    }
    [coded.as_slice(), text.as_bytes()].concat()
}

/// A request without a body, of fields that are not indexed.
fn request_for(method: &str, path: &str, stream: u32) -> Vec<u8> {
    let fields =
        [&[0x87, 0x01][..], &text("localhost"), &[0x02], &text(method), &[0x04], &text(path)].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
}

/// What it goes back to is shown in the page, each of these as six bytes.
fn long_page() -> String {
    format!("/admin/login/?next=/?{}", "'".repeat(16_000))
}

/// Asks for ninety-nine long pages, of which it wants `window` bytes each and asks for no more, and keeps on asking for
/// something short. How many answers have begun.
async fn asks_and_does_not_take(stream: TlsStream<TcpStream>, window: u8, lasting: Duration) -> usize {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let reader = tokio::spawn(async move {
        let mut head = [0; 9];
        while reading.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            counted.fetch_add(usize::from(head[3] == HEADERS), Ordering::Relaxed);
            if reading.read_exact(&mut payload).await.is_err() {
                break;
            }
        }
    });
    let long = long_page();
    let mut asking = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, window])].concat();
    for number in 0..99 {
        asking.extend(request_for("GET", &long, number * 2 + 1));
    }
    let until = Instant::now() + lasting;
    let mut number = 99;
    while writing.write_all(&asking).await.is_ok() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        asking = request_for("HEAD", "/healthz", number * 2 + 1);
        number += 1;
    }
    reader.abort();
    begun.load(Ordering::Relaxed)
}

/// Pages that nobody takes, on twenty connections: 190 MiB, of which some are made and kept, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_answers_that_nobody_takes_take_no_memory() {
    // A window of a byte takes none of a page, and has h2 keep all of it.
    for window in [0, 1] {
        let https = Https::start().await;
        https.is_served().await;
        // What it takes to make such a page is not what it takes to keep it.
        for _ in 0..40 {
            https.is_served_otherwise(&long_page()).await;
        }
        let before = https.server.memory();
        let (mut asking, mut slowest, mut largest) = (JoinSet::new(), Duration::ZERO, before);
        for _ in 0..20 {
            asking.spawn(asks_and_does_not_take(https.connect().await, window, LASTING));
        }
        let mut answered = Vec::new();
        while !asking.is_empty() {
            while let Some(ended) = asking.try_join_next() {
                answered.push(ended.unwrap());
            }
            slowest = slowest.max(https.is_served_otherwise("/healthz").await);
            largest = largest.max(https.server.memory());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let grown = largest.saturating_sub(before);
        record(
            "F18",
            &format!(
                "1,980 pages over HTTP/2 of which {window} bytes are taken: {} MiB more memory at most, others \
                served in {} ms at most",
                grown / 1024,
                slowest.as_millis()
            ),
        );
        assert!(answered.iter().all(|answers| *answers >= 99), "{answered:?}");
        assert!(grown < GROWTH, "{grown} KiB");
        assert!(slowest < SERVED, "{slowest:?}");
        https.is_served().await;
    }
}

/// A body of one piece, after which nothing comes.
struct Unended {
    piece: Option<Bytes>,
    is_ended: bool,
}

impl hyper::body::Body for Unended {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.is_ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
