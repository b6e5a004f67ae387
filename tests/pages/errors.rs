//! Does whatever goes wrong say what happened, what to do, and how to find it again?

use crate::harness::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_is_404_and_shows_a_code_it_was_given() {
    let server = Server::sqlite().await;
    let page = server.get("/noexist").await.is(404).shows("Page not found (404)").shows("/noexist");
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    server.get("/noexist/callback?code=chc_x").await.is(404).shows("the code is in the address bar");
    server.get("/noexist/callback?error=access_denied").await.is(404).shows("after error=");
    let ada = server.user("ada").await;
    ada.get("/o/applications/cheese/").await.is(404);
    ada.get("/o/applications/cheese/delete/").await.is(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_has_a_reference_that_differs_each_time() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let bad = app.query().set("client_id", "nobody");
    let (one, two) = (ada.authorize(&bad).await, ada.authorize(&bad).await);
    assert_ne!(one.reference(), two.reference());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_400_page() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    for query in ["?client_id=%zz", "?client_id=%ff", "?client_id=a&client_id=b"] {
        ada.get(&format!("/o/authorize/{query}")).await.is(400);
    }
    let form = ada.get("/o/applications/register/").await.form("/o/applications/register/");
    let pairs: Vec<_> = form.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    for (kind, body) in [
        ("application/json", "{}".to_owned()),
        ("multipart/form-data; boundary=x", "--x--".to_owned()),
        ("application/x-www-form-urlencoded", format!("{}&name=%ff", pairs.join("&"))),
        ("application/x-www-form-urlencoded", format!("{}&name=a&name=b", pairs.join("&"))),
    ] {
        let answer = ada.request("POST", "/o/applications/register/").body(kind, body).send().await;
        assert!(matches!(answer.status, 400 | 403 | 415), "{kind}: {answer:#?}");
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{answer:#?}");
    }
    ada.get("/o/applications/").await.is(200).shows("No applications defined");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_page_lacks_is_405() {
    let server = Server::sqlite().await;
    for path in ["/", "/admin/login/", "/o/applications/", "/o/authorize/"] {
        let answer = server.request("DELETE", path).send().await;
        assert_eq!(answer.status, 405, "{path}");
        assert!(answer.header("allow").unwrap().contains("GET"), "{path}");
    }
}
