//! `backup`: a verified copy of the embedded database.

use super::arguments::Backup;
use super::doctor::open_existing;
use super::draft::Draft;
use super::failure::Failure;
use super::run::Context;
use super::verify::verify_watched;
use crate::config::Database;
use crate::journal::sqlite::SqliteEngine;

pub(super) async fn run(context: &Context, arguments: Backup) -> Result<(), Failure> {
    let Database::Embedded(_) = &context.config.database else { return Err(Failure::NotEmbedded) };
    let engine = open_existing(context)?;
    let draft = Draft::of_new(&arguments.file)?;
    engine.copy_to(draft.path()).await?;
    let report = {
        let copy = SqliteEngine::open_to_read(draft.path(), context.config.database_deadline)?;
        verify_watched(context, "verifying the copy", &copy).await?
    };
    draft.put_in_place()?;
    let file = arguments.file.display();
    context.console.done(format!("{file} holds a whole history of {} events.", report.events));
    context.console.say(format!("chain: {}", report.chain));
    context.console.remark(
        "The root secret is not in it, and without it the backup is of no use: keep a copy of root.secret elsewhere.",
    );
    Ok(())
}
