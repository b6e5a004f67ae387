//! Does the authorization endpoint answer as RFC 6749 §4.1 and RFC 9207 say?

use crate::harness::server::{Engine, on_both_engines_with};
use crate::harness::{Registration, Server, Setup, expect_error_page, expect_redirect, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn a_code_comes_with_state_and_issuer_and_nothing_else() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let landing = ada.allow(&app.query()).await;
        assert_eq!(landing.sent("state").as_deref(), Some("af0ifjsldkj"));
        assert_eq!(landing.sent("iss").as_deref(), Some(server.base.as_str()));
        let location = landing.location();
        let query = location.strip_prefix("https://app.example/cb?").unwrap();
        assert_eq!(query.split('&').count(), 3, "{location}");
        assert_eq!(landing.header("cache-control"), Some("no-store"));

        let landing = ada.allow(&app.query().without("state")).await;
        assert_eq!(landing.sent("state"), None, "none sent, none back");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_is_access_denied() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let form = ada.consent(&app.query()).await;
        let answer = ada.submit(&form.press("Cancel")).await;
        expect_redirect(&answer, &app.query(), "access_denied");
        assert_eq!(answer.status, 303);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_logged_in_goes_to_the_login_page_and_comes_back() {
    let server = Server::sqlite().await;
    let (_, app) = server.ada_and_app().await;
    let stranger = server.browser();
    let sent = stranger.authorize(&app.query()).await.is(302);
    assert!(sent.location().starts_with("/admin/login/?next="), "{}", sent.location());
    let form = stranger.follow(&sent).await.is(200).form("/admin/login/");
    let form = form.set("username", "bob").set("password", crate::harness::PASSWORD);
    let back = stranger.submit(&form).await.is(303);
    assert!(back.location().starts_with("/o/authorize/"), "{}", back.location());
    let consent = stranger.follow(&back).await.is(200).shows("You are bob").form("/o/authorize/");
    stranger.submit(&consent.press("Authorize")).await.is(303).code();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_client_or_redirect_uri_is_a_page_and_never_a_redirect() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let good = app.query();
    for (query, text) in [
        (good.clone().without("client_id"), "Missing client_id parameter."),
        (good.clone().set("client_id", ""), "Missing client_id parameter."),
        (good.clone().set("client_id", "nobody"), "Invalid client_id parameter value."),
        (good.clone().set("redirect_uri", "https://evil.example/cb"), "Mismatching redirect URI."),
    ] {
        let answer = ada.authorize(&query).await;
        expect_error_page(&answer, "invalid_request");
        answer.shows(text);
    }
    ada.allow(&good).await.code();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_errors_go_to_the_application() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let good = app.query();
    for (query, error, description) in [
        (good.clone().without("response_type"), "invalid_request", "Missing response_type parameter."),
        (good.clone().set("response_type", ""), "invalid_request", "Missing response_type parameter."),
        (good.clone().set("response_type", "cheese"), "unsupported_response_type", ""),
        (good.clone().set("scope", "unheard_of"), "invalid_scope", ""),
        (
            good.clone().pkce().set("code_challenge_method", "plain"),
            "invalid_request",
            "Transform algorithm not supported.",
        ),
        (good.clone().add("resource", "not a uri"), "invalid_target", ""),
        (good.clone().set("response_mode", "fragment"), "invalid_request", ""),
    ] {
        let answer = ada.authorize(&query).await;
        expect_redirect(&answer, &query, error);
        if !description.is_empty() {
            assert_eq!(answer.sent("error_description").as_deref(), Some(description));
        }
    }
    ada.allow(&good).await.code();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_omitted_redirect_uri_is_the_only_registered_one() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let landing = ada.allow(&app.query().without("redirect_uri")).await;
    assert!(landing.location().starts_with("https://app.example/cb?"));
    let answer = app.redeem(&landing.code()).without("redirect_uri").send().await;
    answer.is(200);

    let two =
        Registration::confidential().set("redirect_uris", "https://app.example/cb https://app.example/other");
    let app = ada.register(&two).await;
    expect_error_page(&ada.authorize(&app.query().without("redirect_uri")).await, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_once_given_is_remembered_until_more_is_asked() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let narrow = app.query().set("scope", "read");
        ada.allow(&narrow).await;
        ada.authorize(&narrow).await.is(302).code();
        ada.authorize(&app.query().set("scope", "read write")).await.is(200);
        let forced = ada.authorize(&narrow.set("prompt", "consent")).await.is(200);
        forced.form("/o/authorize/");

        let always = ada.register(&Registration::confidential().tick("ask_always")).await;
        ada.allow(&always.query()).await;
        ada.authorize(&always.query()).await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_remembered_for_one_person_is_not_for_another() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    ada.allow(&app.query()).await;
    server.user("bob").await.authorize(&app.query()).await.is(200).shows("You are bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_none_never_shows_a_page() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let silent = app.query().set("prompt", "none");
    expect_redirect(&server.browser().authorize(&silent).await, &silent, "login_required");
    expect_redirect(&ada.authorize(&silent).await, &silent, "consent_required");
    ada.allow(&app.query()).await;
    ada.authorize(&silent).await.is(302).code();
    let both = app.query().set("prompt", "none login");
    expect_redirect(&ada.authorize(&both).await, &both, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_says_who_asks_for_what_as_whom_and_where_the_browser_goes() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let page = ada.authorize(&app.query()).await.is(200);
    for text in [
        "Authorize Reports?",
        "You are ada",
        "Use another account",
        "Application requires the following permissions",
        "Reading scope",
        "Writing scope",
        "app.example",
    ] {
        page.clone().shows(text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_may_be_posted() {
    // OpenID Connect Core §3.1.2.1: GET and POST.
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let posted = ada.request("POST", "/o/authorize/").pairs(&app.query().0).send().await;
    let page = if posted.status == 303 { ada.follow(&posted).await } else { posted };
    let form = page.is(200).form("/o/authorize/");
    ada.submit(&form.press("Authorize")).await.is(303).code();
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_parameters_are_ignored_and_both_paths_answer() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let query = app.query().set("utm_source", "letter").set("claims", "");
    ada.allow(&query).await.code();
    let answer = ada.request("GET", "/o/authorize").pairs(&app.query().0).send().await;
    assert_eq!(
        answer.is(302).sent("state").as_deref(),
        Some("af0ifjsldkj"),
        "nothing redirects to the other path"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scope_the_default_ones_are_given() {
    let catalogue = |setup: Setup| setup.scopes(&[("read", true), ("write", false), ("admin", false)]);
    on_both_engines_with(catalogue, async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        assert_eq!(app.redeem(&code).send().await.text("scope"), "read");
        let asked = app.query().set("scope", "admin read");
        let code = ada.allow(&asked).await.code();
        let given = app.redeem(&code).send().await.text("scope");
        let mut given: Vec<_> = given.split(' ').collect();
        given.sort_unstable();
        assert_eq!(given, ["admin", "read"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_trusted_by_a_superuser_asks_nobody() {
    let server = Setup::new(Engine::Sqlite).start().await;
    let admin = server.user("admin").await;
    let app = admin.register(&Registration::confidential().tick("skip_authorization")).await;
    server.user("bob").await.authorize(&app.query()).await.is(302).code();
    // The switch is not an ordinary user's to set.
    let ada = server.user("ada").await;
    let (refused, _) = ada.try_register(&Registration::confidential().tick("skip_authorization")).await;
    refused.is(200).shows("Only a superuser may switch this on.");
}
