//! What does the database tell? Asked as it stands: nothing is made, nothing is migrated.

use aggregates::stored::MOST_SKEW;
use async_trait::async_trait;
use projections::read::{Read, ReadError};
use projections::row::{Row, Table, Value};
use projections::{applications, users};

use super::{Finding, Severity, open_to_read};
use crate::cli::failure::Failure;
use crate::cli::run::Context;
use crate::cli::verify::is_all_there;
use crate::config::Database;
use crate::journal::engine::{Awaited, Hazards, Replication};
use crate::journal::{Engine, EngineError};
use crate::open::root_secret;

/// A transaction that has been open for so many seconds was forgotten, or is a dump that takes too long.
const LONG_OPEN: i64 = 600;
/// From so many percent on what is kept for those who do not hear is much: where nobody looks, it is a hundred.
const MUCH_UNHEARD: i64 = 10;
/// Applications looked at; more are a matter for their pages.
const MOST_APPLICATIONS: u32 = 10_000;

pub(super) async fn check(context: &Context) -> Vec<Finding> {
    let engine = match open_to_read(context) {
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
    findings.extend(refused_start(context, engine).await?);
    let asked = Asked(engine);
    people(&asked, &mut findings).await?;
    clients(&asked, &mut findings).await?;
    let now = context.clock.now().timestamp_millis();
    let hazards = engine.hazards().await?;
    durability(&hazards, now, &mut findings);
    findings.extend(obstacles(&hazards));
    Ok(findings)
}

/// What a start would find wrong with the history, which is not asked for as long as there is none.
async fn refused_start(context: &Context, engine: &dyn Engine) -> Result<Option<Finding>, EngineError> {
    if engine.head().await?.position == 0 {
        return Ok(None);
    }
    let failure = match root_secret(&context.config, true) {
        Ok(_) => is_all_there(context, engine).await.err(),
        Err(error) => Some(error.into()),
    };
    Ok(failure.map(|failure| {
        Finding::new(
            Severity::Error,
            format!("A start is refused: {failure}."),
            failure.advice(&context.config),
        )
    }))
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
fn durability(hazards: &Hazards, now: i64, findings: &mut Vec<Finding>) {
    for name in &hazards.switched_off {
        findings.push(Finding::new(
            Severity::Error,
            format!("The database runs with {name} = off: a crash can lose what was acknowledged."),
            format!("Set {name} = on in postgresql.conf and reload it."),
        ));
    }
    if let Some(theirs) = hazards.clock {
        let apart = now.abs_diff(theirs);
        if apart > MOST_SKEW.num_milliseconds().unsigned_abs() {
            findings.push(Finding::new(
                Severity::Error,
                format!(
                    "The clocks of this machine and of the database are {apart} ms apart: a server here answers 503."
                ),
                "Let both follow the same time servers (NTP).",
            ));
        }
    }
    findings.extend(hazards.replication.as_ref().map(copies));
}

/// What may keep others from writing, or slows them down.
fn obstacles(hazards: &Hazards) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |what: String, advice: &'static str| {
        findings.push(Finding::new(Severity::Warning, what, advice));
    };
    if hazards.waits_too_long {
        warn(
            "The database has not been told to end transactions in which nothing comes: a node that stands still in \
             the middle of a batch keeps all others from writing."
                .to_owned(),
            "Let what stands in between pass the startup parameter `options`, or set \
             idle_in_transaction_session_timeout = '1s' for the role (OPERATING.md, \"Who stands still\").",
        );
    }
    if hazards.oldest_transaction >= LONG_OPEN {
        warn(
            format!(
                "A transaction has been open for {} minutes: the database keeps every row that was changed since, and \
                 each batch takes longer.",
                hazards.oldest_transaction / 60
            ),
            "Find it and end it, as OPERATING.md says (\"Who stands still\").",
        );
    }
    if hazards.unheard >= MUCH_UNHEARD {
        warn(
            format!(
                "Somebody has stopped listening, and {} % of what the database can keep for them is used: when all is, \
                 nothing can be written.",
                hazards.unheard
            ),
            "Find them and end them, as OPERATING.md says (\"Who stands still\").",
        );
    }
    findings
}

/// Whether losing the primary could lose acknowledged commands: a token that was revoked could be alive
/// again after it.
fn copies(replication: &Replication) -> Finding {
    let Replication { awaits, setting, named, standbys, synchronous, hidden } = replication;
    let follow = match standbys {
        1 => "1 standby follows the database".to_owned(),
        many => format!("{many} standbys follow the database"),
    };
    match awaits {
        Awaited::Nothing if *standbys == 0 => Finding::new(
            Severity::Note,
            "No standby follows the database: what was acknowledged outlives its crashes, and is lost with its disk.",
            "Where that is too little, run a synchronous standby (OPERATING.md); in any case keep backups.",
        ),
        Awaited::Nothing => Finding::new(
            Severity::Warning,
            format!(
                "{follow}, and no commit waits for one (synchronous_commit = {setting}, synchronous_standby_names = \
                 '{named}'): when the primary is lost, the last acknowledged commands are, revocations among them."
            ),
            "Set synchronous_standby_names to your standbys and synchronous_commit = on.",
        ),
        Awaited::Memory | Awaited::Disk if *synchronous == 0 && *hidden == 0 => Finding::new(
            Severity::Warning,
            format!(
                "Commits wait for a synchronous standby ('{named}') and none is connected, so nothing can be written."
            ),
            "Start a standby, or correct synchronous_standby_names.",
        ),
        Awaited::Memory => Finding::new(
            Severity::Warning,
            "Commits wait until a standby has them in memory only (synchronous_commit = remote_write): losing the \
             primary and the power of the standby at once loses what was acknowledged.",
            "Set synchronous_commit = on.",
        ),
        Awaited::Disk if *synchronous == 0 => Finding::new(
            Severity::Note,
            format!(
                "{follow}, and commits wait for '{named}'; which of them are connected, this user may not see."
            ),
            "GRANT pg_monitor to the user of --database-url, and only ever promote a standby that is synchronous.",
        ),
        Awaited::Disk => Finding::new(
            Severity::Note,
            format!(
                "{follow}, {synchronous} of them synchronous: losing the primary loses nothing acknowledged."
            ),
            "Only ever promote a standby that is synchronous.",
        ),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn replication(setting: &str, named: &str, standbys: [i64; 3]) -> Replication {
        let awaits = match (named, setting) {
            ("", _) | (_, "local") => Awaited::Nothing,
            (_, "remote_write") => Awaited::Memory,
            _ => Awaited::Disk,
        };
        let [standbys, synchronous, hidden] = standbys;
        Replication {
            awaits,
            setting: setting.to_owned(),
            named: named.to_owned(),
            standbys,
            synchronous,
            hidden,
        }
    }

    #[test]
    fn a_primary_that_may_be_lost_with_what_it_acknowledged_is_told() {
        for (setting, named, standbys, severity, about) in [
            ("on", "", [0, 0, 0], Severity::Note, "lost with its disk"),
            ("on", "", [1, 0, 0], Severity::Warning, "1 standby follows the database, and no commit waits"),
            ("on", "", [2, 0, 2], Severity::Warning, "2 standbys follow"),
            ("local", "*", [1, 1, 0], Severity::Warning, "synchronous_commit = local"),
            ("remote_write", "*", [1, 1, 0], Severity::Warning, "in memory only"),
            ("on", "a", [1, 0, 0], Severity::Warning, "nothing can be written"),
            ("on", "a", [1, 0, 1], Severity::Note, "may not see"),
            ("remote_apply", "a", [2, 1, 0], Severity::Note, "1 of them synchronous"),
        ] {
            let finding = copies(&replication(setting, named, standbys));
            assert!(finding.severity == severity && finding.what.contains(about), "{finding:?}");
        }
    }

    #[test]
    fn switched_off_safety_and_a_wrong_clock_are_told() {
        let hazards = Hazards { switched_off: vec!["fsync"], clock: Some(10_000), ..Hazards::default() };
        let mut findings = Vec::new();
        durability(&hazards, 12_001, &mut findings);
        let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Error, Severity::Error]);
        findings.clear();
        durability(&Hazards { switched_off: vec![], ..hazards }, 12_000, &mut findings);
        durability(&Hazards::default(), 12_000, &mut findings);
        assert_eq!(findings, []);
    }

    #[test]
    fn who_keeps_others_from_writing_is_told() {
        let well = Hazards { oldest_transaction: 599, unheard: 9, ..Hazards::default() };
        assert_eq!(obstacles(&well), []);
        for (hazards, about) in [
            (Hazards { waits_too_long: true, ..well.clone() }, "in which nothing comes"),
            (Hazards { oldest_transaction: 600, ..well.clone() }, "open for 10 minutes"),
            (Hazards { unheard: 10, ..well.clone() }, "10 % of what the database can keep"),
        ] {
            let found = obstacles(&hazards);
            assert!(matches!(&found[..], [one] if one.what.contains(about)), "{found:?}");
            assert_eq!(found[0].severity, Severity::Warning);
        }
    }
}
