//! What does this server offer? (RFC 8414, RFC 9728)
//!
//! Computed from the lists that are enforced, and from the configured issuer, never from `Host`. What
//! is not built is not named. OpenID Connect is not offered yet, so its document does not exist.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::grants;
use crate::config::{Config, Issuer};
use crate::json;
use crate::middleware::cors;
use crate::resource;
use crate::state::AppState;

/// Where the document of the installation is found (RFC 8414 §3).
pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
/// Where the document of a protected resource is found (RFC 9728 §3).
pub const PROTECTED_RESOURCE: &str = "/.well-known/oauth-protected-resource";

const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// RFC 8414 §2, in its order.
#[derive(Serialize)]
struct AuthorizationServer<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    scopes_supported: Vec<&'a str>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    code_challenge_methods_supported: [&'static str; 1],
    authorization_response_iss_parameter_supported: bool,
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    protected_resources: &'a [String],
}

/// RFC 9728 §2.
#[derive(Serialize)]
struct ProtectedResource<'a> {
    resource: String,
    authorization_servers: [&'a str; 1],
    scopes_supported: Vec<&'a str>,
    bearer_methods_supported: [&'static str; 1],
}

/// `GET /.well-known/oauth-authorization-server`, its alias under `/o/`, and with the issuer's path.
pub async fn get(State(state): State<AppState>) -> Response {
    published(&authorization_server(&state.config))
}

/// `GET /.well-known/oauth-protected-resource/resource`.
pub async fn get_resource(State(state): State<AppState>) -> Response {
    published(&protected_resource(&state.config, resource::identifier(&state.config)))
}

/// `GET /.well-known/oauth-protected-resource`: of the origin, which is what a client that was given
/// the bare origin forms the address of (RFC 9728 §3.1, §3.3).
pub async fn get_origin(State(state): State<AppState>) -> Response {
    published(&protected_resource(&state.config, state.config.issuer.origin()))
}

/// The address of an endpoint. An issuer whose path is `/o` already contains the prefix.
#[must_use]
pub fn endpoint(issuer: &Issuer, name: &str) -> String {
    let prefix = if issuer.path().ends_with("/o") { "" } else { "/o" };
    format!("{issuer}{prefix}/{name}/")
}

fn authorization_server(config: &Config) -> AuthorizationServer<'_> {
    let issuer = &config.issuer;
    let by_client = ["client_secret_basic", "client_secret_post", "none"];
    AuthorizationServer {
        issuer: issuer.as_str(),
        authorization_endpoint: endpoint(issuer, "authorize"),
        token_endpoint: endpoint(issuer, "token"),
        scopes_supported: scopes(config),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: grants::SUPPORTED.iter().map(|grant_type| grant_type.as_str()).collect(),
        token_endpoint_auth_methods_supported: by_client,
        revocation_endpoint: endpoint(issuer, "revoke_token"),
        revocation_endpoint_auth_methods_supported: by_client,
        introspection_endpoint: endpoint(issuer, "introspect"),
        introspection_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
        code_challenge_methods_supported: ["S256"],
        authorization_response_iss_parameter_supported: true,
        request_parameter_supported: false,
        request_uri_parameter_supported: false,
        protected_resources: &config.resources,
    }
}

fn protected_resource(config: &Config, resource: String) -> ProtectedResource<'_> {
    ProtectedResource {
        resource,
        authorization_servers: [config.issuer.as_str()],
        scopes_supported: scopes(config),
        bearer_methods_supported: ["header"],
    }
}

fn scopes(config: &Config) -> Vec<&str> {
    config.scopes.iter().map(|scope| scope.name.as_str()).collect()
}

fn published(document: &impl Serialize) -> Response {
    let mut response = json::answer(StatusCode::OK, document);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHEABLE);
    cors::allow_any(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags};

    fn config(issuer: &str) -> Config {
        let variables = [("CHANCERY_ISSUER", issuer), ("CHANCERY_DATA_DIR", "/tmp/chancery-metadata")];
        Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap()
    }

    #[test]
    fn rfc_8414_section_2_the_document_names_what_works_and_nothing_else() {
        let config = config("https://login.example.com");
        let document: serde_json::Value =
            serde_json::from_str(&json::text(&authorization_server(&config)).unwrap()).unwrap();
        assert_eq!(document["issuer"], "https://login.example.com");
        assert_eq!(document["token_endpoint"], "https://login.example.com/o/token/");
        assert_eq!(
            document["grant_types_supported"],
            serde_json::json!(["authorization_code", "client_credentials", "refresh_token"])
        );
        for absent in ["jwks_uri", "registration_endpoint", "protected_resources", "userinfo_endpoint"] {
            assert!(document.get(absent).is_none(), "{absent}");
        }
        let empty = |value: &serde_json::Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        assert!(!document.as_object().unwrap().values().any(empty));
    }

    #[test]
    fn an_issuer_that_pins_the_prefix_does_not_get_it_twice() {
        let config = config("https://example.com/o");
        assert_eq!(endpoint(&config.issuer, "token"), "https://example.com/o/token/");
    }

    #[test]
    fn rfc_9728_section_3_3_a_resource_is_the_identifier_that_was_asked_for() {
        let config = config("https://example.com/o");
        let document = protected_resource(&config, resource::identifier(&config));
        assert_eq!(document.resource, "https://example.com/resource");
        assert_eq!(document.authorization_servers, ["https://example.com/o"]);
    }
}
