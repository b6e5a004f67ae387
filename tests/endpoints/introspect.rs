//! Who may ask about a token, and what is said? (RFC 7662 §2)

use crate::harness::{
    Registration, Server, Tokens, expect_basic_401, expect_dead, expect_token_error, on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_active_token_is_described_in_full() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        let answer = app.introspect(&tokens.access).send().await.is(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let said = answer.json();
        assert_eq!(said["active"], true);
        assert_eq!(said["scope"], "read write");
        assert_eq!(said["client_id"], app.client_id.as_str());
        assert_eq!(said["username"], "ada");
        assert_eq!(said["token_type"], "Bearer");
        assert_eq!(said["iss"], server.base.as_str());
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 36000);
        assert!(said["sub"].is_string() && said["jti"].is_string(), "{said}");
        assert_ne!(said["sub"], "ada", "a name may be used again, a subject never");
        assert!(said.as_object().unwrap().values().all(|member| !member.is_null()), "{said}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_applications_own_has_it_as_subject_and_no_username() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let token = app.client_credentials().send().await.text("access_token");
    let said = app.introspect(&token).send().await.json();
    assert_eq!(said["sub"], app.client_id.as_str());
    assert!(said.get("username").is_none(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_else_is_inactive_and_no_more_is_said() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    for dead in
        ["cheese", "cha_", "ä", &tokens.access[..tokens.access.len() - 1], &format!("{} ", tokens.access)]
    {
        expect_dead(&app.introspect(dead).send().await);
    }
    assert!(app.sees_active(&tokens.access).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_needs_a_token_and_credentials() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let Tokens { access, .. } = ada.tokens(&app).await;
    expect_token_error(&app.introspect(&access).without("token").send().await, "invalid_request");
    expect_token_error(&app.introspect("").send().await, "invalid_request");
    expect_basic_401(&app.introspect(&access).set("client_secret", "wrong").send().await);
    expect_basic_401(&app.introspect(&access).without("client_id").without("client_secret").send().await);
    let public = ada.register(&Registration::public()).await;
    expect_basic_401(&public.introspect(&access).send().await);
    app.introspect(&access).basic(&app.client_id, &app.secret).send().await.is(200);
}
