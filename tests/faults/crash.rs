//! F1: kill -9 of the server at random moments, on the embedded database.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
use super::report::{record, scale};
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process};

const KILLS: u64 = 20;

/// Registers a machine application on the command line.
pub fn machine(cli: &Cli, base: &str) -> App {
    let arguments =
        ["createapplication", "confidential", "client-credentials", "--name", "Nightly", "--json"];
    let answer = cli.run(&arguments).succeeded().json();
    App {
        client: reqwest::Client::new(),
        base: base.to_owned(),
        client_id: answer["client_id"].as_str().unwrap().to_owned(),
        secret: answer["client_secret"].as_str().unwrap().to_owned(),
        redirect_uri: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_invariant_01_twenty_kills_of_the_server_lose_nothing_acknowledged() {
    let home = Directory::new();
    let (cli, port) = (Cli::in_home(home.path()), free_port());
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let mut server = Process::start_with(&cli, &home, port, &[]).await;
    let ledger = Arc::new(Ledger::default());
    let load = ledger.load(&app, 8);
    let kills = KILLS * scale() as u64;
    for kill in 0..kills {
        // Moments that do not repeat: 150 to 620 ms.
        tokio::time::sleep(Duration::from_millis(150 + kill * 263 % 470)).await;
        drop(server); // kill -9, then waits for the process to be gone
        server = Process::start_with(&cli, &home, port, &[]).await;
    }
    load.stop().await;
    let totals = ledger.judge(&app).await;
    record("F1", &format!("{kills} kills -9 of the server: {totals}, nothing lost"));
    assert!(totals.issued > 100, "there was a load: {totals}");
    cli.run(&["verify"]).succeeded();
    drop(server);
}
