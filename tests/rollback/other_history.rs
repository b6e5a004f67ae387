//! Is another history noticed, also where it is as long as the one that was seen? (F8, F21)

use std::fs;
use std::time::{Duration, Instant};

use super::{Installation, application, note_of, tokens};
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, Request};

async fn readiness(app: &App) -> (u16, String) {
    let answer = Request::new(&app.client, "GET", format!("{}/readyz", app.base)).send().await;
    (answer.status, answer.body)
}

/// A node that goes on while its database becomes another one: also once that has grown further than what the
/// node knows (invariant 13). A standby that was promoted without the last commits looks the same.
#[tokio::test(flavor = "multi_thread")]
async fn f8_f21_a_running_node_does_not_follow_another_history() {
    let one = Installation::on_postgres();
    let process = one.start().await;
    let (ada, app) = application(&process, &one).await;
    let token = tokens(&ada, &app).await;
    process.terminate().await;
    let backup = one.back_up();
    let process = one.start().await;
    tokens(&ada, &app).await;
    assert!(app.sees_active(&token.access).await);
    process.signal("STOP");
    one.restore(&backup);

    // Elsewhere it goes on from the backup, past where the first node was.
    let home = Directory::new();
    fs::copy(one.home.path().join("root.secret"), home.path().join("root.secret")).unwrap();
    let cli = Cli::at(home.path(), Some(one.database.as_ref().unwrap().url()));
    let node = Process::start_with(&cli, &home, free_port(), &["--issuer", &app.base]).await;
    let there = App { base: node.base.clone(), ..app.clone() };
    there.revoke(&token.refresh).send().await.is(200);
    let ada = node.browser();
    ada.login("ada").await;
    for _ in 0..5 {
        tokens(&ada, &there).await;
    }
    process.signal("CONT");
    let begun = Instant::now();
    while !readiness(&app).await.1.contains("another history") {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", readiness(&app).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // For good, and whatever it is asked.
    for _ in 0..20 {
        let (_, why) = readiness(&app).await;
        assert!(why.contains("another history"), "{why}");
        let answer = app.introspect(&token.access).send().await;
        assert!(answer.status == 503 || answer.json()["active"] == false, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.terminate().await;
    process.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_another_history_of_the_same_length_is_refused() {
    let installation = Installation::embedded();
    let backup = installation.back_up();
    let grow = |name: &str| {
        let outcome = installation.run(&[
            "createapplication",
            "public",
            "authorization-code",
            "--name",
            name,
            "--redirect-uris",
            "https://app.example/cb",
        ]);
        outcome.succeeded();
    };
    grow("Reports");
    installation.start().await.terminate().await;
    installation.restore(&backup);
    let aside = Directory::new();
    let checkpoint = note_of(&installation.home);
    fs::rename(&checkpoint, aside.path().join("checkpoint.json")).unwrap();
    for name in ["One", "Two", "Three", "Four"] {
        grow(name);
    }
    // What was noted meanwhile is of the other history.
    fs::rename(aside.path().join("checkpoint.json"), &checkpoint).unwrap();
    installation.refuses().await.failed_about("another history");

    // A note that somebody wrote is no note.
    let forged = fs::read_to_string(&checkpoint).unwrap().replacen("\"position\":", "\"position\":1", 1);
    fs::write(&checkpoint, forged).unwrap();
    installation.refuses().await.failed_about("was not written by this installation");
    installation.run(&["acceptrollback"]).succeeded();
    installation.start().await.terminate().await;
}
