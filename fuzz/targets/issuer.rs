//! Has every issuer one spelling, and is it a place that clients can trust? (RFC 8414 §2, RFC 9207 §2.4)
//!
//! Input: what an operator wrote.
#![cfg_attr(fuzzing, no_main)]

use chancery::config::{Config, Environment, Flags};
use url::Url;

pub fn run(data: &[u8]) {
    let Ok(written) = std::str::from_utf8(data) else { return };
    for is_insecure_allowed in [false, true] {
        let mut flags = Flags::from([("issuer", vec![written.to_owned()])]);
        if is_insecure_allowed {
            flags.insert("allow-insecure-issuer", Vec::new());
        }
        let environment = Environment::from_iter([("XDG_DATA_HOME", "/data")]);
        let config = match Config::load(&flags, &environment) {
            Ok(config) => config,
            Err(error) => {
                assert!(!error.to_string().is_empty() && !error.advice().is_empty());
                continue;
            }
        };
        let issuer = config.issuer;
        assert_eq!(issuer.as_str(), written.trim());
        let url = Url::parse(issuer.as_str()).unwrap();
        assert_eq!(&url, issuer.url());
        assert!(url.query().is_none() && url.fragment().is_none() && url.username().is_empty());
        assert!(url.password().is_none() && !issuer.as_str().ends_with('/'));
        assert!(issuer.is_https() || issuer.is_loopback() || is_insecure_allowed);
        assert_eq!(format!("{}{}", issuer.origin(), issuer.path()), issuer.as_str());
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
