//! Which installation do tests start from? One with three users, made once a run by the command
//! line and copied for every test, so that no test waits for their passwords to be hashed again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Cli;
use super::postgres::Database;

/// Everybody's password.
pub const PASSWORD: &str = "paper lantern over water";

/// The users there are: name and whether a superuser.
const USERS: [(&str, bool); 3] = [("admin", true), ("ada", false), ("bob", false)];

/// An installation on the embedded database; the directory also holds its root secret.
pub fn sqlite() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let directory = fresh_directory("sqlite");
        create_users(&Cli::at(&directory, None));
        directory
    })
}

/// An installation on PostgreSQL: the directory of its root secret, and the database.
pub fn postgres() -> &'static (PathBuf, Database) {
    static INSTALLATION: OnceLock<(PathBuf, Database)> = OnceLock::new();
    INSTALLATION.get_or_init(|| {
        let directory = fresh_directory("postgres");
        let database = Database::empty();
        create_users(&Cli::at(&directory, Some(database.url())));
        (directory, database)
    })
}

fn create_users(cli: &Cli) {
    for (name, is_superuser) in USERS {
        let command = if is_superuser { "createsuperuser" } else { "createuser" };
        let email = format!("{name}@example.com");
        let arguments = [command, "--noinput", "--username", name, "--email", &email];
        cli.clone().password(PASSWORD).run(&arguments).succeeded();
    }
}

/// Statics are never dropped, so each run removes what earlier runs left in cargo's own directory.
fn fresh_directory(engine: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(home).unwrap();
    for entry in fs::read_dir(home).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("prepared-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let directory = home.join(format!("prepared-{}-{engine}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}
