//! Every route on one page. Each path answers with and without a trailing slash: clients do not follow
//! redirects, and a redirected POST loses its body.

use axum::Router;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use crate::error::OAuthError;
use crate::extract::request_context::RequestContext;
use crate::health;
use crate::middleware::cors::{preflight_any, preflight_client};
use crate::middleware::{freshness, limits, rate_limit, request_id, security_headers, trace};
use crate::oauth::{authorize, introspect, metadata, revoke, token};
use crate::pages::page_error::{self, PageError};
use crate::pages::{assets, authorized, home, login, logout, password_change, read_models};
use crate::resource;
use crate::state::AppState;
use crate::templates::paths;

/// The whole server.
pub fn router(state: AppState) -> Router {
    let issuer_path = state.config.issuer.path();
    let Routes(from_memory) = applications(pages(clients(Routes::default())));
    let Routes(others) = well_known(vouching(Routes::default()), issuer_path);
    from_memory
        .route_layer(from_fn_with_state(state.clone(), freshness::require))
        .merge(others)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(state.clone(), page_error::show))
        .layer(from_fn_with_state(state.clone(), limits::enforce))
        .layer(from_fn_with_state(state.clone(), rate_limit::enforce))
        .layer(from_fn_with_state(state.clone(), security_headers::add))
        .layer(from_fn_with_state(state.clone(), trace::log))
        .layer(from_fn_with_state(state.clone(), request_id::assign))
        .layer(from_fn(limits::close_unread))
        .with_state(state)
}

/// For clients.
fn clients(routes: Routes) -> Routes {
    routes
        .at("/o/token/", post(token::post).options(preflight_client))
        .at("/o/revoke_token/", post(revoke::post).options(preflight_client))
        .at("/o/revoke/", post(revoke::post).options(preflight_client))
}

/// For resource servers, and one of them: they look after freshness themselves. What needs no memory.
fn vouching(routes: Routes) -> Routes {
    routes
        .at("/o/introspect/", post(introspect::post))
        .at("/resource", get(resource::get))
        .at(paths::STYLE, get(assets::get))
        .at("/healthz", get(health::alive))
        .at("/readyz", get(health::ready))
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

/// For people: home, login, logout, password, consent, what was granted.
fn pages(routes: Routes) -> Routes {
    routes
        .at("/", get(home::get))
        .at("/admin/", get(home::admin))
        .at(paths::LOGIN, get(login::get).post(login::post))
        .at("/login", get(login::get).post(login::post))
        .at("/accounts/login/", get(login::get).post(login::post))
        .at(paths::LOGOUT, get(logout::get).post(logout::post))
        .at(paths::PASSWORD_CHANGE, get(password_change::get).post(password_change::post))
        .at("/admin/read-models/", get(read_models::get))
        .at(paths::AUTHORIZE, get(authorize::get).post(authorize::post))
        .at(paths::AUTHORIZATIONS, get(authorized::list))
        .at("/o/authorized_tokens/{id}/", get(authorized::detail))
        .at("/o/authorized_tokens/{id}/delete/", get(authorized::ask).post(authorized::revoke))
}

/// For people: applications.
fn applications(routes: Routes) -> Routes {
    use crate::pages::applications::{
        delete, detail, disable, enable, list, register, rotate_secret, update,
    };
    routes
        .at(paths::APPLICATIONS, get(list::get))
        .at("/o/applications/register/", get(register::get).post(register::post))
        .at("/o/applications/{client_id}/", get(detail::get))
        .at("/o/applications/{client_id}/update/", get(update::get).post(update::post))
        .at("/o/applications/{client_id}/rotate-secret/", get(rotate_secret::get).post(rotate_secret::post))
        .at("/o/applications/{client_id}/disable/", get(disable::get).post(disable::post))
        .at("/o/applications/{client_id}/enable/", get(enable::get).post(enable::post))
        .at("/o/applications/{client_id}/delete/", get(delete::get).post(delete::post))
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
    let below =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
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
    health::HEALTHZ,
    health::READYZ,
];

async fn not_found(context: RequestContext) -> Response {
    if is_api(&context.path) {
        let error = OAuthError::invalid_request("There is nothing at this address.");
        return error.with_status(StatusCode::NOT_FOUND).into_response();
    }
    PageError::NotFound.into_response()
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

/// `POST, OPTIONS` rather than the router's `POST,OPTIONS`, which it adds after every layer: so the
/// accept loop calls this.
#[must_use]
pub fn spaced_allow(mut response: Response) -> Response {
    let allowed = response.headers().get(header::ALLOW).and_then(|value| value.to_str().ok());
    let spaced = allowed.map(|methods| methods.split(',').map(str::trim).collect::<Vec<_>>().join(", "));
    if let Some(Ok(value)) = spaced.map(|methods| HeaderValue::from_str(&methods)) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}
