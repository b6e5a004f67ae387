//! Did the person keep the secret that we generated? Then a keyed hash is enough; else Argon2id.
//!
//! The proof is a sealed reference made with the form and bound to the browser session: a field the
//! browser could simply set would let somebody have a guessable secret kept under a fast hash.

use aggregates::values::SecretKind;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::RawApplication;
use crate::password::{keyed_verifier, verify_keyed};
use crate::sealing::SealError;
use crate::secret::Secret;
use crate::state::AppState;
use crate::templates::components::FormErrors;

/// Shortest secret that a person may choose, in characters.
pub const SHORTEST_SECRET: usize = 16;
const LONGEST_SECRET: usize = 255;
const PURPOSE: &str = "register_application";
/// A form older than that is still read; its secret then counts as chosen.
const FORM_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// What the server put into a registration form: a verifier of the secret, not the secret.
#[derive(Clone, Debug)]
pub struct Initial {
    verifies: bool,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    verifier: String,
}

/// A secret to be kept, by where it came from.
#[derive(Debug)]
pub enum NewSecret {
    /// Drawn here, at least 256 bits.
    Generated(Secret),
    /// Chosen by a person.
    Chosen(Secret),
}

impl NewSecret {
    /// How its verifier is made.
    #[must_use]
    pub fn kind(&self) -> SecretKind {
        match self {
            Self::Generated(_) => SecretKind::KeyedSha256,
            Self::Chosen(_) => SecretKind::Argon2id,
        }
    }

    /// The secret itself.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        match self {
            Self::Generated(secret) | Self::Chosen(secret) => secret,
        }
    }
}

/// Seals the reference to a generated secret for the browser session it is shown in.
pub fn seal_initial(
    state: &AppState,
    session_id: &str,
    secret: &Secret,
    now: DateTime<Utc>,
) -> Result<String, SealError> {
    let sealed = Sealed { verifier: keyed_verifier(&state.keys, secret) };
    state.sealed.seal(PURPOSE, session_id, now + FORM_LIFETIME, &sealed)
}

/// Opens the reference that came back and compares it with the secret that came with it. A reference
/// that is forged, foreign or too old proves nothing, and that is all: the secret counts as chosen.
#[must_use]
pub fn open_initial(
    state: &AppState,
    session_id: &str,
    sealed: &str,
    secret: Option<&Secret>,
    now: DateTime<Utc>,
) -> Option<Initial> {
    let opened: Sealed = state.sealed.open(PURPOSE, session_id, now, sealed).ok()?;
    Some(Initial { verifies: verify_keyed(&state.keys, secret?, &opened.verifier) })
}

impl Initial {
    /// For the command line, which generates the secret itself.
    #[must_use]
    pub fn generated_here() -> Self {
        Self { verifies: true }
    }
}

/// Reads the secret of a confidential application.
pub(super) fn read(
    raw: &RawApplication,
    initial: Option<&Initial>,
    errors: &mut FormErrors,
) -> Option<NewSecret> {
    let Some(secret) = raw.client_secret.clone().filter(|secret| !secret.is_empty()) else {
        errors.push("client_secret", "A confidential application needs a client secret.");
        return None;
    };
    if initial.is_some_and(|initial| initial.verifies) {
        return Some(NewSecret::Generated(secret));
    }
    match problem(secret.expose(), &raw.client_id) {
        None => Some(NewSecret::Chosen(secret)),
        Some(message) => {
            errors.push("client_secret", message);
            None
        }
    }
}

/// RFC 6749 appendix A.2: a client secret is of visible ASCII characters and spaces.
fn problem(secret: &str, client_id: &str) -> Option<String> {
    let length = secret.chars().count();
    if !secret.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        Some("Use visible ASCII characters only (RFC 6749 appendix A.2).".to_owned())
    } else if length < SHORTEST_SECRET {
        Some(format!(
            "A secret of your own has at least {SHORTEST_SECRET} characters; the one in the fresh form has 128."
        ))
    } else if length > LONGEST_SECRET {
        Some(format!("A secret has at most {LONGEST_SECRET} characters."))
    } else if secret == client_id {
        Some("The secret must not be the client id, which everybody may know.".to_owned())
    } else {
        None
    }
}
