//! Where an answer may be sent: which URIs can be registered, and when a requested one is the same
//! (RFC 9700 §2.1, RFC 8252 §7; comparison RFC 3986 §6.2.1).

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::uri::{self, UriParts};

/// Parameters of our own answers: a registered URI that had them already would let its owner, or
/// whoever can write there, decide what the client reads (RFC 6749 §4.1.2, RFC 9207).
const ANSWER_PARAMETERS: &[&str] = &["code", "state", "iss", "error", "error_description", "error_uri"];

/// Why a URI cannot be registered. The texts are shown beside the form field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// Neither https, nor http on loopback, nor a private-use scheme of a native application.
    #[error("redirect uri URI Validation error. invalid_scheme: {0}")]
    InvalidScheme(String),
    /// RFC 6749 §3.1.2; an empty fragment is one too.
    #[error("redirect uri URI validation error. fragment not allowed: {0}")]
    FragmentNotAllowed(String),
    /// http elsewhere than on loopback (RFC 9700 §2.6).
    #[error("redirect uri URI validation error. http is allowed on loopback only: {0}")]
    HttpOffLoopback(String),
    /// A name or password before the host hides the host.
    #[error("redirect uri URI validation error. userinfo not allowed: {0}")]
    UserinfoNotAllowed(String),
    /// A registered URI is never a pattern (RFC 9700 §4.1.3).
    #[error("redirect uri URI validation error. wildcards not allowed: {0}")]
    WildcardNotAllowed(String),
    /// The query contains a parameter of the authorization response.
    #[error("redirect uri URI validation error. response parameter in query: {0}")]
    AnswerParameterInQuery(String),
    /// White space, control characters, a backslash, anything else outside RFC 3986.
    #[error("redirect uri URI validation error. invalid character: {0}")]
    InvalidCharacter(String),
    /// No host, a bad port, or a host that browsers read as another one.
    #[error("redirect uri URI validation error. malformed: {0}")]
    Malformed(String),
    /// More than 2,048 bytes.
    #[error("redirect uri URI validation error. too long")]
    TooLong,
}

/// A registered redirect URI, verbatim. Parsed at registration only: events are read back unchecked,
/// so that a rule added later never makes an old application unreadable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

impl RedirectUri {
    /// Reads a URI to be registered; `native` allows private-use schemes (RFC 8252 §7.1).
    pub fn parse(text: &str, native: bool) -> Result<Self, RedirectUriError> {
        if text.len() > uri::MAX_BYTES {
            return Err(RedirectUriError::TooLong);
        }
        let shown = || text.to_owned();
        let Some(parts) = uri::split(text) else {
            return Err(RedirectUriError::InvalidScheme(shown()));
        };
        let scheme =
            Scheme::of(parts.scheme, native).ok_or_else(|| RedirectUriError::InvalidScheme(shown()))?;
        if parts.fragment.is_some() {
            return Err(RedirectUriError::FragmentNotAllowed(shown()));
        }
        if !uri::is_well_formed(text) {
            return Err(RedirectUriError::InvalidCharacter(shown()));
        }
        check_place(text, &parts, scheme)?;
        check_query(parts.query).map_err(|()| RedirectUriError::AnswerParameterInQuery(shown()))?;
        Ok(Self(shown()))
    }

    /// The URI as registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host as registered, for the consent page; `None` for private-use schemes without one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let authority = uri::split(&self.0)?.authority?;
        uri::host_and_port(authority).map(|(host, _)| host)
    }

    /// Whether `requested` is this URI: byte for byte, except that a native application on loopback
    /// takes whatever port the operating system gave it (RFC 8252 §7.3).
    #[must_use]
    pub fn matches(&self, requested: &str, native: bool) -> bool {
        self.0 == requested || (native && self.matches_but_for_port(requested).unwrap_or(false))
    }

    fn matches_but_for_port(&self, requested: &str) -> Option<bool> {
        let (ours, theirs) = (uri::split(&self.0)?, uri::split(requested)?);
        let (our_host, _) = uri::host_and_port(ours.authority?)?;
        let (their_host, _) = uri::host_and_port(theirs.authority?)?;
        let same_elsewhere = UriParts { authority: None, ..ours } == UriParts { authority: None, ..theirs };
        Some(ours.scheme == "http" && uri::is_loopback(our_host) && our_host == their_host && same_elsewhere)
    }
}

impl std::fmt::Display for RedirectUri {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    Https,
    Http,
    PrivateUse,
}

impl Scheme {
    /// An allow-list: `javascript`, `data` and whatever comes next are refused by not being on it.
    fn of(name: &str, native: bool) -> Option<Self> {
        if name.eq_ignore_ascii_case("https") {
            Some(Scheme::Https)
        } else if name.eq_ignore_ascii_case("http") {
            Some(Scheme::Http)
        } else {
            (native && name.contains('.')).then_some(Scheme::PrivateUse)
        }
    }
}

fn check_place(text: &str, parts: &UriParts<'_>, scheme: Scheme) -> Result<(), RedirectUriError> {
    let shown = || text.to_owned();
    let authority = parts.authority.unwrap_or_default();
    if authority.contains('@') {
        return Err(RedirectUriError::UserinfoNotAllowed(shown()));
    }
    if authority.contains('*') || parts.path.contains('*') {
        return Err(RedirectUriError::WildcardNotAllowed(shown()));
    }
    if let Scheme::PrivateUse = scheme {
        let leads_somewhere = !authority.is_empty() || !parts.path.is_empty();
        return (leads_somewhere && uri::is_read_by_browsers(text))
            .then_some(())
            .ok_or_else(|| RedirectUriError::Malformed(shown()));
    }
    let host =
        uri::host_and_port(authority).map(|(host, _)| host).filter(|host| uri::browser_agrees(text, host));
    match (scheme, host) {
        (_, None) => Err(RedirectUriError::Malformed(shown())),
        (Scheme::Http, Some(host)) if !uri::is_loopback(host) => {
            Err(RedirectUriError::HttpOffLoopback(shown()))
        }
        (_, Some(_)) => Ok(()),
    }
}

/// Names are compared decoded: `%63ode` is `code` to whoever reads the answer.
fn check_query(query: Option<&str>) -> Result<(), ()> {
    let parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut names = parameters.map(|(name, _)| name);
    if names.any(|name| ANSWER_PARAMETERS.contains(&name.as_ref())) { Err(()) } else { Ok(()) }
}
