//! What was promised to a person's application? A code, what it was redeemed for, what that was refreshed to,
//! and its end: kept as a family, which is whole or not there.

use serde_json::Value;
use url::form_urlencoded;

use super::ledger::{Answered, Ledger, ask, patiently};
use crate::harness::{App, Browser, Cli, PASSWORD, Query};

const CALLBACK: &str = "https://app.example/cb";

/// A person who is logged in, and an application that nobody is asked about.
#[derive(Clone)]
pub struct Person {
    browser: Browser,
    app: App,
    query: Query,
}

/// What one code became.
#[derive(Clone, Debug)]
pub struct Family {
    code: String,
    access: String,
    refresh: String,
}

impl Person {
    /// Somebody new at a server that runs.
    pub async fn at(cli: &Cli, base: &str) -> Self {
        let user = ["createuser", "--noinput", "--username", "ada", "--email", "ada@example.com"];
        cli.clone().password(PASSWORD).run(&user).succeeded();
        let register = ["createapplication", "confidential", "authorization-code", "--skip-authorization"];
        let register = [&register[..], &["--redirect-uris", CALLBACK, "--json"]].concat();
        let registered = cli.run(&register).succeeded().json();
        let member = |name: &str| registered[name].as_str().unwrap().to_owned();
        let app = App {
            client: reqwest::Client::new(),
            base: base.to_owned(),
            client_id: member("client_id"),
            secret: member("client_secret"),
            redirect_uri: CALLBACK.to_owned(),
        };
        let browser = Browser::new(base);
        browser.login("ada").await;
        Self { browser, query: app.query(), app }
    }

    /// A code, or nothing when there was no clear answer.
    async fn code(&self) -> Option<String> {
        let request = self.browser.request("GET", "/o/authorize/").pairs(&self.query.0);
        let answer = request.try_send().await.ok()?;
        let (status, location) = (answer.status().as_u16(), answer.headers().get("location").cloned());
        let location = location.map(|location| location.to_str().unwrap().to_owned()).unwrap_or_default();
        let query = location.split_once('?').map_or("", |(_, query)| query);
        let find = |wanted: &str| {
            let pairs = form_urlencoded::parse(query.as_bytes());
            pairs.into_iter().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        match (status, find("code"), find("error").as_deref()) {
            (302, Some(code), None) => Some(code),
            (503, ..) | (302, None, Some("temporarily_unavailable")) => None,
            other => panic!("a person is told a fault of ours is theirs: {other:?} {location}"),
        }
    }

    async fn ask(&self, fields: &[(&str, &str)]) -> Option<Answered> {
        ask(&self.app, "/o/token/", fields).await
    }

    async fn ask_again(&self, fields: &[(&str, &str)]) -> Answered {
        patiently(&self.app, "/o/token/", fields).await
    }

    /// Whether a token lives.
    async fn sees(&self, token: &str) -> Option<bool> {
        let answer = patiently(&self.app, "/o/introspect/", &[("token", token)]).await;
        answer.body["active"].as_bool()
    }
}

fn redeems(code: &str) -> [(&str, &str); 3] {
    [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)]
}

fn refreshes(token: &str) -> [(&str, &str); 2] {
    [("grant_type", "refresh_token"), ("refresh_token", token)]
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().unwrap_or_default().to_owned()
}

/// The first time was a success of which nobody was told, or it did nothing and this is one.
fn is_whole(second: &Answered) {
    let is_whole = second.status == 200 || text(&second.body, "error") == "invalid_grant";
    assert!(is_whole, "{} {}", second.status, second.body);
}

impl Ledger {
    /// A code becomes tokens, these become others, and one family in three is ended. Without a clear answer it
    /// is left where it is.
    pub async fn grant(&self, person: &Person, is_ended: bool) {
        let Some(code) = person.code().await else { return self.no_answer().await };
        let Some(first) = self.given(person.ask(&redeems(&code)).await).await else {
            return self.codes.lock().unwrap().push(code);
        };
        let used = text(&first, "refresh_token");
        let Some(second) = self.given(person.ask(&refreshes(&used)).await).await else {
            return self.refreshes.lock().unwrap().push(used);
        };
        let family =
            Family { code, access: text(&second, "access_token"), refresh: text(&second, "refresh_token") };
        if !is_ended {
            return self.families.lock().unwrap().push(family);
        }
        match ask(&person.app, "/o/revoke_token/", &[("token", &family.refresh)]).await {
            Some(answer) if answer.status == 200 => self.ended.lock().unwrap().push(family),
            answer => drop(self.given(answer).await),
        }
    }

    /// Tokens; nothing when there was no clear answer.
    async fn given(&self, answer: Option<Answered>) -> Option<Value> {
        match answer {
            Some(answer) if answer.status == 200 => return Some(answer.body),
            Some(answer) if answer.status == 503 => self.refused(&answer).await,
            Some(answer) => self.is_wrong(format!("a grant: {} {}", answer.status, answer.body)),
            None => self.no_answer().await,
        }
        None
    }

    /// Every family is as it was promised: living tokens live and can be refreshed once more (L1), ended ones
    /// are dead (L2), and no code has a second success (L3). How many there are, and how many of them ended.
    pub async fn judge_grants(&self, person: &Person) -> (usize, usize) {
        let families = self.families.lock().unwrap().clone();
        let ended = self.ended.lock().unwrap().clone();
        for family in &families {
            assert_eq!(person.sees(&family.access).await, Some(true), "{family:?}");
            let refreshed = person.ask_again(&refreshes(&family.refresh)).await;
            assert_eq!(refreshed.status, 200, "{family:?}: {}", refreshed.body);
        }
        for family in &ended {
            assert_eq!(person.sees(&family.access).await, Some(false), "{family:?}");
            let refreshed = person.ask_again(&refreshes(&family.refresh)).await;
            assert_eq!(text(&refreshed.body, "error"), "invalid_grant", "{family:?}");
        }
        for family in families.iter().chain(&ended) {
            let again = person.ask_again(&redeems(&family.code)).await;
            assert_eq!(text(&again.body, "error"), "invalid_grant", "a code has two successes: {family:?}");
        }
        let (codes, tokens) = (self.codes.lock().unwrap().clone(), self.refreshes.lock().unwrap().clone());
        for code in codes {
            is_whole(&person.ask_again(&redeems(&code)).await);
        }
        for used in tokens {
            is_whole(&person.ask_again(&refreshes(&used)).await);
        }
        (families.len() + ended.len(), ended.len())
    }
}
