//! Does a redirect URI match exactly what it should? (RFC 9700 §2.1, RFC 8252 §7.3)
//!
//! Input: what is registered and what is asked for, a line each. Differential against a reference of ten
//! lines, and against what a browser makes of both.
#![cfg_attr(fuzzing, no_main)]

use aggregates::values::RedirectUri;
use chancery::templates::consent::RedirectTarget;
use url::Url;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (registered, requested) = text.split_once('\n').unwrap_or((text, text));
    for is_native in [false, true] {
        let Ok(uri) = RedirectUri::parse(registered, is_native) else { continue };
        assert_eq!(uri.as_str(), registered);
        leads_where_it_says(&uri);
        assert!(uri.matches(registered, is_native));
        let matches = uri.matches(requested, is_native);
        assert_eq!(matches, reference(registered, requested, is_native), "{registered:?} {requested:?}");
        if matches {
            is_the_same_place(registered, requested);
        }
    }
}

/// The same text; or, for a native application, http on loopback with another port.
fn reference(registered: &str, requested: &str, is_native: bool) -> bool {
    let but_for_port = |uri: &str| {
        let rest = uri.strip_prefix("http://")?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = ["127.0.0.1", "[::1]", "localhost"]
            .into_iter()
            .find_map(|host| authority.get(..host.len()).filter(|start| start.eq_ignore_ascii_case(host)))?;
        let port = &authority[host.len()..];
        let is_port =
            |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        is_whole.then(|| (host.to_owned(), tail.to_owned()))
    };
    let same_but_for_port =
        || but_for_port(registered).is_some_and(|ours| but_for_port(requested) == Some(ours));
    registered == requested || (is_native && same_but_for_port())
}

/// What a browser follows is what the consent page shows, and no answer hides in it.
fn leads_where_it_says(uri: &RedirectUri) {
    let url = Url::parse(uri.as_str()).unwrap();
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    assert!(!matches!(url.scheme(), "javascript" | "data" | "file" | "blob" | "vbscript"));
    if matches!(url.scheme(), "http" | "https") {
        let host = uri.host().unwrap();
        assert!(url.host_str().unwrap().eq_ignore_ascii_case(host));
        assert!(
            url.scheme() == "https" || matches!(url.host_str().unwrap(), "localhost" | "127.0.0.1" | "[::1]")
        );
    }
    let answers = ["code", "state", "iss", "error", "error_description", "error_uri"];
    assert!(!url.query_pairs().any(|(name, _)| answers.contains(&name.as_ref())));
    let _ = RedirectTarget::of(uri.as_str());
}

fn is_the_same_place(registered: &str, requested: &str) {
    let (ours, mut theirs) = (Url::parse(registered).unwrap(), Url::parse(requested).unwrap());
    if ours != theirs {
        assert!(ours.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]")));
        theirs.set_port(ours.port()).unwrap();
    }
    assert_eq!(ours, theirs);
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
