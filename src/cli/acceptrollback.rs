//! `acceptrollback`: the restored database is the one to go on with.

use std::sync::Arc;

use super::arguments::AcceptRollback;
use super::doctor::must_exist;
use super::failure::Failure;
use super::run::Context;
use crate::open::accept_rollback;

pub(super) async fn run(context: &Context, arguments: AcceptRollback) -> Result<(), Failure> {
    must_exist(context)?;
    let (config, clock) = (Arc::clone(&context.config), Arc::clone(&context.clock));
    let gone = accept_rollback(config, clock, arguments.restored).await?;
    let Some(gone) = gone else { return Err(Failure::NothingToAccept) };
    context.console.done("The database as it stands is the one to go on with.");
    context.console.say(match gone {
        0 => "Every code, token and session issued before is invalid.".to_owned(),
        gone => format!("{gone} events are gone; every code, token and session issued before is invalid."),
    });
    Ok(())
}
