//! Can a person change their own password, and is what is wrong said at its field?

use crate::harness::{PASSWORD, Server, on_both_engines};

const PATH: &str = "/admin/password_change/";
const NEW: &str = "an entirely different phrase";

#[tokio::test(flavor = "multi_thread")]
async fn the_new_password_replaces_the_old_one() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let form = ada.get(PATH).await.is(200).form(PATH);
        let form = form.set("old_password", PASSWORD).set("new_password1", NEW).set("new_password2", NEW);
        ada.submit(&form).await.is(303);
        server.browser().try_login("ada", NEW).await.is(303);
        assert_ne!(server.browser().try_login("ada", PASSWORD).await.status, 303);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_at_the_field() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let form = ada.get(PATH).await.is(200).form(PATH).set("old_password", PASSWORD);
    for (form, field) in [
        (
            form.clone()
                .set("old_password", "a wrong password")
                .set("new_password1", NEW)
                .set("new_password2", NEW),
            "old_password",
        ),
        (
            form.clone().set("new_password1", NEW).set("new_password2", "something else again"),
            "new_password2",
        ),
        (form.clone().set("new_password1", "short").set("new_password2", "short"), "new_password1"),
    ] {
        let answer = ada.submit(&form).await.is(200).shows("Nothing was saved.");
        assert!(answer.body.contains(&format!("id=\"error_{field}\"")), "{field}: {}", answer.body);
        for field in ["old_password", "new_password1", "new_password2"] {
            assert_eq!(answer.form(PATH).get(field), Some(""), "passwords are not shown again");
        }
    }
    assert!(ada.is_logged_in().await);
}
