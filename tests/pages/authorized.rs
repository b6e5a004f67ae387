//! Can people see what they allowed, and take it back?

use crate::harness::form::links;
use crate::harness::{Server, expect_dead, expect_token_error, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_the_authorization_and_its_consent() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        let list = ada.get("/o/authorized_tokens/").await.is(200).shows("Reports").shows("Revoke");
        let revoke = links(&list.body).into_iter().find(|link| link.ends_with("/delete/")).unwrap();
        let detail = revoke.trim_end_matches("delete/").to_owned();
        ada.get(&detail).await.is(200).shows("What happened").shows("live token");
        let confirm = ada.get(&revoke).await.is(200).shows("Revoke access for Reports?");
        assert!(app.sees_active(&tokens.access).await, "asking is not revoking");
        ada.submit(&confirm.form(&revoke)).await.is(303);
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        ada.get(&detail).await.is(200).shows("Revoked");
        ada.authorize(&app.query()).await.is(200).form("/o/authorize/");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_teaches_and_a_stranger_logs_in() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    ada.get("/o/authorized_tokens/").await.is(200).shows("There are no authorized applications yet.");
    let answer = server.browser().get("/o/authorized_tokens/").await;
    assert_eq!(answer.location(), "/admin/login/?next=/o/authorized_tokens/");
    for unknown in ["cheese", "0193a5f2-7bd4-7470-8a51-9f3c2e10aa42", "%00"] {
        ada.get(&format!("/o/authorized_tokens/{unknown}/")).await.is(404);
    }
}
