//! What can go wrong with a command, and what should the operator do about it?

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use aggregates::application::ApplicationError;
use projections::read::ReadError;

use crate::accounts::{AccountError, Blame};
use crate::commands::CommandError;
use crate::config::{Config, Database};
use crate::console::Console;
use crate::journal::EngineError;
use crate::journal::archive::ArchiveError;
use crate::journal::verify::VerifyError;
use crate::keys::RootSecretError;
use crate::open::OpenError;
use crate::registration::RegisterError;
use crate::serve::StartError;
use crate::templates::components::FormErrors;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Threads cannot be started.
    #[error("the program cannot start its threads")]
    Runtime(#[source] io::Error),
    /// Traces cannot be sent anywhere.
    #[error("nothing can be sent to the collector of `otlp-endpoint`")]
    Traces(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The state cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server cannot start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Nobody can be asked.
    #[error("nothing can be read from the terminal or standard input")]
    Prompt(#[source] io::Error),
    /// An option that nobody can be asked for.
    #[error("{0} is missing, and nothing may be asked")]
    MissingOption(&'static str),
    /// No password was given.
    #[error("no password was given")]
    NoPassword,
    /// No such user.
    #[error("there is no user called {0}")]
    UnknownUser(String),
    /// No such application.
    #[error("there is no application with the client id {0}")]
    UnknownApplication(String),
    /// An account cannot be made or changed.
    #[error("{}", of_field(.0))]
    Account(#[from] AccountError),
    /// Fields of an application are wrong; each is said.
    #[error("Please correct the following errors:{}", listed(.0))]
    Fields(FormErrors),
    /// An application cannot be registered.
    #[error(transparent)]
    Register(RegisterError),
    /// An application cannot be changed.
    #[error(transparent)]
    Application(CommandError<ApplicationError>),
    /// A read model does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is nothing to look at yet.
    #[error("there is no database at {} yet", .0.display())]
    NothingYet(PathBuf),
    /// An export cannot be made or read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file cannot be used.
    #[error("{} cannot be used", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Only the embedded database is restored here.
    #[error("PostgreSQL is restored by its own tools")]
    NotEmbedded,
    /// There is a database already.
    #[error("there is a database at {}", .0.display())]
    DatabaseExists(PathBuf),
    /// A read model stands still, as has been said.
    #[error("the read model {0} stands still")]
    Stopped(&'static str),
    /// There is no read model of this name.
    #[error("there is no read model {0}")]
    UnknownReadModel(String),
    /// The history is not whole.
    #[error(transparent)]
    Verify(VerifyError),
    /// The doctor found something, and has said so.
    #[error("{0} of the findings above should be looked at")]
    Findings(usize),
    /// A result cannot be written as JSON.
    #[error("the result cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// The server stopped because a part of it had.
    #[error("a part of the server has ended, and the rest was stopped")]
    Broken,
    /// The system does not tell about signals.
    #[error("the system does not pass on its signals")]
    Signals(#[source] io::Error),
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Refused(errors) => Self::Fields(errors),
            other @ (RegisterError::Read(_) | RegisterError::Secret(_) | RegisterError::Command(_)) => {
                Self::Register(other)
            }
        }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Engine(error) => Self::Engine(error),
            other @ (VerifyError::Density { .. }
            | VerifyError::Chain { .. }
            | VerifyError::Head { .. }
            | VerifyError::Event { .. }
            | VerifyError::Row { .. }) => Self::Verify(other),
        }
    }
}

const LATER: &str = "Nothing is known to have changed. Try again in a moment; the server's log says more.";

impl Failure {
    /// A refused change of an application.
    pub(super) fn application(client_id: &str, error: CommandError<ApplicationError>) -> Self {
        match error {
            CommandError::Refused(ApplicationError::Unknown | ApplicationError::Deleted) => {
                Self::UnknownApplication(client_id.to_owned())
            }
            other @ (CommandError::Refused(_)
            | CommandError::Claimed(_)
            | CommandError::Busy
            | CommandError::Unavailable(_)
            | CommandError::Damaged(_)) => Self::Application(other),
        }
    }

    /// Says it on the terminal.
    pub(super) fn say(&self, console: Console, config: &Config) {
        console.fail(self, &self.advice(config));
    }

    /// The same in the log, where a server has nothing else.
    pub(super) fn log(&self, config: &Config) {
        let causes = std::iter::successors(self.source(), |cause| (*cause).source());
        let cause = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        let advice = self.advice(config);
        tracing::error!(error.cause = cause, error.advice = advice, "{self}");
    }

    /// What the operator should do, in one sentence or two.
    fn advice(&self, config: &Config) -> String {
        match self {
            Self::Open(error) => open_advice(error, config),
            Self::Start(error) => start_advice(error, config),
            Self::Engine(error) | Self::Archive(ArchiveError::Engine(error)) => database_advice(error, config),
            Self::Read(_) => database_advice(&EngineError::Unavailable(String::new()), config),
            Self::Traces(_) => "Look at the address, or leave `otlp-endpoint` out.".to_owned(),
            Self::Runtime(_) => "Look at the limits of this user and machine (ulimit -u, free memory).".to_owned(),
            Self::Prompt(_) => "Run it in a terminal, or give --password-stdin, or --noinput with CHANCERY_PASSWORD.".to_owned(),
            Self::MissingOption(option) => format!("Give {option}, or leave --noinput and --password-stdin out to be asked."),
            Self::NoPassword => {
                "Set CHANCERY_PASSWORD with --noinput, write it into standard input with --password-stdin, or run without both to be asked.".to_owned()
            }
            Self::UnknownUser(_) => {
                "Check the spelling, and with `chancery config` that this is the database you mean.".to_owned()
            }
            Self::UnknownApplication(_) => {
                "The client id is on the application's page; a deleted application cannot be changed.".to_owned()
            }
            Self::Account(error) => match error.blame() {
                Blame::Field(_) => "Run the command again with another one.".to_owned(),
                Blame::Nobody => "Check the spelling.".to_owned(),
                Blame::Server => LATER.to_owned(),
            },
            Self::Fields(_) => "Nothing was registered. Correct the options and run the command again.".to_owned(),
            Self::Register(_) | Self::Application(_) | Self::Json(_) => LATER.to_owned(),
            Self::NothingYet(_) => {
                "Start the server once, or check --data-dir; `chancery config` shows what is in force.".to_owned()
            }
            Self::Stopped(_) => {
                "`chancery verify` says whether the event was damaged; then restore a backup. Otherwise this program is too old for the event: install a newer one. Nothing but this read model is affected.".to_owned()
            }
            Self::Archive(ArchiveError::File(_)) | Self::File(..) => {
                "Give the path of a file this user may use, on a disk with room; a new file must not exist.".to_owned()
            }
            Self::Archive(ArchiveError::NotEmpty { .. }) => {
                "Import into a database without a history: another --data-dir or --database-url.".to_owned()
            }
            Self::Archive(ArchiveError::Passphrase) => {
                "Give --with-secrets and the passphrase it was exported with; nothing was written.".to_owned()
            }
            Self::Archive(_) => "Make the export anew, or bring a whole copy of it; nothing was written.".to_owned(),
            Self::NotEmbedded => "See the chapter on backups in OPERATING.md.".to_owned(),
            Self::DatabaseExists(_) => {
                "Give --replace to put the backup in its place; it is kept beside it.".to_owned()
            }
            Self::UnknownReadModel(_) => "`chancery readmodels` lists them.".to_owned(),
            Self::Verify(VerifyError::Row { .. }) => {
                "The history is whole, but this row of a read model does not follow from it. Keep a copy of the database as evidence, then run `chancery replay`, which makes the read models anew.".to_owned()
            }
            Self::Verify(_) => {
                "Somebody or something changed what cannot change. Keep a copy of the database as evidence, then restore a backup.".to_owned()
            }
            Self::Findings(_) => "Each says what to do; `chancery doctor --json` is for scripts.".to_owned(),
            Self::Broken => "Start it again. This is a fault of the program: report it with the log's last lines.".to_owned(),
            Self::Signals(_) => "This machine lacks what the server needs to stop cleanly; report it.".to_owned(),
        }
    }
}

fn open_advice(error: &OpenError, config: &Config) -> String {
    match error {
        OpenError::DataDirectory { path, .. } => format!(
            "Make {} writable for this user, or give another directory with --data-dir.",
            path.display()
        ),
        OpenError::RootSecret(RootSecretError::OpenToOthers { path, .. }) => format!(
            "Run `chmod 600 {0}`. If others may have read it, replace it: every token and session then ends.",
            path.display()
        ),
        OpenError::RootSecret(_) | OpenError::OtherRootSecret => {
            "The database is only readable with the root secret it was made with: restore the file from the backup, or correct --root-secret-file or CHANCERY_ROOT_SECRET.".to_owned()
        }
        OpenError::Bind(_) => LATER.to_owned(),
        OpenError::InUse => "Stop the server first; it is started again afterwards.".to_owned(),
        OpenError::Rollback(error) => error.advice().to_owned(),
        OpenError::Database { error, .. } => database_advice(error, config),
        OpenError::MigrationsPending(_) => {
            "Run `chancery migrate` after a backup, or start without --no-migrate.".to_owned()
        }
        OpenError::Keys(_) | OpenError::Templates(_) => "This is a fault of the program; report it.".to_owned(),
    }
}

fn database_advice(error: &EngineError, config: &Config) -> String {
    if let EngineError::OtherVersion { stored, own, .. } = error {
        return if stored < own {
            "Run `chancery replay` with this program, then start it; older servers answer 503 from then on."
        } else {
            "Start a program that is at least as new as the one that rebuilt them."
        }
        .to_owned();
    }
    let is_damage = matches!(error, EngineError::Damaged(_));
    match &config.database {
        Database::Embedded(path) if is_damage => format!(
            "Keep a copy of {0} and of {0}-wal, then restore a backup; `chancery verify` says where the damage begins.",
            path.display()
        ),
        Database::Embedded(path) => format!(
            "Check that this user may read and write {} and that the disk is not full; another process may hold it for long.",
            path.display()
        ),
        Database::Postgres(_) if is_damage => {
            "Keep a copy of the database, then restore a backup; `chancery verify` says where the damage begins.".to_owned()
        }
        Database::Postgres(url) => format!(
            "Check that PostgreSQL runs and that {url} names the right host, database and user (DATABASE_URL or --database-url)."
        ),
    }
}

/// Forms show an error beside its field; here the field must be named.
fn of_field(error: &AccountError) -> String {
    match error.blame() {
        Blame::Field(field) => format!("{field}: {error}"),
        Blame::Nobody | Blame::Server => error.to_string(),
    }
}

fn listed(errors: &FormErrors) -> String {
    errors.iter().fold(String::new(), |mut list, error| {
        list.push_str("\n - ");
        list.push_str(error.field);
        list.push_str(": ");
        list.push_str(&error.message);
        list
    })
}

fn start_advice(error: &StartError, config: &Config) -> String {
    match error {
        StartError::Open(error) => open_advice(error, config),
        StartError::PortInUse { .. }
        | StartError::NotAllowed { .. }
        | StartError::Listen { .. }
        | StartError::TlsFile { .. }
        | StartError::Tls(_)
        | StartError::Configuration(_) => error.advice(),
    }
}
