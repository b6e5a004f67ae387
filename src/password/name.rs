//! When are two spellings of a user name or an e-mail address the same?
//!
//! Normalised names are what is claimed and looked up: without this, `Ada` and
//! `ada`, or two Unicode forms of one name, would be two people who look alike
//! (OWASP ASVS 6.3; Unicode UAX #15, UTS #39).

use unicode_normalization::UnicodeNormalization;

/// Longest user name, in characters.
pub const LONGEST_USERNAME: usize = 150;
/// Longest e-mail address, in octets (RFC 5321 §4.5.3.1.3, less the brackets).
const LONGEST_EMAIL: usize = 254;

/// Why a name is refused; each says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("Enter a user name.")]
    Empty,
    /// More than [`LONGEST_USERNAME`] characters.
    #[error("Choose a user name of at most {LONGEST_USERNAME} characters.")]
    TooLong,
    /// A control character, or one that is not shown.
    #[error("Use visible characters only.")]
    Invisible,
    /// Not one `@` with something on both sides.
    #[error("Enter an e-mail address like name@example.org.")]
    NotAnEmail,
}

/// Trimmed, NFKC, lower case; 1 to 150 visible characters.
pub fn normalise_username(name: &str) -> Result<String, NameError> {
    let name = fold(name);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().count() > LONGEST_USERNAME {
        return Err(NameError::TooLong);
    }
    if name.chars().any(is_invisible) {
        return Err(NameError::Invisible);
    }
    Ok(name)
}

/// Trimmed, NFKC, lower case, with exactly one `@` and no spaces. Whether the
/// address exists only a message sent to it can tell.
pub fn normalise_email(email: &str) -> Result<String, NameError> {
    let email = fold(email);
    if email.chars().any(is_invisible) {
        return Err(NameError::Invisible);
    }
    let (local, domain) = email.split_once('@').ok_or(NameError::NotAnEmail)?;
    let complete = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
    if !complete || email.contains(char::is_whitespace) || email.len() > LONGEST_EMAIL {
        return Err(NameError::NotAnEmail);
    }
    Ok(email)
}

/// Normalised after lowering again, as lowering can undo it; then trimmed, as
/// some compatibility forms begin with a space.
fn fold(name: &str) -> String {
    let lower = name.trim().nfkc().collect::<String>().to_lowercase();
    lower.nfkc().collect::<String>().trim().to_owned()
}

/// Characters that make two names look the same, or a line read backwards.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{3164}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_are_one_name() {
        for (typed, expected) in [
            ("Ada", "ada"),
            ("  ada\t", "ada"),
            ("ADA LOVELACE", "ada lovelace"),
            ("A\u{30a}sa", "åsa"),
            ("\u{ff21}\u{ff44}\u{ff41}", "ada"),
            ("ﬁnn", "finn"),
        ] {
            assert_eq!(normalise_username(typed).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn names_that_cannot_be_told_apart_are_refused() {
        for name in ["a\u{200b}da", "ada\u{202e}", "a\0da", "a\nda", "\u{feff}ada"] {
            assert_eq!(normalise_username(name), Err(NameError::Invisible), "{name:?}");
        }
    }

    #[test]
    fn a_user_name_has_1_to_150_characters() {
        assert_eq!(normalise_username(" \u{3000}"), Err(NameError::Empty));
        assert!(normalise_username(&"é".repeat(150)).is_ok());
        assert_eq!(normalise_username(&"a".repeat(151)), Err(NameError::TooLong));
    }

    #[test]
    fn an_email_has_one_at_sign() {
        let email = normalise_email(" Ada@Example.ORG ");
        assert_eq!(email.as_deref(), Ok("ada@example.org"));
        let long = format!("{}@example.org", "a".repeat(250));
        for email in ["", "ada", "@", "ada@", "@example.org", "a@b@c", "a b@c", &long] {
            assert_eq!(normalise_email(email), Err(NameError::NotAnEmail), "{email}");
        }
        assert_eq!(normalise_email("a\r\n@b"), Err(NameError::Invisible));
    }

    proptest! {
        #[test]
        fn a_normalised_name_stays_as_it_is(name in "\\PC{0,40}") {
            if let Ok(once) = normalise_username(&name) {
                prop_assert_eq!(normalise_username(&once), Ok(once.clone()));
            }
        }
    }
}
