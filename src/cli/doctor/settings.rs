//! What do the settings and the files alone tell?

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;

use super::{Finding, Severity};
use crate::config::{Config, Database, RootSecretSource};
use crate::serve::check_tls;

/// Networks larger than these hold more than somebody's proxies.
const WIDEST_IPV4: u8 = 8;
const WIDEST_IPV6: u8 = 32;
/// Whoever stops a server kills it after 30 seconds, if not told otherwise: systemd by our unit, Kubernetes.
const WAITED_FOR: Duration = Duration::from_secs(30);
/// What a stop may take beside `drain-delay`: ten seconds for requests, and the database's.
const STOP: Duration = Duration::from_secs(15);
/// A bearer token that leaks works for as long as it lives (RFC 9700 §2.2).
const LONG_ACCESS: u64 = 3_600;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    files(config, &mut findings);
    note_of_the_log(config, &mut findings);
    configuration_file(config, &mut findings);
    metrics(config, &mut findings);
    certificate(config, &mut findings);
    issuer(config, &mut findings);
    proxies(config, &mut findings);
    lifetimes(config, &mut findings);
    stop(config, &mut findings);
    findings
}

fn certificate(config: &Config, findings: &mut Vec<Finding>) {
    if let Some(files) = &config.tls
        && let Err(error) = check_tls(files)
    {
        findings.push(Finding::new(Severity::Error, format!("A start is refused: {error}."), error.advice()));
    }
}

/// Whether a copy of everything holds what it is to be judged by as well.
fn note_of_the_log(config: &Config, findings: &mut Vec<Finding>) {
    if matches!(config.database, Database::Embedded(_)) && config.checkpoint_dir.starts_with(&config.data_dir)
    {
        findings.push(Finding::new(
            Severity::Note,
            format!(
                "How far the log was seen is noted in the data directory {}: an old copy of all of it that is put \
                 back brings its own note along, and what was revoked since lives again unnoticed.",
                config.data_dir.display()
            ),
            "Restore with `chancery restore` only, or name a place outside with `checkpoint-dir`.",
        ));
    }
}

fn files(config: &Config, findings: &mut Vec<Finding>) {
    let open_to_others = |path: &Path, allowed: u32| mode(path).filter(|mode| mode & 0o777 & !allowed != 0);
    if let Some(mode) = open_to_others(&config.data_dir, 0o755) {
        findings.push(Finding::new(
            Severity::Error,
            format!(
                "Others may write into the data directory {} (mode {:03o}).",
                config.data_dir.display(),
                mode & 0o777
            ),
            format!("Run `chmod 700 {}`.", config.data_dir.display()),
        ));
    } else if let Some(mode) = open_to_others(&config.data_dir, 0o700) {
        findings.push(Finding::new(
            Severity::Warning,
            format!(
                "Others may look into the data directory {} (mode {:03o}).",
                config.data_dir.display(),
                mode & 0o777
            ),
            format!("Run `chmod 700 {}`.", config.data_dir.display()),
        ));
    }
    if let Database::Embedded(path) = &config.database
        && let Some(mode) = open_to_others(path, 0o600)
    {
        findings.push(Finding::new(
            Severity::Error,
            format!("Others may use the database file {} (mode {:03o}).", path.display(), mode & 0o777),
            format!("Run `chmod 600 {}`; a server does so when it starts.", path.display()),
        ));
    }
    let RootSecretSource::File(path) = &config.root_secret else { return };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.mode() & 0o077 != 0 => findings.push(Finding::new(
            Severity::Error,
            format!(
                "Others may read the root secret {}: with it and the database every live token can be made.",
                path.display()
            ),
            format!("Run `chmod 600 {}`; if others may have read it, see \"The root secret leaked\" in OPERATING.md.", path.display()),
        )),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => findings.push(Finding::new(
            Severity::Error,
            format!("The root secret {} cannot be looked at: {error}.", path.display()),
            "Run this as the user the server runs as.",
        )),
    }
}

/// Who may write it sets up the server; who may read it has what it holds. A group of its own may: that is
/// how services are given files that belong to somebody else.
fn configuration_file(config: &Config, findings: &mut Vec<Finding>) {
    let Some(path) = &config.file else { return };
    let Some(mode) = mode(path) else { return };
    let file = path.display();
    let shown = mode & 0o777;
    if mode & 0o022 != 0 {
        findings.push(Finding::new(
            Severity::Error,
            format!("Others may write the configuration file {file} (mode {shown:03o}): they decide how this server runs."),
            format!("Run `chmod go-w {file}`."),
        ));
    }
    if config.secrets_in_file.is_empty() || mode & 0o044 == 0 {
        return;
    }
    let secrets = config.secrets_in_file.join(" and ");
    let (severity, who) = if mode & 0o004 == 0 {
        (Severity::Warning, "Its group may read")
    } else {
        (Severity::Error, "Everybody on this machine may read")
    };
    findings.push(Finding::new(
        severity,
        format!("{who} the configuration file {file} (mode {shown:03o}), which holds {secrets}."),
        format!("Run `chmod 600 {file}`, or keep secrets in files of their own; replace what others may have read."),
    ));
}

/// What happens here, and how often, is shown to whoever asks.
fn metrics(config: &Config, findings: &mut Vec<Finding>) {
    for listen in config.metrics_listen.iter().filter(|listen| !is_near(listen.address.ip())) {
        findings.push(Finding::new(
            Severity::Warning,
            format!("Metrics are shown on {listen} to anybody who can reach it."),
            "Set --metrics-listen to a loopback or private address.",
        ));
    }
}

/// Whether an address is of this machine or of a network of one's own; that of every interface is neither.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|metadata| metadata.mode())
}

fn issuer(config: &Config, findings: &mut Vec<Finding>) {
    let issuer = &config.issuer;
    if !issuer.is_https() && !issuer.is_loopback() {
        findings.push(Finding::new(
            Severity::Error,
            format!("The issuer {issuer} is http and not on this machine: passwords and tokens cross the network in clear."),
            "Serve https (--tls-cert, --tls-key, or a proxy) and set --issuer to its https address.",
        ));
    }
    if issuer.is_https() && config.tls.is_none() && config.trusted_proxies.is_empty() {
        findings.push(Finding::new(
            Severity::Warning,
            format!("The issuer {issuer} is https, but this server speaks http and trusts no proxy: every client seems to have the proxy's address."),
            "Set --trusted-proxies to the network of your proxy, or serve https here with --tls-cert and --tls-key.",
        ));
    }
    let listens_outside = config.listen.iter().any(|listen| !listen.address.ip().is_loopback());
    if listens_outside && issuer.is_loopback() {
        findings.push(Finding::new(
            Severity::Warning,
            format!("The server listens beyond this machine, but its issuer {issuer} names this machine alone: clients elsewhere cannot follow its metadata and redirects."),
            "Set --issuer to the address clients use, or listen on a loopback address.",
        ));
    }
    if listens_outside && config.tls.is_none() && config.trusted_proxies.is_empty() {
        findings.push(Finding::new(
            Severity::Warning,
            "The server speaks http on an address others can reach.",
            "Listen on a loopback address behind a proxy, or serve https with --tls-cert and --tls-key.",
        ));
    }
}

fn proxies(config: &Config, findings: &mut Vec<Finding>) {
    let is_wide = |network: &IpNet| match network {
        IpNet::V4(network) => network.prefix_len() < WIDEST_IPV4,
        IpNet::V6(network) => network.prefix_len() < WIDEST_IPV6,
    };
    for network in config.trusted_proxies.iter().filter(|network| is_wide(network)) {
        findings.push(Finding::new(
            Severity::Error,
            format!("The trusted proxies {network} are too many: whoever is among them chooses the address they are throttled and recorded under."),
            "Name the addresses of your proxies only.",
        ));
    }
}

fn lifetimes(config: &Config, findings: &mut Vec<Finding>) {
    let seconds = config.lifetimes.access_token.as_secs();
    if seconds > LONG_ACCESS {
        findings.push(Finding::new(
            Severity::Note,
            format!("Access tokens live for {seconds} seconds; one that leaks works until it ends or is revoked."),
            "Set --access-token-lifetime to an hour or less where clients can refresh; applications can have shorter ones.",
        ));
    }
}

/// What is killed in the middle of a stop has not finished its requests, and others wait for it.
fn stop(config: &Config, findings: &mut Vec<Finding>) {
    let longest = (config.drain_delay + STOP).as_secs();
    if longest > WAITED_FOR.as_secs() {
        findings.push(Finding::new(
            Severity::Note,
            format!("A stop may take {longest} seconds; whatever stops the server may kill it before."),
            format!("Set TimeoutStopSec of the unit, or what waits for it elsewhere, to {longest} seconds."),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};

    fn found(flags: &[(&'static str, &str)]) -> Vec<(Severity, String)> {
        let environment = Environment::from_iter([("HOME", "/nonexistent/ada")]);
        let flags: Flags = flags
            .iter()
            .map(|(key, value)| (*key, if value.is_empty() { vec![] } else { vec![(*value).to_owned()] }))
            .collect();
        let config = Config::load(&flags, &environment).unwrap();
        check(&config).into_iter().map(|finding| (finding.severity, finding.what)).collect()
    }

    #[test]
    fn the_defaults_are_safe() {
        assert!(found(&[]).iter().all(|(severity, _)| *severity == Severity::Note));
    }

    #[test]
    fn http_off_loopback_is_an_error() {
        let found = found(&[
            ("issuer", "http://login.example.com"),
            ("allow-insecure-issuer", ""),
            ("listen", "0.0.0.0:8000"),
        ]);
        assert_eq!(found.iter().filter(|(severity, _)| *severity == Severity::Error).count(), 1, "{found:?}");
        assert!(found.iter().any(|(_, what)| what.contains("in clear")));
    }

    #[test]
    fn metrics_for_everybody_are_told() {
        for (address, is_told) in [
            ("127.0.0.1:9100", false),
            ("10.1.2.3:9100", false),
            ("[fd00::1]:9100", false),
            ("[::ffff:192.168.1.1]:9100", false),
            ("0.0.0.0:9100", true),
            ("[::]:9100", true),
            ("203.0.113.7:9100", true),
            ("[2001:db8::1]:9100", true),
        ] {
            let found = found(&[("metrics-listen", address)]);
            let told = found.iter().any(|(_, what)| what.contains("Metrics") && what.contains(address));
            assert_eq!(told, is_told, "{address}: {found:?}");
        }
    }

    #[test]
    fn a_stop_that_takes_longer_than_it_is_waited_for_is_told() {
        for (delay, is_told) in [("15s", false), ("16s", true), ("5m", true)] {
            let found = found(&[("drain-delay", delay)]);
            assert_eq!(found.iter().any(|(_, what)| what.contains("A stop may take")), is_told, "{found:?}");
        }
    }

    #[test]
    fn everybody_is_no_proxy() {
        let wide = found(&[("trusted-proxies", "0.0.0.0/0")]);
        assert!(
            wide.iter().any(|(severity, what)| *severity == Severity::Error && what.contains("0.0.0.0/0"))
        );
        assert!(
            found(&[("trusted-proxies", "10.0.0.0/8")]).iter().all(|(_, what)| !what.contains("proxies 10"))
        );
    }

    #[test]
    fn a_loopback_issuer_with_a_public_address_is_told() {
        let found = found(&[("issuer", "http://127.0.0.1:8000"), ("listen", "0.0.0.0:8000")]);
        assert!(found.iter().any(|(_, what)| what.contains("names this machine alone")), "{found:?}");
    }
}
