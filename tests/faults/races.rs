//! F23: one code and one refresh token, presented sixteen times at once to three processes; and a refresh token that
//! may be presented again.

use serde_json::Value;

use super::grants::{Family, Person};
use super::ledger::Ledger;
use super::oracle::judge;
use super::report::{is_long, record, scale};
use crate::harness::browser::plain_client;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Browser, Cli, Directory, Process, Registration, Request, Tokens, prepared};

/// How often each kind is raced for, on each engine.
const ROUNDS: usize = 200;
/// What a long run comes to.
const LONG: usize = 10_000;
const RACERS: usize = 16;
const NODES: usize = 3;

fn rounds() -> usize {
    if is_long() { LONG } else { ROUNDS * scale() }
}

/// Three server processes on one database, and an application that nobody is asked about.
struct Nodes {
    servers: [Process; NODES],
    apps: [App; NODES],
    ada: Browser,
    cli: Cli,
    // Gone after the processes that use it.
    _database: Option<Database>,
}

impl Nodes {
    async fn start(home: &Directory, database: Option<Database>) -> Self {
        let cli = Cli::at(home.path(), database.as_ref().map(Database::url));
        let callback = "https://app.example/cb";
        let register = [
            "createapplication",
            "confidential",
            "authorization-code",
            "--skip-authorization",
            "--redirect-uris",
            callback,
            "--json",
        ];
        let registered = cli.run(&register).succeeded().json();
        let ports = [free_port(), free_port(), free_port()];
        let issuer = format!("http://127.0.0.1:{}", ports[0]);
        let start = async |port| Process::start_with(&cli, home, port, &["--issuer", &issuer]).await;
        let servers = [start(ports[0]).await, start(ports[1]).await, start(ports[2]).await];
        let member = |name: &str| registered[name].as_str().unwrap().to_owned();
        let app = |server: &Process| App {
            client: plain_client(),
            base: server.base.clone(),
            client_id: member("client_id"),
            secret: member("client_secret"),
            redirect_uri: callback.to_owned(),
        };
        let apps = servers.each_ref().map(app);
        let ada = servers[0].browser();
        ada.login("ada").await;
        Self { servers, apps, ada, cli, _database: database }
    }

    async fn code(&self) -> String {
        self.ada.authorize(&self.apps[0].query()).await.is(302).code()
    }

    /// What each of the racers that won was given; whoever did not must hear `invalid_grant`.
    async fn race(&self, request: impl Fn(&App) -> Request) -> Vec<Tokens> {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..RACERS {
            racers.spawn(request(&self.apps[racer % NODES]).send());
        }
        let mut winners = Vec::new();
        while let Some(answer) = racers.join_next().await {
            let answer = answer.unwrap();
            let body: Value = answer.json();
            match answer.status {
                200 => winners.push(Tokens::of(&answer)),
                400 => assert_eq!(body["error"], "invalid_grant", "{answer:#?}"),
                _ => panic!("a racer wins or loses: {answer:#?}"),
            }
        }
        winners
    }
}

/// An application whose clients may ask again for an answer they lost: every racer is given the same pair, which the
/// next race is for.
async fn race_within_the_window(nodes: &Nodes, rounds: usize) {
    let patient = Registration::confidential().set("retry_window_seconds", "30");
    let patient = nodes.ada.register(&patient).await;
    let mut tokens = nodes.ada.tokens(&patient).await;
    for round in 0..rounds {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..RACERS {
            let app = App { base: nodes.apps[racer % NODES].base.clone(), ..patient.clone() };
            racers.spawn(app.refresh(&tokens.refresh).send());
        }
        let given: Vec<Tokens> = racers.join_all().await.iter().map(Tokens::of).collect();
        assert!(given.iter().all(|pair| *pair == given[0]), "round {round}: {given:#?}");
        assert_ne!(given[0].refresh, tokens.refresh);
        tokens = given.into_iter().next().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_invariant_04_sixteen_racers_on_three_processes_have_one_winner() {
    let sqlite = Directory::copy_of(prepared::sqlite());
    let (postgres, database) = prepared::postgres();
    let (postgres, database) = (Directory::copy_of(postgres), Database::copy_of(database));
    for (engine, home, database) in [("SQLite", &sqlite, None), ("PostgreSQL", &postgres, Some(database))] {
        let nodes = Nodes::start(home, database).await;
        let ledger = Ledger::with(Person::of(nodes.ada.clone(), nodes.apps[0].clone()));
        let rounds = rounds();
        for round in 0..rounds {
            let code = nodes.code().await;
            let mut winners = nodes.race(|app| app.redeem(&code)).await;
            assert_eq!(winners.len(), 1, "a code, round {round} on {engine}");
            // Whoever came second was told no only once it was dead.
            ledger.has_ended_all(Family::of(code, winners.remove(0)));
            let code = nodes.code().await;
            let tokens = Tokens::of(&nodes.apps[round % NODES].redeem(&code).send().await);
            let mut winners = nodes.race(|app| app.refresh(&tokens.refresh)).await;
            assert_eq!(winners.len(), 1, "a refresh token, round {round} on {engine}");
            ledger.has_ended_all(Family::of(code, winners.remove(0)));
        }
        let again = rounds / 5;
        race_within_the_window(&nodes, again).await;
        record(
            "F23",
            &format!(
                "{engine}, {NODES} processes: {rounds} races of a code and {rounds} of a refresh token, one winner each; \
                 {again} of a refresh token within its retry window, the same pair for all"
            ),
        );
        let Nodes { servers, apps, cli, _database, .. } = nodes;
        drop(servers);
        judge("F23", &cli, &apps[0], [&ledger]).await;
    }
}
