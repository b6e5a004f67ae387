//! What did `tests/run` prepare? The one reader of the environment in the tests.

use std::path::PathBuf;

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
