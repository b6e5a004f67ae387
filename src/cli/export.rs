//! `export`: the whole log, line by line.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::arguments::Export;
use super::ask;
use super::doctor::open_existing;
use super::failure::Failure;
use super::run::Context;
use crate::journal::archive::{ArchiveError, Moved, export};
use crate::open::root_secret;
use crate::secret::Secret;

pub(super) async fn run(context: &Context, arguments: Export) -> Result<(), Failure> {
    let engine = open_existing(context)?;
    let sealing = if arguments.with_secrets {
        let root = root_secret(&context.config, true)?.to_text();
        Some((root, ask::new_password(context, arguments.passphrase, "", "")?))
    } else {
        None
    };
    let sealed_with = sealing.as_ref().map(|(root, passphrase)| (root.as_str(), wrapped(passphrase)));
    let bar = context.console.progress("exporting", 0);
    let progress = |done, total| {
        bar.set_total(total);
        bar.set_position(done);
    };
    if arguments.file == Path::new("-") {
        let mut out = BufWriter::new(io::stdout());
        export(engine.as_ref(), &mut out, sealed_with, &progress).await?;
        return Ok(());
    }
    // Whole or not at all.
    let beside = arguments.file.with_extension("incomplete");
    let moved = {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let mut out = BufWriter::new(file.map_err(ArchiveError::File)?);
        let moved = export(engine.as_ref(), &mut out, sealed_with, &progress).await;
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(ArchiveError::File)?;
        moved
    };
    drop(bar);
    let moved = match moved {
        Ok(moved) => moved,
        Err(error) => {
            let _ = fs::remove_file(&beside);
            return Err(error.into());
        }
    };
    fs::rename(&beside, &arguments.file).map_err(ArchiveError::File)?;
    say(context, "exported", &moved);
    if !moved.with_secrets {
        context.console.remark(
            "Verifiers, keys and the root secret are not in it: nobody can log in with it, and personal data stays \
             sealed. To move the installation, use --with-secrets.",
        );
    }
    Ok(())
}

pub(super) fn wrapped(passphrase: &Secret) -> age::secrecy::SecretString {
    passphrase.expose().to_owned().into()
}

pub(super) fn say(context: &Context, what: &str, moved: &Moved) {
    let secrets = if moved.with_secrets { ", with secrets" } else { "" };
    context.console.done(format!("{} events were {what}{secrets}.", moved.events));
    context.console.say(format!("chain: {}", moved.chain));
}
