//! How a URI is cut into parts without changing a byte of it (RFC 3986 §3, appendix B).
//!
//! The `url` crate follows browsers: it repairs what it reads (`127.1` becomes `127.0.0.1`, a
//! backslash becomes a slash). Here a text that would have to be repaired is refused instead, so that
//! what was checked and what a browser follows are the same place.

use url::Url;

/// Longer URIs are refused unread.
pub(super) const MAX_BYTES: usize = 2048;

/// The parts of a URI as written. `authority` is `None` when there is no `//`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UriParts<'a> {
    pub scheme: &'a str,
    pub authority: Option<&'a str>,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub fragment: Option<&'a str>,
}

/// Cuts a text that begins with a scheme; `None` when it does not.
pub(super) fn split(text: &str) -> Option<UriParts<'_>> {
    let (scheme, rest) = text.split_once(':')?;
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !named {
        return None;
    }
    let (rest, fragment) = cut(rest, '#');
    let (rest, query) = cut(rest, '?');
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(authority), path)
        }
        None => (None, rest),
    };
    Some(UriParts { scheme, authority, path, query, fragment })
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Host and port of an authority without userinfo; `None` when either is malformed.
pub(super) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = match authority.strip_prefix('[') {
        Some(_) => authority.find(']')?.checked_add(1)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end_of_host)?;
    if host.is_empty() {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(digits) => Some((host, Some(port(digits)?))),
        None if rest.is_empty() => Some((host, None)),
        None => None,
    }
}

/// A port as it is written canonically: 1–65535 without leading zeros.
fn port(digits: &str) -> Option<u16> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    canonical.then(|| digits.parse().ok()).flatten()
}

/// Whether the host is one that never leaves the machine (RFC 8252 §7.3, §8.3).
pub(super) fn is_loopback(host: &str) -> bool {
    host == "127.0.0.1" || host == "[::1]" || host.eq_ignore_ascii_case("localhost")
}

/// Whether only characters occur that a URI may contain (RFC 3986 §2), each `%` with two hex digits.
/// Encoded control characters are refused too: some server would decode them (`%00`, `%0d%0a`).
pub(super) fn is_well_formed(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => is_printed(high * 16 + low),
                _ => false,
            },
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            other => other.is_ascii_graphic(),
        };
        if !allowed {
            return false;
        }
    }
    true
}

fn hex(byte: Option<u8>) -> Option<u8> {
    char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn is_printed(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f
}

/// Whether a browser would follow the text at all.
pub(super) fn is_read_by_browsers(text: &str) -> bool {
    Url::parse(text).is_ok()
}

/// Whether a browser reads the same host out of the text as we do.
pub(super) fn browser_agrees(text: &str, host: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.host_str().is_some_and(|seen| seen.eq_ignore_ascii_case(host)))
}
