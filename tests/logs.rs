//! Can a machine read the log? Every line of `--log-format json` is an object that says when, how bad,
//! where and what, and of a request under which id.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::free_port;
use crate::harness::{Cli, Directory, Request, prepared};

/// Every line, each with what each must have.
fn lines(text: &str) -> Vec<Value> {
    let read = |line: &str| -> Value {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let at = line["timestamp"].as_str().unwrap_or_else(|| panic!("{line}"));
        chrono::DateTime::parse_from_rfc3339(at).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&line["level"].as_str().unwrap()),
            "{line}"
        );
        assert!(line["target"].as_str().is_some_and(|target| !target.is_empty()), "{line}");
        assert!(line["message"].as_str().is_some_and(|message| !message.is_empty()), "{line}");
        line
    };
    text.lines().map(read).collect()
}

/// Serves with a log for machines until the work is done; returns what it wrote to both streams.
async fn served(arguments: &[&str], work: impl AsyncFnOnce(&dyn Fn(&str, &str) -> Request)) -> String {
    let home = Directory::copy_of(prepared::sqlite());
    let listen = format!("127.0.0.1:{}", free_port());
    let path = home.path().join("both-streams");
    let file = File::create(&path).unwrap();
    let arguments = [&["--listen", &listen, "--log-format", "json"], arguments].concat();
    let mut command = Cli::at(home.path(), None).command(&arguments);
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let client = crate::harness::browser::plain_client();
    let ask = |method: &str, path: &str| Request::new(&client, method, format!("http://{listen}{path}"));
    while ask("GET", "/healthz").try_send().await.is_err() {
        assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&path).unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    work(&ask).await;
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    fs::read_to_string(&path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_for_machines_is_an_object_and_a_request_has_its_id() {
    let mut answers = Vec::new();
    let text = served(&["--log", "debug,chancery=trace"], async |ask| {
        for (method, path) in [
            ("GET", "/admin/login/"),
            ("GET", "/nowhere/%22%0A%7B%7D/?code=hunter2"),
            ("GET", "/o/authorize/?client_id=%22%7D%0A"),
            ("POST", "/o/token/"),
            ("GET", "/resource"),
            ("DELETE", "/o/token/"),
        ] {
            let request = ask(method, path).header("user-agent", "a \"quote\" and \\ a { brace");
            let answer = request.send().await;
            answers.push((method, path, answer.status, answer.header("x-request-id").unwrap().to_owned()));
        }
    })
    .await;
    let lines = lines(&text);
    assert!(!text.contains("hunter2"));
    for (method, path, status, id) in answers {
        let found =
            lines.iter().filter(|line| line["correlation.id"] == id.as_str() && line["http.status"].is_u64());
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), 1, "{method} {path} {id}: {text}");
        assert_eq!(
            (found[0]["http.method"].as_str(), found[0]["http.status"].as_u64()),
            (Some(method), Some(u64::from(status)))
        );
        assert_eq!(found[0]["http.path"].as_str(), path.split('?').next());
    }
    for message in ["serving", "Stopping: requests in progress are finished first.", "Stopped."] {
        assert!(lines.iter().any(|line| line["message"] == message), "{message}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_go_on_says_so_in_its_log() {
    let home = Directory::copy_of(prepared::sqlite());
    fs::write(home.path().join("root.secret"), "short").unwrap();
    let cli = Cli::at(home.path(), None);
    let arguments = ["--listen", "127.0.0.1:0", "--log-format", "json"];
    let outcome = cli.run(&arguments);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{outcome:?}");
    let lines = lines(&outcome.stderr);
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR", "{outcome:?}");
    assert!(last["message"].as_str().unwrap().contains("root") && last["what_to_do"].is_string(), "{last}");
    // Where the log is switched off, a person is told.
    let silent = cli.run(&[&arguments[..], &["--log", "off"]].concat());
    assert!(silent.code == 1 && silent.stderr.contains("root"), "{silent:?}");
}
