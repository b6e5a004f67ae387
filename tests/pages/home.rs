//! Does the home page name the next step?

use crate::harness::{Engine, Registration, Server, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn it_leads_from_nothing_to_the_history() {
    let server = Setup::new(Engine::Sqlite).without_users().start().await;
    let page = server.get("/").await.is(200).shows("Nobody can log in yet");
    assert!(page.body.contains("chancery createsuperuser"), "{}", page.body);
    let arguments = ["createsuperuser", "--noinput", "--username", "ada", "--email", ""];
    server.run_with(server.cli().password(crate::harness::PASSWORD), &arguments).await.succeeded();
    let page = server.get("/").await.is(200).shows("Chancery is running");
    assert!(page.body.contains("/admin/login/?next=/"));
    let ada = server.user("ada").await;
    let page = ada.get("/").await.is(200).shows("Register an application");
    assert!(page.body.contains("/o/applications/register/"));
    let app = ada.register(&Registration::confidential()).await;
    ada.tokens(&app).await;
    ada.get("/").await.is(200).shows("What happened lately").shows("Reports");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_sees_nothing_of_the_history() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    ada.tokens(&app).await;
    let page = server.get("/").await.is(200).shows("Chancery is running");
    assert!(
        !page.body.contains("Reports") && !page.page_text().split_whitespace().any(|word| word == "ada"),
        "{}",
        page.body
    );
    let bob = server.user("bob").await.get("/").await.is(200);
    assert!(!bob.body.contains("Reports"), "{}", bob.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_leads_to_the_pages_one_may_see() {
    let server = Server::sqlite().await;
    let answer = server.user("ada").await.get("/admin/").await;
    assert!(matches!(answer.status, 200 | 302 | 303), "{answer:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stylesheet_is_our_own() {
    let server = Server::sqlite().await;
    let page = server.get("/").await.is(200);
    let href =
        page.body.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let style = server.get(&href).await.is(200);
    assert!(style.header("content-type").unwrap().starts_with("text/css"));
    assert!(style.body.contains("prefers-color-scheme: dark"));
}
