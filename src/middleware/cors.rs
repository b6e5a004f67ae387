//! Which scripts of other origins may read our answers? (OAuth 2.1 §3.2; Fetch, "CORS protocol")
//!
//! Metadata: all. Token and revocation: those of the client that asks, which are its `allowed_origins`
//! and the origins of its http(s) redirect URIs. Pages and the authorization endpoint: none. Never with
//! credentials. A preflight names no client, so it is answered for the origins of any application.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use aggregates::application::ApplicationSettings;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use projections::applications::{TABLE, remembered_applications};
use projections::memory::Memory;
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

/// The origins of all applications, collected when one of them has changed: preflights come from strangers
/// and must not cost a query each, nor a walk over all applications for each login of somebody.
#[derive(Debug, Default)]
pub struct KnownOrigins {
    current: RwLock<Collected>,
    collecting: Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Collected {
    /// The changes of the table that are in it.
    as_of: Option<u64>,
    origins: Arc<HashSet<String>>,
}

impl KnownOrigins {
    /// One collection at a time, on a thread for such work. Who asks for an origin that was known before
    /// does not wait for it: a preflight gives nothing that the request itself is not checked for again.
    async fn contains(&self, journal: &Journal, origin: &str) -> Result<bool, ReadError> {
        let is_current = |known: &Collected| known.as_of == Some(journal.memory().changes(&TABLE));
        let known = self.current();
        if is_current(&known) || known.origins.contains(origin) {
            return Ok(known.origins.contains(origin));
        }
        let _turn = self.collecting.lock().await;
        let mut known = self.current();
        if !is_current(&known) {
            let journal = journal.clone();
            let collected = tokio::task::spawn_blocking(move || collect(journal.memory())).await;
            known = collected.map_err(|error| ReadError::Unavailable { reason: error.to_string() })??;
            self.current.write().unwrap_or_else(PoisonError::into_inner).clone_from(&known);
        }
        Ok(known.origins.contains(origin))
    }

    fn current(&self) -> Collected {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn collect(memory: &Memory) -> Result<Collected, ReadError> {
    let as_of = Some(memory.changes(&TABLE));
    let mut found = HashSet::new();
    for application in remembered_applications(memory) {
        let application = application?;
        if application.is_usable() {
            found.extend(origins(&application.settings));
        }
    }
    Ok(Collected { as_of, origins: Arc::new(found) })
}
