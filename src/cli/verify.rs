//! `verify`: is the history whole? The chain over every event, the read models that are written with it, and
//! how far the servers have seen it.

use serde_json::json;

use super::arguments::Report;
use super::doctor::open_to_read;
use super::failure::Failure;
use super::run::Context;
use crate::checkpoint::Checkpoint;
use crate::journal::Engine;
use crate::journal::verify::{self, Missing, VerifyError, verify};
use crate::keys::Keys;
use crate::open::{OpenError, check_root_secret, check_whole, key_epoch, root_secret};

pub(super) async fn run(context: &Context, arguments: Report) -> Result<(), Failure> {
    let engine = open_to_read(context)?;
    let verified = verify_watched(context, "verifying", engine.as_ref()).await;
    let looked_at = match verified {
        Ok(report) => is_all_there(context, engine.as_ref()).await.map(|is_known| (report, is_known)),
        Err(error) => Err(error.into()),
    };
    let (report, is_known) = match looked_at {
        Ok(found) => found,
        Err(failure) => {
            if arguments.json {
                context.console.say(json!({ "whole": false, "problem": failure.to_string() }));
            }
            return Err(failure);
        }
    };
    if arguments.json {
        context.console.say(json!({
            "whole": true, "events": report.events, "rows": report.rows, "chain": report.chain,
            "missing_verifiers": report.missing.verifiers, "missing_subject_keys": report.missing.subject_keys,
        }));
    } else {
        context
            .console
            .done(format!("The history is whole: {} events, {} rows.", report.events, report.rows));
        context.console.say(format!("chain: {}", report.chain));
        let Missing { verifiers, subject_keys } = report.missing;
        if verifiers + subject_keys > 0 {
            context.console.remark(format!(
                "{verifiers} verifiers and {subject_keys} keys of people's data are missing: those whose they were cannot \
                 log in, or not be read. It is so where the history was imported without its secrets, and nowhere else.",
            ));
        }
        if !is_known {
            context.console.remark(
                "Whether its end was cut off cannot be told: no server with this data directory has noted how far the \
                 history went, or its root secret is not here.",
            );
        }
    }
    Ok(())
}

/// Verifies a log, and shows how far that is.
pub(super) async fn verify_watched(
    context: &Context,
    what: &'static str,
    engine: &dyn Engine,
) -> Result<verify::Report, VerifyError> {
    let bar = context.console.progress(what, 0);
    verify(engine, &|done, total| bar.show(done, total)).await
}

/// Whether nothing is missing at the end: of an import, or of what the servers with this data directory have
/// seen. `false` when they have seen nothing, or their root secret is not here.
pub(super) async fn is_all_there(context: &Context, engine: &dyn Engine) -> Result<bool, Failure> {
    check_whole(engine).await?;
    let Ok(root) = root_secret(&context.config, true) else { return Ok(false) };
    let keys = Keys::derive(&root).map_err(OpenError::from)?;
    check_root_secret(engine, &keys).await?;
    let checked = Checkpoint::of(&context.config, &keys).check(engine, &keys, key_epoch(engine).await?).await;
    Ok(checked.map_err(OpenError::from)?.is_some_and(|seen| seen > 0))
}
