//! `import`: a log that was exported, into an empty database.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::arguments::Import;
use super::ask;
use super::export::{say, wrapped};
use super::failure::Failure;
use super::run::Context;
use crate::config::RootSecretSource;
use crate::journal::archive::{ArchiveError, Secrets, check, import};
use crate::keys::{RootSecret, RootSecretError};
use crate::open::{OpenError, open_patient_engine};

pub(super) async fn run(context: &Context, arguments: Import) -> Result<(), Failure> {
    if arguments.file == Path::new("-") {
        return Err(Failure::ReadTwice);
    }
    let open = || File::open(&arguments.file).map(BufReader::new).map_err(ArchiveError::File);
    let passphrase = if arguments.with_secrets {
        Some(wrapped(&ask::passphrase(context, arguments.passphrase)?))
    } else {
        None
    };
    context.console.remark("Verifying the export; nothing is written yet.");
    let (_, secrets) = check(&mut open()?, passphrase.as_ref())?;
    if let Some(secrets) = &secrets {
        put_root_secret(context, secrets)?;
    }
    let engine = open_patient_engine(&context.config)?;
    engine.migrate().await?;
    let bar = context.console.progress("importing", 0);
    let progress = |done, total| {
        bar.set_total(total);
        bar.set_position(done);
    };
    let moved = import(engine.as_ref(), &mut open()?, secrets.as_ref(), &progress).await;
    drop(bar);
    say(context, "imported", &moved?);
    if secrets.is_none() {
        context.console.remark("Without its secrets nobody can log in here, and personal data stays sealed.");
    }
    Ok(())
}

/// The root secret of the export, unless this installation has it already; never in the place of another.
fn put_root_secret(context: &Context, secrets: &Secrets) -> Result<(), Failure> {
    let theirs = RootSecret::from_text(&secrets.root_secret).map_err(OpenError::from)?;
    let ours = match &context.config.root_secret {
        RootSecretSource::Given(text) => RootSecret::from_text(text.expose()).map_err(OpenError::from)?,
        RootSecretSource::File(path) => {
            if !path.exists() {
                let failed = |cause| OpenError::from(RootSecretError::Create(path.clone(), cause));
                theirs.store(path).map_err(failed)?;
            }
            RootSecret::load(path).map_err(OpenError::from)?
        }
    };
    if *ours.to_text() == *theirs.to_text() { Ok(()) } else { Err(OpenError::OtherRootSecret.into()) }
}
