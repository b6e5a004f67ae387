//! `restore`: a backup in the place of the embedded database.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::arguments::Restore;
use super::draft::{Draft, PARTS, with_suffix};
use super::failure::Failure;
use super::run::Context;
use super::seen::{Seen, look_back};
use super::verify::verify_watched;
use crate::config::Database;
use crate::journal::archive::mark_restored;
use crate::journal::sqlite::SqliteEngine;
use crate::open::lock_exclusively;

pub(super) async fn run(context: &Context, arguments: Restore) -> Result<(), Failure> {
    let Database::Embedded(database) = &context.config.database else { return Err(Failure::NotEmbedded) };
    let file = &arguments.file;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause: io::Error| Failure::File(path, cause)
    };
    let mut backup = File::open(file).map_err(failed(file))?;
    let _alone = lock_exclusively(&context.config)?;
    if database.exists() && !arguments.replace {
        return Err(Failure::DatabaseExists(database.clone()));
    }
    // The copy is what is verified, and what is put in place.
    let draft = Draft::beside(database)?;
    io::copy(&mut backup, &mut draft.file()).map_err(failed(draft.path()))?;
    let (report, seen) = {
        let copy = SqliteEngine::open_to_read(draft.path(), context.config.database_deadline)
            .map_err(|error| Failure::NotABackup(file.clone(), error.into()))?;
        let verified = verify_watched(context, "verifying the backup", &copy).await;
        let report = verified.map_err(|error| Failure::NotABackup(file.clone(), error))?;
        // Before it is where a server finds it: one that is started at once must be refused.
        (report, look_back(context, &copy, false).await?)
    };
    if !matches!(seen, Seen::All) {
        mark(&draft, context.config.database_deadline).await?;
    }
    let kept = with_suffix(database, &format!(".replaced-{}", context.clock.now().format("%Y%m%dT%H%M%S")));
    rename(database, &kept)?;
    if let Err(failure) = draft.put_in_place() {
        rename(&kept, database)?;
        return Err(failure);
    }
    context.console.done(format!("The database is the backup, a whole history of {} events.", report.events));
    if kept.exists() {
        context.console.say(format!("what was there: {}", kept.display()));
    }
    seen.say_what_is_next(context, "backup");
    Ok(())
}

/// Says in the database itself that it may not be all there was of its log: a note of this machine is found by whoever
/// has the right root secret and the same settings, and by nobody else.
async fn mark(draft: &Draft, deadline: Duration) -> Result<(), Failure> {
    let marked = async {
        let engine = SqliteEngine::open(draft.path(), deadline)?;
        mark_restored(&engine).await
    };
    marked.await?;
    // What is put in place is one file.
    let log = with_suffix(draft.path(), "-wal");
    match fs::symlink_metadata(&log) {
        Ok(_) => Err(Failure::File(log, io::Error::other("it was not written into the database in time"))),
        Err(_) => Ok(()),
    }
}

/// Gives a database another name, with all that is beside it.
fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    for suffix in PARTS {
        let (old, new) = (with_suffix(from, suffix), with_suffix(to, suffix));
        if old.exists() {
            fs::rename(&old, &new).map_err(|cause| Failure::File(old, cause))?;
        }
    }
    Ok(())
}
