//! Can the whole of it be kept and put back, while a server goes on?

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use super::{chain, file, names};
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Engine, Process, Registration, Setup, prepared};

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
    let there = App { base: process.base.clone(), ..app };
    assert!(!there.sees_active(&tokens.access).await);
    process.browser().login("ada").await;
    process.terminate().await;
    cli.run(&["verify"]).succeeded();
}

/// Under a name that says what it is, a part of a backup is taken for one.
#[test]
fn what_is_cut_off_never_has_the_name_of_a_backup() {
    let home = Directory::copy_of(prepared::sqlite());
    let cli = Cli::at(home.path(), None);
    let whole = fs::metadata(home.path().join("chancery.db")).unwrap().len();
    assert!(whole > 128 << 10, "{whole}");
    // A file may grow to 64 KiB: writing more fails, or ends whoever tries.
    let limited = |what: &str| {
        let script = format!("{what}ulimit -f 128; exec \"$@\"");
        cli.clone().run_by(["sh", "-c", &script, "sh"].map(str::to_owned).to_vec())
    };
    let copies = Directory::new();
    let (_, name) = file(&copies, "backup.db");
    limited("trap '' XFSZ; ").run(&["backup", &name]).failed_about("chancery");
    assert_eq!(names(&copies), [""; 0]);
    assert_eq!(limited("").run(&["backup", &name]).code, -1, "it is killed");
    let left = names(&copies);
    assert!(left.iter().all(|name| name.contains(".incomplete")) && !left.is_empty(), "{left:?}");
    for name in left {
        assert_eq!(
            fs::metadata(copies.path().join(&name)).unwrap().permissions().mode() & 0o077,
            0,
            "{name}"
        );
        fs::remove_file(copies.path().join(name)).unwrap();
    }

    cli.run(&["backup", &name]).succeeded();
    assert_eq!(names(&copies), ["backup.db"]);
    let (before, there) = (names(&home), chain(&cli));
    limited("trap '' XFSZ; ").run(&["restore", &name, "--replace"]).failed_about("cannot be used");
    assert_eq!((names(&home), chain(&cli)), (before, there), "nothing is left and nothing was exchanged");

    // What is not whole is not named a backup either.
    let database = home.path().join("chancery.db");
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.windows(10).position(|part| part == b"configurat").unwrap();
    bytes[middle] ^= 1;
    fs::write(&database, bytes).unwrap();
    let (_, other) = file(&copies, "other.db");
    assert_ne!(cli.run(&["backup", &other]).code, 0);
    assert_eq!(names(&copies), ["backup.db"]);
}

/// What it wrote would be acknowledged, and go into the file that was put aside.
#[test]
fn a_database_is_not_exchanged_under_a_command_that_waits_at_its_prompt() {
    let home = Directory::copy_of(prepared::sqlite());
    let cli = Cli::at(home.path(), None);
    let (_, name) = file(&home, "backup.db");
    cli.run(&["backup", &name]).succeeded();
    let mut changing = cli.command(&["changepassword", "ada"]).spawn().unwrap();
    let mut said = changing.stderr.take().unwrap();
    let mut asked = [0; "Password: ".len()];
    said.read_exact(&mut asked).unwrap();
    assert_eq!(str::from_utf8(&asked).unwrap(), "Password: ");
    for alone in [&["restore", &name, "--replace"][..], &["acceptrollback"]] {
        let refused = cli.run(alone).failed_about("another process is using the embedded database");
        assert!(refused.stderr.contains("let every other command end"), "{}", refused.stderr);
    }
    // Others need not be alone.
    cli.run(&["verify"]).succeeded();
    cli.run(&["lockuser", "bob"]).succeeded();
    let mut typed = changing.stdin.take().unwrap();
    writeln!(typed, "an entirely different phrase\nan entirely different phrase").unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(changing.wait().unwrap().success(), "{rest}");
    let names = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let is_aside = names.into_iter().any(|name| name.to_str().unwrap().contains(".replaced-"));
    assert!(!is_aside, "what was acknowledged is where it is served from");
    cli.run(&["restore", &name, "--replace"]).succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_backed_up_by_its_own_tools() {
    let server = Setup::new(Engine::Postgres).start().await;
    let (_, name) = file(&server.directory, "backup.db");
    let outcome = server.run(&["backup", &name]).await;
    outcome.failed_about("its own tools");
    let outcome = server.run(&["restore", &name]).await;
    outcome.failed_about("its own tools");
}
