//! Which database holds the log: the embedded one, or `PostgreSQL`?

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::error::Problem;

/// The name of the embedded database in the data directory.
pub(super) const EMBEDDED_FILE: &str = "chancery.db";

/// Where the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// `SQLite` in this file.
    Embedded(PathBuf),
    /// `PostgreSQL`.
    Postgres(DatabaseUrl),
}

impl Database {
    /// Which kind it is, and where.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Embedded(path) => format!("SQLite, {}", path.display()),
            Self::Postgres(url) => format!("PostgreSQL, {url}"),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => path.display().fmt(formatter),
            Self::Postgres(url) => url.fmt(formatter),
        }
    }
}

/// A `PostgreSQL` URL. `Display` and `Debug` never show its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Url);

impl DatabaseUrl {
    /// Reads a database URL.
    pub(super) fn parse(written: &str) -> Result<Self, Problem> {
        let url = Url::parse(written).map_err(|_| Problem::DatabaseUrl)?;
        match url.scheme() {
            // Without its slashes it has a path only, in which nobody would find the password to hide.
            "postgres" | "postgresql" if url.cannot_be_a_base() => Err(Problem::DatabaseUrl),
            "postgres" | "postgresql" => Ok(Self(url)),
            other => Err(Problem::DatabaseScheme(other.to_owned())),
        }
    }

    /// The whole URL with its password, for the driver and nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }
}

impl DatabaseUrl {
    /// Whether somebody who reads it can connect.
    pub(super) fn has_password(&self) -> bool {
        self.0.password().is_some() || self.0.query_pairs().any(|(name, _)| name == "password")
    }

    /// Which database on which server, whoever connects.
    #[must_use]
    pub fn place(&self) -> String {
        let port = self.0.port().unwrap_or(5432);
        format!("{}:{port}{}", self.0.host_str().unwrap_or_default(), self.0.path())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.password().is_some() {
            // Fails only for URLs without a host, which then have no password.
            let _ = shown.set_password(Some("***"));
        }
        // libpq also accepts the password as a parameter.
        if shown.query_pairs().any(|(name, _)| name == "password") {
            shown.set_query(Some("***"));
        }
        formatter.write_str(shown.as_str())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_used_and_never_shown() {
        for written in
            ["postgres://ada:hunter2@db/chancery", "postgresql://db/chancery?user=ada&password=hunter2"]
        {
            let url = DatabaseUrl::parse(written).unwrap();
            assert!(url.expose().contains("hunter2"));
            assert!(!format!("{url} {url:?} {:?}", Database::Postgres(url.clone())).contains("hunter2"));
        }
    }

    #[test]
    fn other_databases_are_refused_without_repeating_the_url() {
        let refused = DatabaseUrl::parse("mysql://ada:hunter2@db/chancery").unwrap_err();
        assert_eq!(refused, Problem::DatabaseScheme("mysql".to_owned()));
        assert_eq!(DatabaseUrl::parse("ada:hunter2@db"), Err(Problem::DatabaseScheme("ada".to_owned())));
        assert_eq!(DatabaseUrl::parse("/var/lib/db"), Err(Problem::DatabaseUrl));
        assert_eq!(DatabaseUrl::parse("postgres:ada:hunter2@db/chancery"), Err(Problem::DatabaseUrl));
    }
}
