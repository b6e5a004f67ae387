//! Which cookie does a browser carry for us, whatever else it carries? (RFC 6265bis §5.7.3)
//!
//! Input: `Cookie` headers, a line each. Differential against a reader of bytes written here.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, header};
use chancery::config::{Config, Environment, Flags, Issuer};
use chancery::extract::cookies::Cookie;
use chancery::secret::Secret;

static ISSUERS: LazyLock<[Issuer; 2]> = LazyLock::new(|| {
    ["https://id.example", "http://127.0.0.1:8000"].map(|issuer| {
        let flags = Flags::from([("issuer", vec![issuer.to_owned()])]);
        Config::load(&flags, &Environment::from_iter([("XDG_DATA_HOME", "/data")])).unwrap().issuer
    })
});

pub fn run(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(header::COOKIE, value);
    }
    for issuer in ISSUERS.iter() {
        for cookie in [Cookie::Session, Cookie::Browser] {
            let found = cookie.find(issuer, &headers);
            assert_eq!(found, reference(cookie.name(issuer), data));
            let Some(value) = found else { continue };
            // Whatever came back can be set again, and is then the only thing that is.
            let set = cookie.keep(issuer, &Secret::new(value), Some(1)).unwrap();
            assert_eq!(set.to_str().unwrap().matches(';').count(), if issuer.is_https() { 5 } else { 4 });
        }
    }
}

/// The one cookie of this name; what other cookies look like does not matter.
fn reference<'a>(name: &str, data: &'a [u8]) -> Option<&'a str> {
    let pairs = data.split(|byte| matches!(byte, b'\n' | b';')).map(<[u8]>::trim_ascii);
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let value = values.next().filter(|_| values.next().is_none())?;
    std::str::from_utf8(value).ok().filter(|value| value.is_ascii())
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
