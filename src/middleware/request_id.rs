//! Under which id is a request found again?
//!
//! Each request gets an id. What belongs together has a correlation id: the request's own, unless a
//! trusted proxy named one. It goes out as `X-Request-Id`, into the log, and into the metadata of events.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, Utc};

use crate::extract::request_context::{Peer, is_trusted};
use crate::secret::new_id;
use crate::state::AppState;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 64;

/// The ids of a request.
#[derive(Clone, Debug)]
pub struct RequestId {
    /// This request.
    pub request_id: String,
    /// What belongs together.
    pub correlation_id: String,
}

impl RequestId {
    /// New ids.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        let request_id = new_id(now);
        Self { correlation_id: request_id.clone(), request_id }
    }
}

/// Gives the request its ids and the answer its header.
pub async fn assign(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let mut ids = RequestId::new(state.clock.now());
    let peer = request.extensions().get::<Peer>();
    if peer.is_some_and(|peer| is_trusted(peer.0, &state.config.trusted_proxies))
        && let Some(given) = named_by_proxy(request.headers())
    {
        ids.correlation_id = given;
    }
    let shown = HeaderValue::from_str(&ids.correlation_id);
    request.extensions_mut().insert(ids);
    let mut response = next.run(request).await;
    if let Ok(value) = shown {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// The correlation id that a proxy names, if it is one: up to 64 letters, digits, `-`, `_` and `.`. What else it
/// sends could break a line of the log, or of a header.
#[must_use]
pub fn named_by_proxy(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let is_id = (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    is_id.then(|| text.to_owned())
}
