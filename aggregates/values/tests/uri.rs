//! RFC 3986 §3.1, §3.2.

use crate::values::uri::{host_and_port, split};

#[test]
fn a_scheme_begins_with_a_letter_and_has_few_other_characters() {
    for scheme in ["https", "com.example.app", "a1+b-c.d"] {
        assert_eq!(split(&format!("{scheme}:x")).map(|parts| parts.scheme), Some(scheme));
    }
    for scheme in ["", "1a", "+a", "a_b", "a b", "ä", "aä"] {
        assert_eq!(split(&format!("{scheme}:x")), None, "{scheme}");
    }
}

#[test]
fn nothing_but_a_port_follows_a_host() {
    assert_eq!(host_and_port("[::1]:80"), Some(("[::1]", Some(80))));
    assert_eq!(host_and_port("[::1]"), Some(("[::1]", None)));
    for authority in ["[::1]80", "[::1]x", "[::1", "", ":80", "host:", "host:080", "host:65536"] {
        assert_eq!(host_and_port(authority), None, "{authority}");
    }
}
