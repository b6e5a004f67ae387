//! Can people manage their applications, from the prefilled form to the deletion?

use crate::harness::{
    App, PASSWORD, Registration, Server, Tokens, expect_basic_401, expect_dead, on_both_engines,
};

const REGISTER: &str = "/o/applications/register/";

#[tokio::test(flavor = "multi_thread")]
async fn the_form_arrives_with_a_fresh_id_and_secret() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let one = ada.get(REGISTER).await.is(200).form(REGISTER);
    let two = ada.get(REGISTER).await.is(200).form(REGISTER);
    for (field, length) in [("client_id", 40), ("client_secret", 128)] {
        let value = one.value(field);
        assert_eq!(value.len(), length, "{field}");
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{value}");
        assert_ne!(value, two.value(field));
    }
    let names = [
        "name",
        "client_id",
        "client_secret",
        "hash_client_secret",
        "client_type",
        "authorization_grant_type",
        "redirect_uris",
        "post_logout_redirect_uris",
        "allowed_origins",
        "algorithm",
    ];
    let places: Vec<_> =
        names.iter().map(|name| one.fields.iter().position(|(field, _)| field == name).unwrap()).collect();
    assert!(places.is_sorted(), "{:?}", one.fields);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_secret_is_never_shown_again() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        for path in [
            "/o/applications/".to_owned(),
            format!("/o/applications/{}/", app.client_id),
            format!("/o/applications/{}/update/", app.client_id),
        ] {
            let page = ada.get(&path).await.is(200);
            assert!(!page.body.contains(&app.secret) && !page.body.contains("$argon2"), "{path}");
        }
        ada.tokens(&app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_at_the_field_and_nothing_typed_is_lost() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let good = Registration::confidential();
    for (registration, text) in [
        (
            good.clone().set("redirect_uris", ""),
            "redirect_uris cannot be empty with grant_type authorization-code",
        ),
        (
            good.clone().set("redirect_uris", "ftp://x/y"),
            "redirect uri URI Validation error. invalid_scheme: ftp://x/y",
        ),
        (
            good.clone().set("redirect_uris", "https://a/b#f"),
            "redirect uri URI validation error. fragment not allowed: https://a/b#f",
        ),
    ] {
        let (answer, form) = ada.try_register(&registration).await;
        let answer = answer.is(200).shows(text).shows("Nothing was saved.");
        let again = answer.form(REGISTER);
        assert_eq!(again.value("client_id"), form.value("client_id"));
        assert_eq!(again.value("name"), "Reports");
        // Corrected, it is saved with the same id and secret.
        let corrected = again.set("redirect_uris", "https://app.example/cb");
        assert_eq!(corrected.value("client_secret"), form.value("client_secret"));
        ada.submit(&corrected).await.is(303);
    }
    for registration in [
        good.clone().set("client_type", ""),
        good.clone().set("authorization_grant_type", ""),
        good.clone().set("client_id", ""),
        good.clone().set("client_type", "cheese"),
        good.clone().set("client_id", &"x".repeat(256)),
        good.clone().untick("hash_client_secret"),
        good.clone().set("algorithm", "HS256"),
        good.clone().set("authorization_grant_type", "client-credentials").set("client_type", "public"),
    ] {
        let (answer, _) = ada.try_register(&registration).await;
        assert_eq!(answer.status, 200, "{registration:?} was registered");
        assert!(answer.body.contains("aria-invalid=\"true\""), "{registration:?}");
    }
    let app = ada.register(&good).await;
    let taken = good.set("client_id", &app.client_id);
    ada.try_register(&taken).await.0.is(200).shows("Application with this Client ID already exists.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unedited_secret_is_proved_by_a_seal_the_browser_cannot_make() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let form = ada.get(REGISTER).await.is(200).form(REGISTER);
    let form = form.set("client_type", "confidential").set("authorization_grant_type", "client-credentials");
    // Edited, with the seal of the prefilled one; and without any seal: both work as chosen secrets.
    for form in [
        form.clone().set("client_secret", "a secret of my own choosing"),
        form.without("initial")
            .set("client_id", "other-one")
            .set("client_secret", "another secret of my own"),
    ] {
        ada.submit(&form).await.is(303);
        let app = App {
            client: server.client.clone(),
            base: server.base.clone(),
            client_id: form.value("client_id"),
            secret: form.value("client_secret"),
            redirect_uri: String::new(),
        };
        app.client_credentials().send().await.is(200);
        expect_basic_401(&app.with_secret("cheese").client_credentials().send().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_is_shown_once_and_the_old_one_is_dead() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        let answer = ada.confirm(&app, "rotate-secret").await;
        let page = if answer.status == 303 { ada.follow(&answer).await } else { answer };
        let page = page.is(200).shows("The new client secret");
        assert!(page.header("cache-control").unwrap().contains("no-store"));
        let secret =
            page.body.split("id=\"client_secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
        assert_eq!(secret.len(), 128);
        expect_basic_401(&app.refresh(&tokens.refresh).send().await);
        let renewed = app.with_secret(&secret);
        assert!(renewed.sees_active(&tokens.access).await, "tokens it holds keep working");
        renewed.refresh(&tokens.refresh).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_changes_what_it_says_and_nothing_else() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let path = format!("/o/applications/{}/update/", app.client_id);
        let form = ada.get(&path).await.is(200).form(&path);
        assert_eq!(form.value("client_id"), app.client_id);
        assert_eq!(form.value("redirect_uris"), "https://app.example/cb");
        let bad = ada.submit(&form.clone().set("redirect_uris", "ftp://x/y")).await;
        bad.is(200).shows("invalid_scheme");
        let changed = form.set("name", "Accounts").set("client_id", "stolen").set("require_pkce", "on");
        ada.submit(&changed).await.is(303);
        let page = ada.get(&format!("/o/applications/{}/", app.client_id)).await.is(200).shows("Accounts");
        page.shows("https://app.example/cb");
        assert_eq!(ada.authorize(&app.query()).await.sent("error").as_deref(), Some("invalid_request"));
        ada.allow(&app.query().pkce()).await.code();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_says_what_dies_and_kills_it() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let admin = server.user("admin").await;
        let asker = admin.register(&Registration::machine().tick("introspect_everything")).await;
        let (one, two) = (ada.tokens(&app).await, ada.tokens(&app).await);
        let path = format!("/o/applications/{}/delete/", app.client_id);
        let page = ada.get(&path).await.is(200).shows("Are you sure to delete the application Reports?");
        page.clone().shows("live tokens");
        assert!(asker.sees_active(&one.access).await, "asking is not deleting");
        assert_eq!(ada.submit(&page.form(&path)).await.is(303).location(), "/o/applications/?done=deleted");
        for Tokens { access, .. } in [one, two] {
            expect_dead(&asker.introspect(&access).send().await);
        }
        expect_basic_401(&app.client_credentials().send().await);
        ada.get("/o/applications/").await.is(200).shows("No applications defined");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_is_taken_back_by_enabling() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let app = ada.register(&Registration::machine()).await;
        ada.confirm(&app, "disable").await.is(303);
        expect_basic_401(&app.client_credentials().send().await);
        ada.get(&format!("/o/applications/{}/", app.client_id)).await.is(200).shows("Disabled");
        ada.confirm(&app, "enable").await.is(303);
        app.client_credentials().send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_their_own_and_superusers_all() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    assert!(ada.get("/o/applications/").await.is(200).body.contains(&app.client_id));
    server.user("bob").await.get("/o/applications/").await.is(200).shows("No applications defined");
    server.user("admin").await.get("/o/applications/").await.is(200).shows("Reports").shows("ada");
    assert!(PASSWORD.len() > 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_application_has_no_secret() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    // The prefilled one is still in the form: it is simply not kept.
    let (answer, form) = ada.try_register(&Registration::public().set("client_secret", "")).await;
    answer.is(303);
    let detail = format!("/o/applications/{}/", form.value("client_id"));
    let page = ada.get(&detail).await.is(200).shows("Client secret none");
    assert!(!page.body.contains("rotate-secret"));
}
