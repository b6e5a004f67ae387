//! How does a test get a server? One of its own in this process, on either engine, with a clock.

use std::collections::BTreeMap;

use chancery::clock::{Clock, SystemClock, TestClock};
use chancery::config::{Config, Environment};
use chancery::serve::{self, Running};
use chancery::state::AppState;
use chrono::TimeDelta;

use super::application::{App, Registration};
use super::browser::{Browser, plain_client};
use super::cli::Cli;
use super::directory::Directory;
use super::postgres::Database;
use super::prepared;
use super::request::{Answer, Request};

/// Where the events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// How a server is to be set up.
#[derive(Debug, Clone)]
pub struct Setup {
    engine: Engine,
    settings: BTreeMap<&'static str, Vec<String>>,
    file: String,
    has_users: bool,
}

/// A running server; it and everything of it is gone when dropped.
pub struct Server {
    running: Option<Running>,
    pub clock: TestClock,
    pub base: String,
    pub client: reqwest::Client,
    setup: Setup,
    // After `running`: fields are dropped in order.
    database: Option<Database>,
    pub directory: Directory,
}

impl Setup {
    pub fn new(engine: Engine) -> Self {
        Self { engine, settings: BTreeMap::new(), file: String::new(), has_users: true }
    }

    /// A setting by its key, as if given as a flag.
    pub fn set(mut self, key: &'static str, value: &str) -> Self {
        self.settings.entry(key).or_default().push(value.to_owned());
        self
    }

    /// Lines of the configuration file.
    pub fn file(mut self, toml: &str) -> Self {
        self.file.push_str(toml);
        self
    }

    /// A catalogue of scopes: name and whether default.
    pub fn scopes(self, scopes: &[(&str, bool)]) -> Self {
        scopes.iter().fold(self, |setup, (name, default)| {
            let table =
                format!("[[scopes]]\nname = \"{name}\"\ndescription = \"May {name}\"\ndefault = {default}\n");
            setup.file(&table)
        })
    }

    /// As on the first start: nobody can log in yet.
    pub fn without_users(mut self) -> Self {
        self.has_users = false;
        self
    }

    pub async fn start(self) -> Server {
        let (directory, database) = match (self.engine, self.has_users) {
            (Engine::Sqlite, true) => (Directory::copy_of(prepared::sqlite()), None),
            (Engine::Sqlite, false) => (Directory::new(), None),
            (Engine::Postgres, true) => {
                let (directory, database) = prepared::postgres();
                (Directory::copy_of(directory), Some(Database::copy_of(database)))
            }
            (Engine::Postgres, false) => (Directory::new(), Some(Database::empty())),
        };
        let clock = TestClock::at(SystemClock.now());
        let running = start(&self, &directory, database.as_ref(), "127.0.0.1:0", &clock).await;
        let base = format!("http://{}", running.addresses[0]);
        Server {
            running: Some(running),
            clock,
            base,
            client: plain_client(),
            setup: self,
            database,
            directory,
        }
    }
}

async fn start(
    setup: &Setup,
    directory: &Directory,
    database: Option<&Database>,
    listen: &str,
    clock: &TestClock,
) -> Running {
    let mut flags = setup.settings.clone();
    flags.insert("listen", vec![listen.to_owned()]);
    flags.insert("data-dir", vec![directory.text().to_owned()]);
    if let Some(database) = database {
        flags.insert("database-url", vec![database.url()]);
    }
    if !setup.file.is_empty() {
        let path = directory.path().join("chancery.toml");
        std::fs::write(&path, &setup.file).unwrap();
        flags.insert("config", vec![path.to_str().unwrap().to_owned()]);
    }
    let config = Config::load(&flags, &Environment::default()).unwrap();
    serve::start(config, clock.shared()).await.unwrap()
}

impl Server {
    /// On the embedded database.
    pub async fn sqlite() -> Self {
        Setup::new(Engine::Sqlite).start().await
    }

    /// Another node on the same database, with the same clock and issuer.
    pub async fn sibling(&self) -> Self {
        self.sibling_with(|setup| setup).await
    }

    /// The same with something set up differently.
    pub async fn sibling_with(&self, change: impl Fn(Setup) -> Setup) -> Self {
        let mut setup = change(self.setup.clone());
        setup.settings.entry("issuer").or_insert_with(|| vec![self.base.clone()]);
        let running =
            start(&setup, &self.directory, self.database.as_ref(), "127.0.0.1:0", &self.clock).await;
        let base = format!("http://{}", running.addresses[0]);
        Self {
            running: Some(running),
            clock: self.clock.clone(),
            base,
            client: self.client.clone(),
            setup,
            database: None,
            directory: Directory::new(),
        }
    }

    /// Stops and starts again on the same address and data.
    pub async fn restart(&mut self) {
        let listen = self.base.trim_start_matches("http://").to_owned();
        self.running.take().unwrap().stop().await;
        self.running =
            Some(start(&self.setup, &self.directory, self.database.as_ref(), &listen, &self.clock).await);
    }

    /// Its database, where that is PostgreSQL's.
    pub fn postgres(&self) -> &Database {
        self.database.as_ref().unwrap()
    }

    /// Takes its database away.
    pub fn lose_database(&mut self) {
        drop(self.database.take().unwrap());
    }

    /// Where it shows metrics.
    pub fn metrics(&self) -> String {
        format!("http://{}", self.running.as_ref().unwrap().metrics_addresses[0])
    }

    /// What it shows there.
    pub async fn shown_metrics(&self) -> Answer {
        Request::new(&self.client, "GET", format!("{}/metrics", self.metrics())).send().await.is(200)
    }

    /// Stops as an operator would stop it.
    pub async fn stop(mut self) {
        self.running.take().unwrap().stop().await;
    }

    /// What its handlers share.
    pub fn state(&self) -> &AppState {
        &self.running.as_ref().unwrap().state
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// The commands of this installation.
    pub fn cli(&self) -> Cli {
        Cli::at(self.directory.path(), self.database.as_ref().map(Database::url))
    }

    /// Runs a command beside the server and waits until the server has seen what it did.
    pub async fn run(&self, arguments: &[&str]) -> super::cli::Outcome {
        self.run_with(self.cli(), arguments).await
    }

    pub async fn run_with(&self, cli: Cli, arguments: &[&str]) -> super::cli::Outcome {
        let owned: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let run = move || cli.run(&owned.iter().map(String::as_str).collect::<Vec<_>>());
        let outcome = tokio::task::spawn_blocking(run).await.unwrap();
        // Another process is seen within 250 ms.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        outcome
    }

    /// A browser nobody has logged in with.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.base)
    }

    /// A browser in which this user is logged in.
    pub async fn user(&self, name: &str) -> Browser {
        let browser = self.browser();
        browser.login(name).await;
        browser
    }

    /// The usual cast: ada, logged in, and her application `A` of the attack table.
    pub async fn ada_and_app(&self) -> (Browser, App) {
        let ada = self.user("ada").await;
        let app = ada.register(&Registration::confidential()).await;
        (ada, app)
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(&self.client, method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    /// `GET /resource` with this bearer token.
    pub async fn resource(&self, token: &str) -> Answer {
        self.request("GET", "/resource").bearer(token).send().await
    }
}

/// Runs a test on the embedded database, then on PostgreSQL.
pub async fn on_both_engines(test: impl AsyncFn(Server)) {
    on_both_engines_with(|setup| setup, test).await;
}

/// The same with something set up.
pub async fn on_both_engines_with(change: impl Fn(Setup) -> Setup, test: impl AsyncFn(Server)) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Shown when the test fails.
        println!("on {engine:?}");
        test(change(Setup::new(engine)).start().await).await;
    }
}
