//! `migrate`: is the database of this version's schema? Afterwards it is.

use std::sync::Arc;

use super::failure::Failure;
use super::run::Context;
use crate::config::Config;
use crate::open::open_engine;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    // `--no-migrate` is about starts; whoever asks for the migration gets it.
    let config = Config { migrate: true, ..context.config.as_ref().clone() };
    let opened = open_engine(&Arc::new(config)).await?;
    let migrated = opened.migrate().await?;
    context.console.done(match migrated {
        0 => "The database is of this version's schema; nothing to do.".to_owned(),
        1 => "1 migration was run; the database is of this version's schema.".to_owned(),
        n => format!("{n} migrations were run; the database is of this version's schema."),
    });
    Ok(())
}
