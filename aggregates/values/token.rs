//! What a command says of the tokens it asks for; ids and times are minted by the caller.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Confirmation;

/// An access token to be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// Time-ordered id, key of the token's row. Useless without the server's MAC key.
    pub id: String,
    /// First instant at which the token is dead (RFC 7519 §4.1.4: "on or after").
    pub expires_at: DateTime<Utc>,
    /// The key it is bound to.
    pub confirmation: Option<Confirmation>,
}

/// How long refresh tokens of a family live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshTerms {
    /// Dead from here on unless used before: moves with every refresh.
    pub idle_expires_at: DateTime<Utc>,
    /// Dead from here on in any case: set by the first one of a family.
    pub absolute_expires_at: DateTime<Utc>,
}
