//! `verify`: is the history whole? The chain over every event, and every read model against it.

use serde_json::json;

use super::arguments::Report;
use super::doctor::open_to_read;
use super::failure::Failure;
use super::run::Context;
use crate::journal::verify::verify;

pub(super) async fn run(context: &Context, arguments: Report) -> Result<(), Failure> {
    let engine = open_to_read(context)?;
    let bar = context.console.progress("verifying", 0);
    let verified = verify(engine.as_ref(), &|done, total| {
        bar.set_total(total);
        bar.set_position(done);
    })
    .await;
    drop(bar);
    let report = match verified {
        Ok(report) => report,
        Err(error) => {
            if arguments.json {
                context.console.say(json!({ "whole": false, "problem": error.to_string() }));
            }
            return Err(error.into());
        }
    };
    if arguments.json {
        context.console.say(json!({
            "whole": true, "events": report.events, "rows": report.rows, "chain": report.chain,
        }));
    } else {
        context
            .console
            .done(format!("The history is whole: {} events, {} rows.", report.events, report.rows));
        context.console.say(format!("chain: {}", report.chain));
    }
    Ok(())
}
