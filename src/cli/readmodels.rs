//! `readmodels`: how far is each, and does one stand still?

use serde_json::json;

use super::arguments::Report;
use super::doctor::open_to_read;
use super::failure::Failure;
use super::run::Context;
use crate::journal::EngineError;
use crate::journal::read_models::list_read_models;

pub(super) async fn run(context: &Context, arguments: Report) -> Result<(), Failure> {
    let engine = open_to_read(context)?;
    let models = list_read_models(engine.as_ref()).await?;
    if arguments.json {
        context.console.say(json!(models));
    } else {
        context
            .console
            .say(format!("{:<16} {:>7} {:>12} {:>10}  state", "name", "version", "position", "lag"));
        for model in &models {
            let state = match (&model.trouble, model.eventual, model.lag) {
                (Some(trouble), _, _) => trouble.as_str(),
                (None, false, _) => "written with its events",
                (None, true, 0) => "up to date",
                (None, true, _) => "catching up",
            };
            let (name, version, position, lag) =
                (model.name, model.stored_version, model.position, model.lag);
            context.console.say(format!("{name:<16} {version:>7} {position:>12} {lag:>10}  {state}"));
        }
    }
    match models.into_iter().find(|model| model.trouble.is_some()) {
        None => Ok(()),
        Some(model) if model.stored_version != i64::from(model.version) => {
            Err(Failure::Engine(EngineError::OtherVersion {
                projection: model.name.to_owned(),
                stored: model.stored_version,
                own: i64::from(model.version),
            }))
        }
        Some(model) => Err(Failure::Stopped(model.name)),
    }
}
