//! What should the operator do about it? One sentence or two for every failure.

use super::Failure;
use crate::accounts::Blame;
use crate::config::{Config, Database};
use crate::journal::EngineError;
use crate::journal::archive::{ArchiveError, Broken};
use crate::journal::verify::VerifyError;
use crate::keys::RootSecretError;
use crate::open::OpenError;
use crate::serve::StartError;

const LATER: &str = "Nothing is known to have changed. Try again in a moment; the server's log says more.";

impl Failure {
    /// What the operator should do, in one sentence or two.
    pub(in crate::cli) fn advice(&self, config: &Config) -> String {
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
            Self::Archive(error) => archive_advice(error).to_owned(),
            Self::ReadTwice => "Write standard input into a file first, and name that.".to_owned(),
            Self::NotEmbedded => "See the chapter on backups in OPERATING.md.".to_owned(),
            Self::NotABackup(..) => {
                "Give a file that `chancery backup` made. The database was left as it is.".to_owned()
            }
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
            Self::NothingToAccept => {
                "Nothing was changed. If it was restored all the same, say so: `chancery acceptrollback --restored`.".to_owned()
            }
            Self::Broken => "Start it again. This is a fault of the program: report it with the log's last lines.".to_owned(),
            Self::Signals(_) => "This machine lacks what the server needs to stop cleanly; report it.".to_owned(),
        }
    }
}

fn archive_advice(error: &ArchiveError) -> &'static str {
    match error {
        ArchiveError::NotEmpty { .. } => {
            "Import into a database without a history: another --data-dir or --database-url."
        }
        ArchiveError::NoSecrets => {
            "Import it without --with-secrets, or export with them; nothing was written."
        }
        ArchiveError::OtherLog => {
            "Somebody changed it. Make the export anew and bring it over a way you trust; nothing was written."
        }
        ArchiveError::OtherRootSecret => {
            "Export with the root secret that the servers use: --root-secret-file or CHANCERY_ROOT_SECRET."
        }
        ArchiveError::Chain { what: Broken::Log, .. } => {
            "Somebody or something changed what cannot change; `chancery verify` says where. Keep a copy of the database as evidence, then restore a backup."
        }
        ArchiveError::Chain { what: Broken::Import, .. } => {
            "The file was changed while it was read. Begin anew, with a whole copy of it and an empty database; no server starts on this one."
        }
        ArchiveError::Growing => "Stop the servers, then export again; nothing was written.",
        ArchiveError::Passphrase => {
            "Give --with-secrets and the passphrase it was exported with; nothing was written."
        }
        ArchiveError::Engine(_) | ArchiveError::Keys(_) | ArchiveError::Seal => LATER,
        ArchiveError::File(_)
        | ArchiveError::Format { .. }
        | ArchiveError::Incomplete { .. }
        | ArchiveError::Chain { what: Broken::Export, .. } => {
            "Make the export anew, or bring a whole copy of it; nothing was written."
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
            "Run `chmod 600 {0}`. If others may have read it, see \"The root secret leaked\" in OPERATING.md.",
            path.display()
        ),
        OpenError::RootSecret(RootSecretError::Malformed | RootSecretError::Placeholder) => {
            "Correct --root-secret-file or CHANCERY_ROOT_SECRET. An installation that has a history needs the one it was made with.".to_owned()
        }
        OpenError::RootSecret(_) | OpenError::OtherRootSecret => {
            "The database is only readable with the root secret it was made with: restore the file from the backup, or correct --root-secret-file or CHANCERY_ROOT_SECRET.".to_owned()
        }
        OpenError::Bind(_) | OpenError::Stale(_) => LATER.to_owned(),
        OpenError::RollbackMeanwhile => "Start it again: it has the new keys then.".to_owned(),
        OpenError::Configuration(_) => {
            "See whether the database can be written: its disk may be full. `chancery verify` looks for damage.".to_owned()
        }
        OpenError::InUse => {
            "Stop the server, and let every other command end or break it off; nothing was changed.".to_owned()
        }
        OpenError::Served(_) => "Stop every server first; they are started again afterwards.".to_owned(),
        OpenError::HalfImported { .. } => {
            "Run `chancery import` with the same export again: it goes on where it was. Or give an empty database.".to_owned()
        }
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
            "Run `chancery replay` with this program; servers of the other version answer 503 from then on."
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
        Database::Postgres(_) if matches!(error, EngineError::Refused(_)) => {
            "Give the role what it lacks: it must be able to log in, to create tables in its schema once, and to read and write them (OPERATING.md, \"What there is to run\").".to_owned()
        }
        Database::Postgres(url) => format!(
            "Check that PostgreSQL runs and that {url} names the right host, database and user (DATABASE_URL or --database-url)."
        ),
    }
}

fn start_advice(error: &StartError, config: &Config) -> String {
    match error {
        StartError::Open(error) => open_advice(error, config),
        StartError::PortInUse { .. }
        | StartError::NotAllowed { .. }
        | StartError::Listen { .. }
        | StartError::TlsFile { .. }
        | StartError::Tls(_) => error.advice(),
    }
}
