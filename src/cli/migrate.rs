//! `migrate`: is the database of this version's schema? Afterwards it is.

use super::failure::Failure;
use super::run::Context;
use crate::open::open_patient_engine;

/// `--no-migrate` is about starts; whoever asks for the migration gets it.
pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let engine = open_patient_engine(&context.config)?;
    let migrated = engine.migrate().await?;
    context.console.done(match migrated {
        0 => "The database is of this version's schema; nothing to do.".to_owned(),
        1 => "1 migration was run; the database is of this version's schema.".to_owned(),
        n => format!("{n} migrations were run; the database is of this version's schema."),
    });
    Ok(())
}
