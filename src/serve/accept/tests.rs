//! Who gets in, and for how long?

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

struct Accepting {
    listener: TcpListener,
    shared: Shared,
    graceful: GracefulShutdown,
}

impl Accepting {
    async fn new(connections: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        let trusted = ["198.51.100.0/24".parse().unwrap()];
        let shared = Shared::new(router, None, connections, &trusted, Metrics::default());
        Self { listener, shared, graceful: GracefulShutdown::new() }
    }

    /// Somebody connects who seems to come from there; the connection, if they are answered.
    async fn connect(&self, from: &str) -> Option<TcpStream> {
        let connecting = TcpStream::connect(self.listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connecting, self.listener.accept());
        let peer = SocketAddr::new(from.parse().unwrap(), 4711);
        admit(accepted.unwrap().0, peer, &self.shared, self.graceful.watcher());
        let mut client = client.unwrap();
        let _ = client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 12];
        let read = client.read_exact(&mut answer).await;
        (read.is_ok() && answer == *b"HTTP/1.1 200").then_some(client)
    }
}

#[tokio::test]
async fn one_network_cannot_take_every_connection() {
    let accepting = Accepting::new(1_000).await;
    for from in ["192.0.2.1", "2001:db8::"] {
        let mut open = Vec::new();
        for number in 0..300 {
            let own = if from.contains(':') { format!("{from}{number}") } else { from.to_owned() };
            open.extend(accepting.connect(&own).await);
        }
        assert_eq!(open.len(), 100, "{from}");
        assert!(accepting.connect("192.0.2.2").await.is_some(), "others find room");
        // Its own are counted as long as they are open.
        drop(open);
        while accepting.shared.open.in_use() > 1 {
            tokio::task::yield_now().await;
        }
        assert!(accepting.connect(from).await.is_some());
    }
    // Many clients come through these.
    for from in ["198.51.100.7", "127.0.0.1", "::ffff:127.0.0.1"] {
        let mut open = Vec::new();
        for _ in 0..200 {
            open.extend(accepting.connect(from).await);
        }
        assert_eq!(open.len(), 200, "{from}");
    }
}

/// The system has let them in, and nobody has accepted them when the server is told to stop.
#[tokio::test]
async fn who_is_in_before_the_door_is_closed_is_answered() {
    let Accepting { listener, shared, .. } = Accepting::new(100).await;
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let stopping = watch::Sender::new(true);
    let accepting = tokio::spawn(accept(listener, shared, stopping.subscribe()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    for mut client in clients {
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"HTTP/1.1 200");
    }
    assert!(TcpStream::connect(address).await.is_err(), "nobody else gets in");
    accepting.await.unwrap();
}

#[tokio::test]
async fn few_connections_can_all_be_of_one_network() {
    let accepting = Accepting::new(100).await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.extend(accepting.connect("192.0.2.1").await);
    }
    assert_eq!(open.len(), LEAST);
}

/// A few of each of the 256 networks that one line at home has.
#[tokio::test]
async fn one_line_cannot_take_every_connection_by_its_many_networks() {
    let accepting = Accepting::new(1_000).await;
    let mut open = Vec::new();
    for network in 0..=255 {
        for _ in 0..2 {
            open.extend(accepting.connect(&format!("2001:db8:1:{network:x}::1")).await);
        }
    }
    assert_eq!(open.len(), 300);
    for other in ["192.0.2.1", "2001:db8:2::1"] {
        assert!(accepting.connect(other).await.is_some(), "{other}");
    }
}

type Asking = hyper::client::conn::http2::SendRequest<Empty<axum::body::Bytes>>;

/// Somebody speaks HTTP/2 who seems to come from there, and takes so many bytes of each answer before it is
/// looked at.
async fn speak(shared: &Shared, from: &str, window: u32) -> (Asking, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let shared = shared.clone();
    let from = from.parse().unwrap();
    let serving = tokio::spawn(async move {
        let graceful = GracefulShutdown::new();
        serve(server, from, shared, graceful.watcher(), Version::Two).await;
    });
    let mut http = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new()).initial_stream_window_size(window);
    let (sender, connection) = http.handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    (sender, serving)
}

async fn ask(asking: &mut Asking, method: &str) -> Response<Incoming> {
    let request = Request::builder().method(method).uri("http://localhost/");
    asking.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
}

/// Answers with a page of so many bytes, and counts how often.
fn pages(length: usize) -> (Shared, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let handler = get(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { "a".repeat(length) }
    });
    (Shared::new(Router::new().route("/", handler), None, 1, &[], Metrics::default()), made)
}

async fn comes_to(room: &Room, amount: usize) -> bool {
    let comes = async {
        while room.in_use() != amount {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), comes).await.is_ok()
}

#[tokio::test]
async fn an_answer_holds_its_room_until_its_last_byte_is_taken() {
    let (shared, _) = pages(100_000);
    // The first piece is given to h2 as a whole as soon as there is a window of one byte.
    for window in [0, 1, 99_999] {
        let (mut asking, serving) = speak(&shared, "192.0.2.1", window).await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(ask(&mut asking, "GET").await);
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shared.answers.in_use(), 300_000, "{window}");
        // One is reset, the others go with their connection.
        answers.pop();
        assert!(comes_to(&shared.answers, 200_000).await, "{window}");
        ask(&mut asking, "HEAD").await;
        assert!(comes_to(&shared.answers, 200_000).await, "{window}");
        serving.abort();
        assert!(comes_to(&shared.answers, 0).await, "{window}");
    }
    let (mut asking, serving) = speak(&shared, "192.0.2.1", 99_999).await;
    let taken = ask(&mut asking, "GET").await.into_body().collect().await.unwrap();
    assert_eq!(taken.to_bytes().len(), 100_000);
    assert!(comes_to(&shared.answers, 0).await, "whoever takes it leaves nothing behind");
    assert!(!serving.is_finished());
}

#[tokio::test]
async fn who_takes_no_answers_is_told_to_come_again_and_others_are_served() {
    let (shared, made) = pages(64 << 10);
    let (mut asking, _serving) = speak(&shared, "192.0.2.1", 0).await;
    let mut left = Vec::new();
    // One network has 2 MiB.
    for _ in 0..32 {
        let answer = ask(&mut asking, "GET").await;
        assert_eq!(answer.status(), 200);
        left.push(answer);
    }
    let told = ask(&mut asking, "GET").await;
    assert_eq!((told.status().as_u16(), &told.headers()["retry-after"]), (429, &HeaderValue::from(1)));
    assert!(told.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(made.load(Ordering::Relaxed), 32, "nothing is done whose answer has no room");
    let (mut other, _serving) = speak(&shared, "192.0.2.2", 1 << 20).await;
    assert_eq!(ask(&mut other, "GET").await.status(), 200);
    drop(left);
    assert!(comes_to(&shared.answers, 0).await);
    assert_eq!(ask(&mut asking, "GET").await.status(), 200);
}

/// A few dozen bytes on the line make a head of many thousands, if they say one header again and again.
#[tokio::test]
async fn a_long_head_takes_no_room_any_more_when_its_answer_is_there() {
    let (shared, _) = pages(10);
    let (mut asking, _serving) = speak(&shared, "192.0.2.1", 0).await;
    let mut left = Vec::new();
    for number in 1..=60 {
        let mut request = Request::builder().uri("http://localhost/");
        for _ in 0..10 {
            request = request.header("x-long", "a".repeat(4_000));
        }
        left.push(asking.send_request(request.body(Empty::new()).unwrap()).await.unwrap());
        assert_eq!(shared.answers.in_use(), number * 8 * 1024);
    }
}

#[tokio::test(start_paused = true)]
async fn where_room_is_scarce_who_takes_nothing_is_cut_off_sooner() {
    let (shared, _) = pages(2 << 20);
    let mut left = Vec::new();
    for number in 1..=5 {
        let (mut asking, serving) = speak(&shared, &format!("192.0.2.{number}"), 0).await;
        left.push((ask(&mut asking, "GET").await, asking, serving));
    }
    assert!(shared.answers.is_scarce());
    let begun = Instant::now();
    while shared.answers.is_scarce() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lasted = begun.elapsed().as_secs();
    assert!((10..15).contains(&lasted), "{lasted} s");
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_and_again_does_not_keep_the_answers_it_does_not_take() {
    let (shared, _) = pages(10);
    let (mut asking, mut serving) = speak(&shared, "192.0.2.1", 0).await;
    let begun = Instant::now();
    let _untaken = ask(&mut asking, "GET").await;
    while timeout(Duration::from_secs(10), &mut serving).await.is_err() {
        ask(&mut asking, "HEAD").await;
    }
    let lasted = begun.elapsed().as_secs();
    assert!((75..80).contains(&lasted), "{lasted} s");
    assert!(comes_to(&shared.answers, 0).await);
    // Who takes them may go on.
    let (mut asking, mut serving) = speak(&shared, "192.0.2.1", 1 << 20).await;
    for _ in 0..20 {
        ask(&mut asking, "GET").await.into_body().collect().await.unwrap();
        assert!(timeout(Duration::from_secs(10), &mut serving).await.is_err());
    }
}

/// An HTTP/2 client asks something that takes for ever; it resets its stream, or it waits.
async fn closed_after_asking(resets: bool) -> bool {
    let asked = Arc::new(Notify::new());
    let notified = Arc::clone(&asked);
    let handler = get(move || {
        let asked = Arc::clone(&notified);
        async move {
            asked.notify_one();
            std::future::pending::<()>().await;
        }
    });
    let shared = Shared::new(Router::new().route("/", handler), None, 1, &[], Metrics::default());
    let (mut asking, mut serving) = speak(&shared, "192.0.2.1", 1 << 16).await;
    let answer = tokio::spawn(async move { ask(&mut asking, "GET").await });
    asked.notified().await;
    if resets {
        answer.abort();
    }
    // Pings are answered all the while.
    timeout(Duration::from_mins(10), &mut serving).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn who_resets_a_stream_does_not_keep_the_connection_for_ever() {
    assert!(!closed_after_asking(false).await, "who waits for an answer is waited for");
    assert!(closed_after_asking(true).await);
}
