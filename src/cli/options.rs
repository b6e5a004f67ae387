//! Which flags set the server up? One for every setting that has one, made from the table of settings.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{Flags, Kind, Preset, SETTINGS, Setting, find_setting};

/// The settings given as flags, ready for [`Config::load`](crate::config::Config::load).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Key of the setting to what was written.
    pub flags: Flags,
}

/// The setting an argument stands for; arguments of commands stand for none.
pub(super) fn find(id: &str) -> Option<&'static Setting> {
    find_setting(id).filter(|setting| setting.flag.is_some())
}

impl Args for Options {
    fn augment_args(command: Command) -> Command {
        let with_flag = SETTINGS.iter().filter_map(|setting| Some((setting, setting.flag?)));
        command.args(with_flag.map(|(setting, flag)| argument(setting, flag)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in SETTINGS.iter().filter(|setting| setting.flag.is_some()) {
            if let Some(written) = find_written(setting, matches) {
                self.flags.insert(setting.key, written);
            }
        }
        Ok(())
    }
}

fn argument(setting: &'static Setting, flag: &'static str) -> Arg {
    let argument = Arg::new(setting.key)
        .long(flag)
        .global(true)
        .help(setting.help)
        .long_help(long_help(setting))
        .help_heading(setting.group.heading())
        .hide_short_help(!setting.is_everyday());
    match setting.kind {
        Kind::Switch => argument.action(ArgAction::SetTrue),
        Kind::List(name) => argument.action(ArgAction::Append).allow_hyphen_values(true).value_name(name),
        Kind::Text(_) | Kind::Duration | Kind::Count | Kind::Size | Kind::Tables => {
            argument.action(ArgAction::Set).allow_hyphen_values(true).value_name(setting.kind.placeholder())
        }
    }
}

fn long_help(setting: &Setting) -> String {
    let default = match (setting.kind, setting.default) {
        (Kind::Switch, _) | (_, Preset::Absent) => String::new(),
        (_, default) => format!("default: {}; ", default.shown()),
    };
    let env = setting.env.unwrap_or_default();
    format!("{} [{default}env: {env}]", setting.help)
}

fn find_written(setting: &Setting, matches: &ArgMatches) -> Option<Vec<String>> {
    if setting.kind == Kind::Switch {
        return matches.get_flag(setting.key).then(Vec::new);
    }
    let values: Vec<String> = matches.try_get_many(setting.key).ok()??.cloned().collect();
    Some(values)
}
