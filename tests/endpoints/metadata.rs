//! Does the metadata document say what works, and nothing else? (RFC 8414, RFC 9728)

use serde_json::{Value, json};

use crate::harness::server::Engine;
use crate::harness::{Server, Setup};

const PLACES: [&str; 3] = [
    "/.well-known/oauth-authorization-server",
    "/o/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/",
];

#[tokio::test(flavor = "multi_thread")]
async fn one_text_stands_at_every_place() {
    let server = Server::sqlite().await;
    let first = server.get(PLACES[0]).await.is(200);
    for place in PLACES {
        let answer = server.get(place).await.is(200);
        assert_eq!(answer.body, first.body, "{place}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("access-control-allow-credentials").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_names_what_works() {
    let server = Server::sqlite().await;
    let document = server.get(PLACES[0]).await.json();
    let base = &server.base;
    assert_eq!(document["issuer"], json!(base));
    for (member, path) in [
        ("authorization_endpoint", "/o/authorize/"),
        ("token_endpoint", "/o/token/"),
        ("revocation_endpoint", "/o/revoke_token/"),
        ("introspection_endpoint", "/o/introspect/"),
    ] {
        assert_eq!(document[member], json!(format!("{base}{path}")), "{member}");
    }
    assert_eq!(document["scopes_supported"], json!(["read", "write"]));
    assert_eq!(document["response_types_supported"], json!(["code"]));
    assert_eq!(document["response_modes_supported"], json!(["query"]));
    assert_eq!(
        document["grant_types_supported"],
        json!(["authorization_code", "client_credentials", "refresh_token"])
    );
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(document["authorization_response_iss_parameter_supported"], json!(true));
    let methods = |member: &str| {
        let mut names: Vec<_> =
            document[member].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(
        methods("token_endpoint_auth_methods_supported"),
        ["client_secret_basic", "client_secret_post", "none"]
    );
    assert_eq!(
        methods("revocation_endpoint_auth_methods_supported"),
        ["client_secret_basic", "client_secret_post", "none"]
    );
    assert_eq!(
        methods("introspection_endpoint_auth_methods_supported"),
        ["client_secret_basic", "client_secret_post"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_built_is_left_out() {
    let server = Server::sqlite().await;
    let document = server.get(PLACES[0]).await.json();
    for absent in [
        "jwks_uri",
        "userinfo_endpoint",
        "registration_endpoint",
        "device_authorization_endpoint",
        "pushed_authorization_request_endpoint",
        "id_token_signing_alg_values_supported",
        "end_session_endpoint",
        "dpop_signing_alg_values_supported",
        "tls_client_certificate_bound_access_tokens",
    ] {
        assert!(document.get(absent).is_none(), "{absent}");
    }
    for (member, value) in document.as_object().unwrap() {
        assert!(!value.is_null() && value != &json!([]), "{member} is {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_documents_are_404() {
    let server = Server::sqlite().await;
    for path in [
        "/.well-known/openid-configuration",
        "/o/.well-known/openid-configuration",
        "/.well-known/cheese",
        "/o/.well-known/jwks.json",
        "/o/userinfo/",
        "/o/register/",
    ] {
        server.get(path).await.is(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_configured_with_or_without_a_path() {
    let server = Setup::new(Engine::Sqlite).set("issuer", "https://login.example/o").start().await;
    let document = server.get("/.well-known/oauth-authorization-server/o").await.is(200).json();
    assert_eq!(document["issuer"], json!("https://login.example/o"));
    let endpoint = document["token_endpoint"].as_str().unwrap();
    assert!(endpoint.starts_with("https://login.example/") && endpoint.ends_with("/o/token/"), "{endpoint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protected_resource_describes_itself() {
    let server = Server::sqlite().await;
    for path in ["/.well-known/oauth-protected-resource/resource", "/.well-known/oauth-protected-resource"] {
        let answer = server.get(path).await.is(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let document: Value = answer.json();
        assert_eq!(document["authorization_servers"], json!([server.base]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
        assert_eq!(document["scopes_supported"], json!(["read", "write"]));
        if path.ends_with("/resource") {
            assert_eq!(document["resource"], json!(format!("{}/resource", server.base)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_answered_where_scripts_may_ask() {
    let server = Server::sqlite().await;
    let preflight = server.request("OPTIONS", PLACES[0]);
    let answer =
        preflight.header("origin", "https://spa.example").header("access-control-request-method", "GET");
    let answer = answer.send().await;
    assert!(answer.status < 300, "{answer:#?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_alike_with_and_without_its_slash() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let application = format!("/o/applications/{}", app.client_id);
    let pages = [
        "/admin",
        "/admin/login",
        "/login",
        "/accounts/login",
        "/admin/logout",
        "/admin/password_change",
        "/o/applications",
        "/o/applications/register",
        "/o/authorized_tokens",
        "/o/authorize",
        "/static/style.css",
        "/resource",
        "/.well-known/oauth-authorization-server",
        "/o/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/resource",
        "/o/.well-known/oauth-protected-resource/resource",
    ];
    let of_application = ["", "/update", "/rotate-secret", "/disable", "/enable", "/delete"];
    let all = pages.map(str::to_owned).into_iter();
    for path in all.chain(of_application.map(|action| format!("{application}{action}"))) {
        let (bare, slashed) = (ada.get(&path).await, ada.get(&format!("{path}/")).await);
        assert_eq!(bare.status, slashed.status, "{path}");
        assert!(!matches!(bare.status, 301 | 307 | 308 | 404 | 405), "{path}: {}", bare.status);
    }
    for path in ["/o/token", "/o/introspect", "/o/revoke_token", "/o/revoke"] {
        let ask = |path: String| app.post(&path).send();
        let (bare, slashed) = (ask(path.to_owned()).await, ask(format!("{path}/")).await);
        assert_eq!((bare.status, &bare.body), (slashed.status, &slashed.body), "{path}");
        assert_eq!(bare.error(), "invalid_request", "{path}");
    }
}
