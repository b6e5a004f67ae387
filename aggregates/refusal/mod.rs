//! A request that a rule refused, kept so that a person and an auditor can find out why.

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::{RefusalCommand, RefusedRequest, Rule};
pub use error::RefusalError;
pub use event::RefusalEvent;

use crate::stored::{Decide, aggregate};

/// State of a refusal stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Refusal {
    refused: Option<RefusedRequest>,
    latest: DateTime<Utc>,
}

aggregate!(Refusal, "refusal", RefusalCommand, RefusalEvent, RefusalError);

impl Decide for Refusal {
    fn decide(&self, command: RefusalCommand) -> Result<Vec<RefusalEvent>, RefusalError> {
        match command {
            RefusalCommand::RecordRefusal { refused, at } => self.record(refused, at),
        }
    }
}

impl Refusal {
    fn record(&self, refused: RefusedRequest, at: DateTime<Utc>) -> Result<Vec<RefusalEvent>, RefusalError> {
        if self.refused.is_some() {
            return Err(RefusalError::AlreadyRecorded);
        }
        Ok(vec![RefusalEvent::RefusalRecorded { refused, at }])
    }

    fn apply_event(&mut self, event: RefusalEvent) {
        match event {
            RefusalEvent::RefusalRecorded { refused, at: _ } => self.refused = Some(refused),
        }
    }

    /// What was refused, once recorded.
    #[must_use]
    pub fn refused(&self) -> Option<&RefusedRequest> {
        self.refused.as_ref()
    }
}
