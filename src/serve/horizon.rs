//! When do expired rows leave? By an event, every ten minutes, so that rebuilt read models still equal
//! the live ones. What has expired is dead by its time alone, and what has left is gone on every node and in every
//! replay: so a machine whose clock cannot be trusted takes nothing away.

use std::time::Duration;

use aggregates::installation::{Installation, InstallationCommand};
use chrono::TimeDelta;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::commands::{Actor, Origin, Stream};
use crate::introduction::introduce;
use crate::open::INSTALLATION;
use crate::state::AppState;

const EVERY: Duration = Duration::from_mins(10);
/// Rows stay for a day after their end, for whoever asks what just happened.
const KEPT: TimeDelta = TimeDelta::days(1);

/// Advances the horizon until told to stop.
pub(super) async fn follow(state: AppState, mut stopping: watch::Receiver<bool>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, and a start should not write more than it must.
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => advance(&state).await,
            _ = stopping.changed() => return,
        }
    }
}

pub(super) async fn advance(state: &AppState) {
    if let Err(error) = introduce(state).await {
        return tracing::debug!(%error, "the horizon was not advanced");
    }
    let now = state.clock.now();
    // Asked after the time, which is the one that was judged then.
    if let Err(why) = state.journal.freshen().await {
        return tracing::debug!(%why, "the horizon was not advanced");
    }
    let command = InstallationCommand::AdvanceHorizon { horizon: now - KEPT, at: now };
    let origin = Origin::internal(Actor::Server, &state.clock);
    let stream = Stream::Existing(INSTALLATION.to_owned());
    // Another node may have advanced it further: then there is nothing to do.
    if let Err(error) = state.commands.execute::<Installation>(stream, command, &origin).await {
        tracing::debug!(error = %error, "the horizon was not advanced");
    }
}
