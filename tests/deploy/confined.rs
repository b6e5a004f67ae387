//! Does the unit of `deploy/` allow what the server does? It is run under `strace`, and every call it makes of the
//! kernel is held against the unit's filters. Where systemd is not the first process, as in most containers, that is as
//! near as one comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::UNIT;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process, Registration, environment, prepared};

/// What systemd always allows (systemd.exec(5), `SystemCallFilter=`).
const ALWAYS: [&str; 6] = ["execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"];
/// Longer than between two looks at the certificate.
const LOOKED: Duration = Duration::from_millis(2_500);

/// The sets of calls that systemd knows, with the sets that they hold.
fn sets() -> BTreeMap<String, Vec<String>> {
    let said = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let (mut sets, mut name) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    for line in text.lines() {
        match line.trim() {
            word if word.is_empty() || word.starts_with('#') => {}
            word if line.starts_with('@') => word.clone_into(&mut name),
            word => sets.entry(name.clone()).or_default().push(word.to_owned()),
        }
    }
    sets
}

fn expanded(name: &str, sets: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    match sets.get(name) {
        Some(members) => members.iter().flat_map(|member| expanded(member, sets)).collect(),
        None => BTreeSet::from([name.to_owned()]),
    }
}

/// The calls that the unit allows: the first filter names those, what `~` stands before takes some away.
fn allowed() -> BTreeSet<String> {
    let sets = sets();
    let mut allowed: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
    for filter in UNIT.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (names, is_denied) = filter.strip_prefix('~').map_or((filter, false), |names| (names, true));
        for call in names.split(' ').flat_map(|name| expanded(name, &sets)) {
            if is_denied {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    allowed
}

/// A call as `strace -f` writes it: who made it, its name, and all of the line.
fn calls(log: &str) -> impl Iterator<Item = (&str, &str)> {
    log.lines().filter_map(|line| {
        let call = line.split_once(' ')?.1.trim_start();
        let (name, _) = call.split_once('(')?;
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some((name, call))
    })
}

/// What the unit would not have let this server do.
fn refused(log: &str, allowed: &BTreeSet<String>) -> BTreeSet<String> {
    let families = UNIT.lines().find_map(|line| line.strip_prefix("RestrictAddressFamilies=")).unwrap();
    let mut refused = BTreeSet::new();
    for (name, call) in calls(log) {
        let is_refused = match name {
            // The resolver of names asks for addresses by netlink, and goes on without.
            "socket" => !families.split(' ').chain(["AF_NETLINK"]).any(|family| call.contains(family)),
            // `MemoryDenyWriteExecute`.
            "mmap" => call.contains("PROT_WRITE") && call.contains("PROT_EXEC"),
            "mprotect" | "pkey_mprotect" => call.contains("PROT_EXEC"),
            // `RestrictNamespaces`, `RestrictSUIDSGID`.
            "clone" | "clone3" | "unshare" | "setns" => call.contains("CLONE_NEW"),
            "chmod" | "fchmod" | "fchmodat" => call.contains("S_ISUID") || call.contains("S_ISGID"),
            // SQLite gives its files to the owner of the database, where it is root's process: the unit's is not.
            "fchown" if environment::is_root() => continue,
            _ => false,
        };
        if is_refused || !allowed.contains(name) {
            refused.insert(call.to_owned());
        }
    }
    refused
}

/// Under `strace`, which is the child of what it watches: signals go to the server.
fn watched(cli: Cli, log: &str) -> Cli {
    cli.run_by(["strace", "-D", "-f", "-qq", "-s", "0", "-A", "-o", log].map(str::to_owned).to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_allows_what_the_server_does() {
    let allowed = allowed();
    assert!(allowed.contains("epoll_wait") && !allowed.contains("setuid") && !allowed.contains("nice"));
    let (home, database) = prepared::postgres();
    let (on_postgres, database) = (Directory::copy_of(home), Database::copy_of(database));
    let embedded = Directory::copy_of(prepared::sqlite());
    for (home, url) in [(&on_postgres, Some(database.url())), (&embedded, None)] {
        let log = home.path().join("calls");
        let cli = watched(Cli::at(home.path(), url), log.to_str().unwrap());
        // Nobody collects the traces: they are sent all the same.
        let flags = ["--metrics-listen", "127.0.0.1:0", "--otlp-endpoint", "http://localhost:9/"];
        let process = Process::start_with(&cli, home, free_port(), &flags).await;
        let ada = process.browser();
        ada.login("ada").await;
        let app = ada.register(&Registration::confidential()).await;
        let tokens = ada.tokens(&app).await;
        app.revoke(&tokens.refresh).send().await.is(200);
        assert_eq!(process.terminate().await, 0);
        with_certificates(&cli, home).await;
        let log = fs::read_to_string(&log).unwrap();
        assert!(calls(&log).count() > 1_000, "{log}");
        assert_eq!(refused(&log, &allowed), BTreeSet::new());
    }
}

/// A certificate is read, and read again when it was renewed.
async fn with_certificates(cli: &Cli, home: &Directory) {
    home.certify("localhost");
    let path = |name| home.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let flags = ["--issuer", "https://localhost", "--tls-cert", &certificate, "--tls-key", &key];
    let process = Process::start_with(cli, home, free_port(), &flags).await;
    home.certify("localhost");
    tokio::time::sleep(LOOKED).await;
    assert_eq!(process.terminate().await, 0);
}
