//! Where may the browser go after login? To a path of this server and nowhere else (RFC 9700 §4.11:
//! a login page that redirects anywhere is an open redirector).

use url::{Url, form_urlencoded};

use crate::templates::paths;

/// An authorization request travels in it, and must still fit into a request line.
const LONGEST: usize = 16 * 1024;

/// The text if it is a path of this server, with its query.
#[must_use]
pub fn local_path(next: &str) -> Option<&str> {
    let is_clean = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_path = next.starts_with('/') && !next.starts_with("//");
    (is_clean && is_path && next.len() <= LONGEST && stays_here(next)).then_some(next)
}

/// The reader that browsers have has the last word.
fn stays_here(next: &str) -> bool {
    let Ok(here) = Url::parse("https://here.invalid/") else { return false };
    here.join(next).is_ok_and(|url| url.origin() == here.origin() && !url.path().starts_with("//"))
}

/// The login page that leads back to `next`. With `again`, it asks even those who are logged in.
#[must_use]
pub fn login_path(next: &str, again: bool) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if again {
        query.append_pair("switch", "1");
    }
    // A slash is allowed in a query (RFC 3986 §3.4), and people read this address.
    format!("{}?{}", paths::LOGIN, query.append_pair("next", next).finish().replace("%2F", "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_server_is_followed() {
        for next in
            ["/", "/o/applications/register/", "/o/authorize/?a=b&c=%2F%2Fevil.example", "/a#b", "/a:b@c"]
        {
            assert_eq!(local_path(next), Some(next));
        }
    }

    #[test]
    fn everything_else_is_not() {
        for next in [
            "",
            "o/applications/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/a\\b",
            "https://evil.example/",
            "https:evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\r\nSet-Cookie: a=b",
            " /",
            "/ a",
            "/é",
            "/.//evil.example",
            "/a/..//evil.example",
        ] {
            assert_eq!(local_path(next), None, "{next:?}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(LONGEST))), None);
    }

    #[test]
    fn the_way_back_is_one_parameter() {
        let path = login_path("/o/authorize/?client_id=a&state=b", false);
        assert_eq!(path, "/admin/login/?next=/o/authorize/%3Fclient_id%3Da%26state%3Db");
        assert_eq!(login_path("/?next=%2F", false), "/admin/login/?next=/%3Fnext%3D%252F");
        assert_eq!(login_path("/", true), "/admin/login/?switch=1&next=/");
    }
}
