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

/// Invariant 13, inside one process: whoever asks after the 200 of a revocation is told that it is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_13_after_a_revocation_nobody_is_told_active() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    const TOKENS: usize = 150;
    on_both_engines(async |server| {
        let app = server.user("ada").await.register(&Registration::machine()).await;
        let mut tokens = Vec::with_capacity(TOKENS);
        for _ in 0..TOKENS {
            let token = app.client_credentials().send().await.text("access_token");
            tokens.push((token, AtomicBool::new(false)));
        }
        let (tokens, done) = (Arc::new(tokens), Arc::new(AtomicBool::new(false)));
        let answers = Arc::new(AtomicUsize::new(0));
        let mut askers = tokio::task::JoinSet::new();
        for asker in 0..6 {
            let (app, tokens, done, answers) =
                (app.clone(), Arc::clone(&tokens), Arc::clone(&done), Arc::clone(&answers));
            askers.spawn(async move {
                let mut turn = asker * 31;
                while !done.load(Ordering::SeqCst) {
                    let (token, revoked) = &tokens[turn % TOKENS];
                    let was_revoked = revoked.load(Ordering::SeqCst);
                    let is_active = app.sees_active(token).await;
                    assert!(!(was_revoked && is_active), "told active after the revocation's 200");
                    answers.fetch_add(1, Ordering::Relaxed);
                    turn += 7;
                }
            });
        }
        for (token, revoked) in tokens.iter() {
            app.revoke(token).send().await.is(200);
            revoked.store(true, Ordering::SeqCst);
            expect_dead(&app.introspect(token).send().await);
        }
        done.store(true, Ordering::SeqCst);
        askers.join_all().await;
        assert!(answers.load(Ordering::Relaxed) > TOKENS, "somebody asked meanwhile");
    })
    .await;
}
