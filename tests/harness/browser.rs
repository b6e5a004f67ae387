//! What does a person do in a browser? Cookies are kept, redirects are looked at and not followed,
//! and every form is sent with the fields that were on its page.

use std::net::IpAddr;
use std::sync::Arc;

use reqwest::cookie::{CookieStore, Jar};
use url::Url;

use super::application::{App, Query, Registration, Tokens};
use super::form::Form;
use super::prepared::PASSWORD;
use super::request::{Answer, Request};

/// One person's browser.
#[derive(Debug, Clone)]
pub struct Browser {
    client: reqwest::Client,
    jar: Arc<Jar>,
    base: String,
}

impl Browser {
    /// One without any cookie.
    pub fn new(base: &str) -> Self {
        Self::from(base, None)
    }

    /// One at an address of its own: attempts to log in are counted for each.
    pub fn at(base: &str, address: IpAddr) -> Self {
        Self::from(base, Some(address))
    }

    fn from(base: &str, address: Option<IpAddr>) -> Self {
        let jar = Arc::new(Jar::default());
        let client = reqwest::Client::builder()
            .cookie_provider(jar.clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .local_address(address)
            .build()
            .unwrap();
        Self { client, jar, base: base.to_owned() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    /// A request as the browser would send it from one of our own pages.
    pub fn request(&self, method: &str, path: &str) -> Request {
        let request = Request::new(&self.client, method, format!("{}{path}", self.base));
        let request = request.header("accept", "text/html").header("sec-fetch-site", "same-origin");
        if method == "GET" { request } else { request.header("origin", &self.base) }
    }

    pub async fn submit(&self, form: &Form) -> Answer {
        self.request("POST", &form.action).pairs(&form.fields).send().await
    }

    /// Goes where the answer leads, on this server.
    pub async fn follow(&self, answer: &Answer) -> Answer {
        let location = answer.location();
        self.get(location.strip_prefix(&self.base).unwrap_or(&location)).await
    }

    /// The cookies it would send, as `name=value` pairs.
    pub fn cookies(&self) -> String {
        let url = Url::parse(&self.base).unwrap();
        self.jar.cookies(&url).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.cookies();
        let pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
        pairs.filter(|(field, _)| *field == name).map(|(_, value)| value.to_owned()).next()
    }

    pub fn set_cookie(&self, cookie: &str) {
        self.jar.add_cookie_str(cookie, &Url::parse(&self.base).unwrap());
    }

    // ── Logging in ──

    pub async fn try_login(&self, username: &str, password: &str) -> Answer {
        let form = self.get("/admin/login/").await.is(200).form("/admin/login/");
        self.submit(&form.set("username", username).set("password", password)).await
    }

    pub async fn login(&self, username: &str) {
        self.try_login(username, PASSWORD).await.is(303);
        assert!(self.is_logged_in().await, "{username} is not logged in");
    }

    pub async fn is_logged_in(&self) -> bool {
        self.get("/o/applications/").await.status == 200
    }

    // ── Applications ──

    pub async fn try_register(&self, registration: &Registration) -> (Answer, Form) {
        let path = "/o/applications/register/";
        let mut form = self.get(path).await.is(200).form(path);
        for (name, value) in &registration.fields {
            form = form.set(name, value);
        }
        for name in &registration.unticked {
            form = form.without(name);
        }
        (self.submit(&form).await, form)
    }

    pub async fn register(&self, registration: &Registration) -> App {
        let (answer, form) = self.try_register(registration).await;
        let answer = answer.is(303);
        let client_id = form.value("client_id");
        assert_eq!(answer.location(), format!("/o/applications/{client_id}/"));
        let redirect_uris = form.value("redirect_uris");
        App {
            client: plain_client(),
            base: self.base.clone(),
            client_id,
            secret: form.value("client_secret"),
            redirect_uri: redirect_uris.split_whitespace().next().unwrap_or_default().to_owned(),
        }
    }

    /// Opens a confirmation page below an application's page and presses its button.
    pub async fn confirm(&self, app: &App, action: &str) -> Answer {
        let path = format!("/o/applications/{}/{action}/", app.client_id);
        let form = self.get(&path).await.is(200).form(&path);
        self.submit(&form).await
    }

    // ── Authorizing ──

    pub async fn authorize(&self, query: &Query) -> Answer {
        self.request("GET", "/o/authorize/").pairs(&query.0).send().await
    }

    /// The consent form, which must come.
    pub async fn consent(&self, query: &Query) -> Form {
        self.authorize(query).await.is(200).form("/o/authorize/")
    }

    /// Allows the request; consent given before is not asked for again.
    pub async fn allow(&self, query: &Query) -> Answer {
        let answer = self.authorize(query).await;
        if answer.status == 302 {
            return answer;
        }
        let form = answer.is(200).form("/o/authorize/").press("Authorize");
        self.submit(&form).await.is(303)
    }

    pub async fn code(&self, app: &App) -> String {
        self.allow(&app.query()).await.code()
    }

    /// The whole flow with every default.
    pub async fn tokens(&self, app: &App) -> Tokens {
        let code = self.code(app).await;
        Tokens::of(&app.redeem(&code).send().await)
    }
}

/// A client without cookies, as applications use.
pub fn plain_client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}
