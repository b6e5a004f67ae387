//! How long does the program take until it is ready, from an empty directory and on a long history?

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const TIMES: usize = 9;
/// Any will do for a log that names none.
const ROOT_SECRET: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

/// Milliseconds, of several starts.
pub struct Starts {
    pub median: u128,
    pub slowest: u128,
    pub times: usize,
}

/// In a new directory each time, on the embedded database.
pub fn from_nothing() -> Starts {
    let home = |number| std::env::temp_dir().join(format!("chancery-start-{}-{number}", std::process::id()));
    let starts = measure(|number, command| {
        command.arg("--data-dir").arg(home(number));
    });
    for number in 0..TIMES {
        std::fs::remove_dir_all(home(number)).unwrap();
    }
    starts
}

/// On the history of this directory or of this PostgreSQL, each time after a kill -9.
pub fn on_history(directory: &Path, url: Option<&str>) -> Starts {
    measure(|_, command| {
        command.arg("--data-dir").arg(directory).env("CHANCERY_ROOT_SECRET", ROOT_SECRET);
        if let Some(url) = url {
            command.env("DATABASE_URL", url);
        }
    })
}

fn measure(prepare: impl Fn(usize, &mut Command)) -> Starts {
    let mut starts: Vec<u128> = (0..TIMES)
        .map(|number| {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
            command.args(["--listen", &address]);
            prepare(number, &mut command);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let started = Instant::now();
            let mut server = command.spawn().unwrap();
            while !answers(&address) {
                assert!(server.try_wait().unwrap().is_none(), "it ended");
                std::hint::spin_loop();
            }
            let millis = started.elapsed().as_millis();
            server.kill().unwrap();
            server.wait().unwrap();
            millis
        })
        .collect();
    starts.sort_unstable();
    Starts { median: starts[TIMES / 2], slowest: starts[TIMES - 1], times: TIMES }
}

/// Whether somebody says there that it is ready.
fn answers(address: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut line = [0; 12];
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut line).is_ok()
        && line == *b"HTTP/1.1 200"
}
