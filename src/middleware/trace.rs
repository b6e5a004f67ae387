//! What do the log and the trace say of a request?
//!
//! Method, path, status, time, and behind an error its code and cause. Never the query (it may hold a
//! code), a header or the body.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::request_id::RequestId;
use crate::error::{Failure, what_to_do};
use crate::extract::request_context::{Peer, is_trusted};
use crate::state::AppState;
use crate::{health, telemetry};

/// Longer paths are cut in the log.
const LONGEST_PATH: usize = 200;

/// Writes one line a request, and counts it.
pub async fn log(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let path: String = request.uri().path().chars().take(LONGEST_PATH).collect();
    let ids = request.extensions().get::<RequestId>().cloned();
    let is_believed = |peer: &Peer| is_trusted(peer.0, &state.config.trusted_proxies);
    let believed = request.extensions().get::<Peer>().is_some_and(is_believed);
    let span = telemetry::request(
        &method,
        route.as_ref().map(MatchedPath::as_str),
        ids.as_ref().map_or("", |ids| ids.request_id.as_str()),
        believed.then(|| request.headers()),
    );
    let response = next.run(request).instrument(span.clone()).await;
    telemetry::answered(&span, response.status());
    let correlation_id = ids.as_ref().map_or("", |ids| ids.correlation_id.as_str());
    let route = route.as_ref().map(MatchedPath::as_str);
    state.metrics.answered(route, &method, response.status(), began.elapsed());
    let status = response.status().as_u16();
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let failure = response.extensions().get::<Failure>();
    let code = failure.map_or("", |failure| failure.code.as_str());
    let cause = failure.and_then(|failure| failure.cause.as_deref()).unwrap_or_default();
    // A server that is not ready says so each time it is asked; its log has said why, once.
    if status >= 500 && path != health::READYZ {
        tracing::error!(
            http.method = %method, http.path = path, http.status = status, http.micros = micros,
            correlation.id = correlation_id, error.code = code, error.cause = cause,
            what_to_do = what_to_do(response.status()), "request failed"
        );
    } else {
        tracing::debug!(
            http.method = %method, http.path = path, http.status = status, http.micros = micros,
            correlation.id = correlation_id, error.code = code, "request"
        );
    }
    response
}
