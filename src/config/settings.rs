//! Which settings exist, what each is called in every place it can be set, and what it is by default.
//!
//! One table drives the flags, the environment variables, the keys of the
//! configuration file and the table in the README, so a name cannot differ between them.

mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use self::table::SETTINGS;

/// One thing an operator can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The key in the configuration file, and the name in `Config::effective`.
    pub key: &'static str,
    /// The flag without its dashes; `None` where an argument would be wrong (a secret) or unwieldy.
    pub flag: Option<&'static str>,
    /// The environment variable; `None` where only the file can hold the value.
    pub env: Option<&'static str>,
    /// What holds when nobody said anything.
    pub default: Preset,
    /// How the value is written.
    pub kind: Kind,
    /// Which heading of the help it belongs under.
    pub group: Group,
    /// One sentence for the help and the README.
    pub help: &'static str,
}

/// The default of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// This text, read as if an operator had written it.
    Literal(&'static str),
    /// Worked out from the machine or from other settings, as described.
    Computed(&'static str),
    /// Nothing.
    Absent,
}

impl Preset {
    /// The default as a reader of the help should see it.
    #[must_use]
    pub fn shown(self) -> &'static str {
        match self {
            Self::Literal(text) | Self::Computed(text) => text,
            Self::Absent => "none",
        }
    }
}

/// How a value is written; decides the flag's form and its placeholder in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, with this placeholder.
    Text(&'static str),
    /// Several texts: the flag may be repeated, the variable holds commas, the file an array.
    List(&'static str),
    /// `60s`, `10h`, `14d`, or a number of seconds.
    Duration,
    /// A whole number.
    Count,
    /// A number of bytes: `65536` or `64KiB`.
    Size,
    /// A flag without a value; `true` or `false` elsewhere.
    Switch,
    /// An array of tables, in the file only.
    Tables,
}

impl Kind {
    /// The placeholder in the help; empty for a switch.
    #[must_use]
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Text(name) | Self::List(name) => name,
            Self::Duration => "DURATION",
            Self::Count => "NUMBER",
            Self::Size => "BYTES",
            Self::Switch | Self::Tables => "",
        }
    }
}

/// The headings of the help and the order of the README's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Where it listens and under which name.
    Serving,
    /// Where it keeps its data.
    Storage,
    /// What it writes to the log.
    Logging,
    /// How long things live.
    Lifetimes,
    /// What may be asked for.
    Access,
    /// How much it takes on.
    Limits,
}

impl Group {
    /// The heading in `--help`.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Serving => "Serving",
            Self::Storage => "Storage",
            Self::Logging => "Logging",
            Self::Lifetimes => "Lifetimes",
            Self::Access => "Scopes and resources",
            Self::Limits => "Limits",
        }
    }
}

impl Setting {
    /// Whether `-h` shows it; the rest is in `chancery --help`.
    #[must_use]
    pub fn is_everyday(&self) -> bool {
        match self.group {
            Group::Serving | Group::Storage => true,
            Group::Logging | Group::Lifetimes | Group::Access | Group::Limits => false,
        }
    }

    /// Whether the help of commands that do not serve shows it.
    #[must_use]
    pub fn says_where_data_is(&self) -> bool {
        matches!(self.key, "config" | "data-dir" | "checkpoint-dir" | "database-url")
    }

    /// Whether it is of a machine and not of the installation: nodes differ in it, and a change of it changes no
    /// answer.
    #[must_use]
    pub fn is_of_one_machine(&self) -> bool {
        match self.group {
            Group::Storage | Group::Logging => true,
            Group::Serving => !matches!(self.key, "issuer" | "allow-insecure-issuer" | "trusted-proxies"),
            Group::Lifetimes | Group::Access => false,
            Group::Limits => {
                !matches!(self.key, "max-body" | "login-failures-per-account" | "login-failures-per-address")
            }
        }
    }
}

/// The setting with this key.
#[must_use]
pub fn find_setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The table of settings as Markdown, for the README.
#[must_use]
pub fn settings_markdown() -> String {
    let mut table = String::from(
        "| Key in the file | Flag | Environment variable | Default | What it decides |\n\
         |---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let key = if setting.key == "config" { String::new() } else { code(setting.key) };
        let flag = setting.flag.map_or_else(String::new, |flag| code(&format!("--{flag}")));
        let env = setting.env.map_or_else(String::new, code);
        let default = match setting.default {
            Preset::Literal(text) => code(text),
            Preset::Computed(text) => text.to_owned(),
            Preset::Absent => "none".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {key} | {flag} | {env} | {default} | {} |", setting.help);
    }
    table
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
