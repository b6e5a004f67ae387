//! Which of several places decides a setting? A flag, else the environment, else the file, else the default.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::database::DatabaseUrl;
use super::environment::Environment;
use super::error::{ConfigError, Problem, Source};
use super::file::{Entry, parse_file, read_file};
use super::nearest::find_nearest;
use super::settings::{Kind, Preset, SETTINGS, Setting};
use super::value::Raw;

/// The settings given as flags: key to what was written, empty for a switch.
pub type Flags = BTreeMap<&'static str, Vec<String>>;

/// Variables that are read elsewhere, and why they are no settings.
const OTHER_VARIABLES: &[&str] = &[
    // The password of `--noinput`: of one command, not of the server.
    "CHANCERY_PASSWORD",
];

/// Variables of the test runner start like this; see `tests/run --help`.
const TEST_PREFIX: &str = "CHANCERY_TEST_";

/// Every value that was written, each with where.
#[derive(Debug)]
pub(super) struct Sources {
    chosen: BTreeMap<&'static str, (Raw, Source)>,
    /// The file that was read, if any.
    pub(super) file: Option<PathBuf>,
    /// What is secret in it, in words.
    pub(super) secrets: Vec<&'static str>,
}

impl Sources {
    /// Collects all values, the weakest first, so that stronger ones replace them.
    pub(super) fn collect(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        refuse_unknown_variables(environment)?;
        let mut chosen = presets();
        let file = find_file(flags, environment)?;
        let in_file = file.as_deref().map_or_else(|| Ok(Vec::new()), read_file)?;
        let secrets = in_file.iter().filter_map(secret_in).collect();
        for Entry { setting, raw, origin } in in_file {
            chosen.insert(setting.key, (raw, origin));
        }
        for setting in SETTINGS {
            if let Some((raw, origin)) = in_environment(setting, environment)? {
                chosen.insert(setting.key, (raw, origin));
            }
            if let Some((raw, origin)) = in_flags(setting, flags) {
                chosen.insert(setting.key, (raw, origin));
            }
        }
        Ok(Self { chosen, file, secrets })
    }

    /// The values of a file of this text, and the defaults.
    pub(super) fn of_text(text: &str) -> Result<Self, ConfigError> {
        let mut chosen = presets();
        let entries = parse_file(Path::new("chancery.toml"), text)?;
        chosen.extend(entries.into_iter().map(|entry| (entry.setting.key, (entry.raw, entry.origin))));
        Ok(Self { chosen, file: None, secrets: Vec::new() })
    }

    /// Where a setting was decided.
    pub(super) fn origin(&self, key: &str) -> Source {
        self.chosen.get(key).map_or(Source::Default, |(_, origin)| origin.clone())
    }

    /// Reads a setting that has no default; `None` when nobody set it.
    pub(super) fn find<Value>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<Value, Problem>,
    ) -> Result<Option<Value>, ConfigError> {
        let Some((raw, origin)) = self.chosen.get(key) else {
            return Ok(None);
        };
        let invalid = |problem| ConfigError::Invalid { key, origin: origin.clone(), problem };
        read(raw).map(Some).map_err(invalid)
    }

    /// Reads a setting whose table entry has a literal default.
    pub(super) fn get<Value>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<Value, Problem>,
    ) -> Result<Value, ConfigError> {
        let absent = || ConfigError::Invalid { key, origin: Source::Default, problem: Problem::Empty };
        self.find(key, read)?.ok_or_else(absent)
    }

    /// Reads a path. One in the file is relative to the file, others to the working directory.
    pub(super) fn find_path(&self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(written) = self.find(key, |raw| raw.text().map(PathBuf::from))? else {
            return Ok(None);
        };
        let origin = self.origin(key);
        let base = match &origin {
            Source::File { path, .. } => path.parent().unwrap_or(Path::new("")),
            Source::Flag(_) | Source::Environment(_) | Source::Default => Path::new(""),
        };
        let whole = std::path::absolute(base.join(written));
        whole.map(Some).map_err(|_| ConfigError::Invalid { key, origin, problem: Problem::Empty })
    }
}

/// What is secret about a line of the file.
fn secret_in(entry: &Entry) -> Option<&'static str> {
    let has_password =
        |raw: &Raw| raw.text().is_ok_and(|text| DatabaseUrl::parse(text).is_ok_and(|url| url.has_password()));
    match entry.setting.key {
        "root-secret" => Some("the root secret"),
        "database-url" if has_password(&entry.raw) => Some("the password of the database"),
        _ => None,
    }
}

fn presets() -> BTreeMap<&'static str, (Raw, Source)> {
    let literal = |setting: &Setting| match setting.default {
        Preset::Literal(text) => Some((setting.key, (Raw::Text(text.to_owned()), Source::Default))),
        Preset::Computed(_) | Preset::Absent => None,
    };
    SETTINGS.iter().filter_map(literal).collect()
}

/// A file that was named must exist; the usual one need not.
fn find_file(flags: &Flags, environment: &Environment) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(path) = flags.get("config").and_then(|paths| paths.last()) {
        return Ok(Some(PathBuf::from(path)));
    }
    if let Some(path) = environment.find("CHANCERY_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(Some(PathBuf::from(path)));
    }
    let usual = environment.config_home().map(|home| home.join("chancery").join("chancery.toml"));
    let unreadable = |path: PathBuf| move |cause| ConfigError::FileUnreadable { path, cause };
    match usual {
        Some(path) if path.try_exists().map_err(unreadable(path.clone()))? => Ok(Some(path)),
        Some(_) | None => Ok(None),
    }
}

fn in_flags(setting: &Setting, flags: &Flags) -> Option<(Raw, Source)> {
    let written = flags.get(setting.key)?;
    let raw = match setting.kind {
        Kind::Switch => Raw::Switch(true),
        Kind::List(_) => Raw::List(written.clone()),
        Kind::Text(_) | Kind::Duration | Kind::Count | Kind::Size | Kind::Tables => {
            Raw::Text(written.last().cloned().unwrap_or_default())
        }
    };
    Some((raw, Source::Flag(setting.flag?)))
}

/// An empty variable counts as unset, as it does for most programs: `CHANCERY_ISSUER= chancery`.
fn in_environment(
    setting: &Setting,
    environment: &Environment,
) -> Result<Option<(Raw, Source)>, ConfigError> {
    let Some(name) = setting.env else {
        return Ok(None);
    };
    let Some(value) = environment.find(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let origin = Source::Environment(name);
    match OsStr::to_str(value) {
        Some(text) => Ok(Some((Raw::Text(text.to_owned()), origin))),
        None => Err(ConfigError::Invalid { key: setting.key, origin, problem: Problem::NotUnicode }),
    }
}

fn refuse_unknown_variables(environment: &Environment) -> Result<(), ConfigError> {
    let known = || SETTINGS.iter().filter_map(|setting| setting.env).chain(OTHER_VARIABLES.iter().copied());
    let ours = |name: &&str| name.starts_with("CHANCERY_") && !name.starts_with(TEST_PREFIX);
    match environment.names().filter(ours).find(|name| known().all(|one| one != *name)) {
        None => Ok(()),
        // The one variable without the prefix is the one people will prefix.
        Some("CHANCERY_DATABASE_URL") => Err(ConfigError::UnknownVariable {
            name: "CHANCERY_DATABASE_URL".to_owned(),
            nearest: Some("DATABASE_URL"),
        }),
        Some(name) => {
            Err(ConfigError::UnknownVariable { name: name.to_owned(), nearest: find_nearest(name, known()) })
        }
    }
}
