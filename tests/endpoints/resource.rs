//! Does the tutorial's protected resource check its tokens? (RFC 6750, RFC 9728)

use crate::harness::{Registration, Server, expect_bearer_401, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_you_are_to_it() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        let answer = server.resource(&tokens.access).await.is(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let said = answer.json();
        assert_eq!(said["client_id"], app.client_id.as_str());
        assert_eq!(said["scope"], "read write");
        assert!(
            said["exp"].is_i64() || said["expires_at"].is_string() || said["expires_in"].is_i64(),
            "{said}"
        );
        assert!(answer.body.contains("ada"), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_it_says_where_to_get_one() {
    let server = Server::sqlite().await;
    for path in ["/resource", "/resource/"] {
        let answer = server.get(path).await.is(401);
        let challenge = answer.header("www-authenticate").unwrap();
        let metadata = format!("resource_metadata=\"{}/.well-known/oauth-protected-resource", server.base);
        assert!(challenge.starts_with("Bearer ") && challenge.contains(&metadata), "{challenge}");
        assert!(
            !challenge.contains("error="),
            "RFC 6750 §3.1: no error code without credentials: {challenge}"
        );
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_invented_token_is_invalid() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        expect_bearer_401(&server.resource("cheese").await);
        expect_bearer_401(&server.resource(&tokens.refresh).await);
        server.advance(35_999);
        server.resource(&tokens.access).await.is(200);
        server.advance(1);
        expect_bearer_401(&server.resource(&tokens.access).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_the_scope_is_refused_by_name() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::machine()).await;
    let write = app.client_credentials().set("scope", "write").send().await.text("access_token");
    let answer = server.resource(&write).await.is(403);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"read\""),
        "{challenge}"
    );
    let read = app.client_credentials().set("scope", "read").send().await.text("access_token");
    server.resource(&read).await.is(200);
}
