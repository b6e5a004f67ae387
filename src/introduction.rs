//! What must the log say before a server writes anything else? Whose root secret it is, and which configuration
//! the server runs with: every later event names its revision. It is written at the start, or, where the read
//! models are still another version's then, before the first request of a client is looked at.

use std::sync::Arc;

use aggregates::installation::{Installation, InstallationCommand, InstallationError};
use tokio::sync::OnceCell;

use crate::commands::{Actor, CommandError, Origin, Stream};
use crate::config::{Setting, find_setting};
use crate::journal::installation::INSTALLATION;
use crate::open::OpenError;
use crate::state::AppState;

/// Set once it is written.
pub type Introduced = Arc<OnceCell<()>>;

/// Writes what is missing of it, one at a time; fails where the read models are not this program's yet. Costs
/// nothing once it is there.
pub async fn introduce(state: &AppState) -> Result<(), OpenError> {
    if state.introduced.initialized() {
        return Ok(());
    }
    // Whoever cannot be answered anyway is told so with all others, and does not wait for a turn.
    state.journal.freshen().await?;
    let written = state.introduced.get_or_try_init(|| async {
        let engine = state.journal.engine().name();
        state.journal.read().await.map_err(|error| OpenError::Database { engine, error })?;
        bind_root_secret(state).await?;
        record_configuration(state).await
    });
    written.await.copied()
}

/// The first process writes down which root secret this log belongs to; every later one must have it.
pub(crate) async fn bind_root_secret(state: &AppState) -> Result<(), OpenError> {
    let fingerprint = state.keys.fingerprint().to_owned();
    let command = InstallationCommand::BindRootSecret { fingerprint, at: state.clock.now() };
    match execute(state, command).await {
        Ok(_) => Ok(()),
        Err(CommandError::Refused(InstallationError::OtherRootSecret)) => Err(OpenError::OtherRootSecret),
        Err(error) => Err(OpenError::Bind(error.to_string())),
    }
}

/// A changed configuration is an event.
async fn record_configuration(state: &AppState) -> Result<(), OpenError> {
    let mut settings = state.config.effective();
    settings.retain(|key, _| !find_setting(key).is_some_and(Setting::is_of_one_machine));
    let command = InstallationCommand::RecordConfiguration { settings, at: state.clock.now() };
    let executed = execute(state, command).await;
    let installation = executed.map_err(|error| OpenError::Configuration(error.to_string()))?;
    state.journal.set_configuration_revision(installation.revision());
    Ok(())
}

async fn execute(
    state: &AppState,
    command: InstallationCommand,
) -> Result<Installation, CommandError<InstallationError>> {
    let origin = Origin::internal(Actor::Server, &state.clock);
    let stream = Stream::Existing(INSTALLATION.to_owned());
    let executed = state.commands.execute::<Installation>(stream, command, &origin).await?;
    Ok(executed.state)
}
