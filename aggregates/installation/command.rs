//! What concerns the whole installation.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::stored::dated;

/// Commands of the installation aggregate: one stream.
#[derive(Clone, Debug)]
pub enum InstallationCommand {
    /// Records the effective configuration; nothing happens when it has not changed.
    RecordConfiguration {
        /// Names and values, without secrets.
        settings: BTreeMap<String, String>,
        /// When the server started with it.
        at: DateTime<Utc>,
    },
    /// Ties the log to the root secret its events are sealed under; nothing happens when it is so already.
    BindRootSecret {
        /// What tells one root secret from another, and nothing about it.
        fingerprint: String,
        /// When it was first used.
        at: DateTime<Utc>,
    },
    /// Goes on with a log that ends before what was seen of it: a restored backup.
    AcceptRollback {
        /// The last event that had been seen.
        seen: i64,
        /// The last event there is.
        head: i64,
        /// When an operator accepted it.
        at: DateTime<Utc>,
    },
    /// Rows that ended before the horizon leave the read models; their events stay for ever.
    AdvanceHorizon {
        /// Rows whose last use lies before this instant are removed.
        horizon: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
}

dated!(InstallationCommand: RecordConfiguration, BindRootSecret, AcceptRollback, AdvanceHorizon);
