//! How is this server set up? The only reader of the environment and of the configuration file.
//!
//! A flag beats an environment variable, which beats the file, which beats the default; a setting
//! has the same name in all of them ([`SETTINGS`]). What nobody reads is refused, because a
//! misspelt setting that is silently ignored is a server that runs differently than its operator believes.

mod assemble;
mod database;
mod effective;
mod environment;
mod error;
mod file;
mod issuer;
mod listen;
mod nearest;
mod scopes;
mod settings;
mod sources;
mod value;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

pub use self::database::{Database, DatabaseUrl};
pub use self::environment::Environment;
pub use self::error::{ConfigError, Problem, Source};
pub use self::issuer::Issuer;
pub use self::listen::ListenAddress;
pub use self::scopes::Scope;
pub use self::settings::{Group, Kind, Preset, SETTINGS, Setting, find_setting, settings_markdown};
pub use self::sources::Flags;

use self::sources::Sources;
use self::value::Raw;

/// Everything an operator decided, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; never empty.
    pub listen: Vec<ListenAddress>,
    /// Where to show metrics; empty shows them nowhere.
    pub metrics_listen: Vec<ListenAddress>,
    /// How long a stopping server says that it is not ready before it closes its door.
    pub drain_delay: Duration,
    /// The name clients know the server by.
    pub issuer: Issuer,
    /// Whether somebody set the issuer; else it follows the port listened on.
    pub issuer_is_set: bool,
    /// Networks whose forwarded headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The files to serve https with; `None` serves http.
    pub tls: Option<TlsFiles>,
    /// Where the embedded database and the root secret live; absolute.
    pub data_dir: PathBuf,
    /// Where it is noted how far the log was seen; absolute.
    pub checkpoint_dir: PathBuf,
    /// Where the log is kept.
    pub database: Database,
    /// How long a database call may take before its connection is given up.
    pub database_deadline: Duration,
    /// How long memory is answered from without the database's word; zero asks it every time.
    pub lease: Duration,
    /// Whether a start may migrate the database.
    pub migrate: bool,
    /// Where the server's keys come from.
    pub root_secret: RootSecretSource,
    /// What is logged and how.
    pub log: Log,
    /// Where traces go.
    pub traces: Traces,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// The scopes there are; never empty, names are unique.
    pub scopes: Vec<Scope>,
    /// The resource identifiers tokens can be meant for (RFC 8707).
    pub resources: Vec<String>,
    /// How much the server takes on.
    pub limits: Limits,
    /// The configuration file that was read, if any.
    pub file: Option<PathBuf>,
    /// What stands in that file that nobody else should know, in words; also what something else overrides.
    pub secrets_in_file: Vec<&'static str>,
}

/// The files of a TLS server, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where the root secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSecretSource {
    /// This file, made at the first start if missing.
    File(PathBuf),
    /// The configuration itself, the same on all nodes.
    Given(SecretText),
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A filter in the language of `tracing_subscriber::EnvFilter`, known to be valid.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Where the collector listens; `v1/traces` is below it. Without one there are no traces.
    pub endpoint: Option<Url>,
    /// How many of a hundred traces are sent.
    pub percent: u8,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How long things live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authorization code, until redeemed (RFC 6749 §4.1.2).
    pub code: Duration,
    /// An access token.
    pub access_token: Duration,
    /// A refresh token that is not used.
    pub refresh_token_idle: Duration,
    /// A family of refresh tokens in all.
    pub refresh_token: Duration,
    /// A login that is not used.
    pub session_idle: Duration,
    /// A login in all.
    pub session: Duration,
    /// An opened login page.
    pub login_form: Duration,
    /// An opened consent page.
    pub consent_form: Duration,
}

/// How much the server takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Requests a second of one address; zero is no limit.
    pub requests_per_address: usize,
    /// Requests a second of one client; zero is no limit.
    pub requests_per_client: usize,
    /// Commands that wait for the journal.
    pub admission_queue: usize,
    /// Aggregates in memory.
    pub aggregate_cache: usize,
    /// Token rows in memory.
    pub row_cache: usize,
    /// Failed logins of an account before it must wait.
    pub login_failures_per_account: usize,
    /// Failed logins from an address before it must wait.
    pub login_failures_per_address: usize,
    /// Passwords verified at once.
    pub argon2_concurrency: usize,
}

/// Text that is never shown: a password or a root secret as an operator wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The text, for the one who derives keys or a verifier from it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

impl Config {
    /// Assembles the configuration from flags, environment, file and defaults.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        Self::assemble(Sources::collect(flags, environment)?, environment)
    }

    /// What a file of this text, with nothing beside it, would configure.
    pub fn from_text(text: &str, environment: &Environment) -> Result<Self, ConfigError> {
        Self::assemble(Sources::of_text(text)?, environment)
    }

    fn assemble(sources: Sources, environment: &Environment) -> Result<Self, ConfigError> {
        let listen = assemble::listen(&sources)?;
        let tls = assemble::tls(&sources)?;
        let (issuer, issuer_is_set) = assemble::issuer(&sources, &listen, tls.is_some())?;
        let data_dir = assemble::data_dir(&sources, environment)?;
        Ok(Self {
            issuer,
            issuer_is_set,
            metrics_listen: assemble::metrics_listen(&sources)?,
            drain_delay: assemble::drain_delay(&sources)?,
            trusted_proxies: assemble::trusted_proxies(&sources)?,
            tls,
            checkpoint_dir: assemble::checkpoint_dir(&sources, environment, &data_dir)?,
            database: assemble::database(&sources, &data_dir)?,
            database_deadline: assemble::database_deadline(&sources)?,
            lease: assemble::lease(&sources)?,
            migrate: !sources.get("no-migrate", Raw::switch)?,
            root_secret: assemble::root_secret(&sources, &data_dir)?,
            log: assemble::log(&sources)?,
            traces: assemble::traces(&sources)?,
            lifetimes: assemble::lifetimes(&sources)?,
            scopes: assemble::scopes(&sources)?,
            resources: assemble::resources(&sources)?,
            limits: assemble::limits(&sources)?,
            file: sources.file,
            secrets_in_file: sources.secrets,
            listen,
            data_dir,
        })
    }

    /// This configuration once the system has chosen the port of an address with port 0:
    /// an issuer nobody set follows it.
    #[must_use]
    pub fn with_bound_port(mut self, port: u16) -> Self {
        if let Some(first) = self.listen.first_mut() {
            first.address.set_port(port);
            if let (false, Ok(issuer)) =
                (self.issuer_is_set, assemble::derived_issuer(*first, self.tls.is_some()))
            {
                self.issuer = issuer;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;
