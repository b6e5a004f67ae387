//! Is a form that is read strictly the form that everybody else reads? (RFC 6749 appendix B)
//!
//! Differential against the reader of the `url` crate, which repairs what we refuse.
#![cfg_attr(fuzzing, no_main)]

use std::collections::BTreeMap;

use chancery::extract::form_pairs::{FormError, Pairs};
use url::form_urlencoded;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        assert_eq!(Pairs::parse_body(FORM, data).unwrap_err(), FormError::Encoding);
        return;
    };
    let read = Pairs::parse_query(text);
    assert_eq!(Pairs::parse_body(FORM, data).is_ok(), read.is_ok());
    assert_eq!(read.is_ok(), needs_no_repair(text), "{text:?}");
    let Ok(pairs) = read else { return };
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(data) {
        expected.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    assert_eq!(pairs.is_empty(), expected.is_empty());
    for (name, values) in &expected {
        assert_eq!(pairs.raw(name), values.first().map(String::as_str));
        let present: Vec<&str> =
            values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
        assert_eq!(pairs.get_all(name).collect::<Vec<_>>(), present);
        match pairs.get(name) {
            Ok(value) => assert_eq!((values.len(), value), (1, present.first().copied())),
            Err(error) => assert!(values.len() > 1 && error == FormError::Repeated(name.clone())),
        }
    }
    let may_repeat = |name: &str| matches!(name, "resource" | "audience");
    let is_once = expected.iter().all(|(name, values)| values.len() == 1 || may_repeat(name));
    assert_eq!(pairs.each_once().is_ok(), is_once);
}

/// Every `%` has its two digits, and what they stand for is text.
fn needs_no_repair(text: &str) -> bool {
    let digits =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    let is_encoded = text.split('%').skip(1).all(digits);
    let decoded = |part: &str| String::from_utf8(percent_decoded(part)).is_ok();
    is_encoded && text.split('&').flat_map(|pair| pair.splitn(2, '=')).all(decoded)
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
