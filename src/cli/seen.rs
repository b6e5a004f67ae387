//! Is a log that is brought here all there was of it? A backup or an export ends where it was made. What was
//! revoked since would live again, so a log that nobody here has seen is noted as restored (F21), before a server
//! could start on it; whoever brings it marks it in the database as well.

use std::{fs, io};

use super::failure::Failure;
use super::run::Context;
use crate::checkpoint::{Checkpoint, RollbackError};
use crate::journal::Engine;
use crate::journal::archive::accept_as_moved;
use crate::keys::Keys;
use crate::open::{OpenError, check_root_secret, key_epoch, root_secret};

/// What this node knows of a log that is brought here.
pub(super) enum Seen {
    /// It holds all that was seen of it, or all there is.
    All,
    /// Nobody here has seen what became of it.
    Nothing,
    /// A server would refuse it: it is older than what was seen, another log, or its note was forged.
    Refused(RollbackError),
    /// Nothing can be known without its root secret.
    NoRootSecret,
}

/// Holds the log against what was seen of it, and notes if that is nothing. `moved` is the operator's word that
/// nothing has happened to it since.
pub(super) async fn look_back(context: &Context, engine: &dyn Engine, moved: bool) -> Result<Seen, Failure> {
    let Ok(root) = root_secret(&context.config, true) else { return Ok(Seen::NoRootSecret) };
    let keys = Keys::derive(&root).map_err(OpenError::from)?;
    match check_root_secret(engine, &keys).await {
        Err(OpenError::OtherRootSecret) => return Ok(Seen::NoRootSecret),
        checked => checked?,
    }
    let (checkpoint, epoch) = (Checkpoint::of(&context.config, &keys), key_epoch(engine).await?);
    let mut checked = checkpoint.check(engine, &keys, epoch).await;
    if moved && matches!(checked, Err(RollbackError::Restored)) {
        // It was brought here before without that word. What else that note says, the log holds.
        accept_as_moved(engine).await?;
        match fs::remove_file(checkpoint.path()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::File(checkpoint.path().to_owned(), cause));
            }
            // A note about another place stays, and counts.
            Ok(()) | Err(_) => {}
        }
        checked = checkpoint.check(engine, &keys, epoch).await;
    }
    let end = engine.head().await?.position;
    match checked {
        // A node that stopped long before has nothing to say of what became of it since.
        Ok(Some(seen)) if seen >= end => Ok(Seen::All),
        Ok(_) if moved => Ok(Seen::All),
        Ok(_) => {
            checkpoint.note_restored(engine, &keys, epoch).await.map_err(OpenError::from)?;
            Ok(Seen::Nothing)
        }
        Err(RollbackError::Restored) => Ok(Seen::Nothing),
        Err(
            error @ (RollbackError::Shorter { .. }
            | RollbackError::Different { .. }
            | RollbackError::Forged(_)),
        ) => Ok(Seen::Refused(error)),
        Err(error @ (RollbackError::File { .. } | RollbackError::Engine(_))) => {
            Err(OpenError::from(error).into())
        }
    }
}

impl Seen {
    /// Says what is to be done before a server goes on with it; `brought` is what it came in.
    pub(super) fn say_what_is_next(&self, context: &Context, brought: &str) {
        let console = context.console;
        let accept = |what: &str| console.next_step(what, context.command_line("acceptrollback"));
        match self {
            Self::All => console.next_step("start the server", context.command_line("serve")),
            Self::Nothing => {
                console.remark(format!(
                    "No server with this data directory has seen all of this history: what was revoked after the {brought} \
                     is not known here, and no server starts before you have accepted that.",
                ));
                accept("make everything issued before invalid");
            }
            Self::Refused(RollbackError::Shorter { head, seen }) => {
                console.remark(format!(
                    "It is older than what the server has seen: {} events are gone, revocations perhaps among them.",
                    seen.saturating_sub(*head)
                ));
                accept("accept that, which makes everything issued before invalid");
            }
            Self::Refused(error) => {
                console.remark(format!("A server would refuse it: {error}."));
                accept("if that is so on purpose, accept it, which makes everything issued before invalid");
            }
            Self::NoRootSecret => {
                let place = context.config.data_dir.join("root.secret");
                console.next_step("bring its root secret back, as", place.display());
                accept("then make everything issued before invalid: no server starts before");
            }
        }
    }
}
