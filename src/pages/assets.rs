//! What do pages need besides themselves? One stylesheet, named by its content so that it is sent once
//! (RFC 9110 §8.8.3, §13.1.2).

use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::templates::STYLE;

/// A day, and asked again by its name after that: a new version of the program has a new one.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=86400");

/// `GET /static/style.css`.
pub async fn get(headers: HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(','));
    let tag = HeaderValue::from_static(tag());
    let is_known = known.any(|one| one.trim().trim_start_matches("W/") == self::tag());
    let named = [(header::ETAG, tag), (header::CACHE_CONTROL, KEPT)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, named).into_response();
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"))];
    (named, kind, STYLE).into_response()
}

/// The stylesheet's name: a hash of what it says.
fn tag() -> &'static str {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| {
        let hash = digest(&SHA256, STYLE.as_bytes());
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rfc_9110_section_13_1_2_what_is_known_is_not_sent_again() {
        let first = get(HeaderMap::new()).await;
        assert_eq!(first.status(), StatusCode::OK);
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()["etag"].clone());
        assert_eq!(get(headers).await.status(), StatusCode::NOT_MODIFIED);
    }
}
