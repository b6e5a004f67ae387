//! What happened to the whole installation.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::stored_events;

/// Events of the installation stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InstallationEvent {
    /// The server runs with another configuration than before.
    #[serde(rename = "installation.configuration_changed")]
    ConfigurationChanged {
        /// Counted from 1; metadata of later events names it.
        revision: u32,
        /// The whole effective configuration, without secrets.
        settings: BTreeMap<String, String>,
        /// When the server started with it.
        at: DateTime<Utc>,
    },
    /// From here on what is sealed, claimed and issued comes from this root secret.
    #[serde(rename = "installation.root_secret_bound")]
    RootSecretBound {
        /// What tells one root secret from another, and nothing about it.
        fingerprint: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// The log ends before what was seen of it, and goes on: nothing minted in an earlier epoch is valid.
    #[serde(rename = "installation.rollback_accepted")]
    RollbackAccepted {
        /// The epoch of keys that mint from here on, counted from 1; the first roll-back leads to 2.
        key_epoch: u8,
        /// The last event that had been seen.
        seen: i64,
        /// The last event there was.
        head: i64,
        /// When an operator accepted it.
        at: DateTime<Utc>,
    },
    /// Rows that ended before `horizon` left the read models.
    #[serde(rename = "installation.horizon_advanced")]
    HorizonAdvanced {
        /// Rows whose last use lies before this instant were removed.
        horizon: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
}

stored_events! { InstallationEvent:
    ConfigurationChanged = "installation.configuration_changed",
    RootSecretBound = "installation.root_secret_bound",
    RollbackAccepted = "installation.rollback_accepted",
    HorizonAdvanced = "installation.horizon_advanced",
}
