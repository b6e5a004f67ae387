//! How are secrets held, and where does randomness come from?
//!
//! A [`Secret`] never shows itself in a log line or a panic message, and cannot
//! be compared with `==`, whose timing tells how much of it was right. All
//! random bytes of the program come from here, from aws-lc-rs.
//! RFC 6749 §10.10 (entropy of secrets), RFC 9562 §5.7 (UUID version 7).

#[cfg(feature = "simulation")]
pub mod seeded;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use chrono::{DateTime, Utc};
use uuid::{Builder, Uuid};
use zeroize::Zeroizing;

/// Length of a generated `client_id`, in characters.
pub const CLIENT_ID_LENGTH: usize = 40;
/// Length of a generated `client_secret`, in characters (762 bits).
pub const CLIENT_SECRET_LENGTH: usize = 128;

const ALPHANUMERIC: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A text that must not be shown: a token, a password, a client secret.
///
/// `Debug` and `Display` print `[secret]`; the memory is cleared on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Each use is a place where it might leak.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in time that depends on the lengths only.
    #[must_use]
    pub fn ct_eq(&self, other: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), other.as_bytes())
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// Compares in time that depends on the lengths only.
#[must_use]
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    verify_slices_are_equal(left, right).is_ok()
}

/// `N` bytes from the operating system's generator, through aws-lc-rs.
///
/// A machine that cannot give random bytes cannot run an authorization server:
/// the process ends rather than go on with a guessable value.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that draws random bytes")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    #[cfg(feature = "simulation")]
    if seeded::fill(&mut bytes) {
        return bytes;
    }
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        tracing::error!(
            what_to_do = "Let the process call `getrandom`: a sandbox forbids it.",
            "the operating system gives no random bytes"
        );
        std::process::abort();
    }
    bytes
}

/// `length` characters of `0-9A-Za-z`, every one equally likely (5.95 bits each).
#[must_use]
pub fn random_alphanumeric(length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let bytes = random_bytes::<64>();
        // Six bits each; the two values past the alphabet are thrown away, as a
        // remainder would make its first characters likelier.
        let drawn = bytes.iter().filter_map(|byte| ALPHANUMERIC.get(usize::from(byte & 0x3f)));
        let missing = length - text.len();
        text.extend(drawn.take(missing).copied().map(char::from));
    }
    text
}

/// A fresh public identifier of an application.
#[must_use]
pub fn new_client_id() -> String {
    random_alphanumeric(CLIENT_ID_LENGTH)
}

/// A fresh client secret, to be shown once.
#[must_use]
pub fn new_client_secret() -> Secret {
    Secret::new(random_alphanumeric(CLIENT_SECRET_LENGTH))
}

/// A fresh id: UUID version 7 in its hyphenated lower-case form.
///
/// Ids of different milliseconds sort by time; within one, 74 random bits
/// decide. An id is a name, never a secret.
#[must_use]
pub fn new_id(now: DateTime<Utc>) -> String {
    let milliseconds = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(milliseconds, &random_bytes()).into_uuid().to_string()
}

/// The 16 bytes of an id in the form [`new_id`] writes; no other spelling counts.
#[must_use]
pub fn id_bytes(id: &str) -> Option<[u8; 16]> {
    let uuid = Uuid::try_parse(id).ok()?;
    let mut canonical = [0_u8; uuid::fmt::Hyphenated::LENGTH];
    (uuid.hyphenated().encode_lower(&mut canonical) == id).then(|| uuid.into_bytes())
}

/// The text of an id from its bytes; the inverse of [`id_bytes`].
#[must_use]
pub fn id_text(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).to_string()
}

/// When an id was made, to the millisecond; `None` for text that [`new_id`] did not write.
#[must_use]
pub fn id_time(id: &str) -> Option<DateTime<Utc>> {
    let bytes = id_bytes(id)?;
    let milliseconds = bytes.iter().take(6).fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
    DateTime::from_timestamp_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::TimeDelta;

    use super::*;
    use crate::clock::{Clock, TestClock};

    #[test]
    fn invariant_12_a_secret_never_shows_itself() {
        let secret = Secret::new("swordfish");
        assert_eq!(format!("{secret:?} {secret}"), "[secret] [secret]");
        assert_eq!(format!("{:?}", Some(secret.clone())), "Some([secret])");
        assert_eq!(secret.expose(), "swordfish");
    }

    #[test]
    fn secrets_are_compared_whole() {
        let secret = Secret::new("swordfish");
        assert!(secret.ct_eq("swordfish"));
        for other in ["", "swordfis", "swordfishh", "Swordfish"] {
            assert!(!secret.ct_eq(other));
        }
    }

    #[test]
    fn random_text_has_its_length_and_its_alphabet() {
        for length in [0, 1, 63, 64, 65, CLIENT_ID_LENGTH, CLIENT_SECRET_LENGTH] {
            let text = random_alphanumeric(length);
            assert_eq!(text.len(), length);
            assert!(text.chars().all(|letter| letter.is_ascii_alphanumeric()));
        }
        assert_ne!(new_client_id(), new_client_id());
    }

    #[test]
    fn random_text_prefers_no_character() {
        let text = random_alphanumeric(62_000);
        for letter in ALPHANUMERIC {
            let count = text.bytes().filter(|byte| byte == letter).count();
            // Mean 1000, standard deviation 32: eight of them never happen by chance.
            assert!((744..1256).contains(&count), "{letter}: {count}");
        }
    }

    #[test]
    fn ids_are_version_seven_and_ordered_by_the_clock() {
        let clock = TestClock::default();
        let mut last = String::new();
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            clock.advance(TimeDelta::milliseconds(1));
            let id = new_id(clock.now());
            assert!(id > last);
            assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 7);
            assert!(seen.insert(id.clone()));
            last = id;
        }
    }

    #[test]
    fn an_id_says_when_it_was_made() {
        let now = TestClock::default().now();
        assert_eq!(id_time(&new_id(now)), Some(now));
        assert_eq!(id_time("not an id"), None);
    }

    #[test]
    fn ids_have_one_spelling() {
        let id = new_id(TestClock::default().now());
        assert_eq!(id_text(id_bytes(&id).unwrap()), id);
        let simple = id.replace('-', "");
        let braced = format!("{{{id}}}");
        for other in [id.to_uppercase(), simple, braced, format!("urn:uuid:{id}")] {
            assert_eq!(id_bytes(&other), None, "{other}");
        }
        assert_eq!(id_bytes(""), None);
    }
}
