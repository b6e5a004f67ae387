//! When is a code worth tokens? (RFC 6749 §4.1.3, RFC 7636)

use crate::harness::{
    App, Registration, Server, Tokens, VERIFIER, expect_basic_401, expect_token_error, on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_public_client_proves_itself_by_its_verifier() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let app = ada.register(&Registration::public()).await;
        let code = ada.code(&app).await;
        let answer = app.redeem(&code).send().await;
        let tokens = Tokens::of(&answer);
        server.resource(&tokens.access).await.is(200);
        app.refresh(&tokens.refresh).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_client_secret_of_a_public_client_is_none() {
    // clients.md 1.4: some clients always send the parameter.
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::public()).await;
    let code = ada.code(&app).await;
    app.redeem(&code).set("client_secret", "").send().await.is(200);
    expect_basic_401(&app.redeem("x").set("client_secret", "invented").send().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_lives_for_sixty_seconds() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        server.advance(59);
        app.redeem(&code).send().await.is(200);
        let code = ada.code(&app).await;
        server.advance(60);
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_parameters_are_named() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let code = ada.code(&app).await;
    let answer = app.redeem(&code).without("code").send().await;
    expect_token_error(&answer, "invalid_request");
    assert_eq!(answer.text("error_description"), "Missing code parameter.");
    expect_token_error(&app.redeem(&code).without("redirect_uri").send().await, "invalid_request");
    expect_token_error(
        &app.redeem(&code).set("redirect_uri", "https://app.example/c").send().await,
        "invalid_grant",
    );
    expect_token_error(&app.redeem("cheese").send().await, "invalid_grant");
    app.redeem(&code).send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confidential_client_may_use_pkce_too() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let code = ada.allow(&app.query().pkce()).await.code();
    app.redeem(&code).set("code_verifier", VERIFIER).send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_code_revokes_what_it_gave() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        let tokens = Tokens::of(&app.redeem(&code).send().await);
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
        assert!(!app.sees_active(&tokens.access).await);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_parallel_redemptions_have_one_winner() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        let won = race(&app, &code).await;
        assert_eq!(won, 1);
    })
    .await;
}

async fn race(app: &App, code: &str) -> usize {
    let racers: Vec<_> = (0..16).map(|_| tokio::spawn(app.redeem(code).send())).collect();
    let mut won = 0;
    for racer in racers {
        let answer = racer.await.unwrap();
        if answer.status == 200 {
            won += 1;
        } else {
            expect_token_error(&answer, "invalid_grant");
        }
    }
    won
}
