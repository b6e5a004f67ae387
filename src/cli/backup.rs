//! `backup`: a verified copy of the embedded database.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::arguments::Backup;
use super::doctor::open_existing;
use super::failure::Failure;
use super::run::Context;
use super::verify::verify_watched;
use crate::config::Database;
use crate::journal::sqlite::SqliteEngine;

pub(super) async fn run(context: &Context, arguments: Backup) -> Result<(), Failure> {
    let Database::Embedded(_) = &context.config.database else { return Err(Failure::NotEmbedded) };
    let engine = open_existing(context)?;
    let file = &arguments.file;
    // Made here, so that nobody else can read it at any time.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    drop(made.map_err(|cause| Failure::File(file.clone(), cause))?);
    let copied = engine.copy_to(file).await;
    if copied.is_err() {
        let _ = fs::remove_file(file);
    }
    copied?;
    let report = {
        let copy = SqliteEngine::open(file, context.config.database_deadline)?;
        verify_watched(context, "verifying the copy", &copy).await?
    };
    // SQLite leaves it to the system when a copy reaches the disk.
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for path in [file.as_path(), directory] {
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(|cause| Failure::File(path.to_owned(), cause))?;
    }
    context.console.done(format!("{} holds a whole history of {} events.", file.display(), report.events));
    context.console.say(format!("chain: {}", report.chain));
    context.console.remark(
        "The root secret is not in it, and without it the backup is of no use: keep a copy of root.secret elsewhere.",
    );
    Ok(())
}
