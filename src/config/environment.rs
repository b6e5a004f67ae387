//! What did the process inherit? The one place that looks at environment variables.
//!
//! Everything else receives an [`Environment`], so tests describe one instead of changing their own process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::SecretText;

/// The environment variables of a process, read once.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Reads the variables of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    pub fn capture() -> Self {
        // A name that is not UTF-8 cannot be one of ours.
        let readable = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Self { variables: std::env::vars_os().filter_map(readable).collect() }
    }

    /// Whether `NO_COLOR` or a dumb terminal asks for plain text (<https://no-color.org>).
    #[must_use]
    pub fn wants_no_colour(&self) -> bool {
        self.find("NO_COLOR").is_some_and(|value| !value.is_empty())
            || self.find("TERM").is_some_and(|value| value == "dumb")
    }

    /// `CHANCERY_PASSWORD`, which only the commands with `--noinput` look at.
    #[must_use]
    pub fn password(&self) -> Option<SecretText> {
        self.find("CHANCERY_PASSWORD")?.to_str().map(SecretText::from)
    }

    /// The directory of configuration files (XDG Base Directory Specification).
    #[must_use]
    pub fn config_home(&self) -> Option<PathBuf> {
        self.directory("XDG_CONFIG_HOME").or_else(|| Some(self.directory("HOME")?.join(".config")))
    }

    /// The directory of application data (XDG Base Directory Specification).
    #[must_use]
    pub fn data_home(&self) -> Option<PathBuf> {
        self.directory("XDG_DATA_HOME").or_else(|| Some(self.directory("HOME")?.join(".local").join("share")))
    }

    /// The directory of what a program remembers from one run to the next (XDG Base Directory Specification).
    #[must_use]
    pub fn state_home(&self) -> Option<PathBuf> {
        self.directory("XDG_STATE_HOME")
            .or_else(|| Some(self.directory("HOME")?.join(".local").join("state")))
    }

    /// The value of a variable that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.find(name)?.to_str()
    }

    /// The value of a variable, whether or not it is text.
    pub(super) fn find(&self, name: &str) -> Option<&OsString> {
        self.variables.get(name)
    }

    /// The names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The specification says to ignore a relative path here.
    fn directory(&self, name: &str) -> Option<PathBuf> {
        self.find(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

impl<Name: Into<String>, Value: Into<OsString>> FromIterator<(Name, Value)> for Environment {
    fn from_iter<Pairs: IntoIterator<Item = (Name, Value)>>(pairs: Pairs) -> Self {
        let owned = |(name, value): (Name, Value)| (name.into(), value.into());
        Self { variables: pairs.into_iter().map(owned).collect() }
    }
}

/// Values can be passwords, so only names are shown.
impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_xdg_directory_is_ignored() {
        let environment = Environment::from_iter([("XDG_DATA_HOME", "data"), ("HOME", "/home/ada")]);
        assert_eq!(environment.data_home(), Some(PathBuf::from("/home/ada/.local/share")));
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let environment = Environment::from_iter([("CHANCERY_PASSWORD", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"CHANCERY_PASSWORD"}"#);
    }

    #[test]
    fn an_empty_no_color_means_nothing() {
        assert!(!Environment::from_iter([("NO_COLOR", "")]).wants_no_colour());
        assert!(Environment::from_iter([("NO_COLOR", "1")]).wants_no_colour());
    }
}
