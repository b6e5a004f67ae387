//! Which tables does this program need? Numbered files, embedded, run in order, once.

/// A migration of one engine.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its number, counted from 1.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($engine:literal: $($version:literal $name:literal),+ $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../migrations/", $engine, "/", $name, ".sql")),
        }),+]
    };
}

/// PostgreSQL's.
pub const POSTGRES: &[Migration] = migrations!("postgres": 1 "0001_journal", 2 "0002_read_models", 3 "0003_nodes", 4 "0004_read_model_versions", 5 "0005_superusers", 6 "0006_living");
/// SQLite's.
pub const SQLITE: &[Migration] = migrations!("sqlite": 1 "0001_journal", 2 "0002_read_models", 3 "0003_nodes", 4 "0004_read_model_versions", 5 "0005_superusers", 6 "0006_living");

/// Where an engine notes which ones have run.
pub const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS schema_migrations (version bigint PRIMARY KEY, name text NOT NULL)";
