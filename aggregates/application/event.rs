//! What happened to an application.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::{ApplicationSettings, Provenance};
use crate::stored::stored_events;
use crate::values::SecretRef;

/// Events of the application stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "fields are documented at the command that leads to the event")]
pub enum ApplicationEvent {
    #[serde(rename = "application.registered")]
    ApplicationRegistered {
        client_id: String,
        owner: Option<String>,
        settings: ApplicationSettings,
        secret: Option<SecretRef>,
        provenance: Provenance,
        at: DateTime<Utc>,
    },
    #[serde(rename = "application.updated")]
    ApplicationUpdated { settings: ApplicationSettings, at: DateTime<Utc> },
    /// `retired` names the verifier whose row is deleted in the same transaction.
    #[serde(rename = "application.secret_rotated")]
    SecretRotated { secret: SecretRef, retired: Option<String>, at: DateTime<Utc> },
    #[serde(rename = "application.disabled")]
    ApplicationDisabled { at: DateTime<Utc> },
    #[serde(rename = "application.enabled")]
    ApplicationEnabled { at: DateTime<Utc> },
    #[serde(rename = "application.deleted")]
    ApplicationDeleted { retired: Option<String>, at: DateTime<Utc> },
}

stored_events! { ApplicationEvent:
    ApplicationRegistered = "application.registered",
    ApplicationUpdated = "application.updated",
    SecretRotated = "application.secret_rotated",
    ApplicationDisabled = "application.disabled",
    ApplicationEnabled = "application.enabled",
    ApplicationDeleted = "application.deleted",
}
