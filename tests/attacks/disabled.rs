//! Does disabled mean disabled, on every path and at once?

use crate::harness::{
    PASSWORD, Registration, Server, expect_basic_401, expect_bearer_401, expect_dead, expect_error_page,
    expect_token_error, on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn adv_48_disabled_matrix() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let admin = server.user("admin").await;
        let asker = admin.register(&Registration::machine().tick("introspect_everything")).await;
        let tokens = ada.tokens(&app).await;
        let code = ada.code(&app).await;
        server.resource(&tokens.access).await.is(200);

        // The command line has the system's clock, which the test's must not be ahead of: locks first.
        server.run(&["lockuser", "ada"]).await.succeeded();
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_bearer_401(&server.resource(&tokens.access).await);
        assert!(!ada.is_logged_in().await, "the session ended");
        assert_ne!(server.browser().try_login("ada", PASSWORD).await.status, 303);

        server.run(&["unlockuser", "ada"]).await.succeeded();
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        server.advance(60);
        let ada = server.user("ada").await;
        let tokens = ada.tokens(&app).await;
        let code = ada.code(&app).await;
        ada.confirm(&app, "disable").await.is(303);
        expect_basic_401(&app.redeem(&code).send().await);
        expect_basic_401(&app.refresh(&tokens.refresh).send().await);
        expect_basic_401(&app.introspect(&tokens.access).send().await);
        expect_dead(&asker.introspect(&tokens.access).send().await);
        expect_bearer_401(&server.resource(&tokens.access).await);
        expect_error_page(&ada.authorize(&app.query()).await, "unauthorized_client");
        server.advance(1);
        ada.confirm(&app, "enable").await.is(303);
        // What died with it stays dead: nobody is told `active` after `inactive`.
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");

        server.advance(1);
        ada.tokens(&app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_49_deactivated_service() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let admin = server.user("admin").await;
        let asker = admin.register(&Registration::machine().tick("introspect_everything")).await;
        for action in ["disable", "delete"] {
            let app = ada.register(&Registration::machine()).await;
            let token = app.client_credentials().send().await.text("access_token");
            assert!(asker.sees_active(&token).await);
            ada.confirm(&app, action).await.is(303);
            expect_dead(&asker.introspect(&token).send().await);
            expect_bearer_401(&server.resource(&token).await);
            expect_basic_401(&app.client_credentials().send().await);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_50_deactivated_by_other_path() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let pending = ada.consent(&app.query()).await.press("Authorize");
        let admin = server.user("admin").await;
        let other = admin.register(&Registration::confidential()).await;
        let held = ada.tokens(&other).await;
        server.run(&["lockuser", "ada"]).await.succeeded();
        let answer = ada.submit(&pending).await;
        assert!(!answer.header("location").unwrap_or_default().contains("code="), "{answer:#?}");
        assert!(!ada.is_logged_in().await);
        expect_token_error(&other.refresh(&held.refresh).send().await, "invalid_grant");
        server.run(&["unlockuser", "ada"]).await.succeeded();
        assert!(!ada.is_logged_in().await, "what ended stays ended");
        server.advance(60);
        server.user("ada").await.code(&app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_52_ids_never_reused() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        let first = Registration::machine().set("client_id", "nightly-job");
        let machine = ada.register(&first).await;
        ada.confirm(&machine, "delete").await.is(303);
        let (answer, _) = ada.try_register(&first).await;
        answer.is(200).shows("Application with this Client ID already exists.");
        let again = server.cli().password(PASSWORD);
        let taken = ["createuser", "--noinput", "--username", "ADA", "--email", "x@example.com"];
        server.run_with(again, &taken).await.failed_about("taken");
        assert!(app.sees_active(&tokens.access).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_53_rules_on_live_session() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        ada.allow(&app.query()).await.code();
        for forced in [app.query().set("prompt", "login"), app.query().set("max_age", "0")] {
            let sent = ada.authorize(&forced).await.is(302);
            assert!(sent.location().starts_with("/admin/login/"), "{}", sent.location());
            let form = ada.follow(&sent).await.is(200).form("/admin/login/");
            let back = ada.submit(&form.set("username", "ada").set("password", PASSWORD)).await.is(303);
            let answer = ada.follow(&back).await;
            let answer = if answer.status == 200 {
                ada.submit(&answer.form("/o/authorize/").press("Authorize")).await
            } else {
                answer
            };
            answer.code();
        }
        server.advance(100);
        ada.authorize(&app.query().set("max_age", "101")).await.is(302).code();
        let sent = ada.authorize(&app.query().set("max_age", "99")).await.is(302);
        assert!(sent.location().starts_with("/admin/login/"), "{}", sent.location());
        server.run(&["lockuser", "ada"]).await.succeeded();
        let sent = ada.authorize(&app.query()).await.is(302);
        assert!(sent.location().starts_with("/admin/login/"), "{}", sent.location());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_51_dcr_cannot_reenable() {
    // Dynamic registration comes later; until then nothing answers there.
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    ada.confirm(&app, "disable").await.is(303);
    for method in ["GET", "PUT", "DELETE"] {
        server.request(method, &format!("/o/register/{}/", app.client_id)).send().await.is(404);
    }
}
