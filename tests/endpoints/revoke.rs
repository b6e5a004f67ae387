//! What does a revocation end, and what does it answer? (RFC 7009 §2)

use crate::harness::{
    Registration, Server, expect_basic_401, expect_bearer_401, expect_dead, expect_token_error,
    on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_access_token_is_dead_at_once_and_the_refresh_token_goes_on() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        server.resource(&tokens.access).await.is(200);
        let answer = app.revoke(&tokens.access).send().await.is(200);
        assert_eq!(answer.body, "");
        assert_eq!(answer.header("content-type"), Some("application/json"), "simple-oauth2 throws on others");
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_bearer_401(&server.resource(&tokens.access).await);
        app.refresh(&tokens.refresh).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_refresh_token_takes_all_tokens_along() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        app.revoke(&tokens.refresh).send().await.is(200);
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        // Revoking what is dead already is a success, too.
        app.revoke(&tokens.refresh).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_are_only_hints() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    for hint in ["access_token", "refresh_token", "cheese", ""] {
        let tokens = ada.tokens(&app).await;
        app.revoke(&tokens.refresh).set("token_type_hint", hint).send().await.is(200);
        expect_dead(&app.introspect(&tokens.access).send().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_own_token_can_be_revoked_and_unknown_ones_are_a_success() {
    on_both_engines(async |server| {
        let app = server.user("ada").await.register(&Registration::machine()).await;
        let token = app.client_credentials().send().await.text("access_token");
        assert!(app.sees_active(&token).await);
        app.revoke("cheese").send().await.is(200);
        assert!(app.sees_active(&token).await);
        app.revoke(&token).send().await.is(200);
        expect_dead(&app.introspect(&token).send().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn public_clients_revoke_by_their_id_and_others_must_authenticate() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let public = ada.register(&Registration::public()).await;
    let tokens = ada.tokens(&public).await;
    public.revoke(&tokens.access).send().await.is(200);
    expect_bearer_401(&server.resource(&tokens.access).await);

    let tokens = ada.tokens(&app).await;
    expect_basic_401(&app.revoke(&tokens.access).without("client_secret").send().await);
    expect_basic_401(&app.revoke(&tokens.access).set("client_secret", "wrong").send().await);
    let answer = app.revoke(&tokens.access).without("token").send().await;
    expect_token_error(&answer, "invalid_request");
    assert_eq!(answer.text("error_description"), "Missing token parameter.");
    assert!(app.sees_active(&tokens.access).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    for path in ["/o/revoke_token/", "/o/revoke_token", "/o/revoke/", "/o/revoke"] {
        let tokens = ada.tokens(&app).await;
        app.post(path).set("token", &tokens.access).send().await.is(200);
        expect_dead(&app.introspect(&tokens.access).send().await);
    }
}
