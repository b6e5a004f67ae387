//! `tests/attacks` A: what can be registered, and what is the same as registered.

use crate::values::{RedirectUri, RedirectUriError as Refused};

fn web(uri: &str) -> RedirectUri {
    RedirectUri::parse(uri, false).unwrap()
}

fn native(uri: &str) -> RedirectUri {
    RedirectUri::parse(uri, true).unwrap()
}

fn refused(uri: &str, native: bool) -> Option<Refused> {
    RedirectUri::parse(uri, native).err()
}

#[test]
fn https_and_loopback_can_be_registered_by_anything() {
    let uris = [
        "https://app.example",
        "https://app.example/cb?a=1",
        "https://app.example:8443/cb",
        "HTTPS://APP.example/cb",
        "http://127.0.0.1:8080/noexist/callback",
        "http://localhost/cb",
        "http://[::1]:9/cb",
        "https://[2001:db8::1]/",
    ];
    for uri in uris {
        for is_native in [false, true] {
            let parsed = RedirectUri::parse(uri, is_native).unwrap();
            assert_eq!((parsed.as_str(), parsed.to_string().as_str()), (uri, uri));
        }
    }
}

#[test]
fn only_native_applications_have_private_use_schemes() {
    for uri in ["com.example.app:/cb", "com.example.app://cb", "com.example.app:cb"] {
        assert!(RedirectUri::parse(uri, true).is_ok(), "{uri}");
        assert_eq!(refused(uri, false), Some(Refused::InvalidScheme(uri.to_owned())));
    }
    for uri in ["app:/cb", "myapp://cb"] {
        assert_eq!(refused(uri, true), Some(Refused::InvalidScheme(uri.to_owned())));
    }
    for uri in ["com.example.app:", "com.example.app://", "com.example.app://:", "com.example.app://[::1"] {
        assert_eq!(refused(uri, true), Some(Refused::Malformed(uri.to_owned())), "{uri}");
    }
}

#[test]
fn script_schemes_are_refused_in_any_writing() {
    let uris = [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://a.example/x",
        "about:blank",
        "ftp://x/y",
        "//x",
        "x",
        "",
        ":",
        "1a:b",
        "java\tscript:alert(1)",
    ];
    for uri in uris {
        for is_native in [false, true] {
            assert_eq!(refused(uri, is_native), Some(Refused::InvalidScheme(uri.to_owned())), "{uri}");
        }
    }
}

#[test]
fn fragments_are_refused_even_empty_ones() {
    for uri in ["https://a/b#", "https://a/b#f", "https://a/b?c#d", "com.example.app:/#"] {
        assert_eq!(refused(uri, true), Some(Refused::FragmentNotAllowed(uri.to_owned())), "{uri}");
    }
}

#[test]
fn http_is_for_loopback() {
    for uri in [
        "http://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://10.0.0.1/",
        "http://localhost.example/",
    ] {
        assert_eq!(refused(uri, true), Some(Refused::HttpOffLoopback(uri.to_owned())), "{uri}");
    }
}

#[test]
fn userinfo_is_refused() {
    for uri in [
        "https://app.example@evil.example/cb",
        "https://app.example:443@evil.example/cb",
        "http://127.0.0.1@evil.example/cb",
        "https://@a/",
    ] {
        assert_eq!(refused(uri, false), Some(Refused::UserinfoNotAllowed(uri.to_owned())), "{uri}");
    }
}

#[test]
fn a_registered_uri_is_no_pattern() {
    for uri in ["https://*.example.com/cb", "https://a.example/*", "https://*/", "com.example.app:/*"] {
        assert_eq!(refused(uri, true), Some(Refused::WildcardNotAllowed(uri.to_owned())), "{uri}");
    }
    assert!(RedirectUri::parse("https://a.example/?a=*", false).is_ok());
    assert!(!web("https://foo.example.com/cb").matches("https://fooaexample.com/cb", true));
}

#[test]
fn response_parameters_are_refused_in_the_query() {
    for query in ["code=1", "state=", "iss", "error=x", "a=1&code=2", "%63ode=1", "error_description=x"] {
        let uri = format!("https://a.example/cb?{query}");
        assert_eq!(refused(&uri, false), Some(Refused::AnswerParameterInQuery(uri.clone())), "{uri}");
    }
    assert!(RedirectUri::parse("https://a.example/cb?a=1&encoded=2&Code=3", false).is_ok());
}

#[test]
fn what_is_no_uri_character_is_refused() {
    let uris = [
        "https://evil.example\\@app.example/cb",
        "https://app\t.example/",
        "https://app.example/\r\n",
        "https://a b/",
        "https://app.example/\0",
        "https://app.example/%00",
        "https://app.example/%0d%0a",
        "https://app.example/%zz",
        "https://app.example/%7f",
        "https://app.example/%4",
        "https://app.example/%",
        "https://bücher.example/",
        "https://a/<b>",
    ];
    for uri in uris {
        assert_eq!(refused(uri, false), Some(Refused::InvalidCharacter(uri.to_owned())), "{uri}");
    }
    assert!(RedirectUri::parse("https://app.example/%20", false).is_ok());
}

#[test]
fn a_host_that_browsers_read_as_another_one_is_refused() {
    let uris = [
        "http://127.1/cb",
        "http://2130706433/cb",
        "http://0x7f.1/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://[::1/cb",
        "https://",
        "https:///a",
        "https:/a",
        "https:a",
        "https://:80/",
        "https://a:/",
        "https://a:0/",
        "https://a:65536/",
        "https://a:080/",
        "https://a:x/",
        "https://[::1]80/",
        "https://%61pp.example/",
        "http://[0:0:0:0:0:0:0:1]/cb",
    ];
    for uri in uris {
        assert_eq!(refused(uri, true), Some(Refused::Malformed(uri.to_owned())), "{uri}");
    }
}

#[test]
fn a_uri_has_two_kilobytes_at_most() {
    let of = |bytes: usize| format!("{:a<bytes$}", "https://app.example/");
    assert_eq!(refused(&of(2048), false), None);
    assert_eq!(refused(&of(2049), false), Some(Refused::TooLong));
    assert_eq!(refused(&of(8192), false), Some(Refused::TooLong));
}

#[test]
fn the_form_shows_the_messages_people_know() {
    let text = |uri: &str| refused(uri, false).unwrap().to_string();
    assert_eq!(text("ftp://x/y"), "redirect uri URI Validation error. invalid_scheme: ftp://x/y");
    assert_eq!(
        text("https://a/b#f"),
        "redirect uri URI validation error. fragment not allowed: https://a/b#f"
    );
}

#[test]
fn the_host_is_known_for_the_consent_page() {
    assert_eq!(web("https://app.example:8443/cb").host(), Some("app.example"));
    assert_eq!(native("http://[::1]:1/cb").host(), Some("[::1]"));
    assert_eq!(native("com.example.app:/cb").host(), None);
}

#[test]
fn path_query_and_case_are_compared_to_the_byte() {
    let registered = web("https://app.example/cb");
    assert!(registered.matches("https://app.example/cb", false));
    let others = [
        "https://app.example/cb/..;/x",
        "https://app.example/cb/../x",
        "https://app.example/cb/%2e%2e/x",
        "https://app.example/cb//",
        "https://app.example/cb/",
        "https://app.example/cb;a=1",
        "https://app.example/cb%00",
        "https://app.example/CB",
        "HTTPS://APP.EXAMPLE/cb",
        "https://app.example/cb?",
        "https://app.example/cb#",
        "https://app.example:443/cb",
        "https://app.example/cb?a=1",
        "http://app.example/cb",
        "",
    ];
    for other in others {
        assert!(!registered.matches(other, false) && !registered.matches(other, true), "{other}");
    }
    let registered = web("https://app.example/cb?a=1");
    for other in [
        "https://app.example/cb",
        "https://app.example/cb?a=1&b=2",
        "https://app.example/cb?A=1",
        "https://app.example/cb?b=2&a=1",
    ] {
        assert!(!registered.matches(other, true), "{other}");
    }
}

#[test]
fn the_port_floats_for_native_applications_on_loopback() {
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let registered = native(&format!("http://{host}/cb"));
        let requested = format!("http://{host}:49152/cb");
        assert!(registered.matches(&requested, true) && !registered.matches(&requested, false), "{host}");
        assert!(native(&requested).matches(&format!("http://{host}:1/cb"), true));
        assert!(native(&requested).matches(&format!("http://{host}/cb"), true));
    }
    assert!(!native("https://127.0.0.1/cb").matches("https://127.0.0.1:1/cb", true));
    assert!(!native("https://app.example/cb").matches("https://app.example:1/cb", true));
    assert!(!native("com.example.app://a/cb").matches("com.example.app://a:1/cb", true));
}

#[test]
fn only_the_port_floats() {
    let registered = native("http://127.0.0.1/cb");
    let others = [
        "http://127.0.0.1@evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost/cb",
        "http://127.1/cb",
        "http://2130706433/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://[::1]/cb",
        "https://127.0.0.1/cb",
        "http://127.0.0.1:1/other",
        "http://127.0.0.1:1/cb?a",
        "http://127.0.0.1:1/cb#",
        "http://127.0.0.1:1/CB",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:01/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:1@evil.example/cb",
        "HTTP://127.0.0.1:1/cb",
        "http://127.0.0.1:1",
        "http:/127.0.0.1:1/cb",
        "x",
        "http://127.0.0.1:+1/cb",
        "http://127.0.0.1: 1/cb",
    ];
    for other in others {
        assert!(!registered.matches(other, true), "{other}");
    }
}
