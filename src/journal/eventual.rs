//! How do the eventual projections follow the log? With checkpoints of their own, one at a time, whichever node is
//! first; what one cannot take stops it alone.

use std::collections::BTreeMap;
use std::sync::{PoisonError, Weak};
use std::time::Duration;

use projections::EVENTUAL;
use projections::projection::Projection;
use tokio::time::{Instant, timeout};

use super::Inner;
use super::engine::{EngineError, PAGE};
use super::feed::{check_density, check_versions, stored_versions};
use super::stored::followed_ops;

/// How far the eventual projections may lag when nobody waits for them.
const GATHERED_FOR: Duration = Duration::from_millis(200);
/// How long a newer server has for an event that only it knows, before somebody is to look after it.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(5);

/// Keeps the eventual projections going: woken by every batch, and by the poll for other processes'.
/// Batches are gathered for a moment, for a transaction of its own each would cost as much as the batch.
pub(super) async fn project(inner: Weak<Inner>) {
    let Some(mut applied) = inner.upgrade().map(|inner| inner.applied.subscribe()) else { return };
    let (mut is_behind, mut left_since) = (true, BTreeMap::new());
    loop {
        if !is_behind && applied.changed().await.is_err() {
            return;
        }
        is_behind = false;
        let Some(inner) = inner.upgrade() else { return };
        let _hurried = timeout(GATHERED_FOR, inner.hurry.notified()).await;
        if !inner.is_read() {
            is_behind = true;
            continue;
        }
        for projection in EVENTUAL {
            let Err(error) = project_all(&inner, projection).await else {
                left_since.remove(projection.name);
                inner.note_going_on(projection.name);
                continue;
            };
            is_behind = true;
            let Some(what_to_do) = what_to_do(&error) else {
                tracing::debug!(projection = projection.name, %error, "a projection is behind");
                continue;
            };
            if let EngineError::Later { .. } = error
                && left_since.entry(projection.name).or_insert_with(Instant::now).elapsed() < LEFT_TO_OTHERS
            {
                continue;
            }
            left_since.remove(projection.name);
            inner.note_trouble(projection.name, &error, what_to_do);
        }
    }
}

async fn project_all(inner: &Inner, projection: &'static Projection) -> Result<(), EngineError> {
    // Where another server has taken everything it does not show that this one could not.
    if inner.has_trouble(projection.name) {
        check_versions(&stored_versions(inner.engine.as_ref()).await?, [projection])?;
    }
    loop {
        let from = inner.engine.checkpoint(projection).await?;
        let batches = inner.engine.batches_after(from, PAGE).await?;
        inner.note_position(projection.name, from);
        let Some(to) = check_density(from, &batches)? else { return Ok(()) };
        let mut ops = Vec::new();
        let (mut to, mut stopped) = (to, None);
        for batch in &batches {
            match followed_ops(projection, batch) {
                Ok(more) => ops.extend(more),
                Err(error) => {
                    // Up to the event that cannot be taken, and no further.
                    to = batch.first - 1;
                    stopped = Some(error);
                    break;
                }
            }
        }
        // Another node may have moved the checkpoint first: then its rows are there, and we go on
        // from where it is.
        if to > from {
            inner.engine.advance(projection, from, to, &ops).await?;
            inner.note_position(projection.name, to);
        }
        if let Some(error) = stopped {
            return Err(error);
        }
    }
}

/// The first step of whoever reads why a projection stands still. Nothing where only the database's condition is in
/// the way: that passes, and others say it.
fn what_to_do(error: &EngineError) -> Option<&'static str> {
    match error {
        EngineError::Damaged(_) => {
            Some("Run `chancery verify`: was the event damaged? Tokens are not affected.")
        }
        EngineError::Later { .. } => Some(
            "Nothing while newer servers run: they take the event. Else see \"Upgrade\" in OPERATING.md.",
        ),
        EngineError::OtherVersion { .. } => Some("See \"Upgrade\" in OPERATING.md."),
        EngineError::Refused(_) => {
            Some("Give the database's role what the reason says it lacks. If it lacks nothing, report it.")
        }
        EngineError::Unavailable(_) | EngineError::Unknown(_) | EngineError::EpochMoved => None,
    }
}

impl Inner {
    fn has_trouble(&self, projection: &'static str) -> bool {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.get(projection).is_some_and(|known| known.trouble.is_some())
    }

    fn note_position(&self, projection: &'static str, position: i64) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.entry(projection).or_default().position = position;
    }

    /// An alarm once, and not at every try.
    fn note_trouble(&self, projection: &'static str, error: &EngineError, what_to_do: &'static str) {
        let trouble = Some(error.to_string());
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let known = progress.entry(projection).or_default();
        if known.trouble != trouble {
            self.metrics.met(error);
            tracing::error!(projection, reason = %error, what_to_do, "a projection stands still");
            known.trouble = trouble;
        }
    }

    fn note_going_on(&self, projection: &'static str) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.entry(projection).or_default().trouble.take().is_some() {
            tracing::info!(projection, "a projection goes on");
        }
    }
}
