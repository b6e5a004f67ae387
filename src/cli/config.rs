//! `config`: what is in force?

use super::arguments::ShowConfig;
use super::failure::Failure;
use super::run::Context;
use crate::config::{SETTINGS, settings_markdown};

pub(super) fn run(context: &Context, arguments: ShowConfig) -> Result<(), Failure> {
    let console = context.console;
    if arguments.markdown {
        console.say(settings_markdown().trim_end());
        return Ok(());
    }
    let effective = context.config.effective();
    if arguments.json {
        console.say(serde_json::to_string_pretty(&effective).map_err(Failure::Json)?);
        return Ok(());
    }
    let width = SETTINGS.iter().map(|setting| setting.key.len()).max().unwrap_or_default();
    for setting in SETTINGS {
        if let Some(value) = effective.get(setting.key) {
            console.say(format!("{:width$}  {value}", setting.key).trim_end());
        }
    }
    Ok(())
}
