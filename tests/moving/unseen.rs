//! Is a log of which nobody here has seen the end, or half a log, served by nobody?

use std::fs;

use super::{PASSPHRASE, chain, file, history, moved, refused_start};
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process, prepared};

const UNKNOWN: &str = "what was revoked after the backup is not known";

/// What was revoked after an export is not in it, and would live again wherever it is imported (F21).
#[tokio::test(flavor = "multi_thread")]
async fn an_old_export_revives_nothing() {
    let old = Directory::copy_of(prepared::sqlite());
    let (from, revoked, _, app) = history(&old, None).await;
    let (_, name) = file(&old, "move.ndjson");
    let from = from.password(PASSPHRASE);
    from.run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    // The old servers go on.
    let process = Process::start_with(&from, &old, free_port(), &["--issuer", &app.base]).await;
    let there = crate::harness::App { base: process.base.clone(), ..app.clone() };
    there.revoke(&revoked.refresh).send().await.is(200);
    process.terminate().await;

    let postgres = Database::empty();
    for database in [None, Some(postgres.url())] {
        let home = Directory::new();
        let to = Cli::at(home.path(), database.clone()).password(PASSPHRASE);
        // Saying it again is no acceptance.
        for _ in 0..2 {
            let imported = to.run(&["import", &name, "--with-secrets", "--noinput"]).succeeded();
            assert!(imported.stdout.contains("acceptrollback"), "{imported:?}");
            assert!(imported.stderr.contains("--moved"), "{imported:?}");
            refused_start(&to).await.failed_about(UNKNOWN);
            to.run(&["lockuser", "ada"]).failed_about(UNKNOWN);
        }
        // A machine that was not there, and knows nothing of it.
        let other = Directory::new();
        fs::copy(home.path().join("root.secret"), other.path().join("root.secret")).unwrap();
        let elsewhere = database.map(|url| Cli::at(other.path(), Some(url)));
        if let Some(elsewhere) = &elsewhere {
            refused_start(elsewhere).await.failed_about(UNKNOWN);
        }
        elsewhere.as_ref().unwrap_or(&to).run(&["acceptrollback"]).succeeded();
        let process = Process::start_with(&to, &home, free_port(), &["--issuer", &app.base]).await;
        let there = crate::harness::App { base: process.base.clone(), ..app.clone() };
        assert!(!there.sees_active(&revoked.access).await);
        there.refresh(&revoked.refresh).send().await.is(400);
        process.browser().login("ada").await;
        process.terminate().await;
    }

    // Where more of it was seen, nobody's word counts against that.
    let elsewhere = Database::empty();
    let to = Cli::at(old.path(), Some(elsewhere.url())).password(PASSPHRASE);
    let imported = to.run(&moved(&name)).succeeded();
    assert!(imported.stdout.contains("acceptrollback"), "{imported:?}");
    refused_start(&to).await.failed_about("older than what this node has seen");
}

/// Without its secrets nobody can log in, but what was issued is checked with the root secret alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_export_beside_its_root_secret_revives_nothing() {
    let old = Directory::copy_of(prepared::sqlite());
    let (from, ..) = history(&old, None).await;
    let (_, name) = file(&old, "plain.ndjson");
    from.run(&["export", &name]).succeeded();
    let new = Directory::new();
    fs::copy(old.path().join("root.secret"), new.path().join("root.secret")).unwrap();
    let to = Cli::at(new.path(), None);
    to.run(&["import", &name, "--moved"]).failed_about("--with-secrets");
    let imported = to.run(&["import", &name]).succeeded();
    assert!(imported.stdout.contains("acceptrollback"), "{imported:?}");
    refused_start(&to).await.failed_about(UNKNOWN);

    // It comes later.
    let later = Directory::new();
    let to = Cli::at(later.path(), None);
    to.run(&["import", &name]).succeeded();
    fs::copy(old.path().join("root.secret"), later.path().join("root.secret")).unwrap();
    refused_start(&to).await.failed_about(UNKNOWN);
    to.run(&["acceptrollback"]).succeeded();
    Process::start_with(&to, &later, free_port(), &[]).await.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_forgot_to_say_that_an_installation_has_moved_says_it_afterwards() {
    let old = Directory::copy_of(prepared::sqlite());
    let (from, live, dead, app) = history(&old, None).await;
    let (_, name) = file(&old, "move.ndjson");
    from.password(PASSPHRASE).run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    let new = Directory::new();
    let to = Cli::at(new.path(), None).password(PASSPHRASE);
    to.run(&["import", &name, "--with-secrets", "--noinput"]).succeeded();
    refused_start(&to).await.failed_about(UNKNOWN);
    let said = to.run(&moved(&name)).succeeded();
    assert!(!said.stdout.contains("acceptrollback"), "{said:?}");
    let process = Process::start_with(&to, &new, free_port(), &["--issuer", &app.base]).await;
    let there = crate::harness::App { base: process.base.clone(), ..app.clone() };
    assert!(there.sees_active(&live.access).await);
    assert!(!there.sees_active(&dead.access).await);
    process.terminate().await;
}

/// Half a log looks like a whole one, and lacks the revocations at its end.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_half_imported_is_served_by_nobody_and_can_be_completed() {
    let old = Directory::copy_of(prepared::sqlite());
    let (from, ..) = history(&old, None).await;
    let (_, name) = file(&old, "events.ndjson");
    let sealed = from.clone().password(PASSPHRASE);
    sealed.run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    let new = Directory::new();
    let to = Cli::at(new.path(), None).password(PASSPHRASE);
    to.run(&moved(&name)).succeeded();
    // As it is while the import goes on.
    let connection = rusqlite::Connection::open(new.path().join("chancery.db")).unwrap();
    let sql = "INSERT INTO checkpoints (projection, lane, position) VALUES ('import', 0, 1000)";
    connection.execute(sql, []).unwrap();
    drop(connection);
    refused_start(&to).await.failed_about("its import was interrupted");
    to.run(&["lockuser", "ada"]).failed_about("its import was interrupted");
    to.run(&["verify"]).failed_about("its import was interrupted");
    let (_, again) = file(&new, "again.ndjson");
    to.run(&["export", &again]).failed_about("its import was interrupted");
    to.run(&moved(&name)).succeeded();
    assert_eq!(chain(&to), chain(&from));
}
