//! F13: nobody reads the log any more, and the server goes on.

use std::process::Stdio;
use std::time::Duration;

use super::report::record;
use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Request, prepared};

const REQUESTS: usize = 6_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_log_that_nobody_reads_stops_nothing() {
    let home = Directory::copy_of(prepared::sqlite());
    let cli = Cli::at(home.path(), None);
    let (port, operators) = (free_port(), free_port());
    let listen = [format!("127.0.0.1:{port}"), format!("127.0.0.1:{operators}")];
    let arguments = ["--listen", &listen[0], "--metrics-listen", &listen[1], "--log", "trace"];
    let mut command = cli.command(&arguments);
    // A pipe holds 64 KiB; what is in it is never taken out.
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let client = crate::harness::browser::plain_client();
    let ask = |path: &str| Request::new(&client, "GET", format!("http://{}{path}", listen[0]));
    for _ in 0..500 {
        if ask("/healthz").try_send().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for number in 0..REQUESTS {
        let answer = tokio::time::timeout(Duration::from_secs(5), ask("/admin/login/").send()).await;
        assert_eq!(answer.unwrap_or_else(|_| panic!("request {number} hangs")).status, 200);
    }
    let metrics = Request::new(&client, "GET", format!("http://{}/metrics", listen[1])).send().await.body;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("chancery_log_lines_dropped "));
    let dropped: usize = dropped.unwrap().parse().unwrap();
    record(
        "F13",
        &format!("{REQUESTS} requests with a log that nobody reads: none failed, {dropped} lines dropped"),
    );
    assert!(dropped > 0, "the pipe was full");
    child.kill().unwrap();
    child.wait().unwrap();
}
