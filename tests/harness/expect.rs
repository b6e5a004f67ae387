//! Is this the answer? The answers that the attack table knows by name, each checked in full.

use super::application::Query;
use super::request::{Answer, Request};

/// `page400`: an HTML page with code, text and reference, and no `Location`.
#[track_caller]
pub fn expect_error_page(answer: &Answer, error: &str) {
    assert_eq!(answer.status, 400, "{answer:#?}");
    assert!(answer.header("location").is_none(), "{answer:#?}");
    assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{answer:#?}");
    let text = answer.page_text();
    assert!(text.contains(&format!("Error: {error}")), "{text}");
    assert!(!answer.reference().is_empty());
}

/// `redir(e)`: a redirect to the validated URI with `error`, the unchanged `state`, and `iss`.
#[track_caller]
pub fn expect_redirect(answer: &Answer, query: &Query, error: &str) {
    let status = if answer.to.starts_with("POST") { 303 } else { 302 };
    assert_eq!(answer.status, status, "{answer:#?}");
    let location = answer.location();
    assert!(location.starts_with(query.get("redirect_uri").unwrap()), "{location}");
    assert_eq!(answer.sent("error").as_deref(), Some(error), "{location}");
    assert_eq!(answer.sent("state").as_deref(), query.get("state"), "{location}");
    assert!(answer.sent("iss").is_some(), "{location}");
    assert_eq!(answer.sent("code"), None, "{location}");
    assert!(!location.contains('#'), "{location}");
}

/// `tok(e)`: 400, JSON, not stored.
#[track_caller]
pub fn expect_token_error(answer: &Answer, error: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (400, error), "{answer:#?}");
    expect_not_stored(answer);
}

/// `cli401`: `invalid_client`, with the challenge of RFC 6749 §5.2.
#[track_caller]
pub fn expect_basic_401(answer: &Answer) {
    assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"), "{answer:#?}");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Basic realm=\""), "{answer:#?}");
    expect_not_stored(answer);
}

/// `bear401`: `invalid_token`, with where to learn more (RFC 6750 §3, RFC 9728 §5.1).
#[track_caller]
pub fn expect_bearer_401(answer: &Answer) {
    assert_eq!(answer.status, 401, "{answer:#?}");
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer "), "{answer:#?}");
    assert!(challenge.contains("error=\"invalid_token\""), "{answer:#?}");
    assert!(challenge.contains("resource_metadata=\"http"), "{answer:#?}");
}

/// `dead`: not active, and nothing else (RFC 7662 §2.2).
#[track_caller]
pub fn expect_dead(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(answer.json(), serde_json::json!({"active": false}), "{answer:#?}");
}

/// JSON that no cache keeps, described in characters RFC 6749 §5.2 allows.
#[track_caller]
fn expect_not_stored(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:#?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:#?}");
    let description = answer.json()["error_description"].as_str().unwrap_or_default().to_owned();
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(description.bytes().all(allowed), "{description}");
}

/// `413`, unless the server broke the request off while it was still being sent.
pub async fn expect_too_large(request: Request) {
    match request.try_send().await {
        Ok(response) => assert_eq!(response.status(), 413),
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }
}
