//! What does every request handler share?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::SharedClock;
use crate::commands::Commands;
use crate::config::Config;
use crate::introduction::Introduced;
use crate::journal::Journal;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::middleware::cors::KnownOrigins;
use crate::middleware::limits::Bodies;
use crate::middleware::rate_limit::RateLimits;
use crate::password::{ClientSecretVerifier, PasswordPool};
use crate::personal::PersonalData;
use crate::refusals::Budget;
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
    /// Renders pages.
    pub templates: Arc<Templates>,
    /// How many refusals of strangers may still be kept.
    pub refusals: Arc<Budget>,
    /// What the HTTP side counts.
    pub metrics: Metrics,
    /// How often one address or client may come.
    pub rate_limits: Arc<RateLimits>,
    /// Bytes of bodies in memory.
    pub bodies: Bodies,
    /// Set once, when the server begins to stop.
    pub draining: Arc<AtomicBool>,
    /// Whether the log knows of this server.
    pub introduced: Introduced,
    /// The origins that may call from a browser.
    pub origins: Arc<KnownOrigins>,
}

impl AppState {
    /// Whether the server has begun to stop: who balances load should choose another.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
