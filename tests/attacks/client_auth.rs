//! Can somebody be a client they are not? (RFC 6749 §2.3, RFC 9700 §2.5)

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::harness::{
    Engine, Registration, Server, Setup, expect_basic_401, expect_redirect, expect_token_error,
    on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn adv_63_authorization_header() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let credentials = STANDARD.encode(format!("{}:{}", app.client_id, app.secret));
    let bare = app.client_credentials().without("client_id").without("client_secret");
    for scheme in ["Basic", "basic", "BASIC"] {
        bare.clone().header("authorization", &format!("{scheme} {credentials}")).send().await.is(200);
    }
    let twice = bare.clone().header("authorization", &format!("Basic {credentials}"));
    let twice = twice.header("authorization", &format!("Basic {credentials}"));
    expect_token_error(&twice.send().await, "invalid_request");
    let no_colon = STANDARD.encode(&app.client_id);
    let not_text = STANDARD.encode(b"\xff\xfe:x");
    for broken in [
        "Basic",
        "Basic ",
        &format!("Basic\t{credentials}"),
        &format!("Basic {no_colon}"),
        "Basic !!!",
        &format!("Basic {not_text}"),
        &format!("Basic {}", STANDARD.encode(":")),
        "Bearer x",
        "cheese",
        "",
    ] {
        expect_basic_401(&bare.clone().header("authorization", broken).send().await);
    }
    let long = format!("Basic {}", "A".repeat(1_000_000));
    match bare.clone().header("authorization", &long).try_send().await {
        Ok(response) => assert_eq!(response.status(), 431),
        // The server may close before it has read all of it.
        Err(error) => assert!(error.is_request() || error.is_body() || error.is_connect(), "{error:?}"),
    }
    bare.header("authorization", &format!("Basic {credentials}")).send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_64_basic_decoder() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::machine().set("client_secret", "s:x y-z~long enough")).await;
    let bare = app.client_credentials().without("client_id").without("client_secret");
    let id = &app.client_id;
    let send =
        |credentials: String| bare.clone().header("authorization", &format!("Basic {credentials}")).send();
    for secret in ["s%3Ax+y%2Dz~long+enough", "s:x%20y-z%7Elong%20enough", "s%3ax+y-z~long+enough"] {
        send(STANDARD.encode(format!("{id}:{secret}"))).await.is(200);
    }
    let good = STANDARD.encode(format!("{id}:s%3Ax+y%2Dz~long+enough"));
    for secret in ["s%zzx y-z~long enough", "s%3Ax+y%2Dz~long+enough%", "s%3Ax%2By-z~long+enough", "%ff"] {
        expect_basic_401(&send(STANDARD.encode(format!("{id}:{secret}"))).await);
    }
    let padded = format!("{good}=");
    let blank = format!("{} {}", &good[..8], &good[8..]);
    let trimmed = good.trim_end_matches('=').to_owned();
    for broken in [padded, blank, format!("{good}!")] {
        expect_basic_401(&send(broken).await);
    }
    if trimmed != good {
        expect_basic_401(&send(trimmed).await);
    }
    // The url-safe alphabet is another one; `>` and `?` make the difference visible.
    let other = ada.register(&Registration::machine().set("client_secret", "?>?>?>?>?>?>?>?>")).await;
    let plain = format!("{}:?>?>?>?>?>?>?>?>", other.client_id);
    let request = other.client_credentials().without("client_id").without("client_secret");
    let standard = request.clone().header("authorization", &format!("Basic {}", STANDARD.encode(&plain)));
    standard.send().await.is(200);
    let url_safe = URL_SAFE_NO_PAD.encode(&plain);
    assert!(url_safe.contains(['-', '_']), "{url_safe}");
    expect_basic_401(&request.header("authorization", &format!("Basic {url_safe}")).send().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_65_grant_matrix() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let machine = ada.register(&Registration::machine()).await;
    expect_token_error(&app.client_credentials().send().await, "unauthorized_client");
    expect_token_error(&machine.redeem("cheese").send().await, "unauthorized_client");
    expect_token_error(&machine.refresh("cheese").send().await, "unauthorized_client");
    let with_uri = Registration::machine().set("redirect_uris", "https://app.example/cb");
    let machine = ada.register(&with_uri).await;
    let query = machine.query();
    expect_redirect(&ada.authorize(&query).await, &query, "unauthorized_client");
    for grant in [
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "implicit",
    ] {
        expect_token_error(
            &app.post("/o/token/").set("grant_type", grant).send().await,
            "unsupported_grant_type",
        );
    }
    machine.client_credentials().send().await.is(200);
    ada.tokens(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_66_two_authentications() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::machine()).await;
    let other = ada.register(&Registration::machine()).await;
    let basic = app.client_credentials().basic(&app.client_id, &app.secret);
    // Both at once, even if both are right; and before any secret is checked.
    for secret in [app.secret.as_str(), "wrong"] {
        let both = basic.clone().set("client_id", &app.client_id).set("client_secret", secret);
        expect_token_error(&both.send().await, "invalid_request");
    }
    let wrong_header =
        app.client_credentials().basic(&app.client_id, "wrong").set("client_secret", &app.secret);
    expect_token_error(&wrong_header.send().await, "invalid_request");
    expect_token_error(&basic.clone().set("client_id", &other.client_id).send().await, "invalid_request");
    let assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let asserted = basic.clone().set("client_assertion_type", assertion).set("client_assertion", "a.b.c");
    expect_token_error(&asserted.send().await, "invalid_request");
    basic.set("client_id", &app.client_id).send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_client_auth() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        expect_basic_401(&app.redeem(&code).without("client_secret").send().await);
        app.redeem(&code).basic(&app.client_id, &app.secret).send().await.is(200);
        let public = ada.register(&Registration::public()).await;
        let code = ada.code(&public).await;
        expect_basic_401(&public.redeem(&code).set("client_secret", "invented").send().await);
        expect_basic_401(&public.redeem(&code).basic(&public.client_id, "invented").send().await);
        public.redeem(&code).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_no_password_grant() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let request = app.post("/o/token/").set("grant_type", "password");
    let request = request.set("username", "ada").set("password", crate::harness::PASSWORD);
    expect_token_error(&request.send().await, "unsupported_grant_type");
    ada.tokens(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_sub_namespaces() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    let sub = app.introspect(&tokens.access).send().await.text("sub");
    for shaped in [sub.as_str(), "0193a5f2-7bd4-7470-8a51-9f3c2e10aa42"] {
        let (answer, _) = ada.try_register(&Registration::machine().set("client_id", shaped)).await;
        assert_eq!(answer.status, 200, "{shaped} was registered as a client id");
    }
    let machine = ada.register(&Registration::machine().set("client_id", "nightly-job")).await;
    let token = machine.client_credentials().send().await.text("access_token");
    let said = machine.introspect(&token).send().await.json();
    assert_eq!(said["sub"], "nightly-job");
    assert!(said.get("username").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn v21_no_query_credentials() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let query =
        format!("?client_id={}&client_secret={}&grant_type=client_credentials", app.client_id, app.secret);
    let bare = app.client_credentials().without("client_secret");
    expect_basic_401(&bare.at(&query).send().await);
    app.client_credentials().send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn v21_parameters() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let good = app.client_credentials();
    good.clone().set("utm_source", "letter").set("scope", "").send().await.is(200);
    for (name, value) in [
        ("grant_type", "client_credentials"),
        ("client_id", app.client_id.as_str()),
        ("client_secret", app.secret.as_str()),
    ] {
        expect_token_error(&good.clone().add(name, value).send().await, "invalid_request");
    }
    expect_token_error(
        &good.clone().set("scope", "read").add("scope", "read").send().await,
        "invalid_request",
    );
    let resources = good.add("resource", "https://a.example/").add("resource", "https://b.example/");
    resources.send().await.is(200);
}

/// A secret that a person chose costs 20 ms and 19 MiB to look at, and anybody may send a wrong one: neither
/// logins nor the client itself may have to wait for those who do.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_from_one_network_lock_nobody_out() {
    let server = Setup::new(Engine::Sqlite).set("trusted-proxies", "127.0.0.1").start().await;
    let ada = server.user("ada").await;
    let shop = ada.register(&Registration::machine().set("client_secret", "a secret somebody chose")).await;
    let from = |secret: &str, address: &str| {
        shop.with_secret(secret).client_credentials().header("x-forwarded-for", address)
    };
    let mut guesses = tokio::task::JoinSet::new();
    for guess in 0..150 {
        // Whoever has one IPv6 address has many.
        let request = from(&format!("guess {guess}"), &format!("2001:db8::{guess}"));
        guesses.spawn(async move { request.send().await });
    }
    // The client itself: its secret has not been looked at before, so nothing is remembered.
    from(&shop.secret, "203.0.113.9").send().await.is(200);
    for _ in 0..9 {
        server.browser().login("ada").await;
    }
    let answers = guesses.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)), "{answers:#?}");
    assert!(refused.len() >= 130, "{} of 150 were hashed", 150 - refused.len());
    assert_eq!(refused[0].error(), "temporarily_unavailable");
    let wait: u64 = refused[0].header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    // What has been found right is so beside whoever guesses, and another client is none of its business.
    from(&shop.secret, "2001:db8::1").send().await.is(200);
    let other =
        ada.register(&Registration::machine().set("client_secret", "another secret of somebody")).await;
    other.client_credentials().header("x-forwarded-for", "2001:db8::1").send().await.is(200);
}
