//! A protected resource a token is meant for (RFC 8707 §2).

use serde::{Deserialize, Serialize};

use super::uri;

/// Why a text names no resource. On the wire each is `invalid_target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Not an absolute https URI, or http on loopback.
    #[error("a resource is an absolute https URI")]
    NotAbsolute,
    /// RFC 8707 §2: "MUST NOT include a fragment component".
    #[error("a resource has no fragment")]
    FragmentNotAllowed,
    /// Characters outside RFC 3986, a bad host, userinfo, or more than 2,048 bytes.
    #[error("a resource is a well-formed URI")]
    Malformed,
}

/// The URI of a protected resource, kept verbatim: it becomes `aud`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Resource(String);

impl Resource {
    /// Reads a `resource` parameter.
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        if text.len() > uri::MAX_BYTES || !uri::is_well_formed(text) {
            return Err(ResourceError::Malformed);
        }
        let parts = uri::split(text).ok_or(ResourceError::NotAbsolute)?;
        if parts.fragment.is_some() {
            return Err(ResourceError::FragmentNotAllowed);
        }
        let authority = parts.authority.ok_or(ResourceError::NotAbsolute)?;
        let (host, _) = uri::host_and_port(authority).ok_or(ResourceError::Malformed)?;
        if authority.contains(['@', '*']) || !uri::browser_agrees(text, host) {
            return Err(ResourceError::Malformed);
        }
        let is_https = parts.scheme.eq_ignore_ascii_case("https");
        if is_https || (parts.scheme.eq_ignore_ascii_case("http") && uri::is_loopback(host)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ResourceError::NotAbsolute)
        }
    }

    /// The URI as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name the same resource: scheme and host in any case, an empty path is `/`,
    /// everything else to the byte.
    #[must_use]
    pub fn same_as(&self, other: &Resource) -> bool {
        match (uri::split(&self.0), uri::split(&other.0)) {
            (Some(ours), Some(theirs)) => {
                ours.scheme.eq_ignore_ascii_case(theirs.scheme)
                    && same_authority(ours.authority, theirs.authority)
                    && path_of(ours.path) == path_of(theirs.path)
                    && ours.query == theirs.query
                    && ours.fragment == theirs.fragment
            }
            _ => self.0 == other.0,
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn same_authority(ours: Option<&str>, theirs: Option<&str>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn path_of(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}
