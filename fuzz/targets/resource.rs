//! Which texts name a protected resource, and when do two name the same? (RFC 8707 §2)
//!
//! Input: three texts, a line each.
#![cfg_attr(fuzzing, no_main)]

use aggregates::values::Resource;
use url::Url;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let resources: Vec<Resource> =
        text.splitn(3, '\n').filter_map(|line| Resource::parse(line).ok()).collect();
    for one in &resources {
        let url = Url::parse(one.as_str()).unwrap();
        assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
        let is_local = matches!(url.host_str().unwrap(), "localhost" | "127.0.0.1" | "[::1]");
        assert!(url.scheme() == "https" || (url.scheme() == "http" && is_local));
        assert!(one.same_as(one) && one.to_string() == one.as_str());
    }
    for (one, other) in pairs(&resources) {
        assert_eq!(one.same_as(other), other.same_as(one));
        // A token for one place is never good at another.
        assert!(!one.same_as(other) || Url::parse(one.as_str()) == Url::parse(other.as_str()));
        for third in &resources {
            assert!(!(one.same_as(other) && other.same_as(third)) || one.same_as(third));
        }
    }
}

fn pairs(resources: &[Resource]) -> impl Iterator<Item = (&Resource, &Resource)> {
    resources.iter().flat_map(|one| resources.iter().map(move |other| (one, other)))
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
