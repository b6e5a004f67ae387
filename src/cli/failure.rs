//! What can go wrong with a command?

mod advice;

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use aggregates::application::ApplicationError;
use projections::read::ReadError;

use crate::accounts::{AccountError, Blame};
use crate::commands::CommandError;
use crate::config::Config;
use crate::console::Console;
use crate::journal::EngineError;
use crate::journal::archive::ArchiveError;
use crate::journal::verify::VerifyError;
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
    /// Standard input can be read once.
    #[error("an export is read twice, to be verified and then written: it must be a file")]
    ReadTwice,
    /// A file cannot be used.
    #[error("{} cannot be used", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Only the embedded database is backed up and restored here.
    #[error("PostgreSQL is backed up and restored by its own tools")]
    NotEmbedded,
    /// A file is no backup of this program's.
    #[error("{} is not a backup: {reason}", .0.display(), reason = .1)]
    NotABackup(PathBuf, VerifyError),
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
    /// Nothing was rolled back.
    #[error("there is nothing to accept: the database contains all that this node has seen of it")]
    NothingToAccept,
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
            | VerifyError::Beside { .. }
            | VerifyError::Stray { .. }
            | VerifyError::Row { .. }) => Self::Verify(other),
        }
    }
}

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
        tracing::error!(error.cause = cause, what_to_do = self.advice(config), "{self}");
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
