//! RFC 8707 §2.

use proptest::prelude::*;

use crate::values::{Resource, ResourceError};

fn resource(uri: &str) -> Resource {
    Resource::parse(uri).unwrap()
}

#[test]
fn a_resource_is_kept_verbatim() {
    for uri in
        ["https://api.example", "HTTPS://API.example/a?b=c", "http://127.0.0.1:8080/", "http://[::1]/x"]
    {
        assert_eq!(resource(uri).as_str(), uri);
        assert_eq!(resource(uri).to_string(), uri);
    }
}

#[test]
fn a_resource_is_an_absolute_https_uri() {
    for uri in [
        "",
        "api",
        "/api",
        "//api.example/",
        "urn:example:api",
        "ftp://api.example/",
        "https:api.example",
        "http://api.example/",
    ] {
        assert_eq!(Resource::parse(uri), Err(ResourceError::NotAbsolute), "{uri}");
    }
}

#[test]
fn a_resource_has_no_fragment() {
    for uri in ["https://api.example/#", "https://api.example/#f"] {
        assert_eq!(Resource::parse(uri), Err(ResourceError::FragmentNotAllowed), "{uri}");
    }
}

#[test]
fn a_malformed_resource_is_refused() {
    let of = |bytes: usize| format!("{:a<bytes$}", "https://api.example/");
    assert_eq!(resource(&of(2048)).as_str().len(), 2048);
    let long = of(2049);
    let malformed = [
        "https://",
        "https:///a",
        "https://a b/",
        "https://api.example\\@evil.example/",
        "https://u@api.example/",
        "http://[::1",
        "https://%zz/",
        "https://api.example/%00",
        "https://api.example/\0",
        "https://*.example/",
        "https://api.example:0/",
        "https://api.example:99999/",
        "https://api.example:/",
        "https://[::1]x/",
        &long,
    ];
    for uri in malformed {
        assert_eq!(Resource::parse(uri), Err(ResourceError::Malformed), "{uri}");
    }
}

#[test]
fn the_same_resource_may_be_written_in_another_case_or_without_path() {
    let same =
        [("https://api.example", "https://API.example/"), ("HTTPS://api.example/a", "https://api.example/a")];
    for (one, other) in same {
        assert!(resource(one).same_as(&resource(other)), "{one} {other}");
    }
}

#[test]
fn another_path_query_host_or_port_is_another_resource() {
    let base = resource("https://api.example/a");
    for other in [
        "https://api.example/A",
        "https://api.example/a/",
        "https://api.example/a?",
        "https://api.example/a?b",
        "https://api2.example/a",
        "https://api.example:8443/a",
        "http://localhost/a",
    ] {
        assert!(!base.same_as(&resource(other)), "{other}");
    }
}

#[test]
fn what_was_stored_under_other_rules_is_compared_as_text() {
    let stored = |text: &str| serde_json::from_value::<Resource>(text.into()).unwrap();
    assert!(stored("api").same_as(&stored("api")) && !stored("api").same_as(&stored("API")));
    assert!(stored("urn:a").same_as(&stored("urn:a")) && !stored("urn:a").same_as(&resource("https://a")));
}

proptest! {
    #[test]
    fn reading_never_panics(text in "(https?:)?/{0,3}[\\PC\\x00-\\x20@:#?/\\[\\]%]{0,40}") {
        if let Ok(resource) = Resource::parse(&text) {
            prop_assert!(resource.same_as(&resource));
        }
    }
}
