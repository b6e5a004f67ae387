//! Is the person asked by a page that says everything, and can they go on as somebody else?

use crate::harness::{PASSWORD, Registration, Server};

#[tokio::test(flavor = "multi_thread")]
async fn another_account_can_be_used() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let page = ada.authorize(&app.query()).await.is(200).shows("You are ada");
    let links = crate::harness::form::links(&page.body);
    let switch = links.iter().find(|link| link.contains("switch")).expect("a link to use another account");
    let form = ada.get(switch).await.is(200).form("/admin/login/");
    let back = ada.submit(&form.set("username", "bob").set("password", PASSWORD)).await.is(303);
    let consent = ada.follow(&back).await.is(200).shows("You are bob").form("/o/authorize/");
    let code = ada.submit(&consent.press("Authorize")).await.is(303).code();
    let answer = app.redeem(&code).send().await;
    let said = app.introspect(&answer.text("access_token")).send().await.json();
    assert_eq!(said["username"], "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_application_comes_with_a_warning() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::public()).await;
    ada.authorize(&app.query()).await.is(200).shows("a program on this device").shows("127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resources_are_named() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let query = app.query().add("resource", "https://api.example/v1");
    ada.authorize(&query).await.is(200).shows("https://api.example/v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_left_open_cannot_be_answered_after_half_an_hour() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let form = ada.consent(&app.query()).await.press("Authorize");
    server.advance(29 * 60);
    ada.submit(&form).await.is(303).code();
    let other = ada.register(&Registration::confidential()).await;
    let form = ada.consent(&other.query()).await.press("Authorize");
    server.advance(30 * 60 + 1);
    let late = ada.submit(&form).await;
    assert!(late.header("location").is_none() && late.status == 400, "{late:#?}");
}
