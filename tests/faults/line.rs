//! F2: the line to PostgreSQL breaks at each message of each command, with the message or with its answer.
//! What was acknowledged is so; what was not is wholly there or wholly absent.

mod people;

use std::sync::atomic::AtomicU8;

use super::front::{is_refusal, told, until_served};
use super::grants::{Family, Person};
use super::ledger::Ledger;
use super::machine::{Proxy, Way};
use super::oracle::judge;
use super::report::record;
use crate::harness::form::Form;
use crate::harness::postgres::Database;
use crate::harness::process::{UNLIMITED, free_port};
use crate::harness::request::Answer;
use crate::harness::{App, Browser, Cli, Directory, Process, Registration, Request, Tokens, prepared};

/// Connections for batches.
const WRITING: usize = 2;
/// A command that sends more has not been understood.
const MOST_MESSAGES: usize = 200;
const REGISTER: &str = "/o/applications/register/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_a_line_that_breaks_at_any_message_leaves_a_command_whole() {
    let (home, database) = prepared::postgres();
    let (home, database) = (Directory::copy_of(home), Database::copy_of(database));
    let (line, url) = Proxy::before(&database).await;
    let far = Cli::at(home.path(), Some(url));
    let server = Process::start_with(&far, &home, free_port(), &UNLIMITED).await;
    let ada = server.browser();
    ada.login("ada").await;
    let machine = ada.register(&Registration::machine()).await;
    let web = ada.register(&Registration::confidential()).await;
    // Consent is remembered.
    ada.code(&web).await;
    let ledger = Ledger::with(Person::of(ada.clone(), web.clone()));
    let stage = Stage { ada, machine, web, line, server, ledger, strangers: AtomicU8::default() };

    let mut told = Vec::new();
    for way in [Way::There, Way::Back] {
        let broken = stage.every_command(way).await;
        // One that sends nothing would be whole whatever broke.
        assert!(broken.iter().all(|(_, times)| *times > 0), "{way:?}: {broken:?}");
        told.extend(broken.into_iter().map(|(command, times)| format!("{command} {times}")));
    }
    let Stage { machine, server, ledger, .. } = stage;
    drop(server);
    // Over a line that does not break.
    let near = Cli::at(home.path(), Some(database.url()));
    let [totals] = judge("F2", &near, &machine, [&ledger]).await;
    record(
        "F2",
        &format!(
            "PostgreSQL: the line broken at every message, there and back: {}; {totals}, nothing lost",
            told.join(", ")
        ),
    );
    assert!(totals.revoked > 0 && totals.grants > totals.ended, "all of it is asked about: {totals}");
}

/// A server at the end of a line that breaks, and who uses it.
struct Stage {
    ada: Browser,
    machine: App,
    web: App,
    line: Proxy,
    server: Process,
    /// What the two applications were given and lost. Whole at once, and asked about once more after everything that
    /// broke later.
    ledger: Ledger,
    /// How many have come.
    strangers: AtomicU8,
}

impl Stage {
    async fn every_command(&self, way: Way) -> Vec<(&'static str, usize)> {
        let mut broken = self.tokens(way).await;
        broken.extend(self.ends(way).await);
        broken.push(("register", self.register(way).await));
        broken.extend(self.applications(way).await);
        broken.extend(self.people(way).await);
        broken
    }

    /// What gives something.
    async fn tokens(&self, way: Way) -> Vec<(&'static str, usize)> {
        let Self { machine, web, ada, .. } = self;
        let nothing = async || ();
        let issue = async |()| answer_to(machine.client_credentials()).await;
        let living = async |(), said: Option<Answer>| {
            lives(machine, said.clone()).await;
            if let Some(answer) = said {
                self.ledger.promised(answer.text("access_token"));
            }
        };
        let issued = self.at_every_message(way, nothing, issue, living).await;

        let authorize = async |()| answer_to(ada.request("GET", "/o/authorize/").pairs(&web.query().0)).await;
        let usable = async |(), said: Option<Answer>| {
            if let Some(said) = said {
                lives(web, Some(web.redeem(&said.code()).send().await)).await;
            }
        };
        let authorized = self.at_every_message(way, nothing, authorize, usable).await;

        let code = async || ada.code(web).await;
        let redeem = async |code: String| answer_to(web.redeem(&code)).await;
        let again = async |code: String, said| self.once(code.clone(), said, web.redeem(&code)).await;
        let redeemed = self.at_every_message(way, code, redeem, again).await;

        let pair = async || self.pair().await;
        let refresh = async |(_, pair): (String, Tokens)| answer_to(web.refresh(&pair.refresh)).await;
        let again = async |(code, pair): (String, Tokens), said| {
            self.once(code, said, web.refresh(&pair.refresh)).await;
        };
        let refreshed = self.at_every_message(way, pair, refresh, again).await;

        vec![("issue", issued), ("authorize", authorized), ("redeem", redeemed), ("refresh", refreshed)]
    }

    /// What takes something away.
    async fn ends(&self, way: Way) -> Vec<(&'static str, usize)> {
        let Self { machine, web, ledger, .. } = self;
        let own = async || machine.client_credentials().send().await.is(200).text("access_token");
        let revoke = async |token: String| answer_to(machine.revoke(&token)).await;
        let dead = async |token: String, said: Option<Answer>| {
            let is_told = said.is_some();
            is_dead_if(said, machine, &token).await;
            if is_told { ledger.has_ended(token) } else { ledger.in_doubt(token) }
        };
        let revoked = self.at_every_message(way, own, revoke, dead).await;

        let pair = async || self.pair().await;
        let revoke = async |(_, pair): (String, Tokens)| answer_to(web.revoke(&pair.refresh)).await;
        let dead = async |(code, pair): (String, Tokens), said: Option<Answer>| {
            let kept = if said.is_some() { &ledger.ended } else { &ledger.torn };
            is_dead_if(said, web, &pair.access).await;
            kept.lock().unwrap().push(Family::of(code, pair));
        };
        let ended = self.at_every_message(way, pair, revoke, dead).await;

        vec![("revoke a token", revoked), ("revoke a family", ended)]
    }

    /// A code and what it became.
    async fn pair(&self) -> (String, Tokens) {
        let code = self.ada.code(&self.web).await;
        let pair = Tokens::of(&self.web.redeem(&code).send().await);
        (code, pair)
    }

    /// Without an answer a second try gives tokens, or the first one did. What the code came to is kept.
    async fn once(&self, code: String, said: Option<Answer>, second: Request) {
        let is_told = said.is_some();
        let given = match said {
            Some(answer) => answer,
            None => second.send().await,
        };
        if !is_told && given.status != 200 {
            return assert_eq!(given.is(400).error(), "invalid_grant");
        }
        lives(&self.web, Some(given.clone())).await;
        self.ledger.families.lock().unwrap().push(Family::of(code, Tokens::of(&given)));
    }

    async fn register(&self, way: Way) -> usize {
        let Self { machine, ada, .. } = self;
        let form = async || {
            let form = ada.get(REGISTER).await.is(200).form(REGISTER);
            Registration::machine().fields.iter().fold(form, |form, (name, value)| form.set(name, value))
        };
        let register = async |form: Form| answer_to(sent(ada, &form)).await;
        let known = async |form: Form, said: Option<Answer>| {
            let app = App {
                client_id: form.value("client_id"),
                secret: form.value("client_secret"),
                ..machine.clone()
            };
            match app.client_credentials().send().await {
                issued if issued.status == 200 => lives(&app, Some(issued)).await,
                unknown => {
                    unknown.is(401);
                    assert!(said.is_none(), "acknowledged, and unknown");
                }
            }
        };
        self.at_every_message(way, form, register, known).await
    }
}

impl Stage {
    /// Does a thing anew for each message on its way, with the line breaking at that one; in the end nothing
    /// breaks any more, and it must succeed. Returns how often the line broke.
    async fn at_every_message<T: Clone>(
        &self,
        way: Way,
        prepare: impl AsyncFn() -> T,
        act: impl AsyncFn(T) -> Option<Answer>,
        look: impl AsyncFn(T, Option<Answer>),
    ) -> usize {
        for messages in 0..MOST_MESSAGES {
            let subject = prepare().await;
            self.line.break_after(messages, way);
            let answer = act(subject.clone()).await;
            let is_over = self.line.is_whole();
            assert!(
                !is_over || answer.is_some(),
                "nothing broke, and it was not done: {}",
                self.server.log()
            );
            self.until_whole().await;
            look(subject, answer).await;
            if is_over {
                return messages;
            }
        }
        panic!("no end after {MOST_MESSAGES} messages");
    }

    /// A connection for batches that is broken is found out by the next batch on it, which is refused.
    async fn until_whole(&self) {
        for _ in 0..WRITING * 2 {
            until_served(&self.machine).await;
        }
    }
}

fn sent(browser: &Browser, form: &Form) -> Request {
    browser.request("POST", &form.action).pairs(&form.fields)
}

/// Nothing if it was refused.
async fn answer_to(request: Request) -> Option<Answer> {
    let answer = told(request).await.unwrap_or_else(|silence| panic!("{silence}"));
    if is_refusal(&answer) { None } else { Some(answer) }
}

/// What was given lives; nothing may have been given.
async fn lives(app: &App, said: Option<Answer>) {
    if let Some(answer) = said {
        assert!(app.sees_active(&answer.is(200).text("access_token")).await);
    }
}

async fn is_dead_if(said: Option<Answer>, app: &App, token: &str) {
    let is_active = app.sees_active(token).await;
    if let Some(answer) = said {
        // A person's end is acknowledged by leading on.
        assert!(matches!(answer.status, 200 | 303), "{answer:#?}");
        assert!(!is_active, "alive after its end was acknowledged");
    }
}
