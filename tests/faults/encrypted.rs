//! Is the line to PostgreSQL as private as `sslmode` says? A server that cannot show who it is gets no command.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sqlx::Executor;

use super::cluster::{Cluster, give_to_postgres};
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Process};

impl Cluster {
    /// Speaks TLS with the certificate in this directory from now on, or no longer.
    async fn encrypts(&self, certificate: Option<&Directory>) {
        if let Some(directory) = certificate {
            for (from, to) in [("cert.pem", "server.crt"), ("key.pem", "server.key")] {
                let to = format!("{}/{to}", self.data());
                fs::copy(directory.path().join(from), &to).unwrap();
                fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
                give_to_postgres(&to);
            }
        }
        let mut connection = self.connect().await;
        let setting = if certificate.is_some() { "on" } else { "off" };
        connection.execute(format!("ALTER SYSTEM SET ssl = {setting}").as_str()).await.unwrap();
        connection.execute("SELECT pg_reload_conf()").await.unwrap();
        // The server takes it up a moment later.
        for _ in 0..500 {
            let shown: String =
                sqlx::query_scalar("SHOW ssl").fetch_one(&mut self.connect().await).await.unwrap();
            if shown == setting {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("it does not take up ssl = {setting}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_show_who_it_is_gets_no_command() {
    let (cluster, home) = (Cluster::start().await, Directory::new());
    let (own, others, elsewhere) = (Directory::new(), Directory::new(), Directory::new());
    own.certify("localhost");
    others.certify("localhost");
    elsewhere.certify("db.example.com");
    cluster.encrypts(Some(&own)).await;
    let at = |mode: &str, trusted: &Directory| {
        let url = cluster.url().replace("127.0.0.1", "localhost");
        let root = trusted.path().join("cert.pem");
        Cli::at(home.path(), Some(format!("{url}?sslmode={mode}&sslrootcert={}", root.display())))
    };
    at("verify-full", &own).run(&["migrate"]).succeeded();
    let server = Process::start_with(&at("verify-full", &own), &home, free_port(), &[]).await;
    server.browser().get("/").await.is(200);
    let sql = "SELECT count(*), count(*) FILTER (WHERE s.ssl) FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) \
               WHERE a.application_name = 'chancery'";
    let all: (i64, i64) = sqlx::query_as(sql).fetch_one(&mut cluster.connect().await).await.unwrap();
    assert!(all.0 > 0 && all.0 == all.1, "{all:?}");
    assert_eq!(server.terminate().await, 0);

    let refused = |cli: Cli| cli.run(&["migrate"]).failed_about("certificate");
    refused(at("verify-full", &others));
    refused(at("verify-ca", &others));
    cluster.encrypts(Some(&elsewhere)).await;
    refused(at("verify-full", &elsewhere));
    // The driver looks at the name here as well.
    refused(at("verify-ca", &elsewhere));
    at("require", &elsewhere).run(&["migrate"]).succeeded();
    // Nor does it go on in clear.
    cluster.encrypts(None).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        at(mode, &elsewhere).run(&["migrate"]).failed_about("TLS");
    }
}
