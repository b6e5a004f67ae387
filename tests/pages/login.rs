//! Does the login page let in whom it should, and lead back to where they came from?

use crate::harness::{PASSWORD, Server, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn name_or_address_and_password_open_a_session() {
    on_both_engines(async |server| {
        for name in ["ada", "Ada", "ada@example.com"] {
            let browser = server.browser();
            browser.try_login(name, PASSWORD).await.is(303);
            assert!(browser.is_logged_in().await, "{name}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_says_neither_which_nor_whether() {
    let server = Server::sqlite().await;
    let answer = server.browser().try_login("ada", "a wrong password").await;
    assert!(answer.header("location").is_none());
    let answer = answer.shows("The name and the password do not belong together.");
    let form = answer.form("/admin/login/");
    assert_eq!(form.get("username"), Some("ada"), "what was typed is still there");
    assert_eq!(form.get("password"), Some(""), "but not the password");
    assert!(answer.body.contains("role=\"alert\"") && answer.body.contains("aria-describedby=\"problem\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_form_comes_back() {
    let server = Server::sqlite().await;
    server.browser().try_login("ada", "").await.is(200).shows("Type your name and your password.");
    server.browser().try_login("", PASSWORD).await.is(200).shows("Type your name and your password.");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leads_back_to_the_page_that_asked() {
    let server = Server::sqlite().await;
    let browser = server.browser();
    for path in
        ["/o/applications/", "/o/applications/register/", "/o/authorized_tokens/", "/admin/password_change/"]
    {
        let sent = browser.get(path).await;
        assert_eq!(sent.location(), format!("/admin/login/?next={path}"));
    }
    let sent = browser.get("/o/applications/register/").await;
    let form = browser.follow(&sent).await.is(200).form("/admin/login/");
    let back = browser.submit(&form.set("username", "ada").set("password", PASSWORD)).await.is(303);
    assert_eq!(back.location(), "/o/applications/register/");
    browser.follow(&back).await.is(200).shows("Register a new application");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_was_open_for_too_long_is_asked_again() {
    let server = Server::sqlite().await;
    let browser = server.browser();
    let form = browser.get("/admin/login/").await.is(200).form("/admin/login/");
    let form = form.set("username", "ada").set("password", PASSWORD);
    server.advance(30 * 60 + 1);
    let again = browser.submit(&form).await.shows("open for too long").form("/admin/login/");
    browser.submit(&again.set("username", "ada").set("password", PASSWORD)).await.is(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_other_addresses_too() {
    let server = Server::sqlite().await;
    for path in ["/admin/login/", "/admin/login", "/login", "/login/", "/accounts/login/", "/accounts/login"]
    {
        server.get(path).await.is(200).shows("Log in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_logged_in_already_goes_on() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    assert_eq!(ada.get("/admin/login/?next=/o/applications/").await.location(), "/o/applications/");
}
