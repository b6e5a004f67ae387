//! F20: two versions of the program on one database, forward and back. The newer one, built with the feature
//! `next-version`, has another version of one read model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crash::machine;
use super::ledger::{Ledger, post};
use super::report::record;
use crate::harness::postgres::Database;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process, environment};

const LOAD: Duration = Duration::from_secs(1);

async fn issue(app: &App) -> Option<u16> {
    post(app, "/o/token/", &[("grant_type", "client_credentials")]).await.map(|(status, _)| status)
}

/// How long until the server answers a token request so.
async fn until(app: &App, status: u16) -> Duration {
    let begun = Instant::now();
    while issue(app).await != Some(status) {
        assert!(begun.elapsed() < Duration::from_secs(10), "never {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

/// A version's replay, beside whatever serves.
async fn replay(cli: &Cli) {
    let cli = cli.clone();
    tokio::task::spawn_blocking(move || cli.run(&["replay"]).succeeded()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_neither_of_two_versions_writes_into_the_tables_of_the_other() {
    let (home, database) = (Directory::new(), Database::empty());
    let old = Cli::at(home.path(), Some(database.url()));
    let new = old.of_program(&environment::next_version());
    let ports = [free_port(), free_port()];
    let app = machine(&old, &format!("http://127.0.0.1:{}", ports[0]));
    let on_new = App { base: format!("http://127.0.0.1:{}", ports[1]), ..app.clone() };
    let arguments = ["--issuer", &app.base];
    let old_server = Process::start_with(&old, &home, ports[0], &arguments).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 4);
    tokio::time::sleep(LOAD).await;

    // The newer one does not touch the older one's tables, and says what to do.
    let refused = new.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("the read model tokens is of version 1"), "{}", refused.stderr);
    assert!(refused.stderr.contains("replay"), "{}", refused.stderr);
    assert_eq!(issue(&app).await, Some(200), "the older one serves");

    // Forward: the older one notices by itself, answers nothing from memory, and writes nothing more.
    replay(&new).await;
    let noticed = until(&app, 503).await;
    let issued = ledger.issued();
    let new_server = Process::start_with(&new, &home, ports[1], &arguments).await;
    let forward = until(&on_new, 200).await;
    tokio::time::sleep(LOAD).await;
    assert_eq!(ledger.issued(), issued, "the older one wrote into the newer one's tables");
    new.run(&["verify"]).succeeded();

    // And back: the older one goes on without a restart.
    replay(&old).await;
    let back = until(&app, 200).await;
    until(&on_new, 503).await;
    tokio::time::sleep(LOAD).await;
    load.stop().await;
    assert!(ledger.issued() > issued);
    let totals = ledger.judge(&app).await;
    record(
        "F20",
        &format!(
            "another version of the read models there and back under load: {totals}, nothing lost; the older one \
             stopped {} ms after the newer one's replay, the newer one served after {} ms, the older one again {} \
             ms after its own",
            noticed.as_millis(),
            forward.as_millis(),
            back.as_millis()
        ),
    );
    old.run(&["verify"]).succeeded();
    drop((old_server, new_server));
}
