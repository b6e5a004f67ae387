//! Under which name do clients know this server?
//!
//! RFC 8414 §2: an https URL without query and fragment. RFC 9207 has clients compare
//! it as text, so there is exactly one accepted spelling.

use std::fmt;

use url::{Host, Url};

use super::error::Problem;

/// The issuer identifier, checked and in its one spelling: no trailing slash, path allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    url: Url,
    text: String,
}

impl Issuer {
    /// Reads an issuer; `insecure` accepts http on any host.
    pub(super) fn parse(written: &str, insecure: bool) -> Result<Self, Problem> {
        let url = Url::parse(written).map_err(|_| Problem::NotAUrl(written.to_owned()))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(Problem::NotHttp(written.to_owned()));
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if url.query().is_some() || url.fragment().is_some() || has_user {
            return Err(Problem::IssuerHasExtras);
        }
        if written.ends_with('/') {
            return Err(Problem::IssuerEndsInSlash(written.to_owned()));
        }
        if url.scheme() == "http" && !insecure && !is_loopback(&url) {
            return Err(Problem::InsecureIssuer(written.to_owned()));
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        if text == written {
            return Ok(Self { url, text });
        }
        Err(Problem::IssuerNotCanonical { found: written.to_owned(), canonical: text })
    }

    /// The issuer as it stands in metadata, tokens and `iss` parameters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The issuer parsed; its path is `/` where the text has none.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The path, empty for the usual issuer, `/o` for one that pins it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// Scheme, host and port, as browsers send in `Origin`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether cookies can be `Secure` and carry the `__Host-` prefix.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether it names this machine alone.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // RFC 6761 §6.3: localhost and every name below it.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_issuers_are_accepted_as_written() {
        for written in [
            "https://login.example.com",
            "https://example.com/o",
            "https://example.com:8443/tenant/a",
            "http://127.0.0.1:8000",
            "http://[::1]:8000",
            "http://localhost:8000",
        ] {
            assert_eq!(Issuer::parse(written, false).unwrap().as_str(), written);
        }
    }

    #[test]
    fn rfc_8414_section_2_an_issuer_has_no_query_and_no_fragment() {
        for written in ["https://example.com?a=b", "https://example.com#a", "https://ada:pw@example.com"] {
            assert_eq!(Issuer::parse(written, false), Err(Problem::IssuerHasExtras));
        }
    }

    #[test]
    fn plain_http_is_for_loopback_unless_the_operator_insists() {
        let written = "http://login.example.com";
        assert_eq!(Issuer::parse(written, false), Err(Problem::InsecureIssuer(written.to_owned())));
        assert!(Issuer::parse(written, true).is_ok());
        assert!(Issuer::parse("http://localhost.example.com", false).is_err());
    }

    #[test]
    fn a_second_spelling_is_refused_with_the_first() {
        let refused = Issuer::parse("https://Example.com:443", false);
        let canonical = "https://example.com".to_owned();
        let found = "https://Example.com:443".to_owned();
        assert_eq!(refused, Err(Problem::IssuerNotCanonical { found, canonical }));
        assert!(matches!(Issuer::parse("https://example.com/", false), Err(Problem::IssuerEndsInSlash(_))));
    }

    #[test]
    fn a_path_is_kept_apart_from_the_origin() {
        let issuer = Issuer::parse("https://example.com/o", false).unwrap();
        assert_eq!((issuer.path(), issuer.origin().as_str()), ("/o", "https://example.com"));
        assert_eq!(Issuer::parse("https://example.com", false).unwrap().path(), "");
    }
}
