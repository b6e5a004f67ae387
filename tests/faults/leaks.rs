//! Does anything that could be presented lie anywhere? (Invariant 12, whatever has happened.) Every file below the
//! home of an installation, logs of its servers among them, and every row of its database are searched for tokens
//! of every kind, for the secrets of its clients and for passwords, also as a form sends them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use url::form_urlencoded;

use crate::harness::{Cli, environment};

/// What is read at once.
const CHUNK: usize = 1 << 20;
/// Nothing that is looked for is longer.
const LONGEST: usize = 256;
/// What follows the prefix of the shortest token (`src/token.rs`).
const TOKEN: usize = 64;
/// Stands in every database that has a history: a search that reads nothing would find nothing.
const HISTORY: &str = "installation.root_secret_bound";
/// Stands in the log of a server that was asked about tokens and says all it can.
const REQUEST: &str = "http.path=\"/o/introspect/\"";

/// What was found.
#[derive(Default)]
struct Found {
    /// Places and what stood there.
    leaks: Vec<String>,
    has_history: bool,
    has_request: bool,
}

/// Nothing in this installation could be presented by whoever reads it, or reads these directories, where one of its
/// servers says all it can.
pub fn nothing_leaks(cli: &Cli, logs: &[&Path], secrets: &[&str]) {
    let secrets: BTreeSet<String> = secrets.iter().flat_map(|secret| forms_of(secret)).collect();
    assert!(secrets.iter().all(|secret| (5..=LONGEST).contains(&secret.len())), "what is looked for?");
    let (mut files, mut rows) = (Found::default(), None);
    for directory in [&[cli.home()], logs].concat() {
        files.in_directory(directory, &secrets);
    }
    if let Some(url) = cli.database_url() {
        let mut dump = Command::new(environment::postgres_programs().join("pg_dump"));
        let mut dump = dump.args(["--data-only", url]).stdout(Stdio::piped()).spawn().unwrap();
        rows.insert(Found::default()).search("the database", dump.stdout.take().unwrap(), &secrets);
        assert!(dump.wait().unwrap().success(), "not all of the database was read");
    }
    let leaks: Vec<&String> = rows.iter().chain([&files]).flat_map(|found| &found.leaks).collect();
    assert!(leaks.is_empty(), "whoever reads this can present it: {leaks:#?}");
    assert!(rows.as_ref().unwrap_or(&files).has_history, "the database was not read");
    assert!(files.has_request, "the log was not read, or does not say all it can");
}

/// As it is, and as forms and addresses send it.
fn forms_of(secret: &str) -> [String; 3] {
    let sent: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    [secret.to_owned(), sent.replace('+', "%20"), sent]
}

impl Found {
    fn in_directory(&mut self, directory: &Path, secrets: &BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.in_directory(&path, secrets);
                continue;
            }
            match File::open(&path) {
                Ok(file) => self.search(&path.display().to_string(), file, secrets),
                // Servers that still run remove files.
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{}: {error}", path.display()),
            }
        }
    }

    fn search(&mut self, place: &str, from: impl Read, secrets: &BTreeSet<String>) {
        let (mut from, mut bytes) = (BufReader::new(from), Vec::with_capacity(CHUNK + LONGEST));
        while from.by_ref().take(CHUNK as u64).read_to_end(&mut bytes).unwrap() > 0 {
            self.search_chunk(place, &bytes, secrets);
            // What begins at the end of a chunk is seen with the next one.
            bytes.drain(..bytes.len().saturating_sub(LONGEST));
        }
    }

    fn search_chunk(&mut self, place: &str, bytes: &[u8], secrets: &BTreeSet<String>) {
        self.has_history |= finds(bytes, HISTORY.as_bytes()).next().is_some();
        self.has_request |= finds(bytes, REQUEST.as_bytes()).next().is_some();
        for kind in ["cha_", "chb_", "chc_", "chr_", "chs_"] {
            let is_token = |at: &usize| {
                let text = bytes.get(at + kind.len()..at + kind.len() + TOKEN);
                text.is_some_and(|text| {
                    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
                })
            };
            if finds(bytes, kind.as_bytes()).any(|at| is_token(&at)) {
                self.leaks.push(format!("{place}: {kind}…"));
            }
        }
        if secrets.iter().any(|secret| finds(bytes, secret.as_bytes()).next().is_some()) {
            self.leaks.push(format!("{place}: a secret of a client, or a password"));
        }
    }
}

/// Where it stands.
fn finds<'a>(bytes: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let (first, rest) = wanted.split_first().unwrap();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let next = at + bytes.get(at..)?.iter().position(|byte| byte == first)?;
            at = next + 1;
            if bytes[at..].starts_with(rest) {
                return Some(next);
            }
        }
    })
}

#[test]
fn what_lies_anywhere_is_found() {
    let token = format!("cha_{}", "aB3-_".repeat(13));
    let secrets = BTreeSet::from(forms_of("a secret of its own"));
    for before in [0, CHUNK - 300, CHUNK - 70, CHUNK - 10, CHUNK, 2 * CHUNK - 3] {
        for wanted in
            [&token[..], "a secret of its own", "a+secret+of+its+own", "a%20secret%20of%20its%20own"]
        {
            let text = [&vec![b'c'; before][..], wanted.as_bytes(), HISTORY.as_bytes(), REQUEST.as_bytes()];
            let mut found = Found::default();
            found.search("here", &text.concat()[..], &secrets);
            assert!(!found.leaks.is_empty(), "{wanted} after {before}");
            assert!(found.has_history && found.has_request);
        }
    }
    let mut found = Found::default();
    found.search("here", &b"cha_ and chr_short, and nothing else"[..], &secrets);
    assert!(found.leaks.is_empty() && !found.has_history && !found.has_request);
}
