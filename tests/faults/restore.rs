//! F21: PostgreSQL is brought back to a moment before a revocation, with a base backup and the archive of its
//! write-ahead log. Nothing is revived.

use std::time::Duration;

use super::cluster::{Cluster, give_to_postgres};
use super::crash::machine;
use super::front::until_served;
use super::oracle::each_is;
use super::report::record;
use crate::harness::process::free_port;
use crate::harness::{App, Cli, Directory, Process};

const TOKENS: usize = 20;

async fn tokens(app: &App) -> Vec<String> {
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        tokens.push(app.client_credentials().send().await.is(200).text("access_token"));
    }
    tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_a_moment_of_postgresql_before_a_revocation_revives_nothing() {
    let (archive, backups, home) = (Directory::new(), Directory::new(), Directory::new());
    let (cluster, port) = (Cluster::start_archiving(&archive).await, free_port());
    let cli = Cli::at(home.path(), Some(cluster.url()));
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &home, port, &[]).await;
    let mut before = tokens(&app).await;
    give_to_postgres(backups.text());
    let backup = format!("{}/base", backups.text());
    cluster.base_backup(&backup, &[]);
    before.extend(tokens(&app).await);
    let mut connection = cluster.connect().await;
    let moment: String = sqlx::query_scalar("SELECT now()::text").fetch_one(&mut connection).await.unwrap();
    drop(connection);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let revoked = &before[TOKENS - 1..=TOKENS];
    for token in revoked {
        app.revoke(token).send().await.is(200);
    }
    each_is(&app, revoked.to_vec(), Some(false)).await;
    server.terminate().await;

    cluster.bring_back(&backup, &archive, &moment).await;
    let refused = ["--listen", &format!("127.0.0.1:{port}")];
    cli.run(&refused).failed_about("older than what this node has seen");
    cli.run(&["verify"]).failed_about("older than what this node has seen");
    let accepted = cli.run(&["acceptrollback"]).succeeded().stdout;
    let gone = format!("{} events are gone", revoked.len());
    assert!(accepted.contains(&gone), "{accepted}");

    let _server = Process::start_with(&cli, &home, port, &[]).await;
    until_served(&app).await;
    each_is(&app, before.clone(), Some(false)).await;
    each_is(&app, tokens(&app).await, Some(true)).await;
    cli.run(&["verify"]).succeeded();
    record(
        "F21",
        &format!(
            "PostgreSQL brought back to a moment before {} revocations: a start is refused until an operator accepts \
             it, and then none of {} tokens of before lives",
            revoked.len(),
            before.len()
        ),
    );
}
