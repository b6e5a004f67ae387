//! Can an installation be moved between the engines, and brought back from a backup?

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use chancery::journal::chain::{GENESIS, fold, hex, leaf};
use chancery::journal::engine::NewEvent;
use serde_json::Value;

use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, PASSWORD, Process, Registration, Server, Tokens, prepared};

const PASSPHRASE: &str = "a passphrase of several words";

fn file(directory: &Directory, name: &str) -> (PathBuf, String) {
    let path = directory.path().join(name);
    (path.clone(), path.to_str().unwrap().to_owned())
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
    let imported = with_passphrase(&to).run(&["import", &name, "--with-secrets", "--noinput"]).succeeded();
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
        .failed_about("cannot be read or written");
    fs::remove_file(&path).unwrap();
    with_passphrase(&to).run(&["export", &name, "--with-secrets", "--noinput"]).succeeded();
    let home = Cli::at(back.path(), None);
    with_passphrase(&home).run(&["import", &name, "--with-secrets", "--noinput"]).succeeded();
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
    let listen = format!("127.0.0.1:{}", free_port());
    let refused = tokio::task::spawn_blocking(move || to.run(&["--listen", &listen])).await.unwrap();
    refused.failed_about("root secret");
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

/// Another installation.
fn prepared_elsewhere() -> Directory {
    let directory = Directory::new();
    Cli::at(directory.path(), None)
        .password("a quite long phrase 9")
        .run(&["createsuperuser", "--username", "eve", "--email", "", "--noinput"])
        .succeeded();
    directory
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
    to.run(&["import", &name, "--with-secrets", "--noinput"]).succeeded();
    // As it is while the import goes on.
    let connection = rusqlite::Connection::open(new.path().join("chancery.db")).unwrap();
    let sql = "INSERT INTO checkpoints (projection, lane, position) VALUES ('import', 0, 1000)";
    connection.execute(sql, []).unwrap();
    drop(connection);
    let listen = format!("127.0.0.1:{}", free_port());
    let serving = to.clone();
    let refused = tokio::task::spawn_blocking(move || serving.run(&["--listen", &listen])).await.unwrap();
    refused.failed_about("its import was interrupted");
    to.run(&["lockuser", "ada"]).failed_about("its import was interrupted");
    to.run(&["verify"]).failed_about("its import was interrupted");
    let (_, again) = file(&new, "again.ndjson");
    to.run(&["export", &again]).failed_about("its import was interrupted");
    to.run(&["import", &name, "--with-secrets", "--noinput"]).succeeded();
    assert_eq!(chain(&to), chain(&from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_the_server_goes_on_and_is_put_back() {
    let old = Directory::copy_of(prepared::sqlite());
    let cli = Cli::at(old.path(), None);
    let process = Process::start_with(&cli, &old, free_port(), &[]).await;
    let ada = process.browser();
    ada.login("ada").await;
    let app = ada.register(&Registration::confidential()).await;
    let (path, name) = file(&old, "backup.db");
    let made = cli.run(&["backup", &name]).succeeded();
    assert!(made.stdout.contains("whole history"), "{}", made.stdout);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    cli.run(&["backup", &name]).failed_about("cannot be used");
    let tokens = ada.tokens(&app).await;
    app.revoke(&tokens.access).send().await.is(200);
    // Not under a server, not over a database unasked, and not with a file that is not whole.
    cli.run(&["restore", &name, "--replace"]).failed_about("another process is using");
    process.terminate().await;
    cli.run(&["restore", &name]).failed_about("there is a database");
    let (damaged, damaged_name) = file(&old, "damaged.db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.windows(10).position(|part| part == b"configurat").unwrap();
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let before = chain(&cli);
    assert_ne!(cli.run(&["restore", &damaged_name, "--replace"]).code, 0);
    assert_eq!(chain(&cli), before, "nothing was exchanged");

    let restored = cli.run(&["restore", &name, "--replace"]).succeeded();
    assert!(format!("{}{}", restored.stdout, restored.stderr).contains("acceptrollback"), "{restored:?}");
    cli.run(&["acceptrollback"]).succeeded();
    let process = Process::start_with(&cli, &old, free_port(), &["--issuer", &app.base]).await;
    let there = crate::harness::App { base: process.base.clone(), ..app };
    assert!(!there.sees_active(&tokens.access).await);
    process.browser().login("ada").await;
    process.terminate().await;
    cli.run(&["verify"]).succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_backed_up_by_its_own_tools() {
    let server = crate::harness::Setup::new(crate::harness::Engine::Postgres).start().await;
    let (_, name) = file(&server.directory, "backup.db");
    let outcome = server.run(&["backup", &name]).await;
    outcome.failed_about("its own tools");
    let outcome = server.run(&["restore", &name]).await;
    outcome.failed_about("its own tools");
    let _: &Server = &server;
}
