//! Which scripts of other origins may read our answers? (OAuth 2.1 §3.2; Fetch, "CORS protocol")
//!
//! Metadata: all. Token and revocation: those of the client that asks, which are its `allowed_origins`
//! and the origins of its http(s) redirect URIs. Pages and the authorization endpoint: none. Never with
//! credentials. A preflight names no client, so it is answered for the origins of any application.

use std::collections::HashSet;
use std::sync::Arc;

use aggregates::application::ApplicationSettings;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use projections::applications::list_applications;
use projections::read::ReadError;
use tokio::sync::Mutex;
use url::Url;

use crate::error::OAuthError;
use crate::journal::Journal;
use crate::state::AppState;

const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, DPoP, MCP-Protocol-Version");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("WWW-Authenticate, DPoP-Nonce");
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// Applications read at a time when the origins of all are collected.
const PAGE: u32 = 1_000;

/// Lets every origin read an answer that is the same for all.
pub fn allow_any(response: &mut Response) {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// Lets the origins of this application read an answer to it.
pub fn allow_application(request: &HeaderMap, settings: &ApplicationSettings, response: &mut Response) {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin(request) else { return };
    if origins(settings).any(|allowed| allowed == origin)
        && let Ok(value) = HeaderValue::from_str(origin)
    {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
}

/// Preflight of what everybody may read.
pub async fn preflight_any() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    allow_any(&mut response);
    allow_methods(&mut response, "GET, OPTIONS");
    response
}

/// Preflight of the token and revocation endpoints.
pub async fn preflight_client(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin(&headers) else { return response };
    match state.origins.contains(&state.journal, origin).await {
        Ok(true) => {}
        Ok(false) => return response,
        Err(error) => return OAuthError::from(error).into_response(),
    }
    if let Ok(value) = HeaderValue::from_str(origin) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
        allow_methods(&mut response, "POST, OPTIONS");
    }
    response
}

fn allow_methods(response: &mut Response, methods: &'static str) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}

/// `null` is what a sandbox or a file sends: nobody's origin.
fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN)?.to_str().ok().filter(|origin| *origin != "null")
}

fn origins(settings: &ApplicationSettings) -> impl Iterator<Item = String> {
    let of_redirects = settings
        .redirect_uris
        .iter()
        .filter_map(|uri| Url::parse(uri.as_str()).ok())
        .filter(|url| matches!(url.scheme(), "https" | "http"))
        .map(|url| url.origin().ascii_serialization());
    settings.allowed_origins.iter().cloned().chain(of_redirects)
}

/// The origins of all applications, collected when the log has moved: preflights come from strangers
/// and must not cost a query each.
#[derive(Debug, Default)]
pub struct KnownOrigins {
    collected: Mutex<Collected>,
}

#[derive(Clone, Debug, Default)]
struct Collected {
    as_of: Option<i64>,
    origins: Arc<HashSet<String>>,
}

impl KnownOrigins {
    /// One collection at a time: others wait for it and find it current.
    async fn contains(&self, journal: &Journal, origin: &str) -> Result<bool, ReadError> {
        let mut collected = self.collected.lock().await;
        let applied = journal.applied();
        if collected.as_of != Some(applied) {
            *collected = Collected { as_of: Some(applied), origins: Arc::new(collect(journal).await?) };
        }
        Ok(collected.origins.contains(origin))
    }
}

async fn collect(journal: &Journal) -> Result<HashSet<String>, ReadError> {
    let mut found = HashSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = list_applications(journal, None, after.as_deref(), PAGE).await?;
        let usable = page.iter().filter(|application| application.is_usable());
        found.extend(usable.flat_map(|application| origins(&application.settings)));
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => after = Some(last.client_id.clone()),
            Some(_) | None => return Ok(found),
        }
    }
}
