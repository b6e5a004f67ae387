//! Does the log keep its promises on both engines? (ARCHITECTURE.md, "Invariants")

mod connections;
mod differential;
mod durability;
mod eventual;
mod hints;
mod horizon;
mod kept;
mod order;
mod outcomes;
mod races;
mod reads;
mod refusals;
mod replays;
mod tampering;
mod trials;

use std::sync::Arc;
use std::time::Duration;

use aggregates::application::{
    Application, ApplicationCommand, ApplicationSettings, ApplicationType, Provenance,
};
use aggregates::authorization::{Authorization, AuthorizationCommand, AuthorizationRequest, ConsentBasis};
use aggregates::client_token::{ClientToken, ClientTokenCommand};
use aggregates::values::{ClientType, GrantType, NewToken, RedirectUri, RefreshTerms, Scope};
use chancery::clock::{SharedClock, SystemClock};
use chancery::commands::{Actor, Commands, Executed, Origin, Stream};
use chancery::journal::postgres::PostgresEngine;
use chancery::journal::sqlite::SqliteEngine;
use chancery::journal::{Capacity, Engine, Journal};
use chancery::keys::{Keys, RootSecret};
use chancery::personal::PersonalData;
use chancery::places::Places;
use chancery::secret::new_id;
use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::metrics::counter::Counter;

use crate::harness::directory::Directory;
use crate::harness::postgres::Database;

pub const CALLBACK: &str = "https://app.example/cb";
const DEADLINE: Duration = Duration::from_secs(20);
const CAPACITY: Capacity = Capacity { rows: 10_000, aggregates: 1_000 };

/// A database of one engine, on which any number of nodes can be opened.
pub enum Place {
    Sqlite(Directory),
    Postgres(Database),
}

impl Place {
    pub fn both() -> [Self; 2] {
        [Self::Sqlite(Directory::new()), Self::Postgres(Database::empty())]
    }

    pub async fn engine(&self) -> Arc<dyn Engine> {
        let engine: Arc<dyn Engine> = match self {
            Self::Sqlite(directory) => {
                Arc::new(SqliteEngine::open(&directory.path().join("chancery.db"), DEADLINE).unwrap())
            }
            Self::Postgres(database) => Arc::new(PostgresEngine::new(&database.url(), 8, DEADLINE).unwrap()),
        };
        engine.migrate().await.unwrap();
        engine
    }

    pub async fn node(&self) -> Node {
        Node::on(self.engine().await).await
    }
}

pub fn keys() -> Arc<Keys> {
    Arc::new(Keys::derive(&RootSecret::from_text(&"k".repeat(43)).unwrap()).unwrap())
}

/// One process's view of a database.
#[derive(Clone)]
pub struct Node {
    pub journal: Journal,
    pub commands: Commands,
    pub clock: SharedClock,
    pub origin: Origin,
}

impl Node {
    pub async fn on(engine: Arc<dyn Engine>) -> Self {
        let clock = SystemClock::shared();
        let journal = Journal::open(engine, clock.clone(), CAPACITY).await.unwrap();
        let personal = PersonalData::new(journal.clone(), keys());
        let commands =
            Commands::new(journal.clone(), personal, clock.clone(), Places::new(4096, Counter::default()));
        let origin = Origin::internal(Actor::Operator, &clock);
        Self { journal, commands, clock, origin }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub fn id(&self) -> String {
        new_id(self.now())
    }

    pub async fn register(&self, client_id: &str) -> Executed<Application> {
        let at = self.now();
        let command = ApplicationCommand::RegisterApplication {
            client_id: client_id.to_owned(),
            owner: None,
            settings: settings(),
            secret: None,
            provenance: Provenance::CommandLine,
            at,
        };
        self.commands.execute(Stream::Existing(client_id.to_owned()), command, &self.origin).await.unwrap()
    }

    pub async fn grant(&self) -> String {
        let id = self.id();
        let command = self.grant_command(&id);
        let granted =
            self.commands.execute::<Authorization>(Stream::Fresh(id.clone()), command, &self.origin).await;
        granted.unwrap();
        id
    }

    pub fn grant_command(&self, id: &str) -> AuthorizationCommand {
        let at = self.now();
        AuthorizationCommand::GrantAuthorization {
            authorization_id: id.to_owned(),
            request: AuthorizationRequest {
                client_id: "client".to_owned(),
                subject: "subject".to_owned(),
                session_id: "session".to_owned(),
                scope: Scope::parse("read write").unwrap(),
                resource: Vec::new(),
                redirect_uri: CALLBACK.to_owned(),
                redirect_uri_sent: true,
            },
            code_challenge: None,
            nonce: None,
            auth_time: at,
            methods: vec!["pwd".to_owned()],
            basis: ConsentBasis::Asked,
            code_expires_at: at + TimeDelta::minutes(10),
            at,
        }
    }

    pub fn redeem_command(&self) -> AuthorizationCommand {
        let at = self.now();
        AuthorizationCommand::RedeemCode {
            client_id: "client".to_owned(),
            redirect_uri: Some(CALLBACK.to_owned()),
            verifier: None,
            resource: Vec::new(),
            access: self.token(),
            refresh: Some(RefreshTerms {
                idle_expires_at: at + TimeDelta::days(30),
                absolute_expires_at: at + TimeDelta::days(180),
            }),
            at,
        }
    }

    pub fn refresh_command(&self, generation: u32) -> AuthorizationCommand {
        let at = self.now();
        AuthorizationCommand::RefreshToken {
            client_id: "client".to_owned(),
            generation,
            scope: None,
            allowed_scope: Scope::parse("read write").unwrap(),
            resource: Vec::new(),
            access: self.token(),
            idle_expires_at: at + TimeDelta::days(30),
            retry_window: 0,
            at,
        }
    }

    pub fn token(&self) -> NewToken {
        NewToken { id: self.id(), expires_at: self.now() + TimeDelta::hours(10), confirmation: None }
    }

    pub async fn authorize(
        &self,
        id: &str,
        command: AuthorizationCommand,
    ) -> Result<Executed<Authorization>, Refused> {
        self.commands
            .execute(Stream::Existing(id.to_owned()), command, &self.origin)
            .await
            .map_err(Refused::from)
    }

    pub async fn issue(&self) -> Result<String, Refused> {
        let token = self.token();
        let id = token.id.clone();
        let command = ClientTokenCommand::IssueToken {
            client_id: "client".to_owned(),
            token,
            scope: Scope::parse("read").unwrap(),
            resource: Vec::new(),
            at: self.now(),
        };
        let issued =
            self.commands.execute::<ClientToken>(Stream::Fresh(id.clone()), command, &self.origin).await;
        issued.map(|_| id).map_err(Refused::from)
    }
}

/// Why a command was not carried out, for tests that only tell two kinds apart.
#[derive(Debug)]
pub enum Refused {
    ByTheAggregate(String),
    ByUs(String),
}

impl<E: std::error::Error> From<chancery::commands::CommandError<E>> for Refused {
    fn from(error: chancery::commands::CommandError<E>) -> Self {
        use chancery::commands::CommandError;
        match error {
            CommandError::Refused(reason) => Self::ByTheAggregate(reason.to_string()),
            CommandError::Claimed(_)
            | CommandError::Busy
            | CommandError::Unavailable(_)
            | CommandError::Damaged(_) => Self::ByUs(error.to_string()),
        }
    }
}

pub fn settings() -> ApplicationSettings {
    ApplicationSettings {
        name: "Reports".to_owned(),
        client_type: ClientType::Public,
        application_type: ApplicationType::Web,
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        redirect_uris: vec![RedirectUri::parse(CALLBACK, false).unwrap()],
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

/// Verifies and returns how many events there are.
pub async fn verified(engine: &dyn Engine) -> i64 {
    chancery::journal::verify::verify(engine, &|_, _| ()).await.unwrap().events
}
