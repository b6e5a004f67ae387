//! Do the examples of `deploy/` do what they say? nginx and Caddy in front of two nodes, with nothing changed but
//! addresses and files; the unit as systemd reads it; the configuration; the image, in `image.rs`.

mod confined;
mod image;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::faults::crash::machine;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Engine, Request, Server, Setup};

const HOST: &str = "login.example.com";
const NGINX: &str = include_str!("../deploy/nginx.conf");
const CADDY: &str = include_str!("../deploy/Caddyfile");
const UNIT: &str = include_str!("../deploy/chancery.service");

/// In tenths, of ten: systemd's own measure of what a service may do to its machine.
const EXPOSURE: &str = "--threshold=15";
/// Longer than a node that has gone is taken for one that is there.
const NOTICED: Duration = Duration::from_millis(2_500);

/// Two nodes behind a proxy.
struct Front {
    proxy: Child,
    _one: Server,
    two: Option<Server>,
    app: App,
    files: Directory,
}

/// Says 503 to everything, and counts what it is asked.
struct Unwell {
    address: String,
    tokens: Arc<AtomicUsize>,
    introspections: Arc<AtomicUsize>,
}

impl Unwell {
    async fn start() -> Self {
        let (tokens, introspections) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let counts = (Arc::clone(&tokens), Arc::clone(&introspections));
        let answer = move |request: axum::extract::Request| {
            let (tokens, introspections) = counts.clone();
            async move {
                match request.uri().path() {
                    "/o/token/" => tokens.fetch_add(1, Ordering::SeqCst),
                    "/o/introspect/" => introspections.fetch_add(1, Ordering::SeqCst),
                    _ => 0,
                };
                axum::http::StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, tokens, introspections }
    }
}

/// Of a node that says 503 nobody knows whether it has done what was asked: a code that is sent twice ends all it
/// ever gave.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_sends_again_only_what_may_be_done_twice() {
    let unwell = Unwell::start().await;
    let front = Front::of(nginx, behind_a_proxy().start().await, &unwell.address).await;
    let token = front.issue_again().await;
    for count in [&unwell.tokens, &unwell.introspections] {
        let (before, begun) = (count.load(Ordering::SeqCst), Instant::now());
        let (mut refused, issues) = (0, Arc::ptr_eq(count, &unwell.tokens));
        while count.load(Ordering::SeqCst) < before + 2 {
            assert!(begun.elapsed() < Duration::from_secs(20), "the one that is unwell is never asked");
            if issues {
                refused += usize::from(front.app.client_credentials().send().await.status == 503);
            } else {
                assert!(front.app.sees_active(&token).await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if issues {
            assert_eq!(refused, count.load(Ordering::SeqCst) - before, "each was told, and none sent again");
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// The example with another address or file in the place of the one it names.
fn with(text: &str, replaced: &[(&str, String)]) -> String {
    replaced.iter().fold(text.to_owned(), |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old} stands there once");
        text.replacen(old, new, 1)
    })
}

fn address(server: &Server) -> &str {
    server.base.trim_start_matches("http://")
}

fn nginx(files: &str, port: u16, nodes: [&str; 2]) -> Command {
    let site = with(
        NGINX,
        &[
            ("server 127.0.0.1:8000", format!("server {}", nodes[0])),
            ("# server 10.0.0.2:8000", format!("server {}", nodes[1])),
            ("listen 443 ssl http2", format!("listen 127.0.0.1:{port} ssl http2")),
            ("/etc/ssl/login.example.com/fullchain.pem", format!("{files}/cert.pem")),
            ("/etc/ssl/login.example.com/privkey.pem", format!("{files}/key.pem")),
        ],
    );
    let temporary: Vec<String> = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {files}/{kind};"))
        .collect();
    let whole = format!(
        "daemon off; master_process off; pid {files}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off; {}\n{site}\n}}\n",
        temporary.join(" ")
    );
    fs::write(format!("{files}/nginx.conf"), whole).unwrap();
    let mut command = Command::new("nginx");
    command.args(["-p", files, "-e", "stderr", "-c", &format!("{files}/nginx.conf")]);
    command
}

fn caddy(files: &str, port: u16, nodes: [&str; 2]) -> Command {
    let tls = format!("https://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {files}/cert.pem {files}/key.pem\n");
    let site = with(
        CADDY,
        &[
            ("login.example.com {\n", tls),
            ("reverse_proxy 127.0.0.1:8000", format!("reverse_proxy {}", nodes[0])),
            ("# to 10.0.0.2:8000", format!("to {}", nodes[1])),
        ],
    );
    let whole = format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}");
    fs::write(format!("{files}/Caddyfile"), whole).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config", &format!("{files}/Caddyfile")]);
    command.env("HOME", files).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    command
}

/// Trusts the proxy's certificate, and finds it where it listens.
fn client(certificate: &str, at: SocketAddr) -> reqwest::Client {
    let trusted = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    client.tls_certs_only([trusted]).resolve(HOST, at).build().unwrap()
}

fn behind_a_proxy() -> Setup {
    let setup = Setup::new(Engine::Postgres).set("issuer", &format!("https://{HOST}"));
    setup.set("trusted-proxies", "127.0.0.1")
}

impl Front {
    async fn start(proxy: fn(&str, u16, [&str; 2]) -> Command, change: impl Fn(Setup) -> Setup) -> Self {
        let one = change(behind_a_proxy()).start().await;
        let two = one.sibling().await;
        let mut front = Self::of(proxy, one, address(&two)).await;
        front.two = Some(two);
        front
    }

    /// A node, and whatever is at that address.
    async fn of(proxy: fn(&str, u16, [&str; 2]) -> Command, one: Server, second: &str) -> Self {
        let files = Directory::new();
        let made = files.certify(HOST);
        let port = free_port();
        let mut command = proxy(files.text(), port, [address(&one), second]);
        let log = File::create(files.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let proxy = command.spawn().unwrap();
        let mut app = machine(&one.cli(), &format!("https://{HOST}:{port}"));
        app.client = client(&made.cert.pem(), SocketAddr::from(([127, 0, 0, 1], port)));
        let mut front = Self { proxy, _one: one, two: None, app, files };
        front.wait_until_it_serves().await;
        front
    }

    async fn wait_until_it_serves(&mut self) {
        for _ in 0..200 {
            let asked = self.get("/admin/login/").try_send().await;
            if asked.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            let ended = self.proxy.try_wait().unwrap();
            let log = || fs::read_to_string(self.files.path().join("log")).unwrap();
            assert!(ended.is_none(), "it ended: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it does not serve: {}", fs::read_to_string(self.files.path().join("log")).unwrap());
    }

    fn get(&self, path: &str) -> Request {
        Request::new(&self.app.client, "GET", format!("{}{path}", self.app.base))
    }

    /// A client comes again when it is told to.
    async fn issue_again(&self) -> String {
        for _ in 0..200 {
            let answer = self.app.client_credentials().send().await;
            if answer.status == 200 {
                return answer.text("access_token");
            }
            assert_eq!(answer.status, 503, "{answer:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no token");
    }
}

/// What both must do alike.
async fn serves(front: &Front) {
    let token = front.issue_again().await;
    assert!(front.app.sees_active(&token).await);
    front.app.revoke(&token).send().await.is(200);
    assert!(!front.app.sees_active(&token).await);
    front.get("/admin/login/").send().await.is(200).shows("Log in");
    let metadata = front.get("/.well-known/oauth-authorization-server").send().await.is(200);
    assert_eq!(metadata.text("issuer"), format!("https://{HOST}"));
    // What is for operators is for nobody outside.
    for path in ["/healthz", "/healthz/", "/readyz", "/readyz/"] {
        front.get(path).send().await.is(403);
    }
    let long = "x".repeat(80 * 1024);
    let answer = front.app.client.post(format!("{}/o/token/", front.app.base)).body(long).send().await;
    // Caddy may meet the limit while it hands on, and say that it could not.
    let status = answer.unwrap().status().as_u16();
    assert!([413, 502].contains(&status), "{status}");
}

/// A stranger does not choose the address that limits count.
async fn limits_by_the_real_address(front: &Front) {
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..60 {
        let asked = front.get("/admin/login/").header("X-Forwarded-For", &format!("6.6.6.{number}"));
        asking.spawn(asked.send());
    }
    let answers: Vec<u16> = asking.join_all().await.into_iter().map(|answer| answer.status).collect();
    assert!(answers.contains(&429), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_hands_on_what_it_should() {
    let mut front = Front::start(nginx, |setup| setup).await;
    serves(&front).await;
    // A node that stops is one that does not answer: the next one is asked at once.
    let token = front.issue_again().await;
    front.two.take().unwrap().stop().await;
    for _ in 0..20 {
        front.get("/admin/login/").send().await.is(200);
        assert!(front.app.sees_active(&token).await);
        front.issue_again().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_hands_on_what_it_should() {
    let mut front = Front::start(caddy, |setup| setup).await;
    serves(&front).await;
    let token = front.issue_again().await;
    front.two.take().unwrap().stop().await;
    for _ in 0..20 {
        front.get("/admin/login/").send().await.is(200);
    }
    // It has noticed by now, and asks the other one only.
    tokio::time::sleep(NOTICED).await;
    for _ in 0..20 {
        assert!(front.app.sees_active(&token).await);
        front.issue_again().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_and_caddy_nobody_chooses_their_address() {
    for proxy in [nginx, caddy] {
        let front = Front::start(proxy, |setup| setup.set("requests-per-address", "1")).await;
        limits_by_the_real_address(&front).await;
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_it_confined() {
    let files = Directory::new();
    let unit = files.path().join("chancery.service");
    fs::write(&unit, with(UNIT, &[("/usr/local/bin/chancery", "/bin/true".to_owned())])).unwrap();
    let unit = unit.to_str().unwrap();
    for arguments in [vec!["verify", "--man=no", unit], vec!["security", "--offline=true", EXPOSURE, unit]] {
        let said = Command::new("systemd-analyze").args(&arguments).output().unwrap();
        let text =
            String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{arguments:?}: {text}");
        assert!(arguments[0] != "verify" || text.is_empty(), "{text}");
    }
}

#[test]
fn the_example_configuration_is_one() {
    let files = Directory::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chancery.toml");
    let shown = Cli::in_home(files.path()).run(&["config", "--config", path]).succeeded().stdout;
    for part in ["https://login.example.com", "/var/lib/chancery", "127.0.0.1:9464"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

/// Whoever is killed in the middle of a stop has not finished its requests, and other nodes wait for it.
#[test]
fn the_unit_gives_a_stop_the_time_that_it_may_take() {
    let seconds = |text: &str, name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim_matches([' ', '=', '"', 's']).parse().unwrap()
    };
    let drain_delay = seconds(include_str!("../deploy/chancery.toml"), "drain-delay");
    assert!(seconds(UNIT, "TimeoutStopSec") >= drain_delay + 15);
}
