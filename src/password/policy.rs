//! May this be somebody's password? Or the passphrase of a file?
//!
//! Length and a blocklist, nothing else: no rules of composition and no forced
//! change, both of which make worse passwords. NIST SP 800-63B-4 §3.1.1.2,
//! OWASP ASVS 6.2.1–6.2.12.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::normalised;

/// Shortest password, in characters.
pub const SHORTEST_PASSWORD: usize = 8;
/// Longest password, in characters; all of them count.
pub const LONGEST_PASSWORD: usize = 1024;
/// Shortest passphrase of a file, in characters. Guesses at a password are counted by the server; at a file
/// they are made offline, as many as somebody pays for, for as long as what is in it matters. Six words of a
/// list of 7,776 (EFF) are 77 bits.
pub const SHORTEST_PASSPHRASE: usize = 20;

/// The most common passwords long enough to pass the rule of length.
const COMMON: &str = include_str!("common.txt");
/// What somebody thinks of first on our pages.
const PRODUCT_WORDS: [&str; 6] =
    ["chancery", "oauth", "openid", "authorization", "authorize", "administrator"];
/// A name shorter than this is in too many good passwords by chance.
const SHORTEST_NAME: usize = 4;

/// Why a password is refused; each says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Fewer than [`SHORTEST_PASSWORD`] characters.
    #[error("Use at least {SHORTEST_PASSWORD} characters; three or four words are easy to remember.")]
    TooShort,
    /// Fewer than [`SHORTEST_PASSPHRASE`] characters, of a passphrase.
    #[error(
        "Use at least {SHORTEST_PASSPHRASE} characters, best six random words: whoever gets hold of the file can \
         guess at its passphrase for years, and the root secret is in it."
    )]
    PassphraseTooShort,
    /// More than [`LONGEST_PASSWORD`] characters.
    #[error("Use at most {LONGEST_PASSWORD} characters.")]
    TooLong,
    /// Among the passwords that are tried first.
    #[error("This password is among the first that attackers try; choose one that nobody else uses.")]
    TooCommon,
    /// The user's or the product's name, with at most digits and signs added.
    #[error("This password is a name with little added; choose one that does not follow from it.")]
    LikeName,
}

/// Checks a new password. `username` and `email` may be empty.
pub fn check_policy(password: &str, username: &str, email: &str) -> Result<(), PolicyError> {
    let password = normalised(password);
    let length = password.chars().count();
    if length < SHORTEST_PASSWORD {
        return Err(PolicyError::TooShort);
    }
    if length > LONGEST_PASSWORD {
        return Err(PolicyError::TooLong);
    }
    let lower = normalised(&password.to_lowercase());
    if is_common(&lower) {
        return Err(PolicyError::TooCommon);
    }
    let (local, _domain) = email.split_once('@').unwrap_or((email, ""));
    let names = [username, email, local].map(|name| normalised(&name.to_lowercase()));
    let mut names = names.iter().map(|name| name.as_str()).chain(PRODUCT_WORDS);
    if names.any(|name| follows_from(&lower, name)) {
        return Err(PolicyError::LikeName);
    }
    Ok(())
}

/// Checks the passphrase of something that is sealed now and may be attacked offline.
pub fn check_passphrase(passphrase: &str) -> Result<(), PolicyError> {
    if normalised(passphrase).chars().count() < SHORTEST_PASSPHRASE {
        return Err(PolicyError::PassphraseTooShort);
    }
    check_policy(passphrase, "", "")
}

/// On the list as it is or without the digits and signs around it, or one
/// character over and over.
fn is_common(password: &str) -> bool {
    static LIST: OnceLock<HashSet<&str>> = OnceLock::new();
    let list = LIST.get_or_init(|| {
        let lines = COMMON.lines();
        lines.filter(|line| !line.starts_with("# ")).collect()
    });
    let core = password.trim_matches(|letter: char| !letter.is_alphabetic());
    let mut letters = password.chars();
    let first = letters.next();
    list.contains(password) || list.contains(core) || letters.all(|next| Some(next) == first)
}

/// Whether nothing but digits and signs stands around the name.
fn follows_from(password: &str, name: &str) -> bool {
    if name.chars().count() < SHORTEST_NAME {
        return password == name;
    }
    password
        .split_once(name)
        .is_some_and(|(before, after)| !before.chars().chain(after.chars()).any(char::is_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), PolicyError> {
        check_policy(password, "ada", "lovelace@example.org")
    }

    #[test]
    fn good_passwords_of_any_composition_are_accepted() {
        for password in [
            "correct horse battery staple",
            "vxkqtmzr",
            "83920174659",
            "пароль для меня",
            "        x",
            "🐎🔋📎🌊🎈🎯🧊🪐",
        ] {
            assert_eq!(check(password), Ok(()), "{password}");
        }
    }

    #[test]
    fn a_password_has_8_to_1024_characters() {
        assert_eq!(check("vxkqtmz"), Err(PolicyError::TooShort));
        assert_eq!(check("🐎🔋📎🌊"), Err(PolicyError::TooShort));
        assert_eq!(check(&"vxkq".repeat(16)), Ok(()));
        assert_eq!(check(&"vxkq".repeat(256)), Ok(()));
        assert_eq!(check(&"vxkq".repeat(257)), Err(PolicyError::TooLong));
    }

    #[test]
    fn the_passwords_attackers_try_first_are_refused() {
        for password in [
            "password",
            "PassWord",
            "12345678",
            "qwertyuiop",
            "Trustno1",
            "iloveyou",
            "password2026!",
            "!!sunshine99",
            "aaaaaaaaaaaa",
            "ｐａｓｓｗｏｒｄ",
        ] {
            assert_eq!(check(password), Err(PolicyError::TooCommon), "{password}");
        }
    }

    #[test]
    fn names_with_little_added_are_refused() {
        for password in ["lovelace", "Lovelace1815!", "lovelace@example.org", "chancery-2026"] {
            assert_eq!(check(password), Err(PolicyError::LikeName), "{password}");
        }
        assert_eq!(check_policy("grace.hopper", "Grace.Hopper", ""), Err(PolicyError::LikeName));
        assert_eq!(check("lovelace liked engines"), Ok(()));
        assert_eq!(check("canada vacation"), Ok(()));
    }

    #[test]
    fn the_list_holds_the_three_thousand_most_common() {
        let words = COMMON.lines().filter(|line| !line.starts_with("# "));
        let words: HashSet<_> = words.collect();
        assert_eq!(words.len(), 3000);
        assert!(words.iter().all(|word| word.len() >= SHORTEST_PASSWORD));
        assert!(words.iter().all(|word| word.to_lowercase() == **word));
    }

    #[test]
    fn what_is_guessed_at_offline_has_20_characters() {
        assert_eq!(check_passphrase("paper lantern water"), Err(PolicyError::PassphraseTooShort));
        assert_eq!(check_passphrase("vxkqtmzr"), Err(PolicyError::PassphraseTooShort));
        assert_eq!(
            check_passphrase("🐎🔋📎🌊🎈🎯🧊🪐"),
            Err(PolicyError::PassphraseTooShort),
            "bytes are no characters"
        );
        assert_eq!(check_passphrase("paper lantern waters"), Ok(()));
        for common in ["password123456789012345", "aaaaaaaaaaaaaaaaaaaaaaaa", "00000000000000000000"] {
            assert_eq!(check_passphrase(common), Err(PolicyError::TooCommon), "{common}");
        }
        assert_eq!(check_passphrase("chancery 2026-11-28 2026-11-28"), Err(PolicyError::LikeName));
        assert_eq!(check_passphrase(&"vxkq".repeat(257)), Err(PolicyError::TooLong));
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for refusal in [
            PolicyError::TooShort,
            PolicyError::PassphraseTooShort,
            PolicyError::TooLong,
            PolicyError::TooCommon,
            PolicyError::LikeName,
        ] {
            let text = refusal.to_string().to_lowercase();
            assert!(text.contains("use ") || text.contains("choose "), "{text}");
        }
    }
}
