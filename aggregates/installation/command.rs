//! What concerns the whole installation.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

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
    /// Rows that ended before the horizon leave the read models; their events stay for ever.
    AdvanceHorizon {
        /// Rows whose last use lies before this instant are removed.
        horizon: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
}
