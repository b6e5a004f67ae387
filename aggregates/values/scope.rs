//! What a token allows (RFC 6749 §3.3).

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Scope names consist of `%x21 / %x23-5B / %x5D-7E`.
    #[error("a scope contains a character that is not allowed")]
    InvalidCharacter,
}

/// Scope names in the order they were asked for, each once. Stored and sent as one text with spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Vec<String>);

impl Scope {
    /// Reads a space-separated list in linear time; the empty text is the empty scope.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        if !text.bytes().all(is_scope_byte) {
            return Err(ScopeError::InvalidCharacter);
        }
        Ok(Self::without_repetitions(text.split(' ').filter(|name| !name.is_empty())))
    }

    fn without_repetitions<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        Self(names.filter(|name| seen.insert(*name)).map(str::to_owned).collect())
    }

    /// Whether the name is among these.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| own == name)
    }

    /// Whether every name of `other` is among these.
    #[must_use]
    pub fn contains_all(&self, other: &Scope) -> bool {
        let own: HashSet<&str> = self.iter().collect();
        other.iter().all(|name| own.contains(name))
    }

    /// These and the others, these first.
    #[must_use]
    pub fn union(&self, other: &Scope) -> Scope {
        Self::without_repetitions(self.iter().chain(other.iter()))
    }

    /// Those of these that are among the others.
    #[must_use]
    pub fn intersect(&self, other: &Scope) -> Scope {
        let theirs: HashSet<&str> = other.iter().collect();
        Self(self.0.iter().filter(|name| theirs.contains(name.as_str())).cloned().collect())
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(" "))
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.to_string()
    }
}
