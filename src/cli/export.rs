//! `export`: the whole log, line by line.

use std::io::{self, BufWriter};
use std::path::Path;

use super::arguments::Export;
use super::ask;
use super::doctor::open_to_read;
use super::draft::Draft;
use super::failure::Failure;
use super::run::Context;
use crate::journal::archive::{Moved, export};
use crate::keys::Keys;
use crate::open::{OpenError, check_root_secret, check_whole, root_secret};
use crate::secret::Secret;

pub(super) async fn run(context: &Context, arguments: Export) -> Result<(), Failure> {
    let engine = open_to_read(context)?;
    check_whole(engine.as_ref()).await?;
    let sealing = if arguments.with_secrets {
        let root = root_secret(&context.config, true)?;
        check_root_secret(engine.as_ref(), &Keys::derive(&root).map_err(OpenError::from)?).await?;
        Some((root.to_text(), ask::new_passphrase(context, arguments.passphrase)?))
    } else {
        None
    };
    let sealed_with = sealing.as_ref().map(|(root, passphrase)| (root.as_str(), wrapped(passphrase)));
    let bar = context.console.progress("exporting", 0);
    let progress = |done, total| bar.show(done, total);
    if arguments.file == Path::new("-") {
        let mut out = BufWriter::new(io::stdout());
        export(engine.as_ref(), &mut out, sealed_with, &progress).await?;
        return Ok(());
    }
    let draft = Draft::of_new(&arguments.file)?;
    let mut out = BufWriter::new(draft.file());
    let moved = export(engine.as_ref(), &mut out, sealed_with, &progress).await;
    drop(out);
    drop(bar);
    let moved = moved?;
    draft.put_in_place()?;
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
