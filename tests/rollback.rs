//! Is a database refused that is older than what the node has seen of it? (F21)

mod other_history;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Browser, Cli, Directory, Process, Tokens, prepared};

const FILES: [&str; 3] = ["chancery.db", "chancery.db-wal", "chancery.db-shm"];

/// An installation whose server was stopped in good order.
struct Installation {
    home: Directory,
    cli: Cli,
    port: u16,
    database: Option<Database>,
}

/// What was kept of it.
enum Backup {
    Files(Directory),
    Database(Database),
}

impl Installation {
    fn embedded() -> Self {
        let home = Directory::copy_of(prepared::sqlite());
        Self { cli: Cli::at(home.path(), None), port: free_port(), home, database: None }
    }

    fn on_postgres() -> Self {
        let (home, database) = prepared::postgres();
        let (home, database) = (Directory::copy_of(home), Database::copy_of(database));
        let cli = Cli::at(home.path(), Some(database.url()));
        Self { cli, port: free_port(), home, database: Some(database) }
    }

    fn back_up(&self) -> Backup {
        if let Some(database) = &self.database {
            return Backup::Database(Database::copy_of(database));
        }
        let backup = Directory::new();
        self.copy(backup.path(), false);
        Backup::Files(backup)
    }

    fn restore(&self, backup: &Backup) {
        match backup {
            Backup::Files(files) => self.copy(files.path(), true),
            Backup::Database(backup) => self.database.as_ref().unwrap().become_copy_of(backup),
        }
    }

    async fn start(&self) -> Process {
        Process::start_with(&self.cli, &self.home, self.port, &[]).await
    }

    fn run(&self, arguments: &[&str]) -> crate::harness::cli::Outcome {
        self.cli.run(arguments)
    }

    /// The server's refusal to start.
    async fn refuses(&self) -> crate::harness::cli::Outcome {
        let (cli, listen) = (self.cli.clone(), format!("127.0.0.1:{}", self.port));
        tokio::task::spawn_blocking(move || cli.run(&["--listen", &listen])).await.unwrap()
    }

    fn copy(&self, to: &Path, back: bool) {
        for name in FILES {
            let (live, kept) = (self.home.path().join(name), to.join(name));
            let (from, to) = if back { (kept, live) } else { (live, kept) };
            let _ = fs::remove_file(&to);
            if from.exists() {
                fs::copy(from, to).unwrap();
            }
        }
    }
}

/// The one note of an installation.
fn note_of(home: &Directory) -> PathBuf {
    let places = fs::read_dir(Directory::memory_of(home.path()).join("chancery")).unwrap();
    let notes = places.flat_map(|place| fs::read_dir(place.unwrap().path()).unwrap());
    let notes: Vec<_> = notes.map(|note| note.unwrap().path()).collect();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    note.clone()
}

/// The last event of which there is a note.
fn noted(home: &Directory) -> i64 {
    let note: Value = serde_json::from_str(&fs::read_to_string(note_of(home)).unwrap()).unwrap();
    note["position"].as_i64().unwrap()
}

async fn application(process: &Process, installation: &Installation) -> (Browser, App) {
    let callback = "https://app.example/cb";
    let registered = installation
        .run(&[
            "createapplication",
            "confidential",
            "authorization-code",
            "--skip-authorization",
            "--redirect-uris",
            callback,
            "--json",
        ])
        .succeeded()
        .json();
    let ada = process.browser();
    ada.login("ada").await;
    let app = App {
        client: crate::harness::browser::plain_client(),
        base: process.base.clone(),
        client_id: registered["client_id"].as_str().unwrap().to_owned(),
        secret: registered["client_secret"].as_str().unwrap().to_owned(),
        redirect_uri: callback.to_owned(),
    };
    (ada, app)
}

async fn code(ada: &Browser, app: &App) -> String {
    ada.authorize(&app.query()).await.is(302).code()
}

async fn tokens(ada: &Browser, app: &App) -> Tokens {
    Tokens::of(&app.redeem(&code(ada, app).await).send().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_backup_from_before_a_revocation_revives_nothing() {
    for installation in [Installation::embedded(), Installation::on_postgres()] {
        a_backup_revives_nothing(&installation).await;
    }
    record(
        "F21",
        "SQLite and PostgreSQL: a copy from before a revocation is refused, and revives nothing once accepted",
    );
}

async fn a_backup_revives_nothing(installation: &Installation) {
    let process = installation.start().await;
    let (ada, app) = application(&process, installation).await;
    let (revoked, kept) = (tokens(&ada, &app).await, tokens(&ada, &app).await);
    let (code, coded) = (code(&ada, &app).await, Instant::now());
    process.terminate().await;
    let backup = installation.back_up();

    let process = installation.start().await;
    app.revoke(&revoked.refresh).send().await.is(200);
    assert!(!app.sees_active(&revoked.access).await);
    process.terminate().await;

    installation.restore(&backup);
    let refused = installation.refuses().await.failed_about("older than what this node has seen");
    assert!(refused.stderr.contains("chancery acceptrollback"), "{}", refused.stderr);
    // Nor does any command write into it, and whoever looks is told.
    installation.run(&["verify"]).failed_about("older than what this node has seen");
    installation.run(&["lockuser", "bob"]).failed_about("older than what this node has seen");

    let accepted = installation.run(&["acceptrollback"]).succeeded();
    assert!(accepted.stdout.contains("events are gone"), "{}", accepted.stdout);
    let process = installation.start().await;
    for token in [&revoked.access, &kept.access] {
        assert!(!app.sees_active(token).await, "nothing issued before is valid");
    }
    for token in [&revoked.refresh, &kept.refresh] {
        assert_eq!(app.refresh(token).send().await.is(400).error(), "invalid_grant");
    }
    assert_eq!(app.redeem(&code).send().await.is(400).error(), "invalid_grant");
    assert!(coded.elapsed() < Duration::from_secs(50), "the code had its time in any case");
    assert!(!ada.is_logged_in().await);
    // What people know and applications keep still works, and what is issued now.
    let ada = process.browser();
    ada.login("ada").await;
    let new = tokens(&ada, &app).await;
    assert!(app.sees_active(&new.access).await);
    process.terminate().await;
    installation.run(&["verify"]).succeeded();
    let process = installation.start().await;
    assert!(app.sees_active(&new.access).await, "once accepted, it stays so");
    process.terminate().await;
    // Nothing that this node has seen is missing; an operator may know better.
    installation.run(&["acceptrollback"]).failed_about("nothing to accept");
    installation.run(&["acceptrollback", "--restored"]).succeeded();
    let process = installation.start().await;
    assert!(!app.sees_active(&new.access).await);
    process.terminate().await;

    // The same backup again, after all that: it is of an epoch of keys that has come twice since.
    installation.restore(&backup);
    installation.refuses().await.failed_about("older than what this node has seen");
    installation.run(&["acceptrollback"]).succeeded();
    let process = installation.start().await;
    for token in [&revoked.access, &kept.access, &new.access] {
        assert!(!app.sees_active(token).await, "nothing issued before is valid");
    }
    process.terminate().await;
}

/// An old copy of all of a data directory does not bring along what was seen.
#[tokio::test(flavor = "multi_thread")]
async fn f21_an_old_copy_of_the_whole_data_directory_revives_nothing() {
    let installation = Installation::embedded();
    assert!(!installation.run(&["doctor"]).stdout.contains("`checkpoint-dir`"));
    let within = installation.cli.clone().variable("CHANCERY_CHECKPOINT_DIR", installation.home.text());
    let told = within.run(&["doctor"]);
    assert!(told.stdout.contains("`checkpoint-dir`"), "{told:?}");
    let process = installation.start().await;
    let (ada, app) = application(&process, &installation).await;
    let revoked = tokens(&ada, &app).await;
    process.terminate().await;
    let copy = Directory::copy_of(installation.home.path());

    let process = installation.start().await;
    app.revoke(&revoked.refresh).send().await.is(200);
    process.terminate().await;
    for entry in fs::read_dir(installation.home.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for entry in fs::read_dir(copy.path()).unwrap() {
        let kept = entry.unwrap();
        fs::copy(kept.path(), installation.home.path().join(kept.file_name())).unwrap();
    }
    installation.refuses().await.failed_about("older than what this node has seen");
    installation.run(&["acceptrollback"]).succeeded();
    let process = installation.start().await;
    assert!(!app.sees_active(&revoked.access).await);
    process.terminate().await;
}

/// A server that is killed has noted what it saw all the same, a few seconds ago at most.
#[tokio::test(flavor = "multi_thread")]
async fn f21_a_backup_from_before_a_server_was_killed_revives_nothing() {
    let installation = Installation::embedded();
    let process = installation.start().await;
    let (ada, app) = application(&process, &installation).await;
    let revoked = tokens(&ada, &app).await;
    process.terminate().await;
    let backup = installation.back_up();

    let process = installation.start().await;
    app.revoke(&revoked.refresh).send().await.is(200);
    let head = installation.run(&["verify", "--json"]).succeeded().json()["events"].as_i64().unwrap();
    let begun = Instant::now();
    while noted(&installation.home) < head {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing is noted while it runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // kill -9.
    drop(process);

    installation.restore(&backup);
    installation.refuses().await.failed_about("older than what this node has seen");
}

/// A database that is restored under another name, or whose server is elsewhere now, is the same log.
#[tokio::test(flavor = "multi_thread")]
async fn f21_a_backup_under_another_name_revives_nothing() {
    let installation = Installation::on_postgres();
    let process = installation.start().await;
    let (ada, app) = application(&process, &installation).await;
    let revoked = tokens(&ada, &app).await;
    process.terminate().await;
    let Backup::Database(restored) = installation.back_up() else { unreachable!() };
    let process = installation.start().await;
    app.revoke(&revoked.refresh).send().await.is(200);
    process.terminate().await;
    let elsewhere = Installation {
        cli: Cli::at(installation.home.path(), Some(restored.url())),
        home: Directory::copy_of(installation.home.path()),
        port: installation.port,
        database: Some(restored),
    };
    elsewhere.refuses().await.failed_about("older than what this node has seen");
}

/// The machine is gone, and with it what its server had seen: only the backup and the root secret are left.
#[tokio::test(flavor = "multi_thread")]
async fn f21_a_backup_on_a_new_machine_revives_nothing() {
    let installation = Installation::embedded();
    let process = installation.start().await;
    let (ada, app) = application(&process, &installation).await;
    let revoked = tokens(&ada, &app).await;
    let (file, name) = (installation.home.path().join("backup.db"), installation.home.text().to_owned());
    installation.run(&["backup", &format!("{name}/backup.db")]).succeeded();
    app.revoke(&revoked.refresh).send().await.is(200);
    process.terminate().await;

    let home = Directory::new();
    fs::copy(installation.home.path().join("root.secret"), home.path().join("root.secret")).unwrap();
    let cli = Cli::at(home.path(), None);
    let restored = cli.run(&["restore", file.to_str().unwrap()]).succeeded();
    assert!(restored.stdout.contains("acceptrollback"), "{restored:?}");
    let anew = Installation { cli, port: installation.port, home, database: None };
    revives_nothing(&anew, &app, &revoked).await;

    // The same where a server has been before, with a root secret of its own, and the right one comes after the backup.
    let home = Directory::new();
    let cli = Cli::at(home.path(), None);
    Process::start_with(&cli, &home, installation.port, &[]).await.terminate().await;
    let restored = cli.run(&["restore", file.to_str().unwrap(), "--replace"]).succeeded();
    assert!(restored.stdout.contains("no server starts before"), "{restored:?}");
    fs::copy(installation.home.path().join("root.secret"), home.path().join("root.secret")).unwrap();
    let anew = Installation { cli, port: installation.port, home, database: None };
    revives_nothing(&anew, &app, &revoked).await;
}

/// No server starts on what was brought here, and once it does what was revoked is dead.
async fn revives_nothing(anew: &Installation, app: &App, revoked: &Tokens) {
    anew.refuses().await.failed_about("what was revoked after the backup is not known");
    anew.run(&["acceptrollback"]).succeeded();
    let process = anew.start().await;
    assert!(!app.sees_active(&revoked.access).await);
    process.terminate().await;
}

/// A machine that was left long ago has seen the beginning of the log, and nothing of what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn f21_a_backup_on_a_machine_that_was_left_long_ago_revives_nothing() {
    let left = Installation::embedded();
    let process = left.start().await;
    let (ada, app) = application(&process, &left).await;
    process.terminate().await;
    let home = Directory::copy_of(left.home.path());
    let moved = Installation { cli: Cli::at(home.path(), None), port: left.port, home, database: None };
    let process = moved.start().await;
    let revoked = tokens(&ada, &app).await;
    let backup = format!("{}/backup.db", moved.home.text());
    moved.run(&["backup", &backup]).succeeded();
    app.revoke(&revoked.refresh).send().await.is(200);
    process.terminate().await;

    let restored = left.run(&["restore", &backup, "--replace"]).succeeded();
    assert!(restored.stdout.contains("acceptrollback"), "{restored:?}");
    left.refuses().await.failed_about("what was revoked after the backup is not known");
    left.run(&["acceptrollback"]).succeeded();
    let process = left.start().await;
    assert!(!app.sees_active(&revoked.access).await);
    process.terminate().await;
}

/// One acceptance is enough for all nodes: a second one would end what the first ones have issued since.
#[tokio::test(flavor = "multi_thread")]
async fn f21_a_roll_back_is_accepted_once_for_every_node() {
    let one = Installation::on_postgres();
    let process = one.start().await;
    let (ada, app) = application(&process, &one).await;
    let kept = tokens(&ada, &app).await;
    process.terminate().await;
    let backup = one.back_up();
    // Two nodes have seen more than the backup holds.
    let process = one.start().await;
    app.revoke(&kept.refresh).send().await.is(200);
    let other_home = Directory::copy_of(one.home.path());
    let url = one.database.as_ref().unwrap().url();
    let two = Cli::at(other_home.path(), Some(url));
    let port = free_port();
    let arguments = ["--issuer", &app.base];
    let node = Process::start_with(&two, &other_home, port, &arguments).await;
    one.run(&["acceptrollback"]).failed_about("still answer");
    node.terminate().await;
    process.terminate().await;
    one.restore(&backup);

    one.run(&["acceptrollback"]).succeeded();
    let process = one.start().await;
    let ada = process.browser();
    ada.login("ada").await;
    let new = tokens(&ada, &app).await;
    let node = Process::start_with(&two, &other_home, port, &arguments).await;
    let there = App { base: node.base.clone(), ..app.clone() };
    for app in [&app, &there] {
        assert!(app.sees_active(&new.access).await, "what was issued since is valid on every node");
        assert!(!app.sees_active(&kept.access).await);
    }
    node.terminate().await;
    process.terminate().await;
}
