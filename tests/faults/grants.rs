//! What was promised to a person's application? A code, what it was redeemed for, what that was refreshed to,
//! and its end: kept as a family, which is whole or not there.

use super::front::{Front, is_alive, is_dead, told};
use super::ledger::{Ledger, is_given};
use super::oracle::of_each;
use crate::harness::request::Answer;
use crate::harness::{App, Browser, Cli, PASSWORD, Query, Request, Tokens};

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
    tokens: Tokens,
}

/// How a family is ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    Revoked,
    /// Its code is presented a second time.
    Redeemed,
}

impl Person {
    /// Somebody new at a server that runs.
    pub async fn new(cli: &Cli, base: &str) -> Self {
        Self::named("ada", cli, base).await
    }

    pub(super) async fn named(name: &str, cli: &Cli, base: &str) -> Self {
        let email = format!("{name}@example.com");
        let user = ["createuser", "--noinput", "--username", name, "--email", &email];
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
        browser.login(name).await;
        Self::of(browser, app)
    }

    /// Somebody who is logged in, with an application that is there.
    pub(super) fn of(browser: Browser, app: App) -> Self {
        Self { browser, query: app.query(), app }
    }

    /// What its application shows for itself.
    pub(super) fn secret(&self) -> &str {
        &self.app.secret
    }

    /// Where it logged in.
    pub(super) fn door(&self) -> &App {
        &self.app
    }

    /// The application, where another one is.
    pub(super) fn app_at(&self, other: &App) -> App {
        App { base: other.base.clone(), ..self.app.clone() }
    }

    /// The same where another application is.
    pub(super) fn at(&self, other: &App) -> Self {
        Self { app: self.app_at(other), ..self.clone() }
    }

    fn authorize(&self) -> Request {
        self.browser.request("GET", "/o/authorize/").pairs(&self.query.0)
    }

    async fn told(&self, request: Request) -> Answer {
        told(request).await.unwrap()
    }
}

fn has_code(answer: &Answer) -> bool {
    answer.status == 302 && answer.sent("code").is_some()
}

impl Ledger {
    /// A code becomes tokens, these become others, and one family in three is ended.
    pub(super) async fn grant(&self, front: &impl Front, person: &Person, is_ended: bool) {
        let app = &person.app;
        let Some(family) = self.begin(front, front, person).await else { return };
        self.ask(front, app.introspect(&family.tokens.access), is_alive).await;
        if !is_ended {
            return self.families.lock().unwrap().push(family);
        }
        let (access, refresh) = (family.tokens.access.clone(), family.tokens.refresh.clone());
        if self.end(front, person, family, End::Revoked).await {
            self.ask_of_the_dead(front, app, &access).await;
            self.ask(front, app.refresh(&refresh), is_dead).await;
        }
    }

    /// A family whose code, which is given at the one, was redeemed and refreshed at the other. What had no clear
    /// answer is left where it is.
    pub(super) async fn begin(
        &self,
        door: &impl Front,
        front: &impl Front,
        person: &Person,
    ) -> Option<Family> {
        let app = &person.app;
        let code = self.ask(door, person.authorize(), has_code).await?.code();
        let Some(first) = self.ask(front, app.redeem(&code), is_given).await else {
            self.codes.lock().unwrap().push(code);
            return None;
        };
        let used = Tokens::of(&first).refresh;
        let Some(second) = self.ask(front, app.refresh(&used), is_given).await else {
            self.refreshes.lock().unwrap().push(used);
            return None;
        };
        Some(Family { code, tokens: Tokens::of(&second) })
    }

    /// Ends it; whether that was acknowledged.
    pub(super) async fn end(&self, front: &impl Front, person: &Person, family: Family, how: End) -> bool {
        let app = &person.app;
        let heard = match how {
            End::Revoked => self.ask(front, app.revoke(&family.tokens.refresh), is_given).await,
            End::Redeemed => self.ask(front, app.redeem(&family.code), is_dead).await,
        };
        let kept = if heard.is_some() { &self.ended } else { &self.torn };
        kept.lock().unwrap().push(family);
        heard.is_some()
    }

    /// Every family is as it was promised: living tokens live and can be refreshed once more (L1), ended ones
    /// are dead (L2), and no code has a second success (L3).
    pub(super) async fn judge_grants(&self, person: &Person) {
        let (families, ended) = (self.families.lock().unwrap().clone(), self.ended.lock().unwrap().clone());
        let torn = self.torn.lock().unwrap().clone();
        let kinds = [(families, Some(true)), (ended, Some(false)), (torn, None)];
        let all = kinds.into_iter().flat_map(|(kind, lives)| kind.into_iter().map(move |one| (one, lives)));
        let whose = person.clone();
        of_each(all.collect(), move |(family, lives): (Family, Option<bool>)| {
            let person = whose.clone();
            async move {
                let is_alive = family.is_alive_to(&person).await;
                assert!(lives.is_none_or(|lives| lives == is_alive), "{family:?}");
                let again = person.told(person.app.redeem(&family.code)).await;
                assert!(is_dead(&again), "a code has two successes: {family:?}");
            }
        })
        .await;
        // The first time was a success of which nobody was told, or it did nothing and this is one.
        let (codes, tokens) = (self.codes.lock().unwrap().clone(), self.refreshes.lock().unwrap().clone());
        let codes = codes.iter().map(|code| person.app.redeem(code));
        for request in codes.chain(tokens.iter().map(|used| person.app.refresh(used))) {
            let second = person.told(request).await;
            assert!(second.status == 200 || is_dead(&second), "{second:#?}");
        }
    }
}

impl Family {
    pub(super) fn access(&self) -> &str {
        &self.tokens.access
    }

    /// Of a code that became these.
    pub(super) fn of(code: String, tokens: Tokens) -> Self {
        Self { code, tokens }
    }

    /// Whether it lives, which is so of all of it or of nothing. One that does has been refreshed once more
    /// afterwards.
    async fn is_alive_to(&self, person: &Person) -> bool {
        let (app, tokens) = (&person.app, &self.tokens);
        let access = person.told(app.introspect(&tokens.access)).await;
        let resource = person.told(app.resource(&tokens.access)).await;
        let refreshed = person.told(app.refresh(&tokens.refresh)).await;
        let is_alive = is_alive(&access) && resource.status == 200 && refreshed.status == 200;
        let is_dead = [&access, &resource, &refreshed].into_iter().all(is_dead);
        assert!(is_alive || is_dead, "half dead: {access:#?} {resource:#?} {refreshed:#?}");
        is_alive
    }
}
