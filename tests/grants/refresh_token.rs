//! How does an application go on without the person? (RFC 6749 §6, RFC 9700 §4.14)

use crate::harness::{Registration, Server, Tokens, expect_token_error, on_both_engines};

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_gives_a_new_pair_and_the_former_access_token_dies() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let first = ada.tokens(&app).await;
        let answer = app.refresh(&first.refresh).send().await;
        let second = Tokens::of(&answer);
        assert!(first.access != second.access && first.refresh != second.refresh);
        assert_eq!(answer.text("scope"), "read write");
        assert!(!app.sees_active(&first.access).await);
        assert!(app.sees_active(&second.access).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_refresh_token_ends_the_family() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let first = ada.tokens(&app).await;
        let second = Tokens::of(&app.refresh(&first.refresh).send().await);
        expect_token_error(&app.refresh(&first.refresh).send().await, "invalid_grant");
        assert!(!app.sees_active(&second.access).await);
        expect_token_error(&app.refresh(&second.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn within_the_retry_window_a_lost_answer_is_given_again() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let app = ada.register(&Registration::confidential().set("retry_window_seconds", "30")).await;
        let first = ada.tokens(&app).await;
        let second = Tokens::of(&app.refresh(&first.refresh).send().await);
        server.advance(29);
        assert_eq!(Tokens::of(&app.refresh(&first.refresh).send().await), second, "the same pair again");
        // The first use of the successor closes the window.
        app.refresh(&second.refresh).send().await.is(200);
        expect_token_error(&app.refresh(&first.refresh).send().await, "invalid_grant");

        let first = ada.tokens(&app).await;
        app.refresh(&first.refresh).send().await.is(200);
        server.advance(31);
        expect_token_error(&app.refresh(&first.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_refresh_token_ends_after_thirty_days() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        server.advance(30 * DAY - 1);
        let tokens = Tokens::of(&app.refresh(&tokens.refresh).send().await);
        server.advance(30 * DAY);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_refresh_token_ends_after_a_hundred_and_eighty_days() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let mut tokens = ada.tokens(&app).await;
        for _ in 0..8 {
            server.advance(20 * DAY);
            tokens = Tokens::of(&app.refresh(&tokens.refresh).send().await);
        }
        server.advance(20 * DAY - 1);
        let answer = app.refresh(&tokens.refresh).send().await;
        tokens = Tokens::of(&answer);
        server.advance(1);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_unknown_refresh_token_is_refused() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    expect_token_error(&app.refresh("").send().await, "invalid_request");
    expect_token_error(&app.refresh("cheese").send().await, "invalid_grant");
    expect_token_error(&app.refresh(&tokens.access).send().await, "invalid_grant");
    app.refresh(&tokens.refresh).send().await.is(200);
}

/// No node decides on what it remembers of a stream that another one has extended since, not even a
/// refusal: a client whose requests wander between nodes would lose its tokens.
#[tokio::test(flavor = "multi_thread")]
async fn a_family_may_wander_between_nodes() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        // The other process knows the application within 250 ms.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let there = crate::harness::App { base: two.base.clone(), ..app.clone() };
        let mut tokens = ada.tokens(&app).await;
        for _ in 0..5 {
            tokens = Tokens::of(&there.refresh(&tokens.refresh).send().await);
            tokens = Tokens::of(&app.refresh(&tokens.refresh).send().await);
        }
        // Revoked there, remembered alive here: asked at once.
        there.revoke(&tokens.refresh).send().await.is(200);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        // Disabled there, remembered enabled here: enabling is no idle command.
        let disabled = two.user("admin").await;
        disabled.confirm(&there, "disable").await.is(303);
        ada.get(&format!("/o/applications/{}/", app.client_id)).await.is(200);
        ada.confirm(&app, "enable").await.is(303);
        one.advance(1);
        ada.tokens(&app).await;
    })
    .await;
}
