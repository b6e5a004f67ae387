//! `import`: a log that was exported, into an empty database. What could refuse it is asked before anything is
//! written, and a log that is brought here is not served before somebody knows what became of it (`seen.rs`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::arguments::Import;
use super::ask;
use super::export::{say, wrapped};
use super::failure::Failure;
use super::run::Context;
use super::seen::{Seen, look_back};
use crate::config::RootSecretSource;
use crate::journal::archive::{ArchiveError, Proved, Secrets};
use crate::keys::{RootSecret, RootSecretError};
use crate::open::{OpenError, open_patient_engine};

pub(super) async fn run(context: &Context, arguments: Import) -> Result<(), Failure> {
    if arguments.file == Path::new("-") {
        return Err(Failure::ReadTwice);
    }
    let passphrase = if arguments.with_secrets {
        Some(wrapped(&ask::passphrase(context, arguments.passphrase)?))
    } else {
        None
    };
    context.console.remark("Verifying the export; nothing is written yet.");
    let mut export = match Proved::open(&arguments.file, passphrase.as_ref()) {
        Err(ArchiveError::File(cause)) if cause.kind() == io::ErrorKind::NotSeekable => {
            return Err(Failure::ReadTwice);
        }
        proved => proved?,
    };
    let engine = open_patient_engine(&context.config)?;
    let mut import = export.begin(engine.as_ref()).await?;
    let placed = import.secrets().map(|secrets| PlacedRootSecret::of(context, secrets)).transpose()?;
    import.mark().await?;
    let with_secrets = placed.map(PlacedRootSecret::keep).is_some();
    let bar = context.console.progress("importing", 0);
    let progress = |done, total| bar.show(done, total);
    let moved = import.write(&progress).await;
    drop(bar);
    let moved = moved?;
    // Before the mark goes, which keeps servers away.
    let seen = look_back(context, engine.as_ref(), arguments.moved).await?;
    import.finish(matches!(seen, Seen::All)).await?;
    say(context, "imported", &moved);
    if !with_secrets {
        context.console.remark("Without its secrets nobody can log in here, and personal data stays sealed.");
    }
    match seen {
        // A history to be analysed; nobody means to serve it.
        Seen::NoRootSecret => context.console.remark(
            "What was revoked after the export is not known here either: if its root secret ever comes here, no server \
             starts before `chancery acceptrollback`.",
        ),
        Seen::All | Seen::Nothing | Seen::Refused(_) => {
            seen.say_what_is_next(context, "export");
            if matches!(seen, Seen::Nothing) && with_secrets {
                context.console.remark(
                    "If its servers were stopped before it was exported, and have stayed so, run the import again \
                     with --moved instead: then everything goes on.",
                );
            }
        }
    }
    Ok(())
}

/// The root secret of the export in its place, from where it is taken again if the import cannot begin: beside
/// another database it would be in the way.
struct PlacedRootSecret(Option<PathBuf>);

impl PlacedRootSecret {
    /// Puts it there unless this installation has it already; never in the place of another.
    fn of(context: &Context, secrets: &Secrets) -> Result<Self, Failure> {
        let theirs = RootSecret::from_text(&secrets.root_secret).map_err(OpenError::from)?;
        let mut placed = Self(None);
        let ours = match &context.config.root_secret {
            RootSecretSource::Given(text) => RootSecret::from_text(text.expose()).map_err(OpenError::from)?,
            RootSecretSource::File(path) => {
                if !path.exists() {
                    let failed = |cause| OpenError::from(RootSecretError::Create(path.clone(), cause));
                    theirs.store(path).map_err(failed)?;
                    placed.0 = Some(path.clone());
                }
                RootSecret::load(path).map_err(OpenError::from)?
            }
        };
        if *ours.to_text() == *theirs.to_text() { Ok(placed) } else { Err(OpenError::OtherRootSecret.into()) }
    }

    /// Leaves it where it is.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for PlacedRootSecret {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
