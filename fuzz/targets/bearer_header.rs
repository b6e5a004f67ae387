//! Which access token was presented, and was it the only one? (RFC 6750 §2, §2.1)
//!
//! Input: `Authorization` headers, a line each up to an empty one, then the body of the form. Differential
//! against a reader of bytes written here.
#![cfg_attr(fuzzing, no_main)]

use axum::http::{HeaderMap, HeaderValue, header};
use chancery::extract::bearer::{BearerError, presented};
use chancery::extract::form_pairs::Pairs;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (lines, form) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut headers = HeaderMap::new();
    for line in lines.lines() {
        let Ok(value) = HeaderValue::from_str(line) else { return };
        headers.append(header::AUTHORIZATION, value);
    }
    let Ok(form) = Pairs::parse_query(form) else { return };
    let is_alone = presented(&headers, None);
    assert_eq!(is_alone, reference(lines));
    // One in the body is never read, and is one too many beside that in the header.
    let in_both = is_alone.is_ok_and(|token| token.is_some()) && form.raw("access_token").is_some();
    let expected = if in_both { Err(BearerError::MoreThanOne) } else { is_alone };
    assert_eq!(presented(&headers, Some(&form)), expected);
}

fn reference(lines: &str) -> Result<Option<&str>, BearerError> {
    match lines.lines().collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [line] => {
            let is_bearer = line.len() > 6 && line.as_bytes()[..7].eq_ignore_ascii_case(b"bearer ");
            Ok((line.is_ascii() && is_bearer).then(|| &line[7..]))
        }
        [..] => Err(BearerError::MoreThanOne),
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
