//! Does what was ended stay ended, on every node and on every page? (OWASP ASVS 7.4, 7.6, 10.6.2;
//! R1 as far as one step of it exists: another process knows within 250 ms.)

use std::collections::HashSet;
use std::time::Duration;

use chancery::secret::random_alphanumeric;

use crate::harness::{
    PASSWORD, Registration, Server, expect_basic_401, expect_bearer_401, expect_dead, expect_token_error,
    expect_too_large, on_both_engines,
};

/// Another process sees what happened within 250 ms.
const SEEN: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn adv_41_not_before_levels() {
    // Application and user each have an instant before which everything is dead; the later one counts.
    for (application, user) in [(false, false), (true, false), (false, true), (true, true)] {
        let server = Server::sqlite().await;
        let (ada, app) = server.ada_and_app().await;
        let asker = server.user("admin").await;
        let asker = asker.register(&Registration::machine().tick("introspect_everything")).await;
        let tokens = ada.tokens(&app).await;
        if user {
            server.run(&["lockuser", "ada"]).await.succeeded();
            server.run(&["unlockuser", "ada"]).await.succeeded();
        }
        if application {
            for command in ["disableapplication", "enableapplication"] {
                server.run(&[command, &app.client_id]).await.succeeded();
            }
        }
        if application || user {
            expect_dead(&asker.introspect(&tokens.access).send().await);
            expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        } else {
            assert!(asker.sees_active(&tokens.access).await);
            app.refresh(&tokens.refresh).send().await.is(200);
        }
        // The command line has the system's clock, which the test's stands behind.
        server.advance(60);
        let since = server.user("ada").await.tokens(&app).await;
        assert!(asker.sees_active(&since.access).await, "what came since is alive");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_44_change_seen_on_other_node() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        tokio::time::sleep(SEEN).await;
        let there = crate::harness::App { base: two.base.clone(), ..app.clone() };
        let revoked = ada.tokens(&app).await;
        assert!(there.sees_active(&revoked.access).await, "warm on the other node");
        app.revoke(&revoked.refresh).send().await.is(200);
        tokio::time::sleep(SEEN).await;
        expect_dead(&there.introspect(&revoked.access).send().await);
        expect_bearer_401(&two.resource(&revoked.access).await);
        expect_token_error(&there.refresh(&revoked.refresh).send().await, "invalid_grant");

        let tokens = ada.tokens(&app).await;
        assert!(there.sees_active(&tokens.access).await);
        ada.confirm(&app, "disable").await.is(303);
        tokio::time::sleep(SEEN).await;
        expect_basic_401(&there.introspect(&tokens.access).send().await);
        expect_bearer_401(&two.resource(&tokens.access).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_69_json_bombs() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let deep = "[".repeat(50_000);
    let number = format!("{{\"grant_type\":1{}}}", "0".repeat(50_000));
    let doubled = r#"{"grant_type":"client_credentials","grant_type":"x","\ud800":1}"#;
    for path in ["/o/token/", "/o/introspect/", "/o/revoke_token/"] {
        for body in [deep.as_str(), number.as_str(), doubled] {
            let answer = app.post(path).body("application/json", body).send().await;
            expect_token_error(&answer, "invalid_request");
        }
        expect_too_large(app.post(path).body("application/json", "[".repeat(1_000_000))).await;
    }
    app.client_credentials().send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_70_page_tokens() {
    let server = Server::sqlite().await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    for number in 0..51 {
        ada.register(&Registration::machine().set("name", &format!("Job {number}"))).await;
    }
    let list = ada.get("/o/applications/").await.is(200);
    let links = crate::harness::form::links(&list.body);
    let next = links.iter().find(|link| link.contains("?after=")).expect("a second page").clone();
    ada.get(&next).await.is(200).shows("Job ");
    let (path, cursor) = next.split_once("?after=").unwrap();
    for place in (0..cursor.len()).step_by(7) {
        let mut bytes = cursor.as_bytes().to_vec();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(bytes).unwrap();
        assert_eq!(ada.get(&format!("{path}?after={flipped}")).await.status, 400, "byte {place}");
    }
    for wrong in ["x", &cursor[1..], &cursor[..cursor.len() - 4], "' OR 1=1 --"] {
        let answer = ada.request("GET", path).set("after", wrong).send().await;
        assert_eq!(answer.status, 400, "{wrong}: {answer:#?}");
    }
    bob.get(&next).await.is(400);
    ada.get(&format!("/o/authorized_tokens/?after={cursor}")).await.is(400);
    for wrong in ["-1", "0", "x", "9223372036854775808", "1 OR 1=1"] {
        let answer = ada.request("GET", "/").set("before", wrong).send().await;
        assert_eq!(answer.status, 400, "{wrong}: {answer:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_71_h2_floods() {
    // Without TLS it is not spoken: its preface ends the connection. With it: `faults::floods`.
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::sqlite().await;
    let address = server.base.trim_start_matches("http://").to_owned();
    for _ in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(!answer.starts_with(b"\0\0"), "a SETTINGS frame");
    }
    server.get("/").await.is(200);
}

#[test]
fn adv_90_randomness_and_comparison() {
    let mut seen = HashSet::new();
    let mut counts = [0_u32; 128];
    for _ in 0..1_000_000 {
        let value = random_alphanumeric(22);
        for byte in value.bytes() {
            counts[usize::from(byte)] += 1;
        }
        assert!(seen.insert(value), "a value came twice");
    }
    let used: Vec<u32> = counts.into_iter().filter(|count| *count > 0).collect();
    assert_eq!(used.len(), 62, "letters and digits");
    // 22 million characters: each of 62 is expected 354,839 times, with a deviation of about 590.
    for count in used {
        assert!(count.abs_diff(354_839) < 6 * 590, "a character came {count} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_consent() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let page = ada.authorize(&app.query().set("scope", "read")).await.is(200);
    let text = page.clone().shows("Reports").page_text();
    for fact in ["ada", "Reading scope", "app.example"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
    assert!(!text.contains("Writing scope"), "only what was asked for");
    // Reading the page is no act: nothing was granted.
    assert!(!ada.get("/o/authorized_tokens/").await.is(200).page_text().contains("Reports"));
    let code = ada.submit(&page.form("/o/authorize/").press("Authorize")).await.code();
    app.redeem(&code).send().await.is(200);
    ada.get("/o/authorized_tokens/").await.is(200).shows("Reports").shows("Revoke");
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_logout() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    ada.get("/admin/logout/").await.is(200);
    assert!(ada.is_logged_in().await, "asking is not ending");
    let form = ada.get("/admin/logout/").await.form("/admin/logout/");
    let elsewhere = form.clone().set("post_logout_redirect_uri", "https://evil.example/");
    let answer = ada.submit(&elsewhere).await.is(303);
    assert!(answer.location().starts_with('/'), "{}", answer.location());
    assert!(!ada.is_logged_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_session_control() {
    let server = Server::sqlite().await;
    let (here, there) = (server.user("ada").await, server.user("ada").await);
    // Every page of a person offers the way out.
    for path in ["/", "/o/applications/", "/o/authorized_tokens/", "/admin/password_change/"] {
        assert!(here.get(path).await.is(200).body.contains("/admin/logout/"), "{path}");
    }
    // A secret is changed only by who knows it, and ends every other session.
    server.advance(1);
    let path = "/admin/password_change/";
    let form = here.get(path).await.form(path);
    let change =
        form.set("new_password1", "quite another phrase").set("new_password2", "quite another phrase");
    assert_ne!(here.submit(&change.clone().set("old_password", "a wrong one")).await.status, 303);
    assert!(there.is_logged_in().await);
    here.submit(&change.set("old_password", PASSWORD)).await.is(303);
    assert!(here.is_logged_in().await && !there.is_logged_in().await);
}
