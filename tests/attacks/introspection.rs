//! Does a token say too much, to whom it should not, or for too long? (RFC 7662 §2.2 and §4)

use crate::harness::server::on_both_engines_with;
use crate::harness::{
    Engine, Registration, Server, Setup, Tokens, expect_basic_401, expect_bearer_401, expect_dead,
    expect_redirect, expect_token_error, on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn adv_40_foreign_audience() {
    on_both_engines(async |server| {
        let admin = server.user("admin").await;
        let (ada, app) = server.ada_and_app().await;
        let other = ada.register(&Registration::machine()).await;
        let serving = Registration::machine().set("resources", "https://api.example/");
        let serving = admin.register(&serving).await;
        let entitled = admin.register(&Registration::machine().tick("introspect_everything")).await;
        let public = ada.register(&Registration::public()).await;

        let query = app.query().set("resource", "https://api.example/");
        let code = ada.allow(&query).await.code();
        let token =
            app.redeem(&code).set("resource", "https://api.example/").send().await.text("access_token");
        let said = app.introspect(&token).send().await.json();
        assert_eq!(said["aud"], "https://api.example/", "{said}");
        expect_dead(&other.introspect(&token).send().await);
        assert!(entitled.sees_active(&token).await);
        assert!(serving.sees_active(&token).await);
        expect_basic_401(&public.introspect(&token).send().await);
        expect_basic_401(&other.introspect(&token).without("client_secret").send().await);
        expect_bearer_401(&server.resource(&token).await);
        // The right is a superuser's to give.
        let greedy = Registration::machine().tick("introspect_everything");
        let (refused, _) = ada.try_register(&greedy).await;
        refused.is(200).shows("Only a superuser may switch this on.");
    })
    .await;
}

/// Whoever declared to serve a resource could introspect everybody's tokens for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_served_by_word_of_a_superuser_only() {
    on_both_engines(async |server| {
        let admin = server.user("admin").await;
        let bob = server.user("bob").await;
        let (ada, app) = server.ada_and_app().await;
        let code = ada.allow(&app.query().set("resource", "https://api.example/")).await.code();
        let token = app.redeem(&code).send().await.text("access_token");
        // The field is on a superuser's form only, and nobody else's is read.
        let register = "/o/applications/register/";
        assert!(admin.get(register).await.body.contains("name=\"resources\""));
        assert!(!bob.get(register).await.body.contains("name=\"resources\""));
        let greedy = Registration::machine().set("resources", "https://api.example/");
        let (refused, _) = bob.try_register(&greedy).await;
        refused.is(200).shows("Only a superuser may say which resources an application serves");
        let snoop = bob.register(&Registration::machine()).await;
        let edit = format!("/o/applications/{}/update/", snoop.client_id);
        let form = bob.get(&edit).await.is(200).form(&edit);
        let refused = bob.submit(&form.clone().set("resources", "https://api.example/")).await;
        refused.is(200).shows("Only a superuser may say which resources an application serves");
        expect_dead(&snoop.introspect(&token).send().await);
        // What a superuser decided stays when its owner edits the rest.
        let entrusted = admin.get(&edit).await.is(200).form(&edit).set("resources", "https://api.example/");
        admin.submit(&entrusted).await.is(303);
        assert!(snoop.sees_active(&token).await);
        bob.submit(&bob.get(&edit).await.form(&edit).set("name", "Renamed")).await.is(303);
        assert!(snoop.sees_active(&token).await);
        let withdrawn = admin.get(&edit).await.form(&edit).set("resources", "");
        admin.submit(&withdrawn).await.is(303);
        expect_dead(&snoop.introspect(&token).send().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_42_warm_cache_wider_ask() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let other = ada.register(&Registration::machine()).await;
        let machine = ada.register(&Registration::machine()).await;
        let tokens = ada.tokens(&app).await;
        for _ in 0..3 {
            assert!(app.sees_active(&tokens.access).await);
            expect_dead(&other.introspect(&tokens.access).send().await);
        }
        let write = machine.client_credentials().set("scope", "write").send().await.text("access_token");
        assert!(machine.sees_active(&write).await);
        let answer = server.resource(&write).await.is(403);
        assert!(answer.header("www-authenticate").unwrap().contains("scope=\"read\""));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_43_cache_key() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let other = ada.register(&Registration::machine()).await;
    let Tokens { access, .. } = ada.tokens(&app).await;
    let usual = app.introspect(&access).send().await.is(200).body;
    for hint in ["access_token", "refresh_token", "cheese"] {
        assert_eq!(app.introspect(&access).set("token_type_hint", hint).send().await.body, usual);
        expect_dead(&other.introspect(&access).set("token_type_hint", hint).send().await);
    }
    assert_eq!(app.post("/o/introspect").set("token", &access).send().await.body, usual);
    expect_dead(&app.introspect(&access.to_uppercase()).send().await);
    expect_dead(&app.introspect(&format!("{access} ")).send().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_45_token_mutations() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let one = ada.tokens(&app).await.access;
    let two = ada.tokens(&app).await.access;
    let mut mutants: Vec<String> = (0..one.len()).map(|length| one[..length].to_owned()).collect();
    mutants.extend((1..one.len()).map(|start| one[start..].to_owned()));
    for (place, letter) in one.char_indices() {
        let other = if letter == 'A' { 'B' } else { 'A' };
        mutants.push(format!("{}{other}{}", &one[..place], &one[place + 1..]));
        let flipped =
            if letter.is_uppercase() { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() };
        if flipped != letter {
            mutants.push(format!("{}{flipped}{}", &one[..place], &one[place + 1..]));
        }
    }
    for added in ["=", " ", "\0", "A", "\u{200b}"] {
        mutants.push(format!("{one}{added}"));
        mutants.push(format!("{added}{one}"));
    }
    let middle = one.len() / 2;
    mutants.push(format!("{}{}", &one[..middle], &two[middle..]));
    mutants.push(format!("{}{}", &two[..middle], &one[middle..]));
    for mutant in mutants.iter().filter(|mutant| !mutant.is_empty()) {
        expect_dead(&app.introspect(mutant).send().await);
        let sendable = mutant.bytes().all(|byte| byte.is_ascii_graphic());
        if sendable {
            expect_bearer_401(&server.resource(mutant).await);
        }
    }
    assert!(app.sees_active(&one).await && app.sees_active(&two).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_46_expiry_to_the_second() {
    on_both_engines(async |server| {
        let sibling = server.sibling().await;
        let (ada, app) = server.ada_and_app().await;
        let there = crate::harness::App { base: sibling.base.clone(), ..app.clone() };
        let Tokens { access, .. } = ada.tokens(&app).await;
        let said = app.introspect(&access).send().await.json();
        // The other node may take 250 ms to hear of it.
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        for app in [&app, &there] {
            assert!(app.sees_active(&access).await, "warm at {}", app.base);
        }
        let now = said["iat"].as_i64().unwrap();
        let exp = said["exp"].as_i64().unwrap();
        server.advance(exp - now - 1);
        // Within the last second the token may already be short of it by milliseconds of rounding.
        server.advance(1);
        for app in [&app, &there] {
            expect_dead(&app.introspect(&access).send().await);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_47_malformed_is_no_better() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let session = ada.cookie("chancery").expect("the session cookie on a loopback http issuer");
    let mut values: Vec<String> =
        (0..session.len()).step_by(2).map(|cut| session[..cut].to_owned()).collect();
    values.extend((0..60).map(|number| format!("chs_{}", "A".repeat(number * 3))));
    values.extend(
        ["", "=", "\"\"", "null", "undefined", "{}", "admin", "1", "%00", ";", ",", "..", "chs_"]
            .map(str::to_owned),
    );
    values.extend(
        (0..60)
            .map(|number| format!("{session}{}", "=;, \t\"'<>".chars().cycle().nth(number).unwrap()))
            .filter(|v| v.trim() != session && !v.ends_with(';') && !v.ends_with(' ') && !v.ends_with('\t')),
    );
    for value in &values {
        let request =
            server.request("GET", "/o/applications/").header("cookie", &format!("chancery={value}"));
        let answer = request.send().await;
        assert!(matches!(answer.status, 302 | 303 | 400 | 401 | 403), "{value:?}: {answer:#?}");
        let request = server.request("GET", "/resource").header("authorization", &format!("Bearer {value}"));
        let answer = request.send().await;
        assert!(matches!(answer.status, 400 | 401), "{value:?}: {answer:#?}");
    }
    let pair = format!("chancery={session}");
    server.request("GET", "/o/applications/").header("cookie", &pair).send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_audience() {
    let listed = |setup: Setup| {
        setup.set("resources", "https://api.example").set("resources", "https://files.example/v1")
    };
    on_both_engines_with(listed, async |server| {
        let (ada, app) = server.ada_and_app().await;
        let machine = ada.register(&Registration::machine()).await;
        for bad in ["https://other.example/", "not a uri", "https://api.example/#f", "/relative"] {
            let query = app.query().set("resource", bad);
            expect_redirect(&ada.authorize(&query).await, &query, "invalid_target");
            expect_token_error(
                &machine.client_credentials().set("resource", bad).send().await,
                "invalid_target",
            );
        }
        let both =
            app.query().add("resource", "https://api.example").add("resource", "https://files.example/v1");
        let code = ada.allow(&both).await.code();
        // The token request may only narrow.
        let answer = app.redeem(&code).set("resource", "https://api.example").send().await.is(200);
        let said = app.introspect(&answer.text("access_token")).send().await.json();
        assert_eq!(said["aud"], "https://api.example");
        let refreshed = app
            .refresh(&answer.text("refresh_token"))
            .set("resource", "https://files.example/v1")
            .send()
            .await;
        let said = app.introspect(&refreshed.text("access_token")).send().await.json();
        assert_eq!(said["aud"], "https://files.example/v1");

        let narrow = ada.allow(&app.query().set("resource", "https://api.example")).await.code();
        expect_token_error(
            &app.redeem(&narrow).set("resource", "https://files.example/v1").send().await,
            "invalid_target",
        );
        app.redeem(&narrow).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_resource_server() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::machine()).await;
    let ours = format!("{}/resource", server.base);
    for (resource, status) in [(Some(ours.as_str()), 200), (None, 200), (Some("https://api.example/"), 401)] {
        let request = app.client_credentials().set("resource", resource.unwrap_or_default());
        let token = request.send().await.text("access_token");
        assert_eq!(server.resource(&token).await.status, status, "{resource:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_sender_constrained() {
    // Not built: nothing is promised, and a token is never marked as bound.
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let code = ada.code(&app).await;
    let answer = app.redeem(&code).header("dpop", "a.b.c").send().await.is(200);
    assert_eq!(answer.text("token_type"), "Bearer");
    let said = app.introspect(&answer.text("access_token")).send().await.json();
    assert!(said.get("cnf").is_none(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn v21_bearer() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let token = ada.tokens(&app).await.access;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let request =
            server.request("GET", "/resource").header("authorization", &format!("{scheme} {token}"));
        request.send().await.is(200);
    }
    // By header and by body at once (RFC 6750 §2): the GET carries a form body.
    let request = server.request("GET", "/resource").bearer(&token);
    let both = request.body("application/x-www-form-urlencoded", format!("access_token={token}"));
    assert_eq!(both.send().await.is(400).error(), "invalid_request");
    let twice = server.request("GET", "/resource").bearer(&token).header("authorization", "Bearer x");
    assert_eq!(twice.send().await.is(400).error(), "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_metadata_and_tls() {
    let server = Server::sqlite().await;
    server.get("/.well-known/oauth-authorization-server").await.is(200);
    let ada = server.user("ada").await;
    let plain = Registration::confidential().set("redirect_uris", "http://app.example/cb");
    ada.try_register(&plain).await.0.is(200).shows("loopback");
    ada.register(&Registration::confidential().set("redirect_uris", "http://127.0.0.1:9/cb")).await;
    let cli = server.cli();
    cli.run(&["config", "--issuer", "http://login.example"]).failed_about("https");
    cli.run(&["config", "--issuer", "http://login.example", "--allow-insecure-issuer"]).succeeded();
    cli.run(&["config", "--issuer", "https://login.example"]).succeeded();
    drop(Setup::new(Engine::Sqlite));
}
