//! Does the tutorial work as it is written? The real program, real curl, and nothing but the client
//! id, the secret, the code and the port changing.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::process::free_port;
use crate::harness::{App, Browser, Cli, Directory, PASSWORD, Process, Registration};

const CALLBACK: &str = "http://127.0.0.1:8000/noexist/callback";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const NO_CACHE: &str = "Cache-Control: no-cache";

async fn curl(arguments: &[&str]) -> String {
    let owned: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || {
        Command::new("curl").args(["--silent", "--show-error", "--max-time", "20"]).args(owned).output()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn create_superuser(home: &Directory) {
    let cli = Cli::in_home(home.path()).password(PASSWORD);
    let arguments = ["createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com"];
    tokio::task::spawn_blocking(move || cli.run(&arguments)).await.unwrap().succeeded();
}

async fn register(browser: &Browser, base: &str, registration: &Registration) -> App {
    // The page sends whoever is not logged in to the login page, which returns to it.
    let path = "/o/applications/register/";
    let sent = browser.get(path).await;
    if sent.status != 200 {
        assert_eq!(sent.location(), "/admin/login/?next=/o/applications/register/");
        let login = browser.follow(&sent).await.is(200).form("/admin/login/");
        let login = login.set("username", "admin").set("password", PASSWORD);
        assert_eq!(browser.submit(&login).await.is(303).location(), path);
    }
    let app = browser.register(registration).await;
    assert_eq!((app.client_id.len(), app.secret.len()), (40, 128), "at {base}");
    app
}

fn code_application() -> Registration {
    Registration::confidential().set("name", "").set("redirect_uris", CALLBACK)
}

async fn authorize(browser: &Browser, app: &App) -> String {
    let path =
        format!("/o/authorize/?response_type=code&client_id={}&redirect_uri={CALLBACK}", app.client_id);
    let consent = browser.get(&path).await.is(200).shows("Authorize").form("/o/authorize/");
    let landing = browser.submit(&consent.press("Authorize")).await.is(303);
    assert!(landing.location().starts_with(&format!("{CALLBACK}?code=")), "{}", landing.location());
    let code = landing.code();
    let page = browser.get(&format!("/noexist/callback?code={code}")).await.is(404);
    page.shows("Page not found (404)");
    code
}

/// Members in the order in which they stand in the text.
fn members(json: &str) -> Vec<&str> {
    let names = ["access_token", "expires_in", "token_type", "scope", "refresh_token"];
    let place = |name: &&str| json.find(&format!("\"{name}\""));
    let mut there: Vec<_> = names.into_iter().filter(|name| place(name).is_some()).collect();
    there.sort_by_key(place);
    assert_eq!(
        serde_json::from_str::<Value>(json).unwrap().as_object().unwrap().len(),
        there.len(),
        "{json}"
    );
    there
}

async fn redeem(base: &str, app: &App, code: &str) -> Value {
    let (url, id, secret) = (format!("{base}/o/token/"), &app.client_id, &app.secret);
    let answer = curl(&[
        "-X",
        "POST",
        "-H",
        NO_CACHE,
        "-H",
        FORM,
        &url,
        "-d",
        &format!("client_id={id}"),
        "-d",
        &format!("client_secret={secret}"),
        "-d",
        &format!("code={code}"),
        "-d",
        &format!("redirect_uri={CALLBACK}"),
        "-d",
        "grant_type=authorization_code",
    ])
    .await;
    assert_eq!(members(&answer), ["access_token", "expires_in", "token_type", "scope", "refresh_token"]);
    serde_json::from_str(&answer).unwrap()
}

async fn client_credentials(base: &str, app: &App) -> Value {
    let credential = STANDARD.encode(format!("{}:{}", app.client_id, app.secret));
    let answer = curl(&[
        "-X",
        "POST",
        "-H",
        &format!("Authorization: Basic {credential}"),
        "-H",
        NO_CACHE,
        "-H",
        FORM,
        &format!("{base}/o/token/"),
        "-d",
        "grant_type=client_credentials",
    ])
    .await;
    assert_eq!(members(&answer), ["access_token", "expires_in", "token_type", "scope"]);
    serde_json::from_str(&answer).unwrap()
}

/// Steps 3 to 7.
async fn follow_the_tutorial(base: &str, browser: &Browser) -> (App, Value) {
    let app = register(browser, base, &code_application()).await;
    let code = authorize(browser, &app).await;
    let tokens = redeem(base, &app, &code).await;
    assert_eq!(tokens["expires_in"], 36000);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["scope"], "read write");

    let token = tokens["access_token"].as_str().unwrap();
    let header = format!("Authorization: Bearer {token}");
    let localhost = base.replace("127.0.0.1", "localhost");
    for base in [localhost.as_str(), base] {
        let answer = curl(&["-H", &header, "-X", "GET", &format!("{base}/resource")]).await;
        assert!(answer.contains(&app.client_id) && answer.contains("read"), "{answer}");
    }

    let machine = register(browser, base, &Registration::machine().set("name", "")).await;
    let own = client_credentials(base, &machine).await;
    assert_eq!((&own["expires_in"], &own["scope"]), (&Value::from(36000), &Value::from("read write")));
    (app, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_runs_verbatim_and_a_second_start_finds_everything_again() {
    let home = Directory::new();
    create_superuser(&home).await;
    let process = Process::start(&home, &[]).await;
    let browser = process.browser();
    let (app, tokens) = follow_the_tutorial(&process.base, &browser).await;
    assert_eq!(process.terminate().await, 0);

    let process = Process::start(&home, &[]).await;
    let token = format!("Authorization: Bearer {}", tokens["access_token"].as_str().unwrap());
    let answer = curl(&["-H", &token, &format!("{}/resource", process.base)]).await;
    assert!(answer.contains(&app.client_id), "{answer}");
    let browser = process.browser();
    browser.login("admin").await;
    browser.get(&format!("/o/applications/{}/", app.client_id)).await.is(200).shows("What happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_address_is_port_8000_of_localhost() {
    if std::net::TcpListener::bind("127.0.0.1:8000").is_err() {
        println!("somebody else listens on port 8000; the same is tested on another port");
        return;
    }
    let home = Directory::new();
    create_superuser(&home).await;
    let process = Process::start_on_default_port(&home).await;
    follow_the_tutorial("http://127.0.0.1:8000", &process.browser()).await;
    assert!(home.path().join("data/chancery/chancery.db").exists());
    let log = process.log();
    assert!(log.contains("http://127.0.0.1:8000") && log.contains("data/chancery"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_created_while_the_server_runs_is_seen_within_250_ms() {
    let home = Directory::new();
    let process = Process::start(&home, &[]).await;
    let browser = process.browser();
    let page = browser.get("/").await.is(200).shows("Nobody can log in yet");
    assert!(page.body.contains("createsuperuser"), "{}", page.body);
    let begun = Instant::now();
    while !process.log().contains("createsuperuser") {
        assert!(begun.elapsed() < Duration::from_secs(5), "no next step in: {}", process.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    create_superuser(&home).await;
    let created = Instant::now();
    while browser.get("/").await.page_text().contains("Nobody can log in yet") {
        assert!(created.elapsed() < Duration::from_millis(250), "not seen after {:?}", created.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    browser.login("admin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_a_clear_error() {
    let home = Directory::new();
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let listen = format!("127.0.0.1:{port}");
    let outcome = Cli::in_home(home.path()).run(&["serve", "--listen", &listen]);
    outcome.failed_about(&port.to_string());
}
