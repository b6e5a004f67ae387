//! `disableapplication` and `enableapplication`: may this application be used for now?

use aggregates::application::{Application, ApplicationCommand};
use serde_json::json;

use super::arguments::ApplicationName;
use super::failure::Failure;
use super::run::Context;
use crate::commands::Stream;

pub(super) async fn run(context: &Context, arguments: ApplicationName, disable: bool) -> Result<(), Failure> {
    let state = context.open_existing().await?;
    let client_id = arguments.client_id;
    let at = state.clock.now();
    let command = if disable {
        ApplicationCommand::DisableApplication { at }
    } else {
        ApplicationCommand::EnableApplication { at }
    };
    let stream = Stream::Existing(client_id.clone());
    let executed = state.commands.execute_ending::<Application>(stream, command, &context.origin()).await;
    let changed = !executed.map_err(|error| Failure::application(&client_id, error))?.events.is_empty();
    if arguments.json {
        context.console.say(json!({ "client_id": client_id, "disabled": disable, "changed": changed }));
        return Ok(());
    }
    context.console.done(match (disable, changed) {
        (true, true) => format!("{client_id} is disabled: it gets no tokens, and those it has do not work."),
        (true, false) => format!("{client_id} was disabled already; nothing changed."),
        (false, true) => format!("{client_id} is enabled again."),
        (false, false) => format!("{client_id} was not disabled; nothing changed."),
    });
    Ok(())
}
