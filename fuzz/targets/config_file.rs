//! Is every configuration file read or refused with a reason, without showing a secret of it?
//!
//! Input: how the root secret is written (a byte), and the lines after it.
#![cfg_attr(fuzzing, no_main)]

use chancery::config::{Config, Environment};

/// 64 decimal digits: the worst root secret, since it can be written as a number too.
const CANARY: &str = "8319407562831940756283194075628319407562831940756283194075628319";
const SPELLINGS: [(&str, &str); 8] = [
    ("\"", "\""),
    ("'", "'"),
    ("", ""),
    ("0x", ""),
    ("[\"", "\"]"),
    ("-", ""),
    ("\"\\", "\""),
    ("{ a = \"", "\" }"),
];

pub fn run(data: &[u8]) {
    let Some((spelling, lines)) = data.split_first() else { return };
    let Ok(lines) = std::str::from_utf8(lines) else { return };
    is_read_or_refused(lines, None);
    let (before, after) = SPELLINGS[usize::from(*spelling) % SPELLINGS.len()];
    is_read_or_refused(&format!("root-secret = {before}{CANARY}{after}\n{lines}"), Some(CANARY));
    let urls =
        ["postgres://ada:CANARY@db/", "postgresql://db/x?password=CANARY&a=", "postgres:ada:CANARY@db/"];
    let url = urls[usize::from(*spelling) % urls.len()];
    let rest: String = lines.chars().filter(|one| !one.is_control() && !matches!(one, '"' | '\\')).collect();
    is_read_or_refused(
        &format!("database-url = \"{url}{rest}\""),
        Some("CANARY").filter(|canary| !rest.contains(canary)),
    );
}

fn is_read_or_refused(text: &str, secret: Option<&str>) {
    let environment = Environment::from_iter([("XDG_DATA_HOME", "/data")]);
    let shown = match Config::from_text(text, &environment) {
        Ok(config) => {
            assert!(!config.listen.is_empty() && !config.scopes.is_empty());
            assert!(config.data_dir.is_absolute());
            assert!(
                config.issuer.is_https()
                    || config.issuer.is_loopback()
                    || text.contains("allow-insecure-issuer")
            );
            assert!(config.lifetimes.refresh_token_idle <= config.lifetimes.refresh_token);
            format!("{config:?} {:?} {}", config.effective(), config.database)
        }
        Err(error) => {
            assert!(!error.advice().is_empty());
            format!("{error} {error:?} {}", error.advice())
        }
    };
    assert!(secret.is_none_or(|secret| !shown.contains(secret)), "{text:?} shows it: {shown}");
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
