//! Does a server that stops and starts again know all it decided before?

use crate::harness::{Tokens, expect_dead, expect_token_error, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_a_restart_holds_after_it() {
    on_both_engines(async |mut server| {
        let (ada, app) = server.ada_and_app().await;
        let Tokens { access, refresh } = ada.tokens(&app).await;
        let revoked = ada.tokens(&app).await;
        app.revoke(&revoked.refresh).send().await.is(200);
        let outstanding = ada.code(&app).await;
        let used = ada.code(&app).await;
        app.redeem(&used).send().await.is(200);

        server.restart().await;

        assert!(ada.is_logged_in().await, "a login outlives the process it was made in");
        assert!(app.sees_active(&access).await);
        expect_dead(&app.introspect(&revoked.access).send().await);
        expect_token_error(&app.redeem(&used).send().await, "invalid_grant");
        app.redeem(&outstanding).send().await.is(200);
        app.refresh(&refresh).send().await.is(200);
        expect_token_error(&app.refresh(&revoked.refresh).send().await, "invalid_grant");
    })
    .await;
}
