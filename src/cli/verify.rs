//! `verify`: is the history whole? The chain over every event, and every read model against it.

use std::cell::Cell;

use serde_json::json;

use super::arguments::Report;
use super::failure::Failure;
use super::run::Context;
use crate::journal::verify::verify;

pub(super) async fn run(context: &Context, arguments: Report) -> Result<(), Failure> {
    let engine = super::doctor::database::open_existing(context).await?;
    let bar = context.console.progress("verifying", 0);
    let seen = std::sync::atomic::AtomicU64::new(0);
    let report = verify(engine.as_ref(), &|done, total| {
        bar.set_total(total);
        bar.set_done(done);
    })
    .await;
    drop(bar);
    Ok(())
}
