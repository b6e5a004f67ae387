//! What does an application get for itself? (RFC 6749 §4.4)

use crate::harness::{Registration, Server, expect_token_error, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_and_no_refresh_token() {
    on_both_engines(async |server| {
        let app = server.user("ada").await.register(&Registration::machine()).await;
        let answer = app.client_credentials().basic(&app.client_id, &app.secret).send().await.is(200);
        let token = answer.text("access_token");
        let exact =
            format!(r#"{{"access_token": "{token}", "expires_in": 36000, "token_type": "Bearer", "scope": "read write"}}"#);
        assert_eq!(answer.body.trim_end(), exact);
        server.resource(&token).await.is(200);
        server.advance(36_000);
        assert!(!app.sees_active(&token).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_is_another_one() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let first = app.client_credentials().send().await.text("access_token");
    let second = app.client_credentials().send().await.text("access_token");
    assert_ne!(first, second);
    app.revoke(&first).send().await.is(200);
    assert!(app.sees_active(&second).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_what_was_asked_for() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine().untick("scope.write")).await;
    assert_eq!(app.client_credentials().send().await.text("scope"), "read");
    assert_eq!(app.client_credentials().set("scope", "read").send().await.text("scope"), "read");
    expect_token_error(&app.client_credentials().set("scope", "write").send().await, "invalid_scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_have_shorter_tokens() {
    let server = Server::sqlite().await;
    let short = Registration::machine().set("access_token_lifetime_seconds", "300");
    let app = server.user("ada").await.register(&short).await;
    let answer = app.client_credentials().send().await;
    assert_eq!(answer.json()["expires_in"], 300);
    server.advance(300);
    assert!(!app.sees_active(&answer.text("access_token")).await);
}
