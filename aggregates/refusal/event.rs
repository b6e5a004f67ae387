//! What was refused.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::RefusedRequest;
use crate::stored::stored_events;

/// Events of the refusal stream, version 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RefusalEvent {
    /// A request was refused by a rule.
    #[serde(rename = "refusal.recorded")]
    RefusalRecorded {
        /// What was refused.
        refused: RefusedRequest,
        /// When.
        at: DateTime<Utc>,
    },
}

stored_events! { RefusalEvent:
    RefusalRecorded = "refusal.recorded",
}
