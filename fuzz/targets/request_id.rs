//! Can a correlation id from outside break a line of the log, or of a header?
//!
//! Input: headers `X-Request-Id`, a line each.
#![cfg_attr(fuzzing, no_main)]

use axum::http::{HeaderMap, HeaderValue};
use chancery::middleware::request_id::named_by_proxy;

pub fn run(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append("x-request-id", value);
    }
    let first = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_id = (1..=64).contains(&first.len())
        && first.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    let id = named_by_proxy(&headers);
    assert_eq!(id.as_deref().map(str::as_bytes), is_id.then_some(first));
    // It goes out as it came in, and the next one reads the same.
    if let Some(id) = id {
        headers.insert("x-request-id", HeaderValue::from_str(&id).unwrap());
        assert_eq!(named_by_proxy(&headers), Some(id));
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
