//! Does any input cost more than it should? Sizes, numbers, empty and endless values.

use std::fmt::Write;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{
    App, Engine, Registration, Server, Setup, expect_error_page, expect_redirect, expect_token_error,
    expect_too_large, on_both_engines,
};

/// Sends bytes and reads until the server closes or falls silent.
async fn speak(base: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    // The server may close before it has read all of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_67_scope_blowup() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let distinct: Vec<_> = (0..10_000).map(|number| format!("s{number}")).collect();
    for scope in [distinct.join(" "), "read ".repeat(10_000)] {
        let started = Instant::now();
        let answer = app.client_credentials().set("scope", scope.trim()).send().await;
        if answer.status == 200 {
            assert_eq!(answer.text("scope"), "read", "a scope repeated is one scope");
        } else {
            expect_token_error(&answer, "invalid_scope");
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    let huge = app.client_credentials().set("scope", &"x".repeat(1_000_000));
    expect_too_large(huge).await;
    app.client_credentials().send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_68_header_bombs() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let long = "a".repeat(65_536);
    for name in ["Cookie", "Authorization", "Forwarded", "Accept-Language"] {
        let request =
            format!("GET /resource HTTP/1.1\r\nHost: x\r\n{name}: {long}\r\nConnection: close\r\n\r\n");
        let answer = speak(&server.base, request.as_bytes()).await;
        assert!(matches!(status(&answer), 431 | 0), "{name}: {}", &answer[..answer.len().min(200)]);
    }
    let mut request = "GET /resource HTTP/1.1\r\nHost: x\r\n".to_owned();
    for number in 0..1000 {
        write!(request, "X-{number}: a\r\n").unwrap();
    }
    let answer = speak(&server.base, format!("{request}\r\n").as_bytes()).await;
    assert!(matches!(status(&answer), 431 | 0), "{answer}");
    app.client_credentials().send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_72_empty_values() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    let mut query = app.query();
    for name in [
        "scope",
        "state",
        "resource",
        "prompt",
        "max_age",
        "login_hint",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "response_mode",
    ] {
        query = query.set(name, "");
    }
    let landing = ada.allow(&query).await;
    assert_eq!(landing.sent("state"), None, "an empty state is none");
    let mut request = app.redeem(&landing.code());
    for name in ["code_verifier", "scope", "resource", "refresh_token", "client_assertion", "audience"] {
        request = request.set(name, "");
    }
    request.send().await.is(200);
    for header in ["accept", "origin", "cookie", "accept-language", "x-request-id", "forwarded", "user-agent"]
    {
        let answer = app.refresh("cheese").header(header, "").send().await;
        expect_token_error(&answer, "invalid_grant");
    }
    let answer = server.request("GET", "/resource").header("authorization", "").send().await;
    assert!(matches!(answer.status, 400 | 401), "{answer:#?}");
    server.resource(&tokens.access).await.is(200);
}

/// PostgreSQL has no text with a NUL in it: who asks for one is nobody, and is told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_a_nul_is_nobodys() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let query = app.query().set("client_id", "\0");
        expect_error_page(&ada.authorize(&query).await, "invalid_request");
        for client_id in ["\0", "a\0b"] {
            let nobody = App { client_id: client_id.to_owned(), ..app.clone() };
            for request in [nobody.refresh("cheese"), nobody.introspect("cheese"), nobody.revoke("cheese")] {
                let answer = request.send().await;
                assert!(answer.error() == "invalid_client" && answer.status != 503, "{answer:#?}");
            }
        }
        for path in ["/o/applications/%00/", "/o/authorized_tokens/%00/", "/o/applications/?after=%00"] {
            let answer = ada.get(path).await;
            assert!(matches!(answer.status, 200 | 400 | 404), "{path}: {answer:#?}");
        }
        assert_ne!(server.browser().try_login("\0", "\0").await.status, 503);
    })
    .await;
}

const NUMBERS: [&str; 12] = [
    "-1",
    "2147483648",
    "9223372036854775808",
    "1e309",
    "NaN",
    "\u{661}\u{662}",
    "0x10",
    "1.5",
    " 1",
    "+1",
    "--1",
    "99999999999999999999999999",
];

#[tokio::test(flavor = "multi_thread")]
async fn adv_73_boundary_numbers() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    for number in NUMBERS {
        let query = app.query().set("max_age", number);
        let answer = ada.authorize(&query).await;
        // Within what a number can be: taken as it is, or clamped.
        if answer.status == 302 {
            expect_redirect(&answer, &query, "invalid_request");
        } else {
            assert!(
                matches!(number, "2147483648" | "9223372036854775808" | "99999999999999999999999999"),
                "{number}"
            );
            answer.is(200);
        }
        for field in ["retry_window_seconds", "access_token_lifetime_seconds"] {
            let (answer, _) = ada.try_register(&Registration::confidential().set(field, number)).await;
            assert!(matches!(answer.status, 200 | 303), "{field}={number:?}: {answer:#?}");
            assert!(
                answer.status == 200 || matches!(number, " 1" | "+1" | "2147483648"),
                "{field}={number:?} was saved"
            );
        }
        for path in
            ["/o/applications/", "/o/authorized_tokens/", &format!("/o/applications/{}/", app.client_id), "/"]
        {
            for name in ["before", "after", "page", "page_size", "at", "older", "newer"] {
                let answer = ada.request("GET", path).set(name, number).send().await;
                assert!(matches!(answer.status, 200 | 400), "{path}?{name}={number:?}: {answer:#?}");
            }
        }
    }
    for window in ["0", "60"] {
        ada.register(&Registration::confidential().set("retry_window_seconds", window)).await;
    }
    let (answer, _) = ada.try_register(&Registration::confidential().set("retry_window_seconds", "61")).await;
    answer.is(200).shows("60 seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_74_size_truncation() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    // Before authentication: the credentials are wrong, and that is not what is said.
    let big = app.with_secret("wrong").client_credentials().set("padding", &"x".repeat(65_536));
    expect_too_large(big).await;
    let mut endless =
        "POST /o/token/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Transfer-Encoding: chunked\r\n\r\n"
            .to_owned();
    for _ in 0..40 {
        write!(endless, "1000\r\n{}\r\n", "a".repeat(4096)).unwrap();
    }
    let answer = speak(&server.base, endless.as_bytes()).await;
    assert!(matches!(status(&answer), 413 | 0), "{answer}");
    let padded = app.client_credentials().set("padding", &"x".repeat(60_000));
    padded.send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_is_given_up() {
    let server = Server::sqlite().await;
    let started = Instant::now();
    let answer = speak(&server.base, b"GET / HTTP/1.1\r\nHost:").await;
    assert!(started.elapsed() < Duration::from_secs(12), "closed after {:?}: {answer}", started.elapsed());
    server.get("/").await.is(200);
}

/// Two requests in one breath, of which the first has a body that nobody reads: what follows it is never
/// taken for a request, whoever refused the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_not_read_is_the_end_of_its_connection() {
    let setup = Setup::new(Engine::Sqlite).set("metrics-listen", "127.0.0.1:0");
    let setup = setup.set("trusted-proxies", "127.0.0.1").set("requests-per-address", "1");
    let server = setup.start().await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n";
    let of_length = "Content-Length: 3\r\n\r\na=b";
    let (login, token, form) =
        ("/admin/login/", "/o/token/", "Content-Type: application/x-www-form-urlencoded\r\n");
    let metrics = server.metrics();
    let mut network = 0;
    for (base, method, path, expected, times) in [
        (&server.base, "GET", login, 200, 1),
        (&server.base, "POST", "/noexist/", 404, 1),
        (&server.base, "PUT", token, 405, 1),
        // Three of one address are more than it may send.
        (&server.base, "POST", token, 429, 3),
        (&server.base, "POST", login, 429, 3),
        (&metrics, "POST", "/metrics", 405, 1),
        (&metrics, "GET", "/healthz", 200, 1),
    ] {
        for body in [chunked, of_length] {
            network += 1;
            let from = format!("Host: x\r\nX-Forwarded-For: 192.0.2.{network}\r\n");
            let second = format!("GET /healthz HTTP/1.1\r\n{from}Connection: close\r\n\r\n");
            for _ in 1..times {
                speak(base, second.as_bytes()).await;
            }
            let answer =
                speak(base, format!("{method} {path} HTTP/1.1\r\n{from}{form}{body}{second}").as_bytes())
                    .await;
            assert_eq!(status(&answer), expected, "{method} {path}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{method} {path}: {answer}");
            assert!(answer.to_lowercase().contains("connection: close"), "{method} {path}: {answer}");
        }
    }
    // One that was read, whose end is known, is followed by the next.
    let from = "Host: x\r\nX-Forwarded-For: 192.0.2.200\r\n";
    let second = format!("GET /healthz HTTP/1.1\r\n{from}Connection: close\r\n\r\n");
    let both = format!("POST {token} HTTP/1.1\r\n{from}{form}{of_length}{second}");
    let answer = speak(&server.base, both.as_bytes()).await;
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (401, 2), "{answer}");
}

/// Forms of which all but the last byte is sent, by one network, until it is told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_bodies_of_one_network_leave_room_for_others() {
    let server = Setup::new(Engine::Sqlite).set("trusted-proxies", "127.0.0.1").start().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let head = "POST /o/token/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 65000\r\n\r\n";
    let unfinished = format!("{head}{}", "a".repeat(64_999));
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
        let _ = stream.write_all(unfinished.as_bytes()).await;
        open.push(stream);
    }
    let refused = tokio::time::timeout(Duration::from_secs(5), async {
        let mut answer = Vec::new();
        let _ = open.last_mut().unwrap().read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    });
    let refused = refused.await.unwrap();
    // Not 503, by which a proxy leaves a node out: one address would take every node from all others.
    assert_eq!(status(&refused), 429, "{refused}");
    assert!(refused.contains("retry-after: 1") && refused.contains("temporarily_unavailable"), "{refused}");
    // All of them are slow by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let in_use = server.state().bodies.in_use();
    assert!((3 << 18..=1 << 20).contains(&in_use), "{in_use} bytes of bodies");
    // Others send theirs, as large as they may be, and pages without any are for everybody.
    let large = app.client_credentials().set("padding", &"x".repeat(60_000));
    large.header("x-forwarded-for", "192.0.2.2").send().await.is(200);
    server.request("GET", "/admin/login/").header("x-forwarded-for", "192.0.2.1").send().await.is(200);
    drop(open);
    for _ in 0..100 {
        if server.state().bodies.in_use() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.client_credentials().header("x-forwarded-for", "192.0.2.1").send().await.is(200);
}

/// The first half of a form, a while later the second: read as one, and no larger than one may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_two_halves_is_one_body() {
    let server = Setup::new(Engine::Sqlite).start().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let form = app.client_credentials().encoded();
    let (first, second) = form.split_at(form.len() / 2);
    let head = "POST /o/token/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let whole = format!("{head}Content-Length: {}\r\n\r\n{first}", form.len());
    let too_much = format!("{head}Transfer-Encoding: chunked\r\n\r\n8000\r\n{}\r\n", "a".repeat(0x8000));
    let more = format!("9000\r\n{}\r\n0\r\n\r\n", "a".repeat(0x9000));
    for (first, second, expected) in [(whole.as_str(), second, 200), (&too_much, &more, 413)] {
        let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(second.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {expected}"));
    }
}
