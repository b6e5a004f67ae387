//! What a person allowed a client once and need not be asked again (OIDC Core §3.1.2.4).

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::ConsentCommand;
pub use error::ConsentError;
pub use event::ConsentEvent;

use crate::stored::{Decide, aggregate};
use crate::values::Scope;

/// State of a consent stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Consent {
    scope: Scope,
    latest: DateTime<Utc>,
}

aggregate!(Consent, "consent", ConsentCommand, ConsentEvent, ConsentError);

impl Decide for Consent {
    fn decide(&self, command: ConsentCommand) -> Result<Vec<ConsentEvent>, ConsentError> {
        match command {
            ConsentCommand::RememberConsent { subject, client_id, scope, at } => {
                let all = self.scope.union(&scope);
                Ok(self
                    .remember(&scope, ConsentEvent::ConsentRemembered { subject, client_id, scope: all, at }))
            }
            ConsentCommand::ForgetConsent { at } => Ok(self.forget(at)),
        }
    }
}

impl Consent {
    fn remember(&self, asked: &Scope, event: ConsentEvent) -> Vec<ConsentEvent> {
        if self.covers(asked) { Vec::new() } else { vec![event] }
    }

    fn forget(&self, at: DateTime<Utc>) -> Vec<ConsentEvent> {
        if self.scope.is_empty() { Vec::new() } else { vec![ConsentEvent::ConsentForgotten { at }] }
    }

    fn apply_event(&mut self, event: ConsentEvent) {
        match event {
            ConsentEvent::ConsentRemembered { subject: _, client_id: _, scope, at: _ } => self.scope = scope,
            ConsentEvent::ConsentForgotten { at: _ } => self.scope = Scope::default(),
        }
    }

    /// Whether all of `asked` was allowed before.
    #[must_use]
    pub fn covers(&self, asked: &Scope) -> bool {
        self.scope.contains_all(asked)
    }

    /// All that is remembered.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}
