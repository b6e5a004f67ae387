//! F11, F12: the disk is full, of the database or of its write-ahead log. Writes are refused, reads go on,
//! and with room again everything goes on by itself.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, give_to_postgres};
use super::crash::{is_ready, machine};
use super::front::{issue, says, until_served};
use super::grants::Person;
use super::ledger::Ledger;
use super::machine::SmallDisk;
use super::oracle::judge;
use super::postgres::{REFUSED, refused_for};
use super::report::record;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process};

const LOAD: Duration = Duration::from_millis(1_500);
/// For longer than between two signs of life.
const FULL: Duration = Duration::from_secs(8);

/// Under load the disk runs full and stays so for a while; meanwhile writes are 503 and reads are answered.
async fn runs_full(what: &str, disk: &SmallDisk, cli: &Cli, logs: &Directory) {
    let port = free_port();
    let app = machine(cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(cli, logs, port, &[]).await;
    let known = app.client_credentials().send().await.is(200).text("access_token");
    let ledger = Arc::new(Ledger::with(Person::new(cli, &app.base).await));
    let load = ledger.load(&app, 8);
    tokio::time::sleep(LOAD).await;
    disk.fill();
    let (begun, mut refused) = (Instant::now(), 0);
    while begun.elapsed() < FULL {
        refused += usize::from(issue(&app).await == Some(503));
        assert_eq!(says(&app, &known).await, Some(true), "reads go on");
        assert!(is_ready(&app).await, "whoever can be answered is sent here");
    }
    assert!(refused > 10, "{refused} refused");
    disk.make_room();
    let again = until_served(&app).await;
    load.stop().await;
    let [totals] = judge("F11", cli, &app, [&*ledger]).await;
    let again = again.as_millis();
    record(
        "F11",
        &format!(
            "{what} full for {} s: {totals}, nothing lost; served again {again} ms after there was room",
            FULL.as_secs()
        ),
    );
    assert!(again <= 1_000, "{again} ms");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_a_full_disk_refuses_writes_and_loses_nothing_on_sqlite() {
    let (disk, logs) = (SmallDisk::of(48), Directory::new());
    // What is searched afterwards is below one directory, and only the database is on the disk.
    symlink(disk.directory().path(), logs.path().join("disk")).unwrap();
    let cli = Cli::in_home(logs.path()).variable("CHANCERY_DATA_DIR", disk.directory().text());
    runs_full("SQLite: the disk", &disk, &cli, &logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_a_full_disk_refuses_writes_and_loses_nothing_on_postgresql() {
    let (disk, logs) = (SmallDisk::of(64), Directory::new());
    let cluster = Cluster::start().await;
    give_to_postgres(disk.directory().text());
    let mut connection = cluster.connect().await;
    let sql = format!("CREATE TABLESPACE small LOCATION '{}'", disk.directory().text());
    sqlx::query(&sql).execute(&mut connection).await.unwrap();
    drop(connection);
    cluster.create_database("small", "small");
    let url = cluster.url_of("small");
    let cli = Cli::at(logs.path(), Some(url));
    runs_full("PostgreSQL: the tablespace", &disk, &cli, &logs).await;
    cluster.kill();
}

/// PostgreSQL ends itself when it cannot write its log; what it acknowledged is there when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_full_disk_of_the_write_ahead_log_loses_nothing_acknowledged() {
    // Room for a replay afterwards.
    let (disk, logs) = (SmallDisk::of(160), Directory::new());
    give_to_postgres(disk.directory().text());
    let wal = format!("{}/wal", disk.directory().text());
    // A new file for each 16 MB: none that is there already is taken again.
    let options = "-c max_wal_size=32MB -c min_wal_size=32MB -c wal_recycle=off";
    let cluster = Cluster::start_with("127.0.0.1", Some(&wal), options).await;
    let cli = Cli::at(logs.path(), Some(cluster.url()));
    let port = free_port();
    let app = machine(&cli, &format!("http://127.0.0.1:{port}"));
    let server = Process::start_with(&cli, &logs, port, &[]).await;
    let ledger = Arc::new(Ledger::with(Person::new(&cli, &app.base).await));
    let load = ledger.load(&app, 8);
    tokio::time::sleep(LOAD).await;
    disk.fill();
    let begun = Instant::now();
    while issue(&app).await == Some(200) {
        assert!(begun.elapsed() < Duration::from_mins(2), "the log is not full");
    }
    let refused = refused_for(&app, FULL).await.as_millis();
    disk.make_room();
    // As an operator does who has made room.
    cluster.kill();
    cluster.up().await;
    let again = until_served(&app).await.as_millis();
    load.stop().await;
    let [totals] = judge("F12", &cli, &app, [&*ledger]).await;
    record(
        "F12",
        &format!(
            "the disk of the write-ahead log full for {} s: {totals}, nothing lost; refused in {refused} ms at most; served \
             again {again} ms after PostgreSQL was back",
            FULL.as_secs()
        ),
    );
    assert!(refused <= REFUSED, "{refused} ms");
    assert!(again <= 1_000, "{again} ms");
    drop(server);
}
