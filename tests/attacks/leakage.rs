//! Does anything leak by an address, a header or a proxy that is not ours?

use crate::harness::{Registration, Server, expect_error_page};

#[tokio::test(flavor = "multi_thread")]
async fn adv_85_cors() {
    let server = Server::sqlite().await;
    let spa =
        Registration::public().set("redirect_uris", "https://spa.example/cb").set("application_type", "web");
    let ada = server.user("ada").await;
    let app = ada.register(&spa.set("allowed_origins", "https://spa.example")).await;
    let code = ada.code(&app).await;
    for origin in [
        "https://evil.example",
        "null",
        "https://spa.example.evil.example",
        "http://spa.example",
        "https://SPA.example:444",
    ] {
        let answer = app.redeem("cheese").header("origin", origin).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{origin}");
    }
    for path in ["/o/authorize/", "/admin/login/", "/", "/o/applications/"] {
        let answer = ada.request("GET", path).with_header("origin", "https://spa.example").send().await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    let preflight = server.request("OPTIONS", "/o/token/").header("origin", "https://spa.example");
    let preflight = preflight.header("access-control-request-method", "POST").send().await;
    assert!(preflight.status < 300, "{preflight:#?}");
    let answer = app.redeem(&code).header("origin", "https://spa.example").send().await.is(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://spa.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_86_forwarded_headers() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let path = "/.well-known/oauth-authorization-server";
    let usual = server.get(path).await.is(200).body;
    for (name, value) in [
        ("forwarded", "for=10.9.8.7;host=evil.example;proto=https"),
        ("x-forwarded-for", "10.9.8.7"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "444"),
        ("x-forwarded-prefix", "/evil"),
        ("x_forwarded_for", "10.9.8.7"),
        ("x-real-ip", "10.9.8.7"),
        ("x-original-url", "/resource"),
        ("x-rewrite-url", "/resource"),
        ("host", "evil.example"),
    ] {
        assert_eq!(server.request("GET", path).header(name, value).send().await.body, usual, "{name}");
        let answer = server.request("GET", "/resource").header(name, value).send().await.is(401);
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains(&server.base) && !challenge.contains("evil"), "{name}: {challenge}");
        let login = server.request("GET", "/admin/login/").header(name, value).send().await.is(200);
        assert!(!login.body.contains("evil.example") && !login.body.contains("10.9.8.7"), "{name}");
        let cookie = login.header("set-cookie").unwrap_or_default();
        assert!(!cookie.contains("Secure") && !cookie.contains("evil"), "{name}: {cookie}");
        let landing =
            ada.request("GET", "/o/authorize/").pairs(&app.query().0).header(name, value).send().await;
        assert!(!landing.header("location").unwrap_or_default().contains("evil"), "{name}");
    }
    let code = ada.code(&app).await;
    app.redeem(&code).header("x-forwarded-for", "10.9.8.7").send().await.is(200);
    let detail = ada.get(&format!("/o/applications/{}/", app.client_id)).await.is(200);
    assert!(!detail.body.contains("10.9.8.7"), "the recorded address is the peer's");
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_nothing_leaks_by_url() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let token = ada.tokens(&app).await.access;
    let answer = server.get(&format!("/resource?access_token={token}")).await.is(401);
    assert!(!answer.header("www-authenticate").unwrap().contains("error="), "{answer:#?}");
    let metadata_page = ada.get("/").await.is(200);
    assert_eq!(metadata_page.header("referrer-policy"), Some("same-origin"));
    for path in
        ["/", "/admin/logout/", "/o/applications/", "/o/authorized_tokens/", "/noexist/callback?code=x"]
    {
        let page = ada.get(path).await;
        for third_party in ["src=\"http", "href=\"http", "src=\"//", "@import", "url(http"] {
            assert!(!page.body.contains(third_party), "{path} loads {third_party}");
        }
    }
    server.resource(&token).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_headers_every_route() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let detail = format!("/o/applications/{}/", app.client_id);
    for path in [
        "/",
        "/admin/login/",
        "/admin/logout/",
        "/o/applications/",
        "/o/applications/register/",
        &detail,
        "/o/authorized_tokens/",
        "/noexist",
        "/resource",
        "/static/style.css",
        "/.well-known/oauth-authorization-server",
    ] {
        let answer = ada.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), None, "{path}: not over http");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'") || policy.contains("default-src 'self'"),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        let is_public = path.starts_with("/static") || path.starts_with("/.well-known");
        assert!(
            is_public || answer.header("cache-control").unwrap_or_default().contains("no-store"),
            "{path}"
        );
    }
    let cookie = server.browser().get("/admin/login/").await;
    let cookie = cookie.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    expect_error_page(&ada.authorize(&app.query().set("client_id", "nobody")).await, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_cookies_on_https() {
    let https =
        crate::harness::Setup::new(crate::harness::Engine::Sqlite).set("issuer", "https://login.example");
    let server = https.start().await;
    let answer = server.get("/admin/login/").await.is(200);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-") && cookie.contains("Secure") && !cookie.contains("Domain"),
        "{cookie}"
    );
    assert!(answer.header("strict-transport-security").is_some(), "{answer:#?}");
}

/// The other side of `adv_86`: what a proxy that is ours says of the client's address is believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed() {
    use crate::harness::{Engine, Setup};
    for (trusted, believed) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let server = Setup::new(Engine::Sqlite).set("trusted-proxies", trusted).start().await;
        let admin = server.user("admin").await;
        let app = admin.register(&Registration::machine()).await;
        app.client_credentials().header("x-forwarded-for", "203.0.113.9").send().await.is(200);
        let page = admin.get(&format!("/o/applications/{}/", app.client_id)).await.is(200);
        assert_eq!(page.body.contains("203.0.113.9"), believed, "{trusted}: {}", page.page_text());
    }
}

/// What a stranger sends through a proxy on this machine to be taken for the proxy, or for this machine.
#[tokio::test(flavor = "multi_thread")]
async fn no_header_switches_the_limit_of_an_address_off() {
    use crate::harness::{Engine, Setup};
    use reqwest::header::{HeaderMap, HeaderValue};
    let lines = |stranger: &[(&'static str, &'static [u8])]| {
        // A proxy appends to what it got, in the same line or in one of its own.
        let mut headers = HeaderMap::new();
        for (name, value) in stranger {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    };
    for headers in [
        lines(&[("x-forwarded-for", b"\xff, 203.0.113.10")]),
        lines(&[("x-forwarded-for", b"\xff"), ("x-forwarded-for", b"203.0.113.10")]),
        lines(&[("forwarded", b"for=1.2.3.4"), ("x-forwarded-for", b"203.0.113.10")]),
        lines(&[("forwarded", b"\xff"), ("x-forwarded-for", b"127.0.0.1, 203.0.113.10")]),
        lines(&[("x-forwarded-for", b"127.0.0.1")]),
        lines(&[("forwarded", b"for=\"[::1]\"")]),
        lines(&[]),
    ] {
        let setup = Setup::new(Engine::Sqlite).set("trusted-proxies", "127.0.0.1");
        let server = setup.set("requests-per-address", "5").start().await;
        let ask = |headers: HeaderMap| {
            server.client.get(format!("{}/resource", server.base)).headers(headers).send()
        };
        let mut statuses = Vec::new();
        for _ in 0..30 {
            statuses.push(ask(headers.clone()).await.unwrap().status().as_u16());
        }
        assert_eq!((statuses[0], statuses[29]), (401, 429), "{headers:?}");
        // Nobody else pays for it.
        assert_eq!(ask(lines(&[("x-forwarded-for", b"203.0.113.11")])).await.unwrap().status(), 401);
    }
}
