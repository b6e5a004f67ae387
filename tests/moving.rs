//! Can an installation be moved between the engines, and brought back from a backup?

mod backup;
mod unseen;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use chancery::journal::Engine as _;
use chancery::journal::archive::{Proved, half_imported};
use chancery::journal::chain::{GENESIS, fold, hex, leaf};
use chancery::journal::engine::NewEvent;
use chancery::journal::sqlite::SqliteEngine;
use serde_json::Value;

use crate::harness::cli::Outcome;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, PASSWORD, Process, Registration, Tokens, prepared};

const PASSPHRASE: &str = "a passphrase of several words";

fn file(directory: &Directory, name: &str) -> (PathBuf, String) {
    let path = directory.path().join(name);
    (path.clone(), path.to_str().unwrap().to_owned())
}

/// An import of which the operator says that nothing has happened since the export.
fn moved(name: &str) -> [&str; 5] {
    ["import", name, "--with-secrets", "--moved", "--noinput"]
}

/// What a start says that is refused.
async fn refused_start(cli: &Cli) -> Outcome {
    let (cli, listen) = (cli.clone(), format!("127.0.0.1:{}", free_port()));
    tokio::task::spawn_blocking(move || cli.run(&["--listen", &listen])).await.unwrap()
}

/// What stands in a directory, by name.
fn names(directory: &Directory) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A history with a person, applications, tokens and a revocation; the server has stopped.
async fn history(
    directory: &Directory,
    database: Option<&Database>,
) -> (Cli, Tokens, Tokens, crate::harness::App) {
    let cli = Cli::at(directory.path(), database.map(Database::url));
    let process = Process::start_with(&cli, directory, free_port(), &[]).await;
    let ada = process.browser();
    ada.login("ada").await;
    let app = ada.register(&Registration::confidential()).await;
    let (live, dead) = (ada.tokens(&app).await, ada.tokens(&app).await);
    app.revoke(&dead.refresh).send().await.is(200);
    assert_eq!(process.terminate().await, 0);
    (cli, live, dead, app)
}

fn chain(cli: &Cli) -> (u64, String) {
    let verified = cli.run(&["verify", "--json"]).succeeded().json();
    (verified["events"].as_u64().unwrap(), verified["chain"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_moves_from_one_engine_to_the_other_and_back() {
    let (old, new, back) = (Directory::copy_of(prepared::sqlite()), Directory::new(), Directory::new());
    let (from, live, dead, app) = history(&old, None).await;
    let (path, name) = file(&old, "move.ndjson");
    let database = Database::empty();
    let with_passphrase = |cli: &Cli| cli.clone().password(PASSPHRASE);
    with_passphrase(&from).run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let to = Cli::at(new.path(), Some(database.url()));
    let imported = with_passphrase(&to).run(&moved(&name)).succeeded();
    assert!(imported.stdout.contains("with secrets"), "{}", imported.stdout);
    assert_eq!(chain(&to), chain(&from));

    // Everybody goes on: with their password, their secret, and their tokens.
    let process = Process::start_with(&to, &new, free_port(), &["--issuer", &app.base]).await;
    let there = crate::harness::App { base: process.base.clone(), ..app.clone() };
    assert!(there.sees_active(&live.access).await);
    assert!(!there.sees_active(&dead.access).await);
    there.refresh(&live.refresh).send().await.is(200);
    process.browser().login("ada").await;
    process.terminate().await;
    with_passphrase(&to)
        .run(&["export", &name, "--with-secrets", "--noinput"])
        .failed_about("cannot be used");
    fs::remove_file(&path).unwrap();
    with_passphrase(&to).run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    let home = Cli::at(back.path(), None);
    with_passphrase(&home).run(&moved(&name)).succeeded();
    assert_eq!(chain(&home), chain(&to));
}

/// What the node has noted of the log ends in the middle of a batch there: an import cuts batches of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_before_a_move_is_found_after_it() {
    let home = Directory::copy_of(prepared::sqlite());
    let (from, live, _, app) = history(&home, None).await;
    let grace = ["createuser", "--noinput", "--username", "grace", "--email", "grace@example.com"];
    from.clone().password(PASSWORD).run(&grace).succeeded();
    let (_, name) = file(&home, "move.ndjson");
    let with_passphrase = |cli: &Cli| cli.clone().password(PASSPHRASE);
    with_passphrase(&from).run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    let database = Database::empty();
    let to = Cli::at(home.path(), Some(database.url()));
    with_passphrase(&to).run(&["import", &name, "--with-secrets", "--noinput"]).succeeded();
    let process = Process::start_with(&to, &home, free_port(), &["--issuer", &app.base]).await;
    let there = crate::harness::App { base: process.base.clone(), ..app.clone() };
    assert!(there.sees_active(&live.access).await);
    process.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_no_secret_unless_it_is_sealed() {
    let old = Directory::copy_of(prepared::sqlite());
    let (cli, live, _, app) = history(&old, None).await;
    let root_secret = fs::read_to_string(old.path().join("root.secret")).unwrap();
    let (path, name) = file(&old, "plain.ndjson");
    cli.run(&["export", &name]).succeeded();
    let plain = fs::read_to_string(&path).unwrap();
    let (sealed_path, sealed_name) = file(&old, "sealed.ndjson");
    cli.clone()
        .password(PASSPHRASE)
        .run(&["export", &sealed_name, "--with-secrets", "--noinput"])
        .succeeded();
    let sealed = fs::read_to_string(&sealed_path).unwrap();
    for secret in [root_secret.trim(), &live.access, &live.refresh, &app.secret, "$argon2id$", "\"wrapped\""]
    {
        assert!(!plain.contains(secret), "plain: {secret}");
        assert!(!sealed.contains(secret), "sealed: {secret}");
    }
    assert!(plain.contains("application.registered") && !plain.contains("AGE ENCRYPTED"));
    assert!(sealed.contains("AGE ENCRYPTED FILE"));

    // Imported without them it is a history, and nobody's door.
    let new = Directory::new();
    let to = Cli::at(new.path(), None);
    to.run(&["import", &name]).succeeded();
    assert_eq!(chain(&to), chain(&cli));
    refused_start(&to).await.failed_about("root secret");
    let another = Cli::at(Directory::new().path(), None);
    another.run(&["import", &sealed_name]).failed_about("passphrase");
    let wrong = another.clone().password("another passphrase of words");
    wrong.run(&["import", &sealed_name, "--with-secrets", "--noinput"]).failed_about("passphrase");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_changed_or_cut_is_refused_before_anything_is_written() {
    let old = Directory::copy_of(prepared::sqlite());
    let (cli, ..) = history(&old, None).await;
    let (path, name) = file(&old, "events.ndjson");
    cli.run(&["export", &name]).succeeded();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let without = |index: usize| {
        let mut lines = lines.clone();
        lines.remove(index);
        lines.join("\n")
    };
    let swapped = {
        let mut lines = lines.clone();
        lines.swap(3, 4);
        lines.join("\n")
    };
    let edited = whole.replacen("Reports", "Forgery", 1);
    assert_ne!(edited, whole);
    let cut = without(lines.len() - 1);
    for (what, text) in [
        ("edited", edited),
        ("one left out", without(5)),
        ("two exchanged", swapped),
        ("cut off", cut),
        ("something else", "{\"cheese\": true}".to_owned()),
        ("nothing", String::new()),
    ] {
        fs::write(&path, text).unwrap();
        let new = Directory::new();
        let to = Cli::at(new.path(), None);
        let refused = to.run(&["import", &name]);
        assert_ne!(refused.code, 0, "{what}");
        assert!(
            !refused.stderr.contains("panicked") && refused.stderr.contains("nothing was written"),
            "{refused:?}"
        );
        assert!(!new.path().join("chancery.db").exists(), "{what}");
    }
    fs::write(&path, &whole).unwrap();
    let elsewhere = Directory::copy_of(prepared::sqlite());
    let to = Cli::at(elsewhere.path(), None);
    history(&elsewhere, None).await;
    to.run(&["import", &name]).failed_about("not the beginning of this one");
}

/// The lines of an export without the events of this type, its chain made anew: what somebody would bring who
/// has it in hand on its way.
fn forged(whole: &str, event_type: &str) -> String {
    let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let (mut chain, mut position, mut kept) = (GENESIS, 0, Vec::new());
    for mut line in lines {
        if line.get("event_type").is_some() {
            if line["event_type"] == event_type {
                continue;
            }
            position += 1;
            line["position"] = position.into();
            let event = NewEvent {
                event_type: text(&line, "event_type"),
                event_version: text(&line, "event_version"),
                payload: text(&line, "payload"),
                metadata: text(&line, "metadata").into(),
            };
            let (kind, id) = (text(&line, "aggregate_type"), text(&line, "aggregate_id"));
            chain = fold(&chain, &leaf(&kind, &id, line["sequence"].as_i64().unwrap(), &event));
        }
        kept.push(line);
    }
    for line in &mut kept {
        if line.get("events").is_some() {
            line["events"] = position.into();
            line["chain"] = hex(&chain).into();
        }
    }
    let lines: Vec<String> = kept.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n"
}

/// Another installation.
fn prepared_elsewhere() -> Directory {
    let directory = Directory::new();
    Cli::at(directory.path(), None)
        .password("a quite long phrase 9")
        .run(&["createsuperuser", "--username", "eve", "--email", "", "--noinput"])
        .succeeded();
    directory
}

/// Whoever has an export in hand can make its chain anew, but not what is sealed with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_proves_where_it_comes_from() {
    let old = Directory::copy_of(prepared::sqlite());
    let (cli, ..) = history(&old, None).await;
    let cli = cli.password(PASSPHRASE);
    let (path, name) = file(&old, "move.ndjson");
    cli.run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    let whole = fs::read_to_string(&path).unwrap();
    let forged = forged(&whole, "authorization.revoked");
    assert_ne!(forged.lines().count(), whole.lines().count(), "there was a revocation");
    fs::write(&path, forged).unwrap();
    let new = Directory::new();
    let to = Cli::at(new.path(), None).password(PASSPHRASE);
    to.run(&["import", &name, "--with-secrets", "--noinput"]).failed_about("sealed with another log");
    assert!(!new.path().join("chancery.db").exists());

    // With another root secret it would be of no use to anybody.
    let (_, plain) = file(&old, "plain.ndjson");
    cli.run(&["export", &plain]).succeeded();
    to.run(&["import", &plain, "--with-secrets", "--noinput"]).failed_about("no secrets in it");
    fs::rename(old.path().join("root.secret"), old.path().join("kept")).unwrap();
    fs::copy(prepared_elsewhere().path().join("root.secret"), old.path().join("root.secret")).unwrap();
    let (_, useless) = file(&old, "useless.ndjson");
    cli.run(&["export", &useless, "--with-secrets", "--noinput"]).failed_about("root secret");
    assert!(!old.path().join("useless.ndjson").exists());
}

/// With another installation's root secret in its data directory a node would not start on its own database.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_cannot_begin_leaves_no_root_secret_behind() {
    let old = Directory::copy_of(prepared::sqlite());
    let (from, ..) = history(&old, None).await;
    let (_, name) = file(&old, "move.ndjson");
    from.password(PASSPHRASE).run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();

    // A wrong DATABASE_URL.
    let (theirs, database) = prepared::postgres();
    let (new, database) = (Directory::new(), Database::copy_of(database));
    let there = Cli::at(new.path(), Some(database.url()));
    let wrong = there.clone().password(PASSPHRASE);
    wrong.run(&moved(&name)).failed_about("not the beginning of this one");
    assert!(!new.path().join("root.secret").exists());
    fs::copy(theirs.join("root.secret"), new.path().join("root.secret")).unwrap();
    there.run(&["verify"]).succeeded();
    Process::start_with(&there, &new, free_port(), &[]).await.terminate().await;

    // The first thing that is written is refused.
    let new = Directory::new();
    let to = Cli::at(new.path(), None).password(PASSPHRASE);
    to.run(&["migrate"]).succeeded();
    let connection = rusqlite::Connection::open(new.path().join("chancery.db")).unwrap();
    let sql = "CREATE TRIGGER full BEFORE INSERT ON checkpoints BEGIN SELECT RAISE(ABORT, 'no room'); END";
    connection.execute(sql, []).unwrap();
    to.run(&moved(&name)).failed_about("no room");
    assert!(!new.path().join("root.secret").exists());
    connection.execute("DROP TRIGGER full", []).unwrap();
    drop(connection);
    to.run(&moved(&name)).succeeded();
    assert!(new.path().join("root.secret").exists());
}

/// What is proved is what is written, whatever happens to the file in between.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_exchanged_after_it_was_checked_is_not_what_is_imported() {
    let old = Directory::copy_of(prepared::sqlite());
    let (cli, ..) = history(&old, None).await;
    let (path, name) = file(&old, "events.ndjson");
    cli.run(&["export", &name]).succeeded();
    let whole = fs::read_to_string(&path).unwrap();
    let (other, _) = file(&old, "other.ndjson");
    fs::write(&other, forged(&whole, "authorization.revoked")).unwrap();
    let engine = |directory: &Directory| {
        SqliteEngine::open(&directory.path().join("chancery.db"), Duration::from_secs(2)).unwrap()
    };

    // Another file under its name: the one that was opened is read.
    let (aside, new) = (old.path().join("aside.ndjson"), Directory::new());
    let mut proved = Proved::open(&path, None).unwrap();
    fs::rename(&path, &aside).unwrap();
    fs::rename(&other, &path).unwrap();
    {
        let to = engine(&new);
        let mut import = proved.begin(&to).await.unwrap();
        import.mark().await.unwrap();
        import.write(&|_, _| {}).await.unwrap();
        import.finish(true).await.unwrap();
        assert_eq!(half_imported(&to).await.unwrap(), None);
    }
    assert_eq!(chain(&Cli::at(new.path(), None)), chain(&cli));

    // Other lines in the same file, whose chain is right: found, and served by nobody.
    let new = Directory::new();
    let mut proved = Proved::open(&aside, None).unwrap();
    fs::write(&aside, fs::read(&path).unwrap()).unwrap();
    let to = engine(&new);
    let mut import = proved.begin(&to).await.unwrap();
    import.mark().await.unwrap();
    let refused = import.write(&|_, _| {}).await.unwrap_err();
    assert!(refused.to_string().contains("the chain of the import breaks"), "{refused}");
    drop(import);
    assert!(half_imported(&to).await.unwrap().is_some());
    drop(to);
    refused_start(&Cli::at(new.path(), None)).await.failed_about("its import was interrupted");
}

#[test]
fn what_has_no_end_or_no_beginning_to_return_to_is_no_export() {
    let new = Directory::new();
    let to = Cli::at(new.path(), None);
    to.run(&["import", "/dev/zero"]).failed_about("longer than");
    to.clone().stdin("{}").run(&["import", "/dev/stdin"]).failed_about("read twice");
    to.run(&["import", "-"]).failed_about("read twice");
    assert!(!new.path().join("chancery.db").exists());
}

/// Whoever gets hold of an export can guess at its passphrase for years.
#[test]
fn an_export_is_sealed_with_a_long_passphrase_or_not_at_all() {
    let home = Directory::copy_of(prepared::sqlite());
    let (path, name) = file(&home, "move.ndjson");
    let export = ["export", &name, "--with-secrets", "--noinput"];
    let sealed = |passphrase: &str| Cli::at(home.path(), None).password(passphrase).run(&export);
    let refused = sealed("vxkqtmzr").failed_about("at least 20 characters");
    assert!(
        refused.stderr.contains("six random words") && refused.stderr.contains("root secret"),
        "{refused:?}"
    );
    sealed("nineteen characters").failed_about("at least 20 characters");
    sealed("password1234567890123").failed_about("attackers");
    assert!(!path.exists());
    sealed("twenty characters ok").succeeded();
}

/// What is imported is written by this version's measure, and would be served by the other's.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_into_read_models_of_another_version() {
    let old = Directory::copy_of(prepared::sqlite());
    let (_, name) = file(&old, "events.ndjson");
    Cli::at(old.path(), None).run(&["export", &name]).succeeded();
    let new = Directory::new();
    let path = new.path().join("chancery.db");
    let engine = SqliteEngine::open(&path, Duration::from_secs(5)).unwrap();
    engine.migrate().await.unwrap();
    let sql = "UPDATE read_models SET version = 7 WHERE projection = 'tokens'";
    engine.execute(sql, &[]).await.unwrap();
    drop(engine);
    Cli::at(new.path(), None).run(&["import", &name]).failed_about("the read model tokens is of version 7");
}
