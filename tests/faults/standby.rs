//! Does the doctor know whether losing the primary loses what was acknowledged? Asked of a primary and a
//! standby, with each setting that decides it.

use std::time::Duration;

use sqlx::Executor;

use super::cluster::Cluster;
use crate::harness::{Cli, Directory};

/// What it found about copies, once the server has taken the settings up.
async fn told(primary: &Cluster, cli: &Cli, settings: &[(&str, &str)], about: &str, severity: &str) {
    let mut connection = primary.connect().await;
    for (name, value) in settings {
        connection.execute(format!("ALTER SYSTEM SET {name} = '{value}'").as_str()).await.unwrap();
    }
    connection.execute("SELECT pg_reload_conf()").await.unwrap();
    let mut said = serde_json::Value::Null;
    for _ in 0..100 {
        let cli = cli.clone();
        said = tokio::task::spawn_blocking(move || cli.run(&["doctor", "--json"]).json()).await.unwrap();
        let found = said["findings"].as_array().unwrap();
        let is_told = |one: &&serde_json::Value| one["what"].as_str().unwrap().contains(about);
        if let Some(one) = found.iter().find(is_told) {
            assert_eq!(one["severity"], severity, "{one}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{about:?} is not told: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_whether_a_standby_is_waited_for() {
    let (primary, home) = (Cluster::start().await, Directory::new());
    let cli = Cli::at(home.path(), Some(primary.url()));
    cli.run(&["migrate"]).succeeded();
    told(&primary, &cli, &[], "is lost with its disk", "note").await;
    let standby = primary.standby().await;
    told(&primary, &cli, &[], "1 standby follows the database, and no commit waits for one", "warning").await;
    let waited_for = [("synchronous_standby_names", "*")];
    told(&primary, &cli, &waited_for, "1 of them synchronous", "note").await;
    // Who may not know sees that there is one, and that is said.
    let mut connection = primary.connect().await;
    connection
        .execute("CREATE ROLE modest LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO modest")
        .await
        .unwrap();
    let modest = Cli::at(home.path(), Some(primary.url().replace("chancery@", "modest@")));
    told(&primary, &modest, &[], "this user may not see", "note").await;
    let memory = [("synchronous_commit", "remote_write")];
    told(&primary, &cli, &memory, "in memory only", "warning").await;
    told(&primary, &cli, &[("synchronous_commit", "local")], "synchronous_commit = local", "warning").await;
    standby.kill();
    told(&primary, &cli, &[("synchronous_commit", "on")], "nothing can be written", "warning").await;
    told(&primary, &cli, &[("fsync", "off")], "fsync = off", "error").await;
}
