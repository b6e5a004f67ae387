//! Every route on one page. Each path answers with and without a trailing slash: clients do not follow
//! redirects, and a redirected POST loses its body.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use crate::error::OAuthError;
use crate::extract::request_context::RequestContext;
use crate::middleware::cors::{preflight_any, preflight_client};
use crate::middleware::{limits, request_id, security_headers, trace};
use crate::oauth::{introspect, metadata, revoke, token};
use crate::resource;
use crate::state::AppState;
use crate::templates::errors::{Arrival, NotFound};
use crate::templates::{Chrome, Templates};

/// The whole server.
pub fn router(state: AppState) -> Router {
    let routes = Routes::default();
    let routes = oauth(routes);
    let routes = well_known(routes, state.config.issuer.path());
    let routes = pages(routes);
    let routes = applications(routes);
    let Routes(router) = routes;
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.clone(), limits::enforce))
        .layer(from_fn_with_state(state.clone(), security_headers::add))
        .layer(from_fn(trace::log))
        .layer(from_fn_with_state(state.clone(), request_id::assign))
        .with_state(state)
}

/// For clients.
fn oauth(routes: Routes) -> Routes {
    routes
        .at("/o/token/", post(token::post).options(preflight_client))
        .at("/o/revoke_token/", post(revoke::post).options(preflight_client))
        .at("/o/revoke/", post(revoke::post).options(preflight_client))
        .at("/o/introspect/", post(introspect::post))
        .at("/resource", get(resource::get))
}

/// RFC 8414 §3.1: an issuer with a path has its document at the well-known path with that path behind it.
fn well_known(routes: Routes, issuer_path: &str) -> Routes {
    let server = || get(metadata::get).options(preflight_any);
    let resource = || get(metadata::get_resource).options(preflight_any);
    let origin = || get(metadata::get_origin).options(preflight_any);
    let mut routes = routes;
    for prefix in ["", "/o"] {
        routes = routes
            .at(&format!("{prefix}{}", metadata::AUTHORIZATION_SERVER), server())
            .at(&format!("{prefix}{}", metadata::PROTECTED_RESOURCE), origin())
            .at(&format!("{prefix}{}/resource", metadata::PROTECTED_RESOURCE), resource());
    }
    if issuer_path.is_empty() {
        return routes;
    }
    routes.at(&format!("{}{issuer_path}", metadata::AUTHORIZATION_SERVER), server())
}

/// For people: home, login, logout, password, consent, what was granted, the stylesheet.
fn pages(routes: Routes) -> Routes {
    routes
    // pages: begin
    // pages: end
}

/// For people: applications.
fn applications(routes: Routes) -> Routes {
    routes
    // applications: begin
    // applications: end
}

/// Routes being collected.
#[derive(Default)]
struct Routes(Router<AppState>);

impl Routes {
    /// Adds a path, with and without a trailing slash.
    fn at(self, path: &str, methods: MethodRouter<AppState>) -> Self {
        let bare = path.trim_end_matches('/');
        if bare.is_empty() {
            return Self(self.0.route("/", methods));
        }
        Self(self.0.route(bare, methods.clone()).route(&format!("{bare}/"), methods))
    }
}

/// Whether programs rather than people come here: they get errors as JSON.
#[must_use]
pub fn is_api(path: &str) -> bool {
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    API.iter().copied().any(below)
}

const API: &[&str] = &[
    "/.well-known",
    "/o/.well-known",
    "/o/token",
    "/o/revoke_token",
    "/o/revoke",
    "/o/introspect",
    "/o/userinfo",
    "/o/register",
    "/o/par",
    "/o/device-authorization",
    "/resource",
];

async fn not_found(State(state): State<AppState>, context: RequestContext) -> Response {
    if is_api(&context.path) {
        let error = OAuthError::invalid_request("There is nothing at this address.");
        return error.with_status(StatusCode::NOT_FOUND).into_response();
    }
    not_found_page(&state.templates, context)
}

fn not_found_page(templates: &Templates, context: RequestContext) -> Response {
    let query = context.query.unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let arrival = match (has("code"), has("error")) {
        (true, _) => Arrival::WithCode,
        (false, true) => Arrival::WithError,
        (false, false) => Arrival::Plain,
    };
    let chrome = Chrome {
        username: None,
        is_superuser: false,
        csrf_token: String::new(),
        path: context.path,
        now: context.now,
        notice: None,
    };
    match templates.render(&chrome, &NotFound { arrival }) {
        Ok(page) => (StatusCode::NOT_FOUND, Html(page)).into_response(),
        Err(error) => OAuthError::fault(error).into_response(),
    }
}

/// `Allow` is added by the router; [`spaced_allow`] makes it readable.
async fn method_not_allowed(method: Method, context: RequestContext) -> Response {
    let text = format!("The method {method} is not allowed here.");
    if is_api(&context.path) {
        let error = OAuthError::described(crate::error::ErrorCode::InvalidRequest, &text);
        return error.with_status(StatusCode::METHOD_NOT_ALLOWED).into_response();
    }
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}
