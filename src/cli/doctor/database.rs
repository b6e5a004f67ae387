//! What does the database tell? Asked as it stands: nothing is made, nothing is migrated.

use async_trait::async_trait;
use projections::read::{Read, ReadError};
use projections::row::{Row, Table, Value};
use projections::{applications, users};

use super::{Finding, Severity, open_existing};
use crate::cli::failure::Failure;
use crate::cli::run::Context;
use crate::clock::Clock;
use crate::config::Database;
use crate::journal::{Engine, EngineError};

/// Clocks further apart than this make lifetimes wrong on one of two nodes, in milliseconds.
const CLOCK_DIFFERENCE: i64 = 2_000;
/// Applications looked at; more are a matter for their pages.
const MOST_APPLICATIONS: u32 = 10_000;

pub(super) async fn check(context: &Context) -> Vec<Finding> {
    let engine = match open_existing(context) {
        Ok(engine) => engine,
        Err(Failure::NothingYet(path)) => {
            return vec![Finding::new(
                Severity::Note,
                format!("There is no database at {} yet.", path.display()),
                "Start the server, or create a superuser first: both make it.",
            )];
        }
        Err(failure) => return vec![unreachable_database(context, &failure.to_string())],
    };
    match findings(context, engine.as_ref()).await {
        Ok(findings) => findings,
        Err(error) => vec![unreachable_database(context, &error.to_string())],
    }
}

fn unreachable_database(context: &Context, reason: &str) -> Finding {
    let database = match &context.config.database {
        Database::Embedded(path) => path.display().to_string(),
        Database::Postgres(url) => url.to_string(),
    };
    Finding::new(
        Severity::Error,
        format!("The database {database} cannot be asked: {reason}."),
        "Start the database, or correct --database-url or --data-dir; `chancery config` shows what is in force.",
    )
}

async fn findings(context: &Context, engine: &dyn Engine) -> Result<Vec<Finding>, EngineError> {
    let pending = engine.pending_migrations().await?;
    if pending > 0 {
        let advice = "Run `chancery migrate` after a backup, or start without --no-migrate.";
        return Ok(vec![Finding::new(
            if context.config.migrate { Severity::Note } else { Severity::Error },
            format!("{pending} migrations have not been run."),
            advice,
        )]);
    }
    let mut findings = Vec::new();
    let asked = Asked(engine);
    people(&asked, &mut findings).await?;
    clients(&asked, &mut findings).await?;
    if engine.name() == "PostgreSQL" {
        postgres(engine, context.clock.as_ref(), &mut findings).await?;
    }
    Ok(findings)
}

async fn people(read: &Asked<'_>, findings: &mut Vec<Finding>) -> Result<(), EngineError> {
    if !users::has_superuser(read).await.map_err(unread)? {
        findings.push(Finding::new(
            Severity::Warning,
            "There is no superuser: nobody can manage what belongs to others.",
            "Run `chancery createsuperuser`.",
        ));
    }
    Ok(())
}

async fn clients(read: &Asked<'_>, findings: &mut Vec<Finding>) -> Result<(), EngineError> {
    use aggregates::values::GrantType;
    let all = applications::list_applications(read, None, None, MOST_APPLICATIONS).await.map_err(unread)?;
    let without_pkce: Vec<&str> = all
        .iter()
        .filter(|one| one.settings.may_use(GrantType::AuthorizationCode) && !one.settings.requires_pkce())
        .map(|one| one.client_id.as_str())
        .collect();
    if !without_pkce.is_empty() {
        findings.push(Finding::new(
            Severity::Warning,
            format!("Authorization requests without PKCE are accepted of: {}.", without_pkce.join(", ")),
            "Switch on \"Require PKCE\" on their pages as soon as they send a code challenge (RFC 9700 §2.1.1).",
        ));
    }
    let trusted: Vec<&str> =
        all.iter().filter(|one| one.settings.skip_authorization).map(|one| one.client_id.as_str()).collect();
    if !trusted.is_empty() {
        findings.push(Finding::new(
            Severity::Note,
            format!("Nobody is asked for consent by: {}.", trusted.join(", ")),
            "Leave this on for applications of your own only.",
        ));
    }
    Ok(())
}

/// What an acknowledged command's durability depends on, and whether the clocks agree.
async fn postgres(
    engine: &dyn Engine,
    clock: &dyn Clock,
    findings: &mut Vec<Finding>,
) -> Result<(), EngineError> {
    let sql = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')";
    for row in engine.query(sql, &[]).await? {
        if let [Value::Text(name), Value::Text(setting)] = row.as_slice()
            && setting == "off"
        {
            findings.push(Finding::new(
                Severity::Error,
                format!("PostgreSQL runs with {name} = off: a crash can lose what was acknowledged."),
                format!("Set {name} = on in postgresql.conf and reload it."),
            ));
        }
    }
    let sql = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)";
    let rows = engine.query(sql, &[]).await?;
    if let Some(Value::Int(theirs)) = rows.first().and_then(|row| row.first()) {
        let apart = clock.now().timestamp_millis().abs_diff(*theirs);
        if apart > CLOCK_DIFFERENCE.unsigned_abs() {
            findings.push(Finding::new(
                Severity::Warning,
                format!("The clocks of this machine and of the database are {apart} ms apart."),
                "Let both follow the same time servers (NTP).",
            ));
        }
    }
    Ok(())
}

/// Read models asked without a journal: the doctor keeps nothing in memory.
struct Asked<'a>(&'a dyn Engine);

#[async_trait]
impl Read for Asked<'_> {
    async fn find(&self, table: &'static Table, key: &str) -> Result<Option<std::sync::Arc<Row>>, ReadError> {
        Ok(self.0.find_row(table, key).await?.0.map(std::sync::Arc::new))
    }

    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, ReadError> {
        Ok(self.0.query(sql, parameters).await?)
    }
}

fn unread(error: ReadError) -> EngineError {
    match error {
        ReadError::Unavailable { reason } => EngineError::Unavailable(reason),
        ReadError::Damaged { table, column } => {
            EngineError::Damaged(format!("table {table}, column {column}"))
        }
    }
}
