//! When do expired rows leave? By events, every ten minutes, so that rebuilt read models still equal
//! the live ones. What has expired is dead by its time alone, and what has left is gone on every node and in every
//! replay: so a machine whose clock cannot be trusted takes nothing away.
//!
//! They leave in slices, however many have expired: the rows of a slice are one transaction with the commands of
//! others, who wait for it and fail with it.

use std::time::Duration;

use aggregates::installation::{Installation, InstallationCommand, InstallationError};
use chrono::{DateTime, TimeDelta, Utc};
use projections::row::{Table, Value};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::commands::{Actor, CommandError, Origin, Stream};
use crate::introduction::introduce;
use crate::journal::installation::INSTALLATION;
use crate::journal::{EngineError, Stale};
use crate::open::OpenError;
use crate::state::AppState;

const EVERY: Duration = Duration::from_mins(10);
/// Rows stay for a day after their end, for whoever asks what just happened.
const KEPT: TimeDelta = TimeDelta::days(1);
/// At most so many rows of a table leave by one event (more only where more ended in one millisecond). With fewer there
/// were more events: it is ten a second already where 20,000 tokens expire a second. With more, whoever shares the
/// transaction would feel it.
pub const SLICE: usize = 2_000;
/// After so many failures in a row, which is half an hour, it is trouble.
const TROUBLE: u32 = 3;

/// Why expired rows stay for now.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum NotAdvanced {
    /// This process may not write yet.
    Unready(#[from] OpenError),
    /// It does not know whether its clock is right.
    Stale(#[from] Stale),
    /// The database does not tell what has expired.
    Unread(#[from] EngineError),
    /// The event was not written.
    Unwritten(#[from] CommandError<InstallationError>),
}

/// Advances the horizon until told to stop.
pub(super) async fn follow(state: AppState, mut stopping: watch::Receiver<bool>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and a start should not write more than it must.
    ticks.tick().await;
    let mut failures: u32 = 0;
    loop {
        let next = async {
            ticks.tick().await;
            advance(&state).await
        };
        let advanced = tokio::select! {
            advanced = next => advanced,
            _ = stopping.changed() => return,
        };
        let Err(error) = advanced else {
            failures = 0;
            continue;
        };
        failures += 1;
        if failures.is_multiple_of(TROUBLE) {
            tracing::warn!(
                %error, failures,
                what_to_do = "See to what the error says: until then the tables grow. Nothing that expired is alive.",
                "expired rows could not be removed"
            );
        } else {
            tracing::debug!(%error, "expired rows could not be removed");
        }
    }
}

/// Takes away what ended more than a day ago, slice by slice.
pub async fn advance(state: &AppState) -> Result<(), NotAdvanced> {
    introduce(state).await?;
    let end = state.clock.now() - KEPT;
    // Asked after the time, which is the one that was judged then.
    state.journal.freshen().await?;
    let mut horizon = DateTime::<Utc>::MIN_UTC;
    loop {
        let begun = Instant::now();
        horizon = slice_after(state, horizon).await?.map_or(end, |slice| slice.min(end));
        advance_to(state, horizon).await?;
        if horizon == end {
            return Ok(());
        }
        // Half of the time is for others.
        sleep(begun.elapsed()).await;
    }
}

/// Where the next slice ends: no table has more rows than one between here and there. Nothing when none has as many
/// left.
///
/// Rows that end before the last slice are not looked at, although the next one takes them: only a wrong clock
/// can have written any, and what is asked for lies behind the remains of what has just left.
async fn slice_after(state: &AppState, last: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, EngineError> {
    let ends: Vec<String> = projections::transactional_tables().filter_map(end_of_slice).collect();
    let sql = format!("SELECT min(slice_end) FROM ({}) AS slices", ends.join(" UNION ALL "));
    let rows = state.journal.engine().query(&sql, &[last.into()]).await?;
    let Some(Value::Int(end)) = rows.into_iter().flatten().next() else { return Ok(None) };
    // More rows than a slice that end at once must leave at once.
    let next = last.timestamp_millis().saturating_add(1);
    Ok(DateTime::from_timestamp_millis(end.max(next)))
}

/// The end of the first row that is too many for a slice, which begins at `$1`. In the order of the index and with no
/// upper bound: a planner that takes few rows for expired would sort them all.
fn end_of_slice(table: &'static Table) -> Option<String> {
    let (name, end) = (table.name, table.columns.get(table.keep_until?)?.name);
    Some(format!(
        "SELECT (SELECT {end} FROM {name} WHERE {end} >= $1 ORDER BY {end} LIMIT 1 OFFSET {SLICE}) AS slice_end"
    ))
}

async fn advance_to(state: &AppState, horizon: DateTime<Utc>) -> Result<(), NotAdvanced> {
    let command = InstallationCommand::AdvanceHorizon { horizon, at: state.clock.now() };
    let origin = Origin::internal(Actor::Server, &state.clock);
    let stream = Stream::Existing(INSTALLATION.to_owned());
    match state.commands.execute::<Installation>(stream, command, &origin).await {
        // Another node has advanced it further: this slice is gone.
        Ok(_) | Err(CommandError::Refused(InstallationError::HorizonOnlyForward)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
