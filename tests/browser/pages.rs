//! Every page, narrow and wide, light and dark: nothing overflows, nothing is refused by the policy.

use super::chromium::Chromium;
use super::tutorial::register;
use crate::harness::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_and_keeps_the_content_security_policy() {
    let server = Server::sqlite().await;
    for (width, dark) in [(1280, false), (360, true)] {
        let browser = Chromium::start(width, dark).await;
        let app = register(&browser, &server, &format!("{}/noexist/callback", server.base)).await;
        let application = format!("/o/applications/{}/", app.client_id);
        browser
            .go(&format!("{}/o/authorize/?response_type=code&client_id={}", server.base, app.client_id))
            .await;
        if browser.path().await.starts_with("/o/authorize") {
            browser.press("button[name=allow]").await;
        }
        browser.complaints().await; // The callback is no page: its 404 is the console's business.
        let pages = [
            "/".to_owned(),
            "/admin/password_change/".to_owned(),
            "/admin/logout/".to_owned(),
            "/o/applications/".to_owned(),
            "/o/applications/register/".to_owned(),
            application.clone(),
            format!("{application}update/"),
            format!("{application}rotate-secret/"),
            format!("{application}disable/"),
            format!("{application}delete/"),
            "/o/authorized_tokens/".to_owned(),
            format!("/o/authorize/?response_type=code&client_id={}&prompt=consent", app.client_id),
        ];
        for page in pages {
            browser.go(&format!("{}{page}", server.base)).await;
            assert_eq!(browser.overflow().await, 0, "{page} at {width} px");
            assert_eq!(browser.complaints().await, Vec::<String>::new(), "{page}");
            let headings = browser.client.find_all(fantoccini::Locator::Css("h1")).await.unwrap();
            assert_eq!(headings.len(), 1, "{page} has one heading");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_can_log_in_and_out_with_the_keyboard_alone() {
    use crate::harness::PASSWORD;
    let server = Server::sqlite().await;
    let browser = Chromium::start(1280, false).await;
    browser.go(&format!("{}/admin/login/?next=/o/applications/", server.base)).await;
    let (tab, enter) = (char::from(fantoccini::key::Key::Tab), char::from(fantoccini::key::Key::Enter));
    browser.find("[name=username]").await.send_keys(&format!("ada{tab}")).await.unwrap();
    let focused = browser.client.active_element().await.unwrap();
    assert_eq!(focused.attr("name").await.unwrap().as_deref(), Some("password"), "Tab leads on");
    browser.leave_by(async || focused.send_keys(&format!("{PASSWORD}{enter}")).await.unwrap()).await;
    assert_eq!(browser.path().await, "/o/applications/");
    browser.go(&format!("{}/admin/logout/", server.base)).await;
    browser.press("main form button").await;
    browser.go(&format!("{}/o/applications/", server.base)).await;
    assert_eq!(browser.path().await, "/admin/login/", "logged out");
}
