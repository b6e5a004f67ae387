//! What the whole installation runs with, and up to when read models were cleared.

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::InstallationCommand;
pub use error::InstallationError;
pub use event::InstallationEvent;

use crate::stored::{Decide, aggregate};

/// State of the installation stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Installation {
    revision: u32,
    settings: BTreeMap<String, String>,
    #[serde(default)]
    root_secret: Option<String>,
    #[serde(default)]
    rollbacks: u8,
    horizon: Option<DateTime<Utc>>,
    latest: DateTime<Utc>,
}

aggregate!(Installation, "installation", InstallationCommand, InstallationEvent, InstallationError);

impl Decide for Installation {
    fn decide(&self, command: InstallationCommand) -> Result<Vec<InstallationEvent>, InstallationError> {
        match command {
            InstallationCommand::RecordConfiguration { settings, at } => {
                Ok(self.record_configuration(settings, at))
            }
            InstallationCommand::BindRootSecret { fingerprint, at } => self.bind_root_secret(fingerprint, at),
            InstallationCommand::AcceptRollback { seen, head, at } => self.accept_rollback(seen, head, at),
            InstallationCommand::AdvanceHorizon { horizon, at } => self.advance_horizon(horizon, at),
        }
    }
}

impl Installation {
    fn record_configuration(
        &self,
        settings: BTreeMap<String, String>,
        at: DateTime<Utc>,
    ) -> Vec<InstallationEvent> {
        if self.revision > 0 && self.settings == settings {
            return Vec::new();
        }
        let revision = self.revision.saturating_add(1);
        vec![InstallationEvent::ConfigurationChanged { revision, settings, at }]
    }

    fn bind_root_secret(
        &self,
        fingerprint: String,
        at: DateTime<Utc>,
    ) -> Result<Vec<InstallationEvent>, InstallationError> {
        match &self.root_secret {
            None => Ok(vec![InstallationEvent::RootSecretBound { fingerprint, at }]),
            Some(own) if *own == fingerprint => Ok(Vec::new()),
            Some(_) => Err(InstallationError::OtherRootSecret),
        }
    }

    fn accept_rollback(
        &self,
        seen: i64,
        head: i64,
        at: DateTime<Utc>,
    ) -> Result<Vec<InstallationEvent>, InstallationError> {
        let key_epoch = self.key_epoch().checked_add(1).ok_or(InstallationError::NoEpochLeft)?;
        Ok(vec![InstallationEvent::RollbackAccepted { key_epoch, seen, head, at }])
    }

    fn advance_horizon(
        &self,
        horizon: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<Vec<InstallationEvent>, InstallationError> {
        match self.horizon {
            Some(own) if horizon < own => Err(InstallationError::HorizonOnlyForward),
            Some(own) if horizon == own => Ok(Vec::new()),
            Some(_) | None => Ok(vec![InstallationEvent::HorizonAdvanced { horizon, at }]),
        }
    }

    fn apply_event(&mut self, event: InstallationEvent) {
        match event {
            InstallationEvent::ConfigurationChanged { revision, settings, at: _ } => {
                self.revision = revision;
                self.settings = settings;
            }
            InstallationEvent::RootSecretBound { fingerprint, at: _ } => self.root_secret = Some(fingerprint),
            InstallationEvent::RollbackAccepted { key_epoch, .. } => {
                self.rollbacks = key_epoch.saturating_sub(1);
            }
            InstallationEvent::HorizonAdvanced { horizon, at: _ } => self.horizon = Some(horizon),
        }
    }

    /// The epoch of keys that mint; each accepted roll-back begins a new one.
    #[must_use]
    pub fn key_epoch(&self) -> u8 {
        self.rollbacks.saturating_add(1)
    }

    /// The revision of the configuration; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// The configuration as recorded.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Rows whose last use lies before this instant were removed.
    #[must_use]
    pub fn horizon(&self) -> Option<DateTime<Utc>> {
        self.horizon
    }
}
