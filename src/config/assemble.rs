//! How does each part of the configuration come out of what was written?
//!
//! One function a part, each checking its values alone and against one another.

use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use url::Url;

use super::database::{Database, DatabaseUrl, EMBEDDED_FILE};
use super::environment::Environment;
use super::error::{ConfigError, Problem};
use super::issuer::Issuer;
use super::listen::{ListenAddress, parse_listen};
use super::scopes::{self, Scope};
use super::sources::Sources;
use super::value::{LONGEST, Raw};
use super::{Lifetimes, Limits, Log, LogFormat, RootSecretSource, TlsFiles, Traces};
use crate::journal::chain::hex;
use crate::journal::lease::LONGEST as LONGEST_LEASE;

/// RFC 6749 §4.1.2 recommends ten minutes at most for a code.
const LONGEST_CODE: Duration = Duration::from_mins(10);
/// Below this a page cannot be filled in, nor a token be used.
const SHORTEST: Duration = Duration::from_secs(1);
/// A shorter lease would run out between two pulses of a busy machine.
const SHORTEST_LEASE: Duration = Duration::from_millis(500);
/// 32 bytes in base64, so a root secret can hold 256 bits.
const ROOT_SECRET_LEAST: usize = 43;

/// Where the server listens.
pub(super) fn listen(sources: &Sources) -> Result<Vec<ListenAddress>, ConfigError> {
    sources.get("listen", |raw| parse_listen(&raw.list()?))
}

/// Where metrics are shown.
pub(super) fn metrics_listen(sources: &Sources) -> Result<Vec<ListenAddress>, ConfigError> {
    Ok(sources.find("metrics-listen", |raw| parse_listen(&raw.list()?))?.unwrap_or_default())
}

/// How long a stopping server goes on.
pub(super) fn drain_delay(sources: &Sources) -> Result<Duration, ConfigError> {
    sources.get("drain-delay", |raw| raw.duration(Duration::ZERO, Duration::from_mins(5)))
}

/// Where traces go, if somewhere.
pub(super) fn traces(sources: &Sources) -> Result<Traces, ConfigError> {
    let percent = sources.get("otlp-percent", |raw| raw.count(0, 100))?;
    let endpoint = sources.find("otlp-endpoint", |raw| collector(raw.text()?))?;
    Ok(Traces { endpoint, percent: u8::try_from(percent).unwrap_or(100) })
}

/// A user or password in it would be shown with the other settings.
fn collector(written: &str) -> Result<Url, Problem> {
    let url = Url::parse(written).map_err(|_| Problem::CollectorUrl)?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_http = matches!(url.scheme(), "http" | "https");
    if is_http && is_bare && url.fragment().is_none() { Ok(url) } else { Err(Problem::CollectorUrl) }
}

/// How long a database call may take.
pub(super) fn database_deadline(sources: &Sources) -> Result<Duration, ConfigError> {
    sources.get("database-deadline", |raw| raw.duration(Duration::from_millis(50), Duration::from_mins(1)))
}

pub(super) fn tls(sources: &Sources) -> Result<Option<TlsFiles>, ConfigError> {
    let half =
        |present, missing| ConfigError::HalfOfTls { present, origin: sources.origin(present), missing };
    match (sources.find_path("tls-cert")?, sources.find_path("tls-key")?) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(half("tls-cert", "tls-key")),
        (None, Some(_)) => Err(half("tls-key", "tls-cert")),
    }
}

pub(super) fn issuer(
    sources: &Sources,
    listen: &[ListenAddress],
    https: bool,
) -> Result<(Issuer, bool), ConfigError> {
    let insecure = sources.get("allow-insecure-issuer", Raw::switch)?;
    if let Some(issuer) = sources.find("issuer", |raw| Issuer::parse(raw.text()?, insecure))? {
        return Ok((issuer, true));
    }
    let needed = |listen: String| ConfigError::IssuerNeeded { listen };
    let first = listen.first().ok_or_else(|| needed(String::new()))?;
    match derived_issuer(*first, https) {
        Ok(issuer) if first.address.ip().is_loopback() => Ok((issuer, false)),
        Ok(_) | Err(_) => Err(needed(first.to_string())),
    }
}

pub(super) fn derived_issuer(listen: ListenAddress, https: bool) -> Result<Issuer, Problem> {
    let scheme = if https { "https" } else { "http" };
    let usual_port = if https { 443 } else { 80 };
    let address = listen.address;
    if address.port() != usual_port {
        return Issuer::parse(&format!("{scheme}://{address}"), false);
    }
    let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
    Issuer::parse(&format!("{scheme}://{host}"), false)
}

pub(super) fn data_dir(sources: &Sources, environment: &Environment) -> Result<PathBuf, ConfigError> {
    let usual = || environment.data_home().map(|home| home.join("chancery"));
    sources.find_path("data-dir")?.or_else(usual).ok_or(ConfigError::NoDataDirectory)
}

/// A directory of its own for each data directory, and not part of it: who puts back an old copy of that must not
/// put back what it is to be judged by.
pub(super) fn checkpoint_dir(
    sources: &Sources,
    environment: &Environment,
    data_dir: &Path,
) -> Result<PathBuf, ConfigError> {
    if let Some(named) = sources.find_path("checkpoint-dir")? {
        return Ok(named);
    }
    let Some(state) = environment.state_home() else { return Ok(data_dir.to_owned()) };
    let whose = absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let digest = digest(&SHA256, whose.as_os_str().as_bytes());
    Ok(state.join("chancery").join(hex(digest.as_ref().get(..8).unwrap_or_default())))
}

pub(super) fn database(sources: &Sources, data_dir: &Path) -> Result<Database, ConfigError> {
    let url = sources.find("database-url", |raw| DatabaseUrl::parse(raw.text()?))?;
    Ok(url.map_or_else(|| Database::Embedded(data_dir.join(EMBEDDED_FILE)), Database::Postgres))
}

pub(super) fn root_secret(sources: &Sources, data_dir: &Path) -> Result<RootSecretSource, ConfigError> {
    let read = |raw: &Raw| match raw.text()? {
        text if text.len() < ROOT_SECRET_LEAST => Err(Problem::RootSecretShort { least: ROOT_SECRET_LEAST }),
        text => Ok(RootSecretSource::Given(text.into())),
    };
    if let Some(given) = sources.find("root-secret", read)? {
        return Ok(given);
    }
    let usual = || data_dir.join("root.secret");
    Ok(RootSecretSource::File(sources.find_path("root-secret-file")?.unwrap_or_else(usual)))
}

pub(super) fn lease(sources: &Sources) -> Result<Duration, ConfigError> {
    sources.get("lease", |raw| {
        let lease = raw.duration(Duration::ZERO, LONGEST_LEASE)?;
        if lease.is_zero() { Ok(lease) } else { raw.duration(SHORTEST_LEASE, LONGEST_LEASE) }
    })
}

pub(super) fn trusted_proxies(sources: &Sources) -> Result<Vec<IpNet>, ConfigError> {
    let network = |text: String| {
        let alone = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| alone()).map_err(|_| Problem::NotANetwork(text.clone()))
    };
    let read = |raw: &Raw| raw.list()?.into_iter().map(network).collect();
    Ok(sources.find("trusted-proxies", read)?.unwrap_or_default())
}

pub(super) fn log(sources: &Sources) -> Result<Log, ConfigError> {
    let filter = sources.get("log", |raw| {
        let text = raw.text()?;
        let parsed = tracing_subscriber::EnvFilter::builder().parse(text);
        parsed.map(|_| text.to_owned()).map_err(|_| Problem::NotALogFilter(text.to_owned()))
    })?;
    let format = sources.get("log-format", |raw| match raw.text()? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(Problem::NotOneOf { found: other.to_owned(), accepted: "`text`, `json`" }),
    })?;
    Ok(Log { filter, format })
}

pub(super) fn lifetimes(sources: &Sources) -> Result<Lifetimes, ConfigError> {
    let get = |key| sources.get(key, |raw| raw.duration(SHORTEST, LONGEST));
    let lifetimes = Lifetimes {
        code: sources.get("code-lifetime", |raw| raw.duration(SHORTEST, LONGEST_CODE))?,
        access_token: get("access-token-lifetime")?,
        refresh_token_idle: get("refresh-token-idle-lifetime")?,
        refresh_token: get("refresh-token-lifetime")?,
        session_idle: get("session-idle-lifetime")?,
        session: get("session-lifetime")?,
        login_form: get("login-form-lifetime")?,
        consent_form: get("consent-form-lifetime")?,
    };
    let pairs = [
        (
            lifetimes.refresh_token_idle,
            lifetimes.refresh_token,
            "refresh-token-idle-lifetime",
            "refresh-token-lifetime",
        ),
        (lifetimes.session_idle, lifetimes.session, "session-idle-lifetime", "session-lifetime"),
    ];
    match pairs.into_iter().find(|(idle, whole, ..)| idle > whole) {
        None => Ok(lifetimes),
        Some((_, _, idle, whole)) => {
            Err(ConfigError::IdleOutlivesWhole { idle, origin: sources.origin(idle), whole })
        }
    }
}

pub(super) fn scopes(sources: &Sources) -> Result<Vec<Scope>, ConfigError> {
    let read = |raw: &Raw| match raw {
        Raw::Scopes(scopes) => scopes::check_scopes(scopes).map(|()| scopes.clone()),
        Raw::Text(_) | Raw::Integer(_) | Raw::Switch(_) | Raw::List(_) => Err(Problem::NoScopes),
    };
    Ok(sources.find("scopes", read)?.unwrap_or_else(scopes::preset_scopes))
}

pub(super) fn resources(sources: &Sources) -> Result<Vec<String>, ConfigError> {
    let read = |raw: &Raw| {
        let resources = raw.list()?;
        scopes::check_resources(&resources).map(|()| resources)
    };
    Ok(sources.find("resources", read)?.unwrap_or_default())
}

pub(super) fn limits(sources: &Sources) -> Result<Limits, ConfigError> {
    let get = |key, least, most| sources.get(key, |raw| raw.count(least, most));
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Limits {
        connections: get("max-connections", 1, 1_000_000)?,
        body: sources.get("max-body", |raw| raw.size(1 << 10, 16 << 20))?,
        requests_per_address: get("requests-per-address", 0, 10_000_000)?,
        requests_per_client: get("requests-per-client", 0, 10_000_000)?,
        admission_queue: get("admission-queue", 1, 1_000_000)?,
        aggregate_cache: get("aggregate-cache", 1, 100_000_000)?,
        row_cache: get("row-cache", 1, 100_000_000)?,
        login_failures_per_account: get("login-failures-per-account", 1, 100)?,
        login_failures_per_address: get("login-failures-per-address", 1, 100_000)?,
        argon2_concurrency: sources
            .find("argon2-concurrency", |raw| raw.count(1, 1_024))?
            .unwrap_or(processors),
    })
}
