//! Does each place decide what it should, and is everything wrong refused where it stands?

use std::path::{Path, PathBuf};

use super::*;

const HOME: (&str, &str) = ("HOME", "/home/ada");

fn load(flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut given = Flags::new();
    for (key, value) in flags {
        given.entry(key).or_default().push((*value).to_owned());
    }
    Config::load(&given, &variables.iter().copied().chain([HOME]).collect())
}

/// A file that is removed again; `cargo test` runs tests of one process, so a counter tells them apart.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn with(text: &str) -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chancery-config-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn without_any_setting_the_tutorial_runs() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config.issuer.as_str(), "http://127.0.0.1:8000");
    assert_eq!(config.data_dir, Path::new("/home/ada/.local/share/chancery"));
    assert_eq!(config.database, Database::Embedded("/home/ada/.local/share/chancery/chancery.db".into()));
    let secret_file = "/home/ada/.local/share/chancery/root.secret".into();
    assert_eq!(config.root_secret, RootSecretSource::File(secret_file));
    assert_eq!(config.lifetimes.access_token, Duration::from_hours(10));
    assert_eq!(config.lifetimes.code, Duration::from_mins(1));
    assert_eq!(config.limits.body, 65_536);
    assert!(config.migrate && config.tls.is_none() && config.trusted_proxies.is_empty());
    let scopes: Vec<_> = config.scopes.iter().map(|scope| (scope.name.as_str(), scope.default)).collect();
    assert_eq!(scopes, [("read", true), ("write", true)]);
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = TemporaryFile::with("max-connections = 1\nadmission-queue = 1\nrow-cache = 1\n");
    let variables = [
        ("CHANCERY_CONFIG", file.path()),
        ("CHANCERY_MAX_CONNECTIONS", "2"),
        ("CHANCERY_ADMISSION_QUEUE", "2"),
    ];
    let limits = load(&[("max-connections", "3")], &variables).unwrap().limits;
    assert_eq!((limits.connections, limits.admission_queue, limits.row_cache), (3, 2, 1));
}

#[test]
fn effective_names_every_setting_and_no_secret() {
    let secret = "0123456789012345678901234567890123456789012345";
    let variables =
        [("CHANCERY_ROOT_SECRET", secret), ("DATABASE_URL", "postgres://ada:hunter2@db/chancery")];
    let config = load(&[], &variables).unwrap();
    let effective = config.effective();
    let mut keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.sort_unstable();
    assert_eq!(effective.keys().collect::<Vec<_>>(), keys);
    let everything = format!("{effective:?} {config:?}");
    assert!(!everything.contains("hunter2") && !everything.contains(secret), "{everything}");
}

#[test]
fn an_unknown_variable_is_refused_and_the_password_and_the_tests_are_not() {
    let refused = load(&[], &[("CHANCERY_LISTN", "localhost:1")]).unwrap_err();
    assert_eq!(refused.to_string(), "there is no environment variable `CHANCERY_LISTN`");
    assert!(refused.advice().contains("CHANCERY_LISTEN"));
    let refused = load(&[], &[("CHANCERY_DATABASE_URL", "postgres://db")]).unwrap_err();
    assert!(refused.advice().contains("mean DATABASE_URL"));
    assert!(load(&[], &[("CHANCERY_PASSWORD", "x"), ("CHANCERY_TEST_POSTGRES_URL", "x")]).is_ok());
}

#[test]
fn a_wrong_value_names_the_setting_and_where_it_was_written() {
    let cases: [(&'static str, &str, &str); 11] = [
        ("listen", "example.com:80", "`listen` (--listen): `example.com:80` is not an address and port"),
        ("trusted-proxies", "here", "`trusted-proxies` (--trusted-proxies): `here` is not a network"),
        ("max-body", "1", "`max-body` (--max-body): `1` is not between 1KiB and 16MiB"),
        ("code-lifetime", "11m", "`code-lifetime` (--code-lifetime): `11m` is not between 1s and 10m"),
        ("session-lifetime", "0", "`session-lifetime` (--session-lifetime): `0` is not between 1s and 3650d"),
        ("log-format", "xml", "`log-format` (--log-format): `xml` is not one of `text`, `json`"),
        ("log", "chancery=loud", "`log` (--log): `chancery=loud` is not a log filter"),
        ("data-dir", " ", "`data-dir` (--data-dir): the value is empty"),
        (
            "database-url",
            "mysql://db",
            "`database-url` (--database-url): the scheme `mysql` is not a database Chancery knows",
        ),
        (
            "issuer",
            "http://example.com",
            "`issuer` (--issuer): `http://example.com` is plain http on an address other machines can reach",
        ),
        (
            "resources",
            "orders",
            "`resources` (--resources): `orders` is not an absolute URI without a fragment (RFC 8707 §2)",
        ),
    ];
    for (key, value, message) in cases {
        let refused = load(&[(key, value)], &[]).unwrap_err();
        assert_eq!(refused.to_string(), message);
        assert!(refused.advice().ends_with('.'), "{key}");
    }
}

#[test]
fn a_setting_in_the_environment_is_named_by_its_variable() {
    let refused = load(&[], &[("CHANCERY_MAX_CONNECTIONS", "many")]).unwrap_err();
    let expected = "`max-connections` (CHANCERY_MAX_CONNECTIONS): `many` is not a whole number";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    assert!(matches!(load(&[], &[("DATABASE_URL", "")]).unwrap().database, Database::Embedded(_)));
}

#[test]
fn a_file_that_was_named_must_exist() {
    let refused = load(&[("config", "/nonexistent/chancery.toml")], &[]).unwrap_err();
    assert!(matches!(refused, ConfigError::FileUnreadable { .. }), "{refused}");
}

#[test]
fn a_path_in_the_file_is_relative_to_the_file() {
    let file = TemporaryFile::with("data-dir = \"data\"\n");
    let config = load(&[("config", file.path())], &[]).unwrap();
    assert_eq!(config.data_dir, file.0.parent().unwrap().join("data"));
}

#[test]
fn an_address_other_machines_reach_needs_an_issuer() {
    let refused = load(&[("listen", "0.0.0.0:8000")], &[]).unwrap_err();
    assert!(matches!(refused, ConfigError::IssuerNeeded { .. }), "{refused}");
    let flags = [("listen", "0.0.0.0:8000"), ("issuer", "https://login.example.com")];
    assert!(load(&flags, &[]).unwrap().issuer_is_set);
}

#[test]
fn a_derived_issuer_follows_port_and_scheme() {
    let at = |listen| load(&[("listen", listen)], &[]).unwrap();
    assert_eq!(at("[::1]:9000").issuer.as_str(), "http://[::1]:9000");
    assert_eq!(at("127.0.0.1:80").issuer.as_str(), "http://127.0.0.1");
    assert_eq!(at("127.0.0.1:0").with_bound_port(4711).issuer.as_str(), "http://127.0.0.1:4711");
    let flags = [("tls-cert", "/c.pem"), ("tls-key", "/k.pem")];
    assert_eq!(load(&flags, &[]).unwrap().issuer.as_str(), "https://127.0.0.1:8000");
}

#[test]
fn a_set_issuer_does_not_follow_the_port() {
    let flags = [("listen", "127.0.0.1:0"), ("issuer", "https://login.example.com")];
    let config = load(&flags, &[]).unwrap().with_bound_port(4711);
    assert_eq!(config.issuer.as_str(), "https://login.example.com");
}

#[test]
fn half_of_tls_is_refused() {
    let refused = load(&[("tls-cert", "/c.pem")], &[]).unwrap_err();
    assert_eq!(refused.to_string(), "`tls-cert` (--tls-cert) is set, but `tls-key` is not");
}

#[test]
fn an_idle_limit_beyond_the_whole_lifetime_is_refused() {
    let refused = load(&[("session-lifetime", "1h")], &[]).unwrap_err();
    assert_eq!(refused.to_string(), "`session-idle-lifetime` (default) is longer than `session-lifetime`");
}

#[test]
fn a_single_address_is_a_trusted_proxy_too() {
    let config = load(&[("trusted-proxies", "10.0.0.0/8,192.0.2.1")], &[]).unwrap();
    assert_eq!(config.effective()["trusted-proxies"], "10.0.0.0/8, 192.0.2.1/32");
}

#[test]
fn a_short_root_secret_is_refused_without_repeating_it() {
    let refused = load(&[], &[("CHANCERY_ROOT_SECRET", "hunter2")]).unwrap_err();
    assert!(!format!("{refused} {refused:?} {}", refused.advice()).contains("hunter2"));
}

#[test]
fn without_a_home_the_data_directory_must_be_named() {
    let nobody = Environment::default();
    assert!(matches!(Config::load(&Flags::new(), &nobody), Err(ConfigError::NoDataDirectory)));
}
