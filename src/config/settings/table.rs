//! Every setting there is: a line of it is the flag, the variable, the key in the file and the README's row.

use super::{Group, Kind, Preset, Setting};

const fn setting(
    (key, flag, env): (&'static str, Option<&'static str>, Option<&'static str>),
    (group, kind): (Group, Kind),
    default: Preset,
    help: &'static str,
) -> Setting {
    Setting { key, flag, env, default, kind, group, help }
}

/// A setting that has the same name in all three places.
macro_rules! everywhere {
    ($key:literal, $env:literal) => {
        ($key, Some($key), Some($env))
    };
}

/// Every setting, in the order in which the help and the README list them.
pub const SETTINGS: &[Setting] = &[
    setting(
        everywhere!("config", "CHANCERY_CONFIG"),
        (Group::Serving, Kind::Text("FILE")),
        Preset::Computed("$XDG_CONFIG_HOME/chancery/chancery.toml, if it exists"),
        "The configuration file (TOML); its keys are the names of these settings",
    ),
    setting(
        everywhere!("listen", "CHANCERY_LISTEN"),
        (Group::Serving, Kind::List("ADDRESS:PORT")),
        Preset::Literal("localhost:8000"),
        "Where to listen; `localhost` is 127.0.0.1 and, where it exists, ::1",
    ),
    setting(
        everywhere!("metrics-listen", "CHANCERY_METRICS_LISTEN"),
        (Group::Serving, Kind::List("ADDRESS:PORT")),
        Preset::Absent,
        "Where to show metrics (OpenMetrics at `/metrics`), in clear: an address that only operators reach",
    ),
    setting(
        everywhere!("drain-delay", "CHANCERY_DRAIN_DELAY"),
        (Group::Serving, Kind::Duration),
        Preset::Literal("0s"),
        "How long `/readyz` says no before a stopping server closes its door; a load balancer needs some seconds",
    ),
    setting(
        everywhere!("issuer", "CHANCERY_ISSUER"),
        (Group::Serving, Kind::Text("URL")),
        Preset::Computed("http://127.0.0.1 and the port listened on"),
        "The address clients know the server by (RFC 8414); https, or http on a loopback address",
    ),
    setting(
        everywhere!("allow-insecure-issuer", "CHANCERY_ALLOW_INSECURE_ISSUER"),
        (Group::Serving, Kind::Switch),
        Preset::Literal("false"),
        "Accept an http issuer that is not on a loopback address; passwords then cross the network in clear",
    ),
    setting(
        everywhere!("trusted-proxies", "CHANCERY_TRUSTED_PROXIES"),
        (Group::Serving, Kind::List("CIDR")),
        Preset::Absent,
        "Networks whose forwarded headers are believed",
    ),
    setting(
        everywhere!("tls-cert", "CHANCERY_TLS_CERT"),
        (Group::Serving, Kind::Text("FILE")),
        Preset::Absent,
        "The certificate chain (PEM) to serve https with",
    ),
    setting(
        everywhere!("tls-key", "CHANCERY_TLS_KEY"),
        (Group::Serving, Kind::Text("FILE")),
        Preset::Absent,
        "The private key (PEM) of `tls-cert`",
    ),
    setting(
        everywhere!("data-dir", "CHANCERY_DATA_DIR"),
        (Group::Storage, Kind::Text("DIRECTORY")),
        Preset::Computed("$XDG_DATA_HOME/chancery or ~/.local/share/chancery"),
        "Where the embedded database and the root secret live",
    ),
    setting(
        everywhere!("checkpoint-dir", "CHANCERY_CHECKPOINT_DIR"),
        (Group::Storage, Kind::Text("DIRECTORY")),
        Preset::Computed("a directory for data-dir in $XDG_STATE_HOME/chancery or ~/.local/state/chancery"),
        "Where this node notes how far it has seen the log; where no copy of data-dir is ever put back",
    ),
    setting(
        ("database-url", Some("database-url"), Some("DATABASE_URL")),
        (Group::Storage, Kind::Text("URL")),
        Preset::Computed("the embedded database in data-dir"),
        "A PostgreSQL database, `postgres://user:password@host/name`",
    ),
    setting(
        everywhere!("database-deadline", "CHANCERY_DATABASE_DEADLINE"),
        (Group::Storage, Kind::Duration),
        Preset::Literal("2s"),
        "How long a database call may take before its connection is given up",
    ),
    setting(
        everywhere!("lease", "CHANCERY_LEASE"),
        (Group::Storage, Kind::Duration),
        Preset::Literal("1s"),
        "How long memory is answered from without the database's word, 500ms to 1s; 0 asks it every time",
    ),
    setting(
        everywhere!("no-migrate", "CHANCERY_NO_MIGRATE"),
        (Group::Storage, Kind::Switch),
        Preset::Literal("false"),
        "Refuse to start on a database that needs migrating instead of migrating it",
    ),
    setting(
        everywhere!("root-secret-file", "CHANCERY_ROOT_SECRET_FILE"),
        (Group::Storage, Kind::Text("FILE")),
        Preset::Computed("root.secret in data-dir"),
        "The file with the root secret; made at the first start if missing",
    ),
    setting(
        ("root-secret", None, Some("CHANCERY_ROOT_SECRET")),
        (Group::Storage, Kind::Text("SECRET")),
        Preset::Absent,
        "The root secret itself, instead of a file; never an argument, arguments are public on a machine",
    ),
    setting(
        everywhere!("log", "CHANCERY_LOG"),
        (Group::Logging, Kind::Text("FILTER")),
        Preset::Literal("info"),
        "What is logged: a level (error, warn, info, debug, trace) or a filter such as `info,chancery::journal=debug`",
    ),
    setting(
        everywhere!("log-format", "CHANCERY_LOG_FORMAT"),
        (Group::Logging, Kind::Text("FORMAT")),
        Preset::Literal("text"),
        "How it is logged: `text` or `json`",
    ),
    setting(
        everywhere!("otlp-endpoint", "CHANCERY_OTLP_ENDPOINT"),
        (Group::Logging, Kind::Text("URL")),
        Preset::Absent,
        "An OpenTelemetry collector that gets traces by OTLP over HTTP, such as `http://127.0.0.1:4318`",
    ),
    setting(
        everywhere!("otlp-percent", "CHANCERY_OTLP_PERCENT"),
        (Group::Logging, Kind::Count),
        Preset::Literal("100"),
        "How many of a hundred traces are sent, unless a trusted proxy has decided",
    ),
    setting(
        everywhere!("code-lifetime", "CHANCERY_CODE_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("60s"),
        "How long an authorization code can be redeemed (RFC 6749 §4.1.2: at most 10 minutes)",
    ),
    setting(
        everywhere!("access-token-lifetime", "CHANCERY_ACCESS_TOKEN_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("10h"),
        "How long an access token works",
    ),
    setting(
        everywhere!("refresh-token-idle-lifetime", "CHANCERY_REFRESH_TOKEN_IDLE_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("30d"),
        "How long a refresh token may go unused",
    ),
    setting(
        everywhere!("refresh-token-lifetime", "CHANCERY_REFRESH_TOKEN_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("180d"),
        "How long refreshing goes on in all before the person is asked again",
    ),
    setting(
        everywhere!("session-idle-lifetime", "CHANCERY_SESSION_IDLE_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("24h"),
        "How long a login may go unused",
    ),
    setting(
        everywhere!("session-lifetime", "CHANCERY_SESSION_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("14d"),
        "How long a login lasts in all",
    ),
    setting(
        everywhere!("login-form-lifetime", "CHANCERY_LOGIN_FORM_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("30m"),
        "How long an opened login page can be sent",
    ),
    setting(
        everywhere!("consent-form-lifetime", "CHANCERY_CONSENT_FORM_LIFETIME"),
        (Group::Lifetimes, Kind::Duration),
        Preset::Literal("30m"),
        "How long an opened consent page can be answered",
    ),
    setting(
        ("scopes", None, None),
        (Group::Access, Kind::Tables),
        Preset::Computed("`read` \"Reading scope\" and `write` \"Writing scope\", both default"),
        "The scopes there are: `[[scopes]]` tables with `name`, `description` and `default`",
    ),
    setting(
        everywhere!("resources", "CHANCERY_RESOURCES"),
        (Group::Access, Kind::List("URI")),
        Preset::Absent,
        "The resource identifiers tokens can be meant for (RFC 8707); which application serves one, and may introspect its tokens, a superuser says",
    ),
    setting(
        everywhere!("max-connections", "CHANCERY_MAX_CONNECTIONS"),
        (Group::Limits, Kind::Count),
        Preset::Literal("10000"),
        "How many connections are open at once; one address (IPv6: a /64) may have a tenth of them",
    ),
    setting(
        everywhere!("max-body", "CHANCERY_MAX_BODY"),
        (Group::Limits, Kind::Size),
        Preset::Literal("64KiB"),
        "How large a request's body may be",
    ),
    setting(
        everywhere!("requests-per-address", "CHANCERY_REQUESTS_PER_ADDRESS"),
        (Group::Limits, Kind::Count),
        Preset::Literal("1000"),
        "How many requests a second an address may send, on average, to one node; 0 is no limit",
    ),
    setting(
        everywhere!("requests-per-client", "CHANCERY_REQUESTS_PER_CLIENT"),
        (Group::Limits, Kind::Count),
        Preset::Literal("5000"),
        "How many requests a second a client may send, on average, to one node; 0 is no limit",
    ),
    setting(
        everywhere!("admission-queue", "CHANCERY_ADMISSION_QUEUE"),
        (Group::Limits, Kind::Count),
        Preset::Literal("4096"),
        "How many commands may be at work, and as many wait for others on their stream; more are answered 503 at once",
    ),
    setting(
        everywhere!("aggregate-cache", "CHANCERY_AGGREGATE_CACHE"),
        (Group::Limits, Kind::Count),
        Preset::Literal("20000"),
        "How many aggregates are kept in memory",
    ),
    setting(
        everywhere!("row-cache", "CHANCERY_ROW_CACHE"),
        (Group::Limits, Kind::Count),
        Preset::Literal("200000"),
        "How many token rows are kept in memory",
    ),
    setting(
        everywhere!("login-failures-per-account", "CHANCERY_LOGIN_FAILURES_PER_ACCOUNT"),
        (Group::Limits, Kind::Count),
        Preset::Literal("5"),
        "How many failed logins an account has before it must wait",
    ),
    setting(
        everywhere!("login-failures-per-address", "CHANCERY_LOGIN_FAILURES_PER_ADDRESS"),
        (Group::Limits, Kind::Count),
        Preset::Literal("20"),
        "How many failed logins an address has before it must wait",
    ),
    setting(
        everywhere!("argon2-concurrency", "CHANCERY_ARGON2_CONCURRENCY"),
        (Group::Limits, Kind::Count),
        Preset::Computed("the number of processors"),
        "How many passwords are verified at once (19 MiB of memory each), and half as many chosen client secrets",
    ),
];
