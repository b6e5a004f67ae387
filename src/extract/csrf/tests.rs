//! Which posted forms are ours, and which are refused?

use axum::http::HeaderValue;

use super::*;
use crate::clock::{Clock, TestClock};
use crate::config::{Config, Environment, Flags};
use crate::keys::RootSecret;

fn keys() -> Keys {
    Keys::derive(&RootSecret::generate()).unwrap()
}

fn issuer(text: &str) -> Issuer {
    let variables = [("HOME", "/nonexistent"), ("CHANCERY_ISSUER", text)];
    Config::load(&Flags::default(), &Environment::from_iter(variables)).unwrap().issuer
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    });
    pairs.collect()
}

#[test]
fn a_form_token_holds_for_its_session_or_browser_alone() {
    let (keys, now) = (keys(), TestClock::default().now());
    let token = mint(&keys, "session", now);
    let check = |ids: &[&str], field| check_token(&keys, ids, now, None, field);
    assert_eq!(check(&["session"], Some(&token)), Ok(()));
    assert_eq!(check(&["browser", "session"], Some(&token)), Ok(()));
    assert_eq!(check(&["other"], Some(&token)), Err(CsrfError::TokenWrong));
    assert_eq!(check(&[], Some(&token)), Err(CsrfError::TokenWrong));
    assert_eq!(check(&["session"], None), Err(CsrfError::TokenMissing));
    let moved = token.replacen('1', "2", 1);
    assert_eq!(check(&["session"], Some(&moved)), Err(CsrfError::TokenWrong));
}

#[test]
fn a_login_form_grows_old() {
    let (keys, clock) = (keys(), TestClock::default());
    let token = mint(&keys, "browser", clock.now());
    let check = |now| check_token(&keys, &["browser"], now, Some(TimeDelta::minutes(30)), Some(&token));
    assert_eq!(check(clock.now() + TimeDelta::seconds(1799)), Ok(()));
    assert_eq!(check(clock.now() + TimeDelta::seconds(1800)), Err(CsrfError::TokenExpired));
}

#[test]
fn a_form_comes_from_the_issuer_or_from_the_loopback_host_it_was_sent_to() {
    let local = issuer("http://127.0.0.1:8000");
    for (host, origin) in [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ] {
        let sent = headers(&[("host", host), ("origin", origin), ("sec-fetch-site", "same-origin")]);
        assert_eq!(check_site(&sent, &local, false), Ok(()), "{host}");
    }
    assert_eq!(check_site(&headers(&[("host", "127.0.0.1:8000")]), &local, false), Ok(()));
}

#[test]
fn a_form_of_another_site_is_refused() {
    let local = issuer("http://127.0.0.1:8000");
    for pairs in [
        [("host", "127.0.0.1:8000"), ("origin", "null")],
        [("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8001")],
        [("host", "127.0.0.1:8000"), ("origin", "http://localhost:8000")],
        [("host", "evil.example"), ("origin", "http://evil.example")],
        [("host", "localhost.evil.example:8000"), ("origin", "http://localhost.evil.example:8000")],
        [("host", "127.0.0.1:8000"), ("sec-fetch-site", "cross-site")],
        [("host", "127.0.0.1:8000"), ("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(check_site(&headers(&pairs), &local, false), Err(CsrfError::CrossSite), "{pairs:?}");
    }
}
