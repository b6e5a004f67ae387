//! F7: the line between a node and PostgreSQL falls silent in the middle of a command, at any of its messages, as if the
//! node were cut off, or frozen. What it holds there, which may be the row that every batch needs, is free for the
//! others before they give up; and what it has decided it does not tell once others may have gone on without it.

use std::time::{Duration, Instant};

use super::crash::until_ready;
use super::front::{is_dead, is_refusal, says, told, until_served};
use super::grants::{End, Person};
use super::ledger::{Ledger, is_given};
use super::machine::Proxy;
use super::oracle::judge;
use super::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::{UNLIMITED, free_port};
use crate::harness::{App, Browser, Cli, Directory, Process, Registration, prepared};

/// A command that sends more has not been understood: nor has one that sends less than BEGIN, a secret, the batch and
/// COMMIT.
const MOST_MESSAGES: usize = 200;
const FEWEST_MESSAGES: usize = 4;
/// The database ends a transaction in which nothing has come for a second.
const HELD: Duration = Duration::from_millis(1_500);
/// Who waited for so long did so for the one that is silent.
const LONG: Duration = Duration::from_millis(700);
/// So often it is tried to fall silent at the one message at which the row is held: other transactions say it too.
const TRIES: usize = 20;
const REGISTER: &str = "/o/applications/register/";

/// A node at the end of a line that falls silent, and one that is well.
struct Stage {
    line: Proxy,
    silent: Process,
    ada: Browser,
    well: App,
    ledger: Ledger,
}

impl Stage {
    /// A command at the one, until the line falls silent at it; meanwhile one at the other. How long that took; nothing
    /// if the line did not fall silent.
    async fn issue_beside(&self, messages: usize, word: &'static str) -> Option<Duration> {
        let form = self.ada.get(REGISTER).await.is(200).form(REGISTER);
        let form =
            Registration::machine().fields.iter().fold(form, |form, (name, value)| form.set(name, value));
        self.line.fall_silent_after(messages, word);
        let registering = self.ada.request("POST", &form.action).pairs(&form.fields);
        let registering = tokio::spawn(told(registering));
        while !self.line.is_silent() && !registering.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It may not be asked for it until now, by another message than this command's.
        let took = if self.line.is_whole() { None } else { Some(self.issue(messages, word).await) };
        self.line.speak();
        let registered = registering.await.unwrap().unwrap_or_else(|silence| panic!("{silence}"));
        assert!(
            registered.status == 303 || took.is_some() && registered.status == 503,
            "nothing was lost, and it was not done: {registered:#?}"
        );
        if registered.status == 303 {
            let (client_id, secret) = (form.value("client_id"), form.value("client_secret"));
            let new = App { client_id, secret, ..self.well.clone() };
            let given = told(new.client_credentials()).await.unwrap();
            assert_eq!(given.status, 200, "registered, and then not known: {given:#?}");
        }
        let there = App { base: self.silent.base.clone(), ..self.well.clone() };
        until_served(&there).await;
        took
    }

    async fn issue(&self, messages: usize, word: &str) -> Duration {
        let begun = Instant::now();
        let given = self.ledger.ask(&self.well, self.well.client_credentials(), is_given).await;
        let took = begun.elapsed();
        let given =
            given.unwrap_or_else(|| panic!("refused after {took:?}, beside message {messages} ({word})"));
        self.ledger.promised(given.text("access_token"));
        assert!(took < HELD, "{took:?}, beside message {messages} ({word})");
        took
    }
}

/// Two nodes, of which one is at the end of a line.
async fn two(home: &Directory, url: &str, near: &Cli) -> (Process, Process) {
    let far = Cli::at(home.path(), Some(url.to_owned()));
    let silent = Process::start_with(&far, home, free_port(), &UNLIMITED).await;
    let arguments = [&UNLIMITED[..], &["--issuer", &silent.base]].concat();
    let well = Process::start_with(near, home, free_port(), &arguments).await;
    (silent, well)
}

/// R2: a node has found a token alive, and the line falls silent when it asks for the name of whose it is. Meanwhile
/// the token is revoked on the other, which waits for as long as the one may still answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_what_was_decided_before_a_line_fell_silent_is_not_told_after_a_lease() {
    let (home, database) = prepared::postgres();
    let (home, database) = (Directory::copy_of(home), Database::copy_of(database));
    let (line, url) = Proxy::before(&database).await;
    let near = Cli::at(home.path(), Some(database.url()));
    let (silent, well) = two(&home, &url, &near).await;
    let grace = Person::named("grace", &near, &well.base).await;
    let ledger = Ledger::default();
    let family = ledger.begin(grace.door(), grace.door(), &grace).await.unwrap();
    let there = App { base: silent.base.clone(), ..grace.door().clone() };
    line.fall_silent_after(0, "subject_keys");
    let asking = tokio::spawn(told(there.introspect(family.access())));
    while !line.is_silent() {
        assert!(!asking.is_finished(), "it was not asked for the name: {asking:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (access, begun) = (family.access().to_owned(), Instant::now());
    assert!(ledger.end(grace.door(), &grace, family, End::Revoked).await, "it waits for a lease at most");
    assert!(begun.elapsed() < HELD, "what was asked for may have been given up: {:?}", begun.elapsed());
    line.speak();
    let answer = asking.await.unwrap().unwrap();
    assert!(is_refusal(&answer) || is_dead(&answer), "it lived, more than a lease ago: {answer:#?}");
    until_ready(&there).await;
    assert_eq!(says(&there, &access).await, Some(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_a_node_that_falls_silent_at_any_message_holds_nobody_for_longer_than_a_lease() {
    let (home, database) = prepared::postgres();
    let (home, database) = (Directory::copy_of(home), Database::copy_of(database));
    let (line, url) = Proxy::before(&database).await;
    let near = Cli::at(home.path(), Some(database.url()));
    let (silent, well) = two(&home, &url, &near).await;
    let ada = silent.browser();
    ada.login("ada").await;
    let app = App { base: well.base.clone(), ..ada.register(&Registration::machine()).await };
    let stage = Stage { line, silent, ada, well: app, ledger: Ledger::default() };

    let (mut messages, mut slowest) = (0, Duration::ZERO);
    while let Some(took) = stage.issue_beside(messages, "").await {
        (messages, slowest) = (messages + 1, slowest.max(took));
        assert!(messages < MOST_MESSAGES, "no end");
    }
    for _ in 0..TRIES {
        if slowest < LONG {
            slowest = slowest.max(stage.issue_beside(0, "COMMIT").await.unwrap_or_default());
        }
    }
    let Stage { silent, well: app, ledger, .. } = stage;
    drop((silent, well));
    let [totals] = judge("F7", &near, &app, [&ledger]).await;
    record(
        "F7",
        &format!(
            "the line of a node fell silent {messages} times in the middle of a command, one message later each time: the \
             other node was served meanwhile, in {} ms at most: {totals}",
            slowest.as_millis()
        ),
    );
    assert!(messages >= FEWEST_MESSAGES && totals.refused == 0, "{messages} messages, {totals}");
    assert!(slowest >= LONG, "the row that every batch needs was never held: {slowest:?}");
}
