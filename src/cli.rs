//! Which commands are there, and what may be said to them?
//!
//! Definitions only: each command is carried out by the file of its name in `src/cli/`.
//! The settings every command understands come from [`config::SETTINGS`](crate::config::SETTINGS),
//! so a flag, a variable and a key of the file cannot drift apart.
//! A password is never an argument: arguments are visible to everybody on a machine.

mod acceptrollback;
mod arguments;
mod ask;
mod backup;
mod changepassword;
mod config;
mod createapplication;
mod createuser;
mod disableapplication;
mod doctor;
mod draft;
mod export;
mod failure;
mod import;
mod lockuser;
mod migrate;
mod options;
mod readmodels;
mod replay;
mod restore;
mod run;
mod seen;
mod serve;
mod verify;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::arguments::{
    AcceptRollback, ApplicationName, Backup, ChangePassword, ClientType, CreateApplication, CreateUser,
    Export, GrantType, Import, ReplayNames, Report, Restore, ShowConfig, SigningAlgorithm, UserName,
};
pub use self::options::Options;
pub use self::run::run;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "chancery",
    version,
    about = "An event-sourced OAuth 2.1 and OpenID Connect authorization server",
    long_about = "An event-sourced OAuth 2.1 and OpenID Connect authorization server.\n\n\
        Without a command it serves on http://127.0.0.1:8000, with an embedded database in your data directory.\n\
        Every setting is a flag, an environment variable or a line of the configuration file, in this order \
        of precedence, under one name: --max-body, CHANCERY_MAX_BODY, max-body.",
    after_long_help = "Examples:\n  \
        chancery createsuperuser\n  \
        chancery\n  \
        chancery --listen 127.0.0.1:9000 --data-dir ./data\n  \
        DATABASE_URL=postgres://chancery@db/chancery chancery --issuer https://login.example.com",
    after_help = "Every setting: chancery --help. What is in force: chancery config.",
    subcommand_help_heading = "Commands",
    max_term_width = 100
)]
pub struct Cli {
    /// The settings given as flags, before or after the command.
    #[command(flatten)]
    pub options: Options,
    /// What to do; without a command: serve.
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve (what happens without a command)
    #[command(
        long_about = "Serve OAuth endpoints and pages until interrupted. On SIGTERM or Ctrl-C requests in \
            progress are finished first.",
        after_long_help = "Example:\n  chancery serve --listen localhost:8000"
    )]
    Serve,
    /// Bring the database to this version's schema
    #[command(
        long_about = "Bring the database to this version's schema and stop. A start does the same unless \
            --no-migrate is set; use this command where starts must not change the schema. Running it again \
            changes nothing.",
        after_long_help = "Example:\n  chancery migrate --database-url postgres://chancery@db/chancery"
    )]
    Migrate,
    /// Create a user who may see and change everything
    #[command(
        long_about = "Create a user who may see and change everything. Asks for what is not given; the password \
            is typed twice. A running server knows the user at once.",
        after_long_help = "Examples:\n  \
            chancery createsuperuser\n  \
            CHANCERY_PASSWORD=… chancery createsuperuser --noinput --username ada --email ada@example.com"
    )]
    Createsuperuser(CreateUser),
    /// Create an ordinary user
    #[command(
        long_about = "Create an ordinary user, who can log in, allow applications and manage applications of \
            their own. Asks for what is not given; the password is typed twice.",
        after_long_help = "Example:\n  \
            chancery createuser --username ada --email ada@example.com --password-stdin < password.txt"
    )]
    Createuser(CreateUser),
    /// Register an application (an OAuth client)
    #[command(
        long_about = "Register an application, which is what OAuth calls a client. A client secret that is not \
            given is generated and printed once; only a verifier of it is kept.",
        after_long_help = "Examples:\n  \
            chancery createapplication confidential authorization-code --name Shop \\\n    \
            --redirect-uris https://shop.example.com/callback\n  \
            chancery createapplication confidential client-credentials --name 'Nightly job' --json"
    )]
    Createapplication(Box<CreateApplication>),
    /// Set a user's password
    #[command(
        long_about = "Set a user's password and end the user's sessions. The password is asked for twice, or \
            read from standard input or CHANCERY_PASSWORD.",
        after_long_help = "Example:\n  chancery changepassword ada"
    )]
    Changepassword(ChangePassword),
    /// Lock a user out
    #[command(
        long_about = "Lock a user out: logging in is refused, and the user's sessions and the tokens given in \
            the user's name are dead at once, also after `unlockuser`.",
        after_long_help = "Example:\n  chancery lockuser ada"
    )]
    Lockuser(UserName),
    /// Let a locked user in again
    #[command(
        long_about = "Let a locked user log in again. Sessions and tokens from before stay dead.",
        after_long_help = "Example:\n  chancery unlockuser ada"
    )]
    Unlockuser(UserName),
    /// Disable an application and its tokens
    #[command(
        long_about = "Disable an application: it can ask for nothing any more, and its tokens are dead at \
            once, also after `enableapplication`.",
        after_long_help = "Example:\n  chancery disableapplication 4fXbq0Yl"
    )]
    Disableapplication(ApplicationName),
    /// Enable a disabled application
    #[command(
        long_about = "Let a disabled application ask for tokens again. Tokens from before stay dead; people \
            whose consent is remembered are not asked again.",
        after_long_help = "Example:\n  chancery enableapplication 4fXbq0Yl"
    )]
    Enableapplication(ApplicationName),
    /// Prove that the history is whole
    #[command(
        long_about = "Walk the whole log: recompute its chain of hashes, and compare with the events what is \
            written together with them: read models, names that are taken, states of long histories. Then \
            see whether it holds all that the servers with this data directory have seen of it. Names the \
            first thing that does not fit and exits with 1. Reads only; the server may run meanwhile. \
            `replay timeline` compares the timeline, which follows the log.",
        after_long_help = "Example:\n  chancery verify --config /etc/chancery/chancery.toml"
    )]
    Verify(Report),
    /// Write the whole log into a file
    #[command(
        long_about = "Write the whole log into a file of JSON lines, its chain of hashes verified: to move it to \
            another database, or to analyse it. Verifiers, keys and the root secret are left out unless \
            --with-secrets is given, and are then sealed with a passphrase (age). Whoever gets hold of the file can \
            guess at that for years: it must have 20 characters, best six random words. The server may run \
            meanwhile; to move an installation, stop it first.",
        after_long_help = "Examples:\n  chancery export events.ndjson\n  chancery export move.ndjson --with-secrets\n  \
            chancery export - | jq -r '.event_type // empty' | sort | uniq -c"
    )]
    Export(Export),
    /// Read a log that was exported into an empty database
    #[command(
        long_about = "Read a log that `export` wrote into a database without a history, on either engine. The \
            file is verified whole before anything is written; an import that was interrupted goes on where it \
            was when it is run again, and until then no server starts on it. Read models follow from the events. \
            With --with-secrets the root secret is put in its place, unless one is there. What was revoked after \
            the export is not in it: where no server has seen the log, it must be accepted with `acceptrollback` \
            before one starts, as a backup must, unless --moved says that nothing happened after the export.",
        after_long_help = "Example:\n  \
            DATABASE_URL=postgres://chancery@db/chancery chancery import move.ndjson --with-secrets --moved"
    )]
    Import(Import),
    /// Copy the embedded database into a file
    #[command(
        long_about = "Copy the embedded database into a file while the server goes on, and verify the copy. The \
            root secret is not in it: keep that somewhere else. PostgreSQL is backed up by its own tools.",
        after_long_help = "Example:\n  chancery backup /backup/chancery-2026-11-25.db"
    )]
    Backup(Backup),
    /// Put a backup in the place of the embedded database
    #[command(
        long_about = "Verify a backup and put it in the place of the embedded database. No server may run on it. \
            A backup that is older than what the server has seen, or is restored where no server \
            has seen it, must be accepted afterwards with `acceptrollback`.",
        after_long_help = "Example:\n  chancery restore /backup/chancery-2026-11-25.db --replace"
    )]
    Restore(Restore),
    /// Go on with a database that was restored from a backup
    #[command(
        long_about = "Go on with a database that ends before what this node has seen of it, as one restored from \
            a backup does. A server refuses to start on it, because tokens that were revoked after the backup \
            would live again. This makes every code, token and session issued before invalid, and is an event \
            of the log, where every other node finds it: once is enough. Stop all servers first. Where nothing \
            is missing of what this node has seen it refuses, unless you say that the database was restored.",
        after_long_help = "Examples:\n  chancery acceptrollback --config /etc/chancery/chancery.toml\n  chancery \
            acceptrollback --restored"
    )]
    Acceptrollback(AcceptRollback),
    /// Show how far each read model is
    #[command(
        long_about = "Show each read model: the version of its tables, the last event it contains, how many it \
            has yet to take, and the event at which it stands still if it does. Exits with 1 if one stands \
            still.",
        after_long_help = "Example:\n  chancery readmodels"
    )]
    Readmodels(Report),
    /// Rebuild read models from the events
    #[command(
        long_about = "Rebuild read models from the events, beside the live ones, and put them in their place in \
            one moment; servers go on meanwhile. Says in how many rows the live ones differed. A replay that \
            was interrupted is taken up where it was. Needed after an upgrade that says so, and after a \
            read model was found to differ from its events.",
        after_long_help = "Examples:\n  chancery replay\n  chancery replay tokens timeline"
    )]
    Replay(ReplayNames),
    /// Say what is unsafe in this configuration
    #[command(
        long_about = "Look for what is unsafe or will not work in this configuration: an issuer without https, \
            a secret file others can read, a database that does not answer. Exits with 1 if there is anything.",
        after_long_help = "Example:\n  chancery doctor --config /etc/chancery/chancery.toml"
    )]
    Doctor(Report),
    /// Show the configuration in force, without secrets
    #[command(
        long_about = "Show the configuration in force, every setting by its name. Passwords and secrets are not \
            shown.",
        after_long_help = "Example:\n  chancery config --config /etc/chancery/chancery.toml --json"
    )]
    Config(ShowConfig),
}

impl Cli {
    /// Reads a command line, program name first. The error knows how to print itself and its exit code;
    /// asking for help or the version is one, too.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut definition = definition();
        let matches = definition.try_get_matches_from_mut(arguments)?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))?;
        match cli.refusal() {
            None => Ok(cli),
            Some(refusal) => Err(definition.error(ErrorKind::InvalidValue, refusal)),
        }
    }

    /// What to do.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// What clap cannot express: an option that exists elsewhere and is refused here with a reason.
    fn refusal(&self) -> Option<arguments::Refusal> {
        if let Some(Command::Createapplication(arguments)) = &self.command {
            return arguments.refusal();
        }
        None
    }
}

/// The whole definition. Every command takes every setting, but the help of those that do not serve
/// shows only where the data is: thirty lines about listening and limits would bury what they are about.
fn definition() -> clap::Command {
    let mut definition = <Cli as CommandFactory>::command();
    definition.build();
    definition.mut_subcommands(|command| {
        if command.get_name() == "serve" {
            return command;
        }
        command.mut_args(|argument| match options::find(argument.get_id().as_str()) {
            Some(setting) => argument.hide(!setting.says_where_data_is()),
            None => argument,
        })
    })
}

#[cfg(test)]
mod tests;
