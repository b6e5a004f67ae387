//! Did this form come from our own page in this browser? (RFC 9700 §4.7, OWASP ASVS 3.5)
//!
//! Three proofs, of which every one that is there must hold:
//! - `Origin` is ours: the issuer's, or that of the loopback host the request itself was sent to;
//! - `Sec-Fetch-Site` is not that of another site;
//! - the hidden field was made by us for this session, or for this browser before login.
//!
//! Browsers send the first two, scripts neither; the hidden field is always asked for.

use axum::http::{HeaderMap, header};
use chrono::{DateTime, TimeDelta, Utc};
use url::{Host, Url};

use crate::config::Issuer;
use crate::keys::Keys;
use crate::token::{check_form_token, mint_form_token};

/// Name of the hidden field.
pub const FIELD: &str = "csrfmiddlewaretoken";

/// What is missing of the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrfError {
    /// The browser says that another site sent it.
    #[error("the form was sent by another site")]
    CrossSite,
    /// No hidden field.
    #[error("the form has no token")]
    TokenMissing,
    /// A hidden field that we did not make, or not for this session and browser.
    #[error("the form's token is not of this session")]
    TokenWrong,
    /// Ours, but too old.
    #[error("the form was open for too long")]
    TokenExpired,
}

/// The hidden field of a page shown now; `bound_to` is the session, or before login the browser.
#[must_use]
pub fn mint(keys: &Keys, bound_to: &str, now: DateTime<Utc>) -> String {
    let at = now.timestamp().to_string();
    let token = mint_form_token(keys, bound_to, &at);
    format!("{at}.{}", token.expose())
}

/// Checks a hidden field against every id it may be bound to. With `longest`, also how old it is.
pub fn check_token(
    keys: &Keys,
    bound_to: &[&str],
    now: DateTime<Utc>,
    longest: Option<TimeDelta>,
    field: Option<&str>,
) -> Result<(), CsrfError> {
    let (at, token) = field.ok_or(CsrfError::TokenMissing)?.split_once('.').ok_or(CsrfError::TokenWrong)?;
    if !bound_to.iter().any(|id| check_form_token(keys, id, at, token)) {
        return Err(CsrfError::TokenWrong);
    }
    let made = at.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let made = made.ok_or(CsrfError::TokenWrong)?;
    match longest {
        Some(longest) if now - made >= longest => Err(CsrfError::TokenExpired),
        Some(_) | None => Ok(()),
    }
}

/// Checks what the browser says of where the form was.
pub fn check_site(headers: &HeaderMap, issuer: &Issuer, is_secure: bool) -> Result<(), CsrfError> {
    if !all(headers, "sec-fetch-site", |site| matches!(site, "same-origin" | "none")) {
        return Err(CsrfError::CrossSite);
    }
    let own = own_loopback_origin(headers, is_secure);
    let is_ours = |origin: &str| origin == issuer.origin() || own.as_deref() == Some(origin);
    if all(headers, header::ORIGIN.as_str(), is_ours) { Ok(()) } else { Err(CsrfError::CrossSite) }
}

fn all(headers: &HeaderMap, name: &str, holds: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(&holds))
}

/// The origin of the host this request was sent to, if that is this machine's own name: the tutorial
/// speaks of `localhost` and of 127.0.0.1, and both are this server. Any other name in `Host` may be
/// one that somebody's name server points here.
fn own_loopback_origin(headers: &HeaderMap, is_secure: bool) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let scheme = if is_secure { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
    let is_loopback = match url.host()? {
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
        Host::Domain(name) => name == "localhost",
    };
    is_loopback.then(|| url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests;
