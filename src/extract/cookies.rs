//! Which cookies do browsers carry for us, and how are they set? (RFC 6265bis §4.1.3.2, OWASP ASVS 3.3)
//!
//! On an https issuer a name begins with `__Host-` and the cookie is `Secure`: no subdomain and no
//! plain connection can plant one. On a loopback http issuer browsers would drop such a cookie, so
//! there it is plain.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::config::Issuer;
use crate::secret::Secret;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Names the session of somebody who has logged in.
    Session,
    /// Names a browser before anybody has logged in there: the login form is bound to it.
    Browser,
}

impl Cookie {
    /// The cookie's name under this issuer.
    #[must_use]
    pub fn name(self, issuer: &Issuer) -> &'static str {
        match (self, issuer.is_https()) {
            (Cookie::Session, true) => "__Host-chancery",
            (Cookie::Session, false) => "chancery",
            (Cookie::Browser, true) => "__Host-chancery_browser",
            (Cookie::Browser, false) => "chancery_browser",
        }
    }

    /// The cookie's value. One that is there twice was planted by somebody: neither counts. Read as bytes,
    /// for another application of the same host may have set what is not ASCII.
    #[must_use]
    pub fn find<'a>(self, issuer: &Issuer, headers: &'a HeaderMap) -> Option<&'a str> {
        let start = format!("{}=", self.name(issuer));
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs =
            lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
        let mut values = pairs.filter_map(|pair| pair.strip_prefix(start.as_bytes()));
        let value = values.next().filter(|_| values.next().is_none())?;
        // Ours never is anything else.
        std::str::from_utf8(value).ok().filter(|value| value.is_ascii())
    }

    /// The `Set-Cookie` header that keeps `value`; for so many seconds, or until the browser closes.
    #[must_use]
    pub fn keep(self, issuer: &Issuer, value: &Secret, seconds: Option<i64>) -> Option<HeaderValue> {
        let age = seconds.map_or_else(String::new, |seconds| format!("; Max-Age={}", seconds.max(0)));
        self.header(issuer, value.expose(), &age)
    }

    /// The `Set-Cookie` header that makes the browser forget.
    #[must_use]
    pub fn forget(self, issuer: &Issuer) -> Option<HeaderValue> {
        self.header(issuer, "", "; Max-Age=0")
    }

    fn header(self, issuer: &Issuer, value: &str, age: &str) -> Option<HeaderValue> {
        let secure = if issuer.is_https() { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", self.name(issuer));
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}
