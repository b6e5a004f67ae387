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
    let Some(id) = named_by_proxy(&headers) else { return };
    assert!(!id.is_empty() && id.len() <= 64);
    assert!(!id.contains(|character: char| character.is_ascii_control() || "\"\\ =,;<>".contains(character)));
    assert!(id.is_ascii());
    // It goes out as it came in, and the next one reads the same.
    assert_eq!(headers["x-request-id"], id);
    headers.insert("x-request-id", HeaderValue::from_str(&id).unwrap());
    assert_eq!(named_by_proxy(&headers), Some(id));
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
