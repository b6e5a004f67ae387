//! Can a login that an application demands be avoided? (OIDC Core §3.1.2.1: `prompt=login`, `max_age`)

use crate::harness::request::Answer;
use crate::harness::{App, Browser, PASSWORD, Query, Server, expect_error_page, on_both_engines};

#[track_caller]
fn expect_login(sent: &Answer) {
    assert!(sent.status == 302 && sent.location().starts_with("/admin/login/"), "{sent:#?}");
}

/// Logs in where the request sends the browser, and returns the address that leads back from there.
async fn log_in_for(browser: &Browser, query: &Query) -> String {
    let sent = browser.authorize(query).await;
    expect_login(&sent);
    let form = browser.follow(&sent).await.is(200).form("/admin/login/");
    browser.submit(&form.set("username", "ada").set("password", PASSWORD)).await.is(303).location()
}

/// Ada has allowed the application before, so that only a login can stand between her and a code.
async fn allowed(server: &Server) -> (Browser, App) {
    let (ada, app) = server.ada_and_app().await;
    ada.allow(&app.query()).await.code();
    (ada, app)
}

fn forced(app: &App) -> [Query; 2] {
    [app.query().set("prompt", "login"), app.query().set("max_age", "0")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_satisfies_the_request_it_was_demanded_for_once() {
    on_both_engines(async |server| {
        let (ada, app) = allowed(&server).await;
        let sibling = server.sibling().await;
        for query in forced(&app) {
            let back = log_in_for(&ada, &query).await;
            assert!(back.starts_with("/o/authorize/?"), "{back}");
            ada.get(&back).await.is(302).code();
            expect_error_page(&ada.get(&back).await, "invalid_request");
            // Nor on another node, which was not asked before.
            let there = Browser::new(&sibling.base);
            there.set_cookie(&format!("chancery={}", ada.cookie("chancery").unwrap()));
            expect_error_page(&there.get(&back).await, "invalid_request");
            expect_login(&ada.authorize(&query).await);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_elsewhere_or_of_before_satisfies_no_demand() {
    on_both_engines(async |server| {
        let (_, app) = allowed(&server).await;
        for query in forced(&app) {
            // Somebody makes a note in a browser of their own…
            let other = server.browser();
            other.login("ada").await;
            let foreign = log_in_for(&other, &query).await;
            // …and brings it to one where Ada logged in after it was made.
            let unattended = server.browser();
            unattended.login("ada").await;
            expect_login(&unattended.get(&foreign).await);
            other.get(&foreign).await.is(302).code();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_for_one_request_satisfies_no_other() {
    let server = Server::sqlite().await;
    let (ada, app) = allowed(&server).await;
    let own = app.query().set("prompt", "login");
    let back = log_in_for(&ada, &own).await;
    let (_, note) = back.split_once("login_done=").unwrap();
    for other in [
        own.clone().set("state", "another"),
        own.clone().set("scope", "read"),
        own.clone().set("max_age", "0"),
    ] {
        expect_login(&ada.authorize(&other.set("login_done", note)).await);
    }
    // A login that no request demanded satisfies none.
    let form = ada.get("/admin/login/?switch=1").await.is(200).form("/admin/login/");
    ada.submit(&form.set("username", "ada").set("password", PASSWORD)).await.is(303);
    expect_login(&ada.authorize(&own).await);
    expect_login(&ada.authorize(&own.clone().set("login_done", note)).await);
    for forged in ["", "x", &note[1..], "bm90IG91cnM"] {
        expect_login(&ada.authorize(&own.clone().set("login_done", forged)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demanded_login_does_not_stand_for_long() {
    let server = Server::sqlite().await;
    let (ada, app) = allowed(&server).await;
    for query in forced(&app) {
        let back = log_in_for(&ada, &query).await;
        server.advance(61);
        expect_login(&ada.get(&back).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_logged_in_logs_in_once() {
    let server = Server::sqlite().await;
    let (_, app) = allowed(&server).await;
    for query in forced(&app) {
        let browser = server.browser();
        let back = log_in_for(&browser, &query).await;
        browser.get(&back).await.is(302).code();
    }
}
