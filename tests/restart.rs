//! Does a server that stops and starts again know all it decided before?

use std::time::{Duration, Instant};

use chancery::templates::paths;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::harness::process::free_port;
use crate::harness::{
    Cli, Directory, Process, Tokens, expect_dead, expect_token_error, on_both_engines, prepared,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_a_restart_holds_after_it() {
    on_both_engines(async |mut server| {
        let (ada, app) = server.ada_and_app().await;
        let Tokens { access, refresh } = ada.tokens(&app).await;
        let revoked = ada.tokens(&app).await;
        app.revoke(&revoked.refresh).send().await.is(200);
        let outstanding = ada.code(&app).await;
        let used = ada.code(&app).await;
        app.redeem(&used).send().await.is(200);

        server.restart().await;

        assert!(ada.is_logged_in().await, "a login outlives the process it was made in");
        assert!(app.sees_active(&access).await);
        expect_dead(&app.introspect(&revoked.access).send().await);
        expect_token_error(&app.redeem(&used).send().await, "invalid_grant");
        app.redeem(&outstanding).send().await.is(200);
        app.refresh(&refresh).send().await.is(200);
        expect_token_error(&app.refresh(&revoked.refresh).send().await, "invalid_grant");
    })
    .await;
}

/// Asks a lot and takes no answer.
async fn who_takes_no_answer(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // What fits in here is taken from the server at once.
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    let asked = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", paths::STYLE).repeat(1_000);
    stream.write_all(asked.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stream
}

/// Whoever asks and does not take the answer would keep a server from its end for more than a minute.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_answer_is_cut_off_ten_seconds_after_the_server_was_told_to_stop() {
    let (home, port) = (Directory::copy_of(prepared::sqlite()), free_port());
    let mut server = Process::start_with(&Cli::at(home.path(), None), &home, port, &[]).await;
    let _stream = who_takes_no_answer(port).await;
    let begun = Instant::now();
    assert_eq!(server.terminate_within(Duration::from_secs(15)).await, 0);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(9), "{took:?}: who is slow is waited for");
    assert!(took <= Duration::from_secs(12), "{took:?}");
    said_that_some_were_cut_off(&server);
}

fn said_that_some_were_cut_off(server: &Process) {
    let log = server.log();
    assert!(log.contains("some requests did not finish in time and were cut off"), "{log}");
}

/// The first signal asks for patience, the second has none: neither with a balancer nor with a slow client.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_wait_of_a_server_that_stops() {
    let (home, port) = (Directory::copy_of(prepared::sqlite()), free_port());
    let cli = Cli::at(home.path(), None);
    let mut server = Process::start_with(&cli, &home, port, &["--drain-delay", "5m"]).await;
    let _stream = who_takes_no_answer(port).await;
    server.signal("INT");
    while !server.log().contains("Stopping") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It still waits for the balancer.
    TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(server.terminate_within(Duration::from_secs(5)).await, 0);
    said_that_some_were_cut_off(&server);
}

/// A database that says nothing is waited for for ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_while_it_starts_does_not_start() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let database = format!("postgres://chancery@{}/chancery", silent.local_addr().unwrap());
    let (home, port) = (Directory::new(), free_port());
    let mut server = Process::start_with(&Cli::at(home.path(), Some(database)), &home, port, &[]).await;
    let _asked = silent.accept().await.unwrap();
    assert_eq!(server.terminate_within(Duration::from_secs(5)).await, 0);
    assert!(server.log().contains("Stopped before it had started."), "{}", server.log());
}
