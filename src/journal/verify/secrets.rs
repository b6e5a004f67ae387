//! Is what is kept beside the log, and is in no event, what the events refer to? Of a verifier nobody can tell whether
//! it is the one that was put there; that one stands where none belongs, or of another kind, can be told.

use std::collections::{BTreeMap, BTreeSet};

use aggregates::AnyEvent;
use aggregates::user::UserEvent;
use aggregates::values::SecretKind;
use projections::row::Value;

use super::{VerifyError, show};
use crate::journal::claims::verifiers;
use crate::journal::engine::{Engine, EngineError};
use crate::password::kind_of;

/// What should be there.
#[derive(Default)]
pub(super) struct Expected {
    verifiers: BTreeMap<String, SecretKind>,
    subjects: BTreeSet<String>,
}

/// What is not there: a log that was imported without its secrets has none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Verifiers of passwords and client secrets.
    pub verifiers: usize,
    /// Keys under which people's data is sealed.
    pub subject_keys: usize,
}

impl Expected {
    pub(super) fn take(&mut self, event: &AnyEvent) {
        let verifiers = verifiers(event);
        if let Some(id) = verifiers.retired {
            self.verifiers.remove(id);
        }
        if let Some(secret) = verifiers.kept {
            self.verifiers.insert(secret.id.clone(), secret.kind);
        }
        if let AnyEvent::User(UserEvent::UserRegistered { subject, .. }) = event {
            self.subjects.insert(subject.clone());
        }
    }

    /// Holds the tables against it; `None` when the log has moved on from this position meanwhile.
    pub(super) async fn compare(
        &self,
        engine: &dyn Engine,
        position: i64,
    ) -> Result<Option<Missing>, VerifyError> {
        // Of a verifier its beginning, which tells its kind: all of it is nobody's business.
        let verifiers = engine.query("SELECT id, substr(verifier, 1, 16) FROM secrets", &[]).await?;
        let subjects =
            engine.query("SELECT subject FROM subject_keys WHERE subject NOT LIKE 'month:%'", &[]).await?;
        if engine.head().await?.position != position {
            return Ok(None);
        }
        for row in &verifiers {
            let [Value::Text(id), Value::Text(beginning)] = row.as_slice() else { return Err(no_text()) };
            let difference = match self.verifiers.get(id) {
                Some(kind) if kind_of(beginning) == Some(*kind) => continue,
                Some(_) => "it is not of the kind that its event says",
                None => "no event refers to it",
            };
            return Err(VerifyError::Beside { table: "secrets", key: id.clone(), difference });
        }
        for row in &subjects {
            let [Value::Text(subject)] = row.as_slice() else { return Err(no_text()) };
            if !self.subjects.contains(subject) {
                let difference = "no event refers to it";
                return Err(VerifyError::Beside { table: "subject_keys", key: show(row), difference });
            }
        }
        // Each of those that are there is another one of those that should be.
        Ok(Some(Missing {
            verifiers: self.verifiers.len().saturating_sub(verifiers.len()),
            subject_keys: self.subjects.len().saturating_sub(subjects.len()),
        }))
    }
}

fn no_text() -> VerifyError {
    EngineError::Damaged("a key has another shape".to_owned()).into()
}
