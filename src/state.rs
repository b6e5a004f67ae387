//! What does every request handler share?

use std::sync::Arc;

use crate::clock::SharedClock;
use crate::commands::Commands;
use crate::config::Config;
use crate::journal::Journal;
use crate::keys::Keys;
use crate::password::{ClientSecretVerifier, PasswordPool};
use crate::personal::PersonalData;
use crate::sealing::SealedBox;
use crate::templates::Templates;

/// Everything a handler needs, cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// What the operator decided.
    pub config: Arc<Config>,
    /// What time it is.
    pub clock: SharedClock,
    /// The server's keys.
    pub keys: Arc<Keys>,
    /// The log and its read models: implements [`projections::read::Read`].
    pub journal: Journal,
    /// Executes commands.
    pub commands: Commands,
    /// Seals requests in progress.
    pub sealed: SealedBox,
    /// Opens personal data.
    pub personal: PersonalData,
    /// Hashes and checks passwords.
    pub passwords: PasswordPool,
    /// Checks client secrets.
    pub client_secrets: Arc<ClientSecretVerifier>,
    pub refusals: Arc<crate::refusals::Budget>,
    /// Renders pages.
    pub templates: Arc<Templates>,
}
