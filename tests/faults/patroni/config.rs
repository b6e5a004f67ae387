//! What do etcd, Patroni and haproxy read? The configuration that OPERATING.md shows, with the ports of
//! a test.

use std::fmt::Write;
use std::path::Path;

/// Where one node of the cluster listens.
#[derive(Debug, Clone)]
pub struct Ports {
    pub name: String,
    pub postgres: u16,
    pub rest: u16,
}

/// One node's Patroni. `loop_wait + 2 * retry_timeout <= ttl`: a primary that cannot reach etcd has
/// stepped down before its key runs out. A strict one rather writes nothing than without a standby.
pub fn patroni(home: &Path, etcd: u16, ports: &Ports, programs: &Path, is_strict: bool) -> String {
    let Ports { name, postgres, rest } = ports;
    let (home, programs) = (home.display(), programs.display());
    format!(
        r#"scope: chancery
name: {name}
restapi: {{ listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}" }}
# Only this way leads to etcd: the addresses that etcd itself tells are not used.
etcd3: {{ hosts: "127.0.0.1:{etcd}", use_proxies: true }}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 5
    retry_timeout: 5
    synchronous_mode: true
    synchronous_mode_strict: {is_strict}
    postgresql:
      use_pg_rewind: true
      parameters: {{ client_connection_check_interval: 2s }}
  initdb: [ {{ encoding: UTF8 }}, {{ locale: C.UTF-8 }}, data-checksums ]
  pg_hba: [ "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust" ]
postgresql:
  listen: "127.0.0.1:{postgres}"
  connect_address: "127.0.0.1:{postgres}"
  data_dir: {home}/{name}
  bin_dir: {programs}
  pgpass: {home}/{name}.pgpass
  parameters: {{ unix_socket_directories: {home} }}
  authentication:
    superuser: {{ username: postgres, password: unused }}
    replication: {{ username: replicator, password: unused }}
"#
    )
}

/// The proxy before them: only the primary takes part, and whoever is none any more loses its sessions.
pub fn haproxy(port: u16, nodes: &[Ports]) -> String {
    let mut text = format!(
        "defaults
    mode tcp
    timeout connect 1s
    timeout check 2s
    timeout client 30m
    timeout server 30m

listen primary
    bind 127.0.0.1:{port}
    option httpchk
    http-check send meth GET uri /primary
    http-check expect status 200
    default-server inter 500ms fall 1 rise 1 on-marked-down shutdown-sessions
"
    );
    for Ports { name, postgres, rest } in nodes {
        writeln!(text, "    server {name} 127.0.0.1:{postgres} check port {rest}").unwrap();
    }
    text
}
