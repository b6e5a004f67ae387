//! Is everything bound to whom it was made for? Codes to clients, forms to sessions, values to kinds.

use crate::harness::server::on_both_engines_with;
use crate::harness::{
    PASSWORD, Registration, Server, Setup, Tokens, VERIFIER, expect_basic_401, expect_bearer_401,
    expect_dead, expect_error_page, expect_redirect, expect_token_error, on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn adv_12_other_client_redeems() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let other = ada.register(&Registration::confidential()).await;
        let code = ada.code(&app).await;
        expect_token_error(&other.redeem(&code).send().await, "invalid_grant");
        let tokens = Tokens::of(&app.redeem(&code).send().await);
        expect_token_error(&other.refresh(&tokens.refresh).send().await, "invalid_grant");
        app.refresh(&tokens.refresh).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_13_each_code_check_alone() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let other = ada.register(&Registration::confidential()).await;
        for row in 0..16_u8 {
            let wrong = |bit: u8| row & (1 << bit) != 0;
            let code = ada.allow(&app.query().pkce()).await.code();
            let whose = if wrong(0) { &other } else { &app };
            let uri = if wrong(1) { "https://app.example/other" } else { "https://app.example/cb" };
            let other_verifier = "b".repeat(43);
            let verifier = if wrong(2) { other_verifier.as_str() } else { VERIFIER };
            let late = wrong(3);
            if late {
                server.advance(61);
            }
            let request = whose.redeem(&code).set("redirect_uri", uri).set("code_verifier", verifier);
            let answer = request.send().await;
            if row == 0 {
                Tokens::of(&answer);
                continue;
            }
            expect_token_error(&answer, "invalid_grant");
            let right = app.redeem(&code).set("code_verifier", VERIFIER).send().await;
            if late {
                expect_token_error(&right, "invalid_grant");
            } else {
                right.is(200);
            }
        }
        // Nor does a wrong try extend the code.
        let code = ada.code(&app).await;
        server.advance(40);
        expect_token_error(&other.redeem(&code).send().await, "invalid_grant");
        server.advance(21);
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_14_one_time_values_by_kind() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let form = ada.consent(&app.query()).await;
    let code = ada.code(&app).await;
    let Tokens { access, refresh } = ada.tokens(&app).await;
    let stranger = server.browser();
    stranger.get("/admin/login/").await.is(200);
    let session = ada.cookie("chancery").unwrap();
    let browser = stranger.cookie("chancery_browser").unwrap_or_default();
    let values = [
        ("code", code.as_str()),
        ("access", &access),
        ("refresh", &refresh),
        ("session", &session),
        ("browser", &browser),
        ("sealed", &form.value("request")),
        ("form", &form.value("csrfmiddlewaretoken")),
    ]
    .map(|(kind, value)| (kind, value.to_owned()));
    for (kind, value) in &values {
        if *kind != "code" {
            expect_token_error(&app.redeem(value).send().await, "invalid_grant");
        }
        if *kind != "refresh" {
            expect_token_error(&app.refresh(value).send().await, "invalid_grant");
        }
        if *kind != "access" {
            expect_dead(&app.introspect(value).send().await);
            expect_bearer_401(&server.resource(value).await);
        }
        if *kind != "session" {
            let request =
                server.request("GET", "/o/applications/").header("cookie", &format!("chancery={value}"));
            assert!(matches!(request.send().await.status, 302 | 303), "a {kind} is no session");
        }
        if *kind != "sealed" {
            expect_error_page(
                &ada.submit(&form.clone().set("request", value).press("Authorize")).await,
                "invalid_request",
            );
        }
        if *kind != "form" {
            let forged = form.clone().set("csrfmiddlewaretoken", value).press("Authorize");
            ada.submit(&forged).await.is(403);
        }
    }
    app.redeem(&code).send().await.is(200);
    app.refresh(&refresh).send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_15_session_fixation() {
    on_both_engines(async |server| {
        let invented = server.browser();
        invented.set_cookie("chancery=chs_invented; Path=/");
        assert!(!invented.is_logged_in().await);
        invented.login("ada").await;
        assert_ne!(invented.cookie("chancery").as_deref(), Some("chs_invented"));

        // A cookie somebody got anonymously and planted.
        let attacker = server.browser();
        attacker.get("/admin/login/").await;
        let planted = attacker.cookies();
        let victim = server.browser();
        victim.set_cookie(&format!("{planted}; Path=/"));
        victim.login("ada").await;
        assert!(!attacker.is_logged_in().await, "the planted cookie became a session");

        // Logging in again: a new id, and the old one is dead.
        let old = victim.cookie("chancery").unwrap();
        let form = victim.get("/admin/login/?switch=1").await.is(200).form("/admin/login/");
        victim.submit(&form.set("username", "ada").set("password", PASSWORD)).await.is(303);
        assert_ne!(victim.cookie("chancery").unwrap(), old);
        let with = |cookie: &str| {
            let request = server.request("GET", "/o/applications/");
            request.header("cookie", &format!("chancery={cookie}")).send()
        };
        assert_ne!(with(&old).await.status, 200, "the replaced session still works");

        let session = victim.cookie("chancery").unwrap();
        with(&session).await.is(200);
        let form = victim.get("/admin/logout/").await.is(200).form("/admin/logout/");
        victim.submit(&form).await.is(303);
        assert_ne!(with(&session).await.status, 200, "a session outlived its logout");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_16_tampered_form_fields() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let bob = server.user("bob").await;
        let query = app.query().set("scope", "read");
        let form = ada.consent(&query).await.press("Authorize");
        let tampered = form
            .clone()
            .set("response_type", "token")
            .set("redirect_uri", "https://evil.example/")
            .set("scope", "read write")
            .set("client_id", "other")
            .set("state", "evil")
            .set("code_challenge", "evil");
        let sealed = form.value("request");
        let middle = sealed.len() / 2;
        let other = if &sealed[middle..=middle] == "A" { "B" } else { "A" };
        let altered = format!("{}{other}{}", &sealed[..middle], &sealed[middle + 1..]);
        for bad in [altered.as_str(), &sealed[..middle], "cheese", ""] {
            expect_error_page(&ada.submit(&form.clone().set("request", bad)).await, "invalid_request");
        }
        // Of another session, even with that one's own form token.
        let mine = bob.consent(&query).await.press("Authorize");
        expect_error_page(&bob.submit(&mine.set("request", &sealed)).await, "invalid_request");

        let landing = ada.submit(&tampered).await.is(303);
        assert!(landing.location().starts_with("https://app.example/cb?"), "{}", landing.location());
        assert_eq!(landing.sent("state").as_deref(), Some("af0ifjsldkj"));
        assert_eq!(app.redeem(&landing.code()).send().await.text("scope"), "read");

        let form = ada.consent(&app.query()).await.press("Authorize");
        server.advance(30 * 60 + 1);
        let late = ada.submit(&form).await;
        assert!(late.status == 400 && late.header("location").is_none(), "{late:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_17_omit_each_parameter() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let machine = ada.register(&Registration::machine()).await;
    let Tokens { refresh, .. } = ada.tokens(&app).await;
    let code = ada.allow(&app.query().pkce()).await.code();
    let requests = [
        (
            app.redeem(&code).set("code_verifier", VERIFIER),
            vec!["grant_type", "code", "redirect_uri", "code_verifier"],
        ),
        (app.refresh(&refresh), vec!["grant_type", "refresh_token"]),
        (machine.client_credentials(), vec!["grant_type"]),
    ];
    for (request, required) in &requests {
        for name in required {
            expect_token_error(&request.clone().without(name).send().await, "invalid_request");
            expect_token_error(&request.clone().set(name, "").send().await, "invalid_request");
        }
        for name in ["client_id", "client_secret"] {
            expect_basic_401(&request.clone().without(name).send().await);
            expect_basic_401(&request.clone().set(name, "").send().await);
        }
    }
    let [(code, _), (refresh, _), (own, _)] = requests;
    for request in [code, refresh, own.set("scope", "")] {
        assert_eq!(request.send().await.text("scope"), "read write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_18_restriction_matrix() {
    let listed = |setup: Setup| setup.set("resources", "https://api.example");
    on_both_engines_with(listed, async |server| {
        let ada = server.user("ada").await;
        let narrow = Registration::confidential().untick("scope.write").tick("require_pkce");
        let app = ada.register(&narrow).await;
        let query = app.query().pkce();
        for (bad, error) in [
            (query.clone().set("scope", "write"), "invalid_scope"),
            (query.clone().set("resource", "https://other.example"), "invalid_target"),
            (app.query(), "invalid_request"),
        ] {
            expect_redirect(&ada.authorize(&bad).await, &bad, error);
        }
        expect_token_error(&app.client_credentials().send().await, "unauthorized_client");
        let code = ada.allow(&query).await.code();
        let tokens = Tokens::of(&app.redeem(&code).set("code_verifier", VERIFIER).send().await);
        expect_token_error(
            &app.refresh(&tokens.refresh).set("scope", "read write").send().await,
            "invalid_scope",
        );
        let elsewhere = app.refresh(&tokens.refresh).set("resource", "https://other.example");
        expect_token_error(&elsewhere.send().await, "invalid_target");

        let machine = ada.register(&Registration::machine().untick("scope.write")).await;
        expect_token_error(&machine.client_credentials().set("scope", "write").send().await, "invalid_scope");
        machine.client_credentials().send().await.is(200);
        ada.confirm(&machine, "disable").await.is(303);
        expect_basic_401(&machine.client_credentials().send().await);
        app.refresh(&tokens.refresh).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_19_scope_in_every_grant() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::confidential().untick("scope.write")).await;
    let machine = ada.register(&Registration::machine().untick("scope.write")).await;
    for scope in ["unheard_of", "write", "read write", "read unheard_of", "READ", "read\u{e4}", "read,write"]
    {
        let query = app.query().set("scope", scope);
        expect_redirect(&ada.authorize(&query).await, &query, "invalid_scope");
        expect_token_error(&machine.client_credentials().set("scope", scope).send().await, "invalid_scope");
    }
    let code = ada.allow(&app.query().set("scope", "read")).await.code();
    let tokens = Tokens::of(&app.redeem(&code).send().await);
    for scope in ["read write", "write", "unheard_of"] {
        expect_token_error(&app.refresh(&tokens.refresh).set("scope", scope).send().await, "invalid_scope");
    }
    app.refresh(&tokens.refresh).set("scope", "read").send().await.is(200);
    machine.client_credentials().set("scope", "read").send().await.is(200);
}

/// Device codes, mail links, factors and keys come later: until then nothing answers there.
pub async fn not_built(paths: &[&str]) {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    for path in paths {
        assert_eq!(ada.get(path).await.status, 404, "{path}");
        assert_eq!(server.request("POST", path).send().await.status, 404, "{path}");
    }
    ada.get("/o/applications/").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_20_device_page_policy() {
    not_built(&["/o/device/", "/o/device-authorization/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_21_device_bound_to_user() {
    not_built(&["/o/device/", "/o/device-confirm/x/y"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_22_one_time_values_twice() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let form = ada.consent(&app.query()).await;
        let first = ada.submit(&form.clone().press("Authorize")).await.is(303);
        let tokens = Tokens::of(&app.redeem(&first.code()).send().await);
        for again in [form.clone().press("Authorize"), form.clone().press("Cancel")] {
            let answer = ada.submit(&again).await;
            assert_eq!(answer.header("location"), None, "an answered request was answered again");
            expect_error_page(&answer, "invalid_request");
        }
        assert!(app.sees_active(&tokens.access).await, "nothing changes");
        let cancelled = ada.register(&Registration::confidential()).await;
        let form = ada.consent(&cancelled.query()).await;
        ada.submit(&form.clone().press("Cancel")).await.is(303);
        expect_error_page(&ada.submit(&form.press("Authorize")).await, "invalid_request");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_23_mail_proof_other_session() {
    not_built(&["/admin/password_reset/", "/accounts/verify/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_24_recipient_from_request() {
    not_built(&["/admin/password_reset/", "/accounts/email/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_25_skipped_steps() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let stranger = server.browser();
    let login = stranger.get("/admin/login/").await.form("/admin/login/");
    for form in [
        login.clone().without("username").without("password"),
        login.clone().set("username", "ada").without("password"),
        login.clone().set("username", "ada").set("password", ""),
        login.clone().without("username").set("password", PASSWORD),
    ] {
        assert!(matches!(stranger.submit(&form).await.status, 200 | 400), "{form:?}");
        assert!(!stranger.is_logged_in().await);
    }
    let doubled = stranger.request("POST", "/admin/login/").pairs(&login.fields);
    let doubled =
        doubled.add("username", "ada").add("username", "ada").add("password", PASSWORD).send().await;
    assert_eq!(doubled.status, 400);
    stranger.request("POST", "/admin/login/").send().await.is(403);

    // A decision without the consent page, and without the login.
    let consent = ada.consent(&app.query()).await.press("Authorize");
    let answer = stranger.submit(&consent).await;
    assert!(matches!(answer.status, 303 | 400 | 403), "{answer:#?}");
    assert!(!answer.header("location").unwrap_or_default().contains("code="));
    let bare = ada.request("POST", "/o/authorize/").set("allow", "Authorize").send().await;
    assert!(bare.status == 400 || bare.status == 403, "{bare:#?}");

    let path = "/admin/password_change/";
    let change = ada.get(path).await.is(200).form(path);
    let new = "an entirely different phrase";
    for form in [
        change.clone(),
        change.clone().set("new_password1", new).set("new_password2", new),
        change.clone().set("old_password", PASSWORD),
        change.clone().set("old_password", PASSWORD).set("new_password1", new),
    ] {
        assert!(matches!(ada.submit(&form).await.status, 200 | 400), "{form:?}");
    }
    ada.submit(&consent).await.is(303).code();
    server.user("ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_26_refresh_with_other_key() {
    // Key-bound tokens come later; until then no member promises one.
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::public()).await;
    let tokens = ada.tokens(&app).await;
    app.refresh(&tokens.refresh).header("dpop", "a.b.c").send().await.is(200);
}
