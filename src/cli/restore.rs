//! `restore`: a backup in the place of the embedded database.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::arguments::Restore;
use super::failure::Failure;
use super::run::Context;
use super::verify::verify_watched;
use crate::checkpoint::{Checkpoint, RollbackError};
use crate::config::Database;
use crate::journal::sqlite::SqliteEngine;
use crate::keys::Keys;
use crate::open::{OpenError, key_epoch, lock_exclusively, root_secret};

/// A database in write-ahead mode is these files.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

pub(super) async fn run(context: &Context, arguments: Restore) -> Result<(), Failure> {
    let Database::Embedded(database) = &context.config.database else { return Err(Failure::NotEmbedded) };
    let file = &arguments.file;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause: io::Error| Failure::File(path, cause)
    };
    File::open(file).map_err(failed(file))?;
    let _alone = lock_exclusively(&context.config)?;
    if database.exists() && !arguments.replace {
        return Err(Failure::DatabaseExists(database.clone()));
    }
    // The copy is what is verified, and what is put in place.
    let draft = part(database, ".restoring");
    fs::copy(file, &draft).map_err(failed(&draft))?;
    let report = {
        let copy = SqliteEngine::open(&draft, context.config.database_deadline)
            .map_err(|error| Failure::NotABackup(file.clone(), error.into()))?;
        let verified = verify_watched(context, "verifying the backup", &copy).await;
        verified.map_err(|error| Failure::NotABackup(file.clone(), error))
    };
    if report.is_err() {
        for suffix in PARTS {
            let _ = fs::remove_file(part(&draft, suffix));
        }
    }
    let report = report?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(failed(&draft))?;
    let replaced = part(database, &format!(".replaced-{}", context.clock.now().format("%Y%m%dT%H%M%S")));
    for suffix in PARTS {
        let (old, kept) = (part(database, suffix), part(&replaced, suffix));
        if old.exists() {
            fs::rename(&old, &kept).map_err(failed(&old))?;
        }
    }
    for suffix in PARTS {
        let (new, live) = (part(&draft, suffix), part(database, suffix));
        if new.exists() {
            fs::rename(&new, &live).map_err(failed(&new))?;
        }
    }
    if let Some(directory) = database.parent() {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed(directory))?;
    }
    context.console.done(format!("The database is the backup, a whole history of {} events.", report.events));
    if replaced.exists() {
        context.console.say(format!("what was there: {}", replaced.display()));
    }
    say_what_is_next(context, database).await
}

/// A backup that is older than what was seen must be accepted.
async fn say_what_is_next(context: &Context, database: &Path) -> Result<(), Failure> {
    let Ok(root) = root_secret(&context.config, true) else {
        context.console.next_step(
            "bring its root secret back, as",
            context.config.data_dir.join("root.secret").display(),
        );
        return Ok(());
    };
    let keys = Keys::derive(&root).map_err(OpenError::from)?;
    let engine = SqliteEngine::open(database, context.config.database_deadline)?;
    let (checkpoint, epoch) = (Checkpoint::of(&context.config), key_epoch(&engine).await?);
    match checkpoint.check(&engine, &keys, epoch).await {
        Ok(true) => context.console.next_step("start the server", context.command_line("serve")),
        Ok(false) => {
            checkpoint.note_restored(&engine, &keys, epoch).await.map_err(OpenError::from)?;
            context.console.remark(
                "No server with this data directory has seen this history: what was revoked after the backup is not \
                 known here.",
            );
            context
                .console
                .next_step("make everything issued before invalid", context.command_line("acceptrollback"));
        }
        Err(RollbackError::Shorter { head, seen }) => {
            context.console.remark(format!(
                "It is older than what the server has seen: {} events are gone, revocations perhaps among them.",
                seen - head
            ));
            context.console.next_step(
                "accept that, which makes everything issued before invalid",
                context.command_line("acceptrollback"),
            );
        }
        Err(error) => return Err(OpenError::from(error).into()),
    }
    Ok(())
}

fn part(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
