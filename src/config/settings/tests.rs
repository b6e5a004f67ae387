//! Does the table of settings hold together?

use super::*;

#[test]
fn a_setting_has_the_same_name_in_every_place() {
    for setting in SETTINGS {
        assert!(setting.flag.is_none_or(|flag| flag == setting.key), "{}", setting.key);
        let expected = format!("CHANCERY_{}", setting.key.to_uppercase().replace('-', "_"));
        let fits = |env| env == expected || env == "DATABASE_URL";
        assert!(setting.env.is_none_or(fits), "{}", setting.key);
    }
}

/// Whoever adds a setting decides whether it is on the record.
#[test]
fn what_is_of_the_whole_installation() {
    let of_all: Vec<&str> =
        SETTINGS.iter().filter(|setting| !setting.is_of_one_machine()).map(|setting| setting.key).collect();
    let expected = [
        "issuer",
        "allow-insecure-issuer",
        "trusted-proxies",
        "code-lifetime",
        "access-token-lifetime",
        "refresh-token-idle-lifetime",
        "refresh-token-lifetime",
        "session-idle-lifetime",
        "session-lifetime",
        "login-form-lifetime",
        "consent-form-lifetime",
        "scopes",
        "resources",
        "max-body",
        "login-failures-per-account",
        "login-failures-per-address",
    ];
    assert_eq!(of_all, expected);
}

#[test]
fn the_root_secret_has_no_flag() {
    assert_eq!(find_setting("root-secret").and_then(|setting| setting.flag), None);
}

#[test]
fn the_readme_table_names_every_setting() {
    let table = settings_markdown();
    assert_eq!(table.lines().count(), SETTINGS.len() + 2);
    assert!(table.contains("| `listen` | `--listen` | `CHANCERY_LISTEN` | `localhost:8000` |"));
}
