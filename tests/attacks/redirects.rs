//! Can a code be sent elsewhere? Redirect URIs, their comparison and their registration.
//! RFC 9700 §2.1, §4.1, §4.11; RFC 8252 §7.

use std::fmt::Write;

use crate::harness::{
    App, Browser, Query, Registration, Server, expect_error_page, expect_redirect, expect_token_error,
};

async fn refused_everywhere(browser: &Browser, app: &App, uris: &[&str]) {
    for uri in uris {
        let answer = browser.authorize(&app.query().set("redirect_uri", uri)).await;
        assert!(answer.header("location").is_none(), "{uri}: {answer:#?}");
        expect_error_page(&answer, "invalid_request");
    }
    browser.allow(&app.query()).await.code();
}

async fn not_registrable(
    browser: &Browser,
    registration: &Registration,
    field: &str,
    uris: &[&str],
    text: &str,
) {
    for uri in uris {
        let (answer, _) = browser.try_register(&registration.clone().set(field, uri)).await;
        assert_eq!(answer.status, 200, "{uri:?} was registered: {answer:#?}");
        let page = answer.page_text();
        assert!(answer.body.contains("aria-invalid=\"true\"") && page.contains(text), "{uri:?}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_01_userinfo_in_authority() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let uris = [
        "https://app.example@evil.example/cb",
        "https://app.example:443@evil.example/cb",
        "https://evil.example\\@app.example/cb",
        "https://app.example\t@evil.example/cb",
        "https://app.example\r\n@evil.example/cb",
        "https://app.exam\nple/cb",
    ];
    refused_everywhere(&ada, &app, &uris).await;
    not_registrable(&ada, &Registration::confidential(), "redirect_uris", &uris, "redirect uri").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_02_path_tricks() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let uris = ["/cb/..;/x", "/cb/../x", "/cb/%2e%2e/x", "/cb//", "/cb/", "/cb;a=1", "/cb%00", "/cb\0"];
    let uris: Vec<_> = uris.iter().map(|path| format!("https://app.example{path}")).collect();
    refused_everywhere(&ada, &app, &uris.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// Every URI that differs from this one by one byte inserted, deleted, replaced or case-flipped.
fn one_byte_edits(uri: &str, bytes: std::ops::RangeInclusive<u8>) -> Vec<Vec<u8>> {
    let uri = uri.as_bytes();
    let mut edits = Vec::new();
    for place in 0..=uri.len() {
        let (before, after) = uri.split_at(place);
        for byte in bytes.clone() {
            edits.push([before, &[byte], after].concat());
            if let Some((_, behind)) = after.split_first() {
                edits.push([before, &[byte], behind].concat());
            }
        }
        if let Some((_, behind)) = after.split_first() {
            edits.push([before, behind].concat());
        }
    }
    edits.retain(|edit| edit != uri);
    edits
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"))
}

async fn all_refused(browser: &Browser, app: &App, edits: &[Vec<u8>]) {
    let query = app.query().without("redirect_uri").without("state");
    for chunk in edits.chunks(64) {
        let requests = chunk.iter().map(|edit| {
            let request = browser.request("GET", "/o/authorize/");
            let mut url = String::from("?");
            for (name, value) in &query.0 {
                write!(url, "{name}={value}&").unwrap();
            }
            let request = request.at(&format!("{url}redirect_uri={}", percent_encoded(edit)));
            tokio::spawn(request.send())
        });
        for (request, edit) in requests.collect::<Vec<_>>().into_iter().zip(chunk) {
            let answer = request.await.unwrap();
            let shown = String::from_utf8_lossy(edit);
            assert!(answer.status == 400 && answer.header("location").is_none(), "{shown:?}: {answer:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_03_one_byte_edit() {
    // Exhaustive rather than sampled: more than 10,000 neighbours of A's URI, and P's.
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let edits = one_byte_edits("https://app.example/cb", 0..=255);
    assert!(edits.len() > 10_000, "{}", edits.len());
    all_refused(&ada, &app, &edits).await;
    ada.allow(&app.query()).await.code();

    let native = ada.register(&Registration::public().set("redirect_uris", "http://127.0.0.1:8080/cb")).await;
    let port_only = |edit: &Vec<u8>| {
        let text = String::from_utf8_lossy(edit);
        let port = text.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/cb"));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut edits = one_byte_edits("http://127.0.0.1:8080/cb", b' '..=b'~');
    edits.retain(|edit| !port_only(edit));
    all_refused(&ada, &native, &edits).await;
    ada.allow(&native.query().set("redirect_uri", "http://127.0.0.1:8081/cb")).await.code();
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_04_loopback_lookalikes() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let native = ada.register(&Registration::public()).await;
    let lookalikes = [
        "http://127.0.0.1@evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost/cb",
        "http://127.1/cb",
        "http://2130706433/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://127.0.0.1:49152@evil.example/cb",
        "http://127.0.0.1:99999/cb",
    ];
    refused_everywhere(&ada, &native, &lookalikes).await;
    for port in [":49152", ""] {
        ada.allow(&native.query().set("redirect_uri", &format!("http://127.0.0.1{port}/cb"))).await.code();
    }
    let localhost = ada.register(&Registration::public().set("redirect_uris", "http://localhost/cb")).await;
    ada.allow(&localhost.query().set("redirect_uri", "http://localhost:49152/cb")).await.code();
    refused_everywhere(&ada, &localhost, &["http://127.0.0.1/cb"]).await;

    let web =
        ada.register(&Registration::confidential().set("redirect_uris", "http://127.0.0.1:8000/cb")).await;
    refused_everywhere(&ada, &web, &["http://127.0.0.1:8001/cb", "http://127.0.0.1/cb"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_05_script_schemes() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let uris = [
        "JaVaScRiPt:alert(1)",
        "javascript://app.example/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://app.example/x",
        "ftp://x/y",
        "about:blank",
    ];
    for registration in [Registration::confidential(), Registration::public()] {
        for field in ["redirect_uris", "post_logout_redirect_uris"] {
            not_registrable(&ada, &registration, field, &uris, "invalid_scheme").await;
        }
    }
    let (answer, _) =
        ada.try_register(&Registration::confidential().set("redirect_uris", "com.example.app:/cb")).await;
    answer.is(200).shows("invalid_scheme");
    let origins = Registration::confidential().set("allowed_origins", "javascript:alert(1)");
    assert_eq!(ada.try_register(&origins).await.0.status, 200);

    let native = ada.register(&Registration::public().set("redirect_uris", "com.example.app:/cb")).await;
    assert!(ada.allow(&native.query()).await.location().starts_with("com.example.app:/cb?"));
    // Blanks separate URIs in the form, so a leading one is not part of any.
    ada.register(&Registration::confidential().set("redirect_uris", " https://app.example/cb")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_06_response_parameter_pollution() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let names = ["code", "state", "iss", "error", "%63ode"];
    let polluted: Vec<_> = names.iter().map(|name| format!("https://app.example/cb?{name}=1")).collect();
    let polluted: Vec<_> = polluted.iter().map(String::as_str).collect();
    not_registrable(&ada, &Registration::confidential(), "redirect_uris", &polluted, "redirect uri").await;

    for (name, value) in [("client_id", app.client_id.as_str()), ("redirect_uri", app.redirect_uri.as_str())]
    {
        expect_error_page(&ada.authorize(&app.query().add(name, value)).await, "invalid_request");
    }
    for name in ["scope", "response_type"] {
        let query = app.query().set(name, "code").add(name, "code");
        expect_redirect(&ada.authorize(&query).await, &query, "invalid_request");
    }
    let doubled = app.query().add("state", "other");
    expect_redirect(&ada.authorize(&doubled).await, &app.query().without("state"), "invalid_request");

    let app =
        ada.register(&Registration::confidential().set("redirect_uris", "https://app.example/cb?a=1")).await;
    let location = ada.allow(&app.query()).await.location();
    assert!(location.starts_with("https://app.example/cb?a=1&"), "{location}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_07_uri_is_not_a_pattern() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let dotted = Registration::confidential().set("redirect_uris", "https://foo.example.com/cb");
    let app = ada.register(&dotted).await;
    refused_everywhere(&ada, &app, &["https://fooaexample.com/cb"]).await;
    let patterns = ["https://*.example.com/cb", "https://a.example/*"];
    not_registrable(&ada, &Registration::confidential(), "redirect_uris", &patterns, "wildcards not allowed")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_08_query_params_fragment() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app =
        ada.register(&Registration::confidential().set("redirect_uris", "https://app.example/cb?a=1")).await;
    let tails = ["", "?a=1&b=2", "?b=2&a=1", ";x?a=1", "?a=1#", "?a=1#f", "?a=1&", "?"];
    let uris: Vec<_> = tails.iter().map(|tail| format!("https://app.example/cb{tail}")).collect();
    refused_everywhere(&ada, &app, &uris.iter().map(String::as_str).collect::<Vec<_>>()).await;
    refused_everywhere(&ada, &app, &["https://u@app.example/cb?a=1"]).await;
    let fragments = ["https://app.example/cb#", "https://app.example/cb#f"];
    not_registrable(&ada, &Registration::confidential(), "redirect_uris", &fragments, "fragment not allowed")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_09_case_flips() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app =
        ada.register(&Registration::confidential().set("redirect_uris", "https://app.example/cb?a=1")).await;
    let uris = [
        "https://app.example/CB?a=1",
        "https://app.example/cb?A=1",
        "HTTPS://APP.EXAMPLE/cb?a=1",
        "https://App.example/cb?a=1",
    ];
    refused_everywhere(&ada, &app, &uris).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_10_loopback_other_parts() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let app = ada.register(&Registration::public()).await;
    let uris = [
        "http://127.0.0.1/other",
        "https://127.0.0.1/cb",
        "http://127.0.0.1/cb?x=1",
        "http://[::1]/cb",
        "http://127.0.0.1/CB",
        "http://127.0.0.1:1234/",
        "http://127.0.0.2/cb",
    ];
    refused_everywhere(&ada, &app, &uris).await;
}

fn malformed_uris() -> Vec<String> {
    let seeds = [
        "http://[::1",
        "http://%zz",
        "//x",
        "\0",
        "http://",
        "https://",
        "https:///",
        "http://a b/",
        "://x",
        "https://[::g]/",
        "https://a:b/",
        "https://a:99999/",
        "https://%00/",
        "\u{202e}",
        "https://\u{e4}/",
        "?",
        "#",
        "https:app.example",
        "https://.",
        "https://a..b/%",
    ];
    let mut uris: Vec<_> = seeds.iter().map(|&seed| seed.to_owned()).collect();
    for (number, seed) in seeds.iter().enumerate() {
        uris.extend([
            format!("{seed}\u{7f}{number}"),
            format!(" {seed}"),
            format!("{seed}{seed}"),
            format!("x{seed}"),
            format!("{seed}\u{fffd}"),
            format!("%{seed}"),
            format!("{seed}\\"),
            format!("[{seed}]"),
            format!("https://{seed}"),
        ]);
    }
    uris.push(format!("https://app.example/{}", "a".repeat(8000)));
    uris
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_11_malformed_uris() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let machine = ada.register(&Registration::machine()).await;
    let uris = malformed_uris();
    assert!(uris.len() >= 200, "{}", uris.len());
    for uri in &uris {
        let answer = ada.authorize(&app.query().set("redirect_uri", uri)).await;
        assert!(answer.status == 400 && answer.header("location").is_none(), "{uri:?}: {answer:#?}");
        let code = app.redeem("cheese").set("redirect_uri", uri).send().await;
        assert_eq!(code.status, 400, "{uri:?}: {code:#?}");
        let asked = machine.client_credentials().set("resource", uri).send().await;
        if asked.status != 200 {
            expect_token_error(&asked, "invalid_target");
        }
    }
    for uri in ["http://[::1", "http://%zz", "//x", "\0", "https://app.example/#f"] {
        let query = app.query().add("resource", uri);
        expect_redirect(&ada.authorize(&query).await, &query, "invalid_target");
        expect_token_error(&machine.client_credentials().set("resource", uri).send().await, "invalid_target");
        for field in ["redirect_uris", "post_logout_redirect_uris"] {
            let (answer, _) = ada.try_register(&Registration::confidential().set(field, uri)).await;
            assert_eq!(answer.status, 200, "{uri:?} in {field}: {answer:#?}");
        }
    }
    ada.allow(&app.query()).await.code();
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_exact_redirect() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let two = Registration::confidential()
        .set("redirect_uris", "https://app.example/cb\nhttps://app.example/other");
    let app = ada.register(&two).await;
    for uri in ["https://app.example/cb", "https://app.example/other"] {
        let answer = ada.allow(&app.query().set("redirect_uri", uri)).await;
        assert!(answer.location().starts_with(&format!("{uri}?")), "{}", answer.location());
    }
    refused_everywhere(
        &ada,
        &app,
        &["https://app.example/", "https://app.example/cb https://app.example/other"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_no_open_redirector() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let errors = |query: Query| {
        [
            query.clone().without("response_type"),
            query.clone().set("response_type", "token"),
            query.clone().set("scope", "unheard_of"),
            query.clone().set("prompt", "cheese"),
            query,
        ]
    };
    for query in errors(app.query().set("client_id", "nobody")) {
        expect_error_page(&ada.authorize(&query).await, "invalid_request");
    }
    for query in errors(app.query().set("redirect_uri", "https://evil.example/")) {
        expect_error_page(&ada.authorize(&query).await, "invalid_request");
    }
    // An anonymous browser logs in before it is sent anywhere with an error (RFC 9700 §4.11.2).
    let bad_scope = app.query().set("scope", "unheard_of");
    let answer = server.browser().authorize(&bad_scope).await.is(302);
    assert!(answer.location().starts_with("/admin/login/"), "{}", answer.location());
    expect_redirect(&ada.authorize(&bad_scope).await, &bad_scope, "invalid_scope");
    // The login page sends nobody away from this server.
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:x",
    ] {
        let browser = server.browser();
        let form = browser.get("/admin/login/").await.is(200).form("/admin/login/");
        let form = form.set("username", "ada").set("password", crate::harness::PASSWORD).set("next", next);
        let location = browser.submit(&form).await.is(303).location();
        assert!(
            location.starts_with('/') && !location.starts_with("//") && !location.contains('\\'),
            "{location}"
        );
        assert!(!location.contains("evil") || location.starts_with("/%"), "{location}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_iss_everywhere() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let issuer = server.get("/.well-known/oauth-authorization-server").await.text("issuer");
    let bad = app.query().set("scope", "unheard_of");
    let cancelled = ada.submit(&ada.consent(&app.query()).await.press("Cancel")).await;
    let silent = ada.authorize(&app.query().set("prompt", "none")).await;
    for answer in [ada.authorize(&bad).await, cancelled, silent, ada.allow(&app.query()).await] {
        assert_eq!(answer.sent("iss").as_deref(), Some(issuer.as_str()), "{}", answer.location());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_no_implicit() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    for kind in ["token", "id_token", "id_token token", "code token", "code id_token", "none"] {
        let query = app.query().set("response_type", kind).set("nonce", "n");
        let answer = ada.authorize(&query).await;
        let error = answer.sent("error").unwrap();
        let allowed = if kind == "token" {
            ["unsupported_response_type", "unauthorized_client"]
        } else {
            ["unsupported_response_type"; 2]
        };
        assert!(allowed.contains(&error.as_str()), "{kind}: {error}");
        expect_redirect(&answer, &query, &error);
    }
    for grant in ["implicit", "password", "openid-hybrid"] {
        let (answer, _) =
            ada.try_register(&Registration::confidential().set("authorization_grant_type", grant)).await;
        assert_eq!(answer.status, 200, "{grant} was registered");
    }
    ada.allow(&app.query()).await.code();
}
