//! Does logging out end the session, and only that?

use crate::harness::on_both_engines;

#[tokio::test(flavor = "multi_thread")]
async fn the_session_ends_and_authorizations_stay() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        let elsewhere = server.user("ada").await;
        let page = ada.get("/admin/logout/").await.is(200).shows("Log out?").shows("ada");
        assert!(ada.is_logged_in().await, "asking is not logging out");
        let answer = ada.submit(&page.form("/admin/logout/")).await.is(303);
        assert!(answer.location().starts_with('/'));
        assert!(!ada.is_logged_in().await);
        assert!(elsewhere.is_logged_in().await, "another browser goes on");
        assert!(app.sees_active(&tokens.access).await, "applications keep their access");
        ada.get("/").await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_logged_in_has_nothing_to_end() {
    let server = crate::harness::Server::sqlite().await;
    let answer = server.browser().get("/admin/logout/").await;
    assert!(matches!(answer.status, 200 | 302 | 303), "{answer:#?}");
}
