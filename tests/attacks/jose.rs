//! Is a JWT ever believed? Assertions, request objects, proofs, hints and JWT access tokens come later;
//! until then each is refused or has no effect, whatever is in it. What is sent is what attackers send.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::binding::not_built;
use crate::harness::{
    App, Browser, Registration, Server, expect_basic_401, expect_bearer_401, expect_dead, expect_redirect,
    expect_token_error, expect_too_large,
};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn jwt(header: &Value, claims: &Value) -> String {
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode([7; 32]))
}

fn claims(app: &App) -> Value {
    json!({
        "iss": app.client_id, "sub": app.client_id, "aud": app.base, "exp": 4_102_444_800_i64, "jti": "1",
        "scope": "read write", "client_id": app.client_id
    })
}

/// Each of these, in every place where a JWT could be believed.
async fn never_believed(make: impl Fn(&App) -> Vec<String>) {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let machine = ada.register(&Registration::machine()).await;
    let app = ada.register(&Registration::confidential()).await;
    for text in make(&machine) {
        refused_as_a_credential(&server, &machine, &text).await;
        without_effect_at_authorize(&ada, &app, &text).await;
    }
    machine.client_credentials().send().await.is(200);
    ada.tokens(&app).await;
}

async fn refused_as_a_credential(server: &Server, machine: &App, text: &str) {
    let bare = machine.client_credentials().without("client_secret");
    let asserted = bare.set("client_assertion_type", ASSERTION_TYPE).set("client_assertion", text);
    expect_basic_401(&asserted.send().await);
    expect_token_error(
        &machine.client_credentials().set("client_assertion", text).send().await,
        "invalid_request",
    );
    expect_dead(&machine.introspect(text).send().await);
    expect_bearer_401(&server.resource(text).await);
    // A proof binds nothing and opens nothing.
    let proof = machine.client_credentials().header("dpop", text).send().await.is(200);
    assert_eq!(proof.text("token_type"), "Bearer");
}

async fn without_effect_at_authorize(ada: &Browser, app: &App, text: &str) {
    ada.authorize(&app.query().set("id_token_hint", text)).await.is(200).shows("Reports");
    let query = app.query().set("request", text);
    expect_redirect(&ada.authorize(&query).await, &query, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_54_algorithm_confusion() {
    never_believed(|app| {
        let headers = [
            json!({ "alg": "none" }),
            json!({ "alg": "nOnE", "typ": "JWT" }),
            json!({ "alg": "HS256", "kid": "../x" }),
            json!({ "alg": "RS256", "jku": "https://evil.example/jwks" }),
            json!({ "alg": "RS256", "jwk": { "kty": "RSA", "n": "AQAB", "e": "AQAB" } }),
        ];
        let signed = headers.iter().map(|header| jwt(header, &claims(app)));
        let unsigned = format!("{}.{}.", part(&headers[0]), part(&claims(app)));
        signed.chain([unsigned]).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_55_claims_dropped_or_false() {
    never_believed(|app| {
        let changed = |name: &str, value: Value| {
            let mut claims = claims(app);
            claims[name] = value;
            jwt(&json!({ "alg": "RS256" }), &claims)
        };
        vec![
            changed("iss", Value::Null),
            changed("sub", json!(["a"])),
            changed("aud", json!("https://evil.example")),
            changed("exp", json!(1)),
            changed("exp", json!("soon")),
            changed("jti", json!({})),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_56_assertion_replay() {
    never_believed(|app| vec![jwt(&json!({ "alg": "ES256" }), &claims(app)); 2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_57_no_jwe_no_zip() {
    never_believed(|app| {
        let bomb =
            json!({ "alg": "PBES2-HS256+A128KW", "p2c": 1_000_000_000, "enc": "A128GCM", "zip": "DEF" });
        let critical = json!({ "alg": "RS256", "crit": ["b64"], "b64": false });
        vec![format!("{}.a.b.c.d", part(&bomb)), jwt(&bomb, &claims(app)), jwt(&critical, &claims(app))]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_58_dots() {
    let server = Server::sqlite().await;
    let machine = server.user("ada").await.register(&Registration::machine()).await;
    let dots = ".".repeat(60_000);
    expect_dead(&machine.introspect(&dots).send().await);
    let asserted = machine.client_credentials().without("client_secret").set("client_assertion", &dots);
    expect_basic_401(&asserted.send().await);
    expect_too_large(machine.introspect(&".".repeat(1_000_000))).await;
    // In a header it is larger than a head may be.
    let answer = server.request("GET", "/resource").bearer(&dots).send().await;
    assert_eq!(answer.status, 431, "{answer:#?}");
    machine.client_credentials().send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_59_jwt_parser_never_panics() {
    never_believed(|_| {
        [
            "..",
            "...",
            "e30.e30.",
            "e30.e30.e30",
            "a.b",
            "\u{e9}.\u{e9}.\u{e9}",
            "====",
            "bnVsbA.bnVsbA.",
            "W10.W10.W10",
        ]
        .map(str::to_owned)
        .into_iter()
        .filter(|text| text.is_ascii())
        .collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_60_two_defects() {
    never_believed(|app| {
        let mut expired = claims(app);
        expired["exp"] = json!(1);
        let mut foreign = expired.clone();
        foreign["aud"] = json!("https://evil.example");
        vec![jwt(&json!({ "alg": "none" }), &expired), jwt(&json!({ "alg": "RS256", "typ": "x" }), &foreign)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_61_audience_injection() {
    never_believed(|app| {
        let audiences = [
            json!([app.base]),
            json!([app.base, "x"]),
            json!(format!("{}/", app.base)),
            json!(format!("{}/o/token/", app.base)),
        ];
        let of = |audience: &Value| {
            let mut claims = claims(app);
            claims["aud"] = audience.clone();
            jwt(&json!({ "alg": "RS256" }), &claims)
        };
        audiences.iter().map(of).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_62_typed_claims() {
    never_believed(|app| {
        [json!(1), json!([]), json!({}), Value::Null]
            .iter()
            .map(|value| {
                let claims =
                    json!({ "iss": value, "sub": app.client_id, "htu": value, "htm": value, "iat": value });
                jwt(&json!({ "alg": value, "typ": "dpop+jwt", "jwk": value }), &claims)
            })
            .collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_79_totp_once() {
    not_built(&["/o/factors/", "/admin/login/totp/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_80_acr_is_earned() {
    // No class of authentication is promised, and asking for one makes nobody more than they are.
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let metadata = server.get("/.well-known/oauth-authorization-server").await.is(200).json();
    assert!(metadata.get("acr_values_supported").is_none(), "{metadata}");
    let code = ada.allow(&app.query().set("acr_values", "phr phrh")).await.code();
    let tokens = app.redeem(&code).send().await.is(200);
    let said = app.introspect(&tokens.text("access_token")).send().await.json();
    assert!(said.get("acr").is_none(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_82_webauthn_checks() {
    not_built(&["/admin/login/passkey/", "/o/passkeys/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_87_outbound_fetch() {
    // Nothing is fetched: a client id that is an address is no client, and no document is asked for.
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/client.json", listener.local_addr().unwrap());
    let answer = ada.authorize(&app.query().set("client_id", &url).set("logo_uri", &url)).await;
    crate::harness::expect_error_page(&answer, "invalid_request");
    expect_basic_401(&app.post("/o/token/").set("client_id", &url).send().await);
    let called = tokio::time::timeout(std::time::Duration::from_millis(300), listener.accept()).await;
    assert!(called.is_err(), "somebody was called");
    ada.tokens(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_88_registration_metadata() {
    not_built(&["/o/register/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_dcr() {
    not_built(&["/o/register/", "/o/register/x/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_recovery() {
    not_built(&["/admin/password_reset/", "/accounts/password_reset/"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_upstream() {
    not_built(&["/o/upstream/", "/accounts/social/login/"]).await;
}
