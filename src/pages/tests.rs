//! A browser and a server in this process: what the pages are to each other. Whole flows are in `tests/`.

use std::path::PathBuf;

use aggregates::application::{
    Application, ApplicationCommand, ApplicationSettings, ApplicationType, Provenance,
};
use aggregates::values::{ClientType, GrantType, RedirectUri, SecretKind, SecretRef};
use chrono::TimeDelta;
use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::{Client, Response};

use crate::accounts::{NewUser, create_user};
use crate::clock::{Clock, SystemClock, TestClock};
use crate::commands::{Actor, Beside, Origin, Stream};
use crate::config::{Config, Environment, Flags};
use crate::journal::SecretOp;
use crate::password::keyed_verifier;
use crate::secret::{Secret, new_id};
use crate::serve::{Running, start};

const REDIRECT: &str = "http://127.0.0.1:8000/noexist/callback?a=1";
const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const PASSWORD: &str = "correct horse battery";
const AUTHORIZE: &str = "/o/authorize/?response_type=code&client_id=shop&state=s1";

struct Server {
    running: Running,
    clock: TestClock,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A browser's cookies and what it got last.
struct Browser {
    http: Client,
    base: String,
    cookies: Vec<(String, String)>,
    status: u16,
    location: String,
    page: String,
}

async fn server() -> Server {
    let directory =
        std::env::temp_dir().join(format!("chancery-pages-{}", new_id(SystemClock::shared().now())));
    let text = directory.display().to_string();
    let variables = [("CHANCERY_LISTEN", "127.0.0.1:0"), ("CHANCERY_DATA_DIR", &text)];
    let config = Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap();
    let clock = TestClock::default();
    let server = Server { running: start(config, clock.shared()).await.unwrap(), clock, directory };
    server.application(|_| {}).await;
    server.user("ada", "ada@example.org").await;
    server
}

impl Server {
    async fn application(&self, change: impl FnOnce(&mut ApplicationSettings)) {
        let state = &self.running.state;
        let secret = SecretRef { id: new_id(state.clock.now()), kind: SecretKind::KeyedSha256 };
        let verifier = keyed_verifier(&state.keys, &Secret::new(SECRET));
        let put = SecretOp::Put { id: secret.id.clone(), verifier };
        let mut settings = settings();
        change(&mut settings);
        let command = ApplicationCommand::RegisterApplication {
            client_id: "shop".to_owned(),
            owner: None,
            settings,
            secret: Some(secret),
            provenance: Provenance::CommandLine,
            at: state.clock.now(),
        };
        self.run(command, Beside { secrets: vec![put], subject_keys: Vec::new() }).await;
    }

    async fn run(&self, command: ApplicationCommand, beside: Beside) {
        let state = &self.running.state;
        let origin = Origin::internal(Actor::Operator, &state.clock);
        let stream = Stream::Existing("shop".to_owned());
        state.commands.execute_with::<Application>(stream, command, &origin, beside).await.unwrap();
    }

    async fn user(&self, username: &str, email: &str) {
        let state = &self.running.state;
        let new = NewUser {
            username: username.to_owned(),
            email: email.to_owned(),
            password: Secret::new(PASSWORD),
            is_superuser: true,
        };
        create_user(state, new, &Origin::internal(Actor::Operator, &state.clock)).await.unwrap();
    }

    fn browser(&self) -> Browser {
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let base = format!("http://{}", self.running.addresses[0]);
        let (location, page) = (String::new(), String::new());
        Browser { http, base, cookies: Vec::new(), status: 0, location, page }
    }

    async fn logged_in(&self) -> Browser {
        let mut browser = self.browser();
        browser.log_in("ada", PASSWORD, "/").await;
        assert_eq!(browser.status, 303, "{}", browser.page);
        browser
    }
}

fn settings() -> ApplicationSettings {
    ApplicationSettings {
        name: "Shop".to_owned(),
        client_type: ClientType::Confidential,
        application_type: ApplicationType::Web,
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        redirect_uris: vec![RedirectUri::parse(REDIRECT, false).unwrap()],
        post_logout_redirect_uris: Vec::new(),
        allowed_origins: Vec::new(),
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

impl Browser {
    fn cookie_header(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn take(&mut self, response: Response) {
        for line in response.headers().get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            assert!(line.contains("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(own, _)| own != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        self.status = response.status().as_u16();
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        self.location = location.unwrap_or_default();
        self.page = response.text().await.unwrap();
    }

    async fn get(&mut self, path: &str) {
        let request = self.http.get(format!("{}{path}", self.base)).header("cookie", self.cookie_header());
        let response = request.send().await.unwrap();
        self.take(response).await;
    }

    async fn post_as(&mut self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) {
        let mut request =
            self.http.post(format!("{}{path}", self.base)).header("cookie", self.cookie_header());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.form(form).send().await.unwrap();
        self.take(response).await;
    }

    /// Posts with the form token of the page at hand.
    async fn post(&mut self, path: &str, form: &[(&str, &str)]) {
        let (token, origin) = (self.field("csrfmiddlewaretoken"), self.base.clone());
        let form = [form, &[("csrfmiddlewaretoken", &token)]].concat();
        self.post_as(path, &form, &[("origin", &origin), ("sec-fetch-site", "same-origin")]).await;
    }

    async fn log_in(&mut self, username: &str, password: &str, next: &str) {
        self.get("/admin/login/?switch=1").await;
        self.post("/admin/login/", &[("username", username), ("password", password), ("next", next)]).await;
    }

    fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.page.split_once(&start).unwrap_or_else(|| panic!("no {name}: {}", self.page));
        rest.split('"').next().unwrap().to_owned()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.location.split_once('?')?;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
    }
}

#[tokio::test]
async fn an_anonymous_browser_logs_in_and_comes_back_to_the_consent_page() {
    let server = server().await;
    let mut browser = server.browser();
    browser.get(AUTHORIZE).await;
    assert_eq!(browser.status, 302);
    assert!(browser.location.starts_with("/admin/login/?next=/o/authorize/%3F"), "{}", browser.location);
    browser.get(&browser.location.clone()).await;
    assert!(browser.page.contains("Log in to go on to Shop."));
    let next = browser.field("next").replace("&amp;", "&");
    browser.post("/admin/login/", &[("username", "ADA"), ("password", PASSWORD), ("next", &next)]).await;
    assert_eq!((browser.status, browser.location.as_str()), (303, AUTHORIZE));
    browser.get(AUTHORIZE).await;
    assert!(browser.page.contains("Authorize Shop?"), "{}", browser.page);
    let request = browser.field("request");
    browser.post("/o/authorize/", &[("request", &request), ("allow", "Authorize")]).await;
    assert_eq!(browser.status, 303, "{}", browser.page);
    assert!(browser.location.starts_with(&format!("{REDIRECT}&code=chc_")), "{}", browser.location);
    assert_eq!(browser.parameter("state").as_deref(), Some("s1"));
    assert_eq!(browser.parameter("iss"), Some(browser.base.clone()));

    browser.get(AUTHORIZE).await;
    assert_eq!(browser.status, 302, "a remembered consent is not asked for again");
    assert!(browser.parameter("code").is_some());
    browser.get(&format!("{AUTHORIZE}&prompt=consent")).await;
    assert_eq!(browser.status, 200);
}

#[tokio::test]
async fn a_sealed_request_is_answered_once_and_in_its_session() {
    let server = server().await;
    let (mut first, mut second) = (server.logged_in().await, server.logged_in().await);
    first.get(AUTHORIZE).await;
    second.get(AUTHORIZE).await;
    let request = first.field("request");
    second.post("/o/authorize/", &[("request", &request), ("allow", "1")]).await;
    assert_eq!((second.status, second.location.as_str()), (400, ""));
    assert!(second.page.contains("belongs to another session"), "{}", second.page);

    let consent = first.page.clone();
    first.post("/o/authorize/", &[("request", &request)]).await;
    assert_eq!((first.status, first.parameter("error").as_deref()), (303, Some("access_denied")));
    first.page = consent;
    first.post("/o/authorize/", &[("request", &request), ("allow", "1")]).await;
    assert_eq!((first.status, first.location.as_str()), (400, ""));

    first.get(AUTHORIZE).await;
    let late = first.field("request");
    server.clock.advance(TimeDelta::minutes(31));
    first.post("/o/authorize/", &[("request", &late), ("allow", "1")]).await;
    assert_eq!(first.status, 400);
    assert!(first.page.contains("open for too long"), "{}", first.page);
    first.get(AUTHORIZE).await;
    first.post("/o/authorize/", &[("request", "forged"), ("allow", "1")]).await;
    assert_eq!(first.status, 400);
}

#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let server = server().await;
    let mut browser = server.logged_in().await;
    for headers in [
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
    ] {
        browser.get("/admin/logout/").await;
        let token = browser.field("csrfmiddlewaretoken");
        browser.post_as("/admin/logout/", &[("csrfmiddlewaretoken", &token)], &headers).await;
        assert_eq!(browser.status, 403, "{headers:?}");
    }
    browser.post_as("/admin/logout/", &[], &[]).await;
    assert_eq!(browser.status, 403);
    browser.get("/admin/logout/").await;
    let token = browser.field("csrfmiddlewaretoken");
    let session = browser.cookies.clone();
    browser.post_as("/admin/logout/", &[("csrfmiddlewaretoken", &token)], &[]).await;
    assert_eq!((browser.status, browser.location.as_str()), (303, "/"));
    browser.cookies = session;
    browser.get("/o/authorized_tokens/").await;
    assert_eq!(browser.status, 302, "the session is dead, whoever kept its cookie");
}

#[tokio::test]
async fn guesses_are_counted_for_every_spelling_of_an_account() {
    let server = server().await;
    let mut browser = server.browser();
    for name in ["ada", "Ada", "ada@example.org", "ADA@Example.org", " ada "] {
        browser.log_in(name, "wrong password", "/").await;
        assert_eq!(browser.status, 200);
        assert!(browser.page.contains("do not belong together"));
    }
    browser.log_in("ada", "wrong password", "/").await;
    browser.log_in("ada", PASSWORD, "/").await;
    assert_eq!(browser.status, 429, "{}", browser.page);
    server.clock.advance(TimeDelta::seconds(60));
    browser.log_in("ada", PASSWORD, "//evil.example").await;
    assert_eq!((browser.status, browser.location.as_str()), (303, "/"));
}

#[tokio::test]
async fn a_request_may_demand_a_fresh_login_or_no_page_at_all() {
    let server = server().await;
    let mut browser = server.browser();
    browser.get(&format!("{AUTHORIZE}&prompt=none")).await;
    assert_eq!(browser.parameter("error").as_deref(), Some("login_required"));
    browser.log_in("ada", PASSWORD, "/").await;
    browser.get(&format!("{AUTHORIZE}&prompt=none")).await;
    assert_eq!(browser.parameter("error").as_deref(), Some("consent_required"));
    server.clock.advance(TimeDelta::seconds(5));
    browser.get(&format!("{AUTHORIZE}&prompt=login")).await;
    assert!(browser.location.starts_with("/admin/login/?switch=1&next="), "{}", browser.location);
    let next = browser.parameter("next").unwrap();
    browser.get(&next).await;
    assert_eq!(browser.status, 302, "coming back without a login is not enough");
    server.clock.advance(TimeDelta::seconds(5));
    browser.log_in("ada", PASSWORD, &next).await;
    browser.get(&browser.location.clone()).await;
    assert_eq!(browser.status, 200);
    assert!(browser.page.contains("Authorize Shop?"));
}

#[tokio::test]
async fn a_revoked_authorization_is_forgotten_and_its_roll_stays() {
    let server = server().await;
    let mut browser = server.logged_in().await;
    browser.get(AUTHORIZE).await;
    let request = browser.field("request");
    browser.post("/o/authorize/", &[("request", &request), ("allow", "1")]).await;
    let code = browser.parameter("code").unwrap();
    browser.get("/o/authorized_tokens/").await;
    let (_, rest) = browser.page.split_once("href=\"/o/authorized_tokens/0").unwrap();
    let page = format!("/o/authorized_tokens/0{}", rest.split('"').next().unwrap());
    browser.get(&page).await;
    assert_eq!(browser.status, 200, "{}", browser.page);
    browser.get(&format!("{page}delete/")).await;
    browser.post(&format!("{page}delete/"), &[]).await;
    assert_eq!((browser.status, browser.location.as_str()), (303, "/o/authorized_tokens/?done=revoked"));
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("client_id", "shop"),
        ("client_secret", SECRET),
    ];
    browser.post_as("/o/token/", &form, &[]).await;
    assert_eq!(browser.status, 400, "{}", browser.page);
    browser.get(AUTHORIZE).await;
    assert_eq!(browser.status, 200, "the person is asked again");
    browser.get("/").await;
    assert_eq!(browser.status, 200, "{}", browser.page);
    browser.get("/o/authorized_tokens/nothing/").await;
    assert_eq!(browser.status, 404);
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let server = server().await;
    let (mut first, mut second) = (server.logged_in().await, server.logged_in().await);
    server.clock.advance(TimeDelta::seconds(5));
    let new = "staple battery horse";
    first.get("/admin/password_change/").await;
    let form = [("old_password", PASSWORD), ("new_password1", new), ("new_password2", "other")];
    first.post("/admin/password_change/", &form).await;
    assert!(first.page.contains("The two new passwords differ."));
    let form = [("old_password", PASSWORD), ("new_password1", new), ("new_password2", new)];
    first.post("/admin/password_change/", &form).await;
    assert_eq!(first.status, 303, "{}", first.page);
    first.get("/admin/password_change/?done=changed").await;
    assert_eq!(first.status, 200);
    second.get("/admin/password_change/").await;
    assert_eq!(second.status, 302);
    second.log_in("ada", new, "/").await;
    assert_eq!(second.status, 303);
}

#[tokio::test]
async fn what_cannot_be_sent_back_is_a_page_without_a_location() {
    let server = server().await;
    let mut browser = server.browser();
    for (path, text) in [
        ("/o/authorize/?response_type=code", "Missing client_id parameter."),
        ("/o/authorize?response_type=code&client_id=nobody", "Invalid client_id parameter value."),
        ("/o/authorize/?client_id=shop&redirect_uri=https://evil.example/", "Mismatching redirect URI."),
        ("/o/authorize/?client_id=shop&client_id=shop", "Invalid client_id parameter value."),
    ] {
        browser.get(path).await;
        assert_eq!((browser.status, browser.location.as_str()), (400, ""), "{path}");
        assert!(browser.page.contains("Error: invalid_request") && browser.page.contains(text), "{path}");
    }
    let disable = ApplicationCommand::DisableApplication { at: server.clock.now() };
    server.run(disable, Beside::default()).await;
    browser.get(AUTHORIZE).await;
    assert_eq!((browser.status, browser.location.as_str()), (400, ""));
    browser.get("/noexist/callback?code=abc").await;
    assert_eq!(browser.status, 404);
    assert!(browser.page.contains("the code is in the address bar"));
}
