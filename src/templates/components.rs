//! What are pages built from? The small parts that several of them share.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The state of something granted. Its shape and its word carry the state, colour only helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// It works now.
    Live,
    /// It did its work and is spent.
    Used,
    /// Somebody, or a rule, ended it.
    Revoked,
    /// Its time ran out.
    Expired,
    /// It was asked for and not given.
    Refused,
    /// It is a fact without a state.
    Neutral,
}

/// A link in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What it is called.
    pub label: String,
    /// Where it leads.
    pub href: String,
}

impl Link {
    /// A link in words.
    #[must_use]
    pub fn new(label: impl Into<String>, href: impl Into<String>) -> Self {
        Self { label: label.into(), href: href.into() }
    }
}

/// A scope as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScopeLine {
    /// Name on the wire.
    pub name: String,
    /// What it allows, from the catalogue; empty if the catalogue does not say.
    pub description: String,
}

impl ScopeLine {
    /// A scope as people read it.
    #[must_use]
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into() }
    }
}

/// A token in a list; never the token itself.
#[derive(Debug, Clone, Serialize)]
pub struct TokenLine {
    /// Id of the token, which is not the token.
    pub id: String,
    /// `Access token`, `Refresh token`.
    pub kind: String,
    /// Whether it still works.
    pub seal: Seal,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it stops working; `None` if it has no end of its own.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Links to the neighbours of one page of a list.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Paging {
    /// Towards the newest.
    pub newer: Option<String>,
    /// Towards the oldest.
    pub older: Option<String>,
}

/// What is wrong with a form, field by field, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FormErrors(Vec<FieldError>);

/// One thing wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl FormErrors {
    /// Adds what is wrong with a field; a field may have several.
    pub fn push(&mut self, field: &'static str, message: impl Into<String>) {
        self.0.push(FieldError { field, message: message.into() });
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong, for logs and tests.
    pub fn iter(&self) -> impl Iterator<Item = &FieldError> {
        self.0.iter()
    }
}
