//! How much of a request is read, and how long is it waited for? (RFC 9110 §15.5.9, §15.5.14; RFC 6585 §5)
//!
//! The body is read here, whole, before anything else looks at the request: too much of it is 413 before
//! any secret is checked, too slow is 408, and handlers find it in memory.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;

use crate::error::OAuthError;
use crate::router::is_api;
use crate::state::AppState;

/// A body that is not here by then is not coming.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of all headers together.
const LONGEST_HEADERS: usize = 32 * 1024;

/// Refuses what is too large or too slow.
pub async fn enforce(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let is_api = is_api(request.uri().path());
    let mut response = match read_body(request, state.config.limits.body).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.answer(is_api),
    };
    if is_chunked {
        // Where such a body ends is what request smuggling is about: nothing is read after it.
        close(&mut response);
    }
    response
}

#[derive(Clone, Copy)]
enum TooMuch {
    Headers,
    Body,
    Time,
    Broken,
}

async fn read_body(request: Request, limit: usize) -> Result<Request, TooMuch> {
    if headers_length(request.headers()) > LONGEST_HEADERS {
        return Err(TooMuch::Headers);
    }
    if request.body().is_end_stream() {
        return Ok(request);
    }
    if request.body().size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(TooMuch::Body);
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(TooMuch::Body),
        Ok(Err(_)) => Err(TooMuch::Broken),
        Err(_) => Err(TooMuch::Time),
    }
}

fn headers_length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

impl TooMuch {
    fn answer(self, is_api: bool) -> Response {
        let (status, sentence) = match self {
            TooMuch::Headers => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers of the request are too large.")
            }
            TooMuch::Body => (StatusCode::PAYLOAD_TOO_LARGE, "The body of the request is too large."),
            TooMuch::Time => (StatusCode::REQUEST_TIMEOUT, "The body of the request came too slowly."),
            TooMuch::Broken => (StatusCode::BAD_REQUEST, "The body of the request broke off."),
        };
        let mut response = if is_api {
            OAuthError::invalid_request(sentence).with_status(status).into_response()
        } else {
            (status, sentence).into_response()
        };
        // The rest of the request is still on its way and must not be taken for the next one.
        close(&mut response);
        response
    }
}

fn close(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}
