//! Does a collector get what happened, and nothing that is secret? (OTLP over HTTP, W3C Trace Context)

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;

use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Takes spans as a collector does.
#[derive(Clone, Default)]
struct Collector {
    received: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    /// Starts it, and says where.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let take = async |State(Collector { received }): State<Collector>, body: Bytes| {
            received.lock().unwrap().extend_from_slice(&body);
        };
        let routes = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (collector, format!("http://{address}"))
    }

    /// Whether this stands in what was received: texts of protobuf are plain bytes.
    fn has(&self, wanted: &[u8]) -> bool {
        self.received.lock().unwrap().windows(wanted.len()).any(|window| window == wanted)
    }
}

fn trace_id() -> Vec<u8> {
    (0..16).map(|byte| u8::from_str_radix(&TRACE[byte * 2..byte * 2 + 2], 16).unwrap()).collect()
}

/// Issues a token in the trace of somebody else.
async fn issue(app: &App) -> String {
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let issued = app.client_credentials().header("traceparent", &traceparent).send().await.is(200);
    issued.text("access_token")
}

/// A server that sends its traces, what was sent, and what is secret of it.
async fn traced(arguments: &[&str]) -> (Collector, [String; 2]) {
    let (collector, endpoint) = Collector::start().await;
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::in_home(home.path());
    let app = crate::faults::crash::machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server =
        Process::start_with(&cli, &home, port, &[&["--otlp-endpoint", &endpoint], arguments].concat()).await;
    let token = issue(&app).await;
    let path = format!("{}/o/applications/some-secret-path/?code=some-secret-code", app.base);
    Request::new(&app.client, "GET", path).send().await;
    assert_eq!(server.terminate().await, 0);
    (collector, [token, app.secret])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_requests_commands_and_batches_and_no_secret() {
    let (collector, secrets) = traced(&[]).await;
    let names = [
        "POST /o/token/",
        "GET /o/applications/{client_id}/",
        "command client_token",
        "batch",
        "http.response.status_code",
        "chancery",
    ];
    for name in names {
        assert!(collector.has(name.as_bytes()), "{name}");
    }
    for secret in secrets.iter().map(String::as_str).chain(["some-secret-path", "some-secret-code"]) {
        assert!(!collector.has(secret.as_bytes()), "{secret}");
    }
    assert!(!collector.has(&trace_id()), "a stranger's trace is not continued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxys_trace_is_continued_even_when_no_own_one_is_kept() {
    let (collector, _) = traced(&["--trusted-proxies", "127.0.0.1", "--otlp-percent", "0"]).await;
    assert!(collector.has(&trace_id()));
    assert!(collector.has(b"POST /o/token/"));
    assert!(!collector.has(b"GET /o/applications/{client_id}/"), "nobody asked for this one");
}

/// Traces are not what the server is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_stops_nothing() {
    let (home, port) = (Directory::new(), free_port());
    let cli = Cli::in_home(home.path());
    let app = crate::faults::crash::machine(&cli, &format!("http://127.0.0.1:{port}"));
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let server = Process::start_with(&cli, &home, port, &["--otlp-endpoint", &endpoint]).await;
    issue(&app).await;
    assert_eq!(server.terminate().await, 0);
    let shown = cli.run(&["--otlp-percent", "5", "config"]).succeeded();
    let line = shown.stdout.lines().find(|line| line.contains("otlp-percent")).unwrap();
    assert!(line.split_whitespace().any(|word| word == "5"), "{line}");
    for wrong in ["ftp://127.0.0.1", "http://ada:hunter2@127.0.0.1:4318", "collector"] {
        let refused = cli.run(&["--otlp-endpoint", wrong, "config"]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(!refused.stderr.contains("hunter2"));
    }
}
