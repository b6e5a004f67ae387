//! What did `tests/run` prepare? The one reader of the environment in the tests.

use std::path::PathBuf;

/// The scale from which on a run is a whole campaign.
const LONG_FROM: usize = 8;

/// A running PostgreSQL whose user may create databases.
pub fn postgres_url() -> String {
    variable("CHANCERY_TEST_POSTGRES_URL")
}

/// The path of chromedriver.
pub fn chromedriver() -> PathBuf {
    variable("CHANCERY_TEST_CHROMEDRIVER").into()
}

/// The path of Chromium.
pub fn chromium() -> PathBuf {
    variable("CHANCERY_TEST_CHROMIUM").into()
}

/// Where programs are found.
pub fn path() -> String {
    variable("PATH")
}

/// A missing variable fails the test: nothing is skipped because something is missing.
#[allow(clippy::disallowed_methods, reason = "the tests' one reader of the environment")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/run, which prepares it"))
}

/// Where a campaign writes its totals; only there they are kept.
pub fn results() -> Option<PathBuf> {
    optional("CHANCERY_TEST_RESULTS").map(PathBuf::from)
}

/// How many times longer than the short form that runs with every change.
pub fn scale() -> usize {
    optional("CHANCERY_TEST_SCALE").map_or(1, |scale| scale.parse().expect("a scale is a number"))
}

/// Whether to go on until there is as much as the fault table asks for.
pub fn is_long() -> bool {
    scale() >= LONG_FROM
}

/// The seed to simulate with, when somebody wants a run again.
pub fn seed() -> Option<u64> {
    optional("CHANCERY_TEST_SEED").map(|seed| seed.parse().expect("a seed is a number"))
}

#[allow(clippy::disallowed_methods, reason = "the tests' one reader of the environment")]
fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A library that changes the time a process sees.
pub fn faketime() -> String {
    variable("CHANCERY_TEST_FAKETIME")
}

/// A program whose read models are of the next version.
pub fn next_version() -> PathBuf {
    variable("CHANCERY_TEST_NEXT").into()
}

/// The program of an earlier commit.
pub fn previous_version() -> PathBuf {
    variable("CHANCERY_TEST_PREVIOUS").into()
}

/// The directory of PostgreSQL's programs.
pub fn postgres_programs() -> PathBuf {
    variable("CHANCERY_TEST_PG_BIN").into()
}

/// The unprivileged user a cluster of a test's own runs under.
pub fn postgres_user() -> String {
    variable("CHANCERY_TEST_PG_USER")
}

/// Whether the tests run as root, which PostgreSQL refuses to run as.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
