//! Does every command do what its help says, and fail with a reason and an exit code otherwise?

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::prepared;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Engine, PASSWORD, Registration, Server, Setup, on_both_engines};

/// An installation of its own with the usual users.
fn installation() -> (Directory, Cli) {
    let directory = Directory::copy_of(prepared::sqlite());
    let cli = Cli::at(directory.path(), None);
    (directory, cli)
}

const NEW: &str = "an entirely different phrase";

#[test]
fn users_are_created_from_the_environment_standard_input_or_not_at_all() {
    let (_directory, cli) = installation();
    let create = ["createuser", "--username", "eve", "--email", "eve@example.com"];
    let with = |more: &[&'static str]| [&create[..], more].concat();
    let said = cli.clone().password(PASSWORD).run(&with(&["--noinput", "--json"])).succeeded().json();
    assert_eq!((said["username"].as_str(), said["superuser"].as_bool()), (Some("eve"), Some(false)));

    cli.clone().password(PASSWORD).run(&with(&["--noinput"])).failed_about("taken");
    let piped = ["createsuperuser", "--username", "mallory", "--email", "", "--password-stdin"];
    cli.clone().stdin(&format!("{PASSWORD}\n")).run(&piped).succeeded();
    for (name, email, password, about) in [
        ("trudy", "trudy@example.com", "short", "8 characters"),
        ("trudy", "trudy@example.com", "password1", "attackers"),
        ("trudy", "not an address", PASSWORD, "mail"),
        ("", "trudy@example.com", PASSWORD, "username"),
        ("a\nb", "trudy@example.com", PASSWORD, "username"),
    ] {
        let arguments = ["createuser", "--noinput", "--username", name, "--email", email];
        cli.clone().password(password).run(&arguments).failed_about(about);
    }
    cli.run(&["createuser", "--noinput", "--username", "trudy"]).failed_about("CHANCERY_PASSWORD");
    cli.clone().password(PASSWORD).run(&["createuser", "--noinput"]).failed_about("--username");
    cli.run(&["createuser", "--password", "x"]).failed_about("--password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_sessions() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let cli = server.cli().password(NEW);
        server.run_with(cli, &["changepassword", "ada", "--noinput"]).await.succeeded();
        assert!(!ada.is_logged_in().await);
        server.browser().try_login("ada", NEW).await.is(303);
        server
            .run_with(server.cli().password(NEW), &["changepassword", "nobody", "--noinput"])
            .await
            .failed_about("nobody");
        server
            .run_with(server.cli().password("short"), &["changepassword", "ada", "--noinput"])
            .await
            .failed_about("8");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_locked_and_unlocked() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let said = server.run(&["lockuser", "ada", "--json"]).await.succeeded().json();
        assert_eq!((said["locked"].as_bool(), said["changed"].as_bool()), (Some(true), Some(true)));
        assert!(!ada.is_logged_in().await);
        let said = server.run(&["lockuser", "ada", "--json"]).await.succeeded().json();
        assert_eq!(said["changed"], false, "twice is once");
        server.run(&["unlockuser", "ada"]).await.succeeded();
        assert!(!ada.is_logged_in().await, "what the lock ended stays ended");
        // The command line has the system's clock, which the test's stands behind.
        server.advance(60);
        server.user("ada").await;
        server.run(&["lockuser", "nobody"]).await.failed_about("nobody");
    })
    .await;
}

fn application(server: &Server, said: &serde_json::Value) -> App {
    App {
        client: server.client.clone(),
        base: server.base.clone(),
        client_id: said["client_id"].as_str().unwrap().to_owned(),
        secret: said["client_secret"].as_str().unwrap_or_default().to_owned(),
        redirect_uri: "https://app.example/cb".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_are_created_and_used() {
    on_both_engines(async |server| {
        let create =
            ["createapplication", "confidential", "client-credentials", "--name", "Nightly job", "--json"];
        let said = server.run(&create).await.succeeded().json();
        let app = application(&server, &said);
        assert_eq!((app.client_id.len(), app.secret.len()), (40, 128));
        app.client_credentials().send().await.is(200);

        let create = [
            "createapplication",
            "confidential",
            "authorization-code",
            "--name",
            "Shop",
            "--user",
            "ada",
            "--client-id",
            "shop",
            "--redirect-uris",
            "https://app.example/cb https://app.example/other",
            "--json",
            "--client-secret-stdin",
        ];
        let cli = server.cli().stdin("a secret of my own choosing\n");
        let said = server.run_with(cli, &create).await.succeeded().json();
        assert!(said.get("client_secret").is_none(), "what was given is not repeated: {said}");
        let app = application(&server, &said).with_secret("a secret of my own choosing");
        let ada = server.user("ada").await;
        ada.tokens(&app).await;
        ada.get("/o/applications/shop/").await.is(200).shows("Shop");

        let plain = ["createapplication", "confidential", "client-credentials", "--name", "Plain"];
        let said = server.run(&plain).await.succeeded().stdout;
        assert!(said.contains("New application Plain created successfully."), "{said}");
        assert!(said.contains("client_secret: "), "{said}");
        let public = [
            "createapplication",
            "public",
            "authorization-code",
            "--redirect-uris",
            "http://127.0.0.1/cb",
            "--json",
        ];
        assert!(server.run(&public).await.succeeded().json().get("client_secret").is_none());
    })
    .await;
}

#[test]
fn applications_that_cannot_be_are_refused_with_the_reason() {
    let (_directory, cli) = installation();
    let code = ["createapplication", "confidential", "authorization-code"];
    let with = |more: &[&'static str]| [&code[..], more].concat();
    cli.run(&code).failed_about("redirect_uris cannot be empty with grant_type authorization-code");
    cli.run(&with(&["--redirect-uris", "ftp://x/y"])).failed_about("invalid_scheme: ftp://x/y");
    cli.run(&with(&["--redirect-uris", "https://a/b#f"])).failed_about("fragment not allowed");
    cli.run(&with(&["--redirect-uris", "https://a.example/", "--user", "nobody"])).failed_about("nobody");
    cli.run(&with(&["--redirect-uris", "https://a.example/", "--scopes", "cheese"])).failed_about("cheese");
    cli.run(&with(&["--redirect-uris", "https://a.example/", "--algorithm", "HS256"])).failed_about("HS256");
    cli.run(&with(&["--no-hash-client-secret"])).failed_about("verifier");
    cli.run(&["createapplication", "confidential", "implicit"]).failed_about("implicit");
    cli.run(&["createapplication", "confidential", "password"]).failed_about("password");
    cli.run(&["createapplication", "public", "client-credentials"]).failed_about("confidential");
    let named = with(&["--redirect-uris", "https://a.example/", "--client-id", "shop"]);
    cli.run(&named).succeeded();
    cli.run(&named).failed_about("Application with this Client ID already exists.");
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_are_disabled_and_enabled() {
    on_both_engines(async |server| {
        let app = server.user("ada").await.register(&Registration::machine()).await;
        server.run(&["disableapplication", &app.client_id]).await.succeeded();
        app.client_credentials().send().await.is(401);
        server.run(&["enableapplication", &app.client_id, "--json"]).await.succeeded().json();
        app.client_credentials().send().await.is(200);
        server.run(&["disableapplication", "nobody"]).await.failed_about("nobody");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_history_is_verified_beside_a_running_server() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        ada.tokens(&app).await;
        let said = server.run(&["verify", "--json"]).await.succeeded().json();
        assert_eq!(said["whole"], true);
        assert!(said["events"].as_u64().unwrap() > 8, "{said}");
        server.run(&["verify"]).await.succeeded();
    })
    .await;
}

#[test]
fn migrating_twice_changes_nothing() {
    let directory = Directory::new();
    let cli = Cli::at(directory.path(), None);
    cli.run(&["migrate"]).succeeded();
    let again = cli.run(&["migrate"]).succeeded();
    assert!(again.stdout.contains("nothing to do") || again.stderr.contains("nothing to do"), "{again:?}");
    assert!(directory.path().join("chancery.db").exists());
}

#[test]
fn without_migrations_a_start_is_refused() {
    let directory = Directory::new();
    let cli = Cli::at(directory.path(), None);
    cli.run(&["serve", "--no-migrate", "--listen", "127.0.0.1:0"]).failed_about("chancery migrate");
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let (directory, cli) = installation();
    let root = "0123456789abcdef0123456789abcdef0123456789abcdef";
    let cli = cli.variable("CHANCERY_ROOT_SECRET", root);
    let url = "postgres://chancery:hunter2secret@127.0.0.1:1/none";
    let said = cli.run(&["config", "--json", "--database-url", url]).succeeded();
    assert!(!said.stdout.contains(root) && !said.stdout.contains("hunter2secret"), "{}", said.stdout);
    let said = said.json();
    assert_eq!(
        said["code-lifetime"].as_str().map(|text| text.starts_with("60s") || text.starts_with("1m")),
        Some(true),
        "{said}"
    );
    assert!(cli.run(&["config"]).succeeded().stdout.contains(directory.text()));
}

#[test]
fn what_is_misspelt_is_refused() {
    let (directory, cli) = installation();
    cli.clone().variable("CHANCERY_LISTENN", "x").run(&["config"]).failed_about("CHANCERY_LISTENN");
    cli.run(&["config", "--listenn", "x"]).failed_about("--listenn");
    cli.run(&["createusr"]).failed_about("createusr");
    let file = directory.path().join("chancery.toml");
    fs::write(&file, "listenn = \"x\"\n").unwrap();
    let file = file.to_str().unwrap();
    cli.run(&["config", "--config", file]).failed_about("listenn");
    fs::write(file, "this is not toml").unwrap();
    cli.run(&["config", "--config", file]).failed_about("chancery.toml");
    cli.run(&["config", "--config", "/nonexistent/chancery.toml"]).failed_about("/nonexistent/chancery.toml");
    for (flag, value) in [
        ("--listen", "cheese"),
        ("--code-lifetime", "1 fortnight"),
        ("--max-body", "-1"),
        ("--trusted-proxies", "x"),
        ("--issuer", "cheese"),
    ] {
        cli.run(&["config", flag, value]).failed_about(flag.trim_start_matches("--"));
    }
}

#[test]
fn the_doctor_names_what_is_unsafe() {
    let (directory, cli) = installation();
    let said = cli.run(&["doctor", "--json"]).json();
    assert!(said["findings"].is_array(), "{said}");
    let secret = directory.path().join("root.secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    cli.run(&["doctor"]).failed_about("root.secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    cli.run(&["doctor", "--issuer", "http://id.example", "--allow-insecure-issuer"]).failed_about("https");
    let unreachable = ["doctor", "--database-url", "postgres://chancery@127.0.0.1:1/none"];
    cli.run(&unreachable).failed_about("127.0.0.1:1");
}

#[test]
fn the_doctor_does_not_pass_what_it_has_not_looked_at() {
    let (directory, cli) = installation();
    let empty = Directory::new();
    for private in [&directory, &empty] {
        fs::set_permissions(private.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let looked = cli.run(&["doctor"]).succeeded().stdout;
    assert!(
        looked.contains("Nothing unsafe was found.") && !looked.contains("nothing was checked"),
        "{looked}"
    );
    let said = Cli::at(empty.path(), None).run(&["doctor"]).succeeded().stdout;
    assert!(said.contains("There is no database: nothing was checked"), "{said}");
}

/// What a start refuses the doctor says before.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_knows_what_a_start_refuses() {
    let home = Directory::copy_of(prepared::sqlite());
    let cli = Cli::at(home.path(), None);
    let refused = |more: &[&str]| {
        let said = cli.run(&[&["doctor", "--json"], more].concat()).json();
        let findings = said["findings"].as_array().unwrap().clone();
        let whats = findings.iter().map(|finding| finding["what"].as_str().unwrap().to_owned());
        whats.filter(|what| what.starts_with("A start is refused")).collect::<Vec<_>>()
    };
    assert_eq!(refused(&[]), [""; 0]);
    let file = home.path().join("cert.pem");
    fs::write(&file, "no certificate").unwrap();
    let path = file.to_str().unwrap();
    let certificate = refused(&["--tls-cert", path, "--tls-key", path]);
    assert!(certificate.len() == 1 && certificate[0].contains("cert.pem"), "{certificate:?}");
    let secret = home.path().join("root.secret");
    fs::rename(&secret, home.path().join("kept")).unwrap();
    let lost = refused(&[]);
    assert!(lost.len() == 1 && lost[0].contains("root secret"), "{lost:?}");
    fs::write(&secret, "0123456789abcdef".repeat(4)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let another = refused(&[]);
    assert!(another.len() == 1 && another[0].contains("not the one"), "{another:?}");
}

/// What `doctor --json` found, with this on the command line.
fn findings(cli: &Cli, more: &[&str]) -> Vec<(String, String)> {
    let said = cli.run(&[&["doctor", "--json"], more].concat()).json();
    let found = said["findings"].as_array().unwrap().iter();
    let text = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap().to_owned();
    found.map(|one| (text(one, "severity"), text(one, "what"))).collect()
}

#[test]
fn a_configuration_file_that_others_can_read_or_write_is_told() {
    let (directory, cli) = installation();
    let file = directory.path().join("chancery.toml");
    let path = file.to_str().unwrap();
    let told = |text: &str, mode: u32, more: &[&str]| -> Vec<(String, String)> {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let found = findings(&cli, &[&["--config", path], more].concat());
        found.into_iter().filter(|(_, what)| what.contains("configuration file")).collect()
    };
    let url = "database-url = \"postgres://ada:hunter2@127.0.0.1:1/none\"\n";
    let secret = format!("root-secret = \"{}\"\n", "s".repeat(43));
    let both = format!("{url}{secret}");
    for (text, mode, expected) in [
        (both.as_str(), 0o600, None),
        (&both, 0o644, Some(("error", "the password of the database and the root secret"))),
        (&both, 0o640, Some(("warning", "Its group"))),
        (url, 0o604, Some(("error", "which holds the password of the database"))),
        ("database-url = \"postgres://ada@127.0.0.1:1/none\"\n", 0o644, None),
        ("lease = \"1s\"\n", 0o644, None),
        ("lease = \"1s\"\n", 0o664, Some(("error", "Others may write"))),
    ] {
        let found = told(text, mode, &[]);
        let found: Vec<_> = found.iter().map(|(severity, what)| (severity.as_str(), what.as_str())).collect();
        match (expected, found.as_slice()) {
            (None, []) => {}
            (Some((severity, about)), [(found, what)]) => {
                assert!(*found == severity && what.contains(about), "{mode:o}: {what}");
            }
            _ => panic!("{text} {mode:o}: {found:?}"),
        }
    }
    // What is overridden is there to be read all the same, and never repeated.
    let found = told(&both, 0o644, &["--database-url", "postgres://chancery@127.0.0.1:1/none"]);
    assert!(found[0].1.contains("the password of the database"), "{found:?}");
    assert!(!found[0].1.contains("hunter2") && !found[0].1.contains("sss"), "{found:?}");
}

/// Every file of a directory but the index that readers of a log share, with its mode and content.
fn photograph(directory: &Directory) -> Vec<(String, u32, Vec<u8>)> {
    let entries = fs::read_dir(directory.path()).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let content = if name.ends_with("-shm") { Vec::new() } else { fs::read(entry.path()).unwrap() };
            (name, entry.metadata().unwrap().permissions().mode(), content)
        })
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_changes_nothing() {
    let (directory, cli) = installation();
    let database = directory.path().join("chancery.db");
    let commands: [&[&str]; 4] =
        [&["doctor", "--json"], &["verify"], &["readmodels", "--json"], &["export", "-"]];
    let look = || {
        let before = photograph(&directory);
        for command in commands {
            let outcome = cli.run(command);
            assert!(!outcome.stdout.is_empty(), "{command:?}: {outcome:?}");
            let names = |files: &[(String, u32, Vec<u8>)]| -> Vec<(String, u32, usize)> {
                files.iter().map(|(name, mode, content)| (name.clone(), *mode, content.len())).collect()
            };
            let after = photograph(&directory);
            assert_eq!(names(&after), names(&before), "{command:?}");
            assert!(after == before, "{command:?} changed a file");
        }
        cli.run(&["verify"]).succeeded();
    };
    // As it was left by a server that ended, and by somebody who was careless.
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    look();
    assert!(
        findings(&cli, &[])
            .iter()
            .any(|(severity, what)| severity == "error" && what.contains("chancery.db"))
    );
    // Beside a server at work, and as one leaves it that was killed.
    let server = crate::harness::Process::start_with(&cli, &directory, free_port(), &["--log", "off"]).await;
    cli.run(&["verify"]).succeeded();
    drop(server);
    assert!(directory.path().join("chancery.db-wal").exists(), "it was killed");
    look();
    // A database that is none yet stays none.
    let empty = Directory::new();
    fs::write(empty.path().join("chancery.db"), "").unwrap();
    let data_dir = empty.path().to_str().unwrap();
    let found = findings(&cli, &["--data-dir", data_dir]);
    assert!(found.iter().any(|(_, what)| what.contains("migrations have not been run")), "{found:?}");
    assert_eq!(photograph(&empty).len(), 1);
    assert_eq!(fs::metadata(empty.path().join("chancery.db")).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_whether_losing_the_primary_loses_what_was_acknowledged() {
    let server = Setup::new(Engine::Postgres).start().await;
    let cli = server.cli();
    let found = tokio::task::spawn_blocking(move || findings(&cli, &[])).await.unwrap();
    let told = found.iter().find(|(_, what)| what.contains("lost with its disk"));
    assert_eq!(told.map(|(severity, _)| severity.as_str()), Some("note"), "{found:?}");
}

#[test]
fn asvs_pkce_gap_listed() {
    let (_directory, cli) = installation();
    let lax = [
        "createapplication",
        "confidential",
        "authorization-code",
        "--client-id",
        "shop",
        "--redirect-uris",
        "https://a.example/",
    ];
    cli.run(&lax).succeeded();
    let said = cli.run(&["doctor", "--json"]).stdout;
    assert!(said.contains("PKCE") && said.contains("shop"), "{said}");
}

#[test]
fn a_damaged_or_unreachable_database_is_a_clear_error() {
    let (directory, cli) = installation();
    let serve = |more: &[&str]| cli.run(&[&["serve", "--listen", "127.0.0.1:0"], more].concat());
    serve(&["--database-url", "postgres://chancery@127.0.0.1:1/none"]).failed_about("PostgreSQL");
    serve(&["--data-dir", "/proc/nonexistent"]).failed_about("/proc/nonexistent");
    fs::write(
        directory.path().join("chancery.db"),
        "this is no database, whatever its name says".repeat(100),
    )
    .unwrap();
    for leftover in ["chancery.db-wal", "chancery.db-shm"] {
        let _ = fs::remove_file(directory.path().join(leftover));
    }
    serve(&[]).failed_about("chancery.db");
    let (directory, cli) = installation();
    fs::write(directory.path().join("root.secret"), "short").unwrap();
    cli.run(&["serve", "--listen", "127.0.0.1:0"]).failed_about("root");
}

#[test]
fn another_root_secret_is_noticed() {
    let (directory, cli) = installation();
    fs::remove_file(directory.path().join("root.secret")).unwrap();
    cli.run(&["serve", "--listen", "127.0.0.1:0"]).failed_about("root");
}
