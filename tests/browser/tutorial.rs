//! The tutorial, as a person does it.

use super::chromium::Chromium;
use crate::harness::{App, Engine, Server, Setup};

/// Registers an application through the form, as somebody logged in, and copies id and secret.
pub async fn register(browser: &Chromium, server: &Server, callback: &str) -> App {
    browser.go(&format!("{}/o/applications/register/", server.base)).await;
    if browser.path().await.starts_with("/admin/login") {
        browser.log_in("ada").await;
    }
    assert_eq!(browser.path().await, "/o/applications/register/", "login returns to the page that asked");
    let (client_id, secret) = (browser.value("client_id").await, browser.value("client_secret").await);
    browser.fill("name", "Reports").await;
    browser.choose("client_type", "confidential").await;
    browser.choose("authorization_grant_type", "authorization-code").await;
    browser.fill("redirect_uris", callback).await;
    browser.press("main form button[type=submit]").await;
    assert_eq!(browser.path().await, format!("/o/applications/{client_id}/"));
    assert!(!browser.text().await.contains(&secret), "after saving only a verifier is kept");
    let base = server.base.clone();
    App { client: server.client.clone(), base, client_id, secret, redirect_uri: callback.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tutorial_runs_in_a_real_browser() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let server = Setup::new(engine).start().await;
        let browser = Chromium::start(1280, false).await;
        let callback = format!("{}/noexist/callback", server.base);
        let app = register(&browser, &server, &callback).await;
        let ask = format!(
            "{}/o/authorize/?response_type=code&client_id={}&redirect_uri={callback}",
            server.base, app.client_id
        );
        browser.go(&ask).await;
        assert!(browser.text().await.contains("Reports"), "the page says who asks");
        browser.press("button[name=allow]").await;
        let landed = browser.client.current_url().await.unwrap();
        assert_eq!(landed.path(), "/noexist/callback");
        assert!(browser.text().await.contains("Page not found (404)"));
        let code = landed.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let tokens = app.redeem(&code).send().await;
        assert_eq!(tokens.status, 200, "{tokens:#?}");
        // What happened stands on the application's page.
        browser.go(&format!("{}/o/applications/{}/", server.base, app.client_id)).await;
        let page = browser.text().await;
        assert!(page.contains("registered") && page.contains("token"), "{page}");
        assert_eq!(browser.overflow().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_sends_the_refusal_to_the_client() {
    let server = Server::sqlite().await;
    let browser = Chromium::start(1280, false).await;
    let callback = format!("{}/noexist/callback", server.base);
    let app = register(&browser, &server, &callback).await;
    browser
        .go(&format!("{}/o/authorize/?response_type=code&client_id={}&state=s", server.base, app.client_id))
        .await;
    browser.press("main form button:not([name=allow])").await;
    let landed = browser.client.current_url().await.unwrap();
    assert!(landed.query().unwrap().contains("error=access_denied"), "{landed}");
}
