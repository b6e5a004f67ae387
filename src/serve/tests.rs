//! A server in this process, spoken to over a socket: what the pieces are to each other. Whole flows are
//! in `tests/`.

use std::path::PathBuf;

use aggregates::application::{
    Application, ApplicationCommand, ApplicationSettings, ApplicationType, Provenance,
};
use aggregates::authorization::{Authorization, AuthorizationCommand, AuthorizationRequest, ConsentBasis};
use aggregates::user::{User, UserCommand};
use aggregates::values::{ClientType, GrantType, RedirectUri, Scope, SecretKind, SecretRef};
use chrono::TimeDelta;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::clock::{SystemClock, TestClock, TestUptime};
use crate::commands::{Actor, Beside, Origin, Stream};
use crate::config::{Environment, Flags};
use crate::journal::SecretOp;
use crate::middleware::freshness;
use crate::password::keyed_verifier;
use crate::personal::PersonalData;
use crate::secret::{Secret, new_id};
use crate::token::mint_authorization_code;

const REDIRECT: &str = "http://127.0.0.1:8000/noexist/callback";
const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

struct Server {
    running: Running,
    clock: TestClock,
    http: Client,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn config(directory: &std::path::Path, listen: &str) -> Config {
    let directory = directory.display().to_string();
    let variables = [("CHANCERY_LISTEN", listen), ("CHANCERY_DATA_DIR", &directory)];
    Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap()
}

async fn server() -> Server {
    let directory =
        std::env::temp_dir().join(format!("chancery-serve-{}", new_id(SystemClock::shared().now())));
    let clock = TestClock::default();
    let running = start(config(&directory, "127.0.0.1:0"), clock.shared()).await.unwrap();
    let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    Server { running, clock, http, directory }
}

/// What leaves is gone for good, on every node: a clock that runs ahead by days would take living tokens away.
#[tokio::test]
async fn a_machine_whose_clock_is_wrong_takes_no_rows_away() {
    let directory =
        std::env::temp_dir().join(format!("chancery-serve-{}", new_id(SystemClock::shared().now())));
    let (clock, uptime) = (TestClock::default(), TestUptime::default());
    let config = Arc::new(config(&directory, "127.0.0.1:0"));
    let state = open::open_to_serve(config, clock.shared()).await.unwrap();
    let lease =
        Lease::new("node".to_owned(), Duration::from_secs(1), Arc::new(uptime.clone()), clock.shared());
    state.journal.start_answering(lease).await.unwrap();
    introduce(&state).await.unwrap();
    let before = state.journal.applied();
    // Beside SQLite the one that was put back is noticed.
    clock.advance(TimeDelta::days(-2));
    uptime.advance(Duration::from_millis(1));
    let refused = horizon::advance(&state).await;
    assert!(matches!(refused, Err(horizon::NotAdvanced::Stale(_))), "{refused:?}");
    assert_eq!(state.journal.applied(), before);
    clock.advance(TimeDelta::days(2));
    uptime.advance(Duration::from_millis(1));
    horizon::advance(&state).await.unwrap();
    assert_eq!(state.journal.applied(), before + 1);
    std::fs::remove_dir_all(directory).unwrap();
}

/// The clock jumps between the question and the decision: a code that lives has expired by it (`invalid_grant`).
#[tokio::test]
async fn nothing_is_refused_by_a_clock_that_has_jumped() {
    let directory =
        std::env::temp_dir().join(format!("chancery-serve-{}", new_id(SystemClock::shared().now())));
    let (clock, uptime) = (TestClock::default(), TestUptime::default());
    let config = Arc::new(config(&directory, "127.0.0.1:0"));
    let state = open::open_to_serve(config, clock.shared()).await.unwrap();
    let lease = Lease::new("node".to_owned(), Duration::from_secs(1), Arc::new(uptime), clock.shared());
    state.journal.start_answering(lease).await.unwrap();
    for (jump, status) in
        [(TimeDelta::zero(), StatusCode::BAD_REQUEST), (TimeDelta::hours(1), StatusCode::SERVICE_UNAVAILABLE)]
    {
        let jumping = clock.clone();
        let refuses = async move || {
            jumping.advance(jump);
            StatusCode::BAD_REQUEST
        };
        let require = axum::middleware::from_fn_with_state(state.clone(), freshness::require);
        let router = axum::Router::new().route("/o/token/", axum::routing::get(refuses)).layer(require);
        let request = axum::http::Request::get("/o/token/").body(axum::body::Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(router, request).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().contains_key("retry-after"), status == StatusCode::SERVICE_UNAVAILABLE);
    }
    std::fs::remove_dir_all(directory).unwrap();
}

fn settings(client_type: ClientType) -> ApplicationSettings {
    let grant_types = match client_type {
        ClientType::Confidential => GrantType::ALL.to_vec(),
        ClientType::Public => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
    };
    ApplicationSettings {
        name: "Shop".to_owned(),
        client_type,
        application_type: ApplicationType::Web,
        grant_types,
        redirect_uris: vec![RedirectUri::parse(REDIRECT, false).unwrap()],
        post_logout_redirect_uris: Vec::new(),
        allowed_origins: vec!["https://spa.example".to_owned()],
        scope: None,
        require_pkce: false,
        skip_authorization: false,
        ask_always: false,
        refresh_retry_window: 0,
        access_token_lifetime: None,
        id_token_algorithm: None,
        resources: Vec::new(),
        introspect_any: false,
    }
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.addresses[0])
    }

    async fn application(&self, client_id: &str, client_type: ClientType) {
        let state = &self.running.state;
        let secret = (client_type == ClientType::Confidential)
            .then(|| SecretRef { id: new_id(state.clock.now()), kind: SecretKind::KeyedSha256 });
        let secrets = secret.iter().map(|secret| SecretOp::Put {
            id: secret.id.clone(),
            verifier: keyed_verifier(&state.keys, &Secret::new(SECRET)),
        });
        let beside = Beside { secrets: secrets.collect(), subject_keys: Vec::new() };
        let command = ApplicationCommand::RegisterApplication {
            client_id: client_id.to_owned(),
            owner: None,
            settings: settings(client_type),
            secret,
            provenance: Provenance::CommandLine,
            at: state.clock.now(),
        };
        let stream = Stream::Existing(client_id.to_owned());
        let origin = Origin::internal(Actor::Operator, &state.clock);
        state.commands.execute_with::<Application>(stream, command, &origin, beside).await.unwrap();
    }

    async fn user(&self) -> String {
        let state = &self.running.state;
        let subject = new_id(state.clock.now());
        let (row, key) = state.personal.new_subject(&subject).unwrap();
        let command = UserCommand::RegisterUser {
            username: PersonalData::seal_with(&key, &subject, "ada").unwrap(),
            username_key: "key of ada".to_owned(),
            subject: subject.clone(),
            email: None,
            email_key: None,
            password: None,
            roles: Vec::new(),
            at: state.clock.now(),
        };
        let beside = Beside { secrets: Vec::new(), subject_keys: vec![row] };
        let origin = Origin::internal(Actor::Operator, &state.clock);
        let stream = Stream::Existing(subject.clone());
        state.commands.execute_with::<User>(stream, command, &origin, beside).await.unwrap();
        subject
    }

    async fn code(&self, client_id: &str, subject: &str) -> String {
        let state = &self.running.state;
        let now = state.clock.now();
        let id = new_id(now);
        let command = AuthorizationCommand::GrantAuthorization {
            authorization_id: id.clone(),
            request: AuthorizationRequest {
                client_id: client_id.to_owned(),
                subject: subject.to_owned(),
                session_id: new_id(now),
                scope: Scope::parse("read write").unwrap(),
                resource: Vec::new(),
                redirect_uri: REDIRECT.to_owned(),
                redirect_uri_sent: true,
            },
            code_challenge: None,
            nonce: None,
            auth_time: now,
            methods: vec!["pwd".to_owned()],
            basis: ConsentBasis::Asked,
            code_expires_at: now + TimeDelta::seconds(60),
            at: now,
        };
        let origin = Origin::internal(Actor::User(subject.to_owned()), &state.clock);
        state.commands.execute::<Authorization>(Stream::Fresh(id.clone()), command, &origin).await.unwrap();
        mint_authorization_code(&state.keys, &id).unwrap().expose().to_owned()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.http.post(self.url(path)).form(form).send().await.unwrap()
    }

    async fn token(&self, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let credentials = [("client_id", "shop"), ("client_secret", SECRET)];
        answer(self.post("/o/token/", &[&credentials, form].concat()).await).await
    }

    async fn is_active(&self, token: &str) -> bool {
        let form = [("client_id", "shop"), ("client_secret", SECRET), ("token", token)];
        let (status, body) = answer(self.post("/o/introspect", &form).await).await;
        assert_eq!(status, 200, "{body}");
        body["active"].as_bool().unwrap()
    }

    async fn refusals(&self) -> Vec<String> {
        let batches = self.running.state.journal.engine().batches_after(0, 1_000).await.unwrap();
        let events = batches.into_iter().flat_map(|batch| batch.events);
        let refusals = events.filter(|event| event.aggregate_type == "refusal");
        refusals
            .map(|row| serde_json::from_str::<Value>(&row.event.payload).unwrap())
            .map(|payload| payload["refused"]["rule"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn answer(response: Response) -> (StatusCode, Value) {
    (response.status(), response.json().await.unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn the_tutorials_code_becomes_a_token_that_opens_the_resource() {
    let server = server().await;
    server.application("shop", ClientType::Confidential).await;
    let subject = server.user().await;
    let code = server.code("shop", &subject).await;
    let redeem = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", REDIRECT)];
    let (status, tokens) = server.token(&redeem).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!((&tokens["expires_in"], &tokens["scope"]), (&Value::from(36_000), &Value::from("read write")));
    let token = text(&tokens["access_token"]);
    let response = server.http.get(server.url("/resource")).bearer_auth(token).send().await.unwrap();
    let (status, identity) = answer(response).await;
    assert_eq!(status, 200, "{identity}");
    assert_eq!((text(&identity["username"]), text(&identity["sub"])), ("ada", subject.as_str()));

    let (status, replayed) = server.token(&redeem).await;
    assert_eq!((status, text(&replayed["error"])), (StatusCode::BAD_REQUEST, "invalid_grant"));
    assert!(!server.is_active(token).await, "a replay ends what the code gave");
    assert_eq!(server.refusals().await, ["code_replayed"]);
    let response = server.http.get(server.url("/resource")).bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status(), 401);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("Bearer error=\"invalid_token\", "), "{challenge}");
    assert!(challenge.contains("/.well-known/oauth-protected-resource/resource\""), "{challenge}");
}

#[tokio::test]
async fn refreshing_rotates_and_reuse_ends_the_family() {
    let server = server().await;
    server.application("shop", ClientType::Confidential).await;
    let subject = server.user().await;
    let code = server.code("shop", &subject).await;
    let redeem = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", REDIRECT)];
    let (_, first) = server.token(&redeem).await;
    let refresh = |tokens: &Value| {
        vec![
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", text(&tokens["refresh_token"]).to_owned()),
        ]
    };
    let form = refresh(&first);
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, second) = server.token(&form).await;
    assert_eq!(status, 200, "{second}");
    assert!(!server.is_active(text(&first["access_token"])).await);
    assert!(server.is_active(text(&second["access_token"])).await);
    assert!(!server.is_active(text(&second["refresh_token"])).await, "only this server takes those");
    let (status, reused) = server.token(&form).await;
    assert_eq!((status, text(&reused["error"])), (StatusCode::BAD_REQUEST, "invalid_grant"));
    assert!(!server.is_active(text(&second["access_token"])).await);
    assert_eq!(server.refusals().await, ["refresh_token_reused"]);
}

#[tokio::test]
async fn client_credentials_work_by_basic_and_revocation_ends_the_token() {
    let server = server().await;
    server.application("shop", ClientType::Confidential).await;
    server.application("other", ClientType::Confidential).await;
    let ask = |secret: &'static str| {
        let request = server.http.post(server.url("/o/token")).basic_auth("shop", Some(secret));
        request.form(&[("grant_type", "client_credentials")]).send()
    };
    let response = ask(SECRET).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    let body = response.text().await.unwrap();
    let tokens: Value = serde_json::from_str(&body).unwrap();
    let token = text(&tokens["access_token"]);
    let rest = r#"", "expires_in": 36000, "token_type": "Bearer", "scope": "read write"}"#;
    assert_eq!(body, format!(r#"{{"access_token": "{token}{rest}"#));

    let foreign = [("client_id", "other"), ("client_secret", SECRET), ("token", token)];
    assert_eq!(server.post("/o/revoke_token/", &foreign).await.status(), 200);
    assert!(server.is_active(token).await, "another client's revocation does nothing");
    assert_eq!(server.refusals().await, ["wrong_client"]);
    let own = [("client_id", "shop"), ("client_secret", SECRET), ("token", token), ("token_type_hint", "x")];
    let response = server.post("/o/revoke/", &own).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!((response.status(), response.text().await.unwrap().as_str()), (StatusCode::OK, ""));
    assert!(!server.is_active(token).await);

    let response = ask("wrong").await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"chancery\"");
}

#[tokio::test]
async fn each_malformed_request_has_its_answer() {
    let server = server().await;
    server.application("shop", ClientType::Confidential).await;
    server.application("spa", ClientType::Public).await;
    for (form, code) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "password")], "unsupported_grant_type"),
        (vec![("grant_type", "authorization_code")], "invalid_request"),
        (vec![("grant_type", "authorization_code"), ("code", "chc_forged")], "invalid_grant"),
        (vec![("grant_type", "client_credentials"), ("scope", "admin")], "invalid_scope"),
        (vec![("grant_type", "client_credentials"), ("resource", "x")], "invalid_target"),
        (vec![("grant_type", "client_credentials"), ("grant_type", "client_credentials")], "invalid_request"),
    ] {
        let (status, body) = server.token(&form).await;
        assert_eq!((status, text(&body["error"])), (StatusCode::BAD_REQUEST, code), "{form:?}");
    }
    let public = [("client_id", "spa"), ("grant_type", "client_credentials")];
    let (_, body) = answer(server.post("/o/token/", &public).await).await;
    assert_eq!(text(&body["error"]), "unauthorized_client");
    let guessing = [("client_id", "spa"), ("client_secret", "x"), ("grant_type", "authorization_code")];
    assert_eq!(server.post("/o/token/", &guessing).await.status(), 401);
    let response = server.http.get(server.url("/o/token/")).send().await.unwrap();
    assert_eq!(
        (response.status(), response.headers()["allow"].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "POST, OPTIONS")
    );
    let response =
        server.http.post(server.url("/o/token/")).body("{}").header("content-type", "application/json");
    assert_eq!(response.send().await.unwrap().status(), 400);
    let response = server.http.post(server.url("/o/token/")).body("x".repeat(70_000)).send().await.unwrap();
    assert_eq!(response.status(), 413);
    let response = server.http.get(server.url("/.well-known/openid-configuration")).send().await.unwrap();
    assert_eq!(
        (response.status(), response.headers()["content-type"].to_str().unwrap()),
        (StatusCode::NOT_FOUND, "application/json")
    );
}

#[tokio::test]
async fn metadata_follows_the_bound_port_and_cors_the_application() {
    let server = server().await;
    server.application("shop", ClientType::Confidential).await;
    for path in ["/.well-known/oauth-authorization-server", "/o/.well-known/oauth-authorization-server/"] {
        let response = server.http.get(server.url(path)).send().await.unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        let (_, document) = answer(response).await;
        assert_eq!(text(&document["token_endpoint"]), server.url("/o/token/"));
    }
    for (origin, allowed) in [
        ("https://spa.example", true),
        ("http://127.0.0.1:8000", true),
        ("https://spa.example.evil", false),
        ("null", false),
    ] {
        let preflight = server.http.request(reqwest::Method::OPTIONS, server.url("/o/token/"));
        let response = preflight.header("origin", origin).send().await.unwrap();
        assert_eq!(response.headers().contains_key("access-control-allow-origin"), allowed, "{origin}");
        let request = server.http.post(server.url("/o/token/")).basic_auth("shop", Some(SECRET));
        let response = request.header("origin", origin).form(&[("a", "b")]).send().await.unwrap();
        assert_eq!(response.headers().contains_key("access-control-allow-origin"), allowed, "{origin}");
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_an_id() {
    let server = server().await;
    for path in ["/noexist/callback?code=x", "/resource", "/.well-known/oauth-authorization-server"] {
        let response = server.http.get(server.url(path)).send().await.unwrap();
        let csp = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("frame-ancestors 'none'") && !csp.contains("form-action"), "{path}");
        assert_eq!(response.headers()["referrer-policy"], "same-origin");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert!(response.headers().contains_key("x-request-id"));
        assert!(response.headers().contains_key("cache-control"));
    }
}

async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.running.addresses[0]).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_chunked_request_is_the_last_of_its_connection_and_headers_have_an_end() {
    let server = server().await;
    let chunked = b"POST /o/token/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = raw(&server, chunked).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("connection: close"), "{answer}");
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n", "x".repeat(64 * 1024));
    let answer = raw(&server, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    assert!(raw(&server, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let server = server().await;
    let taken = server.running.addresses[0];
    let second = start(config(&server.directory, &taken.to_string()), server.clock.shared()).await;
    let error = second.err().unwrap();
    assert_eq!(error.to_string(), format!("{taken} is in use by another program"));
    assert!(error.advice().contains("--listen"));
}

#[tokio::test]
async fn stopping_ends_and_a_second_start_finds_everything_again() {
    let mut server = server().await;
    server.application("shop", ClientType::Confidential).await;
    let (_, tokens) = server.token(&[("grant_type", "client_credentials")]).await;
    let again = start(config(&server.directory, "127.0.0.1:0"), server.clock.shared());
    let running = std::mem::replace(&mut server.running, again.await.unwrap());
    assert_eq!(running.state.journal.configuration_revision(), 1);
    running.stop().await;
    assert!(server.is_active(text(&tokens["access_token"])).await);
    server.clock.advance(TimeDelta::seconds(36_000));
    assert!(!server.is_active(text(&tokens["access_token"])).await);
}

/// Whoever only looks at the tasks of the listeners leaves a process that answers 503 for ever.
#[tokio::test]
async fn a_server_of_whose_journal_a_part_has_ended_is_broken() {
    let mut server = server().await;
    let waiting = timeout(Duration::from_millis(50), server.running.broken()).await;
    assert!(waiting.is_err(), "it goes on");
    server.running.state.journal.keep("part", async {});
    timeout(Duration::from_secs(5), server.running.broken()).await.unwrap();
}

/// Revision and settings of every configuration event, and the revision that the last event names.
async fn configurations(server: &Server) -> (Vec<(u64, Value)>, String) {
    let batches = server.running.state.journal.engine().batches_after(0, 1000).await.unwrap();
    let events: Vec<_> = batches.into_iter().flat_map(|batch| batch.events).map(|row| row.event).collect();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let changed = events.iter().filter(|event| event.event_type == "installation.configuration_changed");
    let changed = changed.map(|event| read(&event.payload));
    let last = read(&events.last().unwrap().metadata)["configuration"].as_str().unwrap().to_owned();
    let changed = changed.map(|event| (event["revision"].as_u64().unwrap(), event["settings"].clone()));
    (changed.collect(), last)
}

#[tokio::test]
async fn a_changed_configuration_is_an_event_and_later_events_name_its_revision() {
    let mut server = server().await;
    server.application("shop", ClientType::Confidential).await;
    let (recorded, last) = configurations(&server).await;
    assert_eq!((recorded.len(), recorded[0].0, last.as_str()), (1, 1, "1"));

    let directory = server.directory.display().to_string();
    let configured = |code_lifetime: &str| {
        let variables = [
            ("CHANCERY_LISTEN", "127.0.0.1:0"),
            ("CHANCERY_ISSUER", "http://127.0.0.1:8000"),
            ("CHANCERY_DATA_DIR", directory.as_str()),
            ("CHANCERY_CODE_LIFETIME", code_lifetime),
        ];
        Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap()
    };
    for (code_lifetime, revision, application) in [("60s", 2, "two"), ("60s", 2, "three"), ("30s", 3, "four")]
    {
        server.running = start(configured(code_lifetime), server.clock.shared()).await.unwrap();
        server.application(application, ClientType::Confidential).await;
        let (recorded, last) = configurations(&server).await;
        assert_eq!((recorded.len(), last), (revision, revision.to_string()), "{code_lifetime}");
    }
    let (recorded, _) = configurations(&server).await;
    assert_ne!(recorded[1].1["code-lifetime"], recorded[2].1["code-lifetime"]);
    assert!(!recorded[2].1.to_string().contains("root"), "no secret, nor where it is: {}", recorded[2].1);
}
